"""Downloads of numtorch.vision.datasets, from a server of the tests' own: resumed, checked, unpacked in their folder."""
import gzip
import os
import sys
import tarfile
import threading
import urllib.parse
import zipfile

import pytest
from datasets_server import below, md5, noise, serve, tar

from numtorch.vision.datasets import utils

server = pytest.fixture(serve)


# ---- downloads -------------------------------------------------------------------------------------------------------------

def test_checksums(tmp_path):
    """MD5 is hashlib's, in whatever pieces it is read; a file that is not there has no integrity, with or without a checksum."""
    content = noise(3000)
    (tmp_path / "a").write_bytes(content)
    assert utils.calculate_md5(tmp_path / "a", chunk_size=7) == md5(content)
    assert utils.check_md5(tmp_path / "a", md5(content), chunk_size=1000) and not utils.check_md5(tmp_path / "a", "0" * 32)
    assert utils.check_integrity(tmp_path / "a") and utils.check_integrity(tmp_path / "a", md5(content))
    assert not utils.check_integrity(tmp_path / "a", "0" * 32) and not utils.check_integrity(tmp_path / "b")
    assert not utils.check_integrity(tmp_path)


def test_a_download(server, tmp_path, capfd):
    """The file arrives under its own or a given name, with a progress bar; what is there is not fetched again."""
    server.files["some/file.bin"] = content = noise(200_000)
    utils.download_url(server.url("some/file.bin"), tmp_path / "new" / "folder", md5=md5(content))
    utils.download_url(server.url("some/file.bin"), str(tmp_path), filename="other")
    assert (tmp_path / "other").read_bytes() == (tmp_path / "new/folder/file.bin").read_bytes() == content
    assert below(tmp_path) == ["new/folder/file.bin", "other"]
    shown = capfd.readouterr().err
    assert "file.bin: 100%" in shown and "other: 100%" in shown
    asked = len(server.asked)
    utils.download_url(server.url("some/file.bin"), tmp_path / "new" / "folder", md5=md5(content))
    utils.download_url(server.url("nowhere"), str(tmp_path), filename="other")
    assert len(server.asked) == asked == 2


@pytest.mark.parametrize("tag", [None, '"version 1"'])
def test_a_broken_transfer_is_resumed(server, tmp_path, tag):
    """When the connection breaks off, a new one asks for the bytes that lack, of the same version where there are versions."""
    server.files["f"], server.tag = noise(300_000), tag
    server.cut["f"] = [100_000, 50_000, None]
    utils.download_url(server.url("f"), tmp_path, md5=md5(server.files["f"]))
    assert (tmp_path / "f").read_bytes() == server.files["f"]
    assert server.asked == [("f", None, None), ("f", "bytes=100000-", tag), ("f", "bytes=150000-", tag)]


def test_a_file_that_changes_meanwhile(server, tmp_path):
    """If the server has another version by the time that the connection broke off, that one is fetched from its start."""
    server.files["f"], server.tag, server.cut["f"] = noise(300_000), '"version 1"', [100_000]

    def change():
        server.files["f"], server.tag = noise(200_000, 1), '"version 2"'

    server.later = change
    utils.download_url(server.url("f"), tmp_path)
    assert (tmp_path / "f").read_bytes() == noise(200_000, 1) and server.asked[1] == ("f", "bytes=100000-", '"version 1"')


def test_a_server_that_cannot_resume(server, tmp_path):
    """An answer with the whole file, or with another part than the one asked for, is not appended."""
    server.files["f"] = server.files["g"] = noise(300_000)
    server.cut["f"], server.cut["g"], server.ranges = [100_000], [100_000], False
    utils.download_url(server.url("f"), tmp_path)
    server.ranges = 5       # says that its answer starts there
    utils.download_url(server.url("g"), tmp_path)
    assert (tmp_path / "f").read_bytes() == (tmp_path / "g").read_bytes() == server.files["f"]
    assert [asked[1] for asked in server.asked] == [None, "bytes=100000-", None, "bytes=100000-", None]


def test_a_later_call_goes_on(server, tmp_path):
    """What a call that failed left is used by the next one, if a checksum can tell that it is right in the end."""
    server.files["f"] = content = noise(300_000)
    server.cut["f"] = [100_000, 0, 0, 0]
    with pytest.raises(RuntimeError, match="the connection ended after 100000 of 300000 bytes"):
        utils.download_url(server.url("f"), tmp_path, md5=md5(content))
    assert below(tmp_path) == ["f.part"] and len(server.asked) == 4
    utils.download_url(server.url("f"), tmp_path, md5=md5(content))
    assert server.asked[-1][1] == "bytes=100000-" and (tmp_path / "f").read_bytes() == content and below(tmp_path) == ["f"]

    (tmp_path / "f.part").write_bytes(b"of some other file")
    os.remove(tmp_path / "f")
    utils.download_url(server.url("f"), tmp_path, md5=md5(content))
    assert [asked[1] for asked in server.asked[-2:]] == ["bytes=18-", None] and (tmp_path / "f").read_bytes() == content

    os.replace(tmp_path / "f", tmp_path / "f.part")         # killed between the last byte and the new name
    utils.download_url(server.url("f"), tmp_path, md5=md5(content))
    assert len(server.asked) == 7 and below(tmp_path) == ["f"]

    (tmp_path / "f.part").write_bytes(content + b"more")    # there is nothing after that: 416
    os.remove(tmp_path / "f")
    utils.download_url(server.url("f"), tmp_path, md5=md5(content))
    assert (tmp_path / "f").read_bytes() == content

    (tmp_path / "g.part").write_bytes(b"without a checksum nobody can tell")
    server.files["g"] = b"new"
    utils.download_url(server.url("g"), tmp_path)
    assert (tmp_path / "g").read_bytes() == b"new" and below(tmp_path) == ["f", "g"]


def test_a_wrong_checksum(server, tmp_path):
    """A file with another checksum is not kept; the one that was there before stays; the message has all that is known."""
    server.files["f"] = b"not what was meant"
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(RuntimeError) as caught:
        utils.download_url(server.url("f"), tmp_path, md5=md5(b"meant"))
    text = str(caught.value)
    for part in (server.url("f"), md5(b"not what was meant"), md5(b"meant"), md5(b"old"), f"put it at {tmp_path / 'f'} "):
        assert part in text
    assert (tmp_path / "f").read_bytes() == b"old" and below(tmp_path) == ["f"]


def test_without_a_network(server, tmp_path):
    """Nobody answers, or there is no such file: a RuntimeError that names the address and where to put the file by hand."""
    with pytest.raises(RuntimeError, match="HTTP Error 404: Not Found"):
        utils.download_url(server.url("f"), tmp_path)
    address = server.url("f")
    server.shutdown()
    server.server_close()
    with pytest.raises(RuntimeError) as caught:
        utils.download_url(address, tmp_path, md5="0" * 32)
    assert address in str(caught.value) and "refused" in str(caught.value)
    assert f"put it at {tmp_path / 'f'} and run this again. Its MD5 checksum must be {'0' * 32}." in str(caught.value)


def test_redirections(server, tmp_path):
    """So many are followed as one may, and no more."""
    server.files["d"], server.moved = b"content", {"a": "b", "b": "c", "c": "d"}
    utils.download_url(server.url("a"), tmp_path)
    assert (tmp_path / "a").read_bytes() == b"content"
    with pytest.raises(RuntimeError, match="a exceeded 2 redirects. The last redirect points to http.*/d"):
        utils.download_url(server.url("a"), tmp_path, filename="x", max_redirect_hops=2)


def test_a_file_address(tmp_path):
    """A file:// address is copied."""
    (tmp_path / "here").write_bytes(b"content")
    utils.download_url("file://" + urllib.parse.quote(str(tmp_path / "here")), tmp_path, filename="there")
    assert (tmp_path / "there").read_bytes() == b"content"


def test_one_of_several_downloads(server, tmp_path):
    """Of threads (or processes) that want one file, one fetches it and the others find it."""
    pytest.importorskip("fcntl")
    server.files["f"] = noise(100_000)
    threads = [threading.Thread(target=utils.download_url, args=(server.url("f"), tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 1 and below(tmp_path) == ["f"]


def test_google_drive_needs_gdown(tmp_path, monkeypatch):
    """Without gdown the error says so and where to put the file; a file that is there needs nothing."""
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(RuntimeError, match="'gdown' is required.*put the file the_id by hand at .*name"):
        utils.download_file_from_google_drive("the_id", tmp_path, "name")
    (tmp_path / "name").write_bytes(b"")
    utils.download_file_from_google_drive("the_id", tmp_path, "name")


def test_lists_and_arguments(tmp_path):
    """The small helpers say what torchvision's say."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b.png").write_bytes(b"")
    assert utils.list_dir(tmp_path) == ["a"] and utils.list_files(str(tmp_path), ".png", prefix=True) == [str(tmp_path / "b.png")]
    assert utils.list_files(tmp_path, (".jpg", ".gif")) == []
    assert utils.verify_str_arg("a") == "a"
    with pytest.raises(ValueError, match=r"^Unknown value 'c' for argument split. Valid values are \{'a', 'b'\}.$"):
        utils.verify_str_arg("c", "split", ("a", "b"))
    with pytest.raises(ValueError, match="^Expected type str for argument split, but got type <class 'int'>.$"):
        utils.verify_str_arg(1, "split")
    with pytest.raises(ValueError, match="^no$"):
        utils.verify_str_arg("c", "split", ("a", "b"), "no")


# ---- archives --------------------------------------------------------------------------------------------------------------

def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("suffix, mode", [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.bz2", "w:bz2"),
                                          (".tbz2", "w:bz2"), (".tar.xz", "w:xz"), (".zip", None)])
def test_archives_are_unpacked(tmp_path, suffix, mode):
    """Every kind, into a folder that may have files already; what comes back is of the argument's type."""
    path = tmp_path / f"the.archive{suffix}"
    content = {"top": b"1", "folder/sub/file": noise(5000), "folder/old": b"new"}
    if mode is None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("folder/", b"")
            for name, data in content.items():
                archive.writestr(name, data)
    else:
        tar(path, [(special("folder", tarfile.DIRTYPE), b""), *content.items()], mode)
    (tmp_path / "to" / "folder").mkdir(parents=True)
    for name in ("old", "kept"):
        (tmp_path / "to" / "folder" / name).write_bytes(b"old")
    assert utils.extract_archive(path, tmp_path / "to") == tmp_path / "to"
    assert {name: (tmp_path / "to" / name).read_bytes() for name in below(tmp_path / "to")} == {**content, "folder/kept": b"old"}
    os.remove(tmp_path / "to" / "top")
    assert utils.extract_archive(str(path), str(tmp_path / "to"), remove_finished=True) == str(tmp_path / "to")
    assert (tmp_path / "to" / "top").exists() and not path.exists()


@pytest.mark.parametrize("suffix, module", [(".gz", "gzip"), (".bz2", "bz2"), (".xz", "lzma")])
def test_single_files_are_unpacked(tmp_path, suffix, module):
    """A compressed file loses its suffix; by default it is unpacked where it lies."""
    (tmp_path / f"images.gz.old{suffix}").write_bytes(pytest.importorskip(module).compress(b"content"))
    assert utils.extract_archive(str(tmp_path / f"images.gz.old{suffix}")) == str(tmp_path / "images.gz.old")
    assert (tmp_path / "images.gz.old").read_bytes() == b"content"
    assert len(below(tmp_path)) == 2
    mask = os.umask(0o022)
    os.umask(mask)
    assert (tmp_path / "images.gz.old").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("member, words", [
    ("../evil", "outside of its folder: '../evil'"),
    ("/tmp/numtorch_evil", "outside"),
    ("a/../../evil", "outside"),
    ("..\\evil", "outside"),
    (special("fifo", tarfile.FIFOTYPE), "neither a file nor a folder: 'fifo'"),
    (special("device", tarfile.CHRTYPE), "neither a file nor a folder"),
    (special("link", tarfile.SYMTYPE, "../outside"), "damaged"),
    (special("link", tarfile.SYMTYPE, "/etc/passwd"), "damaged"),
    (special("link", tarfile.LNKTYPE, "nothing"), "damaged"),
    (special("link", tarfile.SYMTYPE, "link"), "damaged"),
    (special("link", tarfile.SYMTYPE, "folder"), "neither"),
])
def test_tars_stay_in_their_folder(tmp_path, member, words):
    """A member that leads out of the folder, a device or a link to nothing ends it: nothing of the archive is kept."""
    (tmp_path / "outside").write_bytes(b"secret")
    path = tar(tmp_path / "a.tar", [("good", b"1"), (special("folder", tarfile.DIRTYPE), b""), (member, b"")])
    with pytest.raises(RuntimeError, match="extract_archive: .*a.tar .*" + words.replace("\\", "\\\\")):
        utils.extract_archive(path, tmp_path / "to")
    assert below(tmp_path) == ["a.tar", "outside"] and not os.path.exists("/tmp/numtorch_evil")


def test_zips_stay_in_their_folder(tmp_path):
    """The same for .zip files."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good", b"1")
        archive.writestr("../evil", b"2")
    with pytest.raises(RuntimeError, match="outside of its folder: '../evil'"):
        utils.extract_archive(tmp_path / "a.zip", tmp_path / "to")
    assert below(tmp_path) == ["a.zip"]


def test_links_in_tars_become_copies(tmp_path):
    """A link to a file of the archive is a file of its own; executable files stay so."""
    tool = tarfile.TarInfo("bin/tool")
    tool.mode = 0o755
    path = tar(tmp_path / "a.tar", [("d/a", b"content"), (special("d/soft", tarfile.SYMTYPE, "a"), b""),
                                    (special("hard", tarfile.LNKTYPE, "d/a"), b""), (tool, b"x")])
    utils.extract_archive(path, tmp_path / "to")
    for name in ("d/soft", "hard"):
        assert (tmp_path / "to" / name).read_bytes() == b"content" and not (tmp_path / "to" / name).is_symlink()
    assert os.access(tmp_path / "to/bin/tool", os.X_OK) and not os.access(tmp_path / "to/hard", os.X_OK)


def test_damaged_and_unknown_archives(tmp_path):
    """A file cut short leaves nothing behind and the old file as it was; an unknown suffix is named."""
    packed = gzip.compress(noise(5000))
    (tmp_path / "a.gz").write_bytes(packed[:3000])
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="a.gz is damaged: EOFError"):
        utils.extract_archive(tmp_path / "a.gz")
    assert (tmp_path / "a").read_bytes() == b"old" and below(tmp_path) == ["a", "a.gz"]
    for name in ("a.tar", "a.zip", "a.tgz", "a.xz", "a.bz2"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(RuntimeError, match="damaged"):
            utils.extract_archive(tmp_path / name, tmp_path / "to")
    assert below(tmp_path / "to") == []
    with pytest.raises(RuntimeError, match="Unknown compression or archive type: '.rar'"):
        utils.extract_archive(tmp_path / "a.rar")
    with pytest.raises(RuntimeError, match="has no suffixes"):
        utils.extract_archive(tmp_path / "a")
