"""The table of operations: for each op its samples, a float64 reference, and what is known about it.

``tests/test_ops.py`` runs every row: values, dtypes, shapes, memory layouts, gradients, double gradients, and the method,
in-place and ``out=`` forms. One module a family; its ``ROWS`` are found by name, so a new family needs no registration.

    from . import Row, S, T
    ROWS = [Row("softmax", samples=[S(T(3, 4), dim=1)], reference=lambda x, dim: scipy_free_numpy(x, dim))]

The same numbers are drawn on every run: they depend only on the row's name and the sample's place.
"""
import importlib
import pkgutil
import zlib

import numpy as np


class Spec:
    """A tensor argument of a sample: what to draw."""

    layouts = grad = expand = False

    def draw(self, rng):
        """The array, always the same for the same generator state."""
        raise NotImplementedError


class T(Spec):
    """A random floating tensor; its dtype is the one the row runs in.

    Args:
        shape (ints): no sizes make a 0-dim tensor.
        low, high (float): the range; values are spread over it and pairwise distinct, so that ``max`` has one winner and no
            value sits on a kink such as relu's by accident.
        grad (bool): whether the op is differentiated with respect to it.
        make (callable): turns the drawn float64 array into the one wanted, such as ``lambda a: a @ a.T + np.eye(3)``.
        expand (bool): whether a stride-0 version with equal rows is a legal input.
        dtype (str): a dtype of its own, instead of the row's.
    """

    layouts = True

    def __init__(self, *shape, low=-2, high=2, grad=True, make=None, expand=None, dtype=None):
        self.shape, self.low, self.high, self.grad, self.make, self.dtype = shape, low, high, grad, make, dtype
        self.expand = make is None if expand is None else expand

    def draw(self, rng):
        n = int(np.prod(self.shape, dtype=int))
        cells = (rng.permutation(n) + rng.uniform(0.1, 0.9, n)) / max(n, 1)
        a = (self.low + (self.high - self.low) * cells).reshape(self.shape)
        if self.make is not None:
            a = np.asarray(self.make(a), np.float64)
        return a.astype(np.float32).astype(np.float64)      # float32 and float64 runs then see the same numbers


class C(T):
    """A random complex tensor, complex64 beside float32 and complex128 beside float64."""

    def draw(self, rng):
        real, imag = super().draw(rng), super().draw(rng)
        return real + 1j * imag


class I(Spec):      # noqa: E742
    """A random int64 tensor from ``low`` up to and without ``high``; ``unique=True`` repeats no value along dimension 0."""

    layouts = True

    def __init__(self, *shape, low=0, high=5, unique=False, dtype="int64"):
        self.shape, self.low, self.high, self.unique, self.dtype = shape, low, high, unique, dtype
        self.expand = not unique

    def draw(self, rng):
        if self.unique:
            values = np.broadcast_to(np.arange(self.low, self.high).reshape(-1, *[1] * (len(self.shape) - 1)),
                                     (self.high - self.low, *self.shape[1:]))
            return np.ascontiguousarray(rng.permuted(values, axis=0)[:self.shape[0]])
        return rng.integers(self.low, self.high, self.shape)


class B(Spec):
    """A random bool tensor, True with probability ``p``."""

    layouts = expand = True
    dtype = "bool"

    def __init__(self, *shape, p=0.5):
        self.shape, self.p = shape, p

    def draw(self, rng):
        return np.asarray(rng.uniform(size=self.shape) < self.p)


class V(Spec):
    """Exactly these numbers: ``V([0.0, float("nan")])`` takes the row's dtype, ``V([1, 2])`` is int64.

    ``dtype`` fixes another one; ``grad=True`` differentiates with respect to it.
    """

    def __init__(self, values, dtype=None, grad=False):
        self.values = np.asarray(values)
        self.grad = grad
        self.dtype = dtype or (None if self.values.dtype.kind in "fc" else str(self.values.dtype))

    def draw(self, rng):
        return self.values.copy()


class D:
    """A dtype argument by name: ``S(T(3), dtype=D("float64"))``."""

    def __init__(self, name):
        self.name = name


class S:
    """One call: positional and keyword arguments, in which specs stand for tensors, also inside lists and tuples."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

    def __repr__(self):
        words = [_word(a) for a in self.args] + [f"{k}={_word(v)}" for k, v in self.kwargs.items()]
        return f"S({', '.join(words)})"


def _word(value):
    if isinstance(value, V):
        return f"V({value.values.tolist()})"
    if isinstance(value, Spec):
        return f"{type(value).__name__}{tuple(value.shape)}"
    if isinstance(value, D):
        return value.name
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_word, value))}]"
    return repr(value)


class Drawn:
    """A drawn tensor argument: its spec and its values, floats as float64."""

    def __init__(self, spec, array):
        self.spec, self.array = spec, array


class Row:
    """What is known of one op.

    Args:
        name (str): its key in ``numtorch.op.OPS``, such as "softmax", "nn.functional.gelu", "linalg.det", "Tensor.view".
        samples (list of S): calls, tiny, since each runs a few hundred times.
        reference (callable): the same arguments as NumPy arrays (floats as float64) -> array or tuple; None where torch alone
            is the oracle.
        grad (bool): the op is differentiable in its T arguments. False also asserts that no output requires a gradient.
        gradgrad (bool): so is its gradient; default ``grad``.
        torch (str, callable or False): torch's function where the name differs, as a path under ``torch``; False if it has none.
        tol (dict): dtype name -> tolerance, a number or (rtol, atol), in place of ``TOLERANCE``.
        also (dtype names): further dtypes for the T arguments, compared with torch only.
        pointwise (bool): add samples with all T arguments 0-dim, and all empty.
        seed (bool): the op draws random numbers; both libraries are seeded alike before each call.
        call (callable): ``call(f, *args, **kwargs)``, applied instead of ``f`` in both libraries and the gradient checks (not
            the reference), to make a result unique: ``lambda f, a: f(a).abs()``.
        method, inplace, out (bool): test that form; default as registered.
        errors: (S, exception type, regex) that must be raised; torch must raise the same type with a matching message.
        skip (dict): "values", "torch", "layouts", "forms", "gradcheck" or "gradgradcheck" -> why it cannot be run.
        note (str): a known difference from torch, in words.
    """

    def __init__(self, name, samples, reference=None, *, grad=True, gradgrad=None, torch=None, tol=None, also=(),
                 pointwise=False, seed=False, call=None, method=None, inplace=None, out=None, errors=(), skip=None, note=None):
        self.name, self.reference, self.grad, self.torch = name, reference, grad, torch
        self.samples = list(samples) + (_degenerate(samples[0]) if pointwise else [])
        self.gradgrad = grad if gradgrad is None else gradgrad
        self.tol, self.also, self.seed, self.call = tol or {}, also, seed, call
        self.method, self.inplace, self.out = method, inplace, out
        self.errors, self.skip, self.note = errors, skip or {}, note
        self.id = name

    def __repr__(self):
        return f"<Row {self.id}>"

    def tolerance(self, dtype):
        """(rtol, atol) for results of ``dtype``, a name."""
        found = self.tol.get(dtype, TOLERANCE[dtype])
        return found if isinstance(found, tuple) else (found, found)

    def draw(self, sample, number):
        """(args, kwargs) of a sample with a Drawn in place of each spec."""
        rng = np.random.default_rng(zlib.crc32(f"{self.name} {number}".encode()))
        return swap((sample.args, sample.kwargs), Spec, lambda spec: Drawn(spec, spec.draw(rng)))


# of a result against the float64 reference: rtol, atol
TOLERANCE = {"float64": (1e-9, 1e-11), "float32": (1e-5, 2e-6), "float16": (2e-3, 2e-3), "bfloat16": (2e-2, 2e-2),
             "complex128": (1e-9, 1e-11), "complex64": (1e-5, 2e-6)}


def swap(tree, kind, change):
    """``tree`` of tuples, lists and dicts with ``change(leaf)`` in place of every leaf of class ``kind``, left to right."""
    if isinstance(tree, kind):
        return change(tree)
    if type(tree) in (tuple, list):
        return type(tree)([swap(branch, kind, change) for branch in tree])
    if type(tree) is dict:
        return {key: swap(branch, kind, change) for key, branch in tree.items()}
    return tree


def leaves(tree, kind):
    """The leaves of class ``kind`` in ``tree``, left to right."""
    found = []
    swap(tree, kind, found.append)
    return found


def _degenerate(sample):
    """Two more samples: the T arguments 0-dim, and empty."""
    def shaped(*shape):
        def reshape(spec):
            return type(spec)(*shape, low=spec.low, high=spec.high, grad=spec.grad, dtype=spec.dtype)
        return S(*swap(sample.args, T, reshape), **swap(sample.kwargs, T, reshape))
    return [shaped(), shaped(0, 3)]


def rows():
    """All rows of all families; a second row of a name gets an id of its own."""
    found, seen = [], {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        for row in importlib.import_module(f"{__name__}.{module}").ROWS:
            seen[row.name] = seen.get(row.name, 0) + 1
            if seen[row.name] > 1:
                row.id = f"{row.name}-{seen[row.name]}"
            found.append(row)
    return found
