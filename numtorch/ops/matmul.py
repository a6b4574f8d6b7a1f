"""Products of matrices and vectors: mm, bmm, matmul, mv, dot, outer, linear and their sums with a third tensor.

A transposed factor is a flag, not a tensor: gradients of products are products with flags, BLAS reads the factors where they
are, and nothing is recorded that is not a product. Half types are multiplied in float32.
"""
import warnings

from .. import kernels as K
from .. import shape as shapes
from ..op import also_named, grad_name, op, record, type_name
from ..tensor import Tensor
from . import pointwise
from .view import reshape, squeeze, unsqueeze

_C_NAMES = {"float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
            "complex64": "c10::complex<float>", "complex128": "c10::complex<double>", "int64": "long int", "int32": "int",
            "int16": "short int", "int8": "signed char", "uint8": "unsigned char", "bool": "bool"}


def must_be_tensors(name, **arguments):
    """TypeError with torch's text if one of the arguments is no Tensor."""
    for position, (argument, value) in enumerate(arguments.items(), 1):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be Tensor, not "
                            f"{type(value).__name__}")


def refuse_bool(name, array):
    if array.dtype.kind == "b":
        raise NotImplementedError(f'"{name}" not implemented for \'Bool\'')


def _swapped(array, swap):
    return array.swapaxes(-1, -2) if swap else array


def conj(t):
    """The conjugate of a complex tensor; a real one itself."""
    return t if t._a.dtype.kind != "c" else pointwise.conj(t)


# ---- products ----------------------------------------------------------------------------------------------------------

def _product(a, b, ta, tb, backward):
    """The product of stacks of matrices, either factor transposed if its flag is set, recorded with ``backward``."""
    return record(K.matmul.matmul(_swapped(a._a, ta), _swapped(b._a, tb)), backward, (a, b), (a, b), ta=ta, tb=tb)


def multiply(a, b, ta=False, tb=False):
    """``mm`` of two matrices, or ``bmm`` of two stacks of them, without checks; ``ta`` and ``tb`` transpose a factor."""
    return _product(a, b, ta, tb, mm_backward if a._a.ndim == 2 else bmm_backward)


@grad_name("MmBackward0")
def mm_backward(node, g):
    """Gradient of a product: ga = g b^T and gb = a^T g, with the flags of transposition carried over."""
    a, b = node.saved_tensors
    ta, tb = node.ctx["ta"], node.ctx["tb"]
    need_a, need_b = node.needs
    ga = gb = None
    if need_a:
        b_ = conj(b)
        ga = multiply(b_, g, tb, True) if ta else multiply(g, b_, False, not tb)
    if need_b:
        a_ = conj(a)
        gb = multiply(g, a_, True, ta) if tb else multiply(a_, g, not ta, False)
    return ga, gb


@grad_name("BmmBackward0")
def bmm_backward(node, g):
    """Gradient of a product of stacks, as of matrices."""
    return mm_backward(node, g)


@grad_name("UnsafeViewBackward0")
def _stacks_backward(node, g):
    """Gradient of ``matmul`` of stacks: the engine adds it up over dimensions that were broadcast."""
    return mm_backward(node, g)


def check_mm(a, b, first="self"):
    if a.ndim != 2:
        raise RuntimeError(f"{first} must be a matrix")
    if b.ndim != 2:
        raise RuntimeError("mat2 must be a matrix")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and "
                           f"{b.shape[0]}x{b.shape[1]})")


def check_same_dtype(a, b):
    if a.dtype is not b.dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {_C_NAMES[a.dtype._name]} != "
                           f"{_C_NAMES[b.dtype._name]}")


@op(method=True, out=True)
def mm(input, mat2):
    """The product of two matrices.

    Args:
        input (Tensor): (m, k).
        mat2 (Tensor): (k, n), of the same dtype.

    Returns:
        Tensor of (m, n).

    Raises:
        RuntimeError: they are not matrices, their sizes do not fit, or their dtypes differ.

    >>> import numtorch as torch
    >>> torch.mm(torch.tensor([[1., 2.]]), torch.tensor([[3.], [4.]]))
    tensor([[11.]])
    """
    must_be_tensors("mm", input=input, mat2=mat2)
    a, b = input._a, mat2._a
    check_mm(a, b)
    if a.dtype is not b.dtype:
        check_same_dtype(input, mat2)
    refuse_bool("addmm_impl_cpu_", a)
    return multiply(input, mat2)


def check_bmm(a, b, name="bmm"):
    x, y = a._a, b._a
    for which, array in (("batch1", x), ("batch2", y)):
        if array.ndim != 3:
            raise RuntimeError(f"{which} must be a 3D tensor")
    if y.shape[0] != x.shape[0] or y.shape[1] != x.shape[2]:
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{x.shape[0]}, {x.shape[2]}] but "
                           f"got: [{y.shape[0]}, {y.shape[1]}].")
    if x.dtype is not y.dtype:
        raise RuntimeError(f"expected scalar type {type_name(a.dtype)} but found {type_name(b.dtype)}")
    refuse_bool(name, x)


@op(method=True, out=True)
def bmm(input, mat2):
    """The products of two stacks of matrices.

    Args:
        input (Tensor): (b, m, k).
        mat2 (Tensor): (b, k, n), of the same dtype.

    Returns:
        Tensor of (b, m, n).

    >>> import numtorch as torch
    >>> torch.bmm(torch.ones(2, 1, 3), torch.ones(2, 3, 1)).flatten()
    tensor([3., 3.])
    """
    must_be_tensors("bmm", input=input, mat2=mat2)
    check_bmm(input, mat2)
    return multiply(input, mat2)


@op(method=True, out=True)
def matmul(input, other):
    """The matrix product, with torch's rules for vectors and stacks; also the operator ``@``.

    Two vectors give their dot product; a vector counts as a row on the left and as a column on the right; leading dimensions
    broadcast.

    Args:
        input (Tensor): (k), (m, k) or (..., m, k).
        other (Tensor): (k), (k, n) or (..., k, n), of the same dtype.

    Raises:
        RuntimeError: a factor has no dimensions, or sizes or dtypes do not fit.

    >>> import numtorch as torch
    >>> torch.matmul(torch.ones(5, 2, 3), torch.ones(3)).shape
    torch.Size([5, 2])
    """
    must_be_tensors("matmul", input=input, other=other)
    a, b = input._a, other._a
    na, nb = a.ndim, b.ndim
    if na == 2 and nb == 2:
        return mm(input, other)
    if not na or not nb:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {na}D and {nb}D")
    if nb == 1:
        return dot(input, other) if na == 1 else mv(input, other) if na == 2 else _stack_by_vector(input, other)
    if na == 1:
        if nb == 2:
            return _row_by_matrix(input, other)
        return squeeze(matmul(unsqueeze(input, 0), other), -2)
    if nb == 2:
        return _stack_by_matrix(input, other)
    return _stack_by_stack(input, other)


def _row_by_matrix(vector, matrix):
    check_mm(vector._a[None], matrix._a)
    check_same_dtype(vector, matrix)
    return squeeze(mm(unsqueeze(vector, 0), matrix), 0)


def _stack_by_vector(stack, vector):
    folded = mv(reshape(stack, (-1, stack._a.shape[-1]) if stack._a.size else
                        (shapes.numel(stack._a.shape[:-1]), stack._a.shape[-1])), vector)
    return _unfolded(folded, stack._a.shape[:-1])


def _unfolded(folded, shape):
    return record(folded._a.reshape(shape), _unfolded_backward, (folded,), shape=folded._a.shape)


@grad_name("UnsafeViewBackward0")
def _unfolded_backward(node, g):
    """Gradient of a result that was multiplied as one matrix and given its dimensions back."""
    return reshape(g, node.ctx["shape"])


def _stack_by_matrix(stack, matrix):
    a, b = stack._a, matrix._a
    rows = shapes.numel(a.shape[:-1])
    if a.shape[-1] != b.shape[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{a.shape[-1]} and {b.shape[0]}x{b.shape[1]})")
    check_same_dtype(stack, matrix)
    refuse_bool("addmm_impl_cpu_", a)
    y = K.matmul.matmul(a.reshape(rows, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
    return record(y, _stack_by_matrix_backward, (stack, matrix), (stack, matrix))


@grad_name("UnsafeViewBackward0")
def _stack_by_matrix_backward(node, g):
    """Gradient of a stack times one matrix: both are single products of all rows."""
    stack, matrix = node.saved_tensors
    need_a, need_b = node.needs
    shape = stack._a.shape
    rows = reshape(g, (shapes.numel(shape[:-1]), g._a.shape[-1]))
    return (reshape(multiply(rows, conj(matrix), False, True), shape) if need_a else None,
            multiply(reshape(conj(stack), (rows._a.shape[0], shape[-1])), rows, True, False) if need_b else None)


def _stack_by_stack(input, other):
    a, b = input._a, other._a
    lead = shapes.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if a.shape[-1] != b.shape[-2]:
        n = shapes.numel(lead)
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{n}, {a.shape[-1]}] but got: "
                           f"[{n}, {b.shape[-2]}].")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"expected scalar type {type_name(input.dtype)} but found {type_name(other.dtype)}")
    refuse_bool("bmm", a)
    return _product(input, other, False, False, _stacks_backward)


@op(method=True, out=True)
def mv(input, vec):
    """The product of a matrix (m, k) and a vector (k): a vector of m.

    >>> import numtorch as torch
    >>> torch.mv(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 1.]))
    tensor([3., 7.])
    """
    must_be_tensors("mv", input=input, vec=vec)
    a, x = input._a, vec._a
    if a.ndim != 2 or x.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {x.ndim}, {a.ndim}, {x.ndim}")
    check_mv(input, vec, a.shape[0])
    y = K.matmul.matmul(a, x[:, None])
    return record(y.reshape(a.shape[0]), mv_backward, (input, vec), (input, vec))


def check_mv(matrix, vector, rows, input=None):
    a, x = matrix._a, vector._a
    if a.shape[1] != x.shape[0] or a.shape[0] != rows and rows != 1:
        raise RuntimeError(f"size mismatch, got input ({rows}), mat ({a.shape[0]}x{a.shape[1]}), vec ({x.shape[0]})")
    first = vector if input is None else input
    if not a.dtype is x.dtype is first._a.dtype:
        raise RuntimeError("addmv input tensors must have the same dtype, but got "
                           f"{type_name(first.dtype)}, {type_name(matrix.dtype)}, and {type_name(vector.dtype)}")
    refuse_bool("addmv_impl_cpu", a)


def mv_backward(node, g):
    """Gradient of mv: g outer v, and the transposed matrix times g."""
    matrix, vector = node.saved_tensors
    need_matrix, need_vector = node.needs
    column = unsqueeze(g, 1)
    return (multiply(column, unsqueeze(conj(vector), 1), False, True) if need_matrix else None,
            squeeze(multiply(conj(matrix), column, True, False), 1) if need_vector else None)


def _check_dot(a, b, name):
    if a._a.ndim != 1 or b._a.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {a._a.ndim}D and {b._a.ndim}D tensors")
    if a._a.dtype is not b._a.dtype:
        raise RuntimeError(f"{name} : expected both vectors to have same dtype, but found {type_name(a.dtype)} and "
                           f"{type_name(b.dtype)}")
    n, m = a._a.size, b._a.size
    if n != m:
        raise RuntimeError(f"inconsistent tensor size, expected tensor [{n}] and src [{m}] to have the same number of "
                           f"elements, but got {n} and {m} elements respectively")
    refuse_bool(name, a._a)


@op(method=True, out=True)
def dot(input, tensor):
    """The sum of products of two vectors of equal size, as a 0-dim tensor.

    >>> import numtorch as torch
    >>> torch.dot(torch.tensor([2, 3]), torch.tensor([2, 1]))
    tensor(7)
    """
    must_be_tensors("dot", input=input, tensor=tensor)
    _check_dot(input, tensor, "dot")
    y = K.matmul.matmul(input._a[None], tensor._a[:, None])
    return record(y.reshape(()), dot_backward, (input, tensor), (input, tensor))


def dot_backward(node, g):
    """Gradient of dot: g times the other vector."""
    a, b = node.saved_tensors
    need_a, need_b = node.needs
    return (pointwise.mul(g, conj(b)) if need_a else None, pointwise.mul(g, conj(a)) if need_b else None)


@op(method=True, out=True)
def vdot(input, other):
    """The dot product of two vectors, the first one conjugated.

    >>> import numtorch as torch
    >>> torch.vdot(torch.tensor([2., 3.]), torch.tensor([2., 1.]))
    tensor(7.)
    """
    must_be_tensors("vdot", input=input, other=other)
    _check_dot(input, other, "vdot" if input.is_complex() else "dot")
    y = K.matmul.matmul(conj(input)._a[None], other._a[:, None])
    return record(y.reshape(()), vdot_backward, (input, other), (input, other))


def vdot_backward(node, g):
    """Gradient of vdot: conj(g) b for the conjugated vector, g a for the other."""
    a, b = node.saved_tensors
    need_a, need_b = node.needs
    return (pointwise.mul(conj(g), b) if need_a else None, pointwise.mul(g, a) if need_b else None)


@op(method=True, out=True, aliases=("ger",))
def outer(input, vec2):
    """All products of an element of ``input`` (m) and one of ``vec2`` (n): a matrix (m, n).

    >>> import numtorch as torch
    >>> torch.outer(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    must_be_tensors("outer", input=input, vec2=vec2)
    for name, t in (("self", input), ("vec2", vec2)):
        if t._a.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {t._a.ndim}-D")
    return pointwise.mul(unsqueeze(input, 1), vec2)


def _matmul_operator(self, other):
    return matmul(self, other) if isinstance(other, Tensor) else NotImplemented


Tensor.__matmul__ = _matmul_operator


# ---- linear ------------------------------------------------------------------------------------------------------------

@op(namespace="nn.functional")
def linear(input, weight, bias=None):
    """``input @ weight.T + bias``, the linear layer.

    Args:
        input (Tensor): (..., in_features).
        weight (Tensor): (out_features, in_features), or (in_features) for one output without a dimension.
        bias (Tensor): (out_features), or None.

    Returns:
        Tensor of (..., out_features).

    >>> import numtorch as torch
    >>> torch.nn.functional.linear(torch.ones(2, 3), torch.ones(1, 3), torch.ones(1)).flatten()
    tensor([4., 4.])
    """
    must_be_tensors("linear", input=input, weight=weight)
    x, w, b = input._a, weight._a, None if bias is None else bias._a
    if w.ndim == 1 and b is None:
        return matmul(input, weight)
    rows = _check_linear(input, weight, bias)
    y = K.matmul.matmul(x if x.ndim == 2 else x.reshape(rows, x.shape[-1]), w.T, b)
    if x.ndim == 2:
        backward = _linear_mm_backward if b is None else _linear_addmm_backward
    else:
        y = y.reshape(*x.shape[:-1], w.shape[0])
        backward = _linear_view_backward if b is not None else \
            _linear_squeeze_backward if x.ndim == 1 else _linear_unsafe_view_backward
    return record(y, backward, (input, weight, bias), (input, weight))


def _check_linear(input, weight, bias):
    x, w, b = input._a, weight._a, None if bias is None else bias._a
    if w.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {w.ndim}D")
    if w.ndim != 2:
        raise RuntimeError(f"mat2 must be a matrix, got {w.ndim}-D tensor")
    if not x.ndim:
        raise RuntimeError(f"both arguments to linear need to be at least 1D, but they are 0D and {w.ndim}D")
    rows = shapes.numel(x.shape[:-1])
    if x.shape[-1] != w.shape[1]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and {w.shape[1]}x{w.shape[0]})")
    if x.dtype is not w.dtype or b is not None and b.dtype is not x.dtype:
        if b is None:
            check_same_dtype(input, weight)
        first = bias if b.dtype is not x.dtype and x.dtype is w.dtype else input
        raise RuntimeError(f"self and mat2 must have the same dtype, but got {type_name(first.dtype)} and "
                           f"{type_name(weight.dtype)}")
    if b is not None and b.shape not in ((w.shape[0],), (1,), ()):
        raise RuntimeError(f"The expanded size of the tensor ({w.shape[0]}) must match the existing size ({b.shape[-1]}) at "
                           f"non-singleton dimension 1.  Target sizes: {[rows, w.shape[0]]}.  Tensor sizes: {list(b.shape)}")
    refuse_bool("addmm_impl_cpu_", x)
    return rows


def linear_backward(node, g):
    """Gradients of linear: g w, g^T x and the sum of g over all rows, each a single product of all rows."""
    x, w = node.saved_tensors
    need_x, need_w, need_b = node.needs
    shape = x._a.shape
    if len(shape) != 2:
        rows = shapes.numel(shape[:-1])
        g, x = reshape(g, (rows, w._a.shape[0])), reshape(x, (rows, shape[-1]))
    gx = multiply(g, conj(w)) if need_x else None
    if need_x and len(shape) != 2:
        gx = reshape(gx, shape)
    return (gx, multiply(g, conj(x), True, False) if need_w else None,
            _column_sum(g) if need_b else None)


def _column_sum(g):
    a = g._a
    return record(K.matmul.column_sum(a), _column_sum_backward, (g,), rows=a.shape[0])


@grad_name("SumBackward1")
def _column_sum_backward(node, g):
    return g.expand(node.ctx["rows"], *g._a.shape)


_linear_addmm_backward = also_named("AddmmBackward0", linear_backward)
_linear_mm_backward = also_named("MmBackward0", linear_backward)
_linear_view_backward = also_named("ViewBackward0", linear_backward)
_linear_unsafe_view_backward = also_named("UnsafeViewBackward0", linear_backward)
_linear_squeeze_backward = also_named("SqueezeBackward4", linear_backward)


# ---- precision ---------------------------------------------------------------------------------------------------------

def get_float32_matmul_precision():
    """The precision that ``set_float32_matmul_precision`` has set; "highest" at the start."""
    return K.matmul.float32_precision()


def set_float32_matmul_precision(precision):
    """Sets how exact matrix products of float32 are on a GPU; on the CPU they are always in float32.

    Args:
        precision (str): "highest": float32. "high" or "medium": on tensor cores, which cut factors to 10 bits of fraction
            (TF32) and add up in float32; it is the same as ``backends.cuda.matmul.allow_tf32 = True``.
    """
    if precision not in ("highest", "high", "medium"):
        warnings.warn(f"{precision} is not one of 'highest', 'high', or 'medium'; the current setFloat32MatmulPrecision call has "
                      "no effect.", UserWarning, stacklevel=2)
        return
    K.matmul.set_float32_precision(precision)
