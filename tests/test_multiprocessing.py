"""numtorch.multiprocessing: tensors that processes share, how processes fail, and that nothing of them is left behind."""
import gc
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import numtorch
import numtorch.multiprocessing as mp
from numtorch import nn
from numtorch.multiprocessing import _memory

METHODS = ["fork", "spawn"]
LIMIT = 60      # seconds after which a test has hung


def descriptors():
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


def started(method, target, *args):
    process = mp.get_context(method).Process(target=target, args=args)
    process.start()
    return process


def joined(process):
    process.join(LIMIT)
    assert process.exitcode == 0, process.exitcode


# ---- share_memory_ -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float32", "float64", "complex64"])
def test_a_tensor_moves_with_its_views(dtype):
    """share_memory_ keeps values, strides and offsets, and takes every view and detached alias along."""
    x = numtorch.arange(24).reshape(2, 3, 4).to(getattr(numtorch, dtype))
    before, view, alias, data = x.clone(), x.transpose(0, 2)[1:], x.detach(), x.data
    strides, offset = view.stride(), view.storage_offset()
    assert not x.is_shared() and not view.untyped_storage().is_shared()
    assert view.share_memory_() is view
    for t in (x, view, alias, data):
        assert t.is_shared() and t.untyped_storage().is_shared()
    assert (view.stride(), view.storage_offset()) == (strides, offset)
    assert numtorch.equal(x, before) and x.dtype is before.dtype
    view.zero_()
    assert not x.transpose(0, 2)[1:].any() and not alias.transpose(0, 2)[1:].any() and data[0, 0, 0] == before[0, 0, 0]


def test_share_memory_is_idempotent_and_copies_are_not_shared():
    """A second call leaves the memory; clones are private; empty tensors count as shared, as torch's do."""
    x = numtorch.ones(3).share_memory_()
    address = x.data_ptr()
    assert x.share_memory_().data_ptr() == address and not x.clone().is_shared()
    assert numtorch.zeros(0).share_memory_().is_shared() and not numtorch.zeros(0).is_shared()
    assert numtorch.tensor(5.0).share_memory_().item() == 5


def test_a_view_of_another_dtype_moves_too():
    """Reinterpreted memory and the parts of complex numbers stay on the memory that moves."""
    x = numtorch.zeros(4, dtype=numtorch.complex64)
    imaginary = numtorch.view_as_real(x)[..., 1]
    x.share_memory_()
    imaginary.fill_(2)
    assert imaginary.is_shared() and x.tolist() == [2j] * 4


def test_of_a_mapped_file_only_what_is_shown_is_copied(tmp_path):
    """A row of a file that is mapped can be shared without copying the file."""
    np.save(tmp_path / "a.npy", np.arange(1 << 20, dtype=np.float32).reshape(1024, 1024))
    row = numtorch.from_numpy(np.load(tmp_path / "a.npy", mmap_mode="r+")[3])
    row.share_memory_()
    assert row.is_shared() and row.untyped_storage().nbytes() == 4096 and row[5] == 3 * 1024 + 5


def test_a_storage_can_be_shared():
    """Storage.share_memory_ takes the tensors along, and travels through a queue."""
    x = numtorch.arange(4.0)
    storage = x.untyped_storage()
    assert storage.share_memory_() is storage and x.is_shared()
    queue = mp.SimpleQueue()
    queue.put(storage)
    assert queue.get().data_ptr() == x.data_ptr()


def test_a_module_moves_to_shared_memory():
    """Module.share_memory moves parameters, their gradients and buffers, and keeps them trainable."""
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    model(numtorch.ones(4, 3)).sum().backward()
    weight = model[0].weight
    assert model.share_memory() is model and model[0].weight is weight
    assert all(t.is_shared() for t in (*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters())))
    numtorch.optim.SGD(model.parameters(), lr=0.1).step()
    model(numtorch.ones(4, 3)).sum().backward()
    with pytest.raises(RuntimeError, match="Can't share memory on an uninitialized parameter or buffer"):
        nn.LazyLinear(2).share_memory()


def test_small_tensors_share_files():
    """A thousand tensors cost a few descriptors; tensors that are freed give them back."""
    gc.collect()
    before = descriptors()
    many = [numtorch.ones(10).share_memory_() for _ in range(1000)]
    assert descriptors() - before <= 4 and all(t.sum() == 10 for t in many)
    large = [numtorch.ones(1 << 15).share_memory_() for _ in range(5)]
    assert descriptors() - before >= 10
    del many, large
    assert descriptors() - before <= 4


def test_sharing_strategies():
    """Both of torch's names are there; "file_system" lays large tensors on common files."""
    torch = pytest.importorskip("torch")
    assert mp.get_all_sharing_strategies() == torch.multiprocessing.get_all_sharing_strategies()
    assert mp.get_sharing_strategy() == torch.multiprocessing.get_sharing_strategy() == "file_descriptor"
    try:
        mp.set_sharing_strategy("file_system")
        assert mp.get_sharing_strategy() == "file_system"
        before = descriptors()
        many = [numtorch.ones(1 << 15).share_memory_() for _ in range(20)]
        assert descriptors() - before <= 4 and all(t.sum() == 1 << 15 for t in many)
    finally:
        mp.set_sharing_strategy("file_descriptor")
        _memory._pool.__init__()
    with pytest.raises(AssertionError, match="invalid sharing strategy 'pigeon', expected one of"):
        mp.set_sharing_strategy("pigeon")


# ---- on the way to other processes -------------------------------------------------------------------------------------

def fill(queue, answers):
    """Writes to what it receives, and sends views and a parameter back."""
    x, y, p = queue.get()
    y.fill_(7)
    assert x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr() and p.requires_grad and p.is_leaf
    again = queue.get()
    assert again.data_ptr() == x.data_ptr()
    again[0, 0] = 9
    with numtorch.no_grad():
        p.mul_(2)
    made = numtorch.arange(6.0)
    answers.put((made[::2], type(p).__name__))
    answers.put(made)
    answers.join()


@pytest.mark.parametrize("method", METHODS)
def test_tensors_in_a_queue_are_shared(method):
    """Writes are seen on both sides; views stay views, within a message and over several; parameters stay parameters."""
    context = mp.get_context(method)
    queue, answers = context.Queue(), context.JoinableQueue()
    x, p = numtorch.zeros(3, 4), nn.Parameter(numtorch.ones(2))
    queue.put((x, x[1:], p))
    queue.put(x)
    child = started(method, fill, queue, answers)
    odd, kind = answers.get(timeout=LIMIT)
    made = answers.get(timeout=LIMIT)
    assert kind == "Parameter" and odd.tolist() == [0, 2, 4] and made.data_ptr() == odd.data_ptr()
    made[0] = 5
    assert odd[0] == 5
    answers.task_done(), answers.task_done()
    joined(child)
    assert x.is_shared() and x.sum(1).tolist() == [9, 28, 28] and p.tolist() == [2, 2]


def add_row(rank, shared, model):
    shared[rank] += rank + 1
    with numtorch.no_grad():
        model.weight[rank] = rank


@pytest.mark.parametrize("method", METHODS)
def test_arguments_of_processes_are_shared(method):
    """Tensors and modules among the arguments are the caller's memory, not copies."""
    shared, model = numtorch.ones(2, 3).share_memory_(), nn.Linear(2, 2).share_memory()
    mp.start_processes(add_row, (shared, model), 2, start_method=method)
    assert shared.tolist() == [[2] * 3, [3] * 3] and model.weight.tolist() == [[0, 0], [1, 1]]


def test_in_one_process_a_queue_gives_the_same_memory():
    """Kinds of tensors that keep their marks: leaves, buffers, attributes; all dtypes; empty and expanded ones."""
    queue = mp.SimpleQueue()
    leaf = numtorch.ones(2, requires_grad=True)
    leaf.note = "kept"
    buffer = nn.Buffer(numtorch.ones(2), persistent=False)
    tied = nn.Linear(2, 2)
    queue.put((leaf, buffer, numtorch.zeros(0, 3), numtorch.ones(1).expand(4), numtorch.ones(2, dtype=numtorch.bfloat16),
               [tied.weight, tied.weight]))
    leaf2, buffer2, empty, expanded, halves, (a, b) = queue.get()
    assert leaf2.requires_grad and leaf2.note == "kept" and leaf2.data_ptr() == leaf.data_ptr()
    assert isinstance(buffer2, nn.Buffer) and buffer2.persistent is False
    assert empty.shape == (0, 3) and expanded.stride() == (0,) and halves.dtype is numtorch.bfloat16 and a is b
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor which requires_grad"):
        queue.put(leaf * 2)


def test_pipes_pools_and_managers():
    """The other ways of multiprocessing share tensors, too, and everything that it exports is here."""
    import multiprocessing

    assert all(getattr(mp, name) is getattr(multiprocessing, name) for name in multiprocessing.__all__)
    x = numtorch.zeros(2)
    one, other = mp.Pipe()
    one.send(x)
    other.recv().fill_(3)
    assert x.tolist() == [3, 3]
    context = mp.get_context("fork")
    with context.Pool(2) as pool:
        x = numtorch.arange(4.0)
        parts = pool.map(double, x.unbind(0))
        assert [p.item() for p in parts] == [0, 2, 4, 6] and x.tolist() == [0, 2, 4, 6]
    with context.Manager() as manager:
        kept = manager.list([numtorch.ones(2)])
        kept[0].add_(1)
        assert kept[0].tolist() == [2, 2]


def double(x):
    return x.mul_(2)


def put_and_end(queue):
    queue.put(numtorch.full((1000,), 3.0))


def put_and_die(queue, put):
    queue.put(numtorch.full((1000,), 3.0))
    put.put(0)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("method", METHODS)
def test_a_child_waits_until_its_tensor_is_taken(method):
    """A process that ends right after put() keeps the memory for its receiver: torch's raises here."""
    queue = mp.get_context(method).Queue()
    child = started(method, put_and_end, queue)
    time.sleep(0.05)
    assert queue.get(timeout=LIMIT).sum() == 3000
    joined(child)


def test_a_tensor_of_a_dead_process_is_a_clear_error():
    """What a killed process has sent and nobody took is gone, and get() says so."""
    context = mp.get_context("fork")
    queue, put = context.SimpleQueue(), context.SimpleQueue()
    child = started("fork", put_and_die, queue, put)
    put.get()
    child.join(LIMIT)
    with pytest.raises(ConnectionResetError, match="the process that sent a tensor ended before the tensor was received"):
        queue.get()


def hogwild(rank, model, x, y):
    numtorch.set_num_threads(1)
    optimizer = numtorch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x[rank::2]), y[rank::2]).backward()
        optimizer.step()


@pytest.mark.parametrize("method", METHODS)
def test_hogwild_training(method):
    """Processes that train one model without locks find the line."""
    model = nn.Linear(2, 1).share_memory()
    x = numtorch.randn(40, 2)
    y = x @ numtorch.tensor([[2.0], [-3.4]]) + 4.2
    mp.start_processes(hogwild, (model, x, y), 2, start_method=method)
    assert numtorch.allclose(model.weight, numtorch.tensor([[2.0, -3.4]]), atol=0.05)
    assert numtorch.allclose(model.bias, numtorch.tensor([4.2]), atol=0.05)


# ---- processes that fail -----------------------------------------------------------------------------------------------

def fails(rank, how):
    if rank == 1:
        if how == "raise":
            raise ValueError("no such luck")
        if how == "exit":
            sys.exit(7)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(LIMIT)


@pytest.mark.parametrize("how", ["raise", "exit", "kill"])
def test_a_failed_process_ends_the_others_with_torchs_words(how):
    """The exception names the process and carries its traceback, exit code or signal, as torch's does."""
    torch = pytest.importorskip("torch")
    errors = []
    for library in (mp, torch.multiprocessing):
        with pytest.raises(library.spawn.__globals__["ProcessException"]) as caught:
            library.start_processes(fails, (how,), 2, start_method="fork")
        errors.append(caught.value)
    ours, theirs = errors
    assert type(ours).__name__ == type(theirs).__name__ and ours.error_index == theirs.error_index == 1
    assert getattr(ours, "exit_code", None) == getattr(theirs, "exit_code", None)
    assert getattr(ours, "signal_name", None) == getattr(theirs, "signal_name", None)
    if how == "raise":
        first = "\n\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n"
        assert str(ours).startswith(first) and str(theirs).startswith(first)
        assert str(ours).endswith("ValueError: no such luck\n") and "in fails" in str(ours)
    else:
        assert str(ours) == str(theirs)
    import pickle

    copied = pickle.loads(pickle.dumps(ours))
    assert str(copied) == str(ours) and copied.error_pid == ours.error_pid


def waits(rank, done):
    done.wait(LIMIT)


def test_process_context():
    """Without join there is a context: pids, and a join that times out, then tells that all have ended."""
    done = mp.get_context("spawn").Event()
    context = mp.spawn(waits, (done,), 2, join=False)
    assert len(context.pids()) == 2 and not context.join(0.01)
    done.set()
    while not context.join(LIMIT):
        continue
    assert context.join() and [p.exitcode for p in context.processes] == [0, 0]
    with pytest.warns(FutureWarning, match="This method only supports start_method=spawn"):
        mp.spawn(print, nprocs=0, start_method="fork")
    with pytest.warns(UserWarning, match="SpawnContext is renamed to ProcessContext"):
        mp.SpawnContext([], [])


# ---- nothing is left ---------------------------------------------------------------------------------------------------

PROGRAM = """
    import os, signal, sys, time
    import numtorch as torch
    import numtorch.multiprocessing as mp

    def work(rank, shared, large, queue):
        queue.put(torch.ones(1 << 16))
        print("started", os.getpid(), flush=True)
        time.sleep(60)

    if __name__ == "__main__":
        shared, large = torch.ones(10).share_memory_(), torch.ones(1 << 20).share_memory_()
        queue = mp.get_context(sys.argv[1]).SimpleQueue()
        mp.start_processes(work, (shared, large, queue), 2, start_method=sys.argv[1])
"""


def hear_interrupts():
    """In a child: Ctrl-C works, also where the tests run in the background of a shell, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def alive(pid):
    """True unless the process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and /dev/shm")
@pytest.mark.parametrize("method, how", [("fork", "kill -9"), ("spawn", "kill -9"), ("fork", "Ctrl-C"), ("fork", "SIGINT"),
                                         ("fork", "child")])
def test_nothing_is_left_after_a_crash(tmp_path, method, how):
    """However a program ends, its children end, too, and neither files nor segments of it remain."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    before = set(os.listdir("/dev/shm"))
    program = subprocess.Popen([sys.executable, "program.py", method], cwd=tmp_path, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hear_interrupts)
    children = [int(program.stdout.readline().split()[1]) for _ in range(2)]
    if how == "kill -9":
        program.kill()
    elif how == "Ctrl-C":
        os.killpg(program.pid, signal.SIGINT)
    elif how == "SIGINT":
        program.send_signal(signal.SIGINT)
    else:
        os.kill(children[0], signal.SIGKILL)
    program.wait(LIMIT)
    end = time.monotonic() + LIMIT
    while any(map(alive, children)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(alive, children))
    if how != "kill -9":
        assert program.returncode != 0
    error = program.stderr.read()
    assert how != "child" or re.search("ProcessExitedException: process [01] terminated with signal SIGKILL", error)
    program.stdout.close(), program.stderr.close()
    left = set(os.listdir("/dev/shm")) - before
    # the semaphores of a spawned program have names, which Python's own tracker removes
    assert not {name for name in left if not name.startswith("sem.")}
    assert os.listdir(tmp_path) == ["program.py"]


def test_spawned_processes_of_a_program_that_says_torch(tmp_path):
    """``python -m numtorch`` hands the meaning of torch on to processes that it spawns."""
    (tmp_path / "program.py").write_text(textwrap.dedent("""
        import torch
        import torch.multiprocessing as mp

        def work(rank, shared):
            shared[rank] = rank + 1
            assert torch.__name__ == "numtorch"

        if __name__ == "__main__":
            shared = torch.zeros(2).share_memory_()
            mp.spawn(work, (shared,), nprocs=2)
            print(shared.tolist())
    """))
    found = subprocess.run([sys.executable, "-m", "numtorch", "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert found.stdout == "[1.0, 2.0]\n", found.stderr


def convolve(queue, module, images):
    queue.put(module(images[[0]]).detach() + images.to(numtorch.float32).sum())


@pytest.mark.parametrize("method", METHODS)
def test_received_tensors_meet_received_parameters(method):
    """What a process receives has the very dtype of its own tensors: operations of several tensors take it."""
    module, images = nn.Conv2d(1, 2, 3), numtorch.ones(2, 1, 4, 4)
    context = mp.get_context(method)
    queue = context.Queue()
    process = context.Process(target=convolve, args=(queue, module, images))
    process.start()
    found = queue.get(timeout=60)
    process.join()
    assert numtorch.equal(found, module(images[[0]]).detach() + 32)
