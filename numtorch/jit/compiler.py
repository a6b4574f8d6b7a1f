"""Compiles a Python function, or a module's method, into a graph: the state of one compilation, and its start.

The parts: ``statements.py``, ``expressions.py``, ``calls.py``; what stands for a name while compiling is in ``sugar.py``.
"""
from . import graph as G
from . import types as T
from .calls import Calls
from .errors import compile_error
from .expressions import Expressions
from .graph import Graph, Value
from .passes import clean, constant_key
from .schema import Argument, Schema, convert
from .statements import Statements
from .sugar import Module, Python, Undefined


class Compiler(Statements, Expressions, Calls):
    """One function on its way to a graph.

    Args:
        code (FunctionSource): the function.
        session (Session): the functions and modules that are being compiled.
        owner (Module or None): the module, of a method.
        assumed (dict): Types of parameters, in place of their annotations.
    """

    def __init__(self, code, session, owner=None, assumed=None):
        self.code, self.session, self.owner, self.assumed = code, session, owner, assumed or {}
        self.graph = self.block = Graph(code.name)
        self.constants, self.env, self.dead = {}, {}, False
        self.loop_types, self.refined, self.in_loop = {}, {}, False
        self.declared = code.returns()
        self.returned = None                    # the type of the return statements so far

    # ---- making nodes ------------------------------------------------------------------------------------------------

    def source(self, node):
        """Where a piece of syntax is."""
        return None if node is None else self.code.source(node)

    def error(self, message, node):
        """The exception for a mistake in the program."""
        return compile_error(message, self.source(node))

    def emit(self, kind, inputs=(), kind_of=(), node=None, **attrs):
        """Adds a node to the current block; returns it."""
        return self.block.append(kind, inputs, kind_of, attrs, self.source(node))

    def emit_value(self, kind, inputs, type, node=None, **attrs):
        """Adds a node with one output; returns that."""
        return self.emit(kind, inputs, (type,), node, **attrs).outs[0]

    def constant(self, value, node=None, type=None):
        """The value of a constant: one node for all its uses, at the start of the graph."""
        kind = type or T.of_value(value)
        key = constant_key(value, kind)
        found = self.constants.get(key)
        if found is None:
            made = G.Node(G.CONSTANT, (), (kind,), {"value": value}, self.source(node))
            found = self.constants[key] = made.outs[0]
        return found

    # ---- the whole function ------------------------------------------------------------------------------------------

    def compile(self):
        """The graph and its Schema."""
        code = self.code
        arguments = []
        for k, (name, kind, default, only, node) in enumerate(code.parameters()):
            if k == 0 and self.owner is not None:
                self.env[name] = Module(self.owner.module, self.graph.add_input(self.owner.type, name), self.owner.builder)
                arguments.append(Argument(name, self.owner.type))
                continue
            kind = self.assumed.get(name, kind)
            inferred = kind is None
            kind = T.TENSOR if inferred else kind
            if inferred and default is None:
                kind = T.optional(T.TENSOR)
            self.check_default(name, kind, default, node)
            self.env[name] = self.graph.add_input(kind, name)
            arguments.append(Argument(name, kind, default, inferred, only))
        self.env.update({"@skip": self.constant(False), "@break": self.constant(False), "@return": self.constant(False)})
        self.statements(code.tree.body)
        result = self.result()
        self.graph.results = [result]
        self.graph.body[:0] = [v.node for v in self.constants.values()]
        clean(self.graph)
        self.graph.name_values()
        return self.graph, Schema(code.name, arguments, result.type)

    def check_default(self, name, kind, default, node):
        """RuntimeError for a default of another type than the parameter's."""
        from .schema import NOTHING, _Misfit

        if default is NOTHING:
            return
        try:
            convert(default, kind)
        except _Misfit:
            raise self.error(f"Expected a default value of type {kind!r} on parameter \"{name}\"", node) from None

    def result(self):
        """The value that the function returns."""
        flag = self.env.get("@return")
        if isinstance(flag, Value) and flag.constant() == (True, False) and not self.dead:
            if self.declared not in (None, T.NONE) and self.declared.name != "Optional":
                raise self.error("Function was not annotated as having type None, but does not return along all paths",
                                 self.code.tree.body[-1])
            return self.constant(None)
        if not self.dead and flag.constant() != (True, True):
            # a path without return gives None
            found = self.env["@ret"]
            if self.declared is None or not T.is_subtype(T.NONE, self.declared):
                raise self.error("Function was not annotated as having type None, but does not return along all paths",
                                 self.code.tree.body[-1])
            node = self.emit(G.IF, (flag,), (self.declared,))
            for result in (found, self.constant(None)):
                node.add_block().results.append(result)
            return node.outs[0]
        found = self.env.get("@ret")
        return self.constant(None) if found is None else found

    def value(self, found, node):
        """What stands for a name or expression as a graph value."""
        if isinstance(found, Value):
            return found
        if isinstance(found, Undefined):
            raise compile_error(f"\n{found.reason}\nand was used here", self.source(node))
        return found.as_value(self, node)

    def python(self, obj, node):
        """A Python object as what stands for it."""
        return Python(obj)
