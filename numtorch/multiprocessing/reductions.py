"""How tensors and their memory are pickled on the way to another process: by descriptor, never by value.

A pickle names each file once, so that views in one message stay views; a process maps each file once, so that tensors of
several messages share memory, too.
"""
from multiprocessing import reduction

from ..dtypes import own_numpy_dtype
from ..nn.parameter import Parameter
from ..storage import Storage, root_of
from ..tensor import _OWN_ATTRIBUTES, Tensor, grad_fn_of, new
from . import _descriptors
from ._memory import Segment, seen, share

__all__ = ["init_reductions", "rebuild_storage", "rebuild_tensor", "reduce_storage", "reduce_tensor"]


def reduce_tensor(tensor):
    """How a Tensor or Parameter is pickled: its memory moves to a shared file, and the receiver gets a view of that.

    Args:
        tensor (Tensor): a leaf, or a tensor that needs no gradient.

    Raises:
        RuntimeError: the tensor has a history, which cannot cross processes.
    """
    if tensor._rg and grad_fn_of(tensor) is not None:
        raise RuntimeError("Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not support "
                           "crossing process boundaries.  If you just want to transfer the data, call detach() on the tensor "
                           "before serializing (e.g., putting it on the queue).")
    share(tensor)
    array = tensor._a
    root = root_of(array)
    offset = array.ctypes.data - root.ctypes.data if array.size else 0
    user = {k: v for k, v in tensor.__dict__.items() if k not in _OWN_ATTRIBUTES}
    return rebuild_tensor, (type(tensor), *_block(root), array.dtype, array.shape, array.strides, offset, tensor._rg, user)


def rebuild_tensor(cls, segment, place, root_dtype, count, dtype, shape, strides, offset, requires_grad, user):
    """The tensor that ``reduce_tensor`` was given, on the same memory."""
    root = segment.root(place, own_numpy_dtype(root_dtype), count)
    found = new(cls)
    found._a, found._rg = seen(root, own_numpy_dtype(dtype), shape, strides, offset), requires_grad
    found.__dict__.update(user)
    return found


def reduce_storage(storage):
    """How a Storage is pickled: as the file that its memory is on."""
    storage.share_memory_()
    return rebuild_storage, _block(storage.array)


def rebuild_storage(segment, place, dtype, count):
    """A Storage on the same memory."""
    return Storage(segment.root(place, own_numpy_dtype(dtype), count))


def _block(root):
    segment = root.base
    return segment, root.ctypes.data - segment.address, root.dtype, root.size


def _reduce_segment(segment):
    return _rebuild_segment, (_descriptors.on_its_way(segment),)


def _rebuild_segment(descriptor):
    try:
        fd = descriptor.detach()
    except (FileNotFoundError, ConnectionError, EOFError) as error:
        raise ConnectionResetError(
            "the process that sent a tensor ended before the tensor was received. Its memory is handed over when the "
            "receiver takes it: let the sender live until then (for instance, get() before join())") from error
    return Segment.of(fd)


def init_reductions():
    """Tells the pickler of ``multiprocessing`` how tensors travel; importing ``numtorch.multiprocessing`` does it."""
    for cls in (Tensor, Parameter):
        reduction.ForkingPickler.register(cls, reduce_tensor)
    reduction.ForkingPickler.register(Storage, reduce_storage)
    reduction.ForkingPickler.register(Segment, _reduce_segment)
    _descriptors.init()
