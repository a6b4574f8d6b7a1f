"""numtorch.distributed and nn.parallel: what processes of one machine compute together, and how they learn that one fails."""
import copy
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import time
from datetime import timedelta

import numpy as np
import pytest

import numtorch
import numtorch.distributed as dist
import numtorch.multiprocessing as mp
from numtorch import nn
from numtorch.distributed import _shm
from numtorch.distributed._meeting import _machine
from numtorch.nn import parallel
from numtorch.nn.parallel import DistributedDataParallel
from numtorch.utils.data import DataLoader, TensorDataset
from numtorch.utils.data.distributed import DistributedSampler

LIMIT = timedelta(seconds=60)       # after which a test has hung
SHORT = timedelta(seconds=0.3)


def join(rank, size, address, timeout=LIMIT):
    numtorch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size, timeout=timeout)


def member(rank, size, address, fn, queue, args):
    join(rank, size, address)
    queue.put((rank, fn(rank, size, *args)))
    dist.destroy_process_group()


def together(tmp_path, size, fn, *args, method="fork"):
    """What ``fn(rank, size, *args)`` gives in each of ``size`` processes of one group."""
    queue = mp.get_context(method).Queue()
    address = f"file://{tmp_path}/meeting"
    context = mp.start_processes(member, (size, address, fn, queue, args), size, join=False, start_method=method)
    found = {}
    while len(found) < size and not context.join(0.01):
        while not queue.empty():
            rank, value = queue.get()
            found[rank] = value
    while len(found) < size:
        rank, value = queue.get(timeout=10)
        found[rank] = value
    while not context.join():
        continue
    assert not os.path.exists(f"{tmp_path}/meeting")
    return [found[rank] for rank in range(size)]


@pytest.fixture
def alone():
    """A group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1, timeout=LIMIT)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.fixture
def small_slots(monkeypatch):
    """Operations of some hundred bytes go in several pieces, of which processes reduce parts."""
    monkeypatch.setattr(_shm, "SLOT", 1024)
    monkeypatch.setattr(_shm, "SMALL", 128)


# ---- collective operations ---------------------------------------------------------------------------------------------

def sample(rank, n, dtype):
    """The numbers that process ``rank`` gives."""
    values = np.random.RandomState(rank).randint(1, 7, n)
    return numtorch.from_numpy(values).to(getattr(numtorch, dtype))


REDUCTIONS = {"SUM": np.sum, "PRODUCT": np.prod, "MIN": np.min, "MAX": np.max, "AVG": np.mean, "BAND": np.bitwise_and.reduce,
              "BOR": np.bitwise_or.reduce, "BXOR": np.bitwise_xor.reduce}


def reductions(rank, size):
    for dtype in ("float32", "float64", "float16", "bfloat16", "int64", "uint8", "complex64"):
        for n in (1, 30, 1000):
            for name, reduction in REDUCTIONS.items():
                if name in ("BAND", "BOR", "BXOR") and dtype not in ("int64", "uint8"):
                    continue
                if dtype == "complex64" and name in ("MIN", "MAX"):
                    continue
                parts = [sample(r, n, dtype) for r in range(size)]
                wide = parts if name[0] == "B" else [widened(p) for p in parts]
                expected = reduction(np.stack([p.numpy() for p in wide]), axis=0)
                if dtype in ("int64", "uint8"):
                    expected = np.floor(expected).astype(dtype)
                x, op = parts[rank].clone(), getattr(dist.ReduceOp, name)
                dist.all_reduce(x, op)
                tolerance = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6, "complex64": 1e-6}.get(dtype, 1e-12)
                close(x, expected, tolerance)
                y = parts[rank].clone()
                dist.reduce(y, size - 1, op)
                close(y, expected if rank == size - 1 else parts[rank].cpu(), tolerance)
                out = numtorch.empty(n, dtype=x.dtype)
                dist.reduce_scatter(out, [parts[rank].roll(i) for i in range(size)], op)
                close(out, np.roll(expected, rank), tolerance)
    return True


def widened(x):
    return x.to(numtorch.complex128 if x.is_complex() else numtorch.float64)


def close(x, expected, tolerance):
    expected = widened(expected).numpy() if isinstance(expected, numtorch.Tensor) else expected
    np.testing.assert_allclose(widened(x).numpy(), expected, rtol=tolerance)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_reductions(tmp_path, small_slots, size):
    """all_reduce, reduce and reduce_scatter of every dtype agree with NumPy in float64, small and in pieces."""
    assert all(together(tmp_path, size, reductions))


def exchanges(rank, size):
    for n in (0, 1, 5, 700):
        mine = numtorch.arange(float(n)) + 1000 * rank
        all_of = [numtorch.arange(float(n)) + 1000 * r for r in range(size)]
        parts = [numtorch.zeros(n) for _ in range(size)]
        dist.all_gather(parts, mine)
        assert all(map(numtorch.equal, parts, all_of))
        whole = numtorch.zeros(size, n)
        dist.all_gather_into_tensor(whole, mine)
        assert numtorch.equal(whole, numtorch.stack(all_of))
        told = mine.clone()
        dist.broadcast(told, src=size - 1)
        assert numtorch.equal(told, all_of[-1])
        parts = [numtorch.zeros(n) for _ in range(size)] if rank == 0 else None
        dist.gather(mine, parts)
        assert parts is None or all(map(numtorch.equal, parts, all_of))
        part = numtorch.zeros(n)
        dist.scatter(part, all_of if rank == size - 1 else None, src=size - 1)
        assert numtorch.equal(part, mine)
        out = numtorch.zeros(n)
        dist.reduce_scatter_tensor(out, numtorch.stack(all_of))
        assert numtorch.equal(out, mine * size)
        outs = [numtorch.zeros(n + rank) for _ in range(size)]
        dist.all_to_all(outs, [numtorch.full((n + r,), 10.0 * rank + r) for r in range(size)])
        assert all(numtorch.equal(o, numtorch.full((n + rank,), 10.0 * r + rank)) for r, o in enumerate(outs))
    single = numtorch.zeros(size * (rank + 1))
    dist.all_to_all_single(single, numtorch.cat([numtorch.full((r + 1,), float(rank)) for r in range(size)]),
                           [rank + 1] * size, [r + 1 for r in range(size)])
    assert single.tolist() == [float(r) for r in range(size) for _ in range(rank + 1)]
    gaps = numtorch.zeros(4, 6)
    view = gaps[::2, 1::2]
    view += rank + 1
    dist.all_reduce(view)                   # is written through to its memory
    assert gaps.sum() == 6 * size * (size + 1) / 2 and gaps[1].sum() == 0
    works = [dist.all_reduce(numtorch.ones(3), async_op=True) for _ in range(20)]
    dist.barrier()                          # comes after them
    assert works[-1].is_completed() and all(w.wait() and w.is_success() for w in works)
    assert works[3].result()[0].tolist() == [size] * 3
    return True


@pytest.mark.parametrize("size", [1, 2, 3])
def test_exchanges(tmp_path, small_slots, size):
    """Gather, scatter, broadcast and all-to-all move the right parts, in pieces, too; what is asynchronous keeps its order."""
    assert all(together(tmp_path, size, exchanges))


def objects(rank, size):
    everybody = [None] * size
    dist.all_gather_object(everybody, {"rank": rank, "x": "a" * 100 * rank})
    assert everybody == [{"rank": r, "x": "a" * 100 * r} for r in range(size)]
    told = [rank, "b" * rank, numtorch.ones(2) * rank]
    dist.broadcast_object_list(told, src=1)
    assert told[:2] == [1, "b"] and told[2].tolist() == [1, 1]
    parts = [None] * size if rank == 1 else None
    dist.gather_object((rank,), parts, dst=1)
    assert parts is None or parts == [(r,) for r in range(size)]
    mine = [None]
    dist.scatter_object_list(mine, ["x" * r for r in range(size)] if rank == 0 else None)
    assert mine == ["x" * rank]
    if rank == 0:
        dist.send_object_list([1, "two"], dst=1)
    elif rank == 1:
        got = [None, None]
        assert dist.recv_object_list(got, src=0) == 0 and got == [1, "two"]
    return True


def test_objects(tmp_path):
    """Whatever can be pickled is gathered, broadcast, scattered and sent."""
    assert all(together(tmp_path, 3, objects))


def messages(rank, size):
    to, source = (rank + 1) % size, (rank - 1) % size
    big = numtorch.arange(300_000.0)
    works = [dist.isend(big + rank + i, to) for i in range(6)]     # nobody receives yet
    got = numtorch.zeros(300_000)
    for i in range(6):
        assert dist.recv(got, source) == source and numtorch.equal(got, big + source + i)
    assert all(w.wait() and w.is_completed() for w in works)
    for tag in range(5):
        dist.send(numtorch.full((2, 2), float(tag)), to, tag=tag)
    for tag in reversed(range(5)):          # in any order of tags
        got = numtorch.zeros(4, 4)[::2, ::2]
        dist.recv(got, source, tag=tag)
        assert got.tolist() == [[tag, tag]] * 2
    first, second = numtorch.zeros(1), numtorch.zeros(1)
    waiting = [dist.irecv(first, source), dist.irecv(second, source)]
    dist.send(numtorch.ones(1), to), dist.send(numtorch.ones(1) * 2, to)
    while not waiting[1].is_completed():
        continue
    assert waiting[0].wait() and first.item() == 1 and second.item() == 2 and waiting[0].source_rank() == source
    for _ in range(3000):                   # more than the socket takes
        dist.isend(numtorch.zeros(50), to, tag=7)
    dist.barrier()
    for _ in range(3000):
        dist.recv(numtorch.empty(50), source, tag=7)
    if rank == 0:
        assert sorted(dist.recv(numtorch.zeros(1), tag=9) for _ in range(size - 1)) == list(range(1, size))
    else:
        dist.send(numtorch.zeros(1), 0, tag=9)
    got = numtorch.zeros(2)
    ops = [dist.P2POp(dist.isend, numtorch.full((2,), float(rank)), to), dist.P2POp(dist.irecv, got, source)]
    assert [w.wait() for w in dist.batch_isend_irecv(ops)] == [True, True] and got.tolist() == [source] * 2
    dist.monitored_barrier()
    return True


@pytest.mark.parametrize("size", [2, 3])
def test_messages(tmp_path, size):
    """Messages arrive in order for each tag, from a given process or anybody; sending never waits for receiving."""
    assert all(together(tmp_path, size, messages))


def groups(rank, size):
    odd = dist.new_group([1, 2])
    assert dist.get_rank(odd) == {0: -1, 1: 0, 2: 1}[rank] and (rank == 0 or dist.get_process_group_ranks(odd) == [1, 2])
    x = numtorch.ones(2) * (rank + 1)
    if rank == 0:
        assert odd is dist.GroupMember.NON_GROUP_MEMBER and dist.get_world_size(odd) == -1
        with pytest.warns(UserWarning, match="Running all_reduce on global rank 0 which does not belong to the given group."):
            dist.all_reduce(x, group=odd)
    else:
        dist.all_reduce(x, group=odd)
        assert x.tolist() == [5, 5]
        dist.broadcast(x.fill_(rank), src=2, group=odd)
        assert x.tolist() == [2, 2]
        dist.broadcast(x.fill_(rank), group_src=0, group=odd)
        assert x.tolist() == [1, 1] and dist.get_global_rank(odd, 1) == 2 and dist.get_group_rank(odd, 2) == 1
        with pytest.raises(ValueError, match="Global rank 0 is not part of group"):
            dist.broadcast(x, src=0, group=odd)
        if rank == 1:
            dist.send(x, 2, group=odd)
        else:
            assert dist.recv(x, group=odd) == 1
        dist.destroy_process_group(odd)
        with pytest.raises(ValueError, match="Invalid process group specified or has been destroyed"):
            dist.all_reduce(x, group=odd)
        with pytest.raises(dist.DistBackendError, match="the process group was destroyed"):
            odd.barrier()
    own, all_of = dist.new_subgroups(1)
    assert own.size() == 1 and len(all_of) == size
    again = dist.new_group([2, 1, 0], sort_ranks=False)
    assert again.rank() == 2 - rank and dist.get_backend(again) == "gloo"
    return True


def test_groups(tmp_path):
    """New groups have ranks of their own; outsiders are told; ranks of all processes are translated."""
    assert all(together(tmp_path, 3, groups))


# ---- meeting -----------------------------------------------------------------------------------------------------------

def free_port():
    with socket.create_server(("localhost", 0)) as server:
        return server.getsockname()[1]


def twice(rank, size, address):
    for _ in range(2):
        join(rank, size, address)
        x = numtorch.ones(1)
        dist.all_reduce(x)
        assert x.item() == size and dist.get_rank() == rank and dist.get_world_size() == size
        dist.destroy_process_group()


@pytest.mark.parametrize("where", ["tcp://localhost:{}", "tcp://127.0.0.1:{}", "file://{}/meeting", "stale"])
def test_meeting_places(tmp_path, where):
    """Processes meet at an address and can meet there again; a file that a crashed run has left does no harm."""
    if where == "stale":
        where = "file://{}/meeting"
        store = dist.FileStore(tmp_path / "meeting")
        for rank in range(2):
            store.set(f"default_pg/rank{rank}", json.dumps([_machine(), "@numtorch-gone", "0"]))
    mp.start_processes(twice, (2, where.format(free_port() if "tcp" in where else tmp_path)), 2, start_method="fork")
    assert os.listdir(tmp_path) == []


def from_environment(rank, port):
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    dist.init_process_group("shm")
    assert dist.get_backend() == "shm" and dist.get_rank() == rank
    dist.barrier()
    dist.destroy_process_group()


def test_the_environment_tells_where_to_meet():
    """env://, the default, reads torch's four variables, in spawned processes."""
    mp.spawn(from_environment, (free_port(),), 2)


def test_several_machines_are_another_backends_business():
    """A process on another machine is a clear error, not a hang."""
    store = dist.HashStore()
    store.set("default_pg/rank0", '["another machine", "@x", "0"]')
    with pytest.raises(NotImplementedError, match="rank 0 is on another machine than rank 1"):
        dist.init_process_group(store=store, rank=1, world_size=2)
    assert not dist.is_initialized()


@pytest.mark.parametrize("kind", ["HashStore", "FileStore", "TCPStore", "PrefixStore"])
def test_stores(tmp_path, kind):
    """Keys are set, added to, compared, waited for and deleted as in torch's stores."""
    torch = pytest.importorskip("torch")

    def make(library, name):
        if kind == "FileStore":
            return library.FileStore(str(tmp_path / name), 1)
        if kind == "TCPStore":
            return library.TCPStore("localhost", 0, 1, True, timedelta(seconds=10))
        store = library.HashStore()
        return store if kind == "HashStore" else library.PrefixStore("a", store)

    def story(store):
        store.set("k", "v")
        store.set("bytes", b"\x00\x01" if kind != "FileStore" else "x")
        yield store.get("k"), store.add("n", 3), store.add("n", -1), store.get("n")
        yield store.check(["k", "n"]), store.check(["k", "none"])
        yield store.compare_set("k", "v", "w"), store.compare_set("k", "v", "x"), store.get("k")
        yield store.delete_key("k") if kind != "FileStore" else None, store.check(["k"]) if kind != "FileStore" else None
        store.set_timeout(timedelta(seconds=0.05))
        yield store.timeout
        try:
            store.get("none")
        except RuntimeError as error:
            yield type(error).__name__ if kind != "FileStore" else None      # torch's is a plain RuntimeError there
        store.wait(["n"])

    ours, theirs = (list(story(make(library, name))) for library, name in ((dist, "ours"), (torch.distributed, "theirs")))
    assert ours == theirs
    store = make(dist, "more")
    store.append("log", "a"), store.append("log", "b")
    assert store.get("log") == b"ab" and store.num_keys() >= 1 and store.has_extended_api()
    store.multi_set(["x", "y"], ["1", "2"])
    assert store.multi_get(["x", "y"]) == [b"1", b"2"]


# ---- errors ------------------------------------------------------------------------------------------------------------

CALLS = [
    lambda t, d: d.get_rank(),
    lambda t, d: d.all_reduce(t.ones(1)),
    lambda t, d: d.init_process_group(5),
    lambda t, d: d.init_process_group("foo", init_method="file:///x", rank=0, world_size=1),
    lambda t, d: d.init_process_group("gloo"),
    lambda t, d: d.init_process_group("gloo", init_method="file:///x"),
    lambda t, d: d.init_process_group("gloo", init_method="file:///x", rank=0),
    lambda t, d: d.init_process_group("gloo", init_method="xyz://a", rank=0, world_size=1),
    lambda t, d: d.init_process_group("gloo", init_method="tcp://localhost", rank=0, world_size=1),
    lambda t, d: d.init_process_group("gloo", init_method="tcp://localhost:1234", world_size=1),
    lambda t, d: d.destroy_process_group(),
    lambda t, d: t.utils.data.DistributedSampler([1, 2]),
    lambda t, d: t.nn.parallel.DistributedDataParallel(t.nn.Linear(1, 1)),
]
CALLS_INSIDE = [
    lambda t, d: d.all_reduce([1]),
    lambda t, d: d.all_reduce(t.ones(4), op=d.ReduceOp.BAND),
    lambda t, d: d.all_gather([t.ones(3)], t.ones(4)),
    lambda t, d: d.all_gather([t.ones(3), t.ones(3)], t.ones(3)),
    lambda t, d: d.all_gather([t.ones(3, dtype=t.double)], t.ones(3)),
    lambda t, d: d.broadcast(t.ones(3), src=4),
    lambda t, d: d.init_process_group("gloo", store=d.HashStore(), rank=0, world_size=1),
    lambda t, d: d.new_group([0, 3]),
    lambda t, d: d.send(t.ones(2), 0),
    lambda t, d: d.scatter(t.ones(2), None, src=0),
    lambda t, d: d.gather(t.ones(2), None, dst=0),
    lambda t, d: t.nn.parallel.DistributedDataParallel(t.nn.ReLU()),
    lambda t, d: t.nn.parallel.DistributedDataParallel(t.nn.Linear(1, 1), device_ids=[0]),
]


def error_of(call, *args):
    try:
        call(*args)
    except Exception as error:
        return type(error).__name__, str(error)
    return None


@pytest.mark.filterwarnings("ignore:Device capability of foo unknown")
def test_errors_have_torchs_type_and_words():
    """Calls that need no other process fail as torch's do, without a group and in one."""
    torch = pytest.importorskip("torch")
    for call in CALLS:
        ours = error_of(call, numtorch, dist)
        assert ours is not None and ours == error_of(call, torch, torch.distributed)
    for library in (dist, torch.distributed):
        library.init_process_group("gloo", store=library.HashStore(), rank=0, world_size=1)
    try:
        for call in CALLS_INSIDE:
            ours = error_of(call, numtorch, dist)
            assert ours is not None and ours == error_of(call, torch, torch.distributed)
    finally:
        torch.distributed.destroy_process_group(), dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_what_is_not_there_says_so(alone):
    """Other backends, options and wrong reductions are named, with the way out."""
    assert dist.is_available() and dist.is_gloo_available() and not dist.is_nccl_available() and not dist.is_mpi_available()
    for call, kind, words in (
            (lambda: dist.all_reduce(numtorch.ones(1), op="sum"), TypeError, "op must be a ReduceOp"),
            (lambda: dist.all_reduce(numtorch.ones(1), op=dist.ReduceOp.PREMUL_SUM), NotImplementedError, "PREMUL_SUM"),
            (lambda: dist.all_reduce(numtorch.ones(1) * 1j, op=dist.ReduceOp.MAX), ValueError, "complex"),
            (lambda: dist.all_reduce(numtorch.from_numpy(readonly())), RuntimeError, "read-only"),
            (lambda: dist.all_reduce(numtorch.ones(1), group=5), TypeError, "expected group to be a ProcessGroup"),
            (lambda: dist.new_group(backend="nccl"), RuntimeError, "Distributed package doesn't have NCCL built in"),
            (lambda: dist.new_group(backend="mpi"), RuntimeError, "Distributed package doesn't have MPI built in"),
            (lambda: dist.new_group(pg_options=1), NotImplementedError, "pg_options"),
            (lambda: dist.all_reduce(numtorch.ones(1), async_op=True).get_future(), NotImplementedError, "futures")):
        with pytest.raises(kind, match=words):
            call()
    assert repr(dist.ReduceOp.SUM) == "<RedOpType.SUM: 0>" and dist.group.WORLD is dist.GroupMember.WORLD
    with pytest.warns(FutureWarning, match="reduce_op"):
        assert dist.reduce_op.SUM is dist.ReduceOp.SUM


def readonly():
    array = np.ones(2, np.float32)
    array.flags.writeable = False
    return array


def test_another_backend():
    """A backend is a ProcessGroup and a function that makes it."""
    class Mine(dist.ProcessGroup):
        def __init__(self, store, rank, size, timeout):
            super().__init__(rank, size, "mine")

        def allreduce(self, tensor, op, async_op=False):
            tensor.mul_(3)
            work = dist.Work([tensor])
            work._finish()
            return work

    dist.Backend.register_backend("mine", Mine)
    try:
        dist.init_process_group("cpu:mine,cuda:nccl", store=dist.HashStore(), rank=0, world_size=1)
        x = numtorch.ones(1)
        dist.all_reduce(x)
        assert x.item() == 3 and dist.get_backend() == "mine" == dist.Backend.MINE
        with pytest.raises(NotImplementedError, match="Mine has no broadcast"):
            dist.broadcast(x, 0)
        dist.destroy_process_group()
        with pytest.raises(RuntimeError, match="MINE c10d backend creator function already exist"):
            dist.Backend.register_backend("mine", Mine)
    finally:
        del dist.Backend._creators["mine"]


def quarrel(rank, address, queue, how):
    join(rank, 3, address, LIMIT if how != "late" else SHORT)
    try:
        if how == "mismatch" and rank == 1:
            dist.broadcast(numtorch.ones(3), 0)
        elif how == "size" and rank == 1:
            dist.all_reduce(numtorch.ones(4))
        elif how == "late" and rank == 1:
            time.sleep(2)
            dist.barrier()
        elif how == "dead" and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "left" and rank == 1:
            dist.destroy_process_group()
            return
        elif how == "message" and rank == 2:
            dist.recv(numtorch.ones(1), 1)
        elif how == "message" and rank == 1:
            os._exit(3)
        else:
            dist.all_reduce(numtorch.ones(3))
        queue.put((rank, None, None))
    except RuntimeError as error:
        queue.put((rank, type(error).__name__, str(error)))
        with pytest.raises(RuntimeError):
            dist.barrier()      # the group is lost, or another operation is


@pytest.mark.parametrize("how, told, words", [
    ("mismatch", {0, 1, 2}, "is in broadcast(torch.float32, 3 elements, src=0)|is in all_reduce(SUM, torch.float32, 3 elements)"),
    ("size", {0, 1, 2}, "4 elements"),
    ("late", {0, 1, 2}, "did not come to all_reduce"),
    ("dead", {0, 2}, "rank 1 has ended without leaving the process group"),
    ("left", {0, 2}, "rank 1 has left the process group"),
    ("message", {0, 2}, "rank 1 has ended without leaving the process group"),
])
def test_a_failing_process_ends_the_others(tmp_path, how, told, words):
    """A process that dies, leaves, is late or calls something else is named in an error of each of the others, at once."""
    context = mp.get_context("fork")
    queue = context.SimpleQueue()
    processes = [context.Process(target=quarrel, args=(rank, f"file://{tmp_path}/m", queue, how)) for rank in range(3)]
    start = time.monotonic()
    for process in processes:
        process.start()
    errors = {rank: (kind, text) for rank, kind, text in (queue.get() for _ in range(len(told)))}
    for process in processes:
        process.join(30)
        assert process.exitcode is not None
    assert set(errors) == told and time.monotonic() - start < 30
    for kind, text in errors.values():
        assert kind == "DistBackendError" and any(w in text for w in words.split("|")), text


def forks_and_dies(rank, address, queue):
    join(rank, 2, address)
    if rank == 1:
        group = dist.distributed_c10d._get_default_group()
        time.sleep(0.05)            # rank 0 comes to its barrier, of which this process hears before it forks
        group._mesh.progress()
        if os.fork() == 0:          # such as a DataLoader's worker, which outlives its parent
            assert dist.is_initialized() and dist.get_rank() == 1
            error = error_of(dist.barrier)
            queue.put(error)
            time.sleep(3)
            os._exit(0)
        time.sleep(0.1)
        os._exit(1)
    queue.put(error_of(dist.barrier))


def test_a_forked_child_does_not_stand_for_its_parent(tmp_path):
    """A process that dies is noticed though a child of it lives on, and the child cannot use its group."""
    context = mp.get_context("fork")
    queue = context.SimpleQueue()
    processes = [context.Process(target=forks_and_dies, args=(rank, f"file://{tmp_path}/m", queue)) for rank in range(2)]
    for process in processes:
        process.start()
    errors = {queue.get(), queue.get()}
    for process in processes:
        process.join(30)
    assert any("was made by the parent of this process" in text for _, text in errors)
    assert any("rank 1 has ended without leaving" in text for _, text in errors)


def late_for_barrier(rank, size):
    error = None
    if rank != 1:
        error = error_of(dist.monitored_barrier, None, SHORT)
    dist.barrier()
    return error


def test_monitored_barrier_names_who_is_missing(tmp_path):
    """Rank 0 says which process has not come."""
    errors = together(tmp_path, 3, late_for_barrier)
    assert errors[0] == ("DistBackendError", "[Rank 0]: Rank 1 failed to pass monitoredBarrier in 300 ms")


def test_nobody_comes(tmp_path):
    """A process that waits in vain for the others says for whom, at every kind of address."""
    for address in (f"file://{tmp_path}/m", f"tcp://localhost:{free_port()}"):
        kind, text = error_of(join, 0, 2, address, SHORT)
        assert kind == "DistBackendError" and "rank 0 has waited in vain for rank 1" in text
        assert not dist.is_initialized()
    kind, text = error_of(join, 1, 2, f"tcp://localhost:{free_port()}", SHORT)
    assert kind == "DistNetworkError" and "timed out after 300ms" in text
    with socket.create_server(("localhost", 0)) as server:
        kind, text = error_of(join, 0, 2, f"tcp://localhost:{server.getsockname()[1]}", SHORT)
        assert kind == "DistNetworkError" and "failed to listen" in text


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /dev/shm")
def test_nothing_is_left_of_killed_processes(tmp_path):
    """Processes killed in the middle of an operation leave no segments."""
    (tmp_path / "program.py").write_text(textwrap.dedent("""
        import sys, numtorch as torch, numtorch.distributed as dist
        dist.init_process_group("gloo", init_method=sys.argv[1], rank=int(sys.argv[2]), world_size=2)
        dist.all_reduce(torch.ones(1 << 20))
        print("ready", flush=True)
        dist.recv(torch.ones(1 << 20), 1 - dist.get_rank())
    """))
    before = set(os.listdir("/dev/shm"))
    processes = [subprocess.Popen([sys.executable, "program.py", f"tcp://localhost:{port}", str(rank)], cwd=tmp_path,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                 for port in [free_port()] for rank in range(2)]
    assert [p.stdout.readline() for p in processes] == ["ready\n"] * 2
    processes[0].kill()
    _, error = processes[1].communicate(timeout=60)
    processes[0].communicate()
    assert "rank 0 has ended without leaving the process group, while rank 1 was in recv" in error
    assert set(os.listdir("/dev/shm")) <= before and os.listdir(tmp_path) == ["program.py"]


# ---- training ----------------------------------------------------------------------------------------------------------

STEPS = 4


class Net(nn.Module):
    """Two layers, one of which is not always used."""

    def __init__(self, dtype=None):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4, dtype=dtype), nn.Linear(4, 1, dtype=dtype)
        self.extra = nn.Linear(4, 1, dtype=dtype)

    def forward(self, x, extra=True):
        h = self.first(x).tanh()
        return {"y": [self.second(h) + (self.extra(h) if extra else 0)]}


def batch():
    numtorch.manual_seed(1)
    return numtorch.randn(8, 3, dtype=numtorch.float64), numtorch.randn(8, 1, dtype=numtorch.float64)


def trained(model, x, y, accumulate=1, **kwargs):
    """The parameters after some steps; with ``accumulate`` > 1 each step sees the batch in so many parts."""
    optimizer = numtorch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        for i in range(accumulate):
            last = i == accumulate - 1
            with model.no_sync() if accumulate > 1 and not last and hasattr(model, "no_sync") else numtorch.enable_grad():
                loss = nn.functional.mse_loss(model(x[i::accumulate], **kwargs)["y"][0], y[i::accumulate])
                (loss / accumulate).backward()
        optimizer.step()
    return {name.removeprefix("module."): p.detach().numpy().copy() for name, p in model.named_parameters()}


def make_model(rank=0):
    numtorch.manual_seed(rank)
    return Net(numtorch.float64)


def parallel_training(rank, size, options, accumulate, kwargs):
    x, y = batch()
    model = DistributedDataParallel(make_model(rank), **options)     # of another seed: rank 0's counts
    return trained(model, x[rank::size], y[rank::size], accumulate, **kwargs)


@pytest.mark.parametrize("options, accumulate, kwargs", [
    ({}, 1, {}),
    ({"bucket_cap_mb": 1e-4, "gradient_as_bucket_view": True}, 1, {}),
    ({}, 2, {}),
    ({"find_unused_parameters": True}, 1, {"extra": False}),
    ({"static_graph": True, "gradient_as_bucket_view": True}, 2, {"extra": False}),
])
def test_processes_make_the_steps_of_one(tmp_path, options, accumulate, kwargs):
    """After some steps all processes have one process's parameters to the last bits, and the same bits as each other."""
    alone = trained(make_model(), *batch(), **kwargs)
    results = together(tmp_path, 2, parallel_training, options, accumulate, kwargs)
    for name, expected in alone.items():
        np.testing.assert_allclose(results[0][name], expected, rtol=1e-12, atol=1e-14)
        assert np.array_equal(results[0][name], results[1][name])


def sometimes_unused(rank, size):
    model = DistributedDataParallel(make_model(), find_unused_parameters=True)
    x, y = batch()
    model(x, extra=rank == 1)["y"][0].mean().backward()
    used_by_one = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.module.extra.parameters()]
    model.zero_grad()
    model(x, extra=False)["y"][0].mean().backward()
    unused_by_all = [p.grad is None for p in model.module.extra.parameters()]
    return used_by_one, unused_by_all


def test_parameters_that_some_processes_do_not_use(tmp_path):
    """A parameter that one process uses gets half of its gradient everywhere; one that nobody uses gets none."""
    assert together(tmp_path, 2, sometimes_unused) == [([True, True], [True, True])] * 2


def details(rank, size):
    numtorch.manual_seed(rank)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    wrapped = DistributedDataParallel(model)
    assert list(wrapped.state_dict()) == ["module." + name for name in model.state_dict()] and wrapped.module is model
    for _ in range(2):
        wrapped(numtorch.randn(4, 3) + rank).sum().backward()
    buffers = [b.clone() for b in model.buffers()]
    with numtorch.no_grad():
        wrapped(numtorch.randn(4, 3))                    # the buffers are the first process's before this
    kept = [None] * size
    dist.all_gather_object(kept, buffers)
    assert not numtorch.equal(kept[0][0], kept[1][0])     # each has seen its own batch last
    wrapped.eval()
    for copied in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):
        copied.zero_grad()
        copied(numtorch.ones(4, 3) * (rank + 1)).sum().backward()
        assert copied.module[0].weight.grad is not None and copied.module is not model
    grads = [None] * size
    dist.all_gather_object(grads, copied.module[0].weight.grad)
    assert numtorch.equal(grads[0], grads[1])
    model.zero_grad()
    del wrapped, copied
    model(numtorch.ones(4, 3) * (rank + 1)).sum().backward()        # no longer averaged
    dist.all_gather_object(grads, model[1].bias.grad + rank)
    assert not numtorch.equal(grads[0], grads[1])
    unused = DistributedDataParallel(make_model())
    unused(batch()[0], extra=False)["y"][0].sum().backward()
    with pytest.raises(RuntimeError, match=r"Expected to have finished reduction(.|\n)*for rank \d: 4 5$"):
        unused(batch()[0])
    for wrong, words in ((nn.Linear(2, 1 + rank), "appears not to match sizes of the same param in process 0"),
                         (nn.Linear(2, 1, bias=rank == 0), "DDP expects same model across all ranks, but Rank")):
        with pytest.raises(RuntimeError, match=words):
            DistributedDataParallel(wrong)
    return True


def test_details_of_distributed_data_parallel(tmp_path):
    """Names in the state dict, copies, buffers, the end of a wrapper, and torch's errors."""
    assert together(tmp_path, 2, details) == [True, True]


def sampled(rank, size):
    dataset = TensorDataset(numtorch.arange(10))
    sampler = DistributedSampler(dataset, shuffle=True, seed=3)
    found = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        found.append([int(x) for (part,) in DataLoader(dataset, batch_size=2, sampler=sampler) for x in part])
    return found


def test_the_sampler_asks_the_group(tmp_path):
    """DistributedSampler takes rank and size from the default group; the processes see every sample once."""
    first, second = together(tmp_path, 2, sampled)
    for epoch in range(2):
        assert sorted(first[epoch] + second[epoch]) == list(range(10))
    assert first[0] != first[1]


# ---- one process -------------------------------------------------------------------------------------------------------

def test_data_parallel_is_the_module_itself():
    """Without a GPU DataParallel runs the module, and names its parameters as torch does."""
    torch = pytest.importorskip("torch")
    ours, theirs = nn.DataParallel(nn.Linear(2, 1), device_ids=[0, 1]), torch.nn.DataParallel(torch.nn.Linear(2, 1))
    assert str(ours) == str(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    x = numtorch.randn(3, 2)
    assert numtorch.equal(ours(x), ours.module(x)) and ours.device_ids == theirs.device_ids == []
    with pytest.raises(RuntimeError, match="no available devices"):
        parallel.data_parallel(ours.module, x)


def test_the_parts_of_data_parallel():
    """scatter, replicate, parallel_apply and gather on CPU devices make the module's outputs and gradients."""
    numtorch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.BatchNorm1d(2).eval())
    x = numtorch.randn(5, 3)
    expected = model(x)
    expected.square().sum().backward()
    grads = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    devices = ["cpu", "cpu"]
    args, kwargs = parallel.scatter_kwargs((x,), {}, devices)
    assert [a[0].shape[0] for a in args] == [3, 2] and kwargs == ({}, {})
    replicas = parallel.replicate(model, devices)
    assert not list(replicas[1].parameters()) and replicas[0][2].running_mean is model[2].running_mean
    output = parallel.gather(parallel.parallel_apply(replicas, args, kwargs), "cpu")
    assert numtorch.allclose(output, expected)
    output.square().sum().backward()
    assert all(numtorch.allclose(p.grad, g, atol=1e-6) for p, g in zip(model.parameters(), grads))
    assert numtorch.allclose(parallel.data_parallel(model, x, devices), expected)
    with numtorch.no_grad():
        assert not parallel.data_parallel(model, x, devices).requires_grad


def test_nests_are_scattered_and_gathered():
    """Tuples, lists, dicts and other objects keep their structure."""
    torch = pytest.importorskip("torch")
    nest = {"a": [numtorch.arange(4), "text"], "b": (numtorch.ones(2, 2),)}
    first, second = parallel.scatter(nest, ["cpu", "cpu"])
    assert first["a"][0].tolist() == [0, 1] and second["a"][0].tolist() == [2, 3] and second["a"][1] == "text"
    joined = parallel.gather([{"x": (numtorch.ones(1),)}, {"x": (numtorch.zeros(2),)}], "cpu")
    assert joined["x"][0].tolist() == [1, 0, 0]
    assert parallel.gather([numtorch.tensor(1.0), numtorch.tensor(2.0)], "cpu").tolist() == [1, 2]
    with pytest.raises(ValueError, match="All dicts must have the same number of keys"):
        parallel.gather([{"x": None}, {}], "cpu")

    def fails(x):
        raise KeyError("lost")
    with pytest.raises(KeyError, match="Caught KeyError in replica 1 on device cpu"):
        parallel.parallel_apply([lambda x: x, fails], [1, 2])
    assert set(torch.nn.parallel.__all__) <= set(parallel.__all__)
