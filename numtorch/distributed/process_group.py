"""What a group of processes can do, whatever carries its data: the interface of backends, and what they return."""
import enum
import threading
import warnings

from .constants import DistBackendError, seconds

__all__ = ["Backend", "ProcessGroup", "ReduceOp", "Work"]


class RedOpType(enum.Enum):
    """How values of the processes become one."""

    SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR, PREMUL_SUM, UNUSED = range(10)

    def __int__(self):
        return self.value


class ReduceOp:
    """The ways to reduce: SUM, AVG, PRODUCT, MIN, MAX, and BAND, BOR, BXOR of the bits of integers."""

    RedOpType = RedOpType

    def __new__(cls, op):
        return RedOpType(op)


for _op in RedOpType:
    setattr(ReduceOp, _op.name, _op)


class _ReduceOpMeta(type):
    def __getattribute__(cls, name):
        if name in RedOpType.__members__:
            warnings.warn("`torch.distributed.reduce_op` is deprecated, please use `torch.distributed.ReduceOp` instead",
                          FutureWarning, stacklevel=2)
            return RedOpType[name]
        return super().__getattribute__(name)


class reduce_op(metaclass=_ReduceOpMeta):
    """The old name of ReduceOp; FutureWarning."""


class Work:
    """An operation that was begun with ``async_op=True``."""

    def __init__(self, tensors=()):
        self._done, self._error, self._tensors = threading.Event(), None, list(tensors)

    def wait(self, timeout=None):
        """Waits until the operation is done; returns True.

        Args:
            timeout (timedelta): how long to wait.

        Raises:
            RuntimeError: what went wrong in it, or time is up.
        """
        if not self._done.wait(None if timeout is None else min(seconds(timeout, "wait"), threading.TIMEOUT_MAX)):
            raise DistBackendError(f"wait: the operation was not done in {seconds(timeout, 'wait')} s")
        if self._error is not None:
            raise self._error
        return True

    synchronize = wait

    def is_completed(self):
        """True when the operation is done or has failed."""
        return self._done.is_set()

    def is_success(self):
        """True when the operation is done and did not fail."""
        return self._done.is_set() and self._error is None

    def exception(self):
        """What went wrong, or None."""
        return self._error

    def result(self):
        """The tensors that the operation has written."""
        self.wait()
        return list(self._tensors)

    def source_rank(self):
        """The rank from which a message came; RuntimeError for other operations."""
        raise RuntimeError("sourceRank() may only be called on work objects that correspond to a recv or recv-from-any call.")

    def get_future(self):
        """NotImplementedError: there are no futures."""
        raise NotImplementedError("Work.get_future: futures are not built; use wait() and is_completed()")

    def _finish(self, error=None):
        self._error = error
        self._done.set()


class ProcessGroup:
    """Processes that work together; what a backend inherits from.

    A backend is registered with ``Backend.register_backend`` and made by its creator in every process of a group. All ranks
    here are those within the group, and every operation returns a Work. Tensors may have any strides.
    """

    def __init__(self, rank, size, name=""):
        self._rank, self._size, self._name = rank, size, name
        self.group_name, self.group_desc, self.ranks = name, "undefined", list(range(size))

    def rank(self):
        """This process's number in the group."""
        return self._rank

    def size(self):
        """How many processes there are."""
        return self._size

    def name(self):
        """The backend's name."""
        return self._name

    def _not_built(self, what):
        raise NotImplementedError(f"{type(self).__name__} has no {what}")

    def allreduce(self, tensor, op, async_op=False):
        """Reduces ``tensor`` over all processes, in place."""
        self._not_built("all_reduce")

    def reduce(self, tensor, dst, op, async_op=False):
        """Reduces ``tensor`` over all processes, in place at ``dst`` only."""
        self._not_built("reduce")

    def broadcast(self, tensor, src, async_op=False):
        """Copies ``tensor`` of ``src`` to all."""
        self._not_built("broadcast")

    def allgather(self, outputs, tensor, async_op=False):
        """Copies ``tensor`` of process i to ``outputs[i]`` of all."""
        self._not_built("all_gather")

    def gather(self, outputs, tensor, dst, async_op=False):
        """Copies ``tensor`` of process i to ``outputs[i]`` of ``dst``; elsewhere ``outputs`` is None."""
        self._not_built("gather")

    def scatter(self, tensor, inputs, src, async_op=False):
        """Copies ``inputs[i]`` of ``src`` to ``tensor`` of process i; elsewhere ``inputs`` is None."""
        self._not_built("scatter")

    def reduce_scatter(self, output, inputs, op, async_op=False):
        """Reduces ``inputs[i]`` over all processes into ``output`` of process i."""
        self._not_built("reduce_scatter")

    def alltoall(self, outputs, inputs, async_op=False):
        """Copies ``inputs[j]`` of process i to ``outputs[i]`` of process j; sizes may differ."""
        self._not_built("all_to_all")

    def barrier(self, timeout=None, async_op=False):
        """Waits until all processes have called it."""
        self._not_built("barrier")

    def send(self, tensor, dst, tag):
        """Sends ``tensor``, which may be changed after the Work was waited for."""
        self._not_built("send")

    def recv(self, tensor, src, tag):
        """Receives into ``tensor`` from ``src``, or from anybody where that is None; the Work knows ``source_rank()``."""
        self._not_built("recv")

    def shutdown(self):
        """Leaves the group."""


class Backend(str):
    """The name of a backend, in lower case; an attribute for each that torch knows.

    >>> Backend("GLOO")
    'gloo'
    """

    UNDEFINED, GLOO, NCCL, UCC, MPI, XCCL, SHM = "undefined", "gloo", "nccl", "ucc", "mpi", "xccl", "shm"
    backend_list = [UNDEFINED, GLOO, NCCL, XCCL, UCC, MPI, SHM]
    _creators = {}

    def __new__(cls, name):
        if not isinstance(name, str):
            raise ValueError("Backend constructor parameter must be string-ish")
        return str.__new__(cls, name.lower())

    @classmethod
    def register_backend(cls, name, func, extended_api=False, devices=None):
        """Adds a backend.

        Args:
            name (str): what ``init_process_group`` is given.
            func (callable): ``func(store, rank, size, timeout)`` gives a ProcessGroup.
            extended_api (bool): not built.
            devices (str or list): the devices of its tensors, "cpu".

        Raises:
            RuntimeError: there is one of that name.
        """
        if extended_api:
            raise NotImplementedError("register_backend: extended_api is not built; func(store, rank, size, timeout) is called")
        name = name.lower()
        if name in cls._creators:
            raise RuntimeError(f"{name.upper()} c10d backend creator function already exist")
        cls._creators[name] = func
        setattr(cls, name.upper(), name)
        if name not in cls.backend_list:
            cls.backend_list.append(name)
