"""Runs a graph: translates it once into a Python function that calls the operations themselves.

The translation holds nothing but names made here, the keywords of Python's control flow and literals of numbers; all else -
operations, strings, tensors - is looked up in a table of constants. A graph that was read from a file therefore cannot
bring code of its own.
"""
import collections
import inspect
import keyword
import math

from .. import return_types
from ..autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from ..nn.utils.rnn import PackedSequence
from ..tensor import Tensor
from . import functions, results
from . import graph as G
from . import types as T
from .errors import explained

_INFIX = {"aten::add": "+", "aten::sub": "-", "aten::mul": "*", "aten::div": "/", "aten::floordiv": "//", "aten::remainder": "%",
          "aten::eq": "==", "aten::ne": "!=", "aten::lt": "<", "aten::le": "<=", "aten::gt": ">", "aten::ge": ">=",
          "aten::__and__": "&", "aten::__or__": "|", "aten::__xor__": "^", "aten::__lshift__": "<<", "aten::__rshift__": ">>",
          "aten::__is__": "is", "aten::__isnot__": "is not", "aten::floor_divide": "//", "aten::pow": "**",
          "aten::matmul": "@"}
_PREFIX = {"aten::neg": "-", "aten::__not__": "not "}
CONTEXTS = {"no_grad": no_grad, "enable_grad": enable_grad, "set_grad_enabled": set_grad_enabled,
            "inference_mode": inference_mode}
# operations that look at a list as a list: others take it as an argument and leave it as it is
_ON_LISTS = frozenset(("aten::_set_item", "aten::Delete", "aten::__getitem__", "aten::len", "aten::slice", "aten::__contains__",
                       "aten::eq", "aten::ne", "aten::add", "aten::mul", "aten::__is__", "aten::__isnot__"))
_MARK = "_j_"


class Code:
    """The Python text of a graph, line by line, with the node that each line comes from."""

    def __init__(self):
        self.lines, self.nodes, self.constants, self._known = [], [], {}, {}

    def add(self, depth, text, node=None):
        """Adds a line."""
        self.lines.append("    " * depth + text)
        self.nodes.append(node)

    def constant(self, value):
        """The name of an object that the text uses."""
        key = id(value)
        if key not in self._known:
            name = self._known[key] = f"{_MARK}c{len(self._known)}"
            self.constants[name] = value
        return self._known[key]


def compile_graph(graph, schema):
    """The Python function of ``graph``, in which calls of methods and functions are already replaced by their nodes.

    Args:
        graph (Graph): what to run.
        schema (Schema): names, types and defaults of the arguments.

    Returns:
        A function, and the list of nodes by line for ``place_of``.
    """
    return _Writer(graph, schema).write()


class _Writer:
    def __init__(self, graph, schema):
        self.graph, self.schema, self.code = graph, schema, Code()
        self.names, self.free, self.count = {}, [], 0
        self.arguments_only, self.spread_only = _arguments_only(graph), _spread_only(graph)

    # ---- names -------------------------------------------------------------------------------------------------------

    def fresh(self):
        if self.free:
            return self.free.pop()
        self.count += 1
        return f"{_MARK}v{self.count}"

    def name(self, value):
        """The expression that stands for a value: a variable, a literal, or the name of a constant."""
        found = self.names.get(value)
        if found is None:
            known, constant = value.constant()
            if not known:
                raise RuntimeError(f"the graph uses %{value.name} before it is made")
            found = self.names[value] = self.literal(constant)
        return found

    def literal(self, value):
        kind = type(value)
        if value is None or kind is bool:
            return str(value)
        if kind is int or kind is float and math.isfinite(value):
            return repr(value) if value >= 0 else f"({value!r})"
        if kind is tuple and all(type(v) is int for v in value):
            return self.code.constant(value)
        if kind in (list, dict):            # the program may change it: a new one each time
            inside = [self.literal(v) for v in value] if kind is list else [
                f"{self.literal(k)}: {self.literal(v)}" for k, v in value.items()]
            return ("[%s]" if kind is list else "{%s}") % ", ".join(inside)
        return self.code.constant(value)

    # ---- the function ------------------------------------------------------------------------------------------------

    def write(self):
        graph, code = self.graph, self.code
        arguments = self.arguments()
        code.add(0, f"def {_MARK}run({', '.join(arguments)}):")
        code.add(1, "try:")
        for value, argument in zip(graph.params, self.schema.arguments):
            self.check(value, argument)
        self.block(graph, 2)
        result, = graph.results
        code.add(2, f"return {self.name(result)}")
        code.add(1, f"except {code.constant(Exception)} as {_MARK}e:")
        code.add(2, f"{_MARK}e2 = {code.constant(self.explain)}({_MARK}e)")
        code.add(2, f"if {_MARK}e2 is None: raise")
        code.add(2, f"raise {_MARK}e2 from {_MARK}e")
        text = "\n".join(code.lines) + "\n"
        namespace = dict(code.constants)
        exec(compile(text, f"<numtorch.jit {graph.name or 'graph'}>", "exec"), namespace)
        run = namespace[f"{_MARK}run"]
        run.__name__ = run.__qualname__ = self.schema.name or "forward"
        return run

    def arguments(self):
        """The parameters of the Python function."""
        found = []
        for value, argument in zip(self.graph.params, self.schema.arguments):
            name = argument.name
            if not name.isidentifier() or keyword.iskeyword(name) or name.startswith(_MARK):
                raise ValueError(f"{name!r} cannot be the name of an argument")
            self.names[value] = name
            default = "" if not argument.has_default() else f"={self.code.constant(argument.default)}"
            if argument.keyword_only and "*" not in found:
                found.append("*")
            found.append(name + default)
        return found

    def check(self, value, argument):
        """Lines that see to an argument's type: quick for what is right, ``schema.convert`` for the rest."""
        kind, name = argument.type, argument.name
        if kind.name in ("Module", "Any"):
            return
        quick = {"Tensor": f"{name}.__class__ is not {self.code.constant(Tensor)}",
                 "int": f"{name}.__class__ is not {self.code.constant(int)}",
                 "float": f"{name}.__class__ is not {self.code.constant(float)}",
                 "bool": f"{name}.__class__ is not {self.code.constant(bool)}",
                 "str": f"{name}.__class__ is not {self.code.constant(str)}",
                 "Optional": f"{name} is not None"}.get(kind.name)
        call = f"{name} = {self.code.constant(self.schema.convert)}({name}, {self.code.constant(argument)})"
        if quick is None:
            self.code.add(2, call)
        else:
            self.code.add(2, f"if {quick}: {call}")

    def explain(self, error):
        """The exception to raise for one that a node raised; None for one that no node raised."""
        return explained(error, self.code.nodes, f"<numtorch.jit {self.graph.name or 'graph'}>")

    # ---- blocks ------------------------------------------------------------------------------------------------------

    def block(self, block, depth):
        """The lines of a block. A variable is used again once the value in it is used no more, which frees its memory."""
        last = _last_uses(block)
        for k, node in enumerate(block.body):
            self.node(node, depth, [self.names[v] for v in last.get(k, ()) if self.names.get(v, "").startswith(_MARK + "v")])

    def node(self, node, depth, dying):
        kind = node.kind_
        if kind == G.CONSTANT:
            return
        special = _SPECIAL.get(kind)
        if special is not None:
            special(self, node, depth)
            self.free += dying
            return
        expression = self.expression(node)
        if node.outs and _used(node):
            target = self.names[node.outs[0]] = dying.pop() if dying else self.fresh()
            self.code.add(depth, f"{target} = {expression}", node)
        else:
            self.code.add(depth, expression, node)
            for value in node.outs:
                self.names[value] = "None"
        if dying:
            self.code.add(depth, " = ".join(dying) + " = None")
            self.free += dying

    def expression(self, node):
        kind, args = node.kind_, node.args
        if kind in _INFIX and self._is_infix(node):
            return f"{self.name(args[0])} {_INFIX[kind]} {self.name(args[1])}"
        if kind in _PREFIX and args[0].type != T.TENSOR:
            return f"{_PREFIX[kind]}{self.name(args[0])}"
        if kind == "aten::__contains__":
            return f"{self.name(args[1])} in {self.name(args[0])}"
        if kind == "aten::__getitem__":
            return f"{self.name(args[0])}[{self.name(args[1])}]"
        if kind == "aten::slice" and args[0].type.name != "Tensor":
            start, stop, step = (("" if v.constant() == (True, None) else self.name(v)) for v in args[2:5])
            return f"{self.name(args[0])}[{start}:{stop}:{step}]"
        function = functions.by_kind(kind)
        if function is None:
            raise RuntimeError(f"numtorch.jit does not know the operation {kind}")
        return self.call(function, node)

    def _is_infix(self, node):
        args = node.args
        if node.kind_ in ("aten::eq", "aten::ne") and T.NONE in (args[0].type, args[1].type):
            return True
        if args[0].type == T.TENSOR:            # a call is quicker than the detour through Tensor's operator
            return False
        return all(_is_default(v, p) for v, p in zip(args[2:], functions.by_kind(node.kind_).parameters[2:]))

    def call(self, function, node):
        """A call with only the arguments that are not left to their defaults."""
        words, position, target = [], True, function.call
        for value, p in zip(node.args, function.parameters):
            if p.kind is p.VAR_POSITIONAL:
                words += self.spread(value)
                position = False
            elif _is_default(value, p):
                position = False
            else:
                keyword_only = p.kind is p.KEYWORD_ONLY
                words.append(self.argument(value) if position and not keyword_only else f"{p.name}={self.argument(value)}")
        if node.attrs.get("out"):
            target = function.public
            words.append(f"out={self.name(node.args[-1])}")
        call = f"{self.code.constant(target)}({', '.join(words)})"
        name = function.kind.partition("::")[2]
        if name in results.LISTS and node.outs and node.outs[0].type.name == "List" and node.attrs.get("as_list", True):
            return f"[*{call}]"
        return call

    def argument(self, value):
        """An argument of an operation, which does not change lists: constant ones are made once."""
        node = value.node
        if value in self.arguments_only:
            return self.code.constant([v.constant()[1] for v in node.args])
        known, constant = value.constant()
        if known and type(constant) is list:
            return self.code.constant(constant)
        return self.name(value)

    def spread(self, value):
        """The elements of a list as positional arguments."""
        node = value.node
        if node is not None and node.kind_ in ("prim::ListConstruct", "prim::TupleConstruct"):
            return [self.name(v) for v in node.args]
        known, constant = value.constant()
        if known:
            return [self.literal(v) for v in constant]
        return ["*" + self.name(value)]

    # ---- nodes of the language ---------------------------------------------------------------------------------------

    def assign(self, node, depth, text):
        """``output = text``, where the output is used."""
        if node.outs:
            target = self.names[node.outs[0]] = self.fresh()
            self.code.add(depth, f"{target} = {text}", node)
        else:
            self.code.add(depth, text, node)

    def get_attr(self, node, depth):
        name = node.attrs["name"]
        owner = self.name(node.args[0])
        if _plain(name):
            self.assign(node, depth, f"{owner}.{name}")
        else:                               # "0" of a Sequential
            self.assign(node, depth, f"{self.code.constant(getattr)}({owner}, {self.code.constant(name)})")

    def set_attr(self, node, depth):
        name, (owner, value) = node.attrs["name"], map(self.name, node.args)
        self.code.add(depth, f"{self.code.constant(setattr)}({owner}, {self.code.constant(name)}, {value})", node)

    def sequence(self, node, depth):
        inside = [self.name(v) for v in node.args]
        if node.kind_ == "prim::ListConstruct":
            if node.outs[0] in self.arguments_only or node.outs[0] in self.spread_only:
                return                      # ``argument`` or ``spread`` writes it
            self.assign(node, depth, f"[{', '.join(inside)}]")
        elif node.kind_ == "prim::DictConstruct":
            self.assign(node, depth, "{" + ", ".join(f"{k}: {v}" for k, v in zip(inside[::2], inside[1::2])) + "}")
        elif node.outs[0].type.name == "NamedTuple":
            kind = node.outs[0].type
            self.assign(node, depth, f"{self.code.constant(named_tuple_class(kind))}({', '.join(inside)})")
        else:
            self.assign(node, depth, f"({', '.join(inside)}{',' if len(inside) == 1 else ''})")

    def unpack(self, node, depth):
        targets = []
        for value in node.outs:
            self.names[value] = self.fresh()
            targets.append(self.names[value])
        if targets:
            self.code.add(depth, f"{', '.join(targets)}{',' if len(targets) == 1 else ''} = {self.name(node.args[0])}", node)

    def tuple_index(self, node, depth):
        self.assign(node, depth, f"{self.name(node.args[0])}[{int(node.attrs['index'])}]")

    def alias(self, node, depth):
        self.names[node.outs[0]] = self.name(node.args[0])

    def uninitialized(self, node, depth):
        self.names[node.outs[0]] = "None"

    def python_op(self, node, depth):
        inside = ", ".join(map(self.name, node.args))
        self.assign(node, depth, f"{self.code.constant(node.attrs['callable'])}({inside})")

    def if_(self, node, depth):
        outs = [self.fresh() for _ in node.outs]
        self.code.add(depth, f"if {self.name(node.args[0])}:", node)
        then, other = node.blocks_
        self.branch(then, outs, depth + 1)
        if other.body or outs:
            self.code.add(depth, "else:")
            self.branch(other, outs, depth + 1)
        for value, name in zip(node.outs, outs):
            self.names[value] = name

    def branch(self, block, outs, depth):
        free, start = list(self.free), len(self.code.lines)     # what a branch takes, the other may take as well
        self.block(block, depth)
        self.move(outs, [self.name(v) for v in block.results], depth)
        if len(self.code.lines) == start:
            self.code.add(depth, "pass")
        self.free = free + [n for n in self.free if n not in free]

    def move(self, targets, sources, depth):
        pairs = [(t, s) for t, s in zip(targets, sources) if t != s]
        if pairs:
            self.code.add(depth, f"{', '.join(t for t, _ in pairs)} = {', '.join(s for _, s in pairs)}")

    def loop(self, node, depth):
        trips, condition, *carried = node.args
        block, = node.blocks_
        index, *params = block.params
        variables = [self.fresh() for _ in params]
        self.move(variables, [self.name(v) for v in carried], depth)
        for value, name in zip(params, variables):
            self.names[value] = name
        go_on, *after = block.results
        forever = trips.constant() == (True, G.FOREVER)
        always = condition.constant() == (True, True)
        again = go_on.constant() == (True, True)
        counter = self.names[index] = self.fresh()
        uses_index = any(index in n.args for n in block.all_nodes()) or index in block.results
        if always and again and not forever:
            self.code.add(depth, f"for {counter} in {self.code.constant(range)}({self.name(trips)}):", node)
            tail = None
        else:
            tests = [] if forever else [f"{counter} < {self.name(trips)}"]
            going = None
            if not (always and again):
                going = self.fresh()
                self.code.add(depth, f"{going} = {self.name(condition)}")
                tests.insert(0, going)
            if not forever or uses_index:
                self.code.add(depth, f"{counter} = 0")
            self.code.add(depth, f"while {' and '.join(tests) or 'True'}:", node)
            tail = going
        self.block(block, depth + 1)
        targets = list(variables) + ([tail] if tail else [])
        self.move(targets, [self.name(v) for v in after] + ([self.name(go_on)] if tail else []), depth + 1)
        if (not forever or uses_index) and not (always and again and not forever):
            self.code.add(depth + 1, f"{counter} += 1")
        elif self.code.lines[-1].endswith(":"):
            self.code.add(depth + 1, "pass")
        for value, name in zip(node.outs, variables):
            self.names[value] = name

    def with_(self, node, depth):
        self.code.add(depth, f"with {self.name(node.args[0])}:", node)
        outs = [self.fresh() for _ in node.outs]
        self.branch(node.blocks_[0], outs, depth + 1)
        for value, name in zip(node.outs, outs):
            self.names[value] = name

    def context(self, node, depth):
        inside = ", ".join(map(self.name, node.args))
        self.assign(node, depth, f"{self.code.constant(CONTEXTS[node.attrs['name']])}({inside})")

    def raise_(self, node, depth):
        function = functions.by_kind(node.kind_)
        self.code.add(depth, f"{self.code.constant(function.call)}({', '.join(map(self.name, node.args))})", node)
        for value in node.outs:
            self.names[value] = "None"

    def print_(self, node, depth):
        self.code.add(depth, f"{self.code.constant(print)}({', '.join(map(self.name, node.args))})", node)


_SPECIAL = {G.GET_ATTR: _Writer.get_attr, G.SET_ATTR: _Writer.set_attr, "prim::ListConstruct": _Writer.sequence,
            "prim::TupleConstruct": _Writer.sequence, "prim::DictConstruct": _Writer.sequence,
            "prim::TupleUnpack": _Writer.unpack, "prim::ListUnpack": _Writer.unpack, "prim::TupleIndex": _Writer.tuple_index,
            "prim::unchecked_cast": _Writer.alias, "prim::Uninitialized": _Writer.uninitialized,
            "prim::PythonOp": _Writer.python_op, G.IF: _Writer.if_, G.LOOP: _Writer.loop, G.WITH: _Writer.with_,
            "prim::Context": _Writer.context, "prim::RaiseException": _Writer.raise_, "prim::Print": _Writer.print_}


def _plain(name):
    """Whether an attribute's name can stand in Python's text as it is."""
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")




def _spread_only(graph):
    """The lists that only stand for ``*values`` of calls: none is made."""
    found = {n.outs[0] for n in graph.findAllNodes("prim::ListConstruct")}
    for node in graph.all_nodes():
        function = functions.by_kind(node.kind_)
        for k, value in enumerate(node.args):
            variadic = function is not None and k < len(function.parameters) and \
                function.parameters[k].kind is inspect.Parameter.VAR_POSITIONAL
            if not variadic:
                found.discard(value)
        for block in node.blocks_:
            found.difference_update(block.results)
    return found.difference(graph.results)


def named_tuple_class(kind):
    """What makes a named tuple of a type: an operation's own class, or one made from the fields."""
    found = _named_tuples.get((kind.label, kind.fields))
    if found is None:
        own = PackedSequence if kind.label == "PackedSequence" else getattr(return_types, kind.label or "", None)
        if own is not None and getattr(own, "_fields", None) == kind.fields:
            def found(*values):
                return own(*values) if own is PackedSequence else own(values)
        else:
            found = collections.namedtuple(kind.label or "NamedTuple", kind.fields, module="numtorch.jit")
        _named_tuples[kind.label, kind.fields] = found
    return found


def _is_default(value, parameter):
    known, constant = value.constant()
    default = parameter.default
    return known and default is not parameter.empty and type(constant) is type(default) and constant == default


def _used(node):
    return node.outs[0].type != T.NONE or not node.has_effects()


_named_tuples = {}


def _arguments_only(graph):
    """The lists of constants that serve only as arguments of operations: one each is made for all runs."""
    found = {n.outs[0] for n in graph.findAllNodes("prim::ListConstruct") if all(v.constant()[0] for v in n.args)}
    for node in graph.all_nodes():
        calls = node.kind_.partition("::")[0] in ("aten", "nn") and node.kind_ not in _ON_LISTS
        if not calls:
            found.difference_update(node.args)
        for block in node.blocks_:
            found.difference_update(block.results)
    return found.difference(graph.results)


def _last_uses(block):
    """For each node's place in a block, the values of that block which are not used after it."""
    own = {value for node in block.body for value in node.outs}
    last, kept = {}, set(block.results)
    for k, node in enumerate(block.body):
        for value in _uses(node):
            if value in own:
                last[value] = k
        if node.kind_ == "prim::unchecked_cast":        # another name of the same variable
            kept |= {node.args[0], node.outs[0]}
    found = {}
    for value, k in last.items():
        if value not in kept:
            found.setdefault(k, []).append(value)
    return found


def _uses(node):
    yield from node.args
    for block in node.blocks_:
        for inner in block.body:
            yield from _uses(inner)
        yield from block.results
