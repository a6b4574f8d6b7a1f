"""The check of a trace: run again it must give what the function gives, and traced again the same graph."""
import difflib
import warnings

from .. import dtypes
from ..autograd.grad_mode import no_grad
from ..tensor import Tensor
from . import graph as G
from . import types as T
from .errors import TracerWarning, TracingCheckError, indent
from .source import caller_source


def check(inputs, original, traced, again, graphs, graphs_of, tolerance, by_name):
    """Compares a trace with the function, and with a second trace.

    Args:
        inputs: arguments. original, traced: what is compared. again (callable): traces once more.
        graphs (dict), graphs_of (callable): the graphs of the trace, and of another one.
        tolerance (float): relative tolerance of the results.
        by_name (bool): ``inputs`` is a dict of arguments by name.
    """
    with no_grad():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)      # given when it was first traced
            second = again()
        differences = _Lazy(lambda: _differences(graphs, graphs_of(second)))
        warned = _nondeterministic(graphs)

        def run(call, what):
            try:
                found = call(**_clone(inputs)) if by_name else call(*_clone(inputs))
            except Exception as error:
                raise TracingCheckError(*differences(), extra_msg="encountered an exception while running the " + what
                                        + " with test inputs.\nException:\n" + indent(str(error))) from error
            return _tensors(found)
        traced_results = run(traced, "trace")
        agreed = _compare(traced_results, run(original, "Python function"), "Python function", tolerance)
        if warned is None or agreed:
            _compare(traced_results, run(second, "repeated trace"), "repeated trace", tolerance)
        graph_text, tensor_text = differences()
        if graph_text is not None or tensor_text is not None:
            raise TracingCheckError(graph_text, tensor_text)


class _Lazy:
    def __init__(self, make):
        self.make, self.found = make, None

    def __call__(self):
        if self.found is None:
            self.found = self.make()
        return self.found


def _warn(message):
    place = caller_source()
    if place is None:
        warnings.warn(message, TracerWarning, stacklevel=2)
    else:
        warnings.warn_explicit(message, TracerWarning, place.text.file, place.text.first + place.line)


def _nondeterministic(graphs):
    """Warns about nodes that draw random numbers; returns the message, or None."""
    nodes = [n for g in graphs.values() for n in g.all_nodes() if n.isNondeterministic()]
    if not nodes:
        return None
    text = "".join(f"\n\t{repr(n).strip()}" for n in nodes)
    message = ("Trace had nondeterministic nodes. Did you forget call .eval() on your model? "
               "Nodes:" + text + "\nThis may cause errors "
               "in trace checking. To disable trace checking, pass check_trace=False to torch.jit.trace()")
    _warn(message)
    return message


def _clone(tree):
    if isinstance(tree, Tensor):
        return tree.detach().clone().requires_grad_(tree.requires_grad) if tree.is_floating_point() else tree.clone()
    if isinstance(tree, dict):
        return {k: _clone(v) for k, v in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*map(_clone, tree))
    return type(tree)(map(_clone, tree)) if isinstance(tree, (tuple, list)) else tree


def _tensors(tree):
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [t for branch in tree for t in _tensors(branch)] if isinstance(tree, (tuple, list)) else []


def _compare(found, expected, what, tolerance):
    """Warns where results differ; returns whether they agree."""
    from ..testing import assert_close

    for k, (a, b) in enumerate(zip(found, expected)):
        try:
            if a.is_complex() or b.is_complex():
                wide = dtypes.complex128
            else:
                wide = dtypes.float64
            exact = not a.is_floating_point()
            assert_close(a.detach().to(wide), b.detach().to(wide), rtol=tolerance, atol=0 if exact else 1e-5, equal_nan=True)
        except AssertionError as error:
            _warn(f"Output nr {k + 1}. of the traced function does not match the corresponding output of the {what}. Detailed "
                  f"error:\n{error}")
            return False
    return True


def _lines(graph):
    """The graph's text without the shapes of tensors."""
    return graph.text(lambda t: str(T.bare(t))).splitlines(True)


def _shapeless(node):
    return repr(node) if not node.outs else "".join(f"%{v.name} " for v in node.outs) + repr(node).partition(" = ")[2]


def _differences(graphs, others):
    """(how the graphs differ, how their constants differ), each None where they do not."""
    texts, tensors = [], []
    for name in [*graphs, *(n for n in others if n not in graphs)]:
        a, b = graphs.get(name), others.get(name)
        first, second = _lines(a) if a is not None else [], _lines(b) if b is not None else []
        if first != second:
            texts.append("Graph diff:\n" + indent("".join(difflib.ndiff(first, second))))
            texts += _first_difference(a, b)
        elif a is not None:
            tensors += _constants(a, b)
    return "\n".join(texts) or None, "\n".join(tensors) or None


def _first_difference(a, b):
    for x, y in zip([] if a is None else a.all_nodes(), [] if b is None else b.all_nodes()):
        if _shapeless(x) != _shapeless(y):
            found = ["First diverging operator:\nNode diff:\n" + indent("".join(difflib.ndiff(
                repr(x).splitlines(True), repr(y).splitlines(True))))]
            if x.source is not None:
                found.append("Trace source location:\n" + indent(x.source.highlight()))
            if y.source is not None:
                found.append("Check source location:\n" + indent(y.source.highlight()))
            return found
    return []


def _constants(a, b):
    from ..testing import assert_close

    found = []
    for x, y in zip(a.findAllNodes(G.CONSTANT), b.findAllNodes(G.CONSTANT)):
        left, right = x.attrs["value"], y.attrs["value"]
        if not isinstance(left, Tensor) or not isinstance(right, Tensor):
            continue
        try:
            assert_close(left, right, equal_nan=True)
        except AssertionError as error:
            found.append("Node:\n" + indent(repr(x)) + ("\nSource Location:\n" + indent(x.source.highlight()) if x.source else "")
                         + "\nComparison exception: " + indent(str(error)))
    return found
