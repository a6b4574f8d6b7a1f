"""The wrapper of NVIDIA's driver, over functions that only note how they are called; and why there is no driver."""
import os
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from numtorch.kernels import _driver


@pytest.fixture
def nothing():
    """The search for a driver starts anew, before and after the test."""
    before = _driver._current, _driver._found
    yield
    _driver.use(None)
    _driver._current, _driver._found = before


class Result(int):
    """A CUresult."""


class FakeApi:
    """cuda.bindings.driver: ``calls`` notes (function, arguments, device of the thread's context)."""

    CUresult = SimpleNamespace(CUDA_ERROR_OUT_OF_MEMORY=2, CUDA_ERROR_NO_DEVICE=100, CUDA_ERROR_NOT_READY=600)
    CUdevice_attribute = SimpleNamespace(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76)
    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUevent_flags = SimpleNamespace(CU_EVENT_BLOCKING_SYNC=1, CU_EVENT_DISABLE_TIMING=2)
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED="relaxed", CU_STREAM_CAPTURE_MODE_GLOBAL="global")
    CUstreamCaptureStatus = SimpleNamespace(CU_STREAM_CAPTURE_STATUS_NONE=0)
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    CU_MEMHOSTALLOC_PORTABLE = 1

    def __init__(self, **results):
        self.calls, self.here = [], threading.local()
        self.results = {"cuDeviceGetCount": 2, "cuDriverGetVersion": 13000, "cuMemAlloc": 4096, "cuStreamCreateWithPriority": 77,
                        "cuThreadExchangeStreamCaptureMode": "global", "cuEventElapsedTime": 1.5, "cuStreamEndCapture": "graph",
                        "cuGraphInstantiate": "ready", "cuStreamIsCapturing": 1, "cuEventCreate": 88, "cuMemHostAlloc": 99,
                        "cuDeviceGetName": b"GPU\0\0", "cuDeviceTotalMem": 1 << 30,
                        "cuDeviceGetUuid": SimpleNamespace(bytes=bytes(range(16))), **results}

    def __getattr__(self, name):
        if not name.startswith("cu"):
            raise AttributeError(name)

        def call(*args):
            context = getattr(self.here, "context", None)
            self.calls.append((name, args, context))
            if name == "cuGetErrorString":
                return Result(0), {2: b"out of memory", 700: b"an illegal memory access was encountered"}[args[0]]
            if name == "cuDeviceGet":
                return Result(0), args[0]
            if name == "cuDevicePrimaryCtxRetain":
                return Result(0), f"context {args[0]}"
            if name == "cuCtxSetCurrent":
                self.here.context = args[0]
                return (Result(0),)
            if name == "cuMemGetInfo":
                return Result(0), 1, 2
            if name == "cuDeviceGetAttribute":
                return Result(0), {75: 9, 76: 0}[args[0]]
            value = self.results.get(name)
            return (value,) if isinstance(value, Result) else (Result(0),) if value is None else (Result(0), value)
        return call

    def named(self, *names):
        """The calls of some functions."""
        return [call for call in self.calls if call[0] in names]


class Core:
    """cuda.core: notes launches as calls of the api."""

    class Stream:
        from_handle = staticmethod(lambda handle: f"stream {handle}")

    LaunchConfig = staticmethod(lambda grid, block, shmem_size: (grid, block, shmem_size))

    class ObjectCode:
        @staticmethod
        def from_cubin(code):
            return SimpleNamespace(get_kernel=lambda name: SimpleNamespace(handle=f"handle of {name}", code=code))


def machine(**results):
    """A ``Driver`` over a FakeApi."""
    api, core = FakeApi(**results), Core()
    core.launch = lambda stream, config, kernel, *values: api.calls.append(
        ("launch", (stream, config, kernel.code, *values), getattr(api.here, "context", None)))
    return _driver.Driver(api, core), api


def test_contexts_belong_to_threads():
    """No context before one is needed, one for each thread then, of its device; what names a device does not change it."""
    driver, api = machine()
    assert driver.properties(1).name == "GPU" and driver.properties(1).uuid == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert driver.count() == 2 and (driver.device(), driver.stream()) == (0, 0) and not api.named("cuDevicePrimaryCtxRetain")
    driver.fill(1, 2, 3, 0)
    assert driver.allocate(100, 1, 0) == 4096 and driver.device() == 0 and driver.memory_info(1) == (1, 2)
    driver.fill(1, 2, 3, 0)
    thread = threading.Thread(target=driver.fill, args=(1, 2, 3, 0))
    thread.start()
    thread.join()
    assert [c[2] for c in api.named("cuMemsetD8Async")] == ["context 0"] * 3
    assert [c[2] for c in api.named("cuMemAlloc", "cuMemGetInfo")] == ["context 1"] * 2
    assert [c[1] for c in api.named("cuDevicePrimaryCtxRetain")] == [(0,), (1,)]
    with pytest.raises(RuntimeError, match="CUDA error: invalid device ordinal .device 2 of 2."):
        driver.set_device(2)


def test_kernels_start_on_their_device(monkeypatch):
    """A kernel goes to the current stream of the device that it was prepared for; it is compiled for that device."""
    compiler = ModuleType("numtorch.kernels._cuda_compile")
    compiler.load = lambda kernel, t, u, capability: ((kernel, t, u, capability), "entry")
    monkeypatch.setitem(sys.modules, compiler.__name__, compiler)
    monkeypatch.setattr("numtorch.kernels._cuda_compile", compiler, raising=False)
    driver, api = machine()
    function = driver.prepare("k", "float32", None, 1)
    driver.set_device(1)
    driver.set_stream(77)
    driver.set_device(0)
    driver.launch(function, 2, (3, 4), 0, [5, np.float32(6)])
    other = driver.prepare("k", "int64", "bool", 0)
    driver.launch(other, 1, 32, 100_000, [])
    driver.launch(other, 1, 32, 100_000, [])
    assert [c[1:] for c in api.named("launch")] == [
        (("stream 77", (2, (3, 4), 0), ("k", "float32", None, (9, 0)), 5, np.float32(6)), "context 1"),
        *[(("stream 1", (1, 32, 100_000), ("k", "int64", "bool", (9, 0))), "context 0")] * 2]
    assert [c[1] for c in api.named("cuKernelSetAttribute")] == [(8, 100_000, "handle of entry", 0)] and driver.device() == 0


def test_errors_of_the_driver():
    """Too little memory is MemoryError, "not ready" an answer, all else a RuntimeError with torch's words and the function."""
    driver, api = machine(cuMemAlloc=Result(2), cuMemcpyAsync=Result(700), cuStreamQuery=Result(600), cuEventQuery=Result(700))
    with pytest.raises(MemoryError, match=r"CUDA error: out of memory \(cuMemAlloc\)"):
        driver.allocate(1, 0, 0)
    assert [c[1] for c in api.named("cuThreadExchangeStreamCaptureMode")] == [("relaxed",), ("global",)]
    with pytest.raises(RuntimeError, match=r"CUDA error: an illegal memory access was encountered \(cuMemcpyAsync\)\n.*asynchro"):
        driver.copy(1, 2, 3, 0)
    assert driver.query_stream(0) is False
    with pytest.raises(RuntimeError, match="illegal memory access"):
        driver.query_event(1)


def test_calls_of_the_driver():
    """Arguments in the order of the driver's functions, handles as ints."""
    driver, api = machine()
    assert (driver.new_stream(1, -2), driver.new_event(), driver.new_event(True, True), driver.pin(8)) == (77, 88, 88, 99)
    driver.copy_in(1, 2, 3, 4)
    driver.copy_out(1, 2, 3, 4)
    driver.wait_event(5, 6)
    driver.record_event(6, 5)
    driver.begin_capture(5, "global")
    assert driver.is_capturing(5) and not driver.is_capturing(0) and driver.end_capture(5) == "ready"
    driver.launch_graph("ready", 5)
    driver.synchronize(1)
    assert driver.elapsed(1, 2) == 1.5
    assert [c[:2] for c in api.calls if c[0] not in ("cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent",
                                                     "cuThreadExchangeStreamCaptureMode")] == [
        ("cuDeviceGetCount", ()), ("cuStreamCreateWithPriority", (1, -2)), ("cuEventCreate", (2,)), ("cuEventCreate", (1,)),
        ("cuMemHostAlloc", (8, 1)), ("cuMemcpyHtoDAsync", (1, 2, 3, 4)), ("cuMemcpyDtoHAsync", (1, 2, 3, 4)),
        ("cuStreamWaitEvent", (5, 6, 0)), ("cuEventRecord", (6, 5)), ("cuStreamBeginCapture", (5, "global")),
        ("cuStreamIsCapturing", (5,)), ("cuStreamEndCapture", (5,)), ("cuGraphInstantiate", ("graph", 0)),
        ("cuGraphDestroy", ("graph",)), ("cuGraphLaunch", ("ready", 5)), ("cuCtxSynchronize", ()),
        ("cuEventElapsedTime", (1, 2))]


@pytest.fixture
def installed(nothing, monkeypatch):
    """Puts a FakeApi where cuda.bindings is looked for; the search starts anew."""
    def put(api, core=True):
        package, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
        bindings.driver, bindings.__version__, package.bindings = api, "13.0.0", bindings
        names = {"cuda": package, "cuda.bindings": bindings, "cuda.bindings.driver": api, "cuda.core": None,
                 "cuda.core.experimental": None}
        if core:
            package.core = names["cuda.core"] = ModuleType("cuda.core")
            vars(names["cuda.core"]).update(LaunchConfig=1, ObjectCode=2, Stream=3, launch=4)
        for name, module in names.items():
            monkeypatch.setitem(sys.modules, name, module)
        _driver.use(None)
    return put


def no_library(*args):
    """What cuda.bindings does where libcuda is missing."""
    raise RuntimeError('"cuda" is an NVIDIA driver library and can only be found via system search.')


@pytest.mark.parametrize("change, core, sentence", [
    ({"cuInit": no_library}, True, r"Found no NVIDIA driver on your system \(\"cuda\" is an NVIDIA driver library"),
    ({"cuInit": lambda flags: (Result(100),)}, True, "No CUDA GPUs are available"),
    ({"cuInit": lambda flags: (Result(700),)}, True, r"initialization failed, you might not have a CUDA gpu: an illegal .*cuInit"),
    ({"cuDriverGetVersion": lambda: (Result(0), 12080)}, True, "driver on your system is too old .found version 12080"),
    ({"cuDeviceGetCount": lambda: (Result(0), 0)}, True, "No CUDA GPUs are available"),
    ({}, False, "without the package cuda-core .*pip install 'numtorch.cuda.'"),
], ids=["library", "no device", "broken", "old", "hidden", "core"])
def test_why_there_is_no_driver(installed, change, core, sentence):
    """Each reason is found without raising, and told in one sentence by what needs a device."""
    api = FakeApi()
    vars(api).update(change)
    installed(api, core)
    assert not _driver.available() and not _driver.in_use()
    with pytest.raises(RuntimeError, match="CUDA is not available: .*" + sentence):
        _driver.current()


def test_the_driver_is_found_once(installed):
    """The search finds the machine's driver, which counts as in use only when it is asked for."""
    installed(FakeApi())
    assert _driver.available() and not _driver.in_use() and _driver.why_not() is None
    assert isinstance(_driver.current(), _driver.Driver) and _driver.current() is _driver.current() and _driver.in_use()


def test_the_package_is_not_installed(nothing, monkeypatch):
    """Without cuda-bindings the sentence says how to get it."""
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    _driver.use(None)
    with pytest.raises(RuntimeError, match="without the package cuda-bindings .*pip install 'numtorch.cuda.'"):
        _driver.current()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process(installed):
    """A child process cannot use the parent's driver, and says so in torch's words."""
    installed(FakeApi())
    _driver.current()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            _driver.current()
        except RuntimeError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading) as file:
        assert "Cannot re-initialize CUDA in forked subprocess" in file.read()
