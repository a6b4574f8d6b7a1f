"""Expressions of a script: names, operators, comparisons, containers, indexing, comprehensions, f-strings."""
import ast
import operator

from . import functions, results
from . import graph as G
from . import types as T
from .errors import NotSupportedError, UnsupportedNodeError
from .graph import Value
from .sugar import Items, Iteration, Module, Python, Undefined

_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "remainder",
           ast.Pow: "pow", ast.MatMult: "matmul", ast.BitAnd: "__and__", ast.BitOr: "__or__", ast.BitXor: "__xor__",
           ast.LShift: "__lshift__", ast.RShift: "__rshift__"}
_OF_TENSORS = {"floordiv": "floor_divide", "__and__": "bitwise_and", "__or__": "bitwise_or", "__xor__": "bitwise_xor",
               "__lshift__": "bitwise_left_shift", "__rshift__": "bitwise_right_shift"}
_COMPARE = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
_SWAPPED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne", "add": "add", "mul": "mul",
            "bitwise_and": "bitwise_and", "bitwise_or": "bitwise_or", "bitwise_xor": "bitwise_xor"}
_FOLDED = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv, "floordiv": operator.floordiv,
           "remainder": operator.mod, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le,
           "gt": operator.gt, "ge": operator.ge, "pow": lambda a, b: float(a ** b)}
_PLAIN = (bool, int, float, str, type(None))


class Expressions:
    """The part of the Compiler that goes through expressions."""

    def expression(self, node, hint=None):
        """What an expression stands for; ``hint`` is the Type expected, for empty lists and dicts."""
        method = getattr(self, "of_" + type(node).__name__, None)
        if method is None:
            raise UnsupportedNodeError(self.source(node), f"{type(node).__name__} aren't supported")
        if hint is not None and isinstance(node, (ast.List, ast.Dict, ast.ListComp, ast.DictComp, ast.Tuple, ast.IfExp)):
            return method(node, hint)
        return method(node)

    def of_Constant(self, node):
        """A literal."""
        if node.value is Ellipsis or isinstance(node.value, bytes):
            raise NotSupportedError(self.source(node), f"{type(node.value).__name__} literals aren't supported")
        return self.constant(node.value, node)

    def of_Name(self, node):
        """A variable, or a name of the function's surroundings."""
        found = self.env.get(node.id)
        if isinstance(found, Undefined):
            found.as_value(self, node)
        if found is not None:
            return found
        known, obj = self.code.lookup(node.id)
        if not known:
            raise self.error(f"undefined value {node.id}", node)
        return self.python(obj, node)

    def of_Attribute(self, node):
        """``owner.name``."""
        return self.attribute(self.expression(node.value), node.attr, node)

    def of_Call(self, node):
        """A call."""
        return self.call(node)

    # ---- operators ---------------------------------------------------------------------------------------------------

    def of_BinOp(self, node):
        """``a + b``."""
        return self.binary(node.op, self.expression(node.left), self.expression(node.right), node)

    def binary(self, op, left, right, node):
        """An arithmetic operator."""
        name = _BINARY.get(type(op))
        a, b = self.value(left, getattr(node, "left", node)), self.value(right, getattr(node, "right", node))
        if a.type == T.STR and name == "remainder":
            values = self.elements(b, node) if b.type.name == "Tuple" else [b]
            packed = self.emit_value("prim::TupleConstruct", values, T.tuple_of(*[v.type for v in values]), node)
            return self.emit_value("aten::percentFormat", (a, packed), T.STR, node)
        if a.type.name == b.type.name == "Tuple" and name == "add":
            values = [*self.elements(a, node), *self.elements(b, node)]
            return self.emit_value("prim::TupleConstruct", values, T.tuple_of(*[v.type for v in values]), node)
        return self.operator(name, a, b, node)

    def operator(self, name, a, b, node):
        """A binary operator on values."""
        a, b = self.unwrapped(a, node), self.unwrapped(b, node)
        if T.TENSOR in (a.type, b.type):
            name = _OF_TENSORS.get(name, name)
            if a.type != T.TENSOR:
                if name in _SWAPPED:
                    a, b, name = b, a, _SWAPPED[name]
                elif name == "sub":
                    return self.operation("aten::rsub", (b, a), {}, node)
                elif name == "div":
                    return self.operation("aten::mul", (self.operation("aten::reciprocal", (b,), {}, node), a), {}, node)
                elif name != "pow":
                    a = self.emit_value("prim::NumToTensor", (a,), T.TENSOR, node)
            if a.type not in (T.TENSOR, *T.NUMBERS) or b.type not in (T.TENSOR, *T.NUMBERS):
                raise self._no_operator(name, a, b, node)
            return self.operation(f"aten::{name}", (a, b), {}, node)
        (known_a, x), (known_b, y) = a.constant(), b.constant()
        if known_a and known_b and name in _FOLDED and isinstance(x, _PLAIN) and isinstance(y, _PLAIN):
            try:
                return self.constant(_FOLDED[name](x, y), node)
            except (TypeError, ZeroDivisionError, OverflowError):
                pass                            # an error of the running program
        if name in ("eq", "ne") and not (a.type in T.NUMBERS and b.type in T.NUMBERS) and a.type != b.type:
            if T.unify(a.type, b.type) is None:
                raise self._no_operator(name, a, b, node)
            return self.emit_value(f"aten::{name}", (a, b), T.BOOL, node)
        kind = results.scalar_result(name, a.type, b.type)
        if kind is None:
            raise self._no_operator(name, a, b, node)
        if name == "pow":
            return self.emit_value("math::pow", (a, b), kind, node)
        if name in ("__and__", "__or__", "__xor__") and a.type == b.type == T.BOOL:
            kind = T.BOOL
        return self.emit_value(f"aten::{name}", (a, b), kind, node)

    def _no_operator(self, name, a, b, node):
        return self.error(f"\nArguments for call are not valid: aten::{name} takes no values of types {a.type!r} and "
                          f"{b.type!r}", node)

    def unwrapped(self, value, node):
        """A value that must not be None."""
        if value.type.name == "Optional":
            raise self.error(f"a value of type '{value.type!r}' may be None here: check it with 'is not None' first "
                             f"(Expected a value of type '{T.unwrap(value.type)!r}' but instead found type "
                             f"'{value.type!r}')", node)
        return value

    def of_UnaryOp(self, node):
        """``-a``, ``not a``, ``~a``."""
        if isinstance(node.op, ast.Not):
            condition = self.boolean(self.expression(node.operand), node)
            known, value = condition.constant()
            return self.constant(not value) if known else self.emit_value("aten::__not__", (condition,), T.BOOL, node)
        a = self.unwrapped(self.value(self.expression(node.operand), node), node)
        known, value = a.constant()
        if isinstance(node.op, ast.USub):
            if known and isinstance(value, (int, float)):
                return self.constant(-value, node)
            return self.operation("aten::neg", (a,), {}, node) if a.type == T.TENSOR else self.emit_value(
                "aten::neg", (a,), T.INT if a.type == T.BOOL else a.type, node)
        if isinstance(node.op, ast.UAdd):
            return a
        if a.type == T.TENSOR:
            return self.operation("aten::bitwise_not", (a,), {}, node)
        return self.emit_value("math::invert", (a,), T.INT, node)

    # ---- conditions --------------------------------------------------------------------------------------------------

    def condition(self, node):
        """(bool Value, {variable: Type where it is true}, {variable: Type where it is false})."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            value, true, false = self.condition(node.operand)
            known, constant = value.constant()
            negated = self.constant(not constant) if known else self.emit_value("aten::__not__", (value,), T.BOOL, node)
            return negated, false, true
        if isinstance(node, ast.BoolOp):
            return self.connected(node)
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Is, ast.IsNot)):
            return self.is_none(node)
        if isinstance(node, ast.Call):
            found = self.narrowing(node)
            if found is not None:
                return found
        return self.boolean(self.expression(node), node), {}, {}

    def boolean(self, found, node):
        """A value as a condition."""
        if isinstance(found, (Items, Module)) or isinstance(found, Python) and not found.usable:
            raise self.error(f"Could not cast {found.describe()} to bool", node)
        value = self.value(found, node)
        known, constant = value.constant()
        if known and not isinstance(constant, (list, dict, tuple)) and value.type in (*T.NUMBERS, T.STR, T.NONE):
            return self.constant(bool(constant))
        if value.type == T.BOOL:
            return value
        if value.type in T.NUMBERS or value.type in (T.TENSOR, T.STR) or value.type.name in ("List", "Dict"):
            return self.emit_value("aten::Bool", (value,), T.BOOL, node)
        raise self.error(f"Could not cast value of type {value.type!r} to bool", node)

    def is_none(self, node):
        """``x is None``, ``x is not None``, and ``is`` of two values."""
        positive = isinstance(node.ops[0], ast.Is)
        left, right = self.expression(node.left), self.expression(node.comparators[0])
        if isinstance(left, Module) or isinstance(right, Module):
            both = isinstance(left, Module) and isinstance(right, Module)
            return self.constant((both and left.module is right.module) is positive), {}, {}
        if isinstance(left, Python) and isinstance(right, Python):
            return self.constant((left.obj is right.obj) is positive), {}, {}
        a, b = self.value(left, node), self.value(right, node)
        kind = "aten::__is__" if positive else "aten::__isnot__"
        if T.NONE not in (a.type, b.type):
            return self.emit_value(kind, (a, b), T.BOOL, node), {}, {}
        value, where = (a, node.left) if b.type == T.NONE else (b, node.comparators[0])
        if value.type == T.NONE:
            return self.constant(positive), {}, {}
        if value.type.name not in ("Optional", "Any"):
            return self.constant(not positive), {}, {}
        none, some = {}, {}
        if isinstance(where, ast.Name):
            none = {where.id: T.NONE}
            some = {where.id: T.unwrap(value.type)} if value.type.name == "Optional" else {}
        result = self.emit_value(kind, (a, b), T.BOOL, node)
        return result, *((none, some) if positive else (some, none))

    def connected(self, node):
        """``a and b``, ``a or b``: the second runs only if the first does not decide."""
        first, *rest = node.values
        last = rest[0] if len(rest) == 1 else ast.copy_location(ast.BoolOp(node.op, rest), node)
        both = isinstance(node.op, ast.And)
        value, true, false = self.condition(first)
        known, constant = value.constant()
        if known:
            if bool(constant) is not both:
                return self.constant(not both), {}, {}
            saved = dict(self.env)
            self.refine(true if both else false, node)
            found, more_true, more_false = self.condition(last)
            self.env = saved
            return found, {**true, **more_true} if both else more_true, more_false if both else {**false, **more_false}
        made = self.emit(G.IF, (value,), (T.BOOL,), node)
        outer, saved = self.block, self.env
        blocks = made.add_block(), made.add_block()
        self.block, self.env = blocks[0 if both else 1], dict(saved)
        self.refine(true if both else false, node)
        second, more_true, more_false = self.condition(last)
        blocks[0 if both else 1].results.append(second)
        blocks[1 if both else 0].results.append(self.constant(not both))
        self.block, self.env = outer, saved
        if both:
            return made.outs[0], {**true, **more_true}, {}
        return made.outs[0], {}, {**false, **more_false}

    def of_BoolOp(self, node):
        """``a and b`` as a value: a bool, as all conditions of scripts."""
        return self.condition(node)[0]

    def of_Compare(self, node):
        """``a < b``, and chains of comparisons."""
        if len(node.ops) > 1:
            middle, pairs, left = [], [], node.left
            for op, right in zip(node.ops, node.comparators):
                pairs.append(ast.copy_location(ast.Compare(left, [op], [right]), node))
                left = right
                middle.append(right)
            return self.condition(ast.copy_location(ast.BoolOp(ast.And(), pairs), node))[0]
        op = node.ops[0]
        if isinstance(op, (ast.Is, ast.IsNot)):
            return self.is_none(node)[0]
        left, right = self.expression(node.left), self.expression(node.comparators[0])
        if isinstance(op, (ast.In, ast.NotIn)):
            return self.contains(left, right, isinstance(op, ast.NotIn), node)
        name = _COMPARE[type(op)]
        if isinstance(left, Python) and isinstance(right, Python) and name in ("eq", "ne"):
            return self.constant((left.obj == right.obj) is (name == "eq"))
        return self.operator(name, self.value(left, node), self.value(right, node), node)

    def contains(self, item, container, negated, node):
        """``item in container``."""
        if isinstance(container, Items) and container.keys is not None:
            known, key = self.value(item, node).constant()
            if known:
                return self.constant((key in container.keys) is not negated)
        item, container = self.value(item, node), self.value(container, node)
        (known, key), (fixed, content) = item.constant(), container.constant()
        if known and fixed:
            return self.constant((key in content) is not negated)
        if fixed and isinstance(content, tuple) and len(content) == 1:
            return self.operator("ne" if negated else "eq", item, self.constant(content[0]), node)
        if container.type.name == "Tuple" and not (fixed and item.type in T.NUMBERS):
            members = self.elements(container, node)
            container = self.emit_value("prim::ListConstruct", members, T.list_of(T.unify_all([m.type for m in members])), node)
        found = self.emit_value("aten::__contains__", (container, item), T.BOOL, node)
        return self.emit_value("aten::__not__", (found,), T.BOOL, node) if negated else found

    def of_IfExp(self, node, hint=None):
        """``a if condition else b``."""
        condition, true, false = self.condition(node.test)
        known, constant = condition.constant()
        if known:
            saved = dict(self.env)
            self.refine(true if constant else false, node)
            found = self.expression(node.body if constant else node.orelse, hint)
            self.env = saved
            return found
        made = self.emit(G.IF, (condition,), (), node)
        outer, saved, values = self.block, self.env, []
        for types, part in ((true, node.body), (false, node.orelse)):
            self.block, self.env = made.add_block(), dict(saved)
            self.refine(types, node)
            values.append(self.value(self.expression(part, hint), part))
            self.block.results.append(values[-1])
        self.block, self.env = outer, saved
        kind = T.unify(values[0].type, values[1].type)
        if kind is None:
            raise self.error("if-expression's true branch has type " + values[0].type.annotation() + " but false branch has type "
                             + values[1].type.annotation(), node)
        made.outs.append(Value(kind, made))
        return made.outs[0]

    # ---- containers --------------------------------------------------------------------------------------------------

    def spread(self, nodes, hint=None):
        """The values of the elements of a display, ``*list`` of known length among them."""
        found = []
        for n in nodes:
            if isinstance(n, ast.Starred):
                found += self.items_of(self.expression(n.value), 0, n) if self._static(n) else [None]
            else:
                found.append(self.value(self.expression(n, hint), n))
        return found

    def _static(self, node):
        found = self.expression(node.value)
        if isinstance(found, Items) or self.value(found, node).type.name in ("Tuple", "NamedTuple"):
            return True
        raise NotSupportedError(self.source(node), "'*' of something whose length is not known isn't supported here")

    def of_Tuple(self, node, hint=None):
        """``(a, b)``."""
        parts = []
        hints = [None] * len(node.elts)
        if hint is not None and hint.name == "Tuple" and len(hint.args) == len(node.elts):
            hints = hint.args
        if any(isinstance(e, ast.Starred) for e in node.elts):
            parts = self.spread(node.elts)
        else:
            parts = [self.expression(e, h) for e, h in zip(node.elts, hints)]
            if any(isinstance(p, (Module, Items)) for p in parts):
                return Items(parts)
            parts = [self.value(p, e) for p, e in zip(parts, node.elts)]
        return self.emit_value("prim::TupleConstruct", parts, T.tuple_of(*[v.type for v in parts]), node)

    def of_List(self, node, hint=None):
        """``[a, b]``."""
        inside = hint.args[0] if hint is not None and T.unwrap(hint).name == "List" else None
        if hint is not None and hint.name == "Optional" and hint.args[0].name == "List":
            inside = hint.args[0].args[0]
        values = self.spread(node.elts, inside)
        kind = inside or (T.unify_all([v.type for v in values]) if values else T.TENSOR)
        if kind is None or any(not T.is_subtype(v.type, kind) for v in values):
            raise self.error("Could not unify type list elements: " + ", ".join(v.type.annotation() for v in values), node)
        return self.emit_value("prim::ListConstruct", values, T.list_of(kind), node)

    def of_Dict(self, node, hint=None):
        """``{a: b}``."""
        if any(k is None for k in node.keys):
            raise NotSupportedError(self.source(node), "** in a dict display isn't supported")
        hint = T.unwrap(hint) if hint is not None else None
        inside = hint.args if hint is not None and hint.name == "Dict" else None
        keys = [self.value(self.expression(k), k) for k in node.keys]
        values = [self.value(self.expression(v, inside and inside[1]), v) for v in node.values]
        if inside is None:
            inside = (T.unify_all([k.type for k in keys]), T.unify_all([v.type for v in values])) if keys else (T.STR, T.TENSOR)
        if None in inside:
            raise self.error("the keys, or the values, of a dict must be of one type", node)
        pairs = [x for pair in zip(keys, values) for x in pair]
        return self.emit_value("prim::DictConstruct", pairs, T.Type("Dict", inside), node)

    def of_ListComp(self, node, hint=None):
        """``[f(x) for x in xs]``."""
        comp = self._generator(node)
        found = self.iteration(self.expression(comp.iter), comp.iter)
        if isinstance(found, Items):
            saved, values = dict(self.env), []
            for item in found.items:
                self.assign(comp.target, item, node)
                values.append(self.expression(node.elt))
            self.env = saved
            if any(isinstance(v, Module) for v in values):
                return Items(values)
            values = [self.value(v, node) for v in values]
            kind = T.unify_all([v.type for v in values]) if values else T.TENSOR
            return self.emit_value("prim::ListConstruct", values, T.list_of(kind), node)
        made = self.emit_value("prim::ListConstruct", (), T.list_of(T.TENSOR), node)

        def each():
            value = self.value(self.expression(node.elt), node)
            made.type = T.list_of(value.type)
            self.emit("list::append", (made, value), (T.NONE,), node)
        self._comprehend(comp, found, each, node)
        return made

    def of_DictComp(self, node, hint=None):
        """``{k: v for k in ks}``."""
        comp = self._generator(node)
        found = self.iteration(self.expression(comp.iter), comp.iter)
        made = self.emit_value("prim::DictConstruct", (), T.Type("Dict", (T.STR, T.TENSOR)), node)

        def each():
            key, value = self.value(self.expression(node.key), node), self.value(self.expression(node.value), node)
            made.type = T.Type("Dict", (key.type, value.type))
            self.emit("aten::_set_item", (made, key, value), (T.NONE,), node)
        if isinstance(found, Items):
            saved = dict(self.env)
            for item in found.items:
                self.assign(comp.target, item, node)
                each()
            self.env = saved
        else:
            self._comprehend(comp, found, each, node)
        return made

    def _generator(self, node):
        if len(node.generators) > 1:
            raise NotSupportedError(self.source(node), "Only a single generator is currently supported")
        comp, = node.generators
        if comp.ifs:
            raise NotSupportedError(self.source(node), "Comprehension ifs are not supported yet")
        return comp

    def _comprehend(self, comp, found, each, node):
        yes = self.constant(True)
        made = self.emit(G.LOOP, (found.length, yes), (), node)
        outer, saved, self.block = self.block, dict(self.env), made.add_block()
        types, self.loop_types = self.loop_types, {}
        index = self.block.add_input(T.INT)
        self.assign(comp.target, found.element(index), node)
        each()
        self.block.results.append(yes)
        self.block, self.env, self.loop_types = outer, saved, types

    def of_JoinedStr(self, node):
        """An f-string."""
        text, values = "", []
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += part.value
                continue
            if part.format_spec is not None or part.conversion not in (-1, 115):
                raise NotSupportedError(self.source(node), "Don't support conversion or format specifications in f-strings")
            text += "{}"
            values.append(self.value(self.expression(part.value), part.value))
        args = self.emit_value("prim::TupleConstruct", values, T.tuple_of(*[v.type for v in values]), node)
        return self.emit_value("aten::format", (self.constant(text), args), T.STR, node)

    def of_Starred(self, node):
        """``*x`` where it means nothing."""
        raise NotSupportedError(self.source(node), "starred expressions aren't supported here")

    # ---- calls of operations -----------------------------------------------------------------------------------------

    def operation(self, kind, args, kwargs, node):
        """A node that calls an operation with values as arguments."""
        return self.call_operation(functions.by_kind(kind), args, kwargs, node)

    def iteration(self, found, node):
        """What a loop over something goes through: Items, or an Iteration."""
        if isinstance(found, (Items, Iteration)):
            return found
        if isinstance(found, Module):
            return self.module_items(found, node)
        value = self.value(found, node)
        kind = value.type.name
        if kind in ("Tuple", "NamedTuple"):
            return Items(self.elements(value, node))
        if kind == "Dict":
            value = self.operation("dict::keys", (value,), {}, node)
            kind = "List"
        if kind == "List":
            return Iteration(self.emit_value("aten::len", (value,), T.INT, node), lambda index: self.emit_value(
                "aten::__getitem__", (value, index), value.type.args[0], node), lambda: value)
        if kind == "Tensor":
            return Iteration(self.emit_value("aten::size", (value, self.constant(0)), T.INT, node), lambda index: self.emit_value(
                "aten::select", (value, self.constant(0), index), T.TENSOR, node))
        if kind == "str":
            return Iteration(self.emit_value("aten::len", (value,), T.INT, node), lambda index: self.emit_value(
                "aten::__getitem__", (value, index), T.STR, node), lambda: self.operation("list::list", (value,), {}, node))
        raise self.error(f"'{value.type!r}' object is not iterable", node)
