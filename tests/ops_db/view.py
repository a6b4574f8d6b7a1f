"""Rows of the views."""
import numpy as np

from . import C, I, Row, S, T

X = T(2, 3, 4)


def split(x, size, dim=0):
    n = x.shape[dim]
    cuts = np.cumsum(size)[:-1] if isinstance(size, (list, tuple)) else list(range(size, n, size))
    return tuple(np.split(x, cuts, dim))


def unfold_free(x, size, stride, offset=0):
    flat = np.ascontiguousarray(x).reshape(-1)[offset:]
    return np.lib.stride_tricks.as_strided(flat, size, [s * 8 for s in stride])


def scatter(x, src, size, stride, offset=0):
    x = np.array(x)
    unfold = np.lib.stride_tricks.as_strided(x.reshape(-1)[offset:], size, [s * 8 for s in stride])
    unfold[...] = src
    return x


def atleast(n):
    return lambda x: (np.atleast_1d, np.atleast_2d, np.atleast_3d)[n - 1](x)


def chunk(x, n, dim=0):
    size = -(-x.shape[dim] // n)
    return split(x, size, dim)


CONTIGUOUS = {"layouts": "reads the storage, not the elements"}

ROWS = [
    Row("Tensor.view", [S(X, 6, 4), S(X, (2, -1)), S(X, -1), S(T(0, 3), 3, 0), S(T(), 1)], lambda x, *s: x.reshape(*s),
        torch=lambda x, *s: x.view(*s), skip={"layouts": "strides may not allow a view"},
        errors=[(S(X, 5, 5), RuntimeError, r"shape '\[5, 5\]' is invalid for input of size 24"),
                (S(X, -1, -1), RuntimeError, "only one dimension can be inferred")]),
    Row("reshape", [S(X, (6, 4)), S(X, (2, -1)), S(X, (-1,)), S(T(0, 3), (3, 0)), S(I(4), (2, 2))], lambda x, s: x.reshape(s),
        errors=[(S(X, (5, 5)), RuntimeError, r"shape '\[5, 5\]' is invalid for input of size 24"),
                (S(T(0), (-1, 0)), RuntimeError, "cannot reshape tensor of 0 elements into shape")]),
    Row("view_as", [S(X, T(6, 4, grad=False))], lambda x, o: x.reshape(o.shape), torch=lambda x, o: x.view_as(o),
        skip={"layouts": "strides may not allow a view"}),
    Row("reshape_as", [S(X, T(6, 4, grad=False))], lambda x, o: x.reshape(o.shape), torch=lambda x, o: x.reshape_as(o)),
    Row("flatten", [S(X), S(X, 1), S(X, 0, 1), S(T()), S(X, start_dim=-2)],
        lambda x, start_dim=0, end_dim=-1: x.reshape(x.shape[:start_dim % max(x.ndim, 1)] + (-1,) + (x.shape[end_dim:][1:] if end_dim != -1 else ())),
        errors=[(S(X, 2, 1), RuntimeError, "start_dim cannot come after end_dim")]),
    Row("unflatten", [S(T(2, 6), 1, (2, 3)), S(T(2, 6), 1, (-1, 2))], lambda x, d, s: x.reshape(x.shape[:d] + tuple(s)),
        skip={"layouts": "strides may not allow a view"}),
    Row("ravel", [S(X), S(T()), S(T(0, 3))], np.ravel),
    Row("unsqueeze", [S(X, 0), S(X, -1), S(X, 1), S(T(), 0)], np.expand_dims, errors=[(S(X, 5), IndexError, "Dimension out of range")]),
    Row("squeeze", [S(T(1, 3, 1)), S(T(1, 3, 1), 0), S(T(1, 3, 1), 1), S(T(1, 3, 1), (0, 2)), S(T()), S(T(1), 0)],
        lambda x, d=None: x.squeeze(d) if d is None or not np.isscalar(d) or x.ndim and x.shape[d] == 1 else x),
    Row("adjoint", [S(X), S(C(2, 3))], lambda x: np.conj(np.swapaxes(x, -2, -1))),
    Row("t", [S(T(2, 3)), S(T(3)), S(T())], np.transpose, errors=[(S(X), RuntimeError, r"t\(\) expects a tensor with <= 2 dimensions, but self is 3D")]),
    Row("permute", [S(X, (2, 0, 1)), S(X, (-1, 1, 0)), S(T(), ())], np.transpose,
        errors=[(S(X, (0, 0, 1)), RuntimeError, r"duplicate dims are not allowed"), (S(X, (0, 1)), RuntimeError, "number of dimensions")]),
    Row("narrow", [S(X, 1, 1, 2), S(X, -1, 0, 3), S(X, 0, 1, 0)], lambda x, d, s, n: np.take(x, np.arange(s, s + n), d),
        errors=[(S(X, 0, 1, 3), RuntimeError, r"start \(1\) \+ length \(3\) exceeds dimension size \(2\)")]),
    Row("select", [S(X, 1, 2), S(X, 0, -1), S(T(3), 0, 1)], lambda x, d, i: np.take(x, i, d),
        errors=[(S(X, 0, 5), IndexError, r"select\(\): index 5 out of range for tensor of size \[2, 3, 4\] at dimension 0")]),
    Row("split", [S(T(5, 2), 2), S(X, [1, 2], 1), S(X, 4, dim=2)], split,
        errors=[(S(X, [1, 1], 1), RuntimeError, "split_with_sizes expects split_sizes to sum exactly to 3")]),
    Row("chunk", [S(T(5, 2), 2), S(X, 2, 2)], chunk, errors=[(S(X, 0), RuntimeError, "chunk expects `chunks` to be greater than 0, got: 0")]),
    Row("unbind", [S(X), S(X, 1), S(T(3))], lambda x, d=0: tuple(np.moveaxis(x, d, 0))),
    Row("diagonal", [S(T(3, 4)), S(T(3, 4), 1), S(X, -1, 0, 2)], np.diagonal,
        errors=[(S(X, 0, 1, 1), RuntimeError, "diagonal dimensions cannot be identical 1, 1")]),
    Row("as_strided", [S(T(3, 4), (2, 2), (4, 1)), S(T(3, 4), (2, 2), (1, 2), 1), S(T(6), (4, 3), (1, 1))], unfold_free, skip=CONTIGUOUS,
        errors=[(S(T(3), (9,), (1,)), RuntimeError, "out of bounds for storage")]),
    Row("as_strided_scatter", [S(T(3, 4), T(2, 2), (2, 2), (4, 1)), S(T(3, 4), T(2, 2), (2, 2), (1, 2), 1)], scatter,
        skip={**CONTIGUOUS, "torch": "torch gives the input the gradient of the part that is overwritten"}),
    Row("broadcast_tensors", [S(T(3, 1), T(4))], lambda *a: tuple(np.broadcast_arrays(*a))),
    Row("view_as_real", [S(C(2, 3))], lambda z: np.stack([z.real, z.imag], -1)),
    Row("view_as_complex", [S(T(3, 2))], lambda x: x[..., 0] + 1j * x[..., 1], skip={"layouts": "needs the last stride to be 1"},
        errors=[(S(T(3)), RuntimeError, "Tensor must have a last dimension of size 2")]),
]
ROWS += [Row(n, [S(X, 0, 2), S(X, -1, 1), S(T(2, 3), 0, 0)], np.swapaxes) for n in ("transpose", "swapaxes", "swapdims")]
ROWS += [Row(n, [S(X, 0, 2), S(X, (0, 1), (-1, 0))], np.moveaxis) for n in ("movedim", "moveaxis")]
ROWS += [Row(n, [S(T(3, 1), s), S(T(1), s)], lambda x, s: np.broadcast_to(x, s), torch=(lambda x, s: x.expand(s)) if n == "expand" else None)
         for n, s in (("expand", (2, 3, 4)), ("broadcast_to", (2, 3, 4)))]
ROWS += [Row("expand", [S(T(3, 1), -1, 4)], lambda x, *s: np.broadcast_to(x, (3, 4)), torch=lambda x, *s: x.expand(*s),
             errors=[(S(T(3), 4), RuntimeError, r"The expanded size of the tensor \(4\) must match the existing size \(3\) at non-singleton"),
                     (S(T(3, 3), 3), RuntimeError, "must be greater or equal to the number of dimensions")]),
         Row("expand_as", [S(T(3, 1), T(3, 4, grad=False))], lambda x, o: np.broadcast_to(x, o.shape), torch=lambda x, o: x.expand_as(o))]
ROWS += [Row(f"atleast_{n}d", [S(T()), S(T(3)), S(T(2, 3)), S(X)], atleast(n)) for n in (1, 2, 3)]
