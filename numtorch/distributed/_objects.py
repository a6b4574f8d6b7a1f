"""Collective operations on any objects that can be pickled."""
import pickle

import numpy as np

from ..tensor import wrap
from ._collectives import rank_in
from ._world import outside, resolve


def _packed(obj):
    """(the pickle as a tensor of bytes, its length as one)."""
    data = np.frombuffer(pickle.dumps(obj), np.uint8).copy()
    return wrap(data), wrap(np.array([data.size], np.int64))


def _bytes(n):
    return wrap(np.empty(int(n), np.uint8))


def _unpacked(data, n):
    return pickle.loads(data._a[:int(n)].tobytes())


def _padded(data, n):
    found = _bytes(n)
    found._a[:data._a.size] = data._a
    found._a[data._a.size:] = 0
    return found


def _lengths(group, length):
    found = [wrap(np.empty(1, np.int64)) for _ in range(group.size())]
    group.allgather(found, length).wait()
    return [int(t._a[0]) for t in found]


def all_gather_object(object_list, obj, group=None):
    """Puts ``obj`` of each process at ``object_list[rank]`` of all.

    Args:
        object_list (list): as long as there are processes; is filled.
        obj: what can be pickled.
        group (ProcessGroup): default all processes.
    """
    if outside(group, "all_gather_object"):
        return
    group = resolve(group)
    data, length = _packed(obj)
    lengths = _lengths(group, length)
    parts = [_bytes(max(lengths)) for _ in lengths]
    group.allgather(parts, _padded(data, max(lengths))).wait()
    for i, (part, n) in enumerate(zip(parts, lengths)):
        object_list[i] = _unpacked(part, n)


def gather_object(obj, object_gather_list=None, dst=None, group=None, group_dst=None):
    """Puts ``obj`` of each process at ``object_gather_list[rank]`` of process ``dst``.

    Args:
        obj: what can be pickled.
        object_gather_list (list): at ``dst``, as long as there are processes; None elsewhere.
        dst, group_dst (int): a rank of all processes, or of the group; default 0.
        group (ProcessGroup): default all processes.
    """
    if outside(group, "gather_object"):
        return
    group = resolve(group)
    root = rank_in(group, dst, group_dst, "dst", 0)
    mine = root == group.rank()
    if mine and not object_gather_list:
        raise ValueError("Argument ``object_gather_list`` must be specified on destination rank.")
    data, length = _packed(obj)
    lengths = _lengths(group, length)
    parts = [_bytes(max(lengths)) for _ in lengths] if mine else None
    group.gather(parts, _padded(data, max(lengths)), root).wait()
    for i, n in enumerate(lengths if mine else ()):
        object_gather_list[i] = _unpacked(parts[i], n)


def broadcast_object_list(object_list, src=None, group=None, device=None, group_src=None):
    """Replaces the objects of ``object_list`` in all processes by those of process ``src``.

    Args:
        object_list (list): of one length in all.
        src, group_src (int): a rank of all processes, or of the group; default 0.
        group (ProcessGroup): default all processes.
        device: the CPU.
    """
    if outside(group, "broadcast_object_list"):
        return
    group = resolve(group)
    root = rank_in(group, src, group_src, "src", 0)
    mine = root == group.rank()
    packed = [_packed(obj) for obj in object_list] if mine else ()
    lengths = wrap(np.array([n._a[0] for _, n in packed] if mine else [0] * len(object_list), np.int64))
    group.broadcast(lengths, root).wait()
    data = _bytes(lengths._a.sum())
    if mine and packed:
        data._a[:] = np.concatenate([d._a for d, _ in packed])
    group.broadcast(data, root).wait()
    begin = 0
    for i, n in enumerate(lengths._a.tolist()):
        if not mine:
            object_list[i] = pickle.loads(data._a[begin:begin + n].tobytes())
        begin += n


def scatter_object_list(scatter_object_output_list, scatter_object_input_list=None, src=None, group=None, group_src=None):
    """Puts ``scatter_object_input_list[rank]`` of process ``src`` at ``scatter_object_output_list[0]`` of each process.

    Args:
        scatter_object_output_list (list): not empty; its first entry is set.
        scatter_object_input_list (list): at ``src``, as long as there are processes.
        src, group_src (int): a rank of all processes, or of the group; default 0.
        group (ProcessGroup): default all processes.
    """
    if outside(group, "scatter_object_list"):
        return
    if not isinstance(scatter_object_output_list, list) or len(scatter_object_output_list) < 1:
        raise ValueError("Expected argument scatter_object_output_list to be a list of size at least 1.")
    group = resolve(group)
    root = rank_in(group, src, group_src, "src", 0)
    mine = root == group.rank()
    if mine and (not scatter_object_input_list or len(scatter_object_input_list) != group.size()):
        raise ValueError(f"scatter_object_list expects {group.size()} objects in scatter_object_input_list on source rank")
    packed = [_packed(obj) for obj in scatter_object_input_list] if mine else ()
    lengths = wrap(np.array([n._a[0] for _, n in packed] if mine else [0] * group.size(), np.int64))
    group.broadcast(lengths, root).wait()
    longest = int(lengths._a.max())
    data = _bytes(longest)
    group.scatter(data, [_padded(d, longest) for d, _ in packed] if mine else None, root).wait()
    scatter_object_output_list[0] = _unpacked(data, lengths._a[group.rank()])


def send_object_list(object_list, dst=None, group=None, device=None, group_dst=None, use_batch=False):
    """Sends the objects of a list to another process, which calls ``recv_object_list``.

    Args:
        object_list (list): what can be pickled.
        dst, group_dst (int): a rank of all processes, or of the group.
        group (ProcessGroup): default all processes.
        device: the CPU.
        use_batch (bool): for NCCL; the same here.
    """
    from ._messages import send

    if outside(group, "send_object_list"):
        return
    packed = [_packed(obj) for obj in object_list]
    lengths = wrap(np.array([n._a[0] for _, n in packed], np.int64))
    send(lengths, dst, group, group_dst=group_dst)
    send(wrap(np.concatenate([d._a for d, _ in packed] or [np.empty(0, np.uint8)])), dst, group, group_dst=group_dst)


def recv_object_list(object_list, src=None, group=None, device=None, group_src=None, use_batch=False):
    """Replaces the objects of a list by those that another process has sent with ``send_object_list``.

    Args:
        object_list (list): of the length of the sender's.
        src, group_src (int): a rank of all processes, or of the group; None: from whoever sends first.
        group (ProcessGroup): default all processes.
        device: the CPU.
        use_batch (bool): for NCCL; the same here.

    Returns:
        int: the rank that has sent; -1 outside the group.
    """
    from ._messages import recv

    if outside(group, "recv_object_list"):
        return -1
    lengths = wrap(np.empty(len(object_list), np.int64))
    source = recv(lengths, src, group, group_src=group_src)
    data = _bytes(lengths._a.sum())
    recv(data, source, group)
    begin = 0
    for i, n in enumerate(lengths._a.tolist()):
        object_list[i] = pickle.loads(data._a[begin:begin + n].tobytes())
        begin += n
    return source
