"""Operands on different devices are torch's error, in every operation of the table and between two CUDA devices."""
import re

import ops_db
import pytest
import simulator
from test_ops import arguments, drawn_samples, flat, in_place_safe, leaves, ours, swap

import numtorch as torch
from numtorch import nn

APART = "Expected all tensors to be on the same device, but found at least two devices, (cpu|cuda:.) and (cpu|cuda:.)!"
# what torch itself says of convolutions, searches and indices
ITS_OWN = "and weight type .* should be the same|should have same device type|indices should be either on cpu or on the same"
# only the shape of the other matters; or indices, sizes and values may be in the host's memory
ANYWHERE = frozenset("view_as reshape_as expand_as broadcast_tensors meshgrid tensor_split index_put".split())


@pytest.fixture(autouse=True)
def driver():
    """Two simulated devices."""
    with simulator.installed() as found:
        yield found


def mixtures(row):
    """The arguments of ``row`` with one tensor on the host and the others on the device, for each tensor of a few samples."""
    seen = set()
    for _, drawn in drawn_samples(row):
        given = arguments(torch, drawn, "float32", False)
        tensors = leaves([*flat(given[0]), *given[1].values()], torch.Tensor)
        if len(tensors) > 1 and len(tensors) not in seen and all(t.ndim and t.numel() for t in tensors):
            seen.add(len(tensors))
            for left in tensors:
                yield swap(given, torch.Tensor, lambda t, left=left: t if t is left else t.cuda())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_operation():
    """One operand left in the host's memory: the error, and nothing is moved in silence."""
    wrong, tried = [], 0
    for row in ops_db.rows():
        for args, kwargs in mixtures(row) if row.name not in ANYWHERE else ():
            tried += 1
            try:
                ours(row)(*in_place_safe(row, args), **kwargs)
                wrong.append(f"{row.id}: no error")
            except Exception as error:
                if not re.search(f"{APART}|{ITS_OWN}", str(error)):
                    wrong.append(f"{row.id}: {type(error).__name__}: {error}")
    assert not wrong and tried > 300


def test_two_cuda_devices():
    """A launch looks at the device of each array."""
    x, w = torch.ones(2, 3, device="cuda:0"), torch.ones(3, 3, device="cuda:1")
    images, filters = torch.ones(1, 1, 4, 4, device="cuda:0"), torch.ones(1, 1, 2, 2, device="cuda:1")
    norm = nn.LayerNorm(3, device="cuda:1")
    for mix in (lambda: x + w[:2], lambda: x @ w, lambda: nn.functional.linear(x, w), lambda: torch.cat([x, w]), lambda: norm(x),
                lambda: nn.functional.conv2d(images, filters), lambda: torch.where(x > 0, x, w[:2]),
                lambda: torch.bmm(x[None], w[None]),
                lambda: nn.functional.embedding(torch.zeros(2, dtype=torch.int64, device="cuda:0"), w)):
        with pytest.raises(RuntimeError, match=f"{APART}|{ITS_OWN}"):
            mix()
