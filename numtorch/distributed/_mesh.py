"""The sockets between the processes of a group: one between any two, for signals, and for messages from one to another.

A socket tells at once when the process at its other end dies. Large messages lie in shared memory, and what goes through the
socket is the descriptor of that memory, once. Whoever waits for something reads all sockets meanwhile, so that nobody can be
stopped by a message that is not yet wanted.
"""
import array
import math
import os
import select
import socket
import struct
import threading
import time
import weakref
from collections import deque

import numpy as np

from ..multiprocessing._memory import Segment
from ._meeting import connect_all
from .constants import DistBackendError

SIGNAL, MEMORY, MESSAGE, TAKEN, BYE, ABORT = range(6)   # kinds of frames
HEAD = struct.Struct("<BBqqqI")     # kind, whether a descriptor comes with it, three numbers, bytes that follow
INLINE = 1 << 15                    # bytes of a message that goes through the socket itself
UNTAKEN = 1 << 26                   # bytes that a process may have sent to another that has not taken them, before it waits
KEPT = 4                            # segments for messages to a process that are kept for the next
LAST_WORDS = 2.0                    # seconds to wait for others to read what was sent, when a group is destroyed
_meshes = weakref.WeakSet()


class Peer:
    """The socket to another process, and what has come through it."""

    def __init__(self, connection):
        connection.setblocking(False)
        self.connection, self.data, self.fds = connection, bytearray(), deque()
        self.signals, self.memories = deque(), deque()
        self.messages, self.posted = {}, {}     # tag: what came and nobody wanted, and who waits for what has not come
        self.left = self.closed = False
        self.waiting = deque()                  # (bytes, descriptor or None) that the socket did not take yet
        self.segments, self.untaken, self.theirs = {}, 0, {}
        self.numbers = 0


class Waiting:
    """A message that somebody wants: ``array`` (flat bytes) is filled when it comes."""

    def __init__(self, array):
        self.array, self.done, self.error, self.source = array, False, None, None


class Mesh:
    """Sockets to all other processes of a group.

    Args:
        rank, size (int): this process's number, and how many there are.
        publish (callable): called with this process's address.
        address_of (callable): the address that process ``i`` has published; it may change as long as nobody answers there.
        deadline (float): by when, of ``time.monotonic``, all must be connected.
    """

    def __init__(self, rank, size, publish, address_of, deadline):
        self.rank, self.size, self.peers, self.error = rank, size, {}, None
        self.state, self.sending, self.reading = threading.Condition(), threading.RLock(), False
        self.poller, self.flusher = select.poll(), None
        self.wake_out, self.wake_in = os.pipe()
        os.set_blocking(self.wake_in, False)
        self.poller.register(self.wake_out, select.POLLIN)
        self.pid, self.doing = os.getpid(), "connecting"
        _meshes.add(self)
        try:
            for other, connection in connect_all(rank, size, publish, address_of, deadline):
                self.peers[other] = Peer(connection)
                self.poller.register(connection, select.POLLIN)
        except BaseException:
            self.close()
            raise
        self.by_fd = {peer.connection.fileno(): number for number, peer in self.peers.items()}

    # ---- sending -------------------------------------------------------------------------------------------------------

    def send(self, to, kind, a=0, b=0, c=0, body=b"", fd=None):
        """Sends a frame without waiting; what the socket does not take is sent later."""
        peer = self.peers[to]
        data = HEAD.pack(kind, fd is not None, a, b, c, len(body)) + body
        with self.sending:
            if not peer.waiting:
                data, fd = self._write(peer, data, fd)
            if data and not peer.closed:
                peer.waiting.append((data, fd))
                self._write_later(peer)

    def _write(self, peer, data, fd):
        """Writes what the socket takes at once; returns what it did not take."""
        try:
            if fd is None:
                return data[peer.connection.send(data):], None
            n = socket.send_fds(peer.connection, [data], [fd])
            return data[n:], None if n else fd
        except BlockingIOError:
            return data, fd
        except OSError:
            return b"", None        # the process has gone: reading will tell

    def _write_later(self, peer):
        self.poller.modify(peer.connection, select.POLLIN | select.POLLOUT)
        self._wake()
        if self.flusher is None or not self.flusher.is_alive():
            self.flusher = threading.Thread(target=self._flush, daemon=True)
            self.flusher.start()

    def _flush(self, seconds=math.inf):
        """Returns when the sockets have taken everything, or ``seconds`` have passed, or the group has failed."""
        try:
            self.wait(lambda: not any(p.waiting and not p.closed for p in self.peers.values()), time.monotonic() + seconds)
        except DistBackendError:
            return      # whoever works with the group is told

    def _wake(self):
        """Makes the thread that reads look again."""
        try:
            os.write(self.wake_in, b"x")
        except BlockingIOError:
            return      # it is awake

    # ---- waiting -------------------------------------------------------------------------------------------------------

    def wait(self, ready, deadline, needs=None):
        """Returns what ``ready()`` gives as soon as that is true; reads all sockets meanwhile.

        Args:
            ready (callable): called with the lock held.
            deadline (float): of ``time.monotonic``.
            needs (int): the process without which it cannot become true.

        Raises:
            DistBackendError: the group has failed, that process has left, or time is up (and ``needs`` is late).
        """
        with self.state:
            while True:
                found = ready()
                if found:
                    return found
                if self.error is not None:
                    raise DistBackendError(self.error)
                if needs is not None and self.peers[needs].closed:
                    raise DistBackendError(f"rank {needs} has left the process group, but rank {self.rank} still needs it in "
                                           f"{self.doing}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                if self.reading:
                    self.state.wait(min(left, threading.TIMEOUT_MAX))
                    continue
                self.reading = True
                self.state.release()
                try:
                    events = self._poll(left)
                finally:
                    self.state.acquire()
                    self.reading = False
                    self.state.notify_all()
                self._handle(events)

    def progress(self):
        """Reads what has come, without waiting."""
        with self.state:
            if not self.reading:
                self._handle(self._poll(0))

    def _poll(self, seconds):
        try:
            return self.poller.poll(min(seconds * 1000, 1 << 30))
        except OSError:
            return []       # closed by another thread

    def _handle(self, events):
        for fd, event in events:
            if fd == self.wake_out:
                os.read(fd, 4096)
                continue
            number = self.by_fd[fd]
            peer = self.peers[number]
            if event & select.POLLOUT:
                self._write_waiting(peer)
            if event & ~select.POLLOUT:
                self._read(number, peer)
        self.state.notify_all()

    def _write_waiting(self, peer):
        with self.sending:
            while peer.waiting:
                data, fd = self._write(peer, *peer.waiting.popleft())
                if data:
                    peer.waiting.appendleft((data, fd))
                    return
            if not peer.closed:
                self.poller.modify(peer.connection, select.POLLIN)

    def _read(self, number, peer):
        while not peer.closed:
            try:
                data, ancillary, _, _ = peer.connection.recvmsg(1 << 16, socket.CMSG_SPACE(16 * array.array("i").itemsize))
            except BlockingIOError:
                break
            except OSError:
                data, ancillary = b"", ()
            for level, kind, packed in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds = array.array("i")
                    fds.frombytes(packed[:len(packed) - len(packed) % fds.itemsize])
                    peer.fds.extend(fds)
            if not data:
                peer.closed = True
                self.poller.unregister(peer.connection)
                break
            peer.data += data
            if len(data) < 1 << 16:
                break
        self._frames(number, peer)
        if peer.closed and not peer.left:
            self._fail(f"rank {number} has ended without leaving the process group, while rank {self.rank} was "
                       f"{'in ' + self.doing if self.doing else 'between operations'}")

    def _frames(self, number, peer):
        at = 0
        while len(peer.data) - at >= HEAD.size:
            kind, has_fd, a, b, c, n = HEAD.unpack_from(peer.data, at)
            if len(peer.data) - at < HEAD.size + n:
                break
            body = bytes(peer.data[at + HEAD.size:at + HEAD.size + n])
            at += HEAD.size + n
            fd = peer.fds.popleft() if has_fd else None
            if kind == SIGNAL:
                peer.signals.append((a, body))
            elif kind == MEMORY:
                peer.memories.append(Segment.of(fd))
            elif kind == MESSAGE:
                self._arrived(number, peer, a, body, b, c, fd)
            elif kind == TAKEN:
                self._taken(peer, a)
            elif kind == BYE:
                peer.left = True
            else:
                self._fail(body.decode())
        del peer.data[:at]

    # ---- signals of collective operations ------------------------------------------------------------------------------

    def sync(self, number, text, deadline):
        """Returns when all processes have called it with this ``number``.

        Everybody hears of everybody in log2(size) rounds (D. Hensgen, R. Finkel, U. Manber: Two algorithms for barrier
        synchronization, 1988).

        Raises:
            DistBackendError: a process has ended or is late, or its ``text`` is another one; all others are told.
        """
        if self.error is not None:      # though all signals may have come before it, for instance before a fork
            raise DistBackendError(self.error)
        step = 1
        while step < self.size:
            to, source = (self.rank + step) % self.size, (self.rank - step) % self.size
            signals = self.peers[source].signals
            self.send(to, SIGNAL, number, body=text)
            try:
                theirs, their_text = self.wait(lambda: signals and signals.popleft(), deadline, source)
            except TimeoutError:
                self.abort(f"rank {source} did not come to {self.doing} in time: rank {self.rank} has waited for it")
            if (theirs, their_text) != (number, text):
                self.progress()     # the group may have failed since: that is the reason then
                self.abort(f"rank {source} is in {their_text.decode()} while rank {self.rank} is in {text.decode()}: all "
                           "processes of a group call the same operations in the same order, with tensors of the same size "
                           "and dtype")
            step *= 2

    def abort(self, reason):
        """Ends the group: raises DistBackendError here, and at all other processes."""
        with self.state:
            self._fail(reason)
            self.state.notify_all()
        self._wake()
        raise DistBackendError(self.error)

    def _fail(self, reason):
        """The first reason counts; the others hear of it before they see this process end because of it."""
        if self.error is None:
            self.error = reason
            for other in self.peers:
                self.send(other, ABORT, body=reason.encode())

    def share_segment(self, size, deadline):
        """A Segment of ``size`` bytes that all processes of the group map: the first one makes it."""
        if self.rank == 0:
            segment = Segment.create(size)
            for other in self.peers:
                self.send(other, MEMORY, fd=segment.fd)
            return segment
        return self.wait(lambda: self.peers[0].memories and self.peers[0].memories.popleft(), deadline, 0)

    # ---- messages from one to another ----------------------------------------------------------------------------------

    def post(self, to, tag, data):
        """Sends ``data`` (flat bytes), which may be changed at once."""
        peer = self.peers[to]
        with self.sending:
            if self.error is not None:
                raise DistBackendError(self.error)
            if data.nbytes <= INLINE:
                self.send(to, MESSAGE, tag, data.nbytes, -1, data.tobytes())
                return
            number, segment, fd = self._free_segment(peer, data.nbytes)
            np.ndarray(data.shape, np.uint8, segment)[:] = data
            peer.untaken += data.nbytes
            self.send(to, MESSAGE, tag, data.nbytes, number, fd=fd)

    def _free_segment(self, peer, size):
        """(its number, a Segment that nobody reads, its descriptor if the other does not know it yet)."""
        for number, entry in peer.segments.items():
            if not entry[1] and len(entry[0]) >= size:
                entry[1] = size
                return number, entry[0], None
        segment = Segment.create(max(size, 1 << 20))
        peer.numbers += 1
        peer.segments[peer.numbers] = [segment, size]
        return peer.numbers, segment, segment.fd

    def _taken(self, peer, number):
        with self.sending:
            entry = peer.segments[abs(number)]
            peer.untaken -= entry[1]
            entry[1] = 0
            if number < 0:      # the other has dropped it
                del peer.segments[-number]

    def drained(self, to, deadline):
        """Returns when so little is on its way to a process that more may be sent."""
        peer = self.peers[to]
        self.wait(lambda: peer.untaken <= UNTAKEN, deadline, to)

    def want(self, source, tag, data):
        """A Waiting for the next message of ``tag`` from ``source`` (None: from anybody) into ``data`` (flat bytes)."""
        found = Waiting(data)
        with self.state:
            for number in self.peers if source is None else (source,):
                arrived = self.peers[number].messages.get(tag)
                if arrived:
                    self._fill(found, number, *arrived.popleft())
                    return found
            for number in self.peers if source is None else (source,):
                self.peers[number].posted.setdefault(tag, deque()).append(found)
        return found

    def _arrived(self, number, peer, tag, body, size, segment, fd):
        if fd is not None:
            peer.theirs[segment] = Segment.of(fd)
        posted = peer.posted.get(tag)
        while posted:
            found = posted.popleft()
            if not found.done:
                self._fill(found, number, body, size, segment)
                return
        peer.messages.setdefault(tag, deque()).append((body, size, segment))

    def _fill(self, found, number, body, size, segment):
        peer = self.peers[number]
        if found.array.nbytes != size:
            found.error = (f"recv: rank {self.rank} expects {found.array.nbytes} bytes from rank {number}, but it has sent "
                           f"{size} bytes")
        elif segment < 0:
            found.array[:] = np.frombuffer(body, np.uint8)
        else:
            found.array[:] = np.ndarray((size,), np.uint8, peer.theirs[segment])
        if segment >= 0:
            drop = len(peer.theirs) > KEPT
            if drop:
                del peer.theirs[segment]
            self.send(number, TAKEN, -segment if drop else segment)
        found.done, found.source = True, number

    # ---- the end -------------------------------------------------------------------------------------------------------

    def leave(self):
        """Says goodbye to the others and closes the sockets."""
        if self.error is None:
            for other in self.peers:
                self.send(other, BYE)
            try:
                self._flush(LAST_WORDS)
            except TimeoutError:
                self.error = "a process did not read what was sent to it"
        self.close()

    def close(self):
        """Closes the sockets; the others see a process that has ended, unless it has said goodbye."""
        with self.state:
            self.error = self.error or "the process group was destroyed"
            while self.reading:
                self._wake()
                self.state.wait(0.1)
            self.state.notify_all()
            self._close_all()

    def _close_all(self):
        _meshes.discard(self)
        for peer in self.peers.values():
            peer.closed = True
            peer.connection.close()
        for fd in (self.wake_in, self.wake_out):
            os.close(fd)


def _close_in_child():
    for mesh in list(_meshes):
        # the others must see the end of the process itself, not of its last child
        mesh.error = "the process group was made by the parent of this process: call init_process_group in it"
        mesh.state, mesh.sending, mesh.reading = threading.Condition(), threading.RLock(), False
        mesh._close_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
