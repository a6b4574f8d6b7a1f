"""Archives and compressed files, unpacked so that nothing is written outside the folder named, or left there half done."""
import bz2
import contextlib
import gzip
import lzma
import os
import pathlib
import shutil
import tarfile
import tempfile
import zipfile
import zlib

_ALIASES = {".tbz": (".tar", ".bz2"), ".tbz2": (".tar", ".bz2"), ".tgz": (".tar", ".gz")}
_COMPRESSED = {".bz2": bz2.open, ".gz": gzip.open, ".xz": lzma.open}
_TEMPORARY = ".unpacking-"
_BROKEN = (EOFError, OSError, RecursionError, KeyError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


def detect_file_type(file):
    """What a file's name says it is: ``(suffix, archive type or None, compression or None)``.

    Raises:
        RuntimeError: no suffix, or one that is not known.

    >>> from numtorch.vision.datasets._archives import detect_file_type
    >>> detect_file_type("a.tgz"), detect_file_type("a.tar.xz"), detect_file_type("a.t.bz2"), detect_file_type("a.zip")
    (('.tgz', '.tar', '.gz'), ('.tar.xz', '.tar', '.xz'), ('.bz2', None, '.bz2'), ('.zip', '.zip', None))
    """
    suffixes = pathlib.Path(file).suffixes
    if not suffixes:
        raise RuntimeError(f"File '{file}' has no suffixes that could be used to detect the archive type and compression.")
    *_, before, suffix = ["", *suffixes]
    if suffix in _ALIASES:
        return suffix, *_ALIASES[suffix]
    if suffix in _UNPACKERS:
        return suffix, suffix, None
    if suffix in _COMPRESSED:
        return (before + suffix, before, suffix) if before in _UNPACKERS else (suffix, None, suffix)
    raise RuntimeError(f"Unknown compression or archive type: '{suffix}'.\n"
                       f"Known suffixes are: '{sorted({*_ALIASES, *_UNPACKERS, *_COMPRESSED})}'.")


def decompress(from_path, to_path, compression):
    """Unpacks a compressed single file; ``to_path`` is replaced in one step."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(to_path) or ".", prefix=_TEMPORARY) as folder:
        temporary = os.path.join(folder, "content")
        with open(temporary, "wb") as out, _reading(from_path), _COMPRESSED[compression](from_path, "rb") as packed:
            shutil.copyfileobj(packed, out, 1 << 20)
        os.replace(temporary, to_path)


def unpack(from_path, to_path, archive_type, compression):
    """Unpacks an archive into the folder ``to_path``, made if need be; files of the same names are replaced.

    Raises:
        RuntimeError: a member would lie outside the folder, or is neither file nor folder nor a link to a file of the archive.
    """
    os.makedirs(to_path, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to_path, prefix=_TEMPORARY) as folder:
        with _reading(from_path):
            _UNPACKERS[archive_type](from_path, folder, compression)
        _move_into(folder, to_path)


@contextlib.contextmanager
def _reading(path):
    try:
        yield
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise       # the disk's trouble, not the archive's
        raise RuntimeError(f"extract_archive: {os.fspath(path)} is damaged: {error!r}") from error


def _unpack_tar(path, folder, compression):
    with tarfile.open(path, f"r:{compression[1:]}" if compression else "r") as tar:
        for member in tar:
            target = _inside(folder, member.name, path)
            if member.isdir():
                os.makedirs(target, exist_ok=True)
                continue
            # a link becomes a copy of the file that it names in the archive, so no later member can be written through it
            content = tar.extractfile(member) if member.isfile() or member.issym() or member.islnk() else None
            if content is None:
                raise RuntimeError(f"extract_archive: {os.fspath(path)} has a member that is neither a file nor a folder: "
                                   f"{member.name!r}")
            _write(content, target, member.mode & 0o100)


def _unpack_zip(path, folder, compression):
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            target = _inside(folder, member.filename, path)
            if member.is_dir():
                os.makedirs(target, exist_ok=True)
            else:
                _write(archive.open(member), target, False)


_UNPACKERS = {".tar": _unpack_tar, ".zip": _unpack_zip}


def _inside(folder, name, path):
    """Where the member ``name`` goes; RuntimeError for a name that leads out of the folder."""
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or os.path.splitdrive(name)[0]:
        raise RuntimeError(f"extract_archive: {os.fspath(path)} has a member that would lie outside of its folder: {name!r}")
    return os.path.join(folder, name)


def _write(content, target, executable):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with content, open(target, "wb") as out:
        shutil.copyfileobj(content, out, 1 << 20)
    if executable:
        mode = os.stat(target).st_mode
        os.chmod(target, mode | (mode & 0o444) >> 2)        # for those who may read it


def _move_into(source, target):
    """Moves what lies in ``source`` into ``target``: folders that are new there in one step, all else file by file."""
    for entry in os.scandir(source):
        place = os.path.join(target, entry.name)
        if entry.is_dir() and os.path.isdir(place):
            _move_into(entry.path, place)
        else:
            os.replace(entry.path, place)
