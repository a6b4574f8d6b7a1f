"""Kernels under Python threads and in forked processes: nobody waits for ever, dies, or gets a wrong number."""
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import numtorch as torch

LARGE = 300_000         # elements: above every kernel's grain, so that parallel twins run


def work(seed):
    """A few ops of large and small size on numbers of its own; returns arrays to compare."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal(LARGE).astype(np.float32))
    w = torch.from_numpy(rng.standard_normal((60, 50)).astype(np.float32)).requires_grad_()
    m = x[:50 * 6000].reshape(6000, 50)
    loss = ((m @ w.T).exp().sum(1) + 1).log().mean()
    loss.backward()
    return [(x * 2 + 1).numpy(), x.cumsum(0).numpy(), m.sum(0).numpy(), x.sort()[0].numpy(), loss.detach().numpy(),
            w.grad.numpy()]


def little_work(seed):
    """Two of these ops, whose four kernels compile in seconds."""
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal(LARGE).astype(np.float32))
    return [(x * 2).numpy(), x.cumsum(0).numpy()]


def same(a, b):
    return all(np.allclose(p, q, rtol=1e-4, atol=1e-4) for p, q in zip(a, b))


def in_threads(n, fn):
    """The results of fn(0) ... fn(n - 1), run at once in threads of their own; the first exception is raised."""
    results, errors, gate = [None] * n, [], threading.Barrier(n)

    def run(k):
        try:
            gate.wait()
            results[k] = fn(k)
        except BaseException as error:      # noqa: BLE001 - handed to the caller's thread
            errors.append(error)
    threads = [threading.Thread(target=run, args=(k,)) for k in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


def test_eight_threads_get_the_numbers_of_one():
    """Eight Python threads that call serial and parallel kernels at once compute what one thread computes."""
    wanted = [work(seed) for seed in range(4)]
    for _ in range(3):
        for k, found in enumerate(in_threads(8, lambda k: work(k % 4))):
            assert same(found, wanted[k % 4])


def test_eight_threads_may_meet_at_the_first_use(tmp_path):
    """Kernels that eight threads need at once for the first time are compiled, and compute the right numbers."""
    code = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_threads import in_threads, little_work, same
found = in_threads(8, lambda k: little_work(k % 2))
assert all(same(f, found[k % 2]) for k, f in enumerate(found))
"""
    environment = {**os.environ, "NUMTORCH_CACHE": str(tmp_path), "NUMTORCH_QUIET": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=300)


def test_backward_in_eight_threads():
    """Each thread goes backward through its own graph; grad modes of one thread are not seen by another."""
    shared = torch.ones(64, requires_grad=True)

    def run(k):
        with torch.set_grad_enabled(k % 2 == 0):
            y = shared * (k + 1)
        for _ in range(50):
            y = y * 1.0
        if k % 2:
            return y.requires_grad
        (g,) = torch.autograd.grad(y.sum(), shared)
        return float(g[0])
    assert in_threads(8, run) == [k + 1.0 if k % 2 == 0 else False for k in range(8)]


def test_threads_may_accumulate_into_one_leaf():
    """backward() of eight threads into the same leaf loses no contribution."""
    shared = torch.zeros(1000, requires_grad=True)
    shared.grad = torch.zeros(1000)
    rounds = 40

    def run(k):
        for _ in range(rounds):
            (shared * 1.0).sum().backward()
    in_threads(8, run)
    assert torch.equal(shared.grad, torch.full((1000,), 8.0 * rounds))


def test_backward_of_one_graph_in_several_threads():
    """A graph kept with retain_graph may be walked by several threads at once."""
    x = torch.linspace(0, 1, 500, requires_grad=True)
    y = (x * x * x).sum()
    for found in in_threads(8, lambda k: torch.autograd.grad(y, x, retain_graph=True)[0]):
        np.testing.assert_allclose(found.numpy(), 3 * np.linspace(0, 1, 500) ** 2, rtol=1e-5, atol=1e-6)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_computes():
    """After the parent ran parallel kernels, a forked child runs the same ops (serially) and gets the same numbers."""
    wanted = work(1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if same(work(1), wanted) else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert same(work(1), wanted)            # and the parent still runs


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_a_kernel_runs_is_not_locked_out():
    """A fork in the middle of another thread's parallel kernel does not leave the child waiting for that thread."""
    stop = threading.Event()

    def busy():
        x = torch.ones(LARGE)
        while not stop.is_set():
            x = x * 1.0
    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    status = 0 if float((torch.ones(LARGE) * 2).sum()) == 2 * LARGE else 2
                finally:
                    os._exit(status)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
    finally:
        stop.set()
        thread.join()


class Rows(torch.utils.data.Dataset):
    """Items that are computed by parallel-size ops in the worker."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return (torch.ones(LARGE) * index).exp().log().mean()


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_data_loader_workers_compute_after_the_parent_did():
    """Forked DataLoader workers run large ops after the parent ran parallel kernels."""
    work(0)
    loader = torch.utils.data.DataLoader(Rows(), batch_size=2, num_workers=2, multiprocessing_context="fork")
    found = torch.cat(list(loader))
    np.testing.assert_allclose(found.numpy(), np.arange(8), rtol=1e-4, atol=1e-5)


def test_thread_count_is_kept_within_bounds():
    """set_num_threads takes effect and is given back; zero threads are refused."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    assert torch.get_num_threads() == 1
    assert float((torch.ones(LARGE) * 3).sum()) == 3 * LARGE
    torch.set_num_threads(before)
    with pytest.raises(RuntimeError, match="positive integer"):
        torch.set_num_threads(0)
    with pytest.raises(TypeError, match="expects an int, but got float"):
        torch.set_num_threads(2.0)
