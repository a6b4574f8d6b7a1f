"""Files from the network: resumed where they broke off, checked, and put in place whole or not at all."""
import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request

try:
    import fcntl
except ImportError:     # Windows: processes that download the same file at once are not kept apart there
    fcntl = None

USER_AGENT = "pytorch/vision"
CHUNK = 1 << 16
TIMEOUT = 30.0          # seconds without a byte until a connection is given up
TRIES = 3               # connections in a row that break off without bringing the file forward
PAUSE = 0.5             # seconds before the second connection; twice as long before the third


class _Failed(Exception):
    """An address did not deliver."""


class _Interrupted(_Failed):
    """An address delivered a part; the rest may come on a new connection."""


def md5_of(path, chunk_size=1 << 20):
    """The MD5 checksum of a file, as 32 hexadecimal digits; ``chunk_size`` bytes are read at a time."""
    md5 = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(chunk_size):
            md5.update(chunk)
    return md5.hexdigest()


def intact(path, md5=None):
    """Whether ``path`` is a file and, where a checksum is given, has it."""
    return os.path.isfile(path) and (md5 is None or md5_of(path) == md5)


def fetch(urls, path, md5=None, max_hops=3):
    """Downloads one file that lies at several addresses, tried in turn, unless it is there already.

    The bytes are collected in ``path`` + ".part" and renamed once complete and checked. With a checksum, a later call goes on
    where an earlier one was cut off; without one, only broken connections of this call are resumed, and only while the server
    vouches that the file is still the same. Of several processes that want the same file, one downloads and the others wait.

    Args:
        urls (list of str): the addresses.
        path (str): where the file is to lie; its folder must exist.
        md5 (str, optional): its checksum, 32 hexadecimal digits.
        max_hops (int): redirections to follow for each address.

    Raises:
        RuntimeError: no address delivered the file; the message has the reasons, and how to put the file there by hand.
    """
    with _alone_in(os.path.dirname(path) or "."):
        if intact(path, md5):
            return
        reasons = []
        for url in urls:
            try:
                return _download(url, path, md5, max_hops)
            except _Failed as error:
                reasons.append(f"Tried {url}, got:\n{error}\n")
    raise RuntimeError(f"Error downloading {os.path.basename(path)}:\n" + "".join(reasons) + _by_hand(path, md5))


def _by_hand(path, md5):
    text = f"To go on without this download, get the file elsewhere, put it at {os.path.abspath(path)} and run this again."
    if md5 is not None:
        text += f" Its MD5 checksum must be {md5}"
        text += f"; the file that is there has {md5_of(path)}." if os.path.isfile(path) else "."
    return text


@contextlib.contextmanager
def _alone_in(folder):
    """Holds off other downloads into ``folder``. The lock is on the folder itself, so no lock file is left behind."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):      # some network file systems lock no folders; rename keeps the file whole there
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _download(url, path, md5, max_hops):
    part = path + ".part"
    if md5 is None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)     # nobody could tell whether an earlier call's bytes belong to this file
    leftover = os.path.isfile(part)
    if not (leftover and intact(part, md5)):
        _collect(url, part, max_hops)
        if leftover and not intact(part, md5):      # the first bytes may have been another file's
            os.remove(part)
            _collect(url, part, max_hops)
    if not intact(part, md5):
        found = md5_of(part)
        os.remove(part)
        raise _Failed(f"File not found or corrupted: its MD5 checksum is {found}, not {md5}.")
    os.replace(part, path)


def _collect(url, part, max_hops):
    """Adds to ``part`` what it lacks, over as many connections as it takes."""
    from tqdm import tqdm

    tag, tries = None, 0
    with _kept_unless_empty(part) as file, tqdm(unit="B", unit_scale=True, desc=os.path.basename(part)[:-5]) as bar:
        best = file.tell()
        while True:
            try:
                response = _open(url, file, tag, max_hops)
                with response:
                    tag = _same_file(response)
                    _receive(response, file, bar)
                break
            except _Interrupted:
                file.flush()
                tries = 0 if file.tell() > best else tries + 1
                best = max(best, file.tell())
                if tries == TRIES:
                    raise
                time.sleep(PAUSE * tries)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _kept_unless_empty(part):
    """The file, open to add to; removed where nothing was added to nothing."""
    try:
        with open(part, "ab") as file:
            yield file
    except BaseException:
        if not os.path.getsize(part):
            os.remove(part)
        raise


def _same_file(response):
    """What If-Range can name to have the rest of this very file: a strong ETag, or its date."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _open(url, file, tag, max_hops):
    """Asks for what ``file`` lacks; on return the file is cut to where the answer's bytes go."""
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    start = file.tell()
    if start:
        headers["Range"] = f"bytes={start}-"
        if tag:
            headers["If-Range"] = tag
    opener = urllib.request.build_opener(_Redirects(url, max_hops))
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            _cut(file)
            raise _Interrupted(str(error)) from error
        raise _Failed(str(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise (_Interrupted if start else _Failed)(str(error) or repr(error)) from error
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        _cut(file)      # the whole file is coming
    elif _range(response)[0] != start:
        response.close()
        _cut(file)
        raise _Interrupted(f"asked for the bytes from {start} on, got Content-Range {response.headers.get('Content-Range')!r}")
    return response


def _cut(file):
    file.truncate(0)
    file.seek(0)


def _range(response):
    """(first byte, size of the whole file or None) of a partial answer; (None, None) where it does not say."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range") or "")
    return (int(found[1]), None if found[2] == "*" else int(found[2])) if found else (None, None)


def _receive(response, file, bar):
    """Appends an answer's bytes to the file."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        total = _range(response)[1]
    else:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
    bar.total, bar.n = total, file.tell()
    bar.refresh()
    while True:
        try:
            chunk = response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Interrupted(f"the connection broke off after {file.tell()} bytes: {error!r}") from error
        if not chunk:
            break
        file.write(chunk)
        bar.update(len(chunk))
    if total is not None and file.tell() < total:
        raise _Interrupted(f"the connection ended after {file.tell()} of {total} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows so many redirections and no more."""

    def __init__(self, url, max_hops):
        self.url, self.max_hops, self.hops = url, max_hops, 0

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        self.hops += 1
        if self.hops > self.max_hops:
            raise _Failed(f"Request to {self.url} exceeded {self.max_hops} redirects. The last redirect points to {newurl}.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
