"""The driver that stands in for CUDA's: memory, streams, events and graphs behave, and what is used wrongly is reported."""
import ctypes
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import simulator
from numtorch.kernels import _driver
from numtorch.kernels._cuda import cuda
from simulator import KernelError, StandInDriver
from simulator.arrays import kernel, on_device, to_host


@kernel("f* f* q")
def doubled(x, out, n):
    i = cuda.grid(1)
    if i < n:
        out[i] = x[i] + x[i]


@kernel("f* q")
def shifted_read(x, by):
    i = cuda.grid(1)
    x[i] = x[i + by]


@pytest.fixture(params=[False, True], ids=["eager", "lazy"])
def either(request):
    """A driver that does work at once, or late."""
    return StandInDriver(seed=3, lazy=request.param)


def test_memory_is_checked():
    driver = StandInDriver(total_memory=4096)
    x = np.arange(100, dtype=np.float32)
    a = on_device(driver, x)
    assert driver.memory_info(0) == (4096 - 400, 4096) and driver.memory_info(1) == (4096, 4096)
    assert (to_host(driver, a, np.zeros(100, np.float32)) == x).all()
    with pytest.raises(MemoryError, match="device 0 has 3696 bytes left, not 3697"):
        driver.allocate(3697, 0, 0)
    with pytest.raises(AssertionError, match="404 bytes at 0x.* reach beyond their allocation, 400 bytes"):
        driver.fill(a, 0, 404, 0)
    with pytest.raises(AssertionError, match="not in memory that is allocated on device 0"):
        driver.fill(x.ctypes.data, 0, 4, 0)
    with pytest.raises(AssertionError, match="which is not allocated on device 0"):
        driver.free(a + 4, 0, 0)
    driver.set_device(1)
    with pytest.raises(AssertionError, match="not in memory that is allocated on device 1"):
        driver.fill(a, 0, 4, 0)
    b = driver.allocate(400, 1, 0)
    driver.copy(b, a, 400, 0)
    assert (to_host(driver, b, np.zeros(100, np.float32)) == x).all()
    driver.set_device(0)
    driver.free(a, 0, 0)
    for wrong in (lambda: driver.free(a, 0, 0), lambda: driver.fill(a, 0, 4, 0), lambda: driver.copy(a, b, 4, 0)):
        with pytest.raises(AssertionError, match="allocated on device 0"):
            wrong()
    assert driver.allocate(400, 0, 0) != a and driver.memory_info(0)[0] == 4096 - 400


def test_launches_are_checked():
    driver = StandInDriver()
    driver.log = []
    x = np.zeros(8, np.float32)
    a = on_device(driver, x)
    prepared = driver.prepare(shifted_read, None, None, 0)
    driver.launch(prepared, 1, 7, 0, [a, 1])
    assert driver.log == [shifted_read.name] and driver.launches == 1
    for values, match in (([a], "takes 2 arguments, not 1"), ([a, 1.5], "float where int64 is declared"),
                          ([a + 2, 0], "argument x at 0x.* is not aligned for float32"), ([a + 4096, 0], "not in memory"),
                          ([0, 0], r"index 0 of argument x \(no array\), which has 0 elements")):
        with pytest.raises(AssertionError, match=match):
            driver.launch(prepared, 1, 1, 0, values)
    array = SimpleNamespace(ptr=a + 8, shape=(2,), strides=(8,), dtype=x.dtype)
    driver.launch(prepared, 1, 3, 0, [a + 8, 0], [array, 0])
    with pytest.raises(KernelError, match="index 3 of argument x, which has 3 elements"):     # of the array, not of all
        driver.launch(prepared, 1, 4, 0, [a + 8, 0], [array, 0])
    driver.set_device(1)
    driver.launch(prepared, 1, 1, 0, [a, 0])            # a kernel knows its device
    with pytest.raises(AssertionError, match="not in memory that is allocated on device 1"):
        driver.launch(driver.prepare(shifted_read, None, None, 1), 1, 1, 0, [a, 0])


@kernel("f~ q")
def backwards(x, step):
    i = cuda.grid(1)
    x[i * step] = i


def test_arrays_of_any_layout_may_be_stepped_back_from():
    driver = StandInDriver(seed=1)
    x = np.zeros(8, np.float32)
    a = on_device(driver, x)
    driver.launch(driver.prepare(backwards, None, None, 0), 1, 8, 0, [a + 28, -1])
    assert list(to_host(driver, a, x)) == [7, 6, 5, 4, 3, 2, 1, 0]
    with pytest.raises(KernelError, match="index -1 of argument x"):
        driver.launch(driver.prepare(backwards, None, None, 0), 1, 8, 0, [a + 24, -1])


def test_handles_are_checked():
    driver = StandInDriver()
    stream, event = driver.new_stream(0), driver.new_event()
    driver.destroy_stream(stream)
    driver.destroy_event(event)
    untimed, there = driver.new_event(), driver.new_stream(1)
    for wrong, match in ((lambda: driver.synchronize_stream(stream), "there is no stream"),
                         (lambda: driver.record_event(event, 0), "there is no event"),
                         (lambda: driver.elapsed(untimed, untimed), "made without timing"),
                         (lambda: driver.record_event(untimed, there), "event of device 0 on a stream of device 1"),
                         (lambda: driver.set_stream(there), "not of the current device"),
                         (lambda: driver.destroy_stream(0), "default stream"),
                         (lambda: driver.launch_graph(1, 0), "there is no graph"), (lambda: driver.unpin(1), "not pinned")):
        with pytest.raises(AssertionError, match=match):
            wrong()
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        driver.set_device(2)


def test_current_device_and_stream_are_the_threads():
    driver, seen = StandInDriver(), []
    driver.set_device(1)
    stream = driver.new_stream(1)
    driver.set_stream(stream)
    thread = threading.Thread(target=lambda: seen.append((driver.device(), driver.stream())))
    thread.start()
    thread.join()
    assert seen == [(0, 0)] and (driver.device(), driver.stream()) == (1, stream)
    driver.set_device(0)
    assert driver.stream() == 0


def test_work_is_done_in_the_order_of_streams_and_events(either):
    """What waits for an event sees what came before it; ``either`` shuffles what nothing orders."""
    first, second, event = either.new_stream(0), either.new_stream(0), either.new_event(timing=True)
    a, b = either.allocate(8, 0, 0), either.allocate(8, 0, 0)
    for value in range(5):
        either.fill(a, value, 8, first)
        either.record_event(event, first)
        either.wait_event(second, event)
        either.copy(b, a, 8, second)
        either.record_event(event, second)
        either.wait_event(first, event)
    out = np.zeros(8, np.uint8)
    either.copy_out(out.ctypes.data, b, 8, second)
    either.synchronize_stream(second)
    assert (out == 4).all() and either.query_event(event) and either.elapsed(event, event) == 0
    assert either.query_stream(second)


def test_missing_synchronisation_is_seen():
    """A lazy driver has not done what nothing waited for."""
    seen = set()
    for seed in range(20):
        driver = StandInDriver(seed=seed, lazy=True)
        first, second = driver.new_stream(0), driver.new_stream(0)
        a, out = driver.allocate(8, 0, 0), np.zeros(8, np.uint8)
        driver.fill(a, 1, 8, first)
        driver.copy_out(out.ctypes.data, a, 8, second)
        assert (out == 0xFF).all()
        driver.synchronize_stream(second)
        seen.add(int(out[0]))
    assert seen == {1, 0xFF}


@pytest.mark.parametrize("pinned", [False, True])
def test_copies_of_pinned_memory_are_asynchronous(pinned):
    driver = StandInDriver(lazy=True)
    address = driver.pin(4)
    own = (ctypes.c_uint8 * 4).from_address(address) if pinned else (ctypes.c_uint8 * 4)()
    own[:] = 1, 2, 3, 4
    a, out = driver.allocate(4, 0, 0), np.zeros(4, np.uint8)
    driver.copy_in(a, ctypes.addressof(own), 4, 0)
    own[0] = 9
    assert list(to_host(driver, a, out)) == [9 if pinned else 1, 2, 3, 4]
    driver.unpin(address)


def test_lazy_launches(either):
    x = np.arange(8, dtype=np.float32)
    a, b = on_device(either, x), either.allocate(32, 0, 0)
    either.launch(either.prepare(doubled, None, None, 0), 1, 8, 0, [a, b, 8])
    either.launch(either.prepare(doubled, None, None, 0), 1, 8, 0, [b, a, 8])
    assert (to_host(either, a, np.zeros(8, np.float32)) == 4 * x).all()
    either.launch(either.prepare(doubled, None, None, 0), 1, 8, 0, [a, b, 8])
    either.free(a, 0, 0)
    assert (to_host(either, b, np.zeros(8, np.float32)) == 8 * x).all()


def test_graphs(either):
    """Captured work is not done; each launch of the graph does it, that of streams which joined the capture too."""
    stream, other, event = either.new_stream(0), either.new_stream(0), either.new_event()
    a, b, x = either.allocate(8, 0, 0), either.allocate(8, 0, 0), np.zeros(2, np.float32)
    either.fill(a, 0, 8, stream)
    either.fill(b, 1, 8, stream)
    double = either.prepare(doubled, None, None, 0)
    either.synchronize(0)
    either.begin_capture(stream, "global")
    either.set_stream(stream)
    either.copy(b, a, 8, stream)
    either.record_event(event, stream)
    either.wait_event(other, event)
    assert either.is_capturing(other) and not either.is_capturing(0)
    either.set_stream(other)
    either.launch(double, 1, 2, 0, [b, b, 2])
    with pytest.raises(AssertionError, match="synchronize_stream of stream .*, which is being captured"):
        either.synchronize_stream(other)
    either.record_event(event, other)
    either.wait_event(stream, event)
    either.set_stream(0)
    graph = either.end_capture(stream)
    assert not either.is_capturing(stream) and not either.is_capturing(other)
    assert to_host(either, b, x.view(np.uint8))[0] == 1
    for value in (1.5, 2.5):
        x[:] = value
        either.copy_in(a, x.ctypes.data, 8, stream)
        either.launch_graph(graph, stream)
        either.synchronize_stream(stream)
        assert list(to_host(either, b, x)) == [2 * value] * 2
    either.free(b, 0, 0)
    with pytest.raises(AssertionError, match="not in memory that is allocated"):
        either.launch_graph(graph, stream)
        either.synchronize_stream(stream)
    either.destroy_graph(graph)


def test_a_capture_that_is_not_joined():
    driver = StandInDriver()
    stream, other, event = driver.new_stream(0), driver.new_stream(0), driver.new_event()
    driver.begin_capture(stream, "relaxed")
    driver.record_event(event, stream)
    driver.wait_event(other, event)
    with pytest.raises(AssertionError, match=f"before streams \\[{other}\\] are joined"):
        driver.end_capture(stream)
    with pytest.raises(AssertionError, match="recorded in a capture, which has ended"):
        driver.wait_event(stream, event)


def test_installing_a_driver():
    """For the time of a with-block, within others too."""
    with simulator.installed(seed=1, devices=3) as outer:
        assert _driver.current() is outer and outer.count() == 3 and outer.checks
        with simulator.installed(total_memory=1 << 20) as inner:
            assert _driver.current() is inner and inner.properties(1).total_memory == 1 << 20
        assert _driver.current() is outer
