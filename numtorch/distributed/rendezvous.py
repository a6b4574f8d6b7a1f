"""How the processes of a program find each other: from an address to a store, this process's rank, and their number."""
import socket
from urllib.parse import parse_qs, unquote, urlsplit

from ..kernels import _settings
from .constants import default_pg_timeout
from .store import MeetingFile, TCPStore

__all__ = ["register_rendezvous_handler", "rendezvous"]

_handlers = {}


def register_rendezvous_handler(scheme, handler):
    """Adds a kind of address.

    Args:
        scheme (str): what stands before "://".
        handler (callable): called with the address and the keyword ``timeout``; a generator of (store, rank, world_size).

    Raises:
        RuntimeError: the scheme has a handler.
    """
    if scheme in _handlers:
        raise RuntimeError(f"Rendezvous handler for {scheme}:// already registered")
    _handlers[scheme] = handler


def rendezvous(url, rank=-1, world_size=-1, **kwargs):
    """A generator of (Store, rank, world size) for an address such as "env://", "file:///tmp/x" or "tcp://localhost:29500".

    Args:
        url (str): the address; ``?rank=0&world_size=2`` may follow it.
        rank, world_size (int): of the caller, if the address does not say; -1: not known.
        timeout (timedelta): how long to wait for the others.

    Raises:
        RuntimeError: there is no handler of the scheme, or ``url`` is no str.
        ValueError: rank, world size or port are not known.
    """
    if not isinstance(url, (str, bytes)):
        raise RuntimeError(f"`url` must be a string. {type(url)}: {url}")
    if not isinstance(rank, int):
        raise RuntimeError(f"`rank` must be an integer. {rank}")
    if not isinstance(world_size, int):
        raise RuntimeError(f"`world_size` must be an integer. {world_size}")
    url = url.decode() if isinstance(url, bytes) else url
    parts = urlsplit(url)
    if rank != -1 or world_size != -1:
        found = parse_qs(parts.query)
        for name, value in (("rank", rank), ("world_size", world_size)):
            if value != -1:
                found[name] = [str(value)]
        parts = parts._replace(query="&".join(f"{k}={v[0]}" for k, v in found.items()))
    if parts.scheme not in _handlers:
        raise RuntimeError(f"No rendezvous handler for {parts.scheme}://")
    return _handlers[parts.scheme](parts.geturl(), **kwargs)


def _error(scheme, what):
    return ValueError(f"Error initializing torch.distributed using {scheme}:// rendezvous: {what}")


def _query(parts):
    return {name: values[0] for name, values in parse_qs(parts.query).items()}


def _numbers(scheme, query):
    for name, words in (("rank", "rank"), ("world_size", "world size")):
        if name not in query:
            raise _error(scheme, f"{words} parameter missing")
    return int(query["rank"]), int(query["world_size"])


def _file(url, timeout=default_pg_timeout):
    parts = urlsplit(url)
    path = unquote(parts.netloc + parts.path)
    if not path:
        raise _error("file", "path missing")
    rank, world_size = _numbers("file", _query(parts))
    store = MeetingFile(path)
    store.set_timeout(timeout)
    yield store, rank, world_size
    raise RuntimeError("Unable to perform rerendezvous using file:// method")


def _tcp(url, timeout=default_pg_timeout):
    parts = urlsplit(url)
    if not parts.port:
        raise _error("tcp", "port number missing")
    rank, world_size = _numbers("tcp", _query(parts))
    yield _tcp_store(parts.hostname, parts.port, rank, world_size, timeout), rank, world_size
    raise RuntimeError("Unable to perform re-rendezvous using tcp:// method")


def _env(url, timeout=default_pg_timeout):
    query = _query(urlsplit(url))

    def known(name):
        value = _settings.rendezvous_variable(name)
        if value is None:
            raise _error("env", f"environment variable {name} expected, but not set")
        return value

    rank = int(query.get("rank") or known("RANK"))
    world_size = int(query.get("world_size") or known("WORLD_SIZE"))
    yield _tcp_store(known("MASTER_ADDR"), int(known("MASTER_PORT")), rank, world_size, timeout), rank, world_size
    raise RuntimeError("Unable to perform re-rendezvous using env:// method")


def _tcp_store(host, port, rank, world_size, timeout):
    if not 0 <= port < 1 << 16:
        raise ValueError(f"port must have value from 0 to 65535 but was {port}.")
    try:
        socket.getaddrinfo(host, port)
    except OSError as error:
        raise ValueError(f"Error initializing torch.distributed: the host {host!r} is not known: {error}") from error
    return TCPStore(host, port, world_size, is_master=rank == 0, timeout=timeout, wait_for_workers=False)


register_rendezvous_handler("file", _file)
register_rendezvous_handler("tcp", _tcp)
register_rendezvous_handler("env", _env)
