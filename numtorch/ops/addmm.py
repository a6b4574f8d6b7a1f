"""beta * input + alpha * product: addmm, addmv, addr, addbmm, baddbmm; and chains of matrix products."""
import warnings

import numpy as np

from .. import kernels as K
from ..op import op, record, type_name
from . import pointwise
from .copy import clone
from .matmul import check_bmm, check_mm, check_mv, conj, matmul, mm, multiply, must_be_tensors, refuse_bool
from .view import reshape, squeeze, unsqueeze


def _scale(t, factor):
    return t if factor == 1 else pointwise.mul(t, factor)


def _check_input(input, shape):
    """RuntimeError as of torch's expand, if input does not broadcast to shape."""
    have = input._a.shape
    if len(have) > len(shape):
        raise RuntimeError(f"expand({type_name(input.dtype)}, size={list(shape)}): the number of sizes provided ({len(shape)}) "
                           f"must be greater or equal to the number of dimensions in the tensor ({len(have)})")
    for i in range(1, len(have) + 1):
        if have[-i] not in (1, shape[-i]):
            raise RuntimeError(f"The expanded size of the tensor ({shape[-i]}) must match the existing size ({have[-i]}) at "
                               f"non-singleton dimension {len(shape) - i}.  Target sizes: {list(shape)}.  Tensor sizes: "
                               f"{list(have)}")


@op(method=True, inplace=True, out=True)
def addmm(input, mat1, mat2, *, beta=1, alpha=1):
    """``beta * input + alpha * (mat1 @ mat2)``.

    Args:
        input (Tensor): broadcasts to (m, n).
        mat1, mat2 (Tensor): (m, k) and (k, n), of the same dtype as input.
        beta, alpha (number): factors; with beta = 0, input is not read.

    >>> import numtorch as torch
    >>> torch.addmm(torch.zeros(2), torch.ones(1, 3), torch.ones(3, 2))
    tensor([[3., 3.]])
    """
    must_be_tensors("addmm", input=input, mat1=mat1, mat2=mat2)
    a, b = mat1._a, mat2._a
    for name, x in (("mat1", a), ("mat2", b)):
        if x.ndim != 2:
            raise RuntimeError(f"{name} must be a matrix, got {x.ndim}-D tensor")
    check_mm(a, b)
    if input._a.dtype is not b.dtype or a.dtype is not b.dtype:
        other = mat2 if a.dtype is input._a.dtype or b.dtype is not input._a.dtype else mat1
        raise RuntimeError(f"self and mat2 must have the same dtype, but got {type_name(input.dtype)} and "
                           f"{type_name(other.dtype)}")
    refuse_bool("addmm_impl_cpu_", a)
    _check_input(input, (a.shape[0], b.shape[1]))
    y = K.matmul.affine(a, b, input._a, alpha, beta)
    return record(y, addmm_backward, (input, mat1, mat2), (mat1, mat2), beta=beta, alpha=alpha)


def addmm_backward(node, g):
    """Gradient of addmm: beta g, alpha g mat2^T, alpha mat1^T g."""
    a, b = node.saved_tensors
    need, need_a, need_b = node.needs
    beta, alpha = node.ctx["beta"], node.ctx["alpha"]
    return (_scale(g, beta) if need else None,
            _scale(multiply(g, conj(b), False, True), alpha) if need_a else None,
            _scale(multiply(conj(a), g, True, False), alpha) if need_b else None)


@op(method=True, inplace=True, out=True)
def addmv(input, mat, vec, *, beta=1, alpha=1):
    """``beta * input + alpha * (mat @ vec)``; input broadcasts to (m), mat is (m, k), vec is (k).

    >>> import numtorch as torch
    >>> torch.addmv(torch.ones(2), torch.ones(2, 3), torch.ones(3))
    tensor([4., 4.])
    """
    must_be_tensors("addmv", input=input, mat=mat, vec=vec)
    a, x = mat._a, vec._a
    if a.ndim != 2 or x.ndim != 1 or input._a.ndim > 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input._a.ndim}, {a.ndim}, {x.ndim}")
    check_mv(mat, vec, input._a.shape[0] if input._a.ndim else 1, input)
    y = K.matmul.affine(a, x[:, None], input._a[..., None], alpha, beta).reshape(-1)
    return record(y, addmv_backward, (input, mat, vec), (mat, vec), beta=beta, alpha=alpha)


def addmv_backward(node, g):
    """Gradient of addmv: beta g, alpha (g outer vec), alpha mat^T g."""
    mat, vec = node.saved_tensors
    need, need_mat, need_vec = node.needs
    column, alpha = unsqueeze(g, 1), node.ctx["alpha"]
    return (_scale(g, node.ctx["beta"]) if need else None,
            _scale(multiply(column, unsqueeze(conj(vec), 1), False, True), alpha) if need_mat else None,
            _scale(squeeze(multiply(conj(mat), column, True, False), 1), alpha) if need_vec else None)


@op(method=True, inplace=True, out=True)
def addr(input, vec1, vec2, *, beta=1, alpha=1):
    """``beta * input + alpha * outer(vec1, vec2)``; input broadcasts to (m, n).

    >>> import numtorch as torch
    >>> torch.addr(torch.zeros(1, 2), torch.tensor([2.]), torch.tensor([1., 3.]))
    tensor([[2., 6.]])
    """
    must_be_tensors("addr", input=input, vec1=vec1, vec2=vec2)
    a, b = vec1._a, vec2._a
    if a.ndim != 1 or b.ndim != 1:
        raise RuntimeError(f"addr: Expected 1-D argument vec{1 if a.ndim != 1 else 2}, but got "
                           f"{a.ndim if a.ndim != 1 else b.ndim}-D")
    _check_input(input, (a.size, b.size))
    dtype = np.result_type(input._a.dtype, a.dtype, b.dtype) if not input._a.dtype == a.dtype == b.dtype else a.dtype
    y = K.matmul.outer_affine(a, b, input._a, dtype, alpha, beta)
    return record(y, addr_backward, (input, vec1, vec2), (vec1, vec2), beta=beta, alpha=alpha)


def addr_backward(node, g):
    """Gradient of addr: beta g, alpha g vec2, alpha g^T vec1."""
    a, b = node.saved_tensors
    need, need_a, need_b = node.needs
    alpha = node.ctx["alpha"]
    return (_scale(g, node.ctx["beta"]) if need else None,
            _scale(squeeze(multiply(g, unsqueeze(conj(b), 1)), 1), alpha) if need_a else None,
            _scale(squeeze(multiply(g, unsqueeze(conj(a), 1), True, False), 1), alpha) if need_b else None)


def _check_stacks(input, a, b, name):
    check_bmm(a, b, name)
    if input._a.dtype is not a._a.dtype:
        raise RuntimeError(f"Input dtypes must be the same, got: input {_word(input)}, batch1: {_word(a)}, batch2: {_word(b)}")


def _word(t):
    return {"float32": "float", "float64": "double", "int64": "long int"}.get(t.dtype._name, t.dtype._name)


@op(method=True, inplace=True, out=True)
def baddbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """``beta * input + alpha * bmm(batch1, batch2)``; input broadcasts to (b, m, n).

    >>> import numtorch as torch
    >>> torch.baddbmm(torch.ones(1), torch.ones(2, 1, 3), torch.ones(2, 3, 1)).flatten()
    tensor([4., 4.])
    """
    must_be_tensors("baddbmm", input=input, batch1=batch1, batch2=batch2)
    _check_stacks(input, batch1, batch2, "baddbmm")
    a, b = batch1._a, batch2._a
    _check_input(input, (a.shape[0], a.shape[1], b.shape[2]))
    y = K.matmul.affine(a, b, input._a, alpha, beta)
    return record(y, baddbmm_backward, (input, batch1, batch2), (batch1, batch2), beta=beta, alpha=alpha)


def baddbmm_backward(node, g):
    """Gradient of baddbmm, as of addmm for each matrix."""
    return addmm_backward(node, g)


@op(method=True, inplace=True, out=True)
def addbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """``beta * input + alpha * sum over b of batch1[b] @ batch2[b]``; input broadcasts to (m, n).

    >>> import numtorch as torch
    >>> torch.addbmm(torch.ones(1), torch.ones(2, 1, 3), torch.ones(2, 3, 1))
    tensor([[7.]])
    """
    must_be_tensors("addbmm", input=input, batch1=batch1, batch2=batch2)
    _check_stacks(input, batch1, batch2, "addbmm")
    a, b = batch1._a, batch2._a
    _check_input(input, (a.shape[1], b.shape[2]))
    # one product with the stack dimension joined to the summed one
    k = a.shape[0] * a.shape[2]
    rows, columns = a.transpose(1, 0, 2).reshape(a.shape[1], k), b.reshape(k, b.shape[2])
    y = K.matmul.affine(rows, columns, input._a, alpha, beta)
    return record(y, addbmm_backward, (input, batch1, batch2), (batch1, batch2), beta=beta, alpha=alpha)


def addbmm_backward(node, g):
    """Gradient of addbmm: beta g, and g against every matrix of the other stack."""
    a, b = node.saved_tensors
    need, need_a, need_b = node.needs
    alpha = node.ctx["alpha"]
    stack = g.expand(a._a.shape[0], *g._a.shape) if need_a or need_b else None
    return (_scale(g, node.ctx["beta"]) if need else None,
            _scale(multiply(stack, conj(b), False, True), alpha) if need_a else None,
            _scale(multiply(conj(a), stack, True, False), alpha) if need_b else None)


# ---- chains ------------------------------------------------------------------------------------------------------------

@op(namespace="linalg", out=True)
def multi_dot(tensors):
    """The product of two or more matrices in the order that takes the fewest multiplications.

    The first and the last may be vectors, counted as a row and a column.

    >>> import numtorch as torch
    >>> torch.linalg.multi_dot([torch.ones(2, 3), torch.ones(3, 4), torch.ones(4)])
    tensor([12., 12.])
    """
    tensors = list(tensors)
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    for i, t in enumerate(tensors):
        n, ends = t._a.ndim, i in (0, len(tensors) - 1)
        if n != 2 and not (ends and n == 1):
            place, kind = ("the first tensor", "1D or 2D") if i == 0 else ("the last tensor", "1D or 2D") if ends else (
                f"tensor {i}", "2D")
            raise RuntimeError(f"multi_dot(): {place} must be {kind} but got {n}D")
    first, last = tensors[0]._a.ndim == 1, tensors[-1]._a.ndim == 1
    if first:
        tensors[0] = unsqueeze(tensors[0], 0)
    if last:
        tensors[-1] = unsqueeze(tensors[-1], 1)
    for i in range(len(tensors) - 1):
        a, b = tensors[i]._a.shape, tensors[i + 1]._a.shape
        if a[1] != b[0]:
            raise RuntimeError(f"multi_dot(): tensors {i} and {i + 1} with shapes {list(a)} and {list(b)} cannot be multiplied")
    result = _in_best_order(tensors)
    shape = result._a.shape
    return reshape(result, shape[int(first):len(shape) - int(last)]) if first or last else result


def _in_best_order(matrices):
    """The matrix chain algorithm: the cheapest place to cut each run of factors, from the shortest run to the longest."""
    n = len(matrices)
    sizes = [m._a.shape[0] for m in matrices] + [matrices[-1]._a.shape[1]]
    cost, cut = {(i, i): 0 for i in range(n)}, {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i, j], cut[i, j] = min((cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                                        for k in range(i, j))

    def product(i, j):
        return matrices[i] if i == j else mm(product(i, cut[i, j]), product(cut[i, j] + 1, j))
    return product(0, n - 1)


@op()
def chain_matmul(*matrices):
    """The product of one or more matrices; deprecated in favour of ``linalg.multi_dot``.

    >>> import numtorch as torch
    >>> torch.linalg.multi_dot([torch.ones(1, 2), torch.ones(2, 3)])
    tensor([[2., 2., 2.]])
    """
    warnings.warn("torch.chain_matmul is deprecated and will be removed in a future PyTorch release. Use "
                  "torch.linalg.multi_dot instead, which accepts a list of two or more tensors rather than multiple "
                  "parameters.", UserWarning, stacklevel=2)
    for t in matrices:
        if t._a.ndim != 2:
            raise RuntimeError(f"Tensor dimension is {t._a.ndim}, expected 2 instead.")
    return clone(matrices[0]) if len(matrices) == 1 else _in_best_order(list(matrices))


@op("matmul", namespace="linalg", out=True)
def linalg_matmul(input, other):
    """``numtorch.matmul``."""
    return matmul(input, other)
