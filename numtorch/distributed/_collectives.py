"""Operations in which all processes of a group take part, on tensors."""
from ..ops.create import empty
from ..tensor import Tensor
from ._world import get_group_rank, outside, resolve
from .process_group import ReduceOp

WHO = "ProcessGroupGloo::"


def check_tensor(value, name):
    """torch's TypeError where an argument is no Tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"Invalid function argument. Expected parameter `{name}` of type torch.Tensor\n"
                        f"             but got {type(value)} instead.")


def check_tensors(value, name):
    """torch's TypeError where an argument is no list of Tensors."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(t, Tensor) for t in value):
        elements = [type(t) for t in value] if isinstance(value, (list, tuple)) else type(value)
        raise TypeError(f"Invalid function argument. Expected parameter `{name}` of type List[torch.Tensor]\n"
                        f"             but got {type(value)} with elements of type {elements}.")


def _one_dtype(*tensors):
    for t in tensors[1:]:
        if t.dtype is not tensors[0].dtype:
            raise ValueError(f"Invalid usage of tensors with different dtypesFound {tensors[0].dtype} and  {t.dtype}")


def _one_size(name, tensors, like, count, what):
    """The tensors have the shape and dtype of ``like``, and there are ``count``."""
    if len(tensors) != count:
        raise RuntimeError(f"{WHO}{name}: invalid {what} tensor list at index 0 (expected length {count}, got {len(tensors)})")
    _one_dtype(*tensors, like)
    for i, t in enumerate(tensors):
        if t.numel() != like.numel():
            raise RuntimeError(f"{WHO}{name}: invalid tensor size at index {i} (expected ({', '.join(map(str, like.shape))}), "
                               f"got ({', '.join(map(str, t.shape))}))")


def rank_in(group, rank, group_rank, name, default=None):
    """The rank within ``group`` that two arguments give: one of all processes, or one of the group."""
    if rank is not None and group_rank is not None:
        raise ValueError(f"Can't specify both group_{name} and {name}")
    if group_rank is not None:
        return group_rank
    if rank is None:
        rank = default
    if rank is None:
        raise ValueError(f"Must specify {name} or group_{name}")
    return rank if group.group_name == "0" else get_group_rank(group, rank)


def _check_root(name, root, group):
    if not 0 <= root < group.size():
        raise RuntimeError(f"{WHO}{name}: invalid root rank: {root}")


def finished(work, async_op):
    """The Work of an asynchronous operation; waits for another."""
    if async_op:
        return work
    work.wait()
    return None


def all_reduce(tensor, op=ReduceOp.SUM, group=None, async_op=False):
    """Replaces ``tensor``, in all processes, by the sum (or another reduction) of all processes' tensors.

    Args:
        tensor (Tensor): of one shape and dtype in all.
        op (ReduceOp): SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR. All processes get the same bits.
        group (ProcessGroup): default all processes.
        async_op (bool): return a Work at once, to ``wait()`` for.

    Raises:
        RuntimeError: a process has ended, is late, or is in another operation.
    """
    check_tensor(tensor, "tensor")
    if outside(group, "all_reduce"):
        return None
    return finished(resolve(group).allreduce(tensor, op, async_op), async_op)


def reduce(tensor, dst=None, op=ReduceOp.SUM, group=None, async_op=False, group_dst=None):
    """Replaces ``tensor``, in process ``dst`` only, by the sum (or another reduction) of all processes' tensors.

    Args:
        tensor, op, group, async_op: as for ``all_reduce``.
        dst, group_dst (int): a rank of all processes, or of the group.
    """
    check_tensor(tensor, "tensor")
    if outside(group, "reduce"):
        return None
    group = resolve(group)
    root = rank_in(group, dst, group_dst, "dst")
    _check_root("reduce", root, group)
    return finished(group.reduce(tensor, root, op, async_op), async_op)


def broadcast(tensor, src=None, group=None, async_op=False, group_src=None):
    """Copies ``tensor`` of process ``src`` to that of all others.

    Args:
        tensor (Tensor): of one shape and dtype in all.
        src, group_src (int): a rank of all processes, or of the group.
        group, async_op: as for ``all_reduce``.
    """
    check_tensor(tensor, "tensor")
    if outside(group, "broadcast"):
        return None
    group = resolve(group)
    root = rank_in(group, src, group_src, "src")
    _check_root("broadcast", root, group)
    return finished(group.broadcast(tensor, root, async_op), async_op)


def all_gather(tensor_list, tensor, group=None, async_op=False):
    """Copies ``tensor`` of each process to ``tensor_list[rank]`` of all.

    Args:
        tensor_list (list of Tensor): as many as there are processes.
        tensor (Tensor): of one shape and dtype in all.
        group, async_op: as for ``all_reduce``.
    """
    check_tensors(tensor_list, "tensor_list")
    check_tensor(tensor, "tensor")
    if outside(group, "all_gather"):
        return None
    group = resolve(group)
    _one_size("allgather", tensor_list, tensor, group.size(), "output")
    return finished(group.allgather(tensor_list, tensor, async_op), async_op)


def all_gather_into_tensor(output_tensor, input_tensor, group=None, async_op=False):
    """Copies ``input_tensor`` of all processes, one after another (or stacked), to ``output_tensor`` of all.

    Args:
        output_tensor (Tensor): of as many elements as all inputs together.
        input_tensor (Tensor): of one shape and dtype in all.
        group, async_op: as for ``all_reduce``.
    """
    check_tensor(input_tensor, "input_tensor")
    check_tensor(output_tensor, "output_tensor")
    if outside(group, "all_gather_into_tensor"):
        return None
    group = resolve(group)
    parts = _parts("all_gather_into_tensor", output_tensor, input_tensor, group.size(), "output")
    return finished(group.allgather(parts, input_tensor, async_op), async_op)


def gather(tensor, gather_list=None, dst=None, group=None, async_op=False, group_dst=None):
    """Copies ``tensor`` of each process to ``gather_list[rank]`` of process ``dst``.

    Args:
        tensor (Tensor): of one shape and dtype in all.
        gather_list (list of Tensor): at ``dst``, as many as there are processes; None elsewhere.
        dst, group_dst (int): a rank of all processes, or of the group; default 0.
        group, async_op: as for ``all_reduce``.
    """
    check_tensor(tensor, "tensor")
    if outside(group, "gather"):
        return None
    group = resolve(group)
    root = rank_in(group, dst, group_dst, "dst", 0)
    _check_root("gather", root, group)
    _for_root("gather_list", gather_list, root == group.rank(), "destination")
    if root == group.rank():
        check_tensors(gather_list, "gather_list")
        _one_size("gather", gather_list, tensor, group.size(), "output")
    return finished(group.gather(gather_list, tensor, root, async_op), async_op)


def scatter(tensor, scatter_list=None, src=None, group=None, async_op=False, group_src=None):
    """Copies ``scatter_list[rank]`` of process ``src`` to ``tensor`` of each process.

    Args:
        tensor (Tensor): of one shape and dtype in all.
        scatter_list (list of Tensor): at ``src``, as many as there are processes; None elsewhere.
        src, group_src (int): a rank of all processes, or of the group; default 0.
        group, async_op: as for ``all_reduce``.
    """
    check_tensor(tensor, "tensor")
    if outside(group, "scatter"):
        return None
    group = resolve(group)
    root = rank_in(group, src, group_src, "src", 0)
    _check_root("scatter", root, group)
    _for_root("scatter_list", scatter_list, root == group.rank(), "source")
    if root == group.rank():
        check_tensors(scatter_list, "scatter_list")
        _one_size("scatter", scatter_list, tensor, group.size(), "input")
    return finished(group.scatter(tensor, scatter_list, root, async_op), async_op)


def _for_root(name, value, is_root, which):
    if is_root and not value:
        raise ValueError(f"Argument ``{name}`` must be specified on {which} rank.")
    if not is_root and value:
        raise ValueError(f"Argument ``{name}`` must NOT be specified on non-{which} ranks.")


def reduce_scatter(output, input_list, op=ReduceOp.SUM, group=None, async_op=False):
    """Reduces ``input_list[i]`` over all processes into ``output`` of process i.

    Args:
        output (Tensor): of one shape and dtype in all.
        input_list (list of Tensor): as many as there are processes.
        op, group, async_op: as for ``all_reduce``.
    """
    check_tensor(output, "output")
    check_tensors(input_list, "input_list")
    if outside(group, "reduce_scatter"):
        return None
    group = resolve(group)
    _one_size("reduce_scatter", input_list, output, group.size(), "input")
    return finished(group.reduce_scatter(output, input_list, op, async_op), async_op)


def reduce_scatter_tensor(output, input, op=ReduceOp.SUM, group=None, async_op=False):
    """Reduces ``input`` over all processes, of which process i gets the i-th part in ``output``.

    Args:
        output (Tensor): of one shape and dtype in all.
        input (Tensor): of as many elements as all outputs together.
        op, group, async_op: as for ``all_reduce``.
    """
    check_tensor(output, "output")
    check_tensor(input, "input")
    if outside(group, "reduce_scatter_tensor"):
        return None
    group = resolve(group)
    parts = _parts("reduce_scatter_tensor", input, output, group.size(), "input")
    return finished(group.reduce_scatter(output, parts, op, async_op), async_op)


def _parts(name, whole, part, count, what):
    """``whole`` as ``count`` tensors on its memory, each with the elements of ``part``."""
    _one_dtype(whole, part)
    if whole.numel() != count * part.numel():
        raise ValueError(f"{name}: {what} tensor must have {count} times the elements of the other ({count * part.numel()}), but "
                         f"got {whole.numel()}")
    if not whole.is_contiguous():
        raise ValueError(f"{name}: Tensors must be contiguous")
    return list(whole.detach().view(count, -1).unbind(0)) if part.numel() else [whole.detach()] * count


def all_to_all(output_tensor_list, input_tensor_list, group=None, async_op=False):
    """Copies ``input_tensor_list[j]`` of process i to ``output_tensor_list[i]`` of process j.

    Args:
        output_tensor_list, input_tensor_list (list of Tensor): as many as there are processes; sizes may differ.
        group, async_op: as for ``all_reduce``.
    """
    check_tensors(output_tensor_list, "output_tensor_list")
    check_tensors(input_tensor_list, "input_tensor_list")
    if outside(group, "all_to_all"):
        return None
    group = resolve(group)
    _one_dtype(*output_tensor_list, *input_tensor_list)
    for name, tensors in (("output_tensor_list", output_tensor_list), ("input_tensor_list", input_tensor_list)):
        if len(tensors) != group.size():
            raise RuntimeError(f"all_to_all expects {group.size()} tensors in {name}, but got {len(tensors)}")
    return finished(group.alltoall(output_tensor_list, input_tensor_list, async_op), async_op)


def all_to_all_single(output, input, output_split_sizes=None, input_split_sizes=None, group=None, async_op=False):
    """Copies the j-th part of ``input`` of process i to the i-th part of ``output`` of process j; parts of dimension 0.

    Args:
        output, input (Tensor): of one dtype.
        output_split_sizes, input_split_sizes (list of int): sizes of the parts; default equal ones.
        group, async_op: as for ``all_reduce``.
    """
    check_tensor(output, "output")
    check_tensor(input, "input")
    if outside(group, "all_to_all_single"):
        return None
    group = resolve(group)
    _one_dtype(output, input)
    outputs = _split("output", output, output_split_sizes, group.size())
    inputs = _split("input", input, input_split_sizes, group.size())
    return finished(group.alltoall(outputs, inputs, async_op), async_op)


def _split(name, tensor, sizes, count):
    if not sizes:
        if tensor.size(0) % count:
            raise RuntimeError("Tensor's dim 0 does not divide equally across group size")
        sizes = [tensor.size(0) // count] * count
    if len(sizes) != count:
        raise RuntimeError("Number of tensor splits not equal to group size")
    if sum(sizes) != tensor.size(0):
        raise RuntimeError("Split sizes doesn't match total dim 0 size")
    return list(tensor.detach().split(list(sizes))) if tensor.size(0) else [tensor.detach()] * count


def all_reduce_coalesced(tensors, op=ReduceOp.SUM, group=None, async_op=False):
    """``all_reduce`` of each of ``tensors``; the Work is that of the last."""
    tensors = [tensors] if isinstance(tensors, Tensor) else tensors
    check_tensors(tensors, "tensors")
    if outside(group, "all_reduce_coalesced"):
        return None
    works = [resolve(group).allreduce(t, op, async_op) for t in tensors]
    return finished(works[-1], async_op) if works else None


def barrier(group=None, async_op=False, device_ids=None, timeout=None):
    """Waits until all processes have called it.

    Args:
        group, async_op: as for ``all_reduce``.
        device_ids (list of int): of GPUs; there are none.
        timeout (timedelta): how long to wait; default the group's.
    """
    if outside(group, "barrier"):
        return None
    if device_ids is not None:
        raise TypeError("Invalid function argument: device_ids not supported for the selected backend gloo"
                        if isinstance(device_ids, list) else "Invalid function argument: device_ids type should be List[int]")
    return finished(resolve(group).barrier(timeout, async_op), async_op)


def new_like(shape, tensor):
    """An uninitialised tensor of ``shape`` with the dtype of ``tensor``."""
    return empty(shape, dtype=tensor.dtype)
