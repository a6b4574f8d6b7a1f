"""The walk back along the tape: ``backward`` and ``grad``.

Nodes wait in a heap and run from the youngest to the oldest. An operation is always younger than those that made its inputs,
so a node runs when all its users have: no pass that counts dependencies is needed, and no recursion. What a node kept is
freed as soon as it has run, unless the graph is retained.
"""
import sys
import threading
import traceback
import warnings
from heapq import heappop, heappush

from .. import _on_host
from .._legacy import legacy
from ..kernels._device import DeviceArray
from ..kernels._driver import OnHost
from ..tensor import Tensor, edge_of, wrap
from .grad_mode import mode
from .node import Node

_accumulating = threading.RLock()      # several Python threads may go backward into the same leaves


def _tensors(value, what):
    if isinstance(value, Tensor):
        return (value,)
    if value is None:
        return ()
    value = tuple(value)
    for t in value:
        if t is not None and not isinstance(t, Tensor):
            raise TypeError(f"{what} can be either Tensors or None, but got {type(t).__name__}")
    return value


def _root_gradients(roots, gradients, create_graph):
    """One gradient for each root: those given, checked, and ones for roots of a single element."""
    from ..ops import create

    if len(roots) != len(gradients):
        raise RuntimeError(f"got {len(roots)} tensors and {len(gradients)} gradients")
    found = []
    for root, g in zip(roots, gradients):
        if g is None:
            if root._rg and root._a.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if root._rg and root._a.dtype.kind == "c":
                raise RuntimeError("grad can be implicitly created only for real scalar outputs but got "
                                   f"{root.dtype}")
            g = create.ones_like(root)
        elif not root._a.ndim and g._a.shape == (1,):
            legacy("backward(torch.Tensor([1.0])) of a 0-dim tensor is an old spelling: use backward(torch.tensor(1.0))")
            g = g.reshape(())
        elif g._a.shape != root._a.shape:
            raise RuntimeError(f"Mismatch in shape: grad_output[{len(found)}] has a shape of {g.shape} and output[{len(found)}] "
                               f"has a shape of {root.shape}.")
        found.append(g)
    for root in roots:
        if not root._rg:
            raise RuntimeError(f"element {roots.index(root) if len(roots) == 1 else 0} of tensors does not require grad and "
                               "does not have a grad_fn")
    return found


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None):
    """Adds the sum of gradients of ``tensors`` with respect to the graph's leaves to the leaves' ``.grad``.

    Args:
        tensors (Tensor or Tensors): what is differentiated.
        grad_tensors (Tensor or Tensors or None): the gradient with respect to each of them; None for one element.
        retain_graph (bool): keep what was saved; default ``create_graph``.
        create_graph (bool): record the backward pass.
        inputs (Tensor or Tensors): accumulate into these only.

    Raises:
        RuntimeError: a tensor has no history, or needs a gradient that was not given; ``inputs`` is empty.
    """
    if grad_variables is not None:
        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        grad_tensors = grad_variables
    roots = _tensors(tensors, "tensors")
    gradients = _tensors(grad_tensors, "grad_tensors") or (None,) * len(roots)
    targets = None
    if inputs is not None:
        targets = _tensors(inputs, "inputs")
        if not targets:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    gradients = _root_gradients(roots, gradients, create_graph)
    if retain_graph is None:
        retain_graph = create_graph
    if targets is None:
        run(roots, gradients, retain_graph, create_graph)
        return
    found = run(roots, gradients, retain_graph, create_graph, targets)
    for target, g in zip(targets, found):
        if g is not None:
            _accumulate(target, g, create_graph)


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, only_inputs=True, allow_unused=None,
         is_grads_batched=False, materialize_grads=False):
    """The sum of gradients of ``outputs`` with respect to ``inputs``.

    Args:
        outputs, inputs (Tensor or Tensors): of what, and with respect to what.
        grad_outputs (Tensor or Tensors or None): the gradient with respect to each output; None for one element.
        retain_graph (bool): keep what was saved; default ``create_graph``.
        create_graph (bool): record the backward pass, for higher derivatives.
        allow_unused (bool): None for inputs that the outputs do not depend on, instead of an error.
        materialize_grads (bool): zeros for those inputs.

    Returns:
        A tuple of Tensors, one an input.

    >>> import numtorch as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> torch.autograd.grad(x ** 2, x)
    (tensor(6.),)
    """
    if is_grads_batched:
        raise NotImplementedError("autograd.grad: is_grads_batched=True is not built; call grad once a row")
    if not only_inputs:
        warnings.warn("only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for "
                      "other parts of the graph, please use torch.autograd.backward.", FutureWarning, stacklevel=2)
    if materialize_grads:
        if allow_unused is False:
            raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, "
                             "but got: allow_unused=False.")
        allow_unused = True
    roots, targets = _tensors(outputs, "outputs"), _tensors(inputs, "inputs")
    gradients = _tensors(grad_outputs, "grad_outputs") or (None,) * len(roots)
    if not targets:
        raise ValueError("grad requires non-empty inputs.")
    for t in targets:
        if not t._rg:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    gradients = _root_gradients(roots, gradients, create_graph)
    if retain_graph is None:
        retain_graph = create_graph
    found = run(roots, gradients, retain_graph, create_graph, targets)
    if materialize_grads:
        from ..ops import create

        found = [create.zeros_like(t) if g is None else g for g, t in zip(found, targets)]
    if not allow_unused and any(g is None for g in found):
        raise RuntimeError("One of the differentiated Tensors appears to not have been used in the graph. Set "
                           "allow_unused=True if this is the desired behavior.")
    return tuple(found)


def run(roots, gradients, retain_graph, create_graph, targets=None):
    """Walks back from ``roots``; returns the targets' gradients, or accumulates into all leaves when there are none."""
    waiting, heap, leaves = {}, [], {}
    captured = wanted = None
    if targets is not None:
        edges = [edge_of(t) for t in targets]
        captured = {(id(e), t._nr if isinstance(e, Node) else 0): None for e, t in zip(edges, targets)}
        wanted = _leading_to(edges, roots)
    previous, mode.enabled = mode.enabled, create_graph
    try:
        for root, g in zip(roots, gradients):
            edge = edge_of(root)
            if wanted is None or id(edge) in wanted:
                _send(edge, root._nr, g, waiting, heap, leaves)
        g = root = edge = None
        gradients = None        # a gradient with one owner can become a leaf's .grad without a copy
        while heap:
            _, node = heappop(heap)
            g = waiting.pop(node)
            if node.hooks is not None:
                g = _before(node, g)
            if captured is not None:
                _capture(captured, node, g)
                if not _continues(node, wanted):
                    continue
            results = _call(node, g)
            if type(results) is not tuple:
                results = (results,)
            if node.hooks is not None and node.hooks["post"]:
                results = _after(node, results, g)
            if not retain_graph:
                node.saved = None
            g = None
            fixes, numbers, i = node.fixes, node.numbers, 0
            for edge in node.edges:
                if edge is not None:
                    g = results[i]
                    if g is not None and (wanted is None or id(edge) in wanted):
                        if fixes is not None and fixes[i] is not None:
                            g = _fix(g, fixes[i], node)
                        _send(edge, numbers[i], g, waiting, heap, leaves)
                    g = None
                i += 1
            results = None
        if targets is not None:
            for leaf, g in leaves.values():
                captured[id(leaf), 0] = _leaf_hooks(leaf, g)
            return [captured[id(e), t._nr if isinstance(e, Node) else 0] for e, t in zip(edges, targets)]
        while leaves:
            leaf, g = leaves.pop(next(iter(leaves)))
            if leaf._hooks is not None:
                g = _leaf_hooks(leaf, g)
            _accumulate(leaf, g, create_graph)
        return None
    finally:
        mode.enabled = previous


def _send(edge, number, g, waiting, heap, leaves):
    """Adds ``g`` to what waits at ``edge``, a Node (its output ``number``) or a leaf tensor."""
    if isinstance(edge, Tensor):
        key = id(edge)
        if key in leaves:
            leaves[key] = (edge, _add(leaves[key][1], g))
        else:
            leaves[key] = (edge, g)
        return
    if edge.outs == 1:
        there = waiting.get(edge)
        if there is None:
            waiting[edge] = g
            heappush(heap, (-edge.seq, edge))
        else:
            waiting[edge] = _add(there, g)
        return
    there = waiting.get(edge)
    if there is None:
        there = waiting[edge] = [None] * edge.outs
        heappush(heap, (-edge.seq, edge))
    there[number] = g if there[number] is None else _add(there[number], g)


def _add(a, b):
    from ..ops.pointwise import add

    return add(a, b)


def _call(node, g):
    """Runs a node's backward function; in anomaly mode, errors and nan name the forward call."""
    if node.saved is None:
        return node.saved_tensors       # raises: freed
    if not mode.anomaly:
        try:
            return node.backward_function(node, *g) if node.outs > 1 else node.backward_function(node, g)
        except OnHost as why:
            return _on_host.backward(node, g, why)
    try:
        try:
            results = node.backward_function(node, *g) if node.outs > 1 else node.backward_function(node, g)
        except OnHost as why:
            results = _on_host.backward(node, g, why)
    except Exception:
        _print_forward(node)
        raise
    if mode.anomaly_check_nan:
        for i, r in enumerate(results if isinstance(results, tuple) else (results,)):
            if r is not None and r._a.dtype.kind in "fc" and (r._a != r._a).any():
                _print_forward(node)
                raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")
    return results


def _print_forward(node):
    stack = "".join(traceback.format_list(node.stack)) if node.stack else "(the forward call was not in anomaly mode)"
    warnings.warn(f"Error detected in {node.name()}. Traceback of forward call that caused the error:\n{stack}", stacklevel=3)


def _fix(g, fix, node):
    """``g`` summed down to its input's shape, and in its dtype."""
    shape, dtype = fix
    if g._a.shape != shape:
        from ..ops.reduce import sum_to_size

        g = sum_to_size(g, shape)
    if g._a.dtype.kind == "c" and dtype.kind != "c":
        g = g.real      # a real input moves the result along the real axis only
    if g._a.dtype != dtype:
        from ..ops.convert import to_numpy_dtype

        g = to_numpy_dtype(g, dtype)
    return g


# ---- hooks, and gradients of chosen tensors ----------------------------------------------------------------------------

def _before(node, g):
    """Tensor hooks and retained gradients of the node's outputs, then its pre-hooks."""
    gs = list(g) if node.outs > 1 else [g]
    for number, hook in list(node.hooks["tensor"].values()):
        if gs[number] is not None:
            gs[number] = _replaced(hook(gs[number]), gs[number])
    for number, reference in node.hooks["retain"].values():
        tensor = reference()
        if tensor is not None and gs[number] is not None:
            tensor._grad = gs[number] if tensor._grad is None else _add(tensor._grad, gs[number])
    for hook in list(node.hooks["pre"].values()):
        found = hook(tuple(gs))
        if found is not None:
            gs = list(found) if isinstance(found, (tuple, list)) else [found]
    return gs if node.outs > 1 else gs[0]


def _after(node, results, g):
    gs = tuple(g) if node.outs > 1 else (g,)
    for hook in list(node.hooks["post"].values()):
        found = hook(results, gs)
        if found is not None:
            results = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    return results


def _replaced(new, old):
    if new is None:
        return old
    if not isinstance(new, Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(new).__name__}'")
    if new._a.shape != old._a.shape:
        raise RuntimeError("hook has changed the size of value")
    return new


def _leaf_hooks(leaf, g):
    if leaf._hooks is not None:
        for hook in list(leaf._hooks.get("tensor", {}).values()):
            g = _replaced(hook(g), g)
    return g


def _leading_to(edges, roots):
    """The ids of all nodes and leaves from which one of ``edges`` can be reached, themselves included."""
    wanted = {id(e) for e in edges}
    seen, order, stack = set(), [], [e for e in map(edge_of, roots) if isinstance(e, Node)]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        order.append(node)
        stack += [e for e in node.edges if isinstance(e, Node)]
    for node in sorted(order, key=lambda n: n.seq):
        if any(e is not None and id(e) in wanted for e in node.edges):
            wanted.add(id(node))
    return wanted


def _capture(captured, node, g):
    for number, one in enumerate(g if node.outs > 1 else (g,)):
        if (id(node), number) in captured:
            captured[id(node), number] = one


def _continues(node, wanted):
    return any(e is not None and id(e) in wanted for e in node.edges)


def _is_shared(array):
    """Whether others may see the memory of an array that one tensor has.

    All views of a DeviceArray hold the array that they are views of: one that only this view holds is no one else's. A gradient
    that a kernel wrote as a matrix is a view of it, and a copy would be a launch.
    """
    base = array.base
    return base is not None and (base.__class__ is not DeviceArray or base.size != array.size or sys.getrefcount(base) > 3)


def _accumulate(leaf, g, create_graph):
    """Adds ``g`` to ``leaf.grad``; a gradient that nobody else holds becomes it without a copy."""
    hooks = leaf._hooks
    if hooks is not None:
        for hook in list(hooks.get("node_pre", {}).values()):
            found = hook((g,))
            if found is not None:
                g = found[0] if isinstance(found, tuple) else found
    if g._a.shape != leaf._a.shape:
        raise RuntimeError(f"a backward function returned an invalid gradient - got {list(g.shape)} but expected shape "
                           f"compatible with {list(leaf.shape)}")
    with _accumulating:
        old = leaf._grad
        if create_graph:
            from ..ops.copy import clone

            leaf._grad = clone(g) if old is None else _add(old, g)
        elif old is None:
            array = g._a
            # owners: the caller's and this frame's g, getrefcount's argument; g's attribute, `array`, the argument
            if sys.getrefcount(g) > 3 or sys.getrefcount(array) > 3 or _is_shared(array) \
                    or not array.flags.c_contiguous or not array.flags.writeable:
                array = array.copy(order="C")
            leaf._grad = wrap(array) if array is not g._a or g._rg else g
        else:
            from ..ops.pointwise import add_

            add_(old, g.detach() if g._rg else g)
    if hooks is not None:
        for hook in list(hooks.get("node_post", {}).values()):
            hook((), (g,))
        for hook in list(hooks.get("post", {}).values()):
            hook(leaf)


