"""A node of the tape: what one recorded operation keeps for its backward, and where the gradients go next."""
import itertools

from .grad_mode import mode

new = object.__new__
next_number = itertools.count(1).__next__      # atomic in CPython: threads may record at once

OUT = type("OUT", (), {"__repr__": lambda self: "OUT"})()       # in a list of saved tensors: the operation's output


class Node:
    """One recorded operation.

    ``edges`` holds, for each input, where its gradient goes: a Node, a leaf tensor, or None; ``numbers`` which output of
    that Node the input was. ``fixes`` is None, or for each input None or the (shape, dtype) that its gradient is brought to
    (after broadcasting or promotion). ``seq`` counts recorded operations: a larger one is never an input of a smaller one.
    The class of a node, made by ``node_class``, carries the backward function and the name that torch prints.
    """

    __slots__ = ("edges", "numbers", "seq", "saved", "versions", "ctx", "fixes", "outs", "hooks", "stack", "__weakref__",
                 "__dict__")
    backward_function = None

    def __repr__(self):
        return f"<{type(self).__name__} object at {id(self):#x}>"

    def name(self):
        """The name of the backward function, as torch's, such as AddBackward0."""
        return type(self).__name__

    @property
    def needs(self):
        """For each input, whether it wants a gradient."""
        return [edge is not None for edge in self.edges]

    @property
    def next_functions(self):
        """For each input, (its node or None, which output of that node it was)."""
        found = []
        for edge, number in zip(self.edges, self.numbers):
            if edge is not None and not isinstance(edge, Node):
                edge, number = accumulate_node(edge), 0
            found.append((edge, number))
        return tuple(found)

    @property
    def saved_tensors(self):
        """The tensors kept for backward, in the order that the operation saved them; RuntimeError if one has changed."""
        if self.saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have "
                "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
                "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or "
                "if you need to access saved tensors after calling backward.")
        found = []
        for saved, version in zip(self.saved, self.versions):
            if saved is None:
                found.append(None)
                continue
            storage = saved._storage
            if storage is not None and storage.version != version:
                raise_modified(self, saved, version)
            if saved._saved_output is not None and mode.enabled:
                saved = saved._saved_output(self, saved)
            found.append(saved)
        return found

    def release(self):
        """Frees what was kept for backward."""
        self.saved = self.versions = None

    def metadata(self):
        """A dict for the user's notes on this node."""
        return self.__dict__.setdefault("_metadata", {})

    def _hook_table(self, name):
        if self.hooks is None:
            self.hooks = {"pre": {}, "post": {}, "tensor": {}, "retain": {}}
        return self.hooks[name]

    def register_hook(self, hook):
        """Calls ``hook(grad_inputs, grad_outputs)`` after this node's backward; a tuple it returns replaces grad_inputs."""
        return RemovableHandle(self._hook_table("post"), hook)

    def register_prehook(self, hook):
        """Calls ``hook(grad_outputs)`` before this node's backward; a tuple it returns replaces grad_outputs."""
        return RemovableHandle(self._hook_table("pre"), hook)


def raise_modified(node, saved, version):
    """torch's error for a saved tensor that an in-place operation has changed."""
    kind = {"float32": "torch.FloatTensor", "float64": "torch.DoubleTensor", "int64": "torch.LongTensor"}.get(
        saved._a.dtype.name, f"torch.{saved._a.dtype.name} tensor")
    which = f"which is output {saved._nr} of {saved._fn.name()}, " if saved._fn is not None else ""
    if saved._saved_output is not None:
        which = f"which is output {saved._nr} of {node.name()}, "
    raise RuntimeError(
        f"one of the variables needed for gradient computation has been modified by an inplace operation: [{kind} "
        f"{list(saved._a.shape)}], {which}is at version {saved._storage.version}; expected version {version} instead. "
        + ("Hint: the backtrace further above shows the operation that failed to compute its gradient. The variable in "
           "question was changed in there or anywhere later. Good luck!" if mode.anomaly else
           "Hint: enable anomaly detection to find the operation that failed to compute its gradient, with "
           "torch.autograd.set_detect_anomaly(True)."))


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away; a with-block removes it at its end."""

    numbers = itertools.count()

    def __init__(self, table, hook, extra=()):
        self.id, self.table, self.extra = next(self.numbers), table, extra
        table[self.id] = hook

    def remove(self):
        """Removes the hook; nothing happens if it is gone."""
        self.table.pop(self.id, None)
        for table in self.extra:
            table.pop(self.id, None)

    def __getstate__(self):
        return (self.table, self.id, *([tuple(self.extra)] if self.extra else ()))      # torch's layout, for saved modules

    def __setstate__(self, state):
        self.table, self.id, *extra = state
        self.extra = extra[0] if extra and extra[0] else ()
        if self.table is None:
            self.table = {}
        RemovableHandle.numbers = itertools.count(max(next(self.numbers), self.id + 1))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


class AccumulateGrad(Node):
    """The end of the tape at a leaf tensor: adds to its ``.grad``. Made when a user asks for it."""

    __slots__ = ("variable",)

    def register_hook(self, hook):
        """Calls ``hook(grad_inputs, grad_outputs)`` after the gradient was added to ``variable.grad``."""
        return RemovableHandle(self.variable._hook_table("node_post"), hook)

    def register_prehook(self, hook):
        """Calls ``hook(grad_outputs)`` before the gradient is added to ``variable.grad``."""
        return RemovableHandle(self.variable._hook_table("node_pre"), hook)


def accumulate_node(leaf):
    """The AccumulateGrad node of a leaf tensor."""
    node = leaf._accumulate and leaf._accumulate()
    if node is None:
        import weakref

        node = new(AccumulateGrad)
        node.edges, node.numbers, node.saved, node.versions, node.fixes = (), (), (), (), None
        node.seq, node.ctx, node.outs, node.hooks, node.variable = 0, {}, 1, None, leaf
        leaf._accumulate = weakref.ref(node)
    return node


def node_class(backward, name=None):
    """The Node class of a backward function; its printed name is the function's in camel case, with torch's final 0."""
    if name is None:
        name = "".join(part.capitalize() for part in backward.__name__.split("_")) + "0"
    return type(name, (Node,), {"__slots__": (), "backward_function": staticmethod(backward), "__doc__": backward.__doc__,
                                "__module__": backward.__module__})
