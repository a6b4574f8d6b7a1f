"""Changes of graphs: calls replaced by what they call, attributes by constants, and constants worked out."""
from .. import dtypes
from ..autograd.grad_mode import no_grad
from ..tensor import Tensor
from . import functions
from . import graph as G
from . import types as T
from .graph import Graph

_FOLDABLE = frozenset(("aten::add", "aten::sub", "aten::mul", "aten::div", "aten::floordiv", "aten::remainder", "aten::eq",
                       "aten::ne", "aten::lt", "aten::le", "aten::gt", "aten::ge", "aten::__not__", "aten::neg", "aten::Int",
                       "aten::Float", "aten::Bool", "aten::__and__", "aten::__or__", "aten::__is__", "aten::__isnot__",
                       "math::pow", "math::sqrt", "math::max", "math::min", "math::abs"))


def constant_key(value, kind):
    """What two constants have in common that may be one."""
    if value is None or isinstance(value, (bool, int, str)):
        return kind, value
    if isinstance(value, (float, complex, tuple)) and not any(isinstance(v, Tensor) for v in T.leaves(value)):
        return kind, repr(value)                # 0.0 is not -0.0, and nan is nan
    return kind, id(value)


def pool_constants(graph):
    """Puts the constants of all blocks at the start of the graph, equal ones once; in place."""
    pool, replaced = {}, {}

    def visit(block):
        body = []
        for node in block.body:
            if node.kind_ == G.CONSTANT:
                kept = pool.setdefault(constant_key(node.attrs["value"], node.outs[0].type), node)
                replaced[node.outs[0]] = kept.outs[0]
                continue
            node.args = [replaced.get(v, v) for v in node.args]
            for inner in node.blocks_:
                visit(inner)
            body.append(node)
        block.body = body
        block.results = [replaced.get(v, v) for v in block.results]
    visit(graph)
    graph.body[:0] = pool.values()


def clean(block):
    """Removes the nodes whose outputs nobody uses and that do nothing else."""
    used = set()

    def collect(b):
        used.update(b.results)
        for node in b.body:
            used.update(node.args)
            for inner in node.blocks_:
                collect(inner)

    def sweep(b):
        kept = []
        for node in b.body:
            for inner in node.blocks_:
                sweep(inner)
            if used.isdisjoint(node.outs) and not _matters(node):
                continue
            kept.append(node)
        changed = len(kept) != len(b.body)
        b.body[:] = kept
        return changed
    before = -1
    while before != (count := sum(1 for _ in block.all_nodes())):
        before = count
        used.clear()
        collect(block)
        sweep(block)


def _matters(node):
    if node.kind_ in (G.IF, G.LOOP):            # matter where something in them does
        if node.kind_ == G.LOOP and node.blocks_[0].results[0].constant() != (True, True):
            return True                         # may run forever
        return any(_matters(n) for block in node.blocks_ for n in block.body)
    return node.has_effects() and node.kind_ != "prim::unchecked_cast"


def inlined(graph, module=None):
    """A copy of ``graph`` in which calls of functions and methods are replaced by their nodes.

    Args:
        graph (Graph). module (ScriptModule or None): what its first input is, for a method.
    """
    found = Graph(graph.name)
    _inline(graph, found, {}, {}, module, None)
    pool_constants(found)
    return found


def _inline(source, target, known, modules, module, caller):
    """Copies the block ``source`` with calls replaced; ``modules`` maps new values to the modules that they stand for."""
    for k, value in enumerate(source.params):
        if value not in known:
            known[value] = target.add_input(value.type, value.name)
        if k == 0 and module is not None and value.type.name == "Module":
            modules[known[value]] = module
    for node in source.body:
        if node.kind_ == G.CALL_METHOD:
            owner = modules[known[node.args[0]]]
            method = owner._methods[node.attrs["name"]]
            _splice(method.graph, node, target, known, modules, owner, caller)
            continue
        if node.kind_ == G.CALL_FUNCTION:
            _splice(node.attrs["function"].graph, node, target, known, modules, None, caller)
            continue
        place = node.source if caller is None or node.source is None else node.source.called_from(caller)
        fresh = target.append(node.kind_, [known[v] for v in node.args], [v.type for v in node.outs], dict(node.attrs), place)
        for old, new in zip(node.outs, fresh.outs):
            known[old], new.name = new, old.name
            if node.kind_ == G.GET_ATTR and old.type.name == "Module":
                modules[new] = modules[fresh.args[0]]._modules[node.attrs["name"]]
        for block in node.blocks_:
            _inline(block, fresh.add_block(), known, modules, None, caller)
    target.results = [known[v] for v in source.results]


def _splice(graph, call, target, known, modules, module, caller):
    """Puts the nodes of ``graph`` in the place of a call."""
    inner = dict(zip(graph.params, [known[v] for v in call.args]))
    place = call.source if caller is None or call.source is None else call.source.called_from(caller)
    kept = target.results
    _inline(graph, target, inner, modules, module, place)
    result, = target.results
    target.results = kept
    if call.outs:
        known[call.outs[0]] = result


def _paths(graph):
    """The dotted names, as tuples, of what a graph reads of its first input, by the Values."""
    paths = {graph.params[0]: ()}
    for node in graph.all_nodes():
        if node.kind_ == G.GET_ATTR and node.args[0] in paths:
            paths[node.outs[0]] = (*paths[node.args[0]], node.attrs["name"])
    return paths


def written_attributes(graph):
    """The dotted names of what a graph writes of its first input."""
    paths = _paths(graph)
    return {".".join((*paths[n.args[0]], n.attrs["name"])) for n in graph.all_nodes() if n.kind_ == G.SET_ATTR}


def attributes_as_constants(graph, module, keep):
    """Replaces what the graph reads of ``module`` by constants, in place; ``keep`` are dotted names that stay as they are."""
    paths = _paths(graph)
    for node in list(graph.all_nodes()):
        if node.kind_ != G.GET_ATTR or node.outs[0].type.name == "Module":
            continue
        path = paths[node.outs[0]]
        if ".".join(path) in keep:
            continue
        value = module
        for name in path:
            value = getattr(value, name)
        if isinstance(value, Tensor):
            value = value.detach()
        value_name = "self." + ".".join(path)
        node.kind_, node.args, node.attrs = G.CONSTANT, [], {"value": value}
        node.outs[0].name = value_name.replace(".", "_")


def simplify(graph):
    """Works out what depends on constants only, takes the branch of an If that is known, and drops what nobody uses; in place."""
    replaced = {}

    def now(value):
        while value in replaced:
            value = replaced[value]
        return value

    def visit(block):
        body = []
        for node in block.body:
            node.args = [now(v) for v in node.args]
            if node.kind_ == G.IF:
                known, constant = node.args[0].constant()
                if known:
                    taken = node.blocks_[0 if constant else 1]
                    visit(taken)
                    body += taken.body
                    replaced.update({out: now(v) for out, v in zip(node.outs, taken.results)})
                    continue
            for inner in node.blocks_:
                visit(inner)
            _fold(node)
            body.append(node)
        block.body = body
        block.results = [now(v) for v in block.results]
    visit(graph)
    pool_constants(graph)
    clean(graph)


def _fold(node):
    """Turns a node of Python's arithmetic on constants into a constant."""
    if node.kind_ not in _FOLDABLE or not node.outs:
        return
    values = []
    for arg in node.args:
        known, value = arg.constant()
        if not known or not isinstance(value, (bool, int, float, type(None))):
            return
        values.append(value)
    try:
        result = functions.by_kind(node.kind_).call(*values) if node.kind_ not in _PYTHON else _PYTHON[node.kind_](*values[:2])
    except (ArithmeticError, ValueError, TypeError):
        return                                  # an error of the running program
    node.kind_, node.args, node.attrs = G.CONSTANT, [], {"value": result}


_PYTHON = {"aten::add": lambda a, b: a + b, "aten::sub": lambda a, b: a - b, "aten::mul": lambda a, b: a * b,
           "aten::div": lambda a, b: a / b, "aten::remainder": lambda a, b: a % b, "aten::eq": lambda a, b: a == b,
           "aten::ne": lambda a, b: a != b, "aten::lt": lambda a, b: a < b, "aten::le": lambda a, b: a <= b,
           "aten::gt": lambda a, b: a > b, "aten::ge": lambda a, b: a >= b, "aten::neg": lambda a: -a}


def fold_batch_norm(graph):
    """Works batch normalisations of constants into the convolution or linear layer before them; in place."""
    uses = {}
    for value, node in _uses(graph):
        uses.setdefault(value, []).append(node)
    replaced = {}

    def visit(block):
        body = []
        for node in block.body:
            node.args = [replaced.get(v, v) for v in node.args]
            for inner in node.blocks_:
                visit(inner)
            constants = _folded(node, uses) if node.kind_ == "aten::batch_norm" else None
            if constants is None:
                body.append(node)
                continue
            layer = node.args[0].node
            at = body.index(layer) if layer in body else None
            if at is None:                      # in a block around this one
                body.append(node)
                continue
            layer.args[1:3] = [c.outs[0] for c in constants]
            body[at:at] = constants
            replaced[node.outs[0]] = layer.outs[0]
        block.body = body
        block.results = [replaced.get(v, v) for v in block.results]
    visit(graph)
    clean(graph)


def _uses(block):
    """(value, node that uses it, None for a block's result) of a block and those in it."""
    for node in block.body:
        for value in node.args:
            yield value, node
        for inner in node.blocks_:
            yield from _uses(inner)
    for value in block.results:
        yield value, None


def _folded(node, uses):
    """The constants, weight and bias, with which the layer before a batch normalisation does its work, too; None where not."""
    layer = node.args[0].node
    if layer is None or layer.kind_ not in ("aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::linear"):
        return None
    if any(user is None or user is not node and user.kind_ not in ("aten::dim", "aten::size") for user in uses[node.args[0]]):
        return None
    names = functions.by_kind("aten::batch_norm").names
    given = {n: v.constant() for n, v in zip(names, node.args) if n != "input"}
    weight, bias = layer.args[1].constant(), layer.args[2].constant()
    if not all(known for known, _ in [*given.values(), weight, bias]):
        return None
    given = {n: v for n, (_, v) in given.items()}
    if given["training"] or given["running_mean"] is None or weight[1].dtype not in (dtypes.float32, dtypes.float64):
        return None
    with no_grad():
        w, b, mean, var = weight[1], bias[1], given["running_mean"], given["running_var"]
        scale = (var + given["eps"]).rsqrt()
        if given["weight"] is not None:
            scale = scale * given["weight"]
        w = w * scale.reshape(-1, *[1] * (w.dim() - 1))
        b = (-mean if b is None else b - mean) * scale
        if given["bias"] is not None:
            b = b + given["bias"]
    return [G.Node(G.CONSTANT, (), (T.TENSOR,), {"value": value}) for value in (w, b)]
