"""Averages the gradients of a module's parameters over processes when backward has computed the last of them."""
import weakref

import numpy as np

from ...autograd.node import Node
from ...distributed import ReduceOp
from ...tensor import Tensor, edge_of, wrap

_UNFINISHED = (
    "Expected to have finished reduction in the prior iteration before starting a new one. This error indicates that your module "
    "has parameters that were not used in producing loss. You can enable unused parameter detection by passing the keyword "
    "argument `find_unused_parameters=True` to `torch.nn.parallel.DistributedDataParallel`, and by \nmaking sure all `forward` "
    "function outputs participate in calculating loss. \nIf you already have done the above, then the distributed data parallel "
    "module wasn't able to locate the output tensors in the return value of your module's `forward` function. Please include the "
    "loss function and the structure of the return value of `forward` of your module when reporting this issue (e.g. list, dict, "
    "iterable).\nParameter indices which did not receive grad for rank {}: {}")


class Reducer:
    """Watches parameters; between ``arm`` and the next reduction it counts those whose gradient has come.

    Args:
        parameters (list of Parameter): of one order in all processes.
        group (ProcessGroup): the processes.
        cap (int): bytes of gradients that are reduced in one operation.
        as_views (bool): gradients stay views of the memory that is reduced.
    """

    def __init__(self, parameters, group, cap, as_views):
        self.parameters, self.group, self.as_views = parameters, group, as_views
        self.armed, self.ready, self.finds_unused, self.unused = False, set(), False, frozenset()
        self.buckets = [_Flat(bucket) for bucket in _in_buckets(parameters, cap)]
        own = weakref.ref(self)
        handles = [p.register_post_accumulate_grad_hook(_hook(own, i)) for i, p in enumerate(parameters)]
        weakref.finalize(self, _remove, handles)    # the module may be used without this

    def check_finished(self):
        """RuntimeError if the last backward has reached some parameters only."""
        if self.armed and self.ready:
            missing = " ".join(str(i) for i in range(len(self.parameters)) if i not in self.ready)
            raise RuntimeError(_UNFINISHED.format(self.group.rank(), missing))

    def arm(self, outputs=None):
        """The next backward is followed by a reduction.

        Args:
            outputs: what the module gave, a nest of tensors: parameters that they do not depend on are not waited for.
        """
        self.armed, self.finds_unused = True, outputs is not None
        self.ready = set()
        if self.finds_unused:
            used = _leaves(_tensors(outputs))
            self.ready = {i for i, p in enumerate(self.parameters) if id(p) not in used}
            self.unused = frozenset(self.ready)
            if len(self.ready) == len(self.parameters):
                self.reduce()       # the others expect it, and no gradient will start it

    def add(self, i):
        """The gradient of parameter ``i`` is there."""
        if not self.armed:
            return
        self.ready.add(i)
        if len(self.ready) == len(self.parameters):
            self.reduce()

    def reduce(self):
        """Replaces all gradients by their averages over the processes."""
        self.armed, self.ready = False, set()
        used = None
        if self.finds_unused:
            marks = wrap(np.array([i not in self.unused for i in range(len(self.parameters))], np.uint8))
            self.group.allreduce(marks, ReduceOp.MAX).wait()
            used = {id(p) for p, mark in zip(self.parameters, marks._a) if mark}
        scale = 1.0 / self.group.size()
        for flat in self.buckets:
            flat.fill(scale)
            self.group.allreduce(wrap(flat.array), ReduceOp.SUM).wait()
            flat.give_back(self.as_views, used)


class _Flat:
    """The gradients of some parameters of one dtype, one after another."""

    def __init__(self, parameters):
        self.parameters, self.array = parameters, None

    def fill(self, scale):
        """Copies the gradients, times ``scale``; zeros where there is none."""
        if self.array is None:
            self.array = np.empty(sum(p._a.size for p in self.parameters), self.parameters[0]._a.dtype)
            ends = np.cumsum([p._a.size for p in self.parameters])
            self.parts = [self.array[end - p._a.size:end].reshape(p._a.shape) for p, end in zip(self.parameters, ends)]
        for parameter, part in zip(self.parameters, self.parts):
            if parameter._grad is None:
                part[...] = 0
            else:
                np.multiply(parameter._grad._a, part.dtype.type(scale), out=part)

    def give_back(self, as_views, used):
        """Makes the reduced values the gradients of the parameters that were ``used`` in any process (None: all)."""
        for parameter, part in zip(self.parameters, self.parts):
            if used is not None and id(parameter) not in used:
                continue
            grad = parameter._grad
            if as_views:
                if grad is None or grad._a is not part:
                    parameter._grad = wrap(part)
            elif grad is None:
                parameter._grad = wrap(part.copy())
            else:
                grad._a[...] = part


def _hook(own, i):
    def hook(parameter):
        reducer = own()
        if reducer is not None:
            reducer.add(i)
    return hook


def _remove(handles):
    for handle in handles:
        handle.remove()


def _in_buckets(parameters, cap):
    """Lists of parameters of one dtype and, unless a single one has more, at most ``cap`` bytes."""
    found, sizes = {}, {}
    for p in parameters:
        of_type = found.setdefault(p._a.dtype, [])
        if not of_type or sizes[p._a.dtype] + p._a.nbytes > cap:
            of_type.append([])
            sizes[p._a.dtype] = 0
        of_type[-1].append(p)
        sizes[p._a.dtype] += p._a.nbytes
    return [bucket for of_type in found.values() for bucket in of_type]


def _tensors(value):
    """The tensors in a nest of tuples, lists, dicts and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list, set)):
        for item in value:
            yield from _tensors(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _tensors(getattr(value, name))


def _leaves(outputs):
    """The ids of all leaves that a gradient of ``outputs`` can reach."""
    found, seen, stack = set(), set(), [edge_of(t) for t in outputs]
    while stack:
        edge = stack.pop()
        if isinstance(edge, Tensor):
            found.add(id(edge))
        elif isinstance(edge, Node) and id(edge) not in seen:
            seen.add(id(edge))
            stack += edge.edges
    return found
