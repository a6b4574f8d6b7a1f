"""Which process groups this process belongs to: making them, asking about them, leaving them."""
import sys
import time
import warnings
from functools import partial
from multiprocessing import util

from ..devices import check as check_device
from . import _shm
from .constants import DistNetworkError, default_pg_timeout, seconds
from .process_group import Backend, ProcessGroup
from .rendezvous import rendezvous
from .store import MeetingFile, PrefixStore


class _Outsider:
    """What ``new_group`` gives to processes that are not in the group."""

    def __repr__(self):
        return "GroupMember.NON_GROUP_MEMBER"


class _World:
    """The groups of this process; ``made`` counts those that were made for the same ranks, which names them."""

    def __init__(self):
        self.default, self.store, self.groups, self.made = None, None, {}, {}
        self.leave_at_exit = None


world = _World()


class _GroupMeta(type):
    @property
    def WORLD(cls):
        """The default group, or None."""
        return world.default


class group(metaclass=_GroupMeta):
    """``group.WORLD``: the group of all processes."""


class GroupMember(metaclass=_GroupMeta):
    """``GroupMember.WORLD``: the group of all processes; ``NON_GROUP_MEMBER``: what those outside a new group get."""

    NON_GROUP_MEMBER = _Outsider()


# ---- what there is -----------------------------------------------------------------------------------------------------

def is_available():
    """True: process groups are built."""
    return True


def is_initialized():
    """True between ``init_process_group`` and ``destroy_process_group``."""
    return world.default is not None


def is_gloo_available():
    """True: processes of one machine can be joined under this name."""
    return True


def is_nccl_available():
    """False: there is no NCCL."""
    return False


def is_mpi_available():
    """False: there is no MPI."""
    return "mpi" in Backend._creators


def is_ucc_available():
    """False: there is no UCC."""
    return False


def is_xccl_available():
    """False: there is no XCCL."""
    return False


def is_backend_available(backend):
    """True for a backend that ``init_process_group`` takes."""
    return backend.lower() in Backend._creators


def is_torchelastic_launched():
    """False: there is no elastic launcher."""
    return False


# ---- joining and leaving -----------------------------------------------------------------------------------------------

def init_process_group(backend=None, init_method=None, timeout=None, world_size=-1, rank=-1, store=None, group_name="",
                       pg_options=None, device_id=None, _ranks=None):
    """Joins this process to the others of a program; all of them call it.

    Args:
        backend (str): "gloo" or "shm", which are the same here: processes of one machine, over memory that they share.
        init_method (str): where they meet: "env://" (the default: MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE), "tcp://host:port"
            (rank 0 listens there) or "file:///path" (a file that the last to leave removes).
        timeout (timedelta): how long an operation waits for the others; default 30 minutes.
        world_size, rank (int): how many processes there are, and the number of this one; where the address does not say.
        store (Store): in place of ``init_method``.
        group_name (str): ignored, as torch does.
        pg_options: options of a backend; "gloo" and "shm" have none.
        device_id (device): the CPU.

    Raises:
        ValueError: there is a default group; rank or world size is not known.
        RuntimeError: there is no such backend (or AssertionError); the others did not come in time.
        NotImplementedError: the processes are on several machines.
    """
    if world.default is not None:
        raise ValueError("trying to initialize the default process group twice!")
    if store is not None and init_method is not None:
        raise AssertionError("Cannot specify both init_method and store.")
    if device_id is not None:
        check_device(device_id)
    name, timeout = _backend(backend), default_pg_timeout if timeout is None else timeout
    _no_options(name, pg_options)
    if store is not None:
        if world_size <= 0:
            raise AssertionError("world_size must be positive if using store")
        if rank < 0:
            raise AssertionError("rank must be non-negative if using store")
        world.default, world.store = _join(name, store, rank, world_size, timeout), store
    else:
        world.default, world.store = _meet(name, init_method or "env://", rank, world_size, timeout)
    world.leave_at_exit = util.Finalize(None, _at_exit, exitpriority=10)


def _meet(name, address, rank, world_size, timeout):
    """(the default group, the store) of processes that meet at an address."""
    end = time.monotonic() + seconds(timeout, "init_process_group")
    while True:
        store, own_rank, size = next(rendezvous(address, rank, world_size, timeout=timeout))
        store.set_timeout(timeout)
        try:
            return _join(name, store, own_rank, size, timeout), store
        except DistNetworkError:
            # the server was that of an earlier group, which rank 0 had not left yet
            if own_rank == 0 or time.monotonic() > end:
                raise
        time.sleep(0.02)


def _join(name, store, rank, size, timeout):
    if not 0 <= rank < size:
        raise ValueError(f"init_process_group expects a rank from 0 to world_size - 1 = {size - 1}, but got rank {rank}")
    return _create(name, PrefixStore("default_pg", store), rank, size, timeout, "0", range(size))


def _backend(backend):
    """The name of a backend that is there; of "cpu:gloo,cuda:nccl" the one of the CPU."""
    if backend is None:
        return "gloo"
    name = Backend(backend)
    if ":" in name:
        pairs = dict(part.split(":", 1) for part in name.split(","))
        if "cpu" not in pairs:
            raise NotImplementedError(f"init_process_group: backend {backend!r} names none for the CPU, and groups of other "
                                      "devices are not built; use 'gloo'")
        name = Backend(pairs["cpu"])
    if name in Backend._creators:
        return name
    if name in ("nccl", "ucc", "mpi", "xccl"):
        built = (" MPI is only included if you build PyTorch from source on a host that has MPI installed." if name == "mpi"
                 else "")
        raise RuntimeError(f"Distributed package doesn't have {name.upper()} built in.{built} numtorch joins the processes of "
                           "one machine: use backend='gloo'")
    raise AssertionError(f"Unknown backend type {backend}")


def _no_options(name, options):
    if options is not None and name in ("gloo", "shm"):
        raise NotImplementedError(f"pg_options: backend {name!r} has no options; leave them out")


def _create(name, store, rank, size, timeout, key, ranks, description=None):
    store.set_timeout(timeout)
    found = Backend._creators[name](store, rank, size, timeout)
    found.group_name, found.group_desc = key, description or ("default_pg" if key == "0" else "undefined")
    found.ranks, found.backend = list(ranks), str(name)
    world.groups[key] = found
    return found


def destroy_process_group(group=None):
    """Leaves a group; the default one with all others.

    Args:
        group (ProcessGroup): default all.

    Raises:
        AssertionError: there is no group.
        ValueError: the group was left before.
    """
    if group is GroupMember.NON_GROUP_MEMBER:
        return
    if group is None:
        group = world.default
    if group is None:
        raise AssertionError("Process group cannot be None")
    if world.groups.get(group.group_name) is not group:
        raise ValueError("Invalid process group specified or has been destroyed")
    if group is not world.default:
        world.groups.pop(group.group_name).shutdown()
        return
    world.leave_at_exit.cancel()
    _leave_all()


def _leave_all():
    groups, store = list(world.groups.values()), world.store
    world.__init__()
    for one in reversed(groups):
        one.shutdown()
    if isinstance(store, MeetingFile):
        store.leave("default_pg/rank", str(groups[0].rank()))


def _at_exit():
    """A process that ends without ``destroy_process_group`` leaves its groups, unless it fails: that, the others shall see."""
    failed = sys.exc_info()[0]
    if failed is None or issubclass(failed, SystemExit):
        _leave_all()


def new_group(ranks=None, timeout=None, backend=None, pg_options=None, use_local_synchronization=False, group_desc=None,
              device_id=None, sort_ranks=True):
    """A group of some of the processes; all of them call it, in the same order.

    Args:
        ranks (list of int): of the default group; default all.
        timeout (timedelta): how long an operation waits for the others; default that of torch, 30 minutes.
        backend (str): default that of the default group.
        pg_options: as for ``init_process_group``.
        use_local_synchronization (bool): only processes of the group call it. As no other takes part in making the group,
            that always works.
        group_desc (str): what the group is for.
        device_id (device): the CPU.
        sort_ranks (bool): number the processes in the order of ``ranks`` sorted, or as it is.

    Returns:
        ProcessGroup, or ``GroupMember.NON_GROUP_MEMBER`` in a process that is not in ``ranks``.

    Raises:
        ValueError: a rank is not in the default group, or there twice.
    """
    everybody = default_group()
    if device_id is not None:
        check_device(device_id)
    name = everybody.backend if backend is None else _backend(backend)
    _no_options(name, pg_options)
    size = everybody.size()
    if ranks is None:
        ranks = list(range(size))
    else:
        ranks = sorted(ranks) if sort_ranks else list(ranks)
        if len(ranks) > size:
            raise ValueError("the new group's world size should be less or equal to the world size set by init_process_group")
        for rank in ranks:
            if rank < 0 or rank >= size:
                raise ValueError("The new group's rank should be within the world_size set by init_process_group")
        if len(set(ranks)) != len(ranks):
            raise ValueError(f"new_group expects every rank once, but got {ranks}")
    if everybody.rank() not in ranks:
        return GroupMember.NON_GROUP_MEMBER
    count = world.made[tuple(ranks)] = world.made.get(tuple(ranks), 0) + 1
    key = f"{'-'.join(map(str, ranks))}#{count}"
    return _create(name, PrefixStore(key, world.store), ranks.index(everybody.rank()), len(ranks),
                   default_pg_timeout if timeout is None else timeout, key, ranks, group_desc)


def new_subgroups_by_enumeration(ranks_per_subgroup_list, timeout=None, backend=None, pg_options=None, group_desc=None):
    """A new group for each list of ranks, which must not overlap.

    Returns:
        (the group of this process or None, the list of all groups).
    """
    if not ranks_per_subgroup_list:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    flat = [rank for ranks in ranks_per_subgroup_list for rank in ranks]
    if len(flat) != len(set(flat)):
        twice = next(rank for rank in flat if flat.count(rank) > 1)
        raise ValueError(f"Rank {twice} has appeared in both subgroup lists")
    groups = [new_group(ranks, timeout, backend, pg_options, group_desc=group_desc) for ranks in ranks_per_subgroup_list]
    own = [g for g in groups if g is not GroupMember.NON_GROUP_MEMBER]
    return (own[0] if own else None), groups


def new_subgroups(group_size=None, group=None, timeout=None, backend=None, pg_options=None, group_desc=None):
    """New groups of ``group_size`` neighbouring ranks each, of which every process is in one.

    Returns:
        (the group of this process, the list of all groups).
    """
    if group_size is None:
        raise ValueError("new_subgroups: group_size must be given: there are no CUDA devices to count")
    ranks = resolve(group).ranks
    if group_size <= 0 or group_size > len(ranks):
        raise ValueError(f"The arg 'group_size' ({group_size}) must be from 1 to the world size ({len(ranks)})")
    if len(ranks) % group_size:
        raise ValueError(f"The world size ({len(ranks)}) must be divisible by 'group_size={group_size}'")
    return new_subgroups_by_enumeration([ranks[i:i + group_size] for i in range(0, len(ranks), group_size)], timeout, backend,
                                        pg_options, group_desc)


# ---- asking about groups -----------------------------------------------------------------------------------------------

def default_group():
    """The default group; ValueError where there is none."""
    if world.default is None:
        raise ValueError("Default process group has not been initialized, please make sure to call init_process_group.")
    return world.default


def resolve(group):
    """``group``, or the default one for None; a group must not be left."""
    if group is None:
        return default_group()
    if not isinstance(group, ProcessGroup):
        raise TypeError(f"expected group to be a ProcessGroup or None, but got {type(group).__name__}")
    if world.groups.get(group.group_name) is not group:
        raise ValueError("Invalid process group specified or has been destroyed")
    return group


def outside(group, name):
    """True, with torch's warning, in a process that is not in ``group``."""
    if group is not GroupMember.NON_GROUP_MEMBER:
        return False
    rank = -1 if world.default is None else world.default.rank()
    warnings.warn(f"Running {name} on global rank {rank} which does not belong to the given group.", stacklevel=3)
    return True


def get_rank(group=None):
    """The number of this process in a group (default: all processes); -1 if it is not in it."""
    if group is GroupMember.NON_GROUP_MEMBER:
        return -1
    return resolve(group).rank()


def get_world_size(group=None):
    """How many processes are in a group (default: all); -1 if this process is not in it."""
    if group is GroupMember.NON_GROUP_MEMBER:
        return -1
    return resolve(group).size()


def get_backend(group=None):
    """The name of a group's backend, in lower case."""
    if group is GroupMember.NON_GROUP_MEMBER:
        raise ValueError("Invalid process group specified")
    return Backend(resolve(group).backend)


def get_process_group_ranks(group=None):
    """The ranks, in the default group, of a group's processes."""
    return list(resolve(group).ranks)


def get_group_rank(group, global_rank):
    """The number in ``group`` of the process that is ``global_rank`` in the default group; ValueError if it is not in it."""
    ranks = resolve(group).ranks
    if global_rank not in ranks:
        raise ValueError(f"Global rank {global_rank} is not part of group {group}")
    return ranks.index(global_rank)


def get_global_rank(group, group_rank):
    """The number in the default group of the process that is ``group_rank`` in ``group``; ValueError if there is none."""
    ranks = resolve(group).ranks
    if not 0 <= group_rank < len(ranks):
        raise ValueError(f"Group rank {group_rank} is not part of group {group}")
    return ranks[group_rank]


def get_pg_count():
    """How many groups this process is in."""
    return len(world.groups)


def _get_default_group():
    return default_group()


def _get_default_store():
    default_group()
    return world.store


for _name in ("gloo", "shm"):
    Backend.register_backend(_name, partial(_shm.create, _name))
