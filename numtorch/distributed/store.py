"""Stores: small tables of keys and bytes through which processes find each other."""
import os
import socket
import struct
import threading
import time
import weakref
from datetime import timedelta

from .constants import DistNetworkError, DistStoreError, default_store_timeout, seconds

__all__ = ["FileStore", "HashStore", "PrefixStore", "Store", "TCPStore"]

POLL_SECONDS = 0.01         # how often a FileStore looks whether its file has grown


def _bytes(value):
    return value.encode() if isinstance(value, str) else bytes(value)


class Store:
    """What all stores do. A subclass answers ``_ask(name, arguments, seconds)``, all bytes; see ``Table``."""

    def __init__(self, timeout=default_store_timeout):
        self._seconds = seconds(timeout, type(self).__name__)

    @property
    def timeout(self):
        """How long ``get`` and ``wait`` wait, a timedelta."""
        return timedelta(seconds=self._seconds)

    def set_timeout(self, timeout):
        """Sets how long ``get`` and ``wait`` wait."""
        self._seconds = seconds(timeout, "set_timeout")

    def set(self, key, value):
        """Sets ``key`` (str) to ``value`` (str or bytes)."""
        self._ask("set", (_bytes(key), _bytes(value)), 0)

    def get(self, key):
        """The bytes of ``key``; waits until it is set. DistStoreError when that takes too long."""
        return self._ask("get", (_bytes(key),), self._seconds)

    def add(self, key, amount):
        """Adds an int to the counter ``key``, 0 at first; returns the sum."""
        return int(self._ask("add", (_bytes(key), b"%d" % amount), 0))

    def append(self, key, value):
        """Adds ``value`` to the end of ``key``, empty at first."""
        self._ask("append", (_bytes(key), _bytes(value)), 0)

    def check(self, keys):
        """True when all ``keys`` are set."""
        return self._ask("check", tuple(map(_bytes, keys)), 0) == b"1"

    def wait(self, keys, timeout=None):
        """Waits until all ``keys`` are set.

        Args:
            keys (list of str): what to wait for.
            timeout (timedelta): how long; default the store's.

        Raises:
            DistStoreError: they were not set in time.
        """
        self._ask("wait", tuple(map(_bytes, keys)), self._seconds if timeout is None else seconds(timeout, "wait"))

    def compare_set(self, key, expected_value, desired_value):
        """Sets ``key`` to ``desired_value`` if it is ``expected_value`` (or not set, and that is empty); returns what it is
        then, or ``expected_value`` where the key is not set."""
        return self._ask("compare_set", (_bytes(key), _bytes(expected_value), _bytes(desired_value)), 0)

    def delete_key(self, key):
        """Removes ``key``; returns whether it was there."""
        return self._ask("delete_key", (_bytes(key),), 0) == b"1"

    def num_keys(self):
        """The number of keys."""
        return int(self._ask("num_keys", (), 0))

    def multi_get(self, keys):
        """The bytes of each of ``keys``."""
        return [self.get(key) for key in keys]

    def multi_set(self, keys, values):
        """Sets each of ``keys`` to its value."""
        for key, value in zip(keys, values):
            self.set(key, value)

    def has_extended_api(self):
        """True: there are append, multi_get and multi_set."""
        return True


class Table:
    """The keys of a store, for threads of one process."""

    def __init__(self):
        self.values, self.changed = {}, threading.Condition()

    def ask(self, name, arguments, timeout):
        """Answers a question of ``Store``; DistStoreError when ``timeout`` seconds passed."""
        with self.changed:
            if name in ("get", "wait") and not self.changed.wait_for(lambda: self._missing(arguments) == [], timeout):
                raise DistStoreError(too_late(timeout, self._missing(arguments)))
            return getattr(self, "_" + name)(*arguments)

    def _missing(self, keys):
        return [key for key in keys if key not in self.values]

    def _put(self, key, value):
        self.values[key] = value
        self.changed.notify_all()
        return value

    _set = _put

    def _get(self, key):
        return self.values[key]

    def _wait(self, *keys):
        return b""

    def _check(self, *keys):
        return b"0" if self._missing(keys) else b"1"

    def _add(self, key, amount):
        return self._put(key, b"%d" % (int(self.values.get(key, b"0")) + int(amount)))

    def _append(self, key, value):
        return self._put(key, self.values.get(key, b"") + value)

    def _compare_set(self, key, expected, desired):
        if self.values.get(key, b"") == expected:
            return self._put(key, desired)
        return self.values.get(key, expected)

    def _delete_key(self, key):
        return b"0" if self.values.pop(key, None) is None else b"1"

    def _num_keys(self):
        return b"%d" % len(self.values)


def too_late(timeout, keys):
    """torch's words for keys that were not set in time."""
    return f"wait timeout after {round(timeout * 1000)}ms, keys: " + ", ".join(f"/{key.decode(errors='replace')}" for key in keys)


class HashStore(Store):
    """A store of one process, for its threads.

    >>> store = HashStore()
    >>> store.set("a", "1")
    >>> store.get("a"), store.add("n", 2)
    (b'1', 2)
    """

    def __init__(self):
        super().__init__()
        self._table = Table()

    def _ask(self, name, arguments, timeout):
        return self._table.ask(name, arguments, timeout)


class PrefixStore(Store):
    """A part of another store: every key begins with ``prefix`` and a slash.

    Args:
        prefix (str): the beginning.
        store (Store): where the keys are.
    """

    def __init__(self, prefix, store):
        super().__init__(store.timeout)
        self.prefix, self.underlying_store = prefix, store

    def _ask(self, name, arguments, timeout):
        keys = len(arguments) if name in ("check", "wait") else min(len(arguments), 1)
        start = _bytes(self.prefix) + b"/"
        return self.underlying_store._ask(name, (*(start + key for key in arguments[:keys]), *arguments[keys:]), timeout)


# ---- in a file ---------------------------------------------------------------------------------------------------------

class FileStore(Store):
    """A store in a file that all processes can write: the log of what was set, read by each.

    Args:
        file_name (str): the file; it is made if it is not there, and removed by the last of ``world_size`` processes.
        world_size (int): number of processes; -1 leaves the file there.
    """

    def __init__(self, file_name, world_size=-1):
        super().__init__()
        self.path, self._lock, self._inode = os.fspath(file_name), threading.Lock(), None
        self._read, self._table = 0, Table()
        if world_size > 0:
            weakref.finalize(self, _leave, self.path, world_size, os.getpid())

    def _ask(self, name, arguments, timeout):
        end = time.monotonic() + timeout
        while True:
            try:
                return self._once(name, arguments)
            except DistStoreError:
                if time.monotonic() >= end:
                    missing = self._table._missing(arguments)
                    raise DistStoreError(too_late(timeout, missing)) from None
            time.sleep(POLL_SECONDS)

    def _opened(self):
        """The file, which is this process's alone until it is closed."""
        import fcntl

        while True:
            file = open(self.path, "a+b")
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.path.exists(self.path) and os.path.samestat(os.stat(self.path), os.fstat(file.fileno())):
                return file
            file.close()        # removed meanwhile

    def _once(self, name, arguments):
        with self._lock, self._opened() as file:
            self._follow(file)
            before = dict(self._table.values)
            found = self._table.ask(name, arguments, 0)
            for key in before.keys() | self._table.values.keys():
                value = self._table.values.get(key)
                if before.get(key) != value:
                    self._write(file, key, value)
            self._read = file.tell()
            return found

    def _write(self, file, key, value):
        # a length of -1 removes the key
        file.write(struct.pack("<ii", len(key), -1 if value is None else len(value)) + key + (value or b""))

    def _follow(self, file):
        """Reads what others have written since; all of it, where the file is another one than before."""
        inode = os.fstat(file.fileno()).st_ino
        if inode != self._inode:
            self._inode, self._read, self._table = inode, 0, Table()
        file.seek(self._read)
        log, at = file.read(), 0
        while at < len(log):
            n, m = struct.unpack_from("<ii", log, at)
            key = log[at + 8:at + 8 + n]
            if m < 0:
                self._table.values.pop(key, None)
            else:
                self._table.values[key] = log[at + 8 + n:at + 8 + n + m]
            at += 8 + n + max(m, 0)


class MeetingFile(FileStore):
    """A file in which processes meet under addresses of their own; the last to take its address away removes it."""

    def leave(self, prefix, name):
        """Takes away the key ``prefix + name``; removes the file if no other begins with ``prefix``.

        Processes that have left may be meeting there again.
        """
        with self._lock, self._opened() as file:
            self._follow(file)
            start, own = _bytes(prefix), _bytes(prefix + name)
            if any(key.startswith(start) and key != own for key in self._table.values):
                self._write(file, own, None)
            else:
                os.unlink(self.path)


def _leave(path, world_size, pid):
    if os.getpid() == pid and os.path.exists(path) and FileStore(path).add("cleanup", 1) == world_size:
        os.unlink(path)


# ---- over TCP ----------------------------------------------------------------------------------------------------------

_NAMES = ("set", "get", "add", "append", "check", "wait", "compare_set", "delete_key", "num_keys")
_ANSWER, _LATE = 0, 1
_servers = weakref.WeakSet()


def _send(connection, head, parts):
    connection.sendall(struct.pack("<BdI", *head, len(parts)) + b"".join(struct.pack("<I", len(p)) + p for p in parts))


def _receive(connection):
    code, timeout, n = struct.unpack("<BdI", _exactly(connection, 13))
    return code, timeout, [_exactly(connection, struct.unpack("<I", _exactly(connection, 4))[0]) for _ in range(n)]


def _exactly(connection, n):
    data = b""
    while len(data) < n:
        more = connection.recv(n - len(data))
        if not more:
            raise ConnectionResetError("the other side has closed the connection")
        data += more
    return data


class _Server:
    """Answers the processes that connect, each in a thread."""

    def __init__(self, host, port):
        self.table, self.connections = Table(), weakref.WeakSet()
        try:
            self.listener = socket.create_server((host, port), family=_family(host), backlog=1024)
        except OSError as error:
            raise DistNetworkError(f"The server socket has failed to listen on any local network address. port: {port}, "
                                   f"host: {host}, message: {error}") from error
        self.port = self.listener.getsockname()[1]
        _servers.add(self)
        threading.Thread(target=_accept, args=(self.listener, self.table, self.connections), daemon=True).start()

    def close(self):
        """Stops listening and hangs up."""
        for one in (self.listener, *self.connections):
            _shut(one)


def _shut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)       # wakes the thread that waits for it
    except OSError:
        return      # nobody is connected
    finally:
        connection.close()


def _accept(listener, table, connections):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return      # closed
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections.add(connection)
        threading.Thread(target=_serve, args=(connection, table), daemon=True).start()


def _serve(connection, table):
    try:
        while True:
            code, timeout, arguments = _receive(connection)
            try:
                answer = _ANSWER, table.ask(_NAMES[code], arguments, timeout)
            except DistStoreError as error:
                answer = _LATE, str(error).encode()
            _send(connection, (answer[0], 0.0), [answer[1]])
    except OSError:
        connection.close()      # the process is gone


def _family(host):
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][0]


def _close_in_child():
    for server in _servers:
        for one in (server.listener, *server.connections):
            one.close()         # the parent's: its port would be taken as long as the child lives


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


class TCPStore(Store):
    """A store that one process, the master, serves to those that know its address.

    Args:
        host_name (str): the master's host.
        port (int): its port; 0, of the master, takes a free one, which is then ``store.port``.
        world_size (int): number of processes, for ``wait_for_workers``.
        is_master (bool): this process is the master.
        timeout (timedelta): how long to wait for the master, for workers and for keys.
        wait_for_workers (bool): return only when ``world_size`` processes have connected.
        multi_tenant, master_listen_fd, use_libuv: as torch's; a listening socket cannot be given.

    Raises:
        DistNetworkError: the port is taken, or the master does not answer in time.
    """

    def __init__(self, host_name, port, world_size=None, is_master=False, timeout=default_store_timeout, wait_for_workers=True,
                 multi_tenant=False, master_listen_fd=None, use_libuv=True):
        if master_listen_fd is not None:
            raise NotImplementedError("TCPStore: master_listen_fd is not built; give a port")
        super().__init__(timeout)
        self.host, self.port, self._server = host_name, port, None
        self._lock, self._connection = threading.Lock(), None
        if is_master:
            self._server = _tenant(host_name, port) if multi_tenant else _Server(host_name, port)
            self.port = self._server.port
            if not multi_tenant:
                weakref.finalize(self, self._server.close)
        self._connect()
        if wait_for_workers and world_size is not None and world_size > 0:
            self.add("numtorch/workers", 1)
            end = time.monotonic() + self._seconds
            while is_master and self.add("numtorch/workers", 0) < world_size:
                if time.monotonic() > end:
                    raise DistStoreError(f"Timed out after {round(self._seconds)} seconds waiting for clients. "
                                         f"{self.add('numtorch/workers', 0)}/{world_size} clients joined.")
                time.sleep(POLL_SECONDS)

    def _connect(self):
        end, pause = time.monotonic() + self._seconds, 0.005
        while True:
            try:
                self._connection = socket.create_connection((self.host, self.port), max(end - time.monotonic(), 0.01))
                break
            except OSError as error:
                if time.monotonic() + pause >= end:
                    raise DistNetworkError(f"The client socket has timed out after {round(self._seconds * 1000)}ms while "
                                           f"trying to connect to ({self.host}, {self.port}): {error}") from error
            time.sleep(pause)
            pause = min(2 * pause, 0.2)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        weakref.finalize(self, self._connection.close)

    def _ask(self, name, arguments, timeout):
        with self._lock:
            try:
                self._connection.settimeout(timeout + 60)       # the server answers before, if it lives
                _send(self._connection, (_NAMES.index(name), timeout), arguments)
                code, _, (answer,) = _receive(self._connection)
            except OSError as error:
                raise DistNetworkError(f"TCPStore: the server at ({self.host}, {self.port}) does not answer: {error}") from error
        if code == _LATE:
            raise DistStoreError(answer.decode())
        return answer

    def __repr__(self):
        return f"TCPStore(host={self.host}, port={self.port}, is_master={self._server is not None})"


_tenants = {}


def _tenant(host, port):
    """The server at an address that several stores of this process share."""
    if port == 0 or (host, port) not in _tenants:
        server = _Server(host, port)
        _tenants[host, server.port] = server
        return server
    return _tenants[host, port]
