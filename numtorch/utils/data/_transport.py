"""How batches travel from a worker to its parent: the two ends of one pipe, and memory that both map.

A batch is pickled (protocol 5) with its arrays apart. Small arrays go through the pipe; large ones are copied into an
anonymous file in memory, which the worker uses again once the parent has copied them out: fresh pages cost several times
what copying does. Such a file has no name, only a descriptor that follows the first message in it, so whichever process
dies, nothing is left behind.
"""
import mmap
import os
import pickle
import queue
import threading
from multiprocessing import reduction

import numpy as np

SMALL = 1 << 16             # bytes of arrays that go through the pipe itself
ALIGN = 64                  # of each array in a segment
HAS_MEMFD = hasattr(os, "memfd_create")

DATA, ERROR, END, RESUMED = range(4)    # kinds of messages


def _places(sizes):
    """(where each of the arrays of ``sizes`` bytes begins in a segment, the segment's size)."""
    places, end = [], 0
    for size in sizes:
        places.append(end)
        end += -(-size // ALIGN) * ALIGN
    return places, end


class Segment:
    """A file in memory, mapped, and the number of the last message in it."""

    def __init__(self, size):
        self.fd = os.memfd_create("numtorch-batch")
        os.ftruncate(self.fd, size)
        self.memory, self.size, self.last, self.known = mmap.mmap(self.fd, size), size, -1, False

    def close(self):
        self.memory.close()
        os.close(self.fd)


class Outbox:
    """The worker's end: sends from a thread of its own, so that a full pipe does not stop the worker from taking orders.

    ``taken`` is the number of messages that the parent says it has received: segments of earlier messages are free.
    """

    def __init__(self, conn):
        self.conn, self.messages = conn, queue.SimpleQueue()
        self.segments, self.sent, self.taken = [], 0, 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def put(self, number, kind, data):
        """Packs and sends a message; what pickle raises is raised here."""
        buffers = []
        body = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
        sizes = [view.nbytes for view in views]
        if not HAS_MEMFD or sum(sizes) < SMALL:
            self._send((number, kind, body, sizes, [bytearray(view) for view in views], None, 0))
            return
        places, size = _places(sizes)
        index = self._free_segment(size)
        segment = self.segments[index]
        for view, place in zip(views, places):
            segment.memory[place:place + view.nbytes] = view
        segment.last = self.sent
        handle = None if segment.known else segment.fd
        segment.known = True
        self._send((number, kind, body, sizes, None, index, size if handle is None else segment.size), handle)

    def _free_segment(self, size):
        for index, segment in enumerate(self.segments):
            if segment.last < self.taken:
                if segment.size < size:
                    segment.close()
                    self.segments[index] = Segment(size)
                return index
        self.segments.append(Segment(size))
        return len(self.segments) - 1

    def _send(self, head, handle=None):
        self.sent += 1
        self.messages.put((pickle.dumps((*head, handle is not None)), handle))

    def _run(self):
        while (message := self.messages.get()) is not None:
            head, handle = message
            try:
                self.conn.send_bytes(head)
                if handle is not None:
                    reduction.send_handle(self.conn, handle, None)
            except (BrokenPipeError, ConnectionResetError):
                return      # the parent is gone or has closed its end

    def close(self):
        """Returns when everything is sent, or nobody is left to receive it."""
        self.messages.put(None)
        self.thread.join()


class Inbox:
    """The parent's end of a worker's pipe; ``count`` messages were received so far."""

    def __init__(self, conn):
        self.conn, self.memories, self.count = conn, {}, 0

    def receive(self):
        """The next message: (number, kind, data). EOFError or ConnectionResetError when the worker is gone."""
        number, kind, body, sizes, buffers, index, size, new = pickle.loads(self.conn.recv_bytes())
        if buffers is None:
            if new:
                fd = reduction.recv_handle(self.conn)
                try:
                    if index in self.memories:
                        self.memories[index].close()
                    self.memories[index] = mmap.mmap(fd, size, prot=mmap.PROT_READ)
                finally:
                    os.close(fd)
            buffers = []
            shared = memoryview(self.memories[index])
            for place, n in zip(_places(sizes)[0], sizes):
                buffer = np.empty(n, np.uint8)
                buffer[:] = shared[place:place + n]
                buffers.append(buffer)
            shared.release()
        self.count += 1
        return number, kind, pickle.loads(body, buffers=buffers)

    def close(self):
        """Closes the pipe, which tells the worker to end, and unmaps its memory."""
        self.conn.close()
        while self.memories:
            self.memories.popitem()[1].close()
