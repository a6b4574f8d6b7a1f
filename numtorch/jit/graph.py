"""The graph: what ``jit.trace`` and ``jit.script`` make of a program, and what runs, is saved and is compiled.

A ``Graph`` is a ``Block`` of ``Node``s in the order in which they run. A node has a kind, input ``Value``s, output values, and
attributes; each value is made once, by a node or as a block's input, and has a ``Type``. The kinds:

    aten::NAME, nn::NAME    an operation of the registry: one input for each parameter of its Python function (``functions.py``)
    prim::Constant          its attribute ``value``: a number, string, None, Tensor, dtype ..., or a nest of them
    prim::GetAttr, SetAttr  attribute ``name`` of a module
    prim::CallMethod        method ``name`` of a module; prim::CallFunction: its attribute ``function``, a ScriptFunction
    prim::If                one bool input, two blocks; its outputs are those of the block that runs
    prim::Loop              inputs (most trips, go on?, carried values ...), a block (trip, carried ...) -> (go on?, carried ...)
    prim::With              a context manager and a block that runs inside it
    prim::ListConstruct, TupleConstruct, DictConstruct, TupleUnpack, ListUnpack, TupleIndex, RaiseException, Print ...
"""
import math

from ..tensor import Tensor
from . import types as T

CONSTANT, GET_ATTR, SET_ATTR, IF, LOOP = "prim::Constant", "prim::GetAttr", "prim::SetAttr", "prim::If", "prim::Loop"
CALL_METHOD, CALL_FUNCTION, WITH = "prim::CallMethod", "prim::CallFunction", "prim::With"
FOREVER = 2 ** 63 - 1       # the trip count of a while loop

# kinds that do something besides making their outputs; so do all whose name ends in "_" and those that draw numbers
_EFFECTS = frozenset((SET_ATTR, CALL_METHOD, CALL_FUNCTION, WITH, IF, LOOP, "prim::RaiseException", "prim::Print",
                      "prim::PythonOp", "aten::_set_item", "aten::Delete", "prim::unchecked_cast", "prim::fork", "aten::wait",
                      "list::append", "list::extend", "list::insert", "list::pop", "list::remove", "list::clear",
                      "list::reverse", "list::sort", "dict::pop", "dict::popitem", "dict::clear", "dict::update",
                      "dict::setdefault", "aten::backward", "prim::Warn"))
_RANDOM = frozenset(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "rand", "randn", "rand_like",
                     "randn_like", "randint", "randint_like", "randperm", "normal", "bernoulli", "poisson", "multinomial",
                     "rrelu", "gumbel_softmax", "uniform_", "normal_", "random_", "bernoulli_", "exponential_", "geometric_",
                     "cauchy_", "log_normal_", "dropout1d", "dropout2d", "dropout3d", "lstm", "gru", "rnn_tanh", "rnn_relu"))


class Value:
    """What a node makes: its ``node`` (None for an input of a block), its ``type``, and a ``name`` to print."""

    __slots__ = ("node", "type", "name")

    def __init__(self, type, node=None, name=None):
        self.type, self.node, self.name = type, node, name

    def debugName(self):
        """The name, without its %."""
        return self.name

    def constant(self):
        """(True, value) of a constant, else (False, None)."""
        if self.node is not None and self.node.kind_ == CONSTANT:
            return True, self.node.attrs["value"]
        return False, None

    def __repr__(self):
        return f"{self.name} defined in ({self.node})"


class Node:
    """One step of a program; see the module's docstring for the kinds.

    Args:
        kind (str): what it does.
        inputs (list of Values): what it works on.
        outputs (list of Types): what it makes.
        attrs (dict): what does not change from run to run.
        source (Source): where in the user's program it comes from.
    """

    __slots__ = ("kind_", "args", "outs", "attrs", "blocks_", "source")

    def __init__(self, kind, inputs=(), outputs=(), attrs=None, source=None):
        self.kind_, self.args, self.attrs, self.source = kind, list(inputs), attrs or {}, source
        self.outs, self.blocks_ = [Value(t, self) for t in outputs], []

    def kind(self):
        """The kind."""
        return self.kind_

    def inputs(self):
        """The input values, in order."""
        return iter(self.args)

    def outputs(self):
        """The values that it makes, in order."""
        return iter(self.outs)

    def inputsSize(self):
        """The number of inputs."""
        return len(self.args)

    def outputsSize(self):
        """The number of outputs."""
        return len(self.outs)

    def output(self):
        """The only output."""
        value, = self.outs
        return value

    def blocks(self):
        """The blocks of an If, Loop or With."""
        return iter(self.blocks_)

    def attributeNames(self):
        """The names of the attributes."""
        return list(self.attrs)

    def sourceRange(self):
        """The place in the user's program, as text."""
        return "" if self.source is None else self.source.highlight()

    def add_block(self):
        """A new block of this node."""
        block = Block()
        self.blocks_.append(block)
        return block

    def has_effects(self):
        """True where the node matters even if nobody uses its outputs."""
        return self.kind_ in _EFFECTS or self.kind_.endswith("_") or self.isNondeterministic()

    def isNondeterministic(self):
        """True where the node draws random numbers."""
        name = self.kind_.partition("::")[2]
        if name not in _RANDOM:
            return False
        if name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):     # num_layers, dropout, train
            return not (self.args[5].constant() == (True, 0.0) or self.args[6].constant() == (True, False))
        if "dropout" in name or name == "rrelu":
            return not any(v.type == T.BOOL and v.constant() == (True, False) for v in self.args[1:4])
        return True

    def __repr__(self):
        return "".join(_node_lines(self, 0))


class Block:
    """Nodes in the order in which they run, between inputs and outputs."""

    __slots__ = ("params", "body", "results")

    def __init__(self):
        self.params, self.body, self.results = [], [], []

    def inputs(self):
        """The values that come in."""
        return iter(self.params)

    def outputs(self):
        """The values that go out."""
        return iter(self.results)

    def nodes(self):
        """The nodes, in order."""
        return iter(self.body)

    def add_input(self, type, name=None):
        """A new input value."""
        value = Value(type, None, name)
        self.params.append(value)
        return value

    def append(self, kind, inputs=(), outputs=(), attrs=None, source=None):
        """Adds a node at the end; returns it."""
        node = Node(kind, inputs, outputs, attrs, source)
        self.body.append(node)
        return node

    def all_nodes(self):
        """The nodes, and those of their blocks, parents first."""
        for node in self.body:
            yield node
            for block in node.blocks_:
                yield from block.all_nodes()

    def findNode(self, kind, recurse=True):
        """The first node of a kind, or None."""
        return next((n for n in (self.all_nodes() if recurse else self.body) if n.kind_ == kind), None)

    def findAllNodes(self, kind, recurse=True):
        """All nodes of a kind."""
        return [n for n in (self.all_nodes() if recurse else self.body) if n.kind_ == kind]


class Graph(Block):
    """A whole program: a block with a name, and with exactly one result: None for nothing, a tuple for several."""

    __slots__ = ("name",)

    def __init__(self, name=""):
        super().__init__()
        self.name = name

    def text(self, show=str):
        """The graph as text; ``show`` gives that of a type."""
        self.name_values()
        head = ",\n      ".join(f"%{v.name} : {show(v.type)}" for v in self.params)
        lines = [line for node in self.body for line in _node_lines(node, 1, show)]
        return f"graph({head}):\n" + "".join(lines) + f"  return ({', '.join('%' + v.name for v in self.results)})\n"

    __str__ = __repr__ = lambda self: self.text()

    def __deepcopy__(self, memo):
        return self                 # a finished graph does not change

    def name_values(self):
        """Gives every value a name of its own: the variable's with a number where it is not the first, or a number."""
        taken, counter = {}, 0

        def name(value):
            nonlocal counter
            base = value.name.partition(".")[0] if value.name and not value.name.isdigit() else ""
            if not base:
                counter += 1
                value.name = str(counter)
                return
            k = taken[base] = taken.get(base, -1) + 1
            value.name = f"{base}.{k}" if k else base

        def visit(block):
            for value in block.params:
                name(value)
            for node in block.body:
                for inner in node.blocks_:
                    visit(inner)
                for value in node.outs:
                    name(value)
        visit(self)

    def copy(self):
        """A graph of new nodes and values; constants and attributes are shared."""
        found = Graph(self.name)
        copy_block(self, found, {})
        return found

    def lint(self):
        """RuntimeError unless every value that is used was made before, in the same block or around it."""
        def check(block, known):
            known = known | set(block.params)
            for node in block.body:
                for value in node.args:
                    if value not in known:
                        raise RuntimeError(f"{node.kind_} uses a value that is not there: {value.name}")
                for inner in node.blocks_:
                    check(inner, known)
                known |= set(node.outs)
            for value in block.results:
                if value not in known:
                    raise RuntimeError(f"a block returns a value that is not there: {value.name}")
        check(self, set())


def copy_block(source, target, known):
    """Adds copies of the nodes of ``source`` to ``target``; ``known`` maps old values to new ones, and is added to."""
    for value in source.params:
        if value not in known:
            known[value] = target.add_input(value.type, value.name)
    copy_nodes(source.body, target, known)
    target.results = [known[v] for v in source.results]


def copy_nodes(nodes, target, known):
    """Copies of ``nodes`` at the end of the block ``target``."""
    for node in nodes:
        fresh = target.append(node.kind_, [known[v] for v in node.args], [v.type for v in node.outs], dict(node.attrs),
                              node.source)
        for old, new in zip(node.outs, fresh.outs):
            known[old], new.name = new, old.name
        for block in node.blocks_:
            copy_block(block, fresh.add_block(), known)


# ---- printing ----------------------------------------------------------------------------------------------------------

def _node_lines(node, depth, show=str):
    pad = "  " * depth
    outs = ", ".join(f"%{v.name} : {show(v.type)}" for v in node.outs)
    attrs = ", ".join(f"{k}={attribute_text(v)}" for k, v in node.attrs.items()
                      if k != "function" and not (k == "value" and v is None))
    attrs = f"[{attrs}]" if attrs else ""
    if "function" in node.attrs:
        attrs = f"[name={attribute_text(node.attrs['function'].__name__)}]"
    place = "" if node.source is None else f" # {node.source}"
    yield f"{pad}{outs} = {node.kind_}{attrs}({', '.join('%' + str(v.name) for v in node.args)}){place}\n"
    for k, block in enumerate(node.blocks_):
        head = ", ".join(f"%{v.name} : {show(v.type)}" for v in block.params)
        yield f"{pad}  block{k}({head}):\n"
        for inner in block.body:
            yield from _node_lines(inner, depth + 2, show)
        yield f"{pad}    -> ({', '.join('%' + str(v.name) for v in block.results)})\n"


def attribute_text(value):
    """An attribute as graphs print it."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, Tensor):
        return f"{{{value.item()}}}" if value.numel() == 1 else "<Tensor>"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(map(attribute_text, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    return repr(value)


def float_text(value):
    """A float with 17 digits, as torch prints it: 0.10000000000000001, 2."""
    if not math.isfinite(value):
        return str(value)
    text = f"{value:.17g}"
    return text if any(c in text for c in ".e") else text + "."
