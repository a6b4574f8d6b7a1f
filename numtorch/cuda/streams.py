"""Streams, which do their work in order, and events, which mark a place in it."""
import ctypes

from .. import devices
from ..kernels import _cuda_errors, _driver
from ..kernels._driver import on
from ..kernels._pool import pool
from ._devices import index_of

__all__ = ["Event", "ExternalStream", "Stream", "StreamContext", "current_stream", "default_stream",
           "get_stream_from_external", "set_stream", "stream"]

PER_PRIORITY = 32               # streams of a device and priority, handed out in turn: as torch's, never destroyed, because
_streams = {}                   # the pool's free memory belongs to a stream; (device, priority) -> [handles, how many handed out]
_priorities = {}                # (device, handle) -> priority
_LOWEST, _HIGHEST = 0, -3


@_driver.on_change.append
def _forget():
    _streams.clear()
    _priorities.clear()


class Stream:
    """A queue of work of one device. In a with-block of it, work goes there.

    Streams of a device are used again from the 33rd on, as in torch.

    Args:
        device (int, str or torch.device): whose; None or a negative number is the current device.
        priority (int): work of a lower number goes first; from 0 to -3, others are the nearest of these.
    """

    def __init__(self, device=None, priority=0):
        driver, index = _driver.current(), -1 if device is None else index_of(device, optional=True)
        index = driver.device() if index < 0 else index
        priority = max(min(int(priority), _LOWEST), _HIGHEST)
        handles = _streams.setdefault((index, priority), [[], 0])
        if len(handles[0]) < PER_PRIORITY:
            handles[0].append(driver.new_stream(index, priority))
        handle = handles[0][handles[1] % PER_PRIORITY]
        handles[1] += 1
        _priorities[index, handle] = priority
        self._set(handle, index)

    def _set(self, handle, index):
        self.cuda_stream, self.device_index = handle, index
        self._entered = []

    @classmethod
    def _of(cls, handle, index):
        """The stream of a handle that is there already."""
        found = cls.__new__(cls)
        found._set(handle, index)
        return found

    device_type = 1                 # torch's number of CUDA
    stream_id = property(lambda self: self.cuda_stream, doc="The number of the stream.")
    device = property(lambda self: devices.device("cuda", self.device_index), doc="The device that it belongs to.")
    priority = property(lambda self: _priorities.get((self.device_index, self.cuda_stream), 0), doc="Its priority.")
    _as_parameter_ = property(lambda self: ctypes.c_void_p(self.cuda_stream), doc="The handle, for ctypes.")

    @staticmethod
    def priority_range():
        """The lowest and the highest priority."""
        return _LOWEST, _HIGHEST

    def wait_event(self, event):
        """Work put into this stream from here on starts when ``event`` has come to pass."""
        event.wait(self)

    def wait_stream(self, stream):
        """Work put into this stream from here on starts when what is in ``stream`` now is done."""
        self.wait_event(stream.record_event())

    def record_event(self, event=None):
        """Records ``event``, or a new one, in this stream; returns it."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def query(self):
        """Whether all work in it is done."""
        with on(self.device_index):
            return _driver.current().query_stream(self.cuda_stream)

    def synchronize(self):
        """Waits until all work in it is done."""
        with on(self.device_index):
            _cuda_errors.synchronize(self.device_index, self.cuda_stream)

    def __enter__(self):
        self._entered.append(StreamContext(self))
        self._entered[-1].__enter__()
        return self

    def __exit__(self, *exc):
        self._entered.pop().__exit__(*exc)

    def __eq__(self, other):
        return isinstance(other, Stream) and (self.cuda_stream, self.device_index) == (other.cuda_stream, other.device_index)

    def __hash__(self):
        return hash((self.cuda_stream, self.device))

    def __repr__(self):
        return f"<torch.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"

    def __cuda_stream__(self):
        """The stream protocol of NVIDIA's Python libraries: (version, handle)."""
        return 0, self.cuda_stream


class ExternalStream(Stream):
    """A stream that another library made, which has to keep it as long as it is used here.

    Args:
        stream_ptr (int): its ``cudaStream_t``.
        device (int, str or torch.device): the device that it was made on; None is the current one.
    """

    def __init__(self, stream_ptr, device=None):
        self._set(int(stream_ptr), index_of(device, optional=True))


def get_stream_from_external(data_ptr, device=None):
    """The ``Stream`` of a ``cudaStream_t`` that another library made, on ``device`` (None: the current one)."""
    return Stream._of(int(data_ptr), index_of(device, optional=True))


class Event:
    """A mark in a stream, to wait for and to measure time with. It is made when it is first recorded, on that stream's device.

    Args:
        enable_timing (bool): two such events have a time between them.
        blocking (bool): a thread that waits for it lets the processor go.
        interprocess (bool): not built: NotImplementedError.
        external (bool): not built: NotImplementedError.
    """

    _handle = _home = _index = None

    def __init__(self, enable_timing=False, blocking=False, interprocess=False, external=False):
        if interprocess or external:
            raise NotImplementedError(f"torch.cuda.Event({'interprocess' if interprocess else 'external'}=True) is not built; "
                                      "events belong to one process, and record no nodes of their own in a graph")
        self._timing, self._blocking = bool(enable_timing), bool(blocking)

    @classmethod
    def from_ipc_handle(cls, device, handle):
        """Not built: an event belongs to one process."""
        raise NotImplementedError("torch.cuda.Event.from_ipc_handle is not built: an event belongs to one process")

    def ipc_handle(self):
        """Not built: an event belongs to one process."""
        raise NotImplementedError("torch.cuda.Event.ipc_handle is not built: an event belongs to one process")

    cuda_event = property(lambda self: self._handle or 0, doc="The driver's handle; 0 before the first recording.")
    device = property(lambda self: None if self._index is None else devices.device("cuda", self._index),
                      doc="The device that it was recorded on; None before.")
    _as_parameter_ = property(lambda self: ctypes.c_void_p(self.cuda_event), doc="The handle, for ctypes.")

    def record(self, stream=None):
        """Marks the end of what is in ``stream`` (None: the current one) now.

        Raises:
            RuntimeError: it was recorded on another device before.
        """
        stream = current_stream() if stream is None else stream
        if self._handle is None:
            self._handle, self._home = pool.take_event(stream.device_index, self._timing, self._blocking)
            self._index = stream.device_index
        if stream.device_index != self._index:
            raise RuntimeError(f"Event device {self._index} does not match recording stream's device {stream.device_index}.")
        with on(self._index):
            _driver.current().record_event(self._handle, stream.cuda_stream)

    def wait(self, stream=None):
        """Work put into ``stream`` (None: the current one) from here on starts when this event has come to pass."""
        if self._handle is not None:
            stream = current_stream() if stream is None else stream
            with on(stream.device_index):
                _driver.current().wait_event(stream.cuda_stream, self._handle)

    def query(self):
        """Whether it has come to pass; True before the first recording."""
        return self._handle is None or _driver.current().query_event(self._handle)

    def synchronize(self):
        """Waits until it has come to pass."""
        if self._handle is not None:
            _driver.current().synchronize_event(self._handle)

    def elapsed_time(self, end_event):
        """Milliseconds from this event to ``end_event``.

        Raises:
            ValueError: one of them was made without ``enable_timing``, or was not recorded.
            RuntimeError: one of them has not come to pass: call ``synchronize`` first.
        """
        if not (self._timing and end_event._timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._handle is None or end_event._handle is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end_event.query()):
            raise RuntimeError("CUDA error: device not ready: an event of elapsed_time() has not come to pass")
        return _driver.current().elapsed(self._handle, end_event._handle)

    def __del__(self):
        if self._home is not None:          # for the next event: no call of the driver, which may be gone by now
            self._home.append(self._handle)

    def __repr__(self):
        return f"<torch.cuda.Event {self._handle:#x}>" if self._handle else "<torch.cuda.Event uninitialized>"


def current_stream(device=None):
    """The stream that work on a device (None: the current one) goes to."""
    index = index_of(device, optional=True)
    with on(index):
        return Stream._of(_driver.current().stream(), index)


def default_stream(device=None):
    """The stream that work on a device (None: the current one) goes to where no other was chosen."""
    _driver.current()
    return Stream._of(0, index_of(device, optional=True))


def set_stream(stream):
    """Makes ``stream`` the one that work of the calling thread goes to, and its device the current one; None changes nothing."""
    if stream is not None:
        driver = _driver.current()
        if driver.device() != stream.device_index:
            driver.set_device(stream.device_index)
        driver.set_stream(stream.cuda_stream)


class StreamContext:
    """A with-block in which work goes to ``stream``.

    Args:
        stream (Stream): where to; None changes nothing.
    """

    def __init__(self, stream):
        self.stream = stream
        self.src_prev_stream = self.dst_prev_stream = None

    def __enter__(self):
        if self.stream is not None:
            self.src_prev_stream = self.dst_prev_stream = current_stream()
            if self.stream.device_index != self.src_prev_stream.device_index:
                self.dst_prev_stream = current_stream(self.stream.device_index)
            set_stream(self.stream)

    def __exit__(self, *exc):
        if self.stream is not None:
            set_stream(self.dst_prev_stream)
            set_stream(self.src_prev_stream)


def stream(stream):
    """A with-block in which work goes to ``stream``; None changes nothing."""
    return StreamContext(stream)
