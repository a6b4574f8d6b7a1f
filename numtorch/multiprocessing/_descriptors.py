"""Handing open files to other processes: a thread gives each to whoever knows the word for it.

The standard ``multiprocessing.resource_sharer`` does the same. It stops answering as soon as its process begins to end, though,
before queues have sent what was put into them; this one answers until the end, and its socket has no name on Linux.
"""
import os
import secrets
import socket
import sys
import tempfile
import threading
import time
from multiprocessing import context, parent_process, reduction, util

LINGER_SECONDS = 5.0        # how long a child that has ended waits until what it sent is taken
WORD = 16                   # bytes


class _Server:
    """What this process has promised to others; ``promised`` holds the files by their words."""

    def __init__(self):
        self.lock, self.promised, self.listener, self.path = threading.Lock(), {}, None, None

    def promise(self, segment):
        """(address, word) by which another process gets the segment's descriptor, once."""
        word = secrets.token_bytes(WORD)
        with self.lock:
            if self.listener is None:
                self._start()
            self.promised[word] = segment
        return self.address, word

    def _start(self):
        name = f"numtorch-{os.getpid()}-{secrets.token_hex(8)}"
        self.listener = socket.socket(socket.AF_UNIX)
        if sys.platform == "linux":
            self.address = "\0" + name          # a name that the file system does not see
        else:
            self.address = self.path = os.path.join(tempfile.gettempdir(), name)
        self.listener.bind(self.address)
        self.listener.listen(128)
        threading.Thread(target=self._serve, args=(self.listener,), daemon=True).start()

    def _serve(self, listener):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(LINGER_SECONDS)
                try:
                    word = connection.recv(WORD, socket.MSG_WAITALL)
                    segment = self.promised.get(word)
                    if segment is not None:
                        socket.send_fds(connection, [b"!"], [segment.fd])
                        connection.recv(1)      # until it is taken
                        del self.promised[word]
                except OSError:
                    continue        # the other has gone


class Promise:
    """A descriptor on its way: what is pickled in place of it."""

    def __init__(self, segment):
        self.address, self.word = _server.promise(segment)

    def detach(self):
        """The descriptor, which the caller closes; once."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.address)
            connection.sendall(self.word)
            _, fds, _, _ = socket.recv_fds(connection, 1, 1)
            if not fds:
                raise EOFError
            connection.sendall(b"!")
            return fds[0]


def on_its_way(segment):
    """What to pickle in place of a segment's descriptor: a process that is being started inherits it."""
    return Promise(segment) if context.get_spawning_popen() is None else reduction.DupFd(segment.fd)


_server = _Server()


def _after_fork():
    global _server
    if _server.listener is not None:
        _server.listener.close()        # the parent's
    _server = _Server()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _linger():
    """Keeps a child until others have taken what it has sent, for a while; one that fails or is interrupted does not wait."""
    failed, parent, end = sys.exc_info()[0], parent_process(), time.monotonic() + LINGER_SECONDS
    if parent is not None and (failed is None or issubclass(failed, SystemExit)):
        while _server.promised and time.monotonic() < end and parent.is_alive():
            time.sleep(0.005)
    if _server.path is not None:
        os.unlink(_server.path)


def init(_=None):
    """Has this process linger, if it is a child; forked ones forget it, and are told again."""
    util.Finalize(None, _linger, exitpriority=-50)      # below the -5 of queues, whose threads still pickle


util.register_after_fork(_linger, init)
