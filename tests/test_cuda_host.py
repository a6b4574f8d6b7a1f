"""The host side of CUDA: the pool of memory, and numtorch.cuda, against the driver of the simulator.

Lazy streams of the stand-in do their work only when something waits for it, as a GPU may: what relies on luck fails here.
"""
import random
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import simulator
from numtorch.kernels import _cuda_errors, _driver
from numtorch.kernels._pool import OutOfMemoryError, format_size, pool, size_of

import numtorch as torch
from numtorch import cuda

MIB = 1 << 20


@pytest.fixture
def driver():
    """Two simulated devices of 64 MiB that do their work at once."""
    with simulator.installed(total_memory=64 * MIB) as found:
        found.checks = False            # with checks, the pool goes its long way for every block
        yield found


@pytest.fixture
def lazy():
    """Two simulated devices whose streams do their work only when something waits for it."""
    with simulator.installed(total_memory=64 * MIB, lazy=True, seed=0) as found:
        found.checks = False
        yield found


@pytest.fixture
def nothing():
    """A machine without a driver."""
    before = _driver._current, _driver._found
    _driver.use("there is no driver in this test")
    yield
    _driver.use(None)
    _driver._current, _driver._found = before


def read(driver, address, n=1, stream=0):
    """The first bytes of device memory, once the stream is done."""
    out = np.zeros(n, np.uint8)
    driver.copy_out(out.ctypes.data, address, n, stream)
    driver.synchronize_stream(stream)
    return out.tolist()


# ---- the pool ---------------------------------------------------------------------------------------------------------------

def test_sizes():
    """A size is enough, grows with what is asked, is a multiple of 512, and wastes an eighth, 511 bytes or 2 MiB at most."""
    asked = sorted({n + d for k in range(1, 34) for n in (1 << k, 3 << k, 5 << k) for d in (-1, 0, 1)})
    sizes = [size_of(n) for n in asked]
    assert sizes == sorted(sizes) and size_of(0) == 512
    for n, size in zip(asked, sizes):
        assert n <= size <= n + max(n // 8, 2 * MIB if n >= 10 * MIB else 511) and size % 512 == 0, n
        assert size == size_of(size)
    assert [format_size(n) for n in (1024, 1025, 20 * MIB, 1 << 31)] == ["1024 bytes", "1.00 KiB", "20.00 MiB", "2.00 GiB"]


def test_memory_is_used_again(driver):
    """A dropped block's memory goes to the next of its size on its stream and device, without a call of the driver."""
    a = pool.allocate(1000, 0, 0)
    assert (a.nbytes, a.asked, a.device, a.stream, a.pool) == (1024, 1000, 0, 0, pool) and a.address % 512 == 0
    address, driver.allocate = a.address, None
    del a
    b = pool.allocate(900, 0, 0)
    c = pool.allocate(1024, 0, 0)
    assert b.address == address and c.address == address + 1024
    del driver.allocate
    assert pool.allocate(1000, 1, 0).address != address and pool.allocate(1000, 0, driver.new_stream(0)).address != address


def test_segments(driver):
    """Small pieces are cut from 2 MiB, middle ones from 20 MiB; empty_cache gives back only segments without a block in use."""
    small = [pool.allocate(500_000, 0, 0) for _ in range(5)]
    assert driver.memory_info(0)[0] == 60 * MIB         # four to a segment
    middle = pool.allocate(3 * MIB, 0, 0)
    large = pool.allocate(11 * MIB, 0, 0)
    assert large.nbytes == 12 * MIB and driver.memory_info(0)[0] == 28 * MIB
    del large, small[:4]
    pool.empty_cache(1)
    assert driver.memory_info(0)[0] == 28 * MIB
    pool.empty_cache(0)
    assert driver.memory_info(0)[0] == 42 * MIB and pool.stats(0).reserved.current == 22 * MIB
    again = pool.allocate(500_000, 0, 0)
    assert driver.memory_info(0)[0] == 42 * MIB and again.address != small[0].address
    del small, middle, again
    pool.empty_cache()
    assert driver.memory_info(0)[0] == 64 * MIB and pool.in_use(0) == (0, 0)


def test_memory_is_given_back_when_its_work_is_done(lazy):
    """The driver is given back no memory in which kernels may still be under way."""
    a, done = pool.allocate(512, 0, 0), []
    lazy.fill(a.address, 1, 512, 0)
    free = lazy.free
    lazy.free = lambda *args: (done.append(lazy.query_stream(0)), free(*args))
    del a
    pool.empty_cache()
    assert done == [True]


def test_memory_that_nothing_wrote_is_poisoned(driver):
    """In tests, memory that is used again does not still hold the results of before."""
    driver.checks = True
    a = pool.allocate(100, 0, 0)
    driver.fill(a.address, 7, 100, 0)
    address = a.address
    del a
    b = pool.allocate(100, 0, 0)
    assert b.address == address and read(driver, address) == [255]


def test_out_of_memory(driver):
    """First the cached memory is given back and the driver asked again, then for no more than is needed; then torch's error."""
    held = pool.allocate(30 * MIB, 0, 0)
    cached = pool.allocate(30 * MIB, 0, driver.new_stream(0))
    del cached
    other = pool.allocate(32 * MIB, 0, 0)
    assert pool.stats(0).retries == 1 and pool.stats(0).ooms == 0
    least = pool.allocate(2 * MIB, 0, 0)        # a segment of 20 MiB is not to be had
    with pytest.raises(cuda.OutOfMemoryError) as caught:
        pool.allocate(20 * MIB, 0, 0)
    assert str(caught.value) == (
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 64.00 MiB of which 0 bytes is free. Of "
        "the allocated memory 64.00 MiB is allocated by numtorch, and 0 bytes is reserved by numtorch but unallocated.")
    assert isinstance(caught.value, RuntimeError) and pool.stats(0).ooms == 1
    del held, other, least
    assert pool.allocate(60 * MIB, 0, 0).device == 0


def test_a_limit(driver):
    """set_per_process_memory_fraction: what is beyond the part raises, and cached memory is given up for it."""
    cuda.set_per_process_memory_fraction(0.5)
    assert cuda.get_per_process_memory_fraction() == 0.5 and cuda.get_per_process_memory_fraction(1) == 1.0
    a = pool.allocate(20 * MIB, 0, 0)
    with pytest.raises(OutOfMemoryError, match="32.00 MiB allowed; Of the allocated memory 20.00 MiB"):
        pool.allocate(14 * MIB, 0, 0)
    del a
    assert pool.allocate(30 * MIB, 0, 0).nbytes == 30 * MIB
    with pytest.raises(ValueError, match="Invalid fraction value: 2.0. Allowed range: 0~1"):
        cuda.set_per_process_memory_fraction(2.0)
    with pytest.raises(TypeError, match="must be `float`"):
        cuda.set_per_process_memory_fraction(1)


@pytest.mark.parametrize("recorded", [True, False])
def test_other_streams_are_waited_for(lazy, recorded):
    """With record_stream, memory that a late stream still reads is not given out again; without it, it is."""
    side, source, copied = lazy.new_stream(0), pool.allocate(512, 0, 0), pool.allocate(512, 0, 0)
    lazy.fill(source.address, 1, 512, 0)
    lazy.synchronize(0)
    lazy.copy(copied.address, source.address, 512, side)
    if recorded:
        pool.record_stream(source, side)
    address = source.address
    del source
    new = pool.allocate(512, 0, 0)
    assert (new.address == address) is not recorded
    if recorded:
        lazy.fill(new.address, 2, 512, 0)
        lazy.synchronize_stream(0)
        assert read(lazy, copied.address, stream=side) == [1]
        assert pool.in_use(0) == (2, 0) and pool.allocate(512, 0, 0).address == address


def test_recorded_streams_count_as_active(lazy):
    """A dropped block that another stream uses is no longer allocated, but active; of its own stream nothing is noted."""
    cuda.init()
    side, a = lazy.new_stream(0), pool.allocate(512, 0, 0)
    pool.record_stream(a, 0)
    assert a.streams is None
    pool.record_stream(a, side)
    lazy.fill(a.address, 0, 512, side)
    del a
    stats = cuda.memory_stats()
    assert (stats["allocated_bytes.all.current"], stats["active_bytes.all.current"], stats["active.all.current"]) == (0, 512, 1)
    assert stats["allocation.all.current"] == 0
    lazy.synchronize(0)
    stats = cuda.memory_stats()
    assert stats["active_bytes.all.current"] == 0 and stats["active_bytes.all.peak"] == 512


def test_a_block_of_another_driver(driver):
    """What was allocated from one driver never comes back from another one."""
    a, used = pool.allocate(512, 0, 0), pool.allocate(512, 0, 0)
    pool.record_stream(used, driver.new_stream(0))
    with simulator.installed() as other:
        first = pool.allocate(512, 0, 0)
        address = a.address
        del a, used
        second = pool.allocate(512, 0, 0)
        assert {first.address, second.address} <= {b for b in range(first.address, first.address + 2 * MIB, 512)}
        assert other.memory_info(0)[0] == other.total_memory - 2 * MIB and second.address == first.address + 512
        assert pool.stats(0).allocated == 1024 and address


def test_threads_share_the_pool(driver):
    """Many threads that allocate and drop at once: no memory is in two hands, and in the end none is in use."""
    before, held, wrong = sys.getswitchinterval(), set(), []

    def work(seed):
        draw, own = random.Random(seed), []
        for _ in range(4000):
            if len(own) < 10 and draw.random() < 0.5:
                own.append(pool.allocate(draw.choice((100, 700, 5000)), 0, 0))
                if own[-1].address in held:
                    wrong.append(own[-1])
                held.add(own[-1].address)
            elif own:
                held.discard(own[0].address)
                del own[0]
        held.difference_update(b.address for b in own)

    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong and pool.stats(0).allocated == 0 and pool.in_use(0) == (0, 0)
    pool.empty_cache()
    assert driver.memory_info(0)[0] == driver.total_memory


def test_statistics(driver):
    """memory_stats and its short forms count as torch does: bytes rounded up to 512, present, peak, sums."""
    assert cuda.memory_stats() == {} and cuda.memory_allocated() == cuda.max_memory_reserved() == 0
    cuda.init()
    a, b = pool.allocate(1, 0, 0), pool.allocate(1000, 0, 0)
    del a
    stats = cuda.memory_stats()
    assert {k: stats[f"allocated_bytes.all.{k}"] for k in ("current", "peak", "allocated", "freed")} == {
        "current": 1024, "peak": 1536, "allocated": 1536, "freed": 512}
    assert {k: stats[f"allocation.all.{k}"] for k in ("current", "allocated", "freed")} == {
        "current": 1, "allocated": 2, "freed": 1}
    assert stats["reserved_bytes.all.current"] == 2 * MIB and stats["segment.all.allocated"] == stats["num_device_alloc"] == 1
    assert cuda.memory_allocated("cuda:0") == 1024 and cuda.max_memory_allocated(torch.device("cuda")) == 1536
    assert cuda.memory_reserved(0) == cuda.max_memory_reserved(0) == 2 * MIB and cuda.memory_allocated(1) == 0
    assert cuda.memory_stats_as_nested_dict()["allocated_bytes"]["all"]["peak"] == 1536
    assert cuda.mem_get_info() == (62 * MIB, 64 * MIB)
    cuda.reset_peak_memory_stats()
    cuda.reset_accumulated_memory_stats()
    del b
    stats = cuda.memory_stats()
    assert cuda.max_memory_allocated() == 1024 and stats["allocated_bytes.all.freed"] == 1024
    assert stats["allocation.all.allocated"] == stats["allocated_bytes.all.allocated"] == 0
    assert stats["allocation.all.freed"] == 1
    summary = cuda.memory_summary()
    assert "device ID 0" in summary and "| Allocated memory      |      0 B   |   1024 B   |" in summary
    assert {len(line) for line in summary.splitlines()} == {77}
    cuda.empty_cache()
    assert cuda.memory_reserved() == 0 and cuda.max_memory_reserved() == 2 * MIB
    for name in ("reset_max_memory_allocated", "reset_max_memory_cached"):
        with pytest.warns(FutureWarning, match=f"{name} now calls torch.cuda.reset_peak_memory_stats"):
            getattr(cuda, name)()
    with pytest.warns(FutureWarning, match="renamed to `torch.cuda.memory_reserved`"):
        assert cuda.memory_cached() == 0
    with pytest.raises(NotImplementedError, match="memory_snapshot is not built"):
        cuda.memory_snapshot()


def test_page_locked_memory(lazy):
    """A buffer of the host's memory; used again, but not before the copies from it are done."""
    a = pool.pinned(1000)
    array = np.frombuffer(a, np.uint8)
    array[:] = 3
    address = array.ctypes.data
    assert len(a) == 1000 and a.block.nbytes == 1024 and a.block.device is None
    assert pool.is_pinned(address + 1023) and not pool.is_pinned(address + 1024)
    target = pool.allocate(1000, 0, 0)
    lazy.copy_in(target.address, address, 1000, 0)
    pool.record_stream(a, 0)
    del a, array
    b = pool.pinned(1000)
    assert b.block.address != address
    np.frombuffer(b, np.uint8)[:] = 4
    assert read(lazy, target.address) == [3]
    c = pool.pinned(600)
    assert c.block.address == address
    del b, c
    pool.empty_pinned()
    assert not lazy._pinned
    assert len(pool.pinned(0)) == 0


# ---- streams and events -----------------------------------------------------------------------------------------------------

def test_streams_are_handed_out_in_turn(driver):
    """32 streams for each device and priority, then the first again; priorities are brought into their range."""
    streams = [cuda.Stream() for _ in range(33)]
    assert streams[32] == streams[0] and len(set(streams)) == 32 and streams[0] != streams[1] != "a stream"
    high = cuda.Stream("cuda:1", priority=-100)
    assert (high.priority, high.device, cuda.Stream(priority=9).priority) == (-3, torch.device("cuda", 1), 0)
    assert cuda.Stream.priority_range() == (0, -3) and high.__cuda_stream__() == (0, high.cuda_stream)
    assert repr(high) == f"<torch.cuda.Stream device=cuda:1 cuda_stream={high.cuda_stream:#x}>"
    outside = cuda.ExternalStream(high.cuda_stream, 1)
    assert outside == high == cuda.get_stream_from_external(high.cuda_stream, 1) and isinstance(outside, cuda.Stream)
    assert repr(cuda.default_stream(1)) == "<torch.cuda.Stream device=cuda:1 cuda_stream=0x0>"


def test_current_stream_and_device(driver):
    """with-blocks of streams and devices nest, across devices too, and leave everything as it was."""
    here, there = cuda.Stream(), cuda.Stream(device=1)
    with cuda.stream(here):
        assert cuda.current_stream() == here and cuda.current_device() == 0
        with there as entered:
            assert entered is there and cuda.current_stream() == there and cuda.current_device() == 1
            with cuda.device("cuda:0"):
                assert cuda.current_stream() == here and cuda.current_stream(1) == there
            assert cuda.current_device() == 1
        assert cuda.current_device() == 0 and cuda.current_stream(1) == cuda.default_stream(1)
        with cuda.stream(None), cuda.device(None), cuda.device(-1):
            assert cuda.current_stream() == here
    assert cuda.current_stream() == cuda.default_stream()
    cuda.set_stream(there)
    assert cuda.current_device() == 1 and cuda.current_stream() == there
    cuda.set_device(torch.device("cuda:0"))
    cuda.set_device(-1)
    assert cuda.current_device() == 0
    seen = []
    thread = threading.Thread(target=lambda: seen.append((cuda.current_device(), cuda.current_stream(1).cuda_stream)))
    thread.start()
    thread.join()
    assert seen == [(0, 0)]


def test_devices(driver):
    """Names, properties and the errors for devices that are not there."""
    properties = cuda.get_device_properties("cuda:1")
    assert repr(properties).startswith("_CudaDeviceProperties(name='Simulated GPU', major=9, minor=0, total_memory=64MB, ")
    assert cuda.get_device_name() == "Simulated GPU" and cuda.get_device_capability(1) == (9, 0)
    assert cuda.is_available() and cuda.device_count() == 2 and cuda.get_arch_list() == ["sm_90"] and cuda.is_bf16_supported()
    with pytest.raises(AssertionError, match="Invalid device id"):
        cuda.get_device_properties(2)
    assert not cuda.can_device_access_peer(0, "cuda:1")         # as the stand-in says
    with pytest.raises(AssertionError, match="Invalid peer device id"):
        cuda.can_device_access_peer(0, 2)
    for wrong in (lambda: cuda.set_device(2), lambda: cuda.device(2).__enter__()):
        with pytest.raises(RuntimeError, match="CUDA error: invalid device ordinal"):
            wrong()
    with pytest.raises(ValueError, match="Expected a non cpu device, but got: cpu"):
        cuda.device("cpu")
    with pytest.raises(ValueError, match="Expected a torch.device with a specified index or an integer, but got:cuda"):
        cuda.set_device("cuda")
    with cuda.device_of(torch.zeros(1)):
        assert cuda.current_device() == 0
    with cuda.device_of(SimpleNamespace(is_cuda=True, get_device=lambda: 1)):
        assert cuda.current_device() == 1
    with pytest.raises(AttributeError, match="no attribute 'curent_device'.*; the nearest that it has is 'current_device'"):
        cuda.curent_device()


def test_a_stream_waits_for_another(lazy):
    """wait_stream and events keep the order between streams whose work is done late, in any order."""
    for _ in range(10):
        first, second, memory = cuda.Stream(), cuda.Stream(), pool.allocate(512, 0, 0)
        lazy.synchronize(0)
        lazy.fill(memory.address, 1, 512, first.cuda_stream)
        second.wait_stream(first)
        lazy.fill(memory.address, 2, 512, second.cuda_stream)
        event = second.record_event()
        assert not second.query() or event.query()
        event.wait(first)
        lazy.fill(memory.address, 3, 1, first.cuda_stream)
        first.synchronize()
        assert event.query() and second.query() and read(lazy, memory.address, 2, first.cuda_stream) == [3, 2]


def test_events(driver):
    """An event is made when it is recorded, measures time if it shall, and stays on its device."""
    a, b, plain = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True), cuda.Event()
    assert a.query() and not a.cuda_event and a.device is None and repr(a) == "<torch.cuda.Event uninitialized>"
    a.synchronize()
    a.wait()
    for start, end, message in ((a, plain, "created with argument 'enable_timing=True'"), (a, b, "must be recorded before")):
        with pytest.raises(ValueError, match=message):
            start.elapsed_time(end)
    a.record()
    b.record(cuda.Stream())
    assert a.elapsed_time(b) >= 0 and a.device == torch.device("cuda", 0) and repr(a) == f"<torch.cuda.Event {a.cuda_event:#x}>"
    handle = a.cuda_event
    del a, start
    c = cuda.Event(enable_timing=True)
    c.record()
    assert c.cuda_event == handle       # events are used again, and never destroyed
    with pytest.raises(RuntimeError, match="Event device 0 does not match recording stream's device 1."):
        c.record(cuda.default_stream(1))
    for wrong in (lambda: cuda.Event(interprocess=True), lambda: cuda.Event(external=True), c.ipc_handle,
                  lambda: cuda.Event.from_ipc_handle(0, b"")):
        with pytest.raises(NotImplementedError, match="is not built"):
            wrong()


def test_elapsed_time_of_work_under_way(lazy):
    """The time to an event that has not come to pass is an error, not a number."""
    a, b, memory = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True), pool.allocate(512, 0, 0)
    a.record()
    lazy.fill(memory.address, 0, 512, 0)
    b.record()
    for _ in range(100):
        if not b.query():
            break
        lazy.fill(memory.address, 0, 512, 0)
        b.record()
    lazy.query_event = lambda event: False
    with pytest.raises(RuntimeError, match="CUDA error: device not ready"):
        a.elapsed_time(b)
    del lazy.query_event
    cuda.synchronize()
    assert a.elapsed_time(b) >= 0


# ---- graphs -----------------------------------------------------------------------------------------------------------------

def shift(driver, address):
    """Work that shows how often it was done: it moves bytes one place on."""
    driver.copy(address, address + 1, 8, driver.stream())


def test_capture_and_replay(driver):
    """Captured work is done by replay only, each time anew, on any stream."""
    memory, g = pool.allocate(16, 0, 0), cuda.CUDAGraph()
    host = np.arange(16, dtype=np.uint8)
    driver.copy_in(memory.address, host.ctypes.data, 16, 0)
    assert not cuda.is_current_stream_capturing()
    with cuda.graph(g):
        assert cuda.is_current_stream_capturing() and cuda.current_stream() == cuda.graph.default_capture_stream
        shift(driver, memory.address)
    assert not cuda.is_current_stream_capturing() and cuda.current_stream() == cuda.default_stream()
    assert read(driver, memory.address) == [0]
    g.replay()
    g.replay()
    with cuda.stream(cuda.Stream()):
        g.replay()
    assert read(driver, memory.address) == [3]
    with pytest.raises(RuntimeError, match="already owns a captured graph"), cuda.stream(cuda.Stream()):
        g.capture_begin()
    g.reset()
    for name, method in (("replay", g.replay), (r"pool\(\)", g.pool)):
        with pytest.raises(RuntimeError, match=f"Called CUDAGraph::{name} without a preceding successful capture."):
            method()
    assert not driver._graphs


def test_memory_of_a_graph(driver):
    """What is allocated in a capture is nobody else's until the graph is gone, though nothing holds a block of it."""
    _cuda_errors.prepare(0)                     # what kernels report into is allocated once, before the first capture
    outside = pool.allocate(512, 0, 0)
    g, side = cuda.CUDAGraph(), cuda.Stream()
    with cuda.graph(g, stream=side):
        a = pool.allocate(512, 0, side.cuda_stream)
        address = a.address
        del a
        b = pool.allocate(512, 0, side.cuda_stream)
        assert b.address == address             # within the capture it is used again, in the order of the work
        elsewhere = pool.allocate(512, 0, 0)    # not of the captured stream
        kept = pool.allocate(512, 0, side.cuda_stream)
        del b
    assert abs(elsewhere.address - outside.address) == 512
    pool.empty_cache()
    for stream in (0, side.cuda_stream):
        assert not {address, kept.address} & {pool.allocate(512, 0, stream).address for _ in range(3)}
    again = cuda.CUDAGraph()
    with cuda.graph(again, pool=g.pool(), stream=side):
        assert pool.allocate(512, 0, side.cuda_stream).address == address
    reserved = []
    for gone in (g.reset, again.reset, lambda: None):
        gone()
        pool.empty_cache()
        reserved.append(pool.stats(0).reserved.current)
        if len(reserved) == 2:
            del kept                    # which was a tensor's, say, that has outlived the graphs
    assert reserved == [4 * MIB, 4 * MIB, 2 * MIB]


def test_a_stream_that_joins_a_capture(driver):
    """Memory that is allocated on a stream after it has joined the capture belongs to the graph, too."""
    g, side, joined = cuda.CUDAGraph(), cuda.Stream(), cuda.Stream()
    before = pool.allocate(512, 0, joined.cuda_stream)
    with cuda.graph(g, stream=side):
        assert abs(pool.allocate(512, 0, joined.cuda_stream).address - before.address) == 512
        joined.wait_stream(side)
        a = pool.allocate(512, 0, joined.cuda_stream)
        address = a.address
        driver.fill(address, 5, 512, joined.cuda_stream)
        side.wait_stream(joined)
        del a
    assert abs(address - before.address) >= 2 * MIB and pool.allocate(512, 0, joined.cuda_stream).address != address
    pool.empty_cache()
    g.replay()
    assert read(driver, address) == [5]


def test_dropped_in_a_capture(lazy):
    """A block that another stream uses and that is dropped during a capture waits for the end of the capture."""
    side, block = cuda.Stream(), pool.allocate(512, 0, 0)
    lazy.fill(block.address, 1, 512, side.cuda_stream)
    pool.record_stream(block, side.cuda_stream)
    g = cuda.CUDAGraph()
    with cuda.graph(g):
        address = block.address
        del block
        assert pool.allocate(512, 0, 0).address != address and pool.in_use(0)[1] == 1
        cuda.empty_cache()
    pool.settle()                       # only now may an event be recorded on the other stream
    cuda.synchronize()
    assert pool.in_use(0)[1] == 0


def test_out_of_memory_in_a_capture(driver):
    """Where a capture forbids to give memory back, the error comes at once and the capture can still be ended."""
    cached = pool.allocate(40 * MIB, 0, 0)
    g = cuda.CUDAGraph()
    with pytest.raises(OutOfMemoryError, match="40.00 MiB"), cuda.graph(g):
        del cached
        pool.allocate(40 * MIB, 0, driver.stream())
    assert not driver.is_capturing(cuda.graph.default_capture_stream.cuda_stream)
    g.reset()
    assert pool.allocate(60 * MIB, 0, 0).asked == 60 * MIB


def test_captures_that_cannot_be(driver):
    """Each wrong use says what is wrong, and leaves neither a capture nor a graph's memory behind."""
    g = cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="must be captured on a non-default stream"):
        g.capture_begin()
    with pytest.raises(RuntimeError, match="Unknown capture error mode. Expected `global`, `thread_local`, or `relaxed`, got x"):
        g.capture_begin(capture_error_mode="x")
    with pytest.raises(RuntimeError, match=r"capture_end\(\) was called without a capture_begin"):
        g.capture_end()
    for wrong in (lambda: cuda.CUDAGraph(keep_graph=True), lambda: g.capture_begin(check_input_liveness=True), g.raw_cuda_graph,
                  g.enable_debug_mode, lambda: g.debug_dump("x"), lambda: cuda.graph(g, enable_annotations=True)):
        with pytest.raises(NotImplementedError, match="is not built"):
            wrong()
    with cuda.graph(g):
        with pytest.raises(RuntimeError, match="already being captured on device 0"):
            cuda.CUDAGraph().capture_begin()
        with pytest.raises(RuntimeError, match="Capture must end on the same stream"), cuda.stream(cuda.Stream()):
            g.capture_end()

    def broken(*args):
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
    for name in ("begin_capture", "end_capture"):
        setattr(driver, name, broken)
        failed = cuda.CUDAGraph()
        with pytest.raises(RuntimeError, match="previous error during capture"), cuda.graph(failed):
            pool.allocate(512, 0, driver.stream())
        delattr(driver, name)
        if name == "end_capture":
            driver.end_capture(cuda.graph.default_capture_stream.cuda_stream)
        assert not pool._captures and not any(pool._holders[n] for n in pool._holders if n != g.pool())
        assert cuda.current_stream() == cuda.default_stream()


class Scaled(torch.nn.Module):
    """y = w x + b, element for element, and the same times two."""

    def __init__(self):
        super().__init__()
        self.w, self.b = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0])), torch.nn.Parameter(torch.zeros(3))

    def forward(self, x):
        y = self.w * x + self.b
        return {"once": y, "twice": (y * 2,)}


@pytest.mark.parametrize("late", [False, True], ids=["eager", "lazy"])
def test_graphed_module(late):
    """make_graphed_callables: a module's outputs and gradients for new inputs are those of the module itself."""
    with simulator.installed(lazy=late, seed=1):
        plain, module, sample = Scaled().to("cuda"), Scaled().to("cuda"), torch.zeros(3, device="cuda", requires_grad=True)
        graphed = cuda.make_graphed_callables(module, (sample,))
        assert graphed is module
        for step in range(1, 4):
            x = torch.tensor([0.5, -1.0, step], device="cuda", requires_grad=True)
            z = torch.tensor([0.5, -1.0, step], device="cuda", requires_grad=True)
            results = []
            for net, data in ((graphed, x), (plain, z)):
                out = net(data)
                (out["once"] * out["twice"][0]).backward(torch.ones(3, device="cuda"))
                results.append([t.tolist() for t in (out["once"], out["twice"][0], data.grad, net.w.grad, net.b.grad)])
                net.zero_grad()
            assert results[0] == results[1]
        module.eval()
        assert "_FunctionNode" not in str(type(module(x)["once"].grad_fn).__mro__[1])       # the old way
        before = graphed.w.data.clone()
        graphed.train()
        graphed.w.data.add_(1)
        assert graphed(x)["once"].tolist() == ((before + 1) * x + module.b).tolist()        # parameters are read in place


def test_graphed_functions():
    """Several functions of one pool run in their order; inputs without gradients get none, and no second derivative is had."""
    with simulator.installed(seed=2):
        def cube(x, y):
            total = x + y
            return total * total * total

        def product(x):
            return [(x + 1) * (x + 2) * (x + 3)]
        x, y = torch.ones(2, device="cuda", requires_grad=True), torch.ones(2, device="cuda")
        one, two = cuda.make_graphed_callables((cube, product), ((x, y), (torch.ones(2, device="cuda", requires_grad=True),)))
        for _ in range(2):
            a = torch.tensor([2.0, 3.0], device="cuda", requires_grad=True)
            b = torch.tensor([1.0, -1.0], device="cuda", requires_grad=True)
            out, = two(one(a, b))
            assert out.tolist() == [24360.0, 990.0]
            out.backward(torch.ones(2, device="cuda"))
            assert a.grad.tolist() == [68094.0, 3588.0] and b.grad is None
        with pytest.raises(RuntimeError, match="once_differentiable"):
            out, = two(one(a, b))
            first, = torch.autograd.grad(out, a, torch.ones(2, device="cuda", requires_grad=True), create_graph=True)
            first.backward(torch.ones(2, device="cuda"))
        with pytest.raises(AssertionError, match="must contain only Tensors"):
            cuda.make_graphed_callables(product, (x, 2))
        hooked = Scaled()
        hooked.register_forward_hook(lambda *args: None)
        with pytest.raises(AssertionError, match="Modules must not have hooks"):
            cuda.make_graphed_callables(hooked, (x,))


# ---- without a driver, and random generators --------------------------------------------------------------------------------

def test_without_a_driver(nothing):
    """Questions are answered, seeds are ignored, and everything that needs a device says why there is none."""
    assert not cuda.is_available() and not cuda.is_initialized() and cuda.device_count() == 0 and cuda.get_arch_list() == []
    assert not cuda.is_bf16_supported() and not cuda.is_current_stream_capturing()
    assert cuda.memory_allocated() == cuda.memory_reserved() == 0 and cuda.memory_stats() == {}
    cuda.manual_seed(1)
    cuda.manual_seed_all(1)
    cuda.seed()
    cuda.seed_all()
    cuda.empty_cache()
    assert cuda.get_rng_state_all() == []
    with cuda.stream(None), cuda.device(None):
        assert cuda.Event().query()
    assert _driver.why_not() == "there is no driver in this test"
    for needs in (cuda.init, cuda.current_device, cuda.synchronize, cuda.Stream, cuda.current_stream, cuda.default_stream,
                  cuda.mem_get_info, cuda.memory_summary, cuda.get_device_name, cuda.get_rng_state, cuda.initial_seed,
                  cuda.ipc_collect, cuda.reset_peak_memory_stats, lambda: cuda.set_device(0), lambda: cuda.device(0).__enter__(),
                  lambda: cuda.Event().record(), lambda: cuda.graph(cuda.CUDAGraph()), lambda: cuda.CUDAGraph().capture_begin()):
        with pytest.raises(RuntimeError, match="CUDA is not available: there is no driver in this test; use device='cpu'"):
            needs()


def test_seeds_reach_the_generators(driver, monkeypatch):
    """The functions of seeds and states are those of the devices' generators."""
    generators = [torch.Generator(), torch.Generator()]
    monkeypatch.setattr("numtorch.random.cuda_generator", generators.__getitem__, raising=False)
    cuda.manual_seed(5)
    assert cuda.initial_seed() == 5 and generators[1].initial_seed() != 5
    cuda.manual_seed_all(6)
    assert [g.initial_seed() for g in generators] == [6, 6]
    states = cuda.get_rng_state_all()
    with cuda.device(1):
        cuda.manual_seed(7)
        assert cuda.initial_seed() == 7 and not torch.equal(cuda.get_rng_state(), states[1])
        cuda.set_rng_state(states[0])
    assert torch.equal(cuda.get_rng_state(1), states[1]) and torch.equal(cuda.get_rng_state("cuda:0"), states[0])
    cuda.seed_all()
    assert generators[0].initial_seed() == generators[1].initial_seed() != 6
    cuda.set_rng_state_all(states)
    cuda.seed()
    assert generators[1].initial_seed() == 6 != generators[0].initial_seed()
