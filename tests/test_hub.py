"""numtorch.hub: files from a local server in place of the network, repositories in folders and in GitHub's zip archives."""
import hashlib
import http.server
import io
import json
import socket
import sys
import threading
import types
import zipfile
from urllib.error import HTTPError, URLError

import pytest

from numtorch import hub

DATA = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Server:
    """Serves ``answers`` (path -> body, or a status, or a function of the request); ``asked`` lists (path, headers)."""

    def __init__(self):
        self.answers, self.asked = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append((self.path, self.headers))
                answer = outer.answers.get(self.path, 404)
                if callable(answer):
                    answer = answer(self)
                status, body = (answer, b"") if isinstance(answer, int) else (200, answer)
                self.send_response(status)
                self.send_header("Content-Length", getattr(self, "promised", len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                """Nothing on stderr."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server():
    """A server on this machine."""
    served = Server()
    yield served
    served.close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache in a folder of the test."""
    monkeypatch.setattr(hub, "_folder", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub"


@pytest.fixture
def loads(monkeypatch):
    """numtorch.serialization replaced by one whose load gives back its arguments and the bytes of the file."""
    def load(file, **kwargs):
        return (file.read() if hasattr(file, "read") else open(file, "rb").read()), kwargs

    module = types.ModuleType("numtorch.serialization")
    module.load = load
    monkeypatch.setitem(sys.modules, "numtorch.serialization", module)


def test_the_folder(tmp_path, monkeypatch):
    """It is torch's: $TORCH_HOME/hub, or $XDG_CACHE_HOME/torch/hub, or ~/.cache/torch/hub, read at each call; or what was set."""
    monkeypatch.setattr(hub, "_folder", None)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert hub.get_dir() == str(tmp_path / ".cache" / "torch" / "hub")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert hub.get_dir() == "/elsewhere/torch/hub"
    monkeypatch.setenv("TORCH_HOME", "~/own")
    assert hub.get_dir() == str(tmp_path / "own" / "hub")
    hub.set_dir("~/set")
    assert hub.get_dir() == str(tmp_path / "set")


def test_the_folder_is_torchs(tmp_path, monkeypatch):
    """torch finds the same folder from the same variables."""
    torch = pytest.importorskip("torch")
    for variables in ({}, {"XDG_CACHE_HOME": "/x"}, {"TORCH_HOME": "~/y"}, {"TORCH_HOME": "/z", "XDG_CACHE_HOME": "/x"}):
        with monkeypatch.context() as patch:
            patch.setattr(hub, "_folder", None)
            for name in ("XDG_CACHE_HOME", "TORCH_HOME"):
                patch.delenv(name, raising=False)
            for name, value in variables.items():
                patch.setenv(name, value)
            assert hub.get_dir() == torch.hub.get_dir()


def test_a_download(server, tmp_path, capsys):
    """The file arrives whole, replaces the old one, has the checksum; the bar is shown on stderr only where wanted."""
    server.answers["/data.bin"] = DATA
    target = tmp_path / "data.bin"
    target.write_text("old")
    hub.download_url_to_file(f"{server.root}/data.bin", target, hash_prefix=DIGEST[:8], progress=False)
    assert target.read_bytes() == DATA and capsys.readouterr() == ("", "")
    hub.download_url_to_file(f"{server.root}/data.bin", str(target))
    assert "100%" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["data.bin"]
    assert server.asked[0][1]["User-Agent"] == "torch.hub"


def _break_off(request):
    request.promised = len(DATA)
    return DATA[:1000]


def _wrong(server, tmp_path, path, error, match, **kwargs):
    target = tmp_path / "data.bin"
    target.write_text("old")
    with pytest.raises(error, match=match) as caught:
        hub.download_url_to_file(server.root + path, target, progress=False, **kwargs)
    assert target.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["data.bin"]
    return caught.value


def test_a_download_that_fails_leaves_the_old_file(server, tmp_path):
    """A wrong checksum, a missing file, a broken connection: a clear error, the old file, and no rest of the new one."""
    server.answers.update({"/data.bin": DATA, "/broken": _break_off})
    _wrong(server, tmp_path, "/data.bin", RuntimeError, rf'invalid hash value \(expected "0123", got "{DIGEST}"\)',
           hash_prefix="0123")
    _wrong(server, tmp_path, "/broken", RuntimeError, f"1000 of {len(DATA)} bytes")
    error = _wrong(server, tmp_path, "/missing", HTTPError, "Not Found")
    assert error.code == 404 and "data.bin" in str(error)


def test_no_network(tmp_path):
    """The error names the address and where a file that was fetched in another way belongs."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))       # and nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x-1.pth"
        with pytest.raises(URLError, match=rf"{url} cannot be downloaded.*belongs at .*/x-1\.pth"):
            hub.load_state_dict_from_url(url, model_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_state_dict_is_downloaded_once(server, cache, loads, capsys):
    """The first call downloads to checkpoints/, says so on stdout and checks; the second reads the file; arguments go to load."""
    name = f"model-{DIGEST[:8]}.pth"
    server.answers["/w/" + name] = DATA
    url = f"{server.root}/w/{name}?x=1"
    server.answers[f"/w/{name}?x=1"] = DATA
    content, kwargs = hub.load_state_dict_from_url(url, map_location="cpu", progress=False, check_hash=True, weights_only=True)
    path = cache / "checkpoints" / name
    assert content == DATA == path.read_bytes() and kwargs == {"map_location": "cpu", "weights_only": True}
    assert capsys.readouterr().out == f'Downloading: "{url}" to {path}\n'
    assert hub.load_state_dict_from_url(url) == (DATA, {"map_location": None, "weights_only": False})
    assert capsys.readouterr().out == "" and len(server.asked) == 1


def test_where_and_under_what_name_a_state_dict_is_kept(server, tmp_path, cache, loads):
    """model_dir and file_name say so; the checksum is read off that name; without check_hash any content is taken."""
    server.answers["/any"] = DATA
    hub.load_state_dict_from_url(f"{server.root}/any", model_dir=tmp_path / "own", file_name="net-00000000.pth", progress=False)
    assert (tmp_path / "own" / "net-00000000.pth").read_bytes() == DATA and not cache.exists()
    with pytest.raises(RuntimeError, match='expected "00000000"'):
        hub.load_state_dict_from_url(f"{server.root}/any", file_name="net-00000000.pth", progress=False, check_hash=True)
    assert list((cache / "checkpoints").iterdir()) == []


def test_a_zipped_file_of_old(cache, loads):
    """A zip archive of one file is unpacked in memory, with torch's warning; a folder of files (today's format) is not."""
    folder = cache / "checkpoints"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "old.pth", "w") as archive:
        archive.writestr("net.pth", b"content")
    with pytest.warns(FutureWarning, match="old format < 1.6"):
        content, kwargs = hub.load_state_dict_from_url("http://nowhere/old.pth", map_location="cpu")
    assert content == b"content" and kwargs == {"map_location": "cpu", "weights_only": False}
    with zipfile.ZipFile(folder / "new.pth", "w") as archive:
        archive.writestr("net/data.pkl", b"1")
        archive.writestr("net/version", b"3")
    assert hub.load_state_dict_from_url("http://nowhere/new.pth")[0] == (folder / "new.pth").read_bytes()


def test_a_file_that_torch_wrote(server, cache):
    """A state_dict saved by torch comes from the server as tensors."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("numtorch.serialization")
    import numtorch

    file = io.BytesIO()
    torch.save({"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(7)}, file)
    server.answers["/net.pth"] = file.getvalue()
    state = hub.load_state_dict_from_url(f"{server.root}/net.pth", progress=False, weights_only=True)
    assert numtorch.equal(state["w"], numtorch.arange(6.0).view(2, 3)) and state["n"].item() == 7


# ---- repositories ----

HUBCONF = '''
dependencies = ["math"]
import helper_of_the_repository
from math import sqrt

def net(width, depth=1):
    """A net."""
    import second_helper_of_the_repository
    return width, depth, second_helper_of_the_repository.X

def _private():
    pass
'''
FILES = {"hubconf.py": HUBCONF, "helper_of_the_repository.py": "", "second_helper_of_the_repository.py": "X = 5"}


@pytest.fixture
def folder(tmp_path):
    """A repository."""
    path = tmp_path / "repository"
    path.mkdir()
    for name, text in FILES.items():
        (path / name).write_text(text)
    yield path
    for name in ("helper_of_the_repository", "second_helper_of_the_repository"):
        sys.modules.pop(name, None)


def test_a_local_repository(folder):
    """load calls the function of hubconf.py, which may import its neighbours, and leaves the search path as it was."""
    before = [*sys.path]
    assert hub.load(str(folder), "net", 3, depth=2, source="local") == (3, 2, 5)
    assert hub.load(folder, "net", 1, source="LOCAL") == (1, 1, 5)
    assert sys.path == before


def test_what_is_wrong_with_a_repository(folder, tmp_path):
    """Another source, no hubconf.py, no such function, no str, missing packages, no torch: errors that say so."""
    with pytest.raises(ValueError, match='Unknown source: "disk". Allowed values: "github" | "local".'):
        hub.load(folder, "net", source="disk")
    with pytest.raises(FileNotFoundError, match="no hubconf.py"):
        hub.load(tmp_path, "net", source="local")
    with pytest.raises(RuntimeError, match="Cannot find callable dependencies in hubconf"):
        hub.load(folder, "dependencies", source="local")
    with pytest.raises(ValueError, match="model should be a string of function name"):
        hub.load(folder, 3, source="local")
    (folder / "hubconf.py").write_text("dependencies = ['no_such_package', 'math']\ndef net(): pass")
    with pytest.raises(RuntimeError, match="Missing dependencies: no_such_package$"):
        hub.load(folder, "net", source="local")
    (folder / "hubconf.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    with pytest.raises(ModuleNotFoundError, match=r"imports torch: call numtorch\.install_as_torch\(\)"):
        hub.load(folder, "net", source="local")


def _archive(files, top="owner-net-1a2b3c/"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in files.items():
            archive.writestr(top + name, text)
    return file.getvalue()


@pytest.fixture
def github(server, cache, folder, monkeypatch):
    """GitHub with the repository owner/net, whose only branch is main."""
    monkeypatch.setattr(hub, "GITHUB", server.root)
    monkeypatch.setattr(hub, "GITHUB_API", server.root + "/api")
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    for owner in ("owner", "pytorch"):
        api = f"/api/repos/{owner}/net"
        server.answers.update({
            f"/{owner}/net/tree/main/": b"", f"/{owner}/net/zipball/main": _archive(FILES),
            f"{api}/branches?per_page=100&page=1": json.dumps([{"name": "main", "commit": {"sha": "1a2b3c"}}]).encode(),
            f"{api}/branches?per_page=100&page=2": b"[]", f"{api}/tags?per_page=100&page=1": b"[]"})
    return server


def test_a_repository_of_github(github, cache, capsys):
    """It is downloaded once, unpacked to owner_name_ref, and used from there; force_reload downloads it again."""
    assert hub.load("owner/net", "net", 4, trust_repo=True) == (4, 1, 5)
    assert sorted(p.name for p in cache.iterdir()) == ["owner_net_main", "trusted_list"]
    assert sorted(p.name for p in (cache / "owner_net_main").glob("*.py")) == sorted(FILES)
    asked = len(github.asked)
    assert hub.list("owner/net:main") == ["net", "sqrt"] and len(github.asked) == asked
    assert f"Using cache found in {cache / 'owner_net_main'}" in capsys.readouterr().err
    assert hub.help("owner/net:main", "net") == "A net."
    github.answers["/owner/net/zipball/main"] = _archive({**FILES, "hubconf.py": "def other(): return 1"})
    assert hub.list("owner/net:main", force_reload=True) == ["other"]
    assert sorted(p.name for p in cache.iterdir()) == ["owner_net_main", "trusted_list"]


def test_trust(github, cache, monkeypatch):
    """Unknown owners are asked about; the answer yes is kept, no and nonsense end it before anything is downloaded."""
    questions = []

    def answered(text):
        monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or text)

    answered("n")
    with pytest.raises(Exception, match="Untrusted repository"):
        hub.load("owner/net:main", "net", 1)
    answered("perhaps")
    with pytest.raises(ValueError, match="Unrecognized response perhaps"):
        hub.load("owner/net:main", "net", 1)
    assert not github.asked and list(cache.iterdir()) == [] and "owner_net does not belong to the list" in questions[0]
    answered("y")
    hub.load("owner/net:main", "net", 1)
    assert (cache / "trusted_list").read_text() == "owner_net\n"
    questions.clear()
    hub.load("owner/net:main", "net", 1, force_reload=True)
    hub.load("pytorch/net:main", "net", 1)
    assert not questions
    hub.load("owner/net:main", "net", 1, trust_repo=False)
    assert len(questions) == 1


def test_a_ref_of_a_fork(github):
    """A ref that is no branch, tag or commit of the repository is refused, unless that is not asked for; a commit is taken."""
    github.answers["/pytorch/net/zipball/ffff"] = github.answers["/pytorch/net/zipball/1a2b"] = _archive(FILES)
    with pytest.raises(ValueError, match="Cannot find ffff in .*pytorch/net"):
        hub.load("pytorch/net:ffff", "net", 1)
    assert hub.load("pytorch/net:ffff", "net", 1, skip_validation=True) == (1, 1, 5)
    assert hub.load("pytorch/net:1a2b", "net", 1) == (1, 1, 5)


def test_the_token(github, monkeypatch):
    """GITHUB_TOKEN is shown to the API; where that is refused, the question is asked without it."""
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    branches = "/api/repos/pytorch/net/branches?per_page=100&page=1"
    answer = github.answers[branches]
    github.answers[branches] = lambda request: 403 if request.headers["Authorization"] else answer
    hub.load("pytorch/net:main", "net", 1)
    assert [headers["Authorization"] for path, headers in github.asked if path == branches] == ["token secret", None]


def test_branches(github, cache, monkeypatch):
    """Without main the default is master; a name of both a tag and a branch means the branch, with a warning."""
    github.answers["/pytorch/net/tree/main/"] = 404
    github.answers["/pytorch/net/zipball/master"] = 300
    github.answers["/pytorch/net/zipball/refs/heads/master"] = _archive(FILES)
    with pytest.warns(UserWarning, match="The ref master is ambiguous"):
        assert hub.load("pytorch/net", "net", 1, skip_validation=True) == (1, 1, 5)
    assert (cache / "pytorch_net_master").is_dir()


def test_no_network_for_a_repository(github, cache, monkeypatch):
    """A repository in the cache is used; without one the error says that there is neither."""
    hub.load("pytorch/net", "net", 1)
    monkeypatch.setattr(hub, "GITHUB", "http://127.0.0.1:9")
    assert hub.load("pytorch/net", "net", 2) == (2, 1, 5)
    with pytest.raises(RuntimeError, match="no internet connection and the repo could not be found in the cache"):
        hub.load("pytorch/other", "net", 1)


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py", "a/../../evil.py", "C:\\evil.py", "..\\evil.py"])
def test_an_archive_that_leads_out(github, cache, name):
    """Nothing of it is unpacked, and the cache stays as it was."""
    file = io.BytesIO(_archive(FILES))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, "")
    github.answers["/pytorch/net/zipball/main"] = file.getvalue()
    with pytest.raises(ValueError, match="leads out of its folder"):
        hub.load("pytorch/net", "net", 1)
    assert list(cache.iterdir()) == []


def test_how_a_repository_is_written():
    """Anything but owner/name and owner/name:ref is refused."""
    for wrong in ("owner", "owner/net/more", "owner/net:a:b", "/net"):
        with pytest.raises(ValueError, match='"owner/name"'):
            hub.load(wrong, "net")
