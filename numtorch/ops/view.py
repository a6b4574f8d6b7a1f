"""Views: tensors on the memory of another, with NumPy's views below and torch's rules above."""
import numpy as np

from .. import shape as shapes
from ..autograd.grad_mode import mode
from ..kernels._device import strided_view
from ..op import attach, grad_name, needs_grad, op
from ..tensor import Tensor, new, storage_of


def view_of(input, array, backward, **ctx):
    """A view of ``input`` that shows ``array``, an ndarray on its memory; recorded with ``backward`` if need be."""
    t = new(Tensor)
    assert not isinstance(array, np.generic), "a view of one element needs an Ellipsis in its index"
    t._a = array
    storage = input._storage
    if storage is None:
        storage = storage_of(input)
    t._storage, t._seen_rebased = storage, storage.rebased
    t._base = input if input._base is None else input._base
    if input._inference:
        t._inference = True
    if not mode.enabled:
        t._made = "no_grad"
        return t
    if input._made:
        t._made = input._made
    if (input._rg or input._base is not None) and needs_grad(input):
        attach((t,), backward, (input,), (), ctx)
    return t


# ---- other shapes ------------------------------------------------------------------------------------------------------

def _reshaped(array, sizes):
    """``array`` with the sizes that a user gave, on the same memory, and None; or None and the checked shape."""
    if sizes and array.flags.c_contiguous:
        try:
            found = array.reshape(*sizes)
            if found.shape == sizes or min(sizes if len(sizes) > 1 or type(sizes[0]) is int else sizes[0]) >= -1:
                return found, None          # NumPy takes any negative size for -1
        except (TypeError, ValueError):     # not sizes, or none that fit: torch's words for it follow
            pass
    shape = shapes.infer_size(shapes.as_sizes(sizes), array.size)
    if array.flags.c_contiguous:
        return array.reshape(shape), None
    strides = shapes.view_strides(array.shape, [s // array.itemsize for s in array.strides], shape)
    if strides is None:
        return None, shape
    return strided_view(array, shape, [s * array.itemsize for s in strides]), None


@op(method=False, namespace="Tensor")
def view(input, *shape):
    """The same elements in another shape, or the same bytes as another dtype; always on the same memory.

    Args:
        input (Tensor): of any shape.
        shape (ints or dtype): the new sizes, one of them perhaps -1; or a dtype of equal size.

    Raises:
        RuntimeError: the sizes do not hold the elements, or the strides do not allow a view (use reshape).

    >>> import numtorch as torch
    >>> torch.arange(6).view(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    if len(shape) == 1 and not isinstance(shape[0], (int, tuple, list)) and hasattr(shape[0], "itemsize"):
        return _view_dtype(input, shape[0])
    array, _ = _reshaped(input._a, shape)
    if array is None:
        raise RuntimeError("view size is not compatible with input tensor's size and stride (at least one dimension spans "
                           "across two contiguous subspaces). Use .reshape(...) instead.")
    return view_of(input, array, view_backward, shape=input._a.shape)


def view_backward(node, g):
    """Gradient of view: back to the input's shape."""
    return reshape(g, node.ctx["shape"])


Tensor.view = view


def _view_dtype(input, dtype):
    a = input._a
    if dtype.itemsize != a.itemsize:
        if not a.ndim:
            raise RuntimeError(f"self.dim() cannot be 0 to view {input.dtype} as {dtype} (different element sizes)")
        if a.strides[-1] != a.itemsize and a.shape[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 to view {input.dtype} as {dtype} (different element sizes), but got "
                               f"{a.strides[-1] // a.itemsize}")
        if a.shape[-1] * a.itemsize % dtype.itemsize:
            raise RuntimeError(f"self.size(-1) must be divisible by {dtype.itemsize // a.itemsize} to view {input.dtype} as "
                               f"{dtype} (different element sizes), but got {a.shape[-1]}")
    return view_of(input, a.view(dtype._np), None) if not input._rg else view_of(input.detach(), a.view(dtype._np), None)


@op(method=True)
def reshape(input, *shape):
    """The same elements in another shape: a view where the strides allow it, else a copy.

    Args:
        input (Tensor): of any shape.
        shape (ints): the new sizes, one of them perhaps -1.

    >>> import numtorch as torch
    >>> torch.arange(4).reshape(2, 2)
    tensor([[0, 1],
            [2, 3]])
    """
    array, new_shape = _reshaped(input._a, shape)
    if array is None:
        from .copy import clone

        return unsafe_view(clone(input), new_shape)
    return view_of(input, array, view_backward, shape=input._a.shape)


def unsafe_view(fresh, shape):
    """``fresh``, a new tensor that nobody else holds, in another shape."""
    return view_of(fresh, fresh._a.reshape(shape), _unsafe_view_backward, shape=fresh._a.shape)


@grad_name("UnsafeViewBackward0")
def _unsafe_view_backward(node, g):
    """Gradient of unsafe_view: back to the input's shape."""
    return reshape(g, node.ctx["shape"])


@op(method=True)
def view_as(input, other):
    """``input.view(other.size())``."""
    return view(input, other._a.shape)


@op(method=True)
def reshape_as(input, other):
    """``input.reshape(other.size())``."""
    return reshape(input, other._a.shape)


@op(method=True)
def flatten(input, start_dim=0, end_dim=-1):
    """Dimensions ``start_dim`` to ``end_dim`` as one; a 0-dim tensor becomes one of one element.

    >>> import numtorch as torch
    >>> torch.zeros(2, 3, 4).flatten(1).shape
    torch.Size([2, 12])
    """
    a = input._a
    start, end = shapes.wrap_dim(start_dim, a.ndim), shapes.wrap_dim(end_dim, a.ndim)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not a.ndim:
        return reshape(input, (1,))
    if start == end:
        return input
    return reshape(input, (*a.shape[:start], shapes.numel(a.shape[start:end + 1]), *a.shape[end + 1:]))


@op(method=True)
def unflatten(input, dim, sizes):
    """Dimension ``dim`` as several, of ``sizes`` (one of them perhaps -1)."""
    a = input._a
    dim, sizes = shapes.wrap_dim(dim, a.ndim), tuple(sizes)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    known = shapes.numel([s for s in sizes if s != -1])
    if (a.shape[dim] % known if -1 in sizes and known else known != a.shape[dim]):
        raise RuntimeError(f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} "
                           f"({a.shape[dim]}) in the input tensor")
    sizes = tuple(a.shape[dim] // known if s == -1 else s for s in sizes)
    return view(input, (*a.shape[:dim], *sizes, *a.shape[dim + 1:]))


@op(method=True)
def ravel(input):
    """The elements in one dimension: a view where the strides allow it."""
    return reshape(input, (-1,)) if input._a.size else reshape(input, (0,))


@op(method=True)
def unsqueeze(input, dim):
    """A new dimension of size 1 at ``dim``.

    >>> import numtorch as torch
    >>> torch.zeros(3).unsqueeze(0).shape
    torch.Size([1, 3])
    """
    a = input._a
    dim = shapes.wrap_dim(dim, a.ndim + 1)
    return view_of(input, a[(slice(None),) * dim + (None,)], unsqueeze_backward, dim=dim)


def unsqueeze_backward(node, g):
    """Gradient of unsqueeze."""
    return squeeze(g, node.ctx["dim"])


@op(method=True)
def squeeze(input, dim=None):
    """Without the dimensions of size 1: all, or those of ``dim`` (an int or a tuple)."""
    a = input._a
    if dim is None:
        drop = [d for d, s in enumerate(a.shape) if s == 1]
    else:
        drop = [d for d in shapes.wrap_dims(dim, a.ndim) if a.shape[d] == 1]
    if not drop:
        array = a[...]
    elif len(drop) == 1:
        array = a[(slice(None),) * drop[0] + (0,)] if a.ndim > 1 else a.reshape(())
    else:
        array = a.squeeze(tuple(drop))
    return view_of(input, array, squeeze_backward if dim is None else squeeze_dim_backward, shape=a.shape)


def squeeze_backward(node, g):
    """Gradient of squeeze."""
    return reshape(g, node.ctx["shape"])


@grad_name("SqueezeBackward1")
def squeeze_dim_backward(node, g):
    """Gradient of squeeze of one dimension, which torch names apart."""
    return squeeze_backward(node, g)


# ---- other orders ------------------------------------------------------------------------------------------------------

@op(method=True, aliases=("swapaxes", "swapdims"))
def transpose(input, dim0, dim1):
    """Dimensions ``dim0`` and ``dim1`` exchanged."""
    a = input._a
    dim0, dim1 = shapes.wrap_dim(dim0, a.ndim), shapes.wrap_dim(dim1, a.ndim)
    return view_of(input, a.swapaxes(dim0, dim1) if a.ndim else a[...], transpose_backward, dims=(dim0, dim1))


def transpose_backward(node, g):
    """Gradient of transpose: exchanged again."""
    return transpose(g, *node.ctx["dims"])


@op(method=True)
def t(input):
    """The transpose of a matrix; a vector or a number as it is.

    Raises:
        RuntimeError: more than 2 dimensions.
    """
    a = input._a
    if a.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {a.ndim}D")
    return view_of(input, a.T, t_backward)


@grad_name("TBackward0")
def t_backward(node, g):
    """Gradient of t."""
    return t(g)


@op(method=True)
def adjoint(input):
    """The conjugate of the last two dimensions exchanged."""
    found = transpose(input, -2, -1)
    return found.conj() if input.is_complex() else found


@op(method=True)
def permute(input, *dims):
    """The dimensions in the order ``dims``.

    >>> import numtorch as torch
    >>> torch.zeros(2, 3, 4).permute(2, 0, 1).shape
    torch.Size([4, 2, 3])
    """
    a = input._a
    dims = shapes.as_sizes(dims)
    if len(dims) != a.ndim:
        raise RuntimeError("permute(sparse_coo): number of dimensions in the tensor input does not match the length of the "
                           f"desired ordering of dimensions i.e. input.dim() = {a.ndim} is not equal to len(dims) = "
                           f"{len(dims)}")
    dims = tuple([shapes.wrap_dim(d, a.ndim) for d in dims])
    if len(set(dims)) != len(dims):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return view_of(input, a.transpose(dims), permute_backward, dims=dims)


def permute_backward(node, g):
    """Gradient of permute: the inverse order."""
    dims = node.ctx["dims"]
    inverse = [0] * len(dims)
    for i, d in enumerate(dims):
        inverse[d] = i
    return permute(g, inverse)


@op(method=True, aliases=("moveaxis",))
def movedim(input, source, destination):
    """Dimensions ``source`` moved to ``destination``, the others in their order."""
    source = (source,) if isinstance(source, int) else tuple(source)
    destination = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(source) != len(destination):
        raise RuntimeError("movedim: Invalid source or destination dims: source "
                           f"({list(source)} dims) should contain the same number of dims as destination "
                           f"({list(destination)} dims)")
    n = input._a.ndim
    source, destination = [shapes.wrap_dim(d, n) for d in source], [shapes.wrap_dim(d, n) for d in destination]
    if len(set(source)) != len(source) or len(set(destination)) != len(destination):
        raise RuntimeError("movedim: repeated dim in source or destination")
    order = [d for d in range(n) if d not in source]
    for d, s in sorted(zip(destination, source)):
        order.insert(d, s)
    return permute(input, order)


def _matrix_transpose(self):
    if self._a.ndim < 2:
        raise RuntimeError("tensor.mT is only supported on matrices or batches of matrices. Got "
                           f"{self._a.ndim}-D tensor.")
    return transpose(self, -2, -1)


def _reversed(self):
    return permute(self, tuple(range(self._a.ndim - 1, -1, -1)))


Tensor.T = property(_reversed, doc="All dimensions reversed.")
Tensor.mT = property(_matrix_transpose, doc="The last two dimensions exchanged.")
Tensor.mH = property(lambda self: adjoint(self), doc="The adjoint of the last two dimensions.")
Tensor.H = property(lambda self: adjoint(self) if self.ndim == 2 else t(self), doc="The adjoint of a matrix.")


# ---- more dimensions ---------------------------------------------------------------------------------------------------

@op(method=True)
def expand(input, *sizes, implicit=False):
    """Dimensions of size 1 repeated to ``sizes`` without a copy; -1 keeps a size, new dimensions come in front.

    >>> import numtorch as torch
    >>> torch.tensor([[1], [2]]).expand(-1, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    a, sizes = input._a, shapes.as_sizes(sizes)
    extra = len(sizes) - a.ndim
    if extra < 0:
        raise RuntimeError(f"expand(torch.{_legacy(input)}{{{list(a.shape)}}}, size={list(sizes)}): the number of sizes "
                           f"provided ({len(sizes)}) must be greater or equal to the number of dimensions in the tensor "
                           f"({a.ndim})")
    shape, strides = [], []
    for i, n in enumerate(sizes):
        have, step = (1, 0) if i < extra else (a.shape[i - extra], a.strides[i - extra])
        if n == -1:
            if i < extra:
                raise RuntimeError(f"expand(torch.{_legacy(input)}{{{list(a.shape)}}}, size={list(sizes)}): the expanded size "
                                   f"of the tensor ({n}) isn't allowed in a leading, non-existing dimension {i}")
            n = have
        if have != n and have != 1:
            raise RuntimeError(f"The expanded size of the tensor ({n}) must match the existing size ({have}) at non-singleton "
                               f"dimension {i}.  Target sizes: {list(sizes)}.  Tensor sizes: {list(a.shape)}")
        shape.append(n)
        strides.append(step if have == n else 0)
    array = np.ndarray(shape, a.dtype, a, 0, strides) if a.__class__ is np.ndarray and a.flags.c_contiguous and \
        a.flags.writeable else \
        strided_view(a, shape, strides)
    return view_of(input, array, expand_backward, shape=a.shape)


def _legacy(tensor):
    from ..op import type_name

    return type_name(tensor.dtype) + "Tensor"


def expand_backward(node, g):
    """Gradient of expand: the sum over what was repeated."""
    from .reduce import sum_to_size

    return sum_to_size(g, node.ctx["shape"])


@op(method=True)
def expand_as(input, other):
    """``input.expand(other.size())``."""
    return expand(input, other._a.shape)


@op(method=True)
def broadcast_to(input, size):
    """``input.expand(size)``."""
    return expand(input, size)


@op()
def broadcast_tensors(*tensors):
    """The tensors expanded to their common shape, as a tuple."""
    tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    shape = shapes.broadcast_shapes(*(t._a.shape for t in tensors))
    return tuple(expand(t, shape) for t in tensors)


def _at_least(n, name):
    def fn(*tensors):
        tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
        found = tuple(_pad_dims(t, n) for t in tensors)
        return found if len(found) > 1 else found[0]
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"Each tensor with at least {n} dimensions, new ones of size 1 added as NumPy does."
    return op(name)(fn)


def _pad_dims(tensor, n):
    a = tensor._a
    if a.ndim >= n:
        return tensor
    if n == 3 and a.ndim == 2:
        return unsqueeze(tensor, 2)
    if n == 3 and a.ndim == 1:
        return unsqueeze(unsqueeze(tensor, 0), 2)
    return reshape(tensor, (1,) * (n - a.ndim) + a.shape)


atleast_1d, atleast_2d, atleast_3d = (_at_least(n, f"atleast_{n}d") for n in (1, 2, 3))


# ---- views written in place: the same tensor in another shape ------------------------------------------------------------

def _reshape_in_place(fn, name):
    def twin(self, *args):
        found = fn(self, *args)
        self._a = found._a
        if found._fn is not None:
            self._fn, self._nr = found._fn, found._nr
        storage_of(self).version += 1
        return self
    twin.__name__, twin.__doc__ = name, f"``{name[:-1]}`` that changes the tensor itself."
    return twin


for _fn in (squeeze, unsqueeze, transpose, t):
    setattr(Tensor, _fn.__name__ + "_", _reshape_in_place(_fn, _fn.__name__ + "_"))


@op(method=True)
def view_as_real(input):
    """A complex tensor as a real one whose last dimension holds real and imaginary parts; a view."""
    if input._a.dtype.kind != "c":
        raise RuntimeError("view_as_real is only supported for complex tensors")
    a = input._a
    part = a.real.dtype
    array = strided_view(a.real, (*a.shape, 2), (*a.strides, part.itemsize))
    return view_of(input, array, view_as_real_backward)


def view_as_real_backward(node, g):
    """Gradient of view_as_real."""
    return view_as_complex(g.contiguous())


@op(method=True)
def view_as_complex(input):
    """A real tensor whose last dimension holds real and imaginary parts as a complex one; a view."""
    a = input._a
    if a.dtype.name not in ("float32", "float64"):
        raise RuntimeError("view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar "
                           f"type: {_legacy(input)[:-6]}")
    if not a.ndim or a.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if a.strides[-1] != a.itemsize:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(s // a.itemsize % 2 for s in a.strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    if (a.ctypes.data - storage_of(input).array.ctypes.data) // a.itemsize % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2")
    array = a.view("c8" if a.itemsize == 4 else "c16")[..., 0]
    return view_of(input, array, view_as_complex_backward)


def view_as_complex_backward(node, g):
    """Gradient of view_as_complex."""
    return view_as_real(g.contiguous())


# the rest of the family, built on what is above
from .view_parts import (  # noqa: E402, F401, I001
    as_strided, as_strided_backward, as_strided_scatter, basic_view, diagonal, diagonal_backward, select, select_backward,
    slice_backward, slice_scatter_zeros, split,
)
