"""Tensors and their memory in files: what a pickler writes for them, and what builds them again.

A pickled tensor is a call of a rebuild function on a storage, an offset, a size and strides. The storage is named by a
persistent id ``("storage", type, key, location, elements)``, and its bytes stand elsewhere in the file, once for all its views.
The rebuild functions have the names and arguments that torch's have.
"""
import re
import sys
import warnings
from collections import OrderedDict

import numpy as np

from . import dtypes
from ._serial_names import STORAGES
from .devices import device
from .kernels._device import DeviceArray, strided_view
from .random import Generator
from .storage import Storage
from .tensor import _OWN_ATTRIBUTES, Tensor, layout, memory_format, new, strided, wrap

_TWO_TYPES = "Cannot save multiple tensors or storages that view the same data as different types"


class StorageType:
    """What files call a storage of a dtype, such as torch.FloatStorage."""

    def __init__(self, name, dtype):
        self.name, self.dtype = name, dtype

    def __repr__(self):
        return f"StorageType({self.name}, dtype={self.dtype})"

    def __reduce__(self):
        return self.name


UntypedStorage = StorageType("UntypedStorage", dtypes.uint8)
_TYPES = {name: StorageType(name, dtypes._by_name(d)) for name, d in STORAGES.items()}
_TYPE_OF = {kind.dtype: kind for kind in _TYPES.values()}
globals().update(_TYPES)


# ---- writing -----------------------------------------------------------------------------------------------------------

class Memory:
    """One storage of a file that is being written: its owner, its flat bytes, and the StorageType of its views."""

    __slots__ = ("root", "data", "kind", "key")

    def __init__(self, root, data, key):
        self.root, self.data, self.key, self.kind = root, data, key, None

    @property
    def count(self):
        """Elements, of the dtype that its views have."""
        return self.data.nbytes // self.kind.dtype.itemsize

    @property
    def bytes(self):
        """What is written: whole elements."""
        return self.data[:self.count * self.kind.dtype.itemsize]


class Memories:
    """The storages that the pickled tensors of one file need, in the order in which they came up."""

    def __init__(self):
        self.found, self.hosted = {}, {}

    def on_host(self, root):
        """The bytes of a DeviceArray that owns its memory, copied to the host once for all its views."""
        if id(root) not in self.hosted:
            self.hosted[id(root)] = root, _flat(root.on_host())
        return self.hosted[id(root)][1]

    def of(self, root, data, dtype):
        """The Memory of ``root``, the ndarray that owns what is viewed, for views of ``dtype``; ``data``: the same, flat.

        Raises:
            RuntimeError: it has views of another dtype.
        """
        key = (data.ctypes.data, data.nbytes) if data.nbytes else id(root)
        memory = self.found.get(key)
        if memory is None:
            memory = self.found[key] = Memory(root, data, str(len(self.found)))
        kind = _TYPE_OF.get(dtype, UntypedStorage)
        if memory.kind is None:
            memory.kind = kind
        elif memory.kind is not kind:
            raise RuntimeError(_TWO_TYPES)
        return memory

    def __iter__(self):
        return iter(self.found.values())


def _root(tensor):
    """The ndarray that owns a tensor's memory."""
    array = tensor._a if tensor._storage is None else tensor._storage.array
    while True:
        base = array.base
        if type(array) is DeviceArray:
            return array if base is None else base
        if not isinstance(base, np.ndarray):
            base = getattr(base, "base", None)          # as_strided puts an object between the view and its owner
        if not isinstance(base, np.ndarray):
            return array
        array = base


def _flat(array):
    """The memory that an array without negative strides spans, as a flat array of bytes."""
    dense = array
    if not array.flags.c_contiguous:
        dense = array.transpose(sorted(range(array.ndim), key=lambda d: (-array.strides[d], -array.shape[d])))
    if dense.flags.c_contiguous:
        return dense.reshape(-1).view(np.uint8)
    low, high = np.lib.array_utils.byte_bounds(array)
    first = array[(slice(1),) * array.ndim].reshape(1).view(np.uint8)
    return np.lib.stride_tricks.as_strided(first, (high - low,), (1,))


def _place(tensor, memories):
    """(memory, offset, size, stride) of a tensor; of a copy, where no offset and strides say what a file can hold."""
    a, item, root = tensor._a, tensor._a.itemsize, _root(tensor)
    if all(s >= 0 for s in root.strides):
        stride, start = tensor.stride(), root.ctypes.data
        if type(root) is DeviceArray:
            data = memories.on_host(root)
        else:
            data = _flat(root)
            start = data.ctypes.data
        offset, ragged = divmod(a.ctypes.data - start, item)
        reach = offset + (1 + sum((n - 1) * s for n, s in zip(a.shape, stride)) if a.size else 0)
        if not ragged and offset >= 0 and reach <= data.nbytes // item and all(s >= 0 and s % item == 0 for s in a.strides):
            return memories.of(root, data, tensor.dtype), offset, a.shape, stride
    copy = (a if type(a) is np.ndarray else a.on_host()).copy(order="C")
    return memories.of(copy, _flat(copy), tensor.dtype), 0, a.shape, tuple(s // item for s in copy.strides)


class Reducer:
    """The pickler's two hooks, ``persistent_id`` and ``reducer_override``, for one file.

    Args:
        location (callable): the tag of the place where a storage is.
        more (tuple): what the format adds to a storage's id.
        other_id (callable): gives the persistent ids of other things, or None.
    """

    def __init__(self, location, more=(), other_id=None):
        self.memories, self.location, self.more, self.other_id = Memories(), location, more, other_id

    def persistent_id(self, value):
        """The id of a storage, or of what ``other_id`` knows; None for anything else."""
        if type(value) is Memory:
            memory = value
        elif isinstance(value, Storage):
            array = value.array
            data = self.memories.on_host(array) if type(array) is DeviceArray else _flat(array)
            memory = self.memories.of(array, data, dtypes._from_np.get(array.dtype, dtypes.uint8))
        else:
            return self.other_id and self.other_id(value)
        return ("storage", memory.kind, memory.key, self.location(Storage(memory.root)), memory.count, *self.more)

    def reduce(self, value):
        """How a value of one of numtorch's own kinds is pickled; NotImplemented for anything else."""
        if isinstance(value, Tensor):
            return self._tensor(value)
        kind = type(value)
        if kind is dtypes.dtype:
            return value._name
        if kind is device:
            return device, (value.type,) if value.index is None else (value.type, value.index)
        if kind is layout:
            return _get_layout, (repr(value),)
        if kind is memory_format:
            return value.name
        if kind is Generator:
            return Generator, (device("cpu"),), (value.initial_seed(), None, value.get_state())
        if kind.__module__ == "numtorch.return_types":
            return kind, (tuple(value), {})
        return NotImplemented

    def _tensor(self, tensor):
        cls = type(tensor)
        if cls.__reduce_ex__ not in _PLAIN or cls.__reduce__ is not object.__reduce__:
            return NotImplemented
        if tensor._hooks and tensor._hooks.get("tensor"):
            for hook in tensor._hooks["tensor"].values():
                if not getattr(hook, "__torch_unserializable__", False):
                    warnings.warn(f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, you can "
                                  "decorate the function with @torch.utils.hooks.unserializable_hook to suppress this warning",
                                  stacklevel=2)
        state = _user_state(tensor)
        parameter = sys.modules.get("numtorch.nn.parameter")
        if parameter is not None and isinstance(tensor, parameter.Parameter):
            args = (tensor.data, tensor._rg, OrderedDict())
            return (_rebuild_parameter_with_state, (*args, state)) if state else (_rebuild_parameter, args)
        args = (*_place(tensor, self.memories), tensor._rg, OrderedDict())
        if cls is Tensor and not state:
            return _rebuild_tensor_v2, args
        return _rebuild_from_type_v2, (_rebuild_tensor_v2, cls, args, state)


_PLAIN = (Tensor.__reduce_ex__, object.__reduce_ex__)


def _user_state(tensor):
    """What a program has set on a tensor, or what its class's ``__getstate__`` gives; None for nothing."""
    getter = getattr(type(tensor), "__getstate__", None)
    if getter is not None and getter is not getattr(object, "__getstate__", None):
        return tensor.__getstate__()
    return {name: value for name, value in tensor.__dict__.items() if name not in _OWN_ATTRIBUTES} or None


# ---- reading -----------------------------------------------------------------------------------------------------------

def storage_type(name):
    """The StorageType called ``name`` in files; None for a name that is none.

    Raises:
        NotImplementedError: a storage of a dtype that numtorch does not have.
    """
    found = _TYPES.get(name, UntypedStorage if name == "UntypedStorage" else None)
    if found is None and name.startswith(("QInt", "QUInt")):
        raise NotImplementedError(f"numtorch.load: the file holds a torch.{name}, and numtorch has no quantized tensors; "
                                  "dequantize them with torch before saving")
    return found


def refuse_dtype(name):
    """NotImplementedError for the name of a dtype that torch has and numtorch does not; nothing for any other name."""
    if _DTYPE.fullmatch(name) and name not in dtypes._names:
        raise NotImplementedError(f"numtorch.load: the file holds the dtype torch.{name}, which numtorch does not have; convert "
                                  "the tensors with torch before saving")


_DTYPE = re.compile(r"u?int\d+|float\d+\w*|complex32|bits\w+|qu?int\w+")


def text(value):
    """A word that a pickle of Python 2 may hold as bytes."""
    return value.decode("ascii") if isinstance(value, bytes) else value


def named_storage(pid, length):
    """What a storage's persistent id says: dtype, key, location, elements, and what a format adds.

    Args:
        pid: the id in the file.
        length (int): the parts that it has to have.

    Raises:
        RuntimeError: it is no id of a storage.
    """
    if not isinstance(pid, tuple) or len(pid) != length or text(pid[0]) != "storage":
        raise RuntimeError(f"Unknown typename for persistent_load, expected 'storage' but got {pid!r}")
    kind, key, location, count, *more = map(text, pid[1:])
    if not isinstance(kind, StorageType) or not isinstance(key, (str, int)) or not isinstance(location, str) \
            or type(count) is not int or count < 0:
        raise RuntimeError("numtorch.load: a storage is named by its type, key, place and number of elements, but the file has "
                           f"{pid[1:]!r}; corrupt file?")
    return kind.dtype, key, location, count, *more


class Unread(Storage):
    """A Storage whose bytes come later in the file; it becomes a Storage when they have."""

    __slots__ = ()


def _check_read(storage, what):
    if isinstance(storage, Unread):
        raise NotImplementedError(f"numtorch.load: the file holds a {what} in torch's format before 1.6, in which its values "
                                  "come too late; save it with torch without _use_new_zipfile_serialization=False")


def _view(array, offset, size, stride, dtype):
    """The ndarray of a tensor on a flat array; RuntimeError where it would reach beyond."""
    for what, values in (("storage offset", (offset,)), ("size", size), ("stride", stride)):
        if not all(type(v) is int and v >= 0 for v in values):
            raise RuntimeError(f"numtorch.load: a tensor's {what} is made of integers from 0 on, but the file says {values}")
    if len(size) != len(stride):
        raise RuntimeError(f"mismatch in length of strides and shape: {list(stride)} and {list(size)}")
    item, count = dtype.itemsize, 1
    for n in size:
        count *= n
    if not count:
        return array.view(np.uint8)[offset * item:][:0].view(dtype._np).reshape(size)
    reach = (offset + 1 + sum((n - 1) * s for n, s in zip(size, stride))) * item
    if reach > array.nbytes:
        raise RuntimeError(f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize "
                           f"{item} requiring a storage size of {reach} are out of bounds for storage of size {array.nbytes}")
    strides, expected = [s * item for s in stride], item
    contiguous = array.dtype == dtype._np
    for n, s in zip(reversed(size), reversed(strides)):
        contiguous = contiguous and (n == 1 or s == expected)
        expected *= n
    if contiguous:
        return array[offset:offset + count].reshape(size)
    if type(array) is DeviceArray:
        return strided_view(array.view(np.uint8)[offset * item:][:item].view(dtype._np), size, strides)
    return np.ndarray(size, dtype._np, array.view(np.uint8), offset * item, strides)


def _rebuild_tensor_v3(storage, storage_offset, size, stride, requires_grad, backward_hooks, dtype, metadata=None):
    """A tensor on a storage, seen as ``dtype``."""
    if not isinstance(storage, Storage) or not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"a tensor is made of a storage and a dtype, but the file has {type(storage).__name__} and {dtype!r}")
    found = wrap(_view(storage.array, storage_offset, size, stride, dtype))
    found._storage = storage
    for name, value in (metadata or {}).items():
        if name not in ("conj", "neg"):
            raise NotImplementedError(f"numtorch.load: a tensor has the property {name!r}, which numtorch does not have")
        if value:
            _check_read(storage, f"tensor whose {name} bit is set")
            # torch keeps this sign as a bit of the tensor, not in its memory
            found._a, found._storage = np.conj(found._a) if name == "conj" else np.negative(found._a), None
    if requires_grad:
        found.requires_grad_(True)
    return found


def _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata=None):
    """A tensor on a storage of its own dtype."""
    if not isinstance(storage, Storage):
        raise TypeError(f"a tensor is made of a storage, but the file has a {type(storage).__name__}")
    return _rebuild_tensor_v3(storage, storage_offset, size, stride, requires_grad, backward_hooks,
                              dtypes._from_np[storage.array.dtype], metadata)


def _rebuild_tensor(storage, storage_offset, size, stride):
    """A tensor, as torch wrote it before 0.4."""
    return _rebuild_tensor_v2(storage, storage_offset, size, stride, False, None)


def _rebuild_parameter(data, requires_grad, backward_hooks):
    """A Parameter on the memory of a tensor."""
    from .nn.parameter import Parameter

    return Parameter(data, requires_grad)


def _rebuild_parameter_with_state(data, requires_grad, backward_hooks, state):
    """A Parameter with attributes that a program has set on it."""
    return _set_state(_rebuild_parameter(data, requires_grad, backward_hooks), state)


def _rebuild_from_type_v2(func, new_type, args, state):
    """A tensor of a subclass, or with attributes that a program has set on it.

    Args:
        func: what makes the tensor from ``args``; one of the functions above.
        new_type: its class.
        state: the attributes, or what the class's ``__setstate__`` takes.
    """
    made = func(*args)
    if not isinstance(made, Tensor) or not isinstance(new_type, type) or not issubclass(new_type, Tensor):
        raise TypeError(f"a tensor's class has to be a subclass of Tensor, but the file says {new_type!r}")
    if type(made) is not new_type:
        found = new(new_type)
        found.__dict__.update(made.__dict__)
        made = found
    return _set_state(made, state)


def _set_state(tensor, state):
    setter = getattr(type(tensor), "__setstate__", None)
    if setter is not None:
        setter(tensor, state)
        return tensor
    state, slots = state if isinstance(state, tuple) else (state, None)
    for values in (state, slots):
        for name, value in (values or {}).items():
            if name in _OWN_ATTRIBUTES or str(name).startswith("__"):
                raise RuntimeError(f"numtorch.load: the file sets {name!r} of a tensor, which is numtorch's own")
            setattr(tensor, name, value)
    return tensor


class LoadedGenerator(Generator):
    """A Generator until torch's state for it has been read."""

    __slots__ = ()

    def __setstate__(self, state):
        _seed, _offset, numbers = state
        _check_read(numbers._storage, "Generator")
        self.set_state(numbers)
        self.__class__ = Generator


def rebuild_return_type(cls, values, more):
    """A named tuple of ``numtorch.return_types`` from what torch's pickles give: the entries, and further ones by name."""
    return cls(values)


def _get_layout(name):
    if name != "torch.strided":
        raise NotImplementedError(f"numtorch.load: the file holds the layout {name}, and numtorch has only torch.strided; of a "
                                  "sparse tensor, save to_dense() with torch")
    return strided


def _refuse(what, way_out):
    def rebuild(*args):
        raise NotImplementedError(f"numtorch.load: the file holds a {what}, which numtorch does not have; {way_out}")
    return rebuild


_rebuild_sparse_tensor = _refuse("sparse tensor", "save tensor.to_dense() with torch")
_rebuild_qtensor = _refuse("quantized tensor", "save tensor.dequantize() with torch")
_rebuild_nested_tensor = _refuse("nested tensor", "save tensor.to_padded_tensor(...) with torch")
_rebuild_meta_tensor_no_storage = _refuse("tensor on the meta device", "save a tensor with values")
_rebuild_wrapper_subclass = _refuse("wrapper tensor", "save the tensor that it wraps")
_rebuild_device_tensor_from_numpy = _refuse("tensor of a device of its own", "save tensor.cpu() with torch")
_rebuild_device_tensor_from_cpu_tensor = _rebuild_device_tensor_from_numpy
