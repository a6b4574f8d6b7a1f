"""A sample of a row of the op table on a CUDA device against the CPU: for test_cuda_ops.py (simulated) and gpu_check.py."""
from numtorch.kernels import _driver
from test_ops import (
    arguments,
    assert_same,
    contiguous,
    flat,
    gradients,
    in_place_safe,
    leaves,
    ours,
    permuted,
    sliced,
    swap,
    tensors,
)

import numtorch

LAYOUTS = (contiguous, permuted, sliced)
ON_HOST_MEMORY = frozenset(("from_numpy", "frombuffer"))        # tensors on memory that the host has: not of the default device
UNSET = frozenset(("empty", "empty_like", "empty_strided", "empty_permuted"))


def on_device(tree, row, layout):
    """The arguments on the device, in another layout where the row allows it."""
    def move(t):
        leaf = t.detach().cuda()
        fits = "layouts" not in row.skip and not (layout is permuted and row.seed)
        leaf = layout(leaf).detach() if fits else leaf
        return leaf.requires_grad_() if t.requires_grad else leaf
    return swap(tree, numtorch.Tensor, move)


def check(row, drawn, dtype, layout, what, seeds=(None,)):
    """One sample in one dtype: results, gradients, dtypes and shapes are the CPU's, and the results are on the device.

    Once for each of ``seeds``, from which the simulator draws an order of threads; None leaves it as it is.
    """
    fn, grad = ours(row), row.grad and dtype in ("float32", "float64")
    given = arguments(numtorch, drawn, dtype, grad)
    want, want_grads = gradients(fn, in_place_safe(row, given[0]), given[1])
    for seed in seeds:
        if seed is not None:
            _driver.current().seed = seed
        args, kwargs = on_device(given, row, layout)
        if not leaves([*flat(args), *kwargs.values()], numtorch.Tensor):
            if "device" in kwargs or row.name in ON_HOST_MEMORY:
                return
            with numtorch.device("cuda"):
                got, got_grads = gradients(fn, args, kwargs)
        else:
            got, got_grads = gradients(fn, in_place_safe(row, args), kwargs)
        for t in tensors([got, got_grads]):
            assert t.is_cuda, f"{what}: a result is on {t.device}"
        if row.seed or row.name in UNSET:       # other random numbers: the device has a generator of its own
            assert [(t.shape, t.dtype) for t in tensors(got)] == [(t.shape, t.dtype) for t in tensors(want)]
        else:
            assert_same(row, to_cpu(got), want, f"{what}, seed {seed}", scale=4)
            assert_same(row, to_cpu(got_grads), want_grads, f"gradient of {what}, seed {seed}", scale=4)


def to_cpu(tree):
    return [t.detach().cpu() if isinstance(t, numtorch.Tensor) else t for t in flat(tree)]
