"""Messages from one process to another, and what is built on them."""
import time

import numpy as np

from ..tensor import Tensor, wrap
from ._collectives import check_tensor, rank_in
from ._world import get_global_rank, outside, resolve
from .constants import DistBackendError, seconds

_BARRIER = -2       # tags below 0 are not the user's


def _receiver(group, dst, group_dst, tensor, tag):
    check_tensor(tensor, "tensor")
    group = resolve(group)
    rank = rank_in(group, dst, group_dst, "dst")
    if rank == group.rank():
        raise ValueError("Invalid destination rank: destination rank should not be the same as the rank of the current process.")
    _check("dst", rank, group, tag)
    return group, rank


def _check(name, rank, group, tag):
    if not 0 <= rank < group.size():
        raise ValueError(f"Invalid {name} rank: expected one from 0 to {group.size() - 1}, but got {rank}")
    if tag < 0:
        raise ValueError(f"expected a tag of at least 0, but got {tag}")


def isend(tensor, dst=None, group=None, tag=0, group_dst=None):
    """Sends ``tensor`` to another process.

    Args:
        tensor (Tensor): is copied at once.
        dst, group_dst (int): a rank of all processes, or of the group.
        group (ProcessGroup): default all processes.
        tag (int): matched with that of the receiver.

    Returns:
        Work; None in a process outside the group.
    """
    if outside(group, "isend"):
        return None
    group, rank = _receiver(group, dst, group_dst, tensor, tag)
    return group.send(tensor, rank, tag)


def send(tensor, dst=None, group=None, tag=0, group_dst=None):
    """``isend``, and waits as long as much is on its way to that process."""
    work = isend(tensor, dst, group, tag, group_dst)
    if work is not None:
        work.wait()


def irecv(tensor, src=None, group=None, tag=0, group_src=None):
    """Receives from another process.

    Args:
        tensor (Tensor): is written, once the Work was waited for.
        src, group_src (int): a rank of all processes, or of the group; None: from whoever sends first.
        group (ProcessGroup): default all processes.
        tag (int): matched with that of the sender.

    Returns:
        Work; None in a process outside the group.
    """
    check_tensor(tensor, "tensor")
    if outside(group, "irecv"):
        return None
    group = resolve(group)
    rank = None
    if src is not None or group_src is not None:
        rank = rank_in(group, src, group_src, "src")
        if rank == group.rank():
            raise ValueError("Invalid source rank: source rank should not be the same as the rank of the current process.")
    _check("src", 0 if rank is None else rank, group, tag)
    return group.recv(tensor, rank, tag)


def recv(tensor, src=None, group=None, tag=0, group_src=None):
    """Receives from another process, as ``irecv``; returns the rank that has sent, -1 outside the group."""
    work = irecv(tensor, src, group, tag, group_src)
    if work is None:
        return -1
    work.wait()
    return get_global_rank(group, work.source_rank())


class P2POp:
    """A send or receive for ``batch_isend_irecv``.

    Args:
        op (callable): ``isend`` or ``irecv``.
        tensor, peer, group, tag, group_peer: its arguments.
    """

    def __init__(self, op, tensor, peer=None, group=None, tag=0, group_peer=None):
        if op not in (isend, irecv):
            raise ValueError("Invalid ``op``. Expected ``op`` to be of type ``torch.distributed.isend`` or "
                             "``torch.distributed.irecv``.")
        check_tensor(tensor, "tensor")
        self.op, self.tensor, self.group, self.tag = op, tensor, resolve(group), tag
        self.group_peer = rank_in(self.group, peer, group_peer, "dst" if op is isend else "src")
        self.peer = get_global_rank(self.group, self.group_peer)

    def __repr__(self):
        return (f"P2POp({self.op.__name__} pg={self.group.group_name}, group_peer={self.group_peer}, peer={self.peer}, "
                f"{tuple(self.tensor.shape)}, {self.tensor.dtype})")


def batch_isend_irecv(p2p_op_list):
    """Begins all sends and receives of a list of P2POp; returns their Works."""
    if not isinstance(p2p_op_list, list) or not all(isinstance(op, P2POp) for op in p2p_op_list):
        raise ValueError("Invalid ``p2p_op_list``. Each op is expected to to be of type ``torch.distributed.P2POp``.")
    if not p2p_op_list:
        raise ValueError("Invalid ``p2p_op_list``: it is empty")
    if len({id(op.group) for op in p2p_op_list}) > 1:
        raise ValueError("All ops need to use the same group.")
    # isend copies at once, so that a tensor which one op sends and the next receives is sent first, as in the list
    return [op.op(op.tensor, group=op.group, tag=op.tag, **{"group_dst" if op.op is isend else "group_src": op.group_peer})
            for op in p2p_op_list]


def monitored_barrier(group=None, timeout=None, wait_all_ranks=False):
    """A barrier that says which processes have not come.

    Args:
        group (ProcessGroup): default all processes.
        timeout (timedelta): how long rank 0 waits for the others; default the group's.
        wait_all_ranks (bool): name all that have not come, instead of the first.

    Raises:
        RuntimeError: names them; in the others, rank 0 has not answered.
    """
    if outside(group, "monitored_barrier"):
        return
    group = resolve(group)
    limit = group._seconds if timeout is None else seconds(timeout, "monitored_barrier")
    token, end = wrap(np.zeros(1, np.uint8)), time.monotonic() + limit
    if group.rank():
        group.send(token, 0, _BARRIER)
        group.recv(token, 0, _BARRIER).wait(2 * limit)
        return
    late = []
    for rank in range(1, group.size()):
        try:
            group.recv(Tensor([0]).byte(), rank, _BARRIER).wait(max(end - time.monotonic(), 0))
        except DistBackendError:
            late.append(rank)
            if not wait_all_ranks:
                break
    if late:
        ranks = f"Rank {late[0]}" if len(late) == 1 else f"Ranks {', '.join(map(str, late))}"
        raise DistBackendError(f"[Rank 0]: {ranks} failed to pass monitoredBarrier in {round(limit * 1000)} ms")
    for rank in range(1, group.size()):
        group.send(token, rank, _BARRIER)
