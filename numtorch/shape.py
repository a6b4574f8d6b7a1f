"""Shapes and dimensions: pure functions on tuples of ints."""
from operator import index


class Size(tuple):
    """A tensor's shape: a tuple that prints as torch's, with ``numel()``."""

    __slots__ = ()

    def numel(self):
        """The number of elements of a tensor of this shape."""
        return numel(self)

    def __repr__(self):
        return f"torch.Size({list(self)})"

    def __getitem__(self, i):
        found = tuple.__getitem__(self, i)
        return Size(found) if isinstance(i, slice) else found

    def __add__(self, other):
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other):
        return Size(tuple(other) + tuple(self))

    def __mul__(self, times):
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __reduce__(self):
        return (Size, (tuple(self),))


def numel(shape):
    """The product of a shape."""
    n = 1
    for s in shape:
        n *= s
    return n


def wrap_dim(dim, ndim, allow_scalar=True):
    """``dim`` in [0, ndim), counted from the end if negative; a 0-dim tensor has a dim 0, as in torch."""
    span = ndim or (1 if allow_scalar else 0)
    if type(dim) is not int:
        dim = as_int("dim", dim)
    if -span <= dim < span:
        return dim + span if dim < 0 else dim
    if span == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    raise IndexError(f"Dimension out of range (expected to be in range of [{-span}, {span - 1}], but got {dim})")


def wrap_dims(dims, ndim):
    """``dims`` (None: all, an int, or ints) as a sorted tuple without repeats; RuntimeError if one comes twice."""
    if dims is None:
        return tuple(range(ndim))
    if isinstance(dims, int):
        return (wrap_dim(dims, ndim),) if ndim else (wrap_dim(dims, 0),)[:0]
    found = tuple(sorted(wrap_dim(d, ndim) for d in dims))
    for a, b in zip(found, found[1:]):
        if a == b:
            raise RuntimeError(f"dim {a} appears multiple times in the list of dims")
    return found if ndim else ()


def broadcast_shapes(*shapes):
    """The shape that ``shapes`` broadcast to; RuntimeError names the sizes that do not match."""
    out = list(shapes[0])
    for shape in shapes[1:]:
        if len(shape) > len(out):
            out = [1] * (len(shape) - len(out)) + out
        for i in range(1, len(shape) + 1):
            size = shape[-i]
            if out[-i] == 1:
                out[-i] = size
            elif size != 1 and size != out[-i]:
                raise RuntimeError(
                    f"The size of tensor a ({out[-i]}) must match the size of tensor b ({size}) "
                    f"at non-singleton dimension {len(out) - i}")
    return tuple(out)


def reduced_shape(shape, dims, keepdim):
    """``shape`` with ``dims`` (sorted, wrapped) removed, or set to 1."""
    if keepdim:
        return tuple(1 if i in dims else s for i, s in enumerate(shape))
    return tuple(s for i, s in enumerate(shape) if i not in dims)


def as_sizes(args):
    """The sizes in ``*args``: either ints, or one tuple, list or Size of ints."""
    if len(args) == 1 and not isinstance(args[0], int) and hasattr(args[0], "__iter__"):
        args = args[0]
    return tuple([a if type(a) is int else as_int("size", a) for a in args])


def as_int(name, value):
    """``value`` as an int; TypeError that names the argument for one that is none."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"argument '{name}' must be int, not {type(value).__name__}") from None


def infer_size(shape, n):
    """``shape`` with its one -1 replaced, so that it holds ``n`` elements; torch's errors."""
    shape, unknown, known = list(shape), None, 1
    for i, s in enumerate(shape):
        if s == -1:
            if unknown is not None:
                raise RuntimeError("only one dimension can be inferred")
            unknown = i
        elif s < 0:
            raise RuntimeError(f"invalid shape dimension {s} at index {i} of shape {shape}")
        else:
            known *= s
    if unknown is not None:
        if known == 0:
            raise RuntimeError(f"cannot reshape tensor of {n} elements into shape {shape} because the unspecified "
                               "dimension size -1 can be any value and is ambiguous")
        if n % known == 0:
            shape[unknown] = n // known
            return tuple(shape)
    if known != n or unknown is not None:
        raise RuntimeError(f"shape '{shape}' is invalid for input of size {n}")
    return tuple(shape)


def view_strides(shape, strides, new):
    """Strides that show a tensor of ``shape`` and ``strides`` (in elements) as ``new`` without a copy, or None.

    The rule of torch's ``Tensor.view``: each run of old dimensions that is laid out as one must be cut by whole new ones.
    """
    if numel(shape) == 0:
        return contiguous_strides(new)
    out, view_d = [0] * len(new), len(new) - 1
    if not shape:
        return (1,) * len(new)
    base, run, view_run = strides[-1], 1, 1
    for d in range(len(shape) - 1, -1, -1):
        run *= shape[d]
        if d == 0 or (shape[d - 1] != 1 and strides[d - 1] != run * base):
            while view_d >= 0 and (view_run < run or new[view_d] == 1):
                out[view_d] = view_run * base
                view_run *= new[view_d]
                view_d -= 1
            if view_run != run:
                return None
            if d > 0:
                base, run, view_run = strides[d - 1], 1, 1
    return tuple(out) if view_d == -1 else None


def contiguous_strides(shape):
    """Row-major strides, in elements."""
    out, step = [0] * len(shape), 1
    for i in range(len(shape) - 1, -1, -1):
        out[i] = step
        step *= max(shape[i], 1)
    return tuple(out)


def result_strides(shape, operands):
    """Strides in elements of an element-wise result, or None for row-major: the operands' order of dimensions, without gaps.

    Args:
        shape: the result's, to which the operands broadcast.
        operands: (shape, strides) of each; the earlier decide, strides of 0 say nothing (TensorIterator's rule).
    """
    n = len(shape)
    if n < 2 or 0 in shape:
        return None
    steps = []
    for own, strides in operands:
        new = n - len(own)
        steps.append([0] * new + [0 if own[i] == 1 != shape[new + i] else strides[i] for i in range(n - new)])
    order = list(range(n - 1, -1, -1))          # fastest first
    for i in range(1, n):
        at = i
        for j in range(i - 1, -1, -1):
            swap = _slower(order[j], order[at], shape, steps)
            if swap > 0:
                order[j], order[at] = order[at], order[j]
                at = j
            elif swap < 0:
                break
    if order == list(range(n - 1, -1, -1)):
        return None
    out, step = [0] * n, 1
    for d in order:
        out[d] = step
        step *= shape[d]
    return tuple(out)


def _slower(d, e, shape, steps):
    """1 where dimension d lies outside e in memory, -1 inside, 0 undecided."""
    for own in steps:
        if own[d] and own[e]:
            if own[d] != own[e]:
                return 1 if own[d] > own[e] else -1
            if shape[d] > shape[e]:
                return 1
    return 0
