"""Operations made of others that appear on the tape as one node, under the name that torch gives it."""
import functools

from ..autograd.grad_mode import enable_grad, mode
from ..autograd.node import node_class
from ..op import needs_grad, record
from ..tensor import Tensor, storage_of, wrap


def gradients(outputs, inputs, given, needs, **how):
    """The gradients of recorded ``outputs`` with respect to those of ``inputs`` that ``needs`` marks; None for the others.

    Args:
        given: a gradient for each output, or None.
        how: retain_graph and create_graph, as autograd.grad takes them.
    """
    from ..autograd.engine import grad

    pairs = [(y, g) for y, g in zip(outputs, given) if g is not None]
    wanted = [t for t, needed in zip(inputs, needs) if needed]
    found = iter(grad([y for y, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True, **how))
    return tuple([next(found) if needed else None for needed in needs])


def _on_the_same_memory(t):
    """Another tensor on the memory of ``t``, whose writes ``t``'s history sees."""
    alias = wrap(t._a)
    alias._storage = storage_of(t)
    return alias


def one_node(name):
    """Decorator of a function of Tensors (and of other things) that returns a Tensor or a tuple: recorded as one node ``name``.

    The operations inside are recorded apart, on aliases of the inputs, and backward walks them; a backward that is to be
    differentiated again repeats them on the inputs themselves.
    """
    def decorate(fn):
        def backward(node, *gs):
            results, inputs = node.saved_tensors, node.ctx["originals"]
            if not mode.enabled:
                return gradients(results, node.ctx["aliases"], gs, node.needs, retain_graph=True)
            out = node.ctx["run"](inputs)
            return gradients(out if isinstance(out, tuple) else (out,), inputs, gs, node.needs, create_graph=True)
        backward.node_class = node_class(backward, name)

        @functools.wraps(fn)
        def call(*args, **kwargs):
            places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
            words = [k for k, a in kwargs.items() if isinstance(a, Tensor)]
            inputs = [args[i] for i in places] + [kwargs[k] for k in words]
            if not needs_grad(*inputs):
                return fn(*args, **kwargs)

            def run(tensors):
                given, named = list(args), dict(kwargs)
                for i, t in zip(places, tensors):
                    given[i] = t
                named.update(zip(words, tensors[len(places):]))
                return fn(*given, **named)
            aliases = [t.detach().requires_grad_(needs_grad(t)) for t in inputs]
            with enable_grad():
                out = run(aliases)
            results = out if isinstance(out, tuple) else (out,)
            found = record(tuple(map(_on_the_same_memory, results)), backward, inputs, results, originals=inputs, aliases=aliases,
                           run=run)
            return type(out)(found) if isinstance(out, tuple) else found[0]
        return call
    return decorate
