"""The CUDA driver, found at its first use; every call of it goes through the methods of one object.

The tests put a stand-in of the same methods in its place (``use``), so the whole host side runs on machines without a GPU.

Devices are numbers, streams and events the driver's handles as ints; stream 0 is the default stream of the current device.
"""
import contextlib
import os
import threading
from types import SimpleNamespace

_INSTALL = "pip install 'numtorch[cuda]'"
_GET_A_DRIVER = "http://www.nvidia.com/Download/index.aspx"
_FORKED = ("Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' start "
           "method")
_LATE = "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect."


class OnHost(Exception):
    """There is no CUDA way to do this: the operation is to be done with copies in the host's memory."""


# ---- which driver -------------------------------------------------------------------------------------------------------

_current = None         # the driver that is in use
_found = None           # what the search found: a driver, or the sentence why there is none
_searching = threading.Lock()
on_change = []          # called, with no arguments, when another driver takes the place of the one in use


def current():
    """The driver; RuntimeError with one sentence where there is none."""
    return _current if _current is not None else _start()


def _start():
    global _current
    found = _search()
    if isinstance(found, str):
        raise RuntimeError(f"CUDA is not available: {found}; use device='cpu', or test torch.cuda.is_available() first")
    _current = found
    return found


def _search():
    global _found
    with _searching:
        if _found is None:
            _found = _find()
        return _found


def available():
    """Whether there is a driver with at least one device; never raises."""
    return _current is not None or not isinstance(_search(), str)


def in_use():
    """Whether the driver has been asked for since it was found."""
    return _current is not None


def why_not():
    """The sentence that says why there is no driver; None where there is one."""
    found = _search()
    return found if isinstance(found, str) else None


def use(driver):
    """Puts ``driver`` in place of the one in use; a sentence: there is none; None: the machine's own is looked for again."""
    global _current, _found
    _current, _found = None, driver
    for changed in on_change:
        changed()


def _find():
    """The machine's driver as a ``Driver``, or the sentence why there is none."""
    try:
        import cuda.bindings
        from cuda.bindings import driver as api
    except ImportError as error:
        return f"numtorch cannot use CUDA without the package cuda-bindings ({error}): {_INSTALL}"
    try:
        failed, = api.cuInit(0)
    except RuntimeError as error:       # the library libcuda, or its function, is not there
        return (f"Found no NVIDIA driver on your system ({_sentence(error)}). Please check that you have an NVIDIA GPU and "
                f"installed a driver from {_GET_A_DRIVER}")
    if failed == api.CUresult.CUDA_ERROR_NO_DEVICE:
        return "No CUDA GPUs are available"
    if failed:
        return f"CUDA driver initialization failed, you might not have a CUDA gpu: {_error_string(api, failed)} (cuInit)"
    version, bindings = _value(api, "cuDriverGetVersion"), cuda.bindings.__version__
    if version // 1000 < int(bindings.partition(".")[0]):
        return (f"The NVIDIA driver on your system is too old (found version {version}, of CUDA {version // 1000}, for "
                f"cuda-bindings {bindings}). Please update your GPU driver by downloading and installing a new version from the "
                f"URL: {_GET_A_DRIVER}")
    if not _value(api, "cuDeviceGetCount"):
        return "No CUDA GPUs are available"
    try:
        core = _core()
    except ImportError as error:
        return f"numtorch cannot use CUDA without the package cuda-core ({error}): {_INSTALL}"
    os.register_at_fork(after_in_child=_forked)
    return Driver(api, core)


def _core():
    """What starts kernels: cuda.core, whose names were in a package of their own before version 0.5."""
    try:
        from cuda.core import LaunchConfig, ObjectCode, Stream, launch
    except ImportError:
        from cuda.core.experimental import LaunchConfig, ObjectCode, Stream, launch
    return SimpleNamespace(LaunchConfig=LaunchConfig, ObjectCode=ObjectCode, Stream=Stream, launch=launch)


def _forked():
    """A process that was forked after cuInit can call nothing of CUDA, as the driver's documentation says."""
    global _current, _found
    if isinstance(_found, Driver):
        _current, _found = None, _FORKED


def _sentence(error):
    return str(error).strip().rstrip(".").replace("\n", " ")


def _error_string(api, code):
    failed, text = api.cuGetErrorString(code)
    return f"unknown error {int(code)}" if failed or not text else text.decode()


def _value(api, name, *args):
    """What a function of the driver returns beside its status: one value, a tuple of several, or None."""
    failed, *values = getattr(api, name)(*args)
    if not failed:
        return values[0] if len(values) == 1 else tuple(values) or None
    message = f"CUDA error: {_error_string(api, failed)} ({name})"
    if failed == api.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
        raise MemoryError(message)
    raise RuntimeError(f"{message}\n{_LATE}")


class on:
    """A with-block in which ``device`` is the calling thread's current one; ``driver`` None is the one in use."""

    __slots__ = ("device", "driver", "before")

    def __init__(self, device, driver=None):
        self.device, self.driver = device, driver

    def __enter__(self):
        driver = self.driver = current() if self.driver is None else self.driver
        self.before = driver.device()
        if self.before != self.device:
            driver.set_device(self.device)

    def __exit__(self, *exc):
        if self.before != self.device:
            self.driver.set_device(self.before)


# ---- the machine's driver -----------------------------------------------------------------------------------------------

class _Thread(threading.local):
    """What the driver keeps for each thread."""

    device = 0          # the current device
    bound = None        # the device whose context the thread has: None before its first call that needs one
    stream = 0          # the current stream of the current device,
    queue = None        # and the same as cuda.core takes it, once bound

    def __init__(self):
        self.streams = {}       # device -> its current stream, where that is not the default one


class _Function:
    """A kernel loaded on a device."""

    __slots__ = ("kernel", "device", "shared")

    def __init__(self, kernel, device):
        self.kernel, self.device = kernel, device
        self.shared = 48 << 10          # dynamic shared memory, in bytes, that it may have without being asked for more


_PROPERTIES = {
    "major": "COMPUTE_CAPABILITY_MAJOR", "minor": "COMPUTE_CAPABILITY_MINOR", "multi_processor_count": "MULTIPROCESSOR_COUNT",
    "max_threads_per_block": "MAX_THREADS_PER_BLOCK", "shared_memory_per_block": "MAX_SHARED_MEMORY_PER_BLOCK",
    "shared_memory_per_block_optin": "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN",
    "shared_memory_per_multiprocessor": "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR", "warp_size": "WARP_SIZE",
    "L2_cache_size": "L2_CACHE_SIZE", "max_threads_per_multi_processor": "MAX_THREADS_PER_MULTIPROCESSOR",
    "regs_per_multiprocessor": "MAX_REGISTERS_PER_MULTIPROCESSOR", "is_integrated": "INTEGRATED",
    "is_multi_gpu_board": "MULTI_GPU_BOARD", "clock_rate": "CLOCK_RATE", "memory_clock_rate": "MEMORY_CLOCK_RATE",
    "memory_bus_width": "GLOBAL_MEMORY_BUS_WIDTH", "pci_bus_id": "PCI_BUS_ID", "pci_device_id": "PCI_DEVICE_ID",
    "pci_domain_id": "PCI_DOMAIN_ID"}


class Driver:
    """NVIDIA's driver through cuda.bindings; kernels are started by cuda.core, whose launch costs least (0.5 us).

    Contexts are the devices' primary ones, which other libraries share, and are made at the first call that needs one: to ask
    for devices and their properties makes none. Current device and stream belong to the calling thread.
    """

    checks = False

    def __init__(self, api, core):
        self._api, self._launch = api, core.launch
        self._code, self._stream_class, self._config_class = core.ObjectCode, core.Stream, core.LaunchConfig
        self._here = _Thread()
        self._count = _value(api, "cuDeviceGetCount")
        self._lock = threading.RLock()
        self._contexts, self._properties, self._queues, self._configs = {}, {}, {}, {}

    # ---- devices and contexts ----

    def count(self):
        """How many devices there are."""
        return self._count

    def properties(self, device):
        """Name, size and limits of a device, under torch's names (``get_device_properties``)."""
        found = self._properties.get(device)
        if found is None:
            self._check_device(device)
            api, handle = self._api, _value(self._api, "cuDeviceGet", device)
            kinds = api.CUdevice_attribute
            found = SimpleNamespace(
                name=_value(api, "cuDeviceGetName", 256, handle).split(b"\0")[0].decode(),
                total_memory=_value(api, "cuDeviceTotalMem", handle),
                uuid=_uuid(_value(api, "cuDeviceGetUuid", handle).bytes),
                **{name: _value(api, "cuDeviceGetAttribute", getattr(kinds, "CU_DEVICE_ATTRIBUTE_" + kind), handle)
                   for name, kind in _PROPERTIES.items() if hasattr(kinds, "CU_DEVICE_ATTRIBUTE_" + kind)})
            self._properties[device] = found
        return found

    def can_access_peer(self, device, other):
        """Whether kernels on ``device`` can be given access to the memory of ``other``."""
        api = self._api
        return bool(_value(api, "cuDeviceCanAccessPeer", _value(api, "cuDeviceGet", device), _value(api, "cuDeviceGet", other)))

    def device(self):
        """The calling thread's current device."""
        return self._here.device

    def set_device(self, device):
        """Makes a device the calling thread's current one."""
        self._check_device(device)
        self._bind(device)

    def _check_device(self, device):
        if not 0 <= device < self._count:
            raise RuntimeError(f"CUDA error: invalid device ordinal (device {device} of {self._count})")

    def _bind(self, device):
        """Gives the calling thread the context of ``device``."""
        here, context = self._here, self._contexts.get(device)
        if context is None:
            with self._lock:
                context = self._contexts.get(device)
                if context is None:
                    context = _value(self._api, "cuDevicePrimaryCtxRetain", _value(self._api, "cuDeviceGet", device))
                    self._contexts[device] = context
        _value(self._api, "cuCtxSetCurrent", context)
        here.device = here.bound = device
        here.stream = here.streams.get(device, 0)
        here.queue = self._queue(here.stream)

    def _call(self, name, *args):
        """A function of the driver that needs a context: the current device's."""
        here = self._here
        if here.bound is None:
            self._bind(here.device)
        return _value(self._api, name, *args)

    # ---- streams ----

    def stream(self):
        """The calling thread's current stream of the current device."""
        return self._here.stream

    def set_stream(self, stream):
        """Sets the calling thread's current stream of the current device."""
        here = self._here
        here.stream = here.streams[here.device] = stream
        here.queue = self._queue(stream)

    def _queue(self, stream):
        found = self._queues.get(stream)
        if found is None:       # 1 is the driver's own name for the default stream, CU_STREAM_LEGACY
            found = self._queues[stream] = self._stream_class.from_handle(stream or 1)
        return found

    def new_stream(self, device, priority=0):
        """A stream of ``device`` that does not wait for the default stream; a lower ``priority`` goes first."""
        with on(device, self):
            flags = int(self._api.CUstream_flags.CU_STREAM_NON_BLOCKING)
            return int(self._call("cuStreamCreateWithPriority", flags, priority))

    def destroy_stream(self, stream):
        """Gives a stream back; work in it is finished first, without waiting for it here."""
        self._queues.pop(stream, None)
        self._call("cuStreamDestroy", stream)

    def synchronize_stream(self, stream):
        """Waits until the work in a stream is done."""
        self._call("cuStreamSynchronize", stream)

    def query_stream(self, stream):
        """Whether the work in a stream is done."""
        return self._done("cuStreamQuery", stream)

    def wait_event(self, stream, event):
        """Work put into ``stream`` from here on starts when ``event`` has come to pass."""
        self._call("cuStreamWaitEvent", stream, event, 0)

    def synchronize(self, device):
        """Waits until all work on ``device`` is done."""
        with on(device, self):
            self._call("cuCtxSynchronize")

    def _done(self, name, handle):
        here = self._here
        if here.bound is None:
            self._bind(here.device)
        status, = getattr(self._api, name)(handle)
        if status == self._api.CUresult.CUDA_ERROR_NOT_READY:
            return False
        if status:
            raise RuntimeError(f"CUDA error: {_error_string(self._api, status)} ({name})\n{_LATE}")
        return True

    # ---- events ----

    def new_event(self, timing=False, blocking=False):
        """An event of the current device; ``blocking``: to wait for it lets the processor go."""
        flags = self._api.CUevent_flags
        return int(self._call("cuEventCreate", (0 if timing else int(flags.CU_EVENT_DISABLE_TIMING))
                              | (int(flags.CU_EVENT_BLOCKING_SYNC) if blocking else 0)))

    def destroy_event(self, event):
        """Gives an event back."""
        self._call("cuEventDestroy", event)

    def record_event(self, event, stream):
        """The event comes to pass when the work now in ``stream`` is done."""
        self._call("cuEventRecord", event, stream)

    def query_event(self, event):
        """Whether an event has come to pass."""
        return self._done("cuEventQuery", event)

    def synchronize_event(self, event):
        """Waits for an event."""
        self._call("cuEventSynchronize", event)

    def elapsed(self, start, end):
        """Milliseconds between two events that were made with ``timing``."""
        return self._call("cuEventElapsedTime", start, end)

    # ---- memory ----

    def memory_info(self, device):
        """Free and total bytes of a device's memory."""
        with on(device, self):
            return self._call("cuMemGetInfo")

    def allocate(self, nbytes, device, stream):
        """An address of ``nbytes`` on ``device``, aligned to 256 bytes at least; MemoryError where there is not so much.

        By cuMemAlloc: its memory belongs to no stream, can be used in graphs and by other devices, and works on every driver.
        What cuMemAllocAsync does better, to be quick often, is the pool's business, which comes here seldom.
        """
        with on(device, self), self._relaxed():
            return int(self._call("cuMemAlloc", nbytes))

    def free(self, address, device, stream):
        """Gives memory back; waits until the device is done with it."""
        with on(device, self):
            self._call("cuMemFree", address)

    def copy_in(self, address, host_address, nbytes, stream):
        """From the host to the device. Asynchronous from page-locked memory; other memory has been read when this returns."""
        self._call("cuMemcpyHtoDAsync", address, host_address, nbytes, stream)

    def copy_out(self, host_address, address, nbytes, stream):
        """From the device to the host: done when ``stream`` is."""
        self._call("cuMemcpyDtoHAsync", host_address, address, nbytes, stream)

    def copy(self, to, source, nbytes, stream):
        """Within a device or between two, whose addresses the driver tells apart."""
        self._call("cuMemcpyAsync", to, source, nbytes, stream)

    def fill(self, address, byte, nbytes, stream):
        """Sets ``nbytes`` bytes to ``byte``."""
        self._call("cuMemsetD8Async", address, byte, nbytes, stream)

    def pin(self, nbytes):
        """The address of page-locked host memory that all devices can read and write."""
        with self._relaxed():
            return int(self._call("cuMemHostAlloc", nbytes, self._api.CU_MEMHOSTALLOC_PORTABLE))

    def unpin(self, address):
        """Gives page-locked memory back."""
        self._call("cuMemFreeHost", address)

    @contextlib.contextmanager
    def _relaxed(self):
        """A block in which calls are allowed that a capture forbids, because they could wait for its stream: these do not."""
        mode = self._api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        before = self._call("cuThreadExchangeStreamCaptureMode", mode)
        try:
            yield
        finally:
            self._call("cuThreadExchangeStreamCaptureMode", before)

    # ---- kernels ----

    def prepare(self, kernel, t, u, device):
        """A ``DeviceKernel`` for the types ``t`` and ``u`` (names, or None), compiled for ``device`` and loaded there."""
        from . import _cuda_compile

        properties = self.properties(device)
        code, entry = _cuda_compile.load(kernel, t, u, (properties.major, properties.minor))
        with on(device, self), self._relaxed():
            return _Function(self._code.from_cubin(code).get_kernel(entry), device)

    def launch(self, function, grid, block, shared, values):
        """Starts a prepared kernel on the current stream of the device that it was prepared for.

        ``values`` are ints, which kernels take as 8 bytes, and NumPy scalars, which they take as what they are.
        """
        here = self._here
        if here.bound != function.device or shared > function.shared:
            self._get_ready(function, shared)
            with on(function.device, self):
                return self.launch(function, grid, block, shared, values)
        config = self._configs.get((grid, block, shared))
        if config is None:
            config = self._configure(grid, block, shared)
        try:
            self._launch(here.queue, config, function.kernel, *values)
        except (TypeError, ValueError):
            raise
        except Exception as error:      # cuda.core has a class of its own, which is no RuntimeError
            raise RuntimeError(f"CUDA error: {error} (cuLaunchKernelEx)\n{_LATE}") from error

    def _get_ready(self, function, shared):
        """What a launch seldom needs: a context for the thread, more shared memory for the kernel."""
        if self._here.bound is None:
            self._bind(self._here.device)
        if shared > function.shared:
            kind = self._api.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _value(self._api, "cuKernelSetAttribute", kind, shared, function.kernel.handle,
                   _value(self._api, "cuDeviceGet", function.device))
            function.shared = shared

    def _configure(self, grid, block, shared):
        if len(self._configs) >= 4096:      # one for each size of array that a program meets: not for ever
            self._configs.clear()
        config = self._configs[grid, block, shared] = self._config_class(grid=grid, block=block, shmem_size=shared)
        return config

    # ---- graphs ----

    def begin_capture(self, stream, mode):
        """From here on, work put into ``stream`` is not done but noted; mode "global", "thread_local" or "relaxed"."""
        self._call("cuStreamBeginCapture", stream,
                   getattr(self._api.CUstreamCaptureMode, "CU_STREAM_CAPTURE_MODE_" + mode.upper()))

    def end_capture(self, stream):
        """What has been noted since ``begin_capture``, ready to be launched."""
        graph = self._call("cuStreamEndCapture", stream)
        try:
            return self._call("cuGraphInstantiate", graph, 0)
        finally:
            self._call("cuGraphDestroy", graph)

    def launch_graph(self, graph, stream):
        """Puts all work of a graph into ``stream``."""
        self._call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph):
        """Gives a graph back."""
        self._call("cuGraphExecDestroy", graph)

    def is_capturing(self, stream):
        """Whether work put into ``stream`` is noted for a graph; never, for the default stream."""
        if not stream:
            return False
        status = self._call("cuStreamIsCapturing", stream)
        return status != self._api.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE


def _uuid(raw):
    digits = bytes(raw).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
