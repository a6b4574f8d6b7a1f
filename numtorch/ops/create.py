"""Making tensors: from numbers, from data, and like other tensors."""
import numpy as np

from .. import devices, dtypes
from .. import shape as shapes
from .._legacy import legacy
from ..kernels._device import from_host, strided_view
from ..op import op
from ..tensor import Tensor, new, strided, wrap
from ._layout import empty_in
from .convert import to_device


def finish(array, device=None, requires_grad=False, pin_memory=False, layout=strided):
    """A fresh tensor on ``array``, moved to ``device``, with the options that all factories share."""
    if device is not None or devices._stack[-1] is not devices.cpu:
        array = on(device, array)
    if layout is not strided and layout is not None:
        raise NotImplementedError(f"layout {layout} is not built; use torch.strided")
    t = wrap(array)
    return t.requires_grad_() if requires_grad else t


def on(device, array):
    """``array`` itself if it is on ``device`` (None: the default device), else a copy there."""
    place = devices.check(device)
    if place == devices.of(array):
        return array
    if place.type == "cuda" and array.__class__ is np.ndarray:
        return from_host(array, place.index)
    return to_device(wrap(array), place)._a


def like(device):
    """What NumPy's functions that make arrays are told to make them for ``device``."""
    return None if device is None and devices._stack[-1] is devices.cpu else devices.prototype(device)


def np_dtype(dtype):
    """The NumPy dtype of ``dtype``, the default one for None; TypeError for something else."""
    if dtype is None:
        return dtypes._default._np
    if not isinstance(dtype, dtypes.dtype):
        if dtype in (float, int, bool, complex):
            return {float: dtypes.float64, int: dtypes.int64, bool: dtypes.bool, complex: dtypes.complex128}[dtype]._np
        raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    return dtype._np


def _sizes(size, kwargs=None):
    found = shapes.as_sizes(size)
    for s in found:
        if s < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {s}: {list(found)}")
    return found


def _factory(name, maker, says):
    def fn(*size, out=None, dtype=None, layout=strided, device=None, requires_grad=False, pin_memory=False,
           memory_format=None, **kwargs):
        if kwargs:
            size = (_only_size(name, kwargs),)
        if out is not None:
            out.resize_(_sizes(size))
            return out.copy_(wrap(maker(_sizes(size), out._a.dtype)))
        return finish(maker(_sizes(size), np_dtype(dtype), like=like(device)), device, requires_grad, pin_memory, layout)
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"""{says}

    Args:
        size (ints, or one tuple): the shape.
        dtype: default ``get_default_dtype()``.
        device, requires_grad, layout, pin_memory, out: as torch's.

    Returns:
        A Tensor.
    """
    return op(name)(fn)


def _only_size(name, kwargs):
    if set(kwargs) != {"size"}:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(k for k in kwargs if k != 'size')}'")
    return kwargs["size"]


zeros = _factory("zeros", np.zeros, "A tensor of zeros.")
ones = _factory("ones", np.ones, "A tensor of ones.")
empty = _factory("empty", np.empty, "A tensor whose elements are not set.")


def _like(name, value, says):
    def fn(input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, pin_memory=False):
        a, device = input._a, input.device if device is None else device
        kind = a.dtype if dtype is None else np_dtype(dtype)
        if value == 0 and a.flags.c_contiguous and memory_format is None:
            array = np.zeros(a.shape, kind, like=like(device))      # pages that the system has cleared already
        else:
            array = empty_in(a.shape, kind, a, memory_format)
            if value is not None:
                array.fill(value)
        return finish(array, device, requires_grad, pin_memory, layout)
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"{says} of the shape, dtype, order in memory and device of ``input``, unless others are given."
    return op(name)(fn)


zeros_like = _like("zeros_like", 0, "Zeros")
ones_like = _like("ones_like", 1, "Ones")
empty_like = _like("empty_like", None, "Unset elements")


def _fill_dtype(value, dtype):
    if dtype is not None:
        return np_dtype(dtype)
    if isinstance(value, Tensor):
        return value._a.dtype
    return dtypes.scalar_dtype(value)._np


def _number(value):
    return value.item() if isinstance(value, Tensor) else value


@op()
def full(size, fill_value, *, out=None, dtype=None, layout=strided, device=None, requires_grad=False, pin_memory=False):
    """A tensor of ``size`` with every element ``fill_value``; the dtype is the value's unless given.

    >>> import numtorch as torch
    >>> torch.full((2,), 7)
    tensor([7, 7])
    """
    array = np.full(_sizes((size,)), _number(fill_value), _fill_dtype(fill_value, dtype), like=like(device))
    if out is not None:
        return out.resize_(array.shape).copy_(wrap(array))
    return finish(array, device, requires_grad, pin_memory, layout)


@op()
def full_like(input, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None,
              pin_memory=False):
    """``fill_value`` everywhere, in the shape and dtype of ``input``."""
    a, device = input._a, input.device if device is None else device
    array = empty_in(a.shape, a.dtype if dtype is None else np_dtype(dtype), a, memory_format)
    array.fill(_number(fill_value))
    return finish(array, device, requires_grad, pin_memory, layout)


@op()
def empty_strided(size, stride, *, dtype=None, layout=strided, device=None, requires_grad=False, pin_memory=False):
    """Unset elements with the given ``stride``, in elements."""
    reach = 1 + sum((n - 1) * s for n, s in zip(size, stride)) if 0 not in size else 0
    memory = np.empty(reach, np_dtype(dtype))
    array = strided_view(memory, size, [s * memory.itemsize for s in stride])
    return finish(array, device, requires_grad, pin_memory, layout)


@op()
def scalar_tensor(s, *, dtype=None, layout=strided, device=None, requires_grad=False, pin_memory=False):
    """A number as a 0-dim tensor of the default dtype."""
    return finish(np.array(s, np_dtype(dtype)), device, requires_grad, pin_memory, layout)


# ---- ranges ------------------------------------------------------------------------------------------------------------

@op()
def arange(start, end=None, step=1, *, out=None, dtype=None, layout=strided, device=None, requires_grad=False,
           pin_memory=False):
    """Numbers from ``start`` (default 0) to before ``end``, ``step`` apart.

    Integers unless an argument is not one.

    Raises:
        RuntimeError: ``step`` is 0 or leads away from ``end``.

    >>> import numtorch as torch
    >>> torch.arange(2, 8, 3)
    tensor([2, 5])
    """
    if end is None:
        start, end = 0, start
    start, end, step = _number(start), _number(end), _number(step)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype is None and out is None:
        floats = any(isinstance(v, (float, np.floating)) for v in (start, end, step))
        kind = dtypes._default._np if floats else np.dtype(np.int64)
    else:
        kind = out._a.dtype if dtype is None else np_dtype(dtype)
    n = int(np.ceil((end - start) / step)) if kind.kind not in "iu" or isinstance(step, float) else -((start - end) // step)
    array = _steps(start, step, max(int(n), 0), kind)
    if out is not None:
        return out.resize_(array.shape).copy_(wrap(array))
    return finish(array, device, requires_grad, pin_memory, layout)


def _steps(start, step, n, kind):
    if kind.kind in "iu":
        if isinstance(start, float) or isinstance(step, float):
            return (int(start) + np.arange(n, dtype=np.int64) * int(step)).astype(kind)
        return (start + np.arange(n, dtype=np.int64) * step).astype(kind)
    return (start + np.arange(n, dtype=np.float64) * step).astype(kind)


@op()
def range(start=0, end=None, step=1, *, out=None, dtype=None, layout=strided, device=None, requires_grad=False):
    """Numbers from ``start`` to ``end`` inclusive, ``step`` apart; deprecated, as torch's: use ``arange``."""
    legacy("torch.range is deprecated and will be removed in a future release because its behavior is inconsistent "
           "with Python's range builtin. Instead, use torch.arange, which produces values in [start, end).")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    n = int(np.floor((end - start) / step)) + 1
    return finish(_steps(start, step, n, np_dtype(dtype)), device, requires_grad, False, layout)


@op()
def linspace(start, end, steps, *, out=None, dtype=None, layout=strided, device=None, requires_grad=False, pin_memory=False):
    """``steps`` numbers from ``start`` to ``end`` inclusive, equally far apart.

    The first half is counted from the start and the second from the end, as torch does, in the result's dtype.
    """
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    kind = np_dtype(dtype)
    start, end = _number(start), _number(end)
    if steps == 1:
        return finish(np.array([start], kind), device, requires_grad, pin_memory, layout)
    if kind.kind in "iu":
        step = (float(end) - start) / max(steps - 1, 1)
        i = np.arange(steps)
        array = np.where(i < steps // 2, start + step * i, end - step * (steps - 1 - i)).astype(kind)
    else:
        work = kind if kind.kind == "c" or kind.itemsize >= 4 and kind.kind == "f" else np.dtype(np.float32)
        step = (work.type(end) - work.type(start)) / work.type(max(steps - 1, 1))
        i = np.arange(steps)
        up = (work.type(start) + step * i.astype(work)).astype(work)
        down = (work.type(end) - step * (steps - 1 - i).astype(work)).astype(work)
        array = np.where(i < steps // 2, up, down).astype(kind)
    if out is not None:
        return out.resize_(array.shape).copy_(wrap(array))
    return finish(array, device, requires_grad, pin_memory, layout)


@op()
def logspace(start, end, steps, base=10.0, *, out=None, dtype=None, layout=strided, device=None, requires_grad=False,
             pin_memory=False):
    """``base`` to the power of ``steps`` numbers from ``start`` to ``end``."""
    exponents = linspace(start, end, steps, dtype=dtypes.float64, device=devices.cpu)._a
    array = np.power(float(base), exponents).astype(np_dtype(dtype))
    if out is not None:
        return out.resize_(array.shape).copy_(wrap(array))
    return finish(array, device, requires_grad, pin_memory, layout)


@op()
def eye(n, m=None, *, out=None, dtype=None, layout=strided, device=None, requires_grad=False, pin_memory=False):
    """Ones on the diagonal of an ``n`` x ``m`` matrix of zeros (``m`` default ``n``)."""
    if n < 0 or m is not None and m < 0:
        raise RuntimeError(f"{'n' if n < 0 else 'm'} must be greater or equal to 0, got {n if n < 0 else m}")
    array = np.eye(n, m, dtype=np_dtype(dtype))
    if out is not None:
        return out.resize_(array.shape).copy_(wrap(array))
    return finish(array, device, requires_grad, pin_memory, layout)


@op()
def complex(real, imag, *, out=None):
    """A complex tensor of a real and an imaginary part."""
    if real._a.dtype != imag._a.dtype:
        raise RuntimeError(f"Expected object of scalar type {real.dtype} but got scalar type {imag.dtype} for second argument")
    from .join import stack
    from .view import view_as_complex

    found = view_as_complex(stack((real, imag), -1))
    return found if out is None else out.copy_(found)


@op()
def polar(abs, angle, *, out=None):
    """The complex numbers of the given sizes and angles."""
    return complex(abs * angle.cos(), abs * angle.sin(), out=out)


# ---- from data ---------------------------------------------------------------------------------------------------------

def _from_data(data, kind=None):
    """A fresh ndarray of nested lists, numbers, arrays or tensors, in torch's dtype for them."""
    if isinstance(data, Tensor):
        array = data._a
        if type(array) is not np.ndarray:
            return array.astype(array.dtype if kind is None else kind, order="C")
    elif isinstance(data, (np.ndarray, np.generic)):
        array = np.asarray(data)
    else:
        array = _from_lists(data)
    if kind is None:
        kind = _natural_dtype(array, data)
    with np.errstate(all="ignore"):
        if array.dtype.kind == "c" and kind.kind != "c":
            array = array.real
        return np.array(array, kind, order="C")


def _from_lists(data):
    if type(data) in (int, float, bool):
        if type(data) is int and not -2**63 <= data < 2**64:
            raise RuntimeError("Overflow when unpacking long long")
        return np.array(data)
    if isinstance(data, str) or data is None:
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'" if data is not None else
                        "Could not infer dtype of NoneType")
    if _holds_tensors(data):
        data = _unwrap(data)
    try:
        array = np.array(data)
    except ValueError:
        raise _ragged(data) from None
    if array.dtype.kind == "O":
        raise _ragged(data)
    if array.dtype.kind in "USmM":
        raise ValueError(f"too many dimensions '{type(np.ravel(np.array(data, object))[0]).__name__}'")
    return array


def _holds_tensors(data):
    while isinstance(data, (list, tuple)) and data:
        if any(isinstance(d, Tensor) for d in data):
            return True
        data = data[0]
    return isinstance(data, Tensor)


def _unwrap(data):
    if isinstance(data, Tensor):
        if data._a.size != 1 and data._a.ndim:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return data.item()
    return [_unwrap(d) for d in data] if isinstance(data, (list, tuple)) else data


def _ragged(data):
    """torch's error for nested lists of unequal lengths, or of things that are not numbers."""
    def walk(value, dim):
        if isinstance(value, (list, tuple)):
            sizes = [len(v) if isinstance(v, (list, tuple)) else None for v in value]
            for size in sizes:
                if size != sizes[0]:
                    if sizes[0] is None or size is None:
                        return TypeError(f"not a sequence: expected a number or a sequence at dim {dim + 1}")
                    return ValueError(f"expected sequence of length {sizes[0]} at dim {dim + 1} (got {size})")
            for v in value:
                found = walk(v, dim + 1)
                if found:
                    return found
        elif not isinstance(value, (int, float, np.generic)) and type(value).__name__ != "complex":
            return TypeError(f"Could not infer dtype of {type(value).__name__}")
        return None
    return walk(data, 0) or TypeError(f"can't convert {type(data).__name__} to a tensor")


def _natural_dtype(array, data):
    if isinstance(data, (Tensor, np.ndarray, np.generic)):
        dtypes.from_numpy_dtype(array.dtype)
        return array.dtype
    if array.dtype.kind == "f":
        if not array.size or not _holds_numpy_floats(data):
            return dtypes._default._np
        return array.dtype
    if array.dtype.kind == "c":
        return dtypes._default.to_complex()._np
    if array.dtype.kind in "iu":
        return np.dtype(np.int64)
    return array.dtype


def _holds_numpy_floats(data):
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.floating, np.ndarray))


@op()
def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """A tensor with a copy of ``data``.

    Args:
        data: a number, nested lists or tuples of numbers, an ndarray, a Tensor.
        dtype: default: bool, int64, the default floating dtype, or its complex, by the data; arrays keep theirs.
        device, requires_grad, pin_memory: as torch's.

    Raises:
        ValueError: lists of unequal lengths.
        TypeError: something that is not a number.

    >>> import numtorch as torch
    >>> torch.tensor([[1., 2.], [3., 4.]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    if isinstance(data, Tensor):
        import warnings

        warnings.warn("To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
                      "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
                      UserWarning, stacklevel=2)
    return finish(_from_data(data, None if dtype is None else np_dtype(dtype)), device, requires_grad, pin_memory)


@op(aliases=("asarray",))
def as_tensor(data, dtype=None, device=None):
    """``data`` as a tensor, on its own memory where it has any and the dtype allows it."""
    if isinstance(data, Tensor):
        return data if dtype is None and device is None else data.to(device, dtype)
    if isinstance(data, np.ndarray):
        found = from_numpy(data)
        device = devices.get_default_device() if device is None else device
        return found if dtype is None and device is devices.cpu else found.to(device, dtype)
    if hasattr(data, "__cuda_array_interface__"):
        from ..utils.dlpack import from_cuda_array_interface

        found = from_cuda_array_interface(data)
        return found if dtype is None and device is None else found.to(device, dtype)
    return tensor(data, dtype=dtype, device=device)


@op()
def from_numpy(ndarray):
    """A tensor on the memory of an ndarray.

    Raises:
        TypeError: not an ndarray, or one whose dtype tensors do not have.
        ValueError: a negative stride.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    found = dtypes.from_numpy_dtype(ndarray.dtype)
    if any(s < 0 for s in ndarray.strides):
        raise ValueError("At least one stride in the given numpy array is negative, and tensors with negative strides are not "
                         "currently supported. (You can probably work around this by making a copy of your array  with "
                         "array.copy().) ")
    if not ndarray.flags.writeable:
        import warnings

        warnings.warn("The given NumPy array is not writable, and PyTorch does not support non-writable tensors. This means "
                      "writing to this tensor will result in undefined behavior. You may want to copy the array to protect its "
                      "data or make it writable before converting it to a tensor.", UserWarning, stacklevel=2)
    array = ndarray.view(np.ndarray)
    return wrap(array if array.dtype is found._np else array.view(found._np))


@op()
def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False):
    """A tensor on the memory of a Python buffer."""
    return finish(np.frombuffer(buffer, np_dtype(dtype), count, offset), None, requires_grad)


def legacy_new(cls, args, device, dtype=None):
    """``Tensor(2, 3)``, ``Tensor([1, 2])``, ``Tensor(tensor)``: of the default dtype, or ``dtype``."""
    kind = np_dtype(dtype)
    if not args:
        array = np.empty((0,), kind)
    elif len(args) == 1 and isinstance(args[0], Tensor):
        array = args[0]._a if args[0]._a.dtype == kind else args[0]._a.astype(kind)
    elif len(args) == 1 and isinstance(args[0], shapes.Size):
        array = np.empty(_sizes(args), kind)
    elif all(isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in args):
        array = np.empty(_sizes(args), kind)
    elif len(args) == 1 and isinstance(args[0], (list, tuple, np.ndarray)):
        array = _from_data(args[0], kind)
    else:
        raise TypeError(f"new(): data must be a sequence (got {type(args[0]).__name__})")
    t = new(cls)
    t._a = array if device is devices.cpu else on(device, array)
    return t


# ---- like another tensor -------------------------------------------------------------------------------------------------

def _new_method(name, maker):
    def method(self, *size, dtype=None, device=None, requires_grad=False, layout=strided, pin_memory=False, **kwargs):
        if kwargs:
            size = (_only_size(name, kwargs),)
        device = self.device if device is None else device
        return finish(maker(_sizes(size), self._a.dtype if dtype is None else np_dtype(dtype), like=like(device)), device,
                      requires_grad)
    method.__name__, method.__doc__ = name, f"``{name[4:]}`` of the given size, with this tensor's dtype and device by default."
    return method


for _name, _maker in (("new_zeros", np.zeros), ("new_ones", np.ones), ("new_empty", np.empty)):
    setattr(Tensor, _name, _new_method(_name, _maker))


def _new_full(self, size, fill_value, *, dtype=None, device=None, requires_grad=False, layout=strided, pin_memory=False):
    """A tensor of ``size`` filled with ``fill_value``, with this tensor's dtype by default."""
    device = self.device if device is None else device
    return finish(np.full(_sizes((size,)), _number(fill_value), self._a.dtype if dtype is None else np_dtype(dtype),
                          like=like(device)), device, requires_grad)


def _new_tensor(self, data, *, dtype=None, device=None, requires_grad=False, layout=strided, pin_memory=False):
    """A copy of ``data`` with this tensor's dtype by default."""
    return finish(_from_data(data, self._a.dtype if dtype is None else np_dtype(dtype)),
                  self.device if device is None else device, requires_grad)


def _new(self, *args, device=None):
    """A tensor of this dtype, as ``Tensor(...)`` makes one."""
    return legacy_new(Tensor, args, devices.check(device), self.dtype)


Tensor.new_full, Tensor.new_tensor, Tensor.new = _new_full, _new_tensor, _new


@op()
def is_tensor(obj):
    """True for Tensors."""
    return isinstance(obj, Tensor)


@op()
def numel(input):
    """The number of elements."""
    return input._a.size


@op()
def is_floating_point(input):
    """True for a floating point dtype."""
    return input.dtype.is_floating_point


@op()
def is_complex(input):
    """True for a complex dtype."""
    return input.is_complex()


@op()
def is_nonzero(input):
    """True for a single element that is not 0."""
    return bool(input)


Tensor.is_nonzero = is_nonzero


@op()
def result_type(tensor1, tensor2):
    """The dtype of an operation on two tensors or numbers."""
    from ._pointwise import common_dtype

    return common_dtype((tensor1, tensor2))
