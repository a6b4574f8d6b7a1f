"""Downloads, checksums and archives for data sets, with torchvision's names."""
import os
import pathlib

from . import _archives, _download
from ._archives import detect_file_type as _detect_file_type  # noqa: F401 (programs know it from torchvision)
from ._download import USER_AGENT


def calculate_md5(fpath, chunk_size=1024 * 1024):
    """The MD5 checksum of the file ``fpath``, as 32 hexadecimal digits; ``chunk_size`` bytes are read at a time."""
    return _download.md5_of(fpath, chunk_size)


def check_md5(fpath, md5, **kwargs):
    """Whether the file ``fpath`` has the checksum ``md5``; ``kwargs`` go to calculate_md5."""
    return md5 == calculate_md5(fpath, **kwargs)


def check_integrity(fpath, md5=None):
    """Whether ``fpath`` is a file and, unless ``md5`` is None, has that checksum."""
    return _download.intact(fpath, md5)


def download_url(url, root, filename=None, md5=None, max_redirect_hops=3):
    """Downloads a file into a folder, unless it is there with the right checksum; broken transfers are resumed.

    Args:
        url (str): its address (http, https, ftp, file).
        root (str or Path): the folder, made if need be.
        filename (str, optional): its name there; by default the last part of the address.
        md5 (str, optional): its checksum; None: any file of that name will do.
        max_redirect_hops (int): redirections to follow.

    Raises:
        RuntimeError: it could not be downloaded; the message says why, and where to put the file by hand.
    """
    _download.fetch([url], _place(url, root, filename), md5, max_redirect_hops)


def download_and_extract_archive(url, download_root, extract_root=None, filename=None, md5=None, remove_finished=False):
    """Downloads an archive into ``download_root`` as download_url does, and unpacks it into ``extract_root``.

    Args:
        url (str): its address.
        download_root (str or Path): the folder for the archive.
        extract_root (str or Path, optional): the folder for what it holds; by default the same.
        filename (str, optional): the archive's name; by default the last part of the address.
        md5 (str, optional): its checksum.
        remove_finished (bool): remove the archive after it is unpacked.
    """
    _download_and_extract([url], download_root, extract_root, filename, md5, remove_finished)


def _download_and_extract(urls, download_root, extract_root=None, filename=None, md5=None, remove_finished=False):
    """download_and_extract_archive for a file that lies at several addresses."""
    archive = _place(urls[0], download_root, filename)
    _download.fetch(urls, archive, md5)
    extract_archive(archive, None if extract_root is None else os.path.expanduser(extract_root), remove_finished)


def _place(url, root, filename):
    """The path of a download; makes its folder."""
    path = os.path.join(os.path.expanduser(root), filename or os.path.basename(url))
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    return path


def extract_archive(from_path, to_path=None, remove_finished=False):
    """Unpacks a .tar, .zip, .gz, .bz2, .xz or compressed .tar file, told by its name.

    Members that would be written outside of ``to_path`` are refused, and nothing of the archive is kept then. Links become
    copies of what they point to in the archive.

    Args:
        from_path (str or Path): the file.
        to_path (str or Path, optional): the folder for what it holds; by default the file's own.
        remove_finished (bool): remove the file after it is unpacked.

    Returns:
        The folder, or for a compressed single file that file's path; of the type of ``from_path``.

    Raises:
        RuntimeError: an unknown or damaged file, or a member that leads out of the folder.
    """
    to_path = os.path.dirname(from_path) if to_path is None else os.fspath(to_path)
    suffix, archive_type, compression = _archives.detect_file_type(from_path)
    if archive_type:
        _archives.unpack(from_path, to_path or ".", archive_type, compression)
    else:
        to_path = os.path.join(to_path, os.path.basename(from_path).removesuffix(suffix))
        _archives.decompress(from_path, to_path, compression)
    if remove_finished:
        os.remove(from_path)
    return to_path if isinstance(from_path, str) else pathlib.Path(to_path)


def download_file_from_google_drive(file_id, root, filename=None, md5=None):
    """Downloads a file of Google Drive into a folder, unless it is there; the package gdown does it.

    Args:
        file_id (str): the file's id.
        root (str or Path): the folder, made if need be.
        filename (str, optional): its name there; by default the id.
        md5 (str, optional): its checksum.

    Raises:
        RuntimeError: gdown is not installed, or what it brought has another checksum.
    """
    path = _place(file_id, root, filename)
    if check_integrity(path, md5):
        return
    try:
        import gdown
    except ModuleNotFoundError:
        raise RuntimeError("To download files from GDrive, 'gdown' is required. You can install it with 'pip install gdown'. "
                           f"Or put the file {file_id} by hand at {os.path.abspath(path)}.") from None
    gdown.download(id=file_id, output=path, quiet=False, user_agent=USER_AGENT)
    if not check_integrity(path, md5):
        raise RuntimeError("File not found or corrupted.")


def list_dir(root, prefix=False):
    """The names of the folders in ``root``; with ``prefix`` their paths."""
    return _listed(root, prefix, os.path.isdir)


def list_files(root, suffix, prefix=False):
    """The names of the files in ``root`` that end with ``suffix`` (a str or a tuple of them); with ``prefix`` their paths."""
    return _listed(root, prefix, lambda path: os.path.isfile(path) and path.endswith(suffix))


def _listed(root, prefix, wanted):
    root = os.path.expanduser(root)
    names = [name for name in os.listdir(root) if wanted(os.path.join(root, name))]
    return [os.path.join(root, name) for name in names] if prefix else names


def iterable_to_str(iterable):
    """The items in quotes, with commas between them.

    >>> from numtorch.vision.datasets.utils import iterable_to_str
    >>> print(iterable_to_str(["train", "test"]))
    'train', 'test'
    """
    return "'" + "', '".join([str(item) for item in iterable]) + "'"


def verify_str_arg(value, arg=None, valid_values=None, custom_msg=None):
    """Returns ``value`` if it is a str and, unless ``valid_values`` is None, one of these.

    Args:
        value (str): the argument's value.
        arg (str, optional): the argument's name, for the message.
        valid_values (iterable of str, optional): what it may be.
        custom_msg (str, optional): the message instead of the usual one.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, str):
        place = f" for argument {arg}" if arg is not None else ""
        raise ValueError(f"Expected type str{place}, but got type {type(value)}.")
    if valid_values is not None and value not in valid_values:
        raise ValueError(custom_msg if custom_msg is not None else
                         f"Unknown value '{value}' for argument {arg}. Valid values are {{{iterable_to_str(valid_values)}}}.")
    return value
