"""What makes a batch of a list of items: tensors are stacked, containers are walked, the rest is left alone."""
import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence

import numpy as np

from ...op import OPS
from ...ops.create import as_tensor, tensor
from ...tensor import Tensor, wrap

_FOUND = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def _rebuilt(data, kind, items):
    """A mapping like ``data`` with the values of the dict ``items``; a plain dict where its class cannot be filled."""
    try:
        if isinstance(data, MutableMapping):
            clone = copy.copy(data)     # keeps what a subclass holds besides its items
            clone.update(items)
            return clone
        return kind(items)
    except TypeError:
        return items


def _refilled(data, kind, items):
    """A sequence like ``data`` with the elements of the list ``items``; a plain list where its class cannot be filled."""
    try:
        if isinstance(data, MutableSequence):
            clone = copy.copy(data)
            for i, item in enumerate(items):
                clone[i] = item
            return clone
        return kind(items)
    except TypeError:
        return items


def default_convert(data):
    """Turns the NumPy arrays and numbers in ``data`` into tensors; the DataLoader's function where it makes no batches.

    Args:
        data: a tensor, an array, or a container of such; tuples become lists.

    Returns:
        the same structure. Strings, Python numbers and unknown objects stay as they are.

    >>> default_convert({"x": np.ones(2)})
    {'x': tensor([1., 1.], dtype=torch.float64)}
    """
    kind = type(data)
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        if data.dtype.kind in "SUOa":
            return data
        return as_tensor(data)
    if isinstance(data, Mapping):
        return _rebuilt(data, kind, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return kind(*(default_convert(d) for d in data))
    if isinstance(data, tuple):
        return [default_convert(d) for d in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _refilled(data, kind, [default_convert(d) for d in data])
    return data


def pinned(data):
    """``data`` with its tensors in page-locked memory; objects with a method ``pin_memory`` are asked for it."""
    kind = type(data)
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        return _rebuilt(data, kind, {key: pinned(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return kind(*(pinned(value) for value in data))
    if isinstance(data, tuple):
        return tuple(pinned(value) for value in data)
    if isinstance(data, Sequence):
        return _refilled(data, kind, [pinned(value) for value in data])
    return data.pin_memory() if hasattr(data, "pin_memory") else data


def collate(batch, *, collate_fn_map=None):
    """Makes a batch of the list ``batch`` with the functions in ``collate_fn_map``, looked up by the first item's type.

    Args:
        batch (list): items of one structure.
        collate_fn_map (dict): type, or tuple of types -> ``f(items, collate_fn_map=)``; ``default_collate_fn_map`` holds
            those of ``default_collate``.

    Raises:
        TypeError: an item's type is in the map neither by itself nor by a base, and is no container.
        RuntimeError: lists in the batch differ in length, or tensors in shape.
    """
    elem = batch[0]
    kind = type(elem)
    if collate_fn_map is not None:
        if kind in collate_fn_map:
            return collate_fn_map[kind](batch, collate_fn_map=collate_fn_map)
        for base, function in collate_fn_map.items():
            if isinstance(elem, base):
                return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(elem, Mapping):
        items = {key: collate([d[key] for d in batch], collate_fn_map=collate_fn_map) for key in elem}
        return _rebuilt(elem, kind, items)
    if isinstance(elem, tuple) and hasattr(elem, "_fields"):
        return kind(*(collate(items, collate_fn_map=collate_fn_map) for items in zip(*batch)))
    if isinstance(elem, Sequence):
        if any(len(e) != len(elem) for e in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [collate(items, collate_fn_map=collate_fn_map) for items in zip(*batch)]
        return columns if isinstance(elem, tuple) else _refilled(elem, kind, columns)
    raise TypeError(_FOUND.format(kind))


def _stack(batch, *, collate_fn_map=None):
    """Tensors of one shape, one above the other."""
    first = batch[0]._a
    shape, dtype, plain = first.shape, first.dtype, True
    for i, t in enumerate(batch):
        if t._a.shape != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                               f"{list(t._a.shape)} at entry {i}")
        plain = plain and t._a.dtype == dtype and not t._rg and type(t._a) is np.ndarray
    if not plain:
        return OPS["stack"].fn(batch, 0)
    if shape:
        return wrap(np.concatenate([t._a for t in batch]).reshape(len(batch), *shape))
    return wrap(np.array([t._a for t in batch], dtype))


def _stack_arrays(batch, *, collate_fn_map=None):
    if batch[0].dtype.kind in "SUOa":
        raise TypeError(_FOUND.format(batch[0].dtype))
    return collate([as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def _numpy_numbers(batch, *, collate_fn_map=None):
    return as_tensor(np.array(batch))


def _floats(batch, *, collate_fn_map=None):
    return wrap(np.array(batch, np.float64))


def _ints(batch, *, collate_fn_map=None):
    return tensor(list(batch))


def _as_they_are(batch, *, collate_fn_map=None):
    return batch


default_collate_fn_map = {
    Tensor: _stack, np.ndarray: _stack_arrays, (np.bool_, np.number, np.object_): _numpy_numbers,
    float: _floats, int: _ints, str: _as_they_are, bytes: _as_they_are}


def default_collate(batch):
    """Makes a batch of a list of items: tensors, arrays and numbers are stacked along a new first dimension.

    Args:
        batch (list): items of one structure: tensors, NumPy arrays, numbers, strings, or dicts, tuples and lists of these.

    Returns:
        that structure with batches in it: a tuple becomes a list, Python floats a float64 tensor, strings stay a list.

    Raises:
        TypeError: an item is of none of these types.
        RuntimeError: tensors differ in shape, or lists in length.

    >>> default_collate([(1, 0.5), (2, 1.5)])
    [tensor([1, 2]), tensor([0.5000, 1.5000], dtype=torch.float64)]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
