"""Each barrier of each CUDA kernel is needed: without it, a race is reported or a result is wrong.

The calls below launch every kernel that has a barrier. Each launch is run as it is, and again for each barrier that it reaches
and that no launch has missed yet, with that barrier left out and the detector of races on. A barrier that nothing misses is
needless, or untested: add a call that needs it.
"""
import re
import sys
from pathlib import Path

import numpy as np
import simulator
from numtorch.kernels import norm_cuda
from simulator import driver as stand_in
from simulator.launch import CUDA
from simulator.threads import BARRIER, KernelError

import numtorch as torch

KERNELS = Path(__file__).parent.parent / "kernels"
F = torch.nn.functional


def barriers():
    """(file, line) of every barrier in the sources."""
    return {(path.name, number) for path in KERNELS.glob("*.py") for number, line in enumerate(path.read_text().splitlines(), 1)
            if re.match(r"\s+cuda\.syncthreads\(\)", line)}


class Watch:
    """Runs launches, with and without their barriers."""

    def __init__(self, run):
        self.run, self.seen, self.missed, self.left_out, self.sites = run, set(), set(), None, set()

    def syncthreads(self):
        """In the place of the simulator's."""
        frame = sys._getframe(1)
        site = Path(frame.f_code.co_filename).name, frame.f_lineno
        self.sites.add(site)
        if site != self.left_out:
            CUDA.back(((BARRIER, "syncthreads", frame.f_lineno, frame.f_code, frame.f_lasti), None))

    def __call__(self, linked, grid, block, shared, args, rng=None, races=False):
        arrays = [a.flat.data if hasattr(a, "flat") else a.data for a in args if hasattr(a, "load")]
        before = [a.copy() for a in arrays]
        self.sites = set()
        self.run(linked, grid, block, shared, args, rng, races)
        self.seen |= self.sites
        after = [a.copy() for a in arrays]
        for site in self.sites - self.missed:
            put(arrays, before)
            self.left_out = site
            try:
                self.run(linked, grid, block, shared, args, rng, True)
                if not all(np.array_equal(a.view(np.uint8), b.view(np.uint8)) for a, b in zip(arrays, after)):
                    self.missed.add(site)
            except KernelError:
                self.missed.add(site)
            finally:
                self.left_out = None
        put(arrays, after)


def put(arrays, values):
    for array, value in zip(arrays, values):
        array[...] = value


def numbers(*shape, **options):
    return torch.tensor(np.random.default_rng(0).standard_normal(shape), device="cuda", dtype=torch.float32, **options)


def with_gradients(fn, *inputs):
    fn(*inputs).sum().backward()


def calls():
    """Every kernel with a barrier, in a size for which it is needed."""
    rows = numbers(3, 600, requires_grad=True)
    yield lambda: (numbers(5000).sum(), numbers(3, 600).sum(1), numbers(600, 40).sum(0), numbers(5000).var(), numbers(2, 900).argmax(1))
    yield lambda: (numbers(2, 3000).cumsum(1), numbers(2, 3000).cummax(1), numbers(2, 3000).logcumsumexp(1))
    yield lambda: with_gradients(lambda x: F.softmax(x, 1) * 2, rows)
    yield lambda: with_gradients(lambda x: F.log_softmax(x, 1) * 2, rows)
    yield lambda: with_gradients(lambda x: F.softmax(x, 0) * 2, numbers(600, 5, requires_grad=True))
    yield lambda: F.softmax(numbers(2, 20000), 1)
    yield lambda: with_gradients(lambda x: F.layer_norm(x, (600,), torch.ones(600, device="cuda", requires_grad=True)), rows)
    yield lambda: with_gradients(lambda x: F.batch_norm(x, None, None, training=True), numbers(6, 3, 50, requires_grad=True))
    yield lambda: with_gradients(lambda a, b: a @ b, numbers(70, 40, requires_grad=True), numbers(40, 70, requires_grad=True))
    yield lambda: (numbers(300, 300) @ numbers(300), numbers(130, 20) @ numbers(20, 130), numbers(4, 2000) @ numbers(2000, 4))
    yield lambda: with_gradients(lambda x, w: F.conv2d(x, w, padding=1), numbers(2, 5, 9, 9, requires_grad=True),
                                 numbers(6, 5, 3, 3, requires_grad=True))
    yield lambda: with_gradients(lambda x, w: F.conv2d(x, w, padding=1, groups=4), numbers(2, 4, 9, 9, requires_grad=True),
                                 numbers(4, 1, 3, 3, requires_grad=True))
    yield lambda: with_gradients(lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True),
                                 numbers(1, 2, 40, 8, requires_grad=True))
    yield lambda: numbers(40, 70).t().contiguous()
    yield lambda: (numbers(2000) > 0).nonzero()
    yield lambda: numbers(70, 40).half() @ numbers(40, 70).half()
    yield lambda: (numbers(600) @ numbers(600, 70), numbers(70, 600) @ numbers(600), numbers(600, 70).t() @ numbers(600))
    yield lambda: with_gradients(torch.cdist, numbers(40, 20, requires_grad=True), numbers(50, 20, requires_grad=True))
    yield lambda: torch.linalg.solve_triangular(numbers(70, 70) + 70 * torch.eye(70, device="cuda"), numbers(70, 3), upper=True)
    yield lambda: with_gradients(lambda x, w: F.layer_norm(x, (40,), w, w), numbers(300, 40, requires_grad=True),
                                 numbers(40, requires_grad=True))
    yield lambda: with_gradients(lambda x, w: F.batch_norm(x, None, None, w, w, training=True), numbers(300, 5, requires_grad=True),
                                 numbers(5, requires_grad=True))
    yield lambda: torch.ones(20, 40, dtype=torch.int64, device="cuda") @ torch.ones(40, 20, dtype=torch.int64, device="cuda")
    yield lambda: numbers(3, 300).mode(1)
    yield lambda: F.conv3d(numbers(1, 2, 7, 7, 7), numbers(2, 1, 7, 7, 7), groups=2)
    yield lambda: with_gradients(lambda x, w: F.conv_transpose2d(x, w, stride=3), numbers(2, 8, 4, 4, requires_grad=True),
                                 numbers(8, 8, 1, 1, requires_grad=True))
    yield lambda: with_gradients(lambda w: F.conv2d(torch.empty(0, 8, 4, 4, device="cuda"), w), numbers(8, 8, 1, 1, requires_grad=True))
    yield lambda: torch.ones(8200, dtype=torch.int64, device="cuda").repeat_interleave()
    yield lambda: torch.bincount(torch.arange(300, device="cuda") % 40)
    yield lambda: (numbers(3, 300).sort(1), numbers(5000).sort(), numbers(3, 300).topk(5))


def test_every_barrier_is_needed(monkeypatch):
    """No barrier of the sources can be taken away unnoticed."""
    with simulator.installed(seed=1):
        watch = Watch(stand_in.run)
        monkeypatch.setattr(stand_in, "run", watch)
        monkeypatch.setattr(type(CUDA), "syncthreads", lambda self: watch.syncthreads())
        monkeypatch.setattr(CUDA, "syncthreads", watch.syncthreads, raising=False)
        monkeypatch.setattr(norm_cuda, "PARTS", 2)      # so that a block has several rows of few
        for call in calls():
            call()
    known = barriers()
    assert not known - watch.seen, f"never reached: {sorted(known - watch.seen)}"
    assert not (watch.seen & known) - watch.missed, f"not needed by any call: {sorted((watch.seen & known) - watch.missed)}"
