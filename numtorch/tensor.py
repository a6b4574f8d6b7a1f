"""Tensor: a NumPy view, a place on the tape, and a gradient.

What a fresh tensor does not deviate in lives on the class, so that making one costs two attribute writes. Methods that are
operations are attached by ``op.op`` when ``numtorch.ops`` is imported; this file holds what concerns the object itself.
"""
import math
import weakref

import numpy as np

from . import devices, dtypes
from .autograd.grad_mode import mode
from .autograd.node import RemovableHandle
from .kernels._device import DeviceArray
from .shape import Size
from .storage import Storage

new = object.__new__


class Tensor:
    """An n-dimensional array on which operations are recorded for differentiation.

    ``Tensor(2, 3)`` is uninitialised, ``Tensor([1, 2])`` holds the numbers given, both of the default dtype;
    ``numtorch.tensor`` is the usual way to make one.
    """

    _storage = None             # Storage, once there is a view, an in-place write, or a question about it
    _rg = False                 # requires_grad
    _fn = None                  # grad_fn, or None for a leaf; of a view, only after ``refresh``
    _nr = 0                     # which output of _fn this is
    _grad = None
    _base = None                # of a view: the tensor that owns the memory's history
    _seen_rebased = 0           # of a view: the storage's ``rebased`` that _fn belongs to
    _hooks = None
    _accumulate = None          # weak reference to the AccumulateGrad node, if a user asked for it
    _saved_output = None        # of an output kept by its own node: restores it for double backward
    _inference = False
    _made = ""                  # of a view: "many" or "no_grad", how it was made where that forbids to write it on the tape
    _retains = False
    __array_priority__ = 1000   # NumPy's operators leave ``array + tensor`` to __radd__
    __hash__ = object.__hash__

    def __new__(cls, *args, device=None, dtype=None):
        from .ops import create

        return create.legacy_new(cls, args, devices.check(device), dtype)

    # ---- shape and type ----------------------------------------------------------------------------------------------

    @property
    def shape(self):
        """The sizes, as a Size."""
        return Size(self._a.shape)

    def size(self, dim=None):
        """The sizes, or the size of dimension ``dim``."""
        if dim is None:
            return Size(self._a.shape)
        shape = self._a.shape
        try:
            return shape[dim]
        except IndexError:
            n = max(len(shape), 1)
            raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})") from None

    @property
    def ndim(self):
        """The number of dimensions."""
        return self._a.ndim

    def dim(self):
        """The number of dimensions."""
        return self._a.ndim

    ndimension = dim

    def numel(self):
        """The number of elements."""
        return self._a.size

    nelement = numel

    @property
    def dtype(self):
        """The element type."""
        return dtypes._from_np[self._a.dtype]

    @property
    def device(self):
        """Where the elements are."""
        return devices.of(self._a)

    @property
    def layout(self):
        """Always ``strided``: there are no sparse tensors."""
        return strided

    @property
    def itemsize(self):
        """Bytes of an element."""
        return self._a.itemsize

    def element_size(self):
        """Bytes of an element."""
        return self._a.itemsize

    @property
    def nbytes(self):
        """Bytes of all elements."""
        return self._a.nbytes

    is_sparse = is_quantized = is_meta = is_mps = is_nested = is_mkldnn = is_xpu = False
    is_cuda = property(lambda self: self._a.__class__ is DeviceArray, doc="True for a tensor on a CUDA device.")
    is_cpu = property(lambda self: self._a.__class__ is not DeviceArray, doc="True for a tensor in the host's memory.")
    names = property(lambda self: (None,) * self._a.ndim, doc="One None a dimension: dimensions have no names.")

    def get_device(self):
        """The index of the CUDA device; -1 for a CPU tensor."""
        return self._a.device if self._a.__class__ is DeviceArray else -1

    def is_floating_point(self):
        """True for float16, bfloat16, float32, float64."""
        return self.dtype.is_floating_point

    def is_complex(self):
        """True for complex64 and complex128."""
        return self._a.dtype.kind == "c"

    def is_signed(self):
        """True unless the dtype is bool or uint8."""
        return self.dtype.is_signed

    def stride(self, dim=None):
        """Elements between neighbours, for each dimension or for ``dim``."""
        if self._a.size:
            strides = tuple(s // self._a.itemsize for s in self._a.strides)
        else:                                           # NumPy gives zeros, torch those of a contiguous tensor
            sizes = [max(n, 1) for n in self._a.shape]
            strides = tuple(math.prod(sizes[i + 1:]) for i in range(len(sizes)))
        return strides if dim is None else strides[dim]

    def storage_offset(self):
        """The first element's place in the storage."""
        return (self._a.ctypes.data - self.untyped_storage().data_ptr()) // self._a.itemsize

    def untyped_storage(self):
        """The memory that this tensor shares with its views."""
        return storage_of(self)

    storage = untyped_storage

    def data_ptr(self):
        """The address of the first element."""
        return self._a.ctypes.data

    def is_contiguous(self, memory_format=None):
        """True when the elements lie in row-major order without gaps (or in ``memory_format``'s order)."""
        if memory_format in (None, contiguous_format, preserve_format):
            return self._a.flags.c_contiguous
        if memory_format is channels_last:
            return self._a.ndim == 4 and self._a.transpose(0, 2, 3, 1).flags.c_contiguous
        raise NotImplementedError(f"is_contiguous: memory format {memory_format} is not built; use torch.contiguous_format")

    def is_set_to(self, tensor):
        """True when both are the same view of the same memory."""
        a, b = self._a, tensor._a
        return a.ctypes.data == b.ctypes.data and a.shape == b.shape and a.strides == b.strides and a.dtype == b.dtype

    def is_inference(self):
        """True for a tensor made inside ``inference_mode``."""
        return self._inference

    def is_shared(self):
        """True for a tensor in memory that processes share."""
        return storage_of(self).is_shared()

    def share_memory_(self):
        """Moves the memory, and all tensors on it, to where other processes can see it; returns the tensor itself.

        Forked processes see it as it is, others when the tensor is sent to them by ``numtorch.multiprocessing``.
        """
        from .multiprocessing._memory import share

        share(self)
        return self

    def __len__(self):
        if self._a.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self._a.shape[0]

    # ---- values ------------------------------------------------------------------------------------------------------

    def item(self):
        """The only element, as a Python number; RuntimeError if there are more or none."""
        if self._a.size != 1:
            raise RuntimeError(f"a Tensor with {self._a.size} elements cannot be converted to Scalar")
        value = self._a.item()
        return value if type(value) is not _bfloat16 else float(value)

    def tolist(self):
        """The elements as nested lists; a number for a 0-dim tensor."""
        a = self._a if self._a.__class__ is np.ndarray else self._a.on_host()
        return (a.astype(np.float32) if a.dtype == _bfloat16 else a).tolist()

    def numpy(self, *, force=False):
        """The elements as an ndarray on the same memory.

        Args:
            force (bool): detach first, where the tensor requires a gradient.

        Raises:
            RuntimeError: the tensor requires a gradient, and ``force`` is not set.
        """
        if self._rg and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self._a.__class__ is DeviceArray:
            if not force:
                raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
                                "to host memory first.")
            return self.detach().cpu().numpy()
        if self._a.dtype == _bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._a

    def __array__(self, dtype=None, copy=None):
        array = self.numpy()
        if dtype is None or dtype == array.dtype:
            return array.copy() if copy else array
        if copy is False:
            raise ValueError(f"a copy is needed to convert {array.dtype} to {dtype}")
        return array.astype(dtype)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """A DLPack capsule on the tensor's memory; see ``numtorch.utils.dlpack.to_dlpack``."""
        from .utils.dlpack import to_dlpack

        return to_dlpack(self.clone() if copy else self, stream)

    def __dlpack_device__(self):
        """DLPack's numbers of the device: its type and its index."""
        from .utils.dlpack import device_of

        return device_of(self)

    @property
    def __cuda_array_interface__(self):
        """The attributes of a CUDA tensor by which Numba and CuPy use its memory; AttributeError for other tensors."""
        from .utils.dlpack import cuda_array_interface

        return cuda_array_interface(self)

    def __bool__(self):
        if self._a.size != 1:
            if self._a.size == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self._a.item())

    def _number(self, kind):
        if self._a.size != 1:
            raise RuntimeError(f"a Tensor with {self._a.size} elements cannot be converted to Scalar")
        return kind(self._a.item())

    def __float__(self):
        return self._number(float)

    def __int__(self):
        return self._number(int)

    def __complex__(self):
        return self._number(complex)

    def __index__(self):
        if self._a.dtype.kind not in "iub" or self._a.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self._a.item())

    def __contains__(self, element):
        if isinstance(element, (Tensor, int, float, complex, bool, np.generic)):
            value = element._a if isinstance(element, Tensor) else element
            return bool((self._a == value).any())
        raise RuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")

    def __repr__(self, *, tensor_contents=None):
        from ._tensor_str import tensor_repr

        return tensor_repr(self, tensor_contents=tensor_contents)

    def __format__(self, spec):
        from ._tensor_str import tensor_format

        return tensor_format(self, spec)

    # ---- the tape ----------------------------------------------------------------------------------------------------

    @property
    def requires_grad(self):
        """Whether a gradient is computed for this tensor."""
        return self._rg

    @requires_grad.setter
    def requires_grad(self, value):
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad=True):
        """Sets whether a gradient is computed for this leaf; returns the tensor itself.

        Raises:
            RuntimeError: the dtype is not floating or complex, or the tensor is not a leaf.
        """
        if requires_grad and self._a.dtype.kind not in "fcV" and self._a.dtype != _bfloat16:
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        if not requires_grad and grad_fn_of(self) is not None:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
                "subgraph that doesn't require differentiation use var_no_grad = var.detach().")
        if requires_grad and self._inference and not mode.inference:
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
        self._rg = bool(requires_grad)
        return self

    @property
    def is_leaf(self):
        """True for a tensor that no recorded operation made."""
        return grad_fn_of(self) is None

    @property
    def grad_fn(self):
        """The node of the operation that made this tensor; None for a leaf."""
        return grad_fn_of(self)

    @property
    def output_nr(self):
        """Which output of ``grad_fn`` this is."""
        return self._nr

    @property
    def grad(self):
        """The gradient accumulated by ``backward``; None before, and for tensors that keep none."""
        if self._grad is None and self._fn is not None and self._rg and not self._retains:
            import warnings

            warnings.warn("The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute "
                          "won't be populated during autograd.backward(). If you indeed want the .grad field to be populated "
                          "for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.", UserWarning, stacklevel=2)
        return self._grad

    @grad.setter
    def grad(self, value):
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}")
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._a.dtype != self._a.dtype:
                raise RuntimeError(f"attempting to assign a gradient with dtype '{value.dtype}' to a tensor with dtype "
                                   f"'{self.dtype}'. The gradient must match the tensor's dtype.")
            if value._a.shape != self._a.shape:
                raise RuntimeError(f"assigned grad has data of a different size: expected {list(self.shape)}, "
                                   f"got {list(value.shape)}")
        self._grad = value

    @grad.deleter
    def grad(self):
        self._grad = None

    @property
    def data(self):
        """This tensor's memory as a tensor without history; assigning replaces memory, shape and dtype."""
        found = wrap(self._a)
        found.__class__ = Tensor
        return found

    @data.setter
    def data(self, value):
        self._a = value._a
        self._storage = value._storage

    @property
    def _version(self):
        return 0 if self._storage is None else self._storage.version

    @property
    def is_view(self):
        return self._base is not None

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Adds the gradient of this tensor with respect to the graph's leaves to their ``.grad``.

        Args:
            gradient (Tensor): the gradient with respect to this tensor; may be left out for one element.
            retain_graph (bool): keep what was saved, to go backward again; default ``create_graph``.
            create_graph (bool): record the backward pass, for higher derivatives.
            inputs (Tensors): accumulate into these only.
        """
        from .autograd import backward

        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def detach(self):
        """A tensor on the same memory, without history."""
        found = wrap(self._a)
        found._storage = storage_of(self)
        return found

    def detach_(self):
        """Removes this tensor's history; it becomes a leaf. RuntimeError for a view."""
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._fn, self._rg, self._nr = None, False, 0
        return self

    def retain_grad(self):
        """Keeps the gradient of this non-leaf tensor in ``.grad`` when backward passes it."""
        if not self._rg:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        node = grad_fn_of(self)
        if node is not None and not self._retains:
            self._retains = True
            RemovableHandle(node._hook_table("retain"), (self._nr, weakref.ref(self)))

    @property
    def retains_grad(self):
        """True after ``retain_grad`` on a non-leaf."""
        return self._retains

    def _hook_table(self, name):
        if self._hooks is None:
            self._hooks = {}
        return self._hooks.setdefault(name, {})

    def register_hook(self, hook):
        """Calls ``hook(grad)`` when the gradient of this tensor is computed; a tensor it returns replaces it.

        Returns a handle whose ``remove()`` takes the hook away.
        """
        if not self._rg:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        node = grad_fn_of(self)
        if node is None:
            return RemovableHandle(self._hook_table("tensor"), hook)
        table = node._hook_table("tensor")
        handle = RemovableHandle(table, hook)
        table[handle.id] = (self._nr, hook)
        return handle

    def register_post_accumulate_grad_hook(self, hook):
        """Calls ``hook(tensor)`` after a gradient was added to this leaf's ``.grad``."""
        if not self._rg:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if grad_fn_of(self) is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return RemovableHandle(self._hook_table("post"), hook)

    # ---- copies ------------------------------------------------------------------------------------------------------

    def __deepcopy__(self, memo):
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at "
                               "the moment.  If you were attempting to deepcopy a module, this may be because of a "
                               "torch.nn.utils.weight_norm usage, see "
                               "https://github.com/pytorch/pytorch/pull/103001")
        if id(self) in memo:
            return memo[id(self)]
        found = new(type(self))
        found._a = _copy_memory(self, memo)
        found._rg = self._rg
        if self._grad is not None:
            found._grad = self._grad.__deepcopy__(memo)
        memo[id(self)] = found
        for name, value in self.__dict__.items():
            if name not in _OWN_ATTRIBUTES:
                import copy

                setattr(found, name, copy.deepcopy(value, memo))
        return found

    def __reduce_ex__(self, protocol):
        user = {k: v for k, v in self.__dict__.items() if k not in _OWN_ATTRIBUTES}
        return (_rebuild, (type(self), self._a, self._rg, user))

    __torch_function__ = None


_OWN_ATTRIBUTES = frozenset(("_a", "_storage", "_rg", "_fn", "_nr", "_grad", "_base", "_seen_rebased", "_hooks",
                             "_accumulate", "_saved_output", "_inference", "_retains", "_made"))
_bfloat16 = dtypes.bfloat16._np.type


def _rebuild(cls, array, requires_grad, user):
    dtype = dtypes.own_numpy_dtype(array.dtype)
    found = new(cls)
    found._a, found._rg = array if array.dtype is dtype else array.view(dtype), requires_grad
    found.__dict__.update(user)
    return found


def _copy_memory(tensor, memo):
    """A copy of a tensor's memory, once for all its views in ``memo``, seen through the same strides."""
    a = tensor._a
    if tensor._storage is None:
        return a.copy()
    old = tensor._storage.array
    copied = memo.get(("memory", id(old)))
    if copied is None:
        copied = memo["memory", id(old)] = old.copy(order="K")
    if copied.strides != old.strides or copied.dtype.hasobject:
        return a.copy()
    offset = a.ctypes.data - old.ctypes.data
    if a.__class__ is DeviceArray:
        from .kernels._device import strided_view

        return strided_view(copied.reshape(-1).view(np.uint8)[offset:][:a.itemsize].view(a.dtype), a.shape, a.strides)
    flat = np.ndarray((copied.nbytes,), np.uint8, copied.reshape(-1, order="A").view(np.uint8))
    return np.ndarray(a.shape, a.dtype, flat, offset, a.strides)


# ---- making tensors, and finding their place on the tape ---------------------------------------------------------------

def wrap(array):
    """A tensor on ``array``, without history."""
    t = new(Tensor)
    # arithmetic on 0-dim arrays gives NumPy scalars, and kernels read the header of an ndarray
    t._a = array if array.__class__ is np.ndarray or array.__class__ is DeviceArray else np.asarray(array)
    if mode.inference:
        t._inference = True
    return t


def storage_of(tensor):
    """The tensor's Storage, made now if there was no need of one before."""
    storage = tensor._storage
    if storage is None:
        storage = tensor._storage = Storage(tensor._a)
    return storage


def grad_fn_of(tensor):
    """The node that made ``tensor``; a view whose memory's history was rewritten gets a new one first."""
    if tensor._base is not None:
        refresh(tensor)
    return tensor._fn


def refresh(view):
    """Gives a view its place in the history of its base, if a recorded in-place write has changed that history."""
    storage = view._storage
    if storage is not None and view._seen_rebased != storage.rebased:
        from .ops.inplace import regenerate

        regenerate(view)


def edge_of(tensor):
    """Where a gradient of ``tensor`` goes: its node, itself for a leaf that wants one, or None."""
    if not tensor._rg:
        if tensor._base is None:
            return None
        refresh(tensor)
        return tensor._fn
    if tensor._base is not None:
        refresh(tensor)
    return tensor if tensor._fn is None else tensor._fn


class layout:
    """How elements are laid out; ``torch.strided`` is the only one."""

    def __repr__(self):
        return "torch.strided"


class memory_format:
    """An order of dimensions in memory: torch.contiguous_format, preserve_format, channels_last, channels_last_3d."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"torch.{self.name}"


strided = layout()
contiguous_format, preserve_format = memory_format("contiguous_format"), memory_format("preserve_format")
channels_last, channels_last_3d = memory_format("channels_last"), memory_format("channels_last_3d")
