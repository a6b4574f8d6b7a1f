"""Files and models from the network, kept in a cache folder that torch uses, too.

``load_state_dict_from_url`` is what ``vision.models`` loads published weights with. ``list``, ``help`` and ``load`` are about
repositories that have a file hubconf.py, whose public functions make models.
"""
import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import sys
import tempfile
import uuid
import warnings
import zipfile
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlparse
from urllib.request import Request, urlopen

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")      # f37072fd of resnet18-f37072fd.pth
CHUNK = 128 * 1024
TIMEOUT = 60        # seconds without a byte until a connection is given up

GITHUB, GITHUB_API = "https://github.com", "https://api.github.com"
TRUSTED_OWNERS = ("facebookresearch", "facebookincubator", "pytorch", "fairinternal")

_folder = None


def get_dir():
    """The cache folder (str): the one given to ``set_dir``, or "hub" in $TORCH_HOME, or in $XDG_CACHE_HOME/torch, or in
    ~/.cache/torch."""
    return os.path.join(_get_torch_home(), "hub") if _folder is None else _folder


def set_dir(d):
    """Makes the folder ``d`` (str or Path) the cache of this process."""
    global _folder
    _folder = os.path.expanduser(d)


def _get_torch_home():
    from .kernels import _settings

    return _settings.torch_home()


# ---- files ----

def download_url_to_file(url, dst, hash_prefix=None, progress=True):
    """Downloads a file; at ``dst`` there is the whole new file or what was there before, never a part.

    Args:
        url (str): its address.
        dst (str or Path): where it is put; the folder must exist.
        hash_prefix (str, optional): the first digits of its SHA-256.
        progress (bool): show a bar on stderr.

    Raises:
        URLError: no connection, or (HTTPError) the server refuses; the message says how to put the file there by hand.
        RuntimeError: the connection broke, or the SHA-256 begins with other digits.
    """
    dst = os.path.expanduser(dst)
    part = f"{dst}.{uuid.uuid4().hex}.partial"
    try:
        with open(part, "xb") as file, _opened(url, dst) as response:
            digest = _copy(response, file, url, progress)
        if hash_prefix is not None and not digest.startswith(hash_prefix):
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{digest}")')
        os.replace(part, dst)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)


def _opened(url, dst):
    """The response to a request for the file; errors name the address and a way without the network."""
    by_hand = f"{url} cannot be downloaded; a file that was fetched in another way belongs at {dst}"
    try:
        return urlopen(Request(url, headers={"User-Agent": "torch.hub"}), timeout=TIMEOUT)
    except HTTPError as error:
        raise HTTPError(error.url, error.code, f"{error.msg} ({by_hand})", error.headers, None) from error
    except URLError as error:
        raise URLError(f"{error.reason} ({by_hand})") from error


def _copy(response, file, url, progress):
    """Writes the response's body to the file; its SHA-256 in hexadecimal digits."""
    from tqdm import tqdm

    size = response.headers.get("Content-Length")
    size = None if size is None else int(size)
    digest, done = hashlib.sha256(), 0
    with tqdm(total=size, disable=not progress, unit="B", unit_scale=True, unit_divisor=1024) as bar:
        while chunk := _read(response, url, done):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            bar.update(len(chunk))
    if size is not None and done != size:       # http.client may end a broken body without an error
        raise RuntimeError(f"download_url_to_file: the connection ended after {done} of {size} bytes of {url}; call it again")
    return digest.hexdigest()


def _read(response, url, done):
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise RuntimeError(f"download_url_to_file: the connection broke after {done} bytes of {url} ({error!r}); call it again"
                           ) from error


def load_state_dict_from_url(url, model_dir=None, map_location=None, progress=True, check_hash=False, file_name=None,
                             weights_only=False):
    """What a file of ``torch.save`` holds, downloaded at its first use and kept.

    Args:
        url (str): its address.
        model_dir (str or Path, optional): the folder that keeps it; default "checkpoints" in ``get_dir()``.
        map_location (optional): where its tensors go, as for ``numtorch.load``.
        progress (bool): show a bar on stderr during the download.
        check_hash (bool): the file's name is ``name-<digits>.extension`` with the first digits of its SHA-256, which a
            download is compared with.
        file_name (str, optional): its name in the folder; default the address's last part.
        weights_only (bool): read tensors, numbers and containers only, so that no code of the file can run.

    Raises:
        URLError, RuntimeError: as ``download_url_to_file``.
    """
    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else os.path.expanduser(model_dir)
    os.makedirs(folder, exist_ok=True)
    name = os.path.basename(urlparse(url).path) if file_name is None else file_name
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        print(f'Downloading: "{url}" to {path}', flush=True)
        found = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, path, found and found[1], progress=progress)
    return _loaded(path, map_location, weights_only)


def _loaded(path, map_location, weights_only):
    """The content of a saved file, or of the only file of a zip archive: so were files before torch 1.6 compressed."""
    from .serialization import load

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) == 1 and not members[0].is_dir():
                warnings.warn("Falling back to the old format < 1.6. This support will be deprecated in favor of default zipfile "
                              "format introduced in 1.6. Please redo torch.save() to save it in the new zipfile format.",
                              FutureWarning, stacklevel=3)
                return load(io.BytesIO(archive.read(members[0])), map_location=map_location, weights_only=weights_only)
    return load(path, map_location=map_location, weights_only=weights_only)


# ---- repositories ----

def list(github, force_reload=False, skip_validation=False, trust_repo="check", verbose=True):
    """The names of the functions of a repository that make models.

    Args:
        github (str): "owner/name" or "owner/name:ref", ref a branch, a tag or a commit; default the branch main or, where
            there is none, master.
        force_reload (bool): download it even if the cache has it.
        skip_validation (bool): do not ask GitHub whether the ref is the repository's own, rather than a fork's.
        trust_repo (bool or str): the code of the repository will run here. True: it is trusted, now and later; False: ask;
            "check": ask unless it is trusted already.
        verbose (bool): say on stderr when the cache is used.

    Raises:
        RuntimeError: neither a network nor a copy in the cache, or packages that it needs are missing.
        ValueError: the ref is not the repository's.
    """
    module = _hubconf(_repository(github, force_reload, trust_repo, verbose, skip_validation))
    return [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]


def help(github, model, force_reload=False, skip_validation=False, trust_repo="check"):
    """The docstring of one function of a repository; the arguments are those of ``list``, ``model`` (str) is its name."""
    folder = _repository(github, force_reload, trust_repo, True, skip_validation)
    return _entry(_hubconf(folder), model).__doc__


def load(repo_or_dir, model, *args, source="github", trust_repo="check", force_reload=False, verbose=True, skip_validation=False,
         **kwargs):
    """What one function of a repository returns, usually a model.

    A hubconf.py written for torch imports torch: call ``numtorch.install_as_torch()`` before, or run the program with
    ``python -m numtorch``.

    Args:
        repo_or_dir (str): "owner/name[:ref]" on GitHub, or a folder.
        model (str): the function's name in hubconf.py.
        *args, **kwargs: its arguments.
        source (str): "github" or "local".
        trust_repo, force_reload, verbose, skip_validation: as for ``list``; of no effect for a folder.

    Raises:
        ValueError: another ``source``, or ``model`` is no str.
        RuntimeError: hubconf.py has no such function; and as for ``list``.
        FileNotFoundError: the folder has no hubconf.py.
    """
    source = source.lower()
    if source not in ("github", "local"):
        raise ValueError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    if source == "github":
        repo_or_dir = _repository(repo_or_dir, force_reload, trust_repo, verbose, skip_validation)
    with _first_on_path(repo_or_dir):       # the function may import more of the repository
        return _entry(_hubconf(repo_or_dir), model)(*args, **kwargs)


@contextlib.contextmanager
def _first_on_path(folder):
    folder = os.fspath(folder)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _hubconf(folder):
    """The module hubconf.py of a folder."""
    path = os.path.join(folder, "hubconf.py")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"hub: there is no hubconf.py in {folder}")
    spec = importlib.util.spec_from_file_location("hubconf", path)
    module = importlib.util.module_from_spec(spec)
    with _first_on_path(folder):
        try:
            spec.loader.exec_module(module)
        except ModuleNotFoundError as error:
            if error.name not in ("torch", "torchvision"):
                raise
            raise ModuleNotFoundError(f"hub: {path} imports {error.name}: call numtorch.install_as_torch() first, or run the "
                                      "program with python -m numtorch", name=error.name) from error
    return module


def _entry(module, name):
    """A function of a hubconf module, whose dependencies are there."""
    if not isinstance(name, str):
        raise ValueError("Invalid input: model should be a string of function name")
    missing = [package for package in getattr(module, "dependencies", ()) if importlib.util.find_spec(package) is None]
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    function = getattr(module, name, None)
    if not callable(function):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return function


def _repository(github, force_reload, trust_repo, verbose, skip_validation):
    """The folder of a repository of GitHub in the cache, downloaded where it is not there."""
    root = get_dir()
    os.makedirs(root, exist_ok=True)
    owner, name, ref = _parsed(github)
    folder = os.path.join(root, "_".join([owner, name, ref.replace("/", "_")]))
    _check_trust(owner, name, folder, trust_repo)
    if os.path.exists(folder) and not force_reload:
        if verbose:
            print(f"Using cache found in {folder}", file=sys.stderr)
        return folder
    if not skip_validation:
        _check_own(owner, name, ref)
    with tempfile.TemporaryDirectory(dir=root) as work:
        archive, new = os.path.join(work, "archive.zip"), os.path.join(work, "content")
        _download_archive(owner, name, ref, archive)
        _unpack(archive, new)
        tops = os.listdir(new)
        if len(tops) != 1:
            raise RuntimeError(f"hub: the archive of {github} should hold one folder, not {len(tops)} files and folders")
        if os.path.exists(folder):
            os.replace(folder, os.path.join(work, "old"))
        os.replace(os.path.join(new, tops[0]), folder)
    return folder


def _parsed(github):
    """Owner, name and ref of "owner/name[:ref]"; without a ref, the default branch."""
    found = re.fullmatch(r"([^/:]+)/([^/:]+)(?::([^:]+))?", github)
    if found is None:
        raise ValueError(f'hub: a repository is written "owner/name" or "owner/name:ref", not {github!r}')
    owner, name, ref = found.groups()
    return owner, name, ref or _default_branch(owner, name)


def _default_branch(owner, name):
    try:
        with urlopen(f"{GITHUB}/{owner}/{name}/tree/main/", timeout=TIMEOUT):
            return "main"
    except HTTPError as error:
        if error.code == 404:
            return "master"
        raise
    except URLError as error:
        for branch in ("main", "master"):
            if os.path.exists(os.path.join(get_dir(), f"{owner}_{name}_{branch}")):
                return branch
        raise RuntimeError("It looks like there is no internet connection and the repo could not be found in the cache "
                           f"({get_dir()})") from error


def _check_trust(owner, name, folder, trust_repo):
    """Asks the user about a repository that is not trusted, unless told that it is; notes down those that are."""
    path = os.path.join(get_dir(), "trusted_list")
    trusted = []
    if os.path.exists(path):
        with open(path) as file:
            trusted = file.read().split()
    known = f"{owner}_{name}"
    is_trusted = known in trusted or os.path.isdir(folder) or owner in TRUSTED_OWNERS
    if trust_repo is False or (trust_repo == "check" and not is_trusted):
        answer = input(f"The repository {known} does not belong to the list of trusted repositories and as such cannot be "
                       "downloaded. Do you trust this repository and wish to add it to the trusted list of repositories (y/N)?")
        if answer.lower() in ("n", "no", ""):
            raise Exception("Untrusted repository.")
        if answer.lower() not in ("y", "yes"):
            raise ValueError(f"Unrecognized response {answer}.")
    if not is_trusted:
        with tempfile.NamedTemporaryFile("w", dir=get_dir(), delete=False) as file:
            file.write("".join(line + "\n" for line in [*trusted, known]))
        os.replace(file.name, path)


def _check_own(owner, name, ref):
    """ValueError where the ref is none of the repository's branches, tags and their commits: a fork's can be addressed, too."""
    for kind in ("branches", "tags"):
        page = 1
        while entries := _api(f"/repos/{owner}/{name}/{kind}?per_page=100&page={page}"):
            if any(entry["name"] == ref or entry["commit"]["sha"].startswith(ref) for entry in entries):
                return
            page += 1
    raise ValueError(f"Cannot find {ref} in {GITHUB}/{owner}/{name}. If it's a commit from a forked repo, please call hub.load() "
                     "with forked repo directly.")


def _api(path):
    """GitHub's answer, asked with the user's token where there is one."""
    from .kernels import _settings

    headers, token = {"Accept": "application/vnd.github.v3+json"}, _settings.github_token()
    if token:
        # without it, too: it may have no right to this repository
        with contextlib.suppress(HTTPError):
            return _json(Request(GITHUB_API + path, headers={**headers, "Authorization": f"token {token}"}))
    return _json(Request(GITHUB_API + path, headers=headers))


def _json(request):
    with urlopen(request, timeout=TIMEOUT) as response:
        return json.load(response)


def _download_archive(owner, name, ref, path):
    address = f"{GITHUB}/{owner}/{name}/zipball/"
    print(f'Downloading: "{address}{ref}" to {path}', flush=True)
    try:
        download_url_to_file(address + quote(ref), path, progress=False)
    except HTTPError as error:
        if error.code != 300:
            raise
        warnings.warn(f"The ref {ref} is ambiguous. Perhaps it is both a tag and a branch in the repo? Torchhub will now assume "
                      "that it's a branch. You can disambiguate tags and branches by explicitly passing refs/heads/branch_name "
                      "or refs/tags/tag_name as the ref. That might require using skip_validation=True.", stacklevel=4)
        download_url_to_file(f"{address}refs/heads/{quote(ref)}", path, progress=False)


def _unpack(archive, folder):
    """Unpacks a zip archive; ValueError where an entry's name leads out of the folder."""
    with zipfile.ZipFile(archive) as content:
        for entry in content.namelist():
            if os.path.isabs(entry) or re.match(r"[A-Za-z]:|[/\\]", entry) or ".." in re.split(r"[/\\]", entry):
                raise ValueError(f"hub: the archive's entry {entry!r} leads out of its folder")
        content.extractall(folder)
