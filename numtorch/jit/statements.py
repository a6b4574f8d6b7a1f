"""Statements of a script: assignments, if, for, while, return, break, raise, assert, with."""
import ast

from . import graph as G
from . import types as T
from .errors import NotSupportedError, UnsupportedNodeError, compile_error
from .frontend import always_leaves, breaks_inside, may_leave, returns_inside
from .graph import Value
from .loops import GONE, LEFT, Loops
from .source import Source
from .sugar import Items, Module, Python, Undefined

_NAMES = {"Try": "try blocks", "TryStar": "try blocks", "FunctionDef": "function definitions", "ClassDef": "class definitions",
          "AsyncFunctionDef": "async function definitions", "Import": "import statements", "ImportFrom": "import statements",
          "Global": "global variables", "Nonlocal": "nonlocal statements", "Match": "match statements",
          "AsyncFor": "async for loops", "AsyncWith": "async with statements"}
_INPLACE = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Mod: "remainder", ast.Pow: "pow",
            ast.FloorDiv: "floor_divide", ast.BitAnd: "bitwise_and", ast.BitOr: "bitwise_or", ast.BitXor: "bitwise_xor"}


class Statements(Loops):
    """The part of the Compiler that goes through statements."""

    def statements(self, body):
        """Compiles a list of statements; what follows one that may leave the list runs only if it did not."""
        for k, s in enumerate(body):
            if self.dead:
                return
            rest = body[k + 1:]
            if isinstance(s, ast.If) and rest and may_leave(s) and not self.is_static(s.test):
                if always_leaves(s.body):
                    return self.if_statement(s, s.body, [*s.orelse, *rest])
                if always_leaves(s.orelse):
                    return self.if_statement(s, [*s.body, *rest], s.orelse)
            self.statement(s)
            if rest and may_leave(s) and not self.dead:
                flag = self.env["@skip"]
                if flag.constant() == (True, False):
                    continue
                return self.branches(flag, lambda flag=flag: self.left(flag), lambda rest=rest: self.statements(rest), s)

    def left(self, flag):
        """The rest of the list is not reached: variables matter at the end of a loop's round, but not of the function."""
        if self.env["@return"] is flag:
            self.env["@return"] = self.constant(True)
        self.dead = LEFT if self.in_loop else GONE

    def is_static(self, test):
        """Whether a condition is known while compiling, so that only one branch is compiled."""
        outer, self.block = self.block, G.Block()
        try:
            return self.condition(test)[0].constant()[0]
        finally:
            self.block = outer

    def statement(self, s):
        """Compiles one statement."""
        method = getattr(self, "on_" + type(s).__name__, None)
        if method is None:
            name = _NAMES.get(type(s).__name__, type(s).__name__)
            raise UnsupportedNodeError(_first_word(self.source(s)), f"{name} aren't supported")
        method(s)

    def on_Pass(self, s):
        """``pass``."""

    def on_Expr(self, s):
        """An expression for what it does; a docstring does nothing."""
        if not (isinstance(s.value, ast.Constant) and isinstance(s.value.value, str)):
            self.expression(s.value)

    # ---- assignment --------------------------------------------------------------------------------------------------

    def on_Assign(self, s):
        """``a = b = value``."""
        found = None
        if s.type_comment and len(s.targets) == 1:
            kind = self.code._text_type(s.type_comment, s)
            found = self.annotated(s.value, kind)
        else:
            found = self.expression(s.value)
        for target in s.targets:
            self.assign(target, found, s.value)

    def on_AnnAssign(self, s):
        """``name: type = value``."""
        if s.value is None:
            raise NotSupportedError(self.source(s), "Expected a value in an assignment with a type annotation")
        kind = self.code.type_of(s.annotation)
        found = self.annotated(s.value, kind)
        if isinstance(s.target, ast.Name):
            found = self.cast(found, kind, s)
        self.assign(s.target, found, s.value)

    def annotated(self, node, kind):
        """The value of an expression that is declared to be of a type."""
        found = self.value(self.expression(node, kind), node)
        if not T.is_subtype(found.type, kind):
            raise self.error(f"Variable '{ast.unparse(node)}' is annotated with type {kind!r} but is being assigned to a "
                             f"value of type {found.type!r}", node)
        return found

    def cast(self, found, kind, node):
        """A value as one of a wider type."""
        if found.type == kind:
            return found
        return self.emit_value("prim::unchecked_cast", (found,), kind, node)

    def assign(self, target, found, node):
        """Gives a name, attribute, element or several of them a value."""
        if isinstance(target, ast.Name):
            return self.set_name(target.id, found, node)
        if isinstance(target, (ast.Tuple, ast.List)):
            return self.assign_several(target, found, node)
        if isinstance(target, ast.Attribute):
            owner = self.expression(target.value)
            if not isinstance(owner, Module):
                raise self.error("Tried to set an attribute of something that is not a module: "
                                 f"'{ast.unparse(target)}'", target)
            return self.set_attribute(owner, target.attr, self.value(found, node), target)
        if isinstance(target, ast.Subscript):
            return self.set_subscript(target, self.value(found, node))
        raise NotSupportedError(self.source(target), "this cannot be assigned to")

    def set_name(self, name, found, node):
        """Gives a variable a value."""
        if isinstance(found, Value):
            expected = self.loop_types.get(name)
            if expected is not None and not T.is_subtype(found.type, expected):
                raise self.error(f"Variable '{name}' previously had type {expected!r} but is now being assigned to a value "
                                 f"of type {found.type!r}\n", node)
            if found.name is None and found.node is not None and found.node.kind_ != G.CONSTANT:
                found.name = name
        self.env[name] = found

    def assign_several(self, target, found, node):
        """``a, *b, c = found``."""
        items = self.items_of(found, len(target.elts), node)
        stars = [k for k, e in enumerate(target.elts) if isinstance(e, ast.Starred)]
        if not stars and len(items) != len(target.elts):
            what = "need more values to unpack" if len(items) < len(target.elts) else "too many values to unpack"
            raise self.error(f"{what}: expected {len(target.elts)} but found {len(items)}", node)
        if stars:
            k, after = stars[0], len(target.elts) - stars[0] - 1
            middle = [self.value(i, node) for i in items[k:len(items) - after]]
            packed = self.emit_value("prim::TupleConstruct", middle, T.tuple_of(*[v.type for v in middle]), node)
            items = [*items[:k], packed, *items[len(items) - after:]]
        for element, item in zip(target.elts, items):
            self.assign(element.value if isinstance(element, ast.Starred) else element, item, node)

    def items_of(self, found, count, node):
        """The elements of a tuple or list, ``count`` of them where its length is not known."""
        if isinstance(found, Items):
            return found.items
        value = self.value(found, node)
        if value.type.name in ("Tuple", "NamedTuple"):
            return self.elements(value, node)
        if value.type.name == "List":
            return list(self.emit("prim::ListUnpack", (value,), value.type.args * count, node).outs)
        if value.type == T.TENSOR:
            rows = self.operation("aten::unbind", (value,), {}, node)
            return list(self.emit("prim::ListUnpack", (rows,), (T.TENSOR,) * count, node).outs)
        raise self.error(f"'{value.type!r}' object cannot be used as a tuple", node)

    def elements(self, value, node):
        """The elements of a tuple."""
        if value.node is not None and value.node.kind_ == "prim::TupleConstruct":
            return list(value.node.args)
        known, constant = value.constant()
        if known:
            return [self.constant(c, node) for c in constant]
        return list(self.emit("prim::TupleUnpack", (value,), value.type.args, node).outs)

    def on_AugAssign(self, s):
        """``a += b``: in place for tensors, as in Python."""
        target = s.target
        if isinstance(target, ast.Subscript):
            return self.augmented_subscript(s)
        load = ast.copy_location(ast.Name(target.id, ast.Load()) if isinstance(target, ast.Name)
                                 else ast.Attribute(target.value, target.attr, ast.Load()), target)
        old = self.value(self.expression(load), target)
        new = self.augmented(old, s)
        if isinstance(target, ast.Attribute) and new is old:
            return
        self.assign(target, new, s)

    def augmented(self, old, s):
        """The value of ``old op= value``."""
        name = _INPLACE.get(type(s.op))
        if old.type == T.TENSOR and name is not None:
            return self.operation(f"aten::{name}_", (old, self.value(self.expression(s.value), s.value)), {}, s)
        if old.type.name == "List" and isinstance(s.op, ast.Add):
            self.operation("list::extend", (old, self.value(self.expression(s.value), s.value)), {}, s)
            return old
        return self.binary(s.op, old, self.expression(s.value), s)

    def augmented_subscript(self, s):
        load = ast.copy_location(ast.Subscript(s.target.value, s.target.slice, ast.Load()), s.target)
        owner = self.value(self.expression(s.target.value), s.target)
        if owner.type == T.TENSOR:
            key = self.key(s.target.slice)
            part, indices = self.indexed(owner, key, s.target)
            if indices is None:
                self.augmented(part, s)
            else:
                old = self.emit_value("aten::index", (part, indices), T.TENSOR, s)
                new = self.augmented(old, s)
                self.emit_value("aten::assign_index_", (part, indices, new), T.TENSOR, s)
            return
        new = self.augmented(self.value(self.expression(load), s), s)
        if new.type != T.TENSOR:
            self.set_subscript(s.target, new)

    def on_Delete(self, s):
        """``del name`` and ``del container[key]``."""
        for target in s.targets:
            if isinstance(target, ast.Name):
                if target.id not in self.env:
                    raise self.error(f"undefined value {target.id}", target)
                del self.env[target.id]
            elif isinstance(target, ast.Subscript):
                owner = self.value(self.expression(target.value), target)
                self.operation("aten::Delete", (owner, self.value(self.expression(target.slice), target)), {}, s)
            else:
                raise NotSupportedError(self.source(target), "del of an attribute isn't supported")

    # ---- if ----------------------------------------------------------------------------------------------------------

    def on_If(self, s):
        """``if``."""
        self.if_statement(s, s.body, s.orelse)

    def if_statement(self, s, body, orelse):
        """``if`` with these branches."""
        condition, true, false = self.condition(s.test)
        known, constant = condition.constant()
        if known:
            self.refine(true if constant else false, s)
            self.statements(body if constant else orelse)
            return

        def then():
            self.refine(true, s)
            self.statements(body)

        def other():
            self.refine(false, s)
            self.statements(orelse)
        self.branches(condition, then, other, s)

    def refine(self, types, node):
        """Narrows variables to the types that a condition has shown them to have."""
        for name, kind in types.items():
            old = self.env.get(name)
            if isinstance(old, Value) and old.type != kind:
                new = self.emit_value("prim::unchecked_cast", (old,), kind, node)
                new.name = old.name
                self.refined[new] = old
                self.env[name] = new

    def _unrefined(self, found):
        while isinstance(found, Value) and found in self.refined:
            found = self.refined[found]
        return found

    def branches(self, condition, then, other, node):
        """An If node: ``then`` and ``other`` compile its blocks; variables are merged behind it."""
        made = self.emit(G.IF, (condition,), (), node)
        outer, before, results = self.block, self.env, []
        for run in (then, other):
            self.block, self.env, self.dead = made.add_block(), dict(before), False
            run()
            results.append((self.block, self.env, self.dead))
        self.block, self.env = outer, before
        (_, then_env, then_dead), (_, other_env, other_dead) = results
        self.dead = False if not (then_dead and other_dead) else LEFT if LEFT in (then_dead, other_dead) else GONE
        then_gone, other_gone = then_dead == GONE, other_dead == GONE
        names = [*then_env, *(n for n in other_env if n not in then_env)]
        merged = {}
        for name in names:
            a, b = self._unrefined(then_env.get(name)), self._unrefined(other_env.get(name))
            if a is b:
                merged[name] = a
                continue
            if not name.startswith("@") and (then_gone or other_gone):      # a branch that is not left has no say
                if then_gone and other_gone:
                    merged[name] = before.get(name)
                    continue
                a, b = (_MISSING, b) if then_gone else (a, _MISSING)
                kept = b if then_gone else a
                if kept is None or kept is before.get(name):
                    merged[name] = kept
                    continue
            merged[name] = self.merge(name, a, b, made, node)
        self.env = {k: v for k, v in merged.items() if v is not None}
        if then_gone != other_gone:             # what the condition showed holds behind the if, too
            self._keep_refinements(other_env if then_gone else then_env, node)

    def _keep_refinements(self, env, node):
        for name, found in env.items():
            if isinstance(found, Value) and found in self.refined and self.env.get(name) is self._unrefined(found):
                self.refine({name: found.type}, node)

    def merge(self, name, a, b, made, node):
        """What stands for a variable behind an If, of which the blocks leave ``a`` and ``b``; None for a missing one."""
        if a is _MISSING or b is _MISSING:
            kept = b if a is _MISSING else a
            if not isinstance(kept, Value):
                return kept
            missing = made.blocks_[0 if a is _MISSING else 1].append("prim::Uninitialized", (), (kept.type,)).outs[0]
            return self._output(made, *((missing, kept) if a is _MISSING else (kept, missing)), kept.type, name)
        if isinstance(a, Undefined) or isinstance(b, Undefined):
            return a if isinstance(a, Undefined) else b
        if a is None or b is None:
            if name == "@ret":
                return self.merge(name, _MISSING if a is None else a, _MISSING if b is None else b, made, node)
            where = "true" if a is None else "false"
            return Undefined(f"{name} is not defined in the {where} branch:\n{self.source(node).highlight(False)}")
        if not (isinstance(a, Value) and isinstance(b, Value)):
            if isinstance(a, Python) and isinstance(b, Python) and a.obj is b.obj:
                return a
            found = []
            for block, item in zip(made.blocks_, (a, b)):
                outer, self.block = self.block, block
                found.append(self._try_value(item, node))
                self.block = outer
            if None in found:
                return Undefined(f"{name} is set to a value of different kinds in the branches:\n"
                                 f"{self.source(node).highlight(False)}")
            a, b = found
        if name.startswith("@") and name != "@ret":
            flags = a.constant(), b.constant()
            if flags[0] == flags[1] and flags[0][0]:
                return a
            if flags == ((True, True), (True, False)):
                return made.args[0]
        kind = T.unify(a.type, b.type)
        if kind is None:
            text = (f"Type mismatch: {name} is set to type {a.type!r} in the true branch and type {b.type!r} in "
                    f"the false branch:\n{self.source(node).highlight(False)}")
            if name == "@ret":
                raise compile_error(text, self.source(node))
            return Undefined(text)
        return self._output(made, a, b, kind, name)

    def _try_value(self, item, node):
        try:
            return self.value(item, node)
        except RuntimeError:
            return None

    def _output(self, made, a, b, kind, name):
        out = Value(kind, made, None if name.startswith("@") else name)
        made.outs.append(out)
        for block, value in zip(made.blocks_, (a, b)):
            block.results.append(value)
        return out

    # ---- leaving -----------------------------------------------------------------------------------------------------

    def on_Return(self, s):
        """``return``."""
        found = self.constant(None) if s.value is None else self.value(self.expression(s.value, self.declared), s.value)
        if self.declared is not None:
            if not T.is_subtype(found.type, self.declared):
                raise self.error(f"Return value was annotated as having type {self.declared!r} but is actually of type "
                                 f"{found.type!r}", s)
            if found.type.name != self.declared.name:
                found = self.cast(found, self.declared, s)
        elif self.returned is not None and T.unify(self.returned, found.type) is None:
            raise self.error(f"Previous return statement returned a value of type {self.returned!r} but this return "
                             f"statement returns a value of type {found.type!r}", s)
        self.returned = found.type if self.returned is None else T.unify(self.returned, found.type) or found.type
        yes = self.constant(True)
        self.env.update({"@ret": found, "@skip": yes, "@return": yes})
        if self.in_loop:
            self.env["@break"] = yes
        self.dead = LEFT if self.in_loop else GONE

    def on_Raise(self, s):
        """``raise``."""
        if s.exc is None:
            raise NotSupportedError(self.source(s), "raise without an exception isn't supported")
        kind, message = s.exc, self.constant("")
        if isinstance(s.exc, ast.Call):
            kind = s.exc.func
            if s.exc.args:
                message = self.message(s.exc.args[0])
        found = self.expression(kind)
        if not (isinstance(found, Python) and isinstance(found.obj, type) and issubclass(found.obj, BaseException)):
            raise self.error("exceptions must derive from BaseException", s)
        name = f"{found.obj.__module__}.{found.obj.__qualname__}"
        self.emit("prim::RaiseException", (message, self.constant(name)), (), s)
        self.dead = GONE

    def message(self, node):
        """The text of an exception."""
        found = self.value(self.expression(node), node)
        if found.type == T.STR:
            return found
        return self.operation("aten::str", (found,), {}, node)

    def on_Assert(self, s):
        """``assert``: an if that raises."""
        condition, true, _ = self.condition(s.test)

        def fail():
            text = self.constant("AssertionError: " if s.msg is None else "")
            if s.msg is not None:
                text = self.operation("aten::format", (self.constant("AssertionError: {}"), self.message(s.msg)), {}, s)
            self.emit("prim::RaiseException", (text, self.constant("RuntimeError")), (), s)
            self.dead = GONE
        if condition.constant() != (True, True):
            self.branches(condition, lambda: None, fail, s)
        self.refine(true, s)

    def on_With(self, s):
        """``with torch.no_grad():`` and its like."""
        if returns_inside(s.body) or breaks_inside(s.body):
            raise self.error("'return', 'break' and 'continue' inside a with statement are not supported", s)
        self.with_items(s, s.items)

    def with_items(self, s, items):
        if not items:
            return self.statements(s.body)
        item, *rest = items
        if item.optional_vars is not None:
            raise NotSupportedError(self.source(item.optional_vars), "'as' of a with statement isn't supported: what is "
                                                                     "supported "
                                    "there gives nothing")
        context = self.context(item.context_expr)
        made = self.emit(G.WITH, (context,), (), s)
        outer, before = self.block, dict(self.env)
        self.block = made.add_block()
        self.with_items(s, rest)
        inside, self.block, self.env = self.env, outer, before
        for name, found in inside.items():
            if isinstance(found, Value) and found is not before.get(name) and found.node is not None \
                    and found.node.kind_ != G.CONSTANT:
                out = Value(found.type, made, name)
                made.outs.append(out)
                made.blocks_[0].results.append(found)
                found = out
            self.env[name] = found


_MISSING = Value(T.UNKNOWN)


def _first_word(source):
    """The place of a statement's first word, as torch marks what it does not support."""
    if source is None or not source.text.lines:
        return source
    line = source.text.lines[source.line][source.column:]
    word = len(line) - len(line.lstrip("abcdefghijklmnopqrstuvwxyz"))
    return Source(source.text, source.line, source.column, source.line, source.column + max(word, 1))
