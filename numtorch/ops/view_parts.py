"""Views of parts: select, narrow, split, unbind, diagonal, windows, strided views."""
import numpy as np

from .. import kernels as K
from .. import shape as shapes
from ..autograd.grad_mode import mode
from ..kernels._device import DeviceArray, strided_view
from ..op import attach, needs_grad, op
from ..tensor import Tensor, new, storage_of, wrap
from ._devices import check_devices
from .inplace import canvas, strided_base_backward
from .view import view_of

# ---- parts -------------------------------------------------------------------------------------------------------------

@op(method=True)
def select(input, dim, index):
    """Entry ``index`` of dimension ``dim``, which is dropped."""
    a = input._a
    if not a.ndim:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim, index = shapes.wrap_dim(dim, a.ndim), index.__index__()
    if not -a.shape[dim] <= index < a.shape[dim]:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(a.shape)} at dimension {dim}")
    key = (slice(None),) * dim + (index, ...)
    return view_of(input, a[key], select_backward, shape=a.shape, key=key)


def select_backward(node, g):
    """Gradient of a selected entry: zeros around it."""
    return slice_scatter_zeros(g, node.ctx["shape"], node.ctx["key"])


@op(method=True)
def narrow(input, dim, start, length):
    """Entries ``start`` to ``start + length`` of dimension ``dim``."""
    a = input._a
    if not a.ndim:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    dim, start = shapes.wrap_dim(dim, a.ndim), int(start)
    size = a.shape[dim]
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -size <= start <= size:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-size}, {size}], but got {start})")
    start = start + size if start < 0 else start
    if start + length > size:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return basic_view(input, (slice(None),) * dim + (slice(start, start + length), ...))


def basic_view(input, key):
    """The view that NumPy's basic index ``key`` shows."""
    a = input._a
    return view_of(input, a[key], slice_backward, shape=a.shape, key=key)


def slice_backward(node, g):
    """Gradient of a part: zeros around it."""
    return slice_scatter_zeros(g, node.ctx["shape"], node.ctx["key"])


def slice_scatter_zeros(g, shape, key):
    """``g`` at the basic index ``key`` of zeros of ``shape``."""
    from ..op import record

    whole = np.zeros(shape, g._a.dtype, like=g._a)
    whole[key] = g._a
    return record(whole, _scatter_zeros_backward, (g,), key=key)


def _scatter_zeros_backward(node, g):
    """Gradient of slice_scatter_zeros: the part."""
    return basic_view(g, node.ctx["key"])


def _split_points(input, dim, sizes):
    """Views of consecutive ``sizes`` along ``dim``, as one node with several outputs."""
    a, start, arrays = input._a, 0, []
    before = (slice(None),) * dim
    for n in sizes:
        arrays.append(a[before + (slice(start, start + n),)])
        start += n
    return arrays


def views_of(input, arrays, backward, **ctx):
    """Several views as the outputs of one recorded operation."""
    storage = storage_of(input)
    base, found = input if input._base is None else input._base, []
    made = "many" if mode.enabled else "no_grad"
    for array in arrays:
        t = new(Tensor)
        t._a, t._storage, t._seen_rebased, t._base, t._made = array, storage, storage.rebased, base, made
        found.append(t)
    if found and needs_grad(input):
        attach(tuple(found), backward, (input,), (), ctx)
    return tuple(found)


@op(method=True)
def split(tensor, split_size_or_sections, dim=0):
    """Pieces along ``dim``: of one size (the last perhaps smaller), or of the sizes in a list.

    Returns a tuple of views.

    >>> import numtorch as torch
    >>> torch.arange(5).split(2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    a = tensor._a
    if not a.ndim:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    dim = shapes.wrap_dim(dim, a.ndim)
    size, n = split_size_or_sections, a.shape[dim]
    if isinstance(size, int):
        if size < 0 or size == 0 and n:
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}" if size < 0 else
                               f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
        sizes = [min(size, n - i) for i in range(0, n, size)] if n else [0]
        return views_of(tensor, _split_points(tensor, dim, sizes), split_backward, dim=dim, sizes=sizes, like=a)
    sizes = [int(s) for s in size]
    if any(s < 0 for s in sizes):
        raise RuntimeError(f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={sizes}")
    if sum(sizes) != n:
        raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension "
                           f"{dim}), but got split_sizes={sizes}")
    return views_of(tensor, _split_points(tensor, dim, sizes), split_with_sizes_backward, dim=dim, sizes=sizes, like=a)


def split_backward(node, *gs):
    """Gradient of split: the pieces' gradients side by side."""
    from .join import cat

    dim, sizes, like = node.ctx["dim"], node.ctx["sizes"], node.ctx["like"]
    parts = [wrap(np.zeros(like.shape[:dim] + (n,) + like.shape[dim + 1:], like.dtype, like=like)) if g is None else g
             for g, n in zip(gs, sizes)]
    return cat(parts, dim)


def split_with_sizes_backward(node, *gs):
    """Gradient of split with sizes."""
    return split_backward(node, *gs)


Tensor.split_with_sizes = lambda self, split_sizes, dim=0: split(self, split_sizes, dim)


@op(method=True)
def chunk(input, chunks, dim=0):
    """At most ``chunks`` pieces of equal size along ``dim`` (the last perhaps smaller)."""
    if not input._a.ndim:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._a.shape[shapes.wrap_dim(dim, input._a.ndim)]
    return split(input, -(-n // chunks), dim) if n else split(input, [0] * chunks, dim)


@op(method=True)
def unbind(input, dim=0):
    """The entries along ``dim``, as a tuple of views without that dimension."""
    a = input._a
    if not a.ndim:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    dim = shapes.wrap_dim(dim, a.ndim)
    before = (slice(None),) * dim
    return views_of(input, [a[before + (i, ...)] for i in range(a.shape[dim])], unbind_backward, dim=dim, like=a)


def unbind_backward(node, *gs):
    """Gradient of unbind: the entries' gradients stacked."""
    from .join import stack

    dim, like = node.ctx["dim"], node.ctx["like"]
    shape = like.shape[:dim] + like.shape[dim + 1:]
    return stack([wrap(np.zeros(shape, like.dtype, like=like)) if g is None else g for g in gs], dim)


Tensor.__iter__ = lambda self: iter(_unbind_for_iteration(self))


def _unbind_for_iteration(tensor):
    if not tensor._a.ndim:
        raise TypeError("iteration over a 0-d tensor")
    return unbind(tensor, 0)


@op(method=True)
def diagonal(input, offset=0, dim1=0, dim2=1):
    """The diagonal of two dimensions, as the last dimension of a view."""
    a = input._a
    dim1, dim2 = shapes.wrap_dim(dim1, a.ndim), shapes.wrap_dim(dim2, a.ndim)
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    array = a.diagonal(offset, dim1, dim2)
    if a.flags.writeable:
        array.flags.writeable = True
    return view_of(input, array, diagonal_backward, shape=a.shape, at=(offset, dim1, dim2))


def diagonal_of(array, offset, dim1, dim2):
    """The diagonal of an array that may be written, to be written."""
    found = array.diagonal(offset, dim1, dim2)
    found.flags.writeable = True        # NumPy hands it out read-only, for reasons of its own history
    return found


def diagonal_backward(node, g):
    """Gradient of diagonal: zeros off it."""
    from ..op import record

    whole = np.zeros(node.ctx["shape"], g._a.dtype, like=g._a)
    diagonal_of(whole, *node.ctx["at"])[...] = g._a
    return record(whole, _diagonal_scatter_backward, (g,), at=node.ctx["at"])


def _diagonal_scatter_backward(node, g):
    """Gradient of the scattered diagonal: the diagonal."""
    return diagonal(g, *node.ctx["at"])


def _unfold(self, dimension, size, step):
    """All slices of ``size`` along ``dimension``, ``step`` apart, in a new last dimension; a view."""
    a = self._a
    if not a.ndim:
        a = a.reshape(1)
    dim = shapes.wrap_dim(dimension, a.ndim)
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > a.shape[dim]:
        raise RuntimeError(f"maximum size for tensor at dimension {dim} is {a.shape[dim]} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    shape, strides = list(a.shape), list(a.strides)
    shape[dim], strides[dim] = (a.shape[dim] - size) // step + 1, a.strides[dim] * step
    array = strided_view(a, (*shape, size), (*strides, a.strides[dim]), writeable=a.flags.writeable)
    return view_of(self, array, unfold_backward, shape=self._a.shape, at=(dim, size, step))


def unfold_backward(node, g):
    """Gradient of unfold: slices added where they overlap."""
    from ..op import record

    shape, (dim, size, step) = node.ctx["shape"], node.ctx["at"]
    whole = np.zeros(shape or (1,), g._a.dtype, like=g._a)
    windows = np.moveaxis(g._a, -1, 0)
    before = (slice(None),) * dim
    for k in range(size):
        whole[before + (slice(k, k + step * g._a.shape[dim], step),)] += windows[k]
    return record(whole.reshape(shape), _unfold_again, (g,), at=node.ctx["at"])


def _unfold_again(node, g):
    """Gradient of unfold's gradient: unfold."""
    return _unfold(g, *node.ctx["at"])


Tensor.unfold = _unfold


@op(method=True)
def as_strided(input, size, stride, storage_offset=None):
    """A view of the storage with any ``size``, ``stride`` and ``storage_offset``, in elements.

    Raises:
        RuntimeError: the view would reach beyond the storage.
    """
    a, size, stride = input._a, tuple(size), tuple(stride)
    memory = storage_of(input).array
    start = (a.ctypes.data - memory.ctypes.data) // a.itemsize if storage_offset is None else storage_offset
    _check_bounds(size, stride, start, a.itemsize, memory.nbytes)
    flat = strided_view(memory, (memory.nbytes // memory.itemsize,), (memory.itemsize,))
    array = strided_view(flat.view(a.dtype)[start:], size, [s * a.itemsize for s in stride])
    offset = start - (a.ctypes.data - memory.ctypes.data) // a.itemsize
    if a.flags.c_contiguous or not needs_grad(input):
        return view_of(input, array, as_strided_backward, geometry=(size, stride, offset), base_shape=a.shape)
    lying = canvas(a)
    _check_bounds(size, stride, offset, 1, lying[0])    # torch's gradient knows no element that the input does not show
    return view_of(input, array, strided_base_backward, geometry=(size, stride, offset), canvas=lying)


def _check_bounds(size, stride, start, itemsize, nbytes):
    """RuntimeError where a strided view would reach beyond ``nbytes`` of memory."""
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(n < 0 for n in size):
        raise RuntimeError(f"as_strided: Negative sizes are not supported, got sizes: {list(size)}")
    if any(s < 0 for s in stride):
        raise RuntimeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    if start < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {start}")
    reach = start + sum((n - 1) * s for n, s in zip(size, stride)) + 1 if 0 not in size else start
    if reach * itemsize > nbytes:
        raise RuntimeError(f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {start}, and itemsize "
                           f"{itemsize} requiring a storage size of {reach * itemsize} are out of bounds for storage of "
                           f"size {nbytes}")


def as_strided_backward(node, g):
    """Gradient of as_strided: added up in the base's elements, zeros elsewhere. The base is contiguous."""
    return spread_over(g, node.ctx["base_shape"], node.ctx["geometry"])


def spread_over(g, base_shape, geometry):
    """``g`` added up in the elements of a contiguous tensor that a strided view shows; zeros elsewhere."""
    from ..op import record

    size, stride, offset = geometry
    whole = np.zeros(base_shape, g._a.dtype, like=g._a)
    if not _overlaps(size, stride):
        strided_view(whole.reshape(-1)[offset:], size, [s * whole.itemsize for s in stride])[...] = g._a
    elif whole.__class__ is DeviceArray:
        K.indexing_cuda.add_strided(whole, stride, offset, g._a)
    else:
        places = strided_view(np.arange(whole.size)[offset:], size, [s * 8 for s in stride])
        np.add.at(whole.reshape(-1), places.reshape(-1), g._a.reshape(-1))
    return record(whole, _as_strided_again, (g,), geometry=geometry)


def _as_strided_again(node, g):
    """Gradient of as_strided's gradient."""
    return as_strided(g.contiguous(), *node.ctx["geometry"])


def _overlaps(size, stride):
    reach = 1
    for s, n in sorted((abs(s), n) for s, n in zip(stride, size) if n > 1):
        if s < reach:
            return True
        reach = s * (n - 1) + reach
    return False


@op(method=True)
def as_strided_scatter(input, src, size, stride, storage_offset=None):
    """A copy of ``input`` in which the strided part is ``src``."""
    from ..op import record

    check_devices("as_strided_scatter", input, src)
    whole = input._a.copy()
    offset, item = storage_offset or 0, whole.itemsize
    _check_bounds(tuple(size), tuple(stride), offset, item, whole.nbytes)
    if src._a.shape != tuple(size):
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
                           f"{list(size)}")
    strided_view(whole.reshape(-1)[offset:], size, [s * item for s in stride])[...] = src._a
    return record(whole, as_strided_scatter_backward, (input, src), geometry=(tuple(size), tuple(stride), offset))


def as_strided_scatter_backward(node, g):
    """Gradient of as_strided_scatter: zeros in the part for the input, the part for the source."""
    size, stride, offset = node.ctx["geometry"]
    g = g.contiguous()
    around = None
    if node.needs[0]:
        around = as_strided_scatter(g, wrap(np.zeros(size, g._a.dtype, like=g._a)), size, stride, offset)
    return around, as_strided(g, size, stride, offset) if node.needs[1] else None
