"""``Function``: an operation whose forward and backward a user writes."""
import functools

from ..tensor import Tensor, edge_of, storage_of, wrap
from .grad_mode import mode, no_grad
from .node import Node, next_number


class FunctionCtx:
    """What forward leaves for backward; also the node itself."""

    def save_for_backward(self, *tensors):
        """Keeps inputs or outputs (or None) for backward, where ``saved_tensors`` gives them back, checked for changes."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(f"save_for_backward can only save variables, but argument {tensors.index(t)} is of type "
                                f"{type(t).__name__}")
        self.to_save = tensors

    def mark_dirty(self, *tensors):
        """Says which inputs forward has changed in place."""
        self.dirty_tensors = tensors

    def mark_non_differentiable(self, *tensors):
        """Says which outputs have no gradient."""
        self.non_differentiable = tensors

    def set_materialize_grads(self, value):
        """False: gradients of unused outputs reach backward as None, not as zeros."""
        self.materialize_grads = value

    @property
    def needs_input_grad(self):
        """For each argument of forward, whether it wants a gradient."""
        return self._needs_input_grad


class _FunctionNode(Node, FunctionCtx):
    to_save = dirty_tensors = non_differentiable = ()
    materialize_grads = True
    _needs_input_grad = ()

    @property
    def saved_variables(self):
        """The older name of ``saved_tensors``."""
        return self.saved_tensors

    @property
    def saved_tensors(self):
        return tuple(Node.saved_tensors.fget(self))


def _user_backward(node, *gradients):
    """Calls the user's backward and checks what it returns."""
    gradients = list(gradients)
    if node.materialize_grads:
        from ..ops import create

        for i, g in enumerate(gradients):
            if g is None and node.ctx["outputs"][i] is not None:
                shape, dtype = node.ctx["outputs"][i]
                gradients[i] = create.zeros(shape, dtype=dtype)
    results = node.ctx["function"].backward(node, *gradients)
    if not isinstance(results, tuple):
        results = (results,)
    kinds = node.ctx["is_tensor"]
    if len(results) > len(kinds) and all(r is None for r in results[len(kinds):]):
        results = results[:len(kinds)]
    if len(results) != len(kinds):
        raise RuntimeError(f"function {node.name()} returned an incorrect number of gradients (expected {len(kinds)}, "
                           f"got {len(results)})")
    for i, (r, kind) in enumerate(zip(results, kinds)):
        if r is not None and not kind:
            raise RuntimeError(f"function {node.name()} returned a gradient different from None at position {i + 1}, "
                               "but the corresponding forward input was not a Variable")
    return tuple(r for r, kind in zip(results, kinds) if kind)


class Function:
    """Base of user-written operations: static methods ``forward(ctx, *args)`` and ``backward(ctx, *gradients)``.

    With ``setup_context(ctx, inputs, output)`` defined, forward takes no ctx. Called through ``apply``.

    >>> import numtorch as torch
    >>> class Cube(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x ** 3
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         x, = ctx.saved_tensors
    ...         return g * 3 * x ** 2
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    def __init__(self, *args, **kwargs):
        raise RuntimeError("Legacy autograd function with non-static forward method is deprecated. Please use new-style "
                           "autograd function with static forward method.")

    @staticmethod
    def forward(*args, **kwargs):
        """The computation, on tensors that are not recorded."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """One gradient (or None) for each argument of forward."""
        raise NotImplementedError("You must implement either the backward or vjp method for your custom autograd.Function "
                                  "to use it with backward mode AD.")

    setup_context = None

    @classmethod
    def _node_class(cls):
        found = cls.__dict__.get("_own_node_class")
        if found is None:
            found = type(cls.__name__ + "Backward", (_FunctionNode,), {"backward_function": staticmethod(_user_backward)})
            cls._own_node_class = found
        return found

    @classmethod
    def apply(cls, *args, **kwargs):
        """Runs forward and records it."""
        node = cls._node_class()()
        tensors = [a for a in args if isinstance(a, Tensor)]
        records = mode.enabled and any(t._rg for t in tensors)
        node._needs_input_grad = tuple(isinstance(a, Tensor) and a._rg and mode.enabled for a in args)
        with no_grad():
            if cls.setup_context is None:
                outputs = cls.forward(node, *args, **kwargs)
            else:
                outputs = cls.forward(*args, **kwargs)
                cls.setup_context(node, args, outputs)
        several = isinstance(outputs, tuple)
        results = [_own(o, tensors, node) for o in (outputs if several else (outputs,))]
        if records:
            _attach(cls, node, args, tensors, results)
        return tuple(results) if several else results[0]


def _own(output, inputs, node):
    """An output as a tensor of its own: one that forward passes through unchanged gets a new place on the tape."""
    if isinstance(output, Tensor) and any(output is t for t in inputs) and not any(output is t for t in node.dirty_tensors):
        return output.detach()
    return output


def _attach(cls, node, args, tensors, results):
    outs = [r if isinstance(r, Tensor) else None for r in results]
    node.edges, node.numbers = tuple(edge_of(t) for t in tensors), tuple(t._nr for t in tensors)
    node.fixes = tuple((t._a.shape, t._a.dtype) if t._rg else None for t in tensors)
    node.seq, node.outs, node.hooks, node.stack = next_number(), len(results), None, None
    node.ctx = {"function": cls, "is_tensor": [isinstance(a, Tensor) for a in args],
                "outputs": [None if o is None else (o.shape, o.dtype) for o in outs]}
    if mode.anomaly:
        import traceback

        node.stack = traceback.extract_stack()[:-2]
    plain = {id(t) for t in node.non_differentiable}
    for i, out in enumerate(outs):
        if out is None or id(out) in plain or out._a.dtype.kind in "biu":
            continue
        if any(out is t for t in node.dirty_tensors):
            from ..ops.inplace import rebase

            rebase(out, node, i)
        else:
            out._fn, out._nr, out._rg = node, i, True
    node.saved = tuple(_saved_alias(t, outs) for t in node.to_save)
    node.versions = tuple(0 if s is None or s._storage is None else s._storage.version for s in node.saved)


def _saved_alias(tensor, outs):
    """A saved output is kept without its node, which keeps it: no cycle for the garbage collector."""
    if tensor is None or not any(tensor is o for o in outs):
        return tensor
    alias = wrap(tensor._a)
    alias._storage, alias._nr, alias._saved_output = storage_of(tensor), tensor._nr, restore_output
    return alias


def restore_output(node, alias):
    """A saved output with its place on the tape, for a recorded backward."""
    found = wrap(alias._a)
    found._storage, found._nr, found._fn, found._rg = alias._storage, alias._nr, node, True
    return found


def once_differentiable(fn):
    """Decorator for a backward that is not itself recorded: a second derivative through it raises."""
    @functools.wraps(fn)
    def wrapped(ctx, *gradients):
        with no_grad():
            results = fn(ctx, *gradients)
        if not mode.enabled or not any(isinstance(g, Tensor) and g._rg for g in gradients):
            return results
        several = results if isinstance(results, tuple) else (results,)
        stopped = tuple(_Stop.apply(r) if isinstance(r, Tensor) else r for r in
                        (r.requires_grad_() if isinstance(r, Tensor) and not r._rg else r for r in several))
        return stopped if isinstance(results, tuple) else stopped[0]
    return wrapped


class _Stop(Function):
    """Passes a gradient of a ``once_differentiable`` backward on, and raises when it is differentiated."""

    @staticmethod
    def forward(ctx, g):
        return g.clone()

    @staticmethod
    def backward(ctx, g):
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
