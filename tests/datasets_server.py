"""For the tests of data sets: a server on this machine that stands in for the network, and small files to give out."""
import hashlib
import http.server
import io
import pathlib
import tarfile
import threading

import numpy as np

from numtorch.vision.datasets import _download


def md5(content):
    return hashlib.md5(content).hexdigest()


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


def below(root):
    """The files below a folder."""
    return sorted(str(p.relative_to(root)) for p in pathlib.Path(root).rglob("*") if p.is_file())


def tar(path, members, mode="w"):
    """A tar file of (name or TarInfo, content)."""
    with tarfile.open(path, mode) as archive:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


class Server(http.server.ThreadingHTTPServer):
    """Gives out ``files``. ``cut[name]`` has for each coming answer how many bytes it sends before it breaks off.
    ``later`` is called before the second answer and those after it.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.moved, self.asked, self.ranges, self.tag, self.later = {}, {}, {}, [], True, None, None

    def url(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path[1:]
        if server.asked and server.later:
            server.later()
        server.asked.append((name, self.headers.get("Range"), self.headers.get("If-Range")))
        if name in server.moved:
            self.send_response(302)
            self.send_header("Location", server.url(server.moved[name]))
            self.end_headers()
            return
        if name not in server.files:
            self.send_error(404)
            return
        content, start = server.files[name], 0
        wanted = self.headers.get("Range")
        if wanted and server.ranges and self.headers.get("If-Range") in (None, server.tag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            first = start if server.ranges is True else server.ranges
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if server.tag:
            self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        left = server.cut.get(name) or [None]
        self.wfile.write(content[start:][:left.pop(0)])

    def log_message(self, *arguments):
        """Silence."""


def serve(monkeypatch):
    """A fixture: a running server; no pause is made between two connections to it."""
    monkeypatch.setattr(_download, "PAUSE", 0)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
