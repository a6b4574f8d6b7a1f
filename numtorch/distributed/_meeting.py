"""How the processes of a group connect: each listens, publishes its address, and calls those of lower number."""
import json
import os
import platform
import secrets
import socket
import struct
import sys
import tempfile
import time

from .constants import DistBackendError


def _machine():
    """What tells this machine, since it was started, from others."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return platform.node()


def _listen(size):
    """(a listening socket, its address as text, a path to remove when all have connected or None)."""
    listener = socket.socket(socket.AF_UNIX)
    name, path = f"numtorch-{secrets.token_hex(16)}", None
    if sys.platform == "linux":
        listener.bind("\0" + name)          # gone with the process
        where = "@" + name
    else:
        where = path = os.path.join(tempfile.gettempdir(), name)
        listener.bind(path)
    listener.listen(size)
    return listener, json.dumps([_machine(), where, secrets.token_hex(16)]), path


def connect_all(rank, size, publish, address_of, deadline):
    """(number, socket) of each other process of the group: those of lower number are called, the others call."""
    listener, address, path = _listen(size)
    try:
        publish(address)
        for other in range(rank):
            yield other, _call(other, rank, address_of, deadline)
        token = json.loads(address)[2].encode()
        missing = set(range(rank + 1, size))
        while missing:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DistBackendError(f"rank {rank} has waited in vain for rank{'s' * (len(missing) > 1)} "
                                       f"{', '.join(map(str, sorted(missing)))} to join the process group")
            listener.settimeout(left)
            try:
                connection, _ = listener.accept()
                connection.settimeout(5.0)
                hello = connection.recv(4 + len(token), socket.MSG_WAITALL)
            except OSError:
                continue        # too late, or the caller has gone
            if hello[4:] == token and (other := struct.unpack("<i", hello[:4])[0]) in missing:
                missing.remove(other)
                yield other, connection
            else:
                connection.close()
    finally:
        listener.close()
        if path is not None:
            os.unlink(path)


def _call(other, rank, address_of, deadline):
    """A socket to the process that has published an address; where nobody answers, the address is of an earlier run."""
    while True:
        machine, where, token = json.loads(address_of(other))
        if machine != _machine():
            raise NotImplementedError(f"rank {other} is on another machine than rank {rank}: numtorch.distributed joins "
                                      "processes of one machine")
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect("\0" + where[1:] if where[0] == "@" else where)
            connection.sendall(struct.pack("<i", rank) + token.encode())
            return connection
        except OSError as error:
            connection.close()
            if time.monotonic() > deadline:
                raise DistBackendError(f"rank {other} cannot be reached by rank {rank}: {error}") from error
        time.sleep(0.02)
