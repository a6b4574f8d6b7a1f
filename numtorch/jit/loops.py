"""Loops of a script: while, for, break, continue."""
from . import graph as G
from . import types as T
from .errors import NotSupportedError
from .frontend import assigned, breaks_inside, may_leave, returns_inside
from .graph import Value
from .sugar import Items, Undefined

LEFT, GONE = "left", "gone"     # how the rest of a list of statements is not reached


class Loops:
    """The part of the Compiler that makes Loop nodes."""

    def on_While(self, s):
        """``while``."""
        if s.orelse:
            raise NotSupportedError(self.source(s), "else branches of while loops aren't supported")
        forever = self.constant(G.FOREVER)

        def test():
            return self.condition(s.test)[0]
        self.loop(s, forever, test, None)

    def on_For(self, s):
        """``for``."""
        if s.orelse:
            raise NotSupportedError(self.source(s), "else branches of for loops aren't supported")
        found = self.iteration(self.expression(s.iter), s.iter)
        if isinstance(found, Items):
            return self.unrolled(s, found)
        length = found.length
        if length is None:
            raise self.error("a loop over something without an end", s.iter)

        def bind(index):
            self.assign(s.target, found.element(index), s)
        self.loop(s, length, None, bind)

    def unrolled(self, s, found):
        """A loop over a sequence of known length, written out."""
        if breaks_inside(s.body):
            raise self.error("'break' and 'continue' are not supported in a loop that is unrolled: over a tuple or over "
                             "modules", s)
        for item in found.items:
            self.assign(s.target, item, s)
            self.statements(s.body)
            if self.dead or self.env["@skip"].constant() != (True, False):
                raise self.error("'return' is not supported in a loop that is unrolled: over a tuple or over modules", s)

    def loop(self, s, trips, test, bind):
        """A Loop node. ``test`` gives a while's condition; ``bind`` a for's variable its element."""
        leaves, returns = may_leave(s) or breaks_inside(s.body), returns_inside(s.body)
        no, yes = self.constant(False), self.constant(True)
        names = [n for n in assigned(s.body + ([] if test else [s])) if n in self.env]
        for name in names:
            if not isinstance(self.env[name], (Value, Undefined)):
                self.env[name] = self._try_value(self.env[name], s) or self.env[name]
        names = [n for n in names if isinstance(self.env[n], Value)]
        start = test() if test else yes
        carried = [self.env[n] for n in names]
        if returns:
            names += ["@return", "@ret"]
            known = self.env.get("@ret")
            unset = known or self.emit_value("prim::Uninitialized", (), self.declared or T.UNKNOWN)
            carried += [self.env["@return"], unset]
        made = self.emit(G.LOOP, (trips, start, *carried), (), s)
        block, outer, before = made.add_block(), self.block, self.env
        self.block, self.env = block, dict(before)
        index = block.add_input(T.INT)
        params = [block.add_input(v.type, None if n.startswith("@") else n) for n, v in zip(names, carried)]
        self.env.update(zip(names, params))
        self.env.update({"@skip": no, "@break": no, "@return": no})
        types, in_loop = self.loop_types, self.in_loop
        self.loop_types = {**types, **{n: v.type for n, v in zip(names, carried) if not n.startswith("@")}}
        self.in_loop = True
        if bind:
            bind(index)
        self.statements(s.body)
        died, self.dead, self.loop_types, self.in_loop = self.dead, False, types, in_loop
        go_on = self._condition_after(test, s) if leaves or test else yes
        if died and not leaves:                 # the body ends in a raise
            go_on = no
        block.results = [go_on]
        for name, value, param in zip(names, carried, params):
            after = self.value(self.env[name], s)
            if value.type == T.UNKNOWN:
                param.type = value.type = after.type
            if after.type != param.type and not T.is_subtype(after.type, param.type):
                raise self.error(f"Variable '{name}' previously had type {param.type!r} but is now being assigned to a "
                                 f"value of type {after.type!r}\n", s)
            block.results.append(after)
        inside, self.block, self.env = self.env, outer, dict(before)
        for name, param in zip(names, params):
            out = Value(param.type, made, None if name.startswith("@") else name)
            made.outs.append(out)
            self.env[name] = out
        for name in inside:
            if name not in self.env and not name.startswith("@"):
                self.env[name] = Undefined(f"{name} is not defined before the loop, which may not run:\n"
                                           f"{self.source(s).highlight(False)}")
        if returns:
            self.env["@skip"] = self.env["@return"]
            self.env["@break"] = self.env["@return"] if self.in_loop else before["@break"]
        else:
            self.env["@skip"], self.env["@break"] = before["@skip"], before["@break"]

    def _condition_after(self, test, s):
        """Whether the loop goes on after this round."""
        stop = self.env["@break"]
        if stop.constant() == (True, True):
            return self.constant(False)
        if stop.constant() == (True, False):
            return test() if test else self.constant(True)
        if test is None:
            return self.emit_value("aten::__not__", (stop,), T.BOOL, s)
        made = self.emit(G.IF, (stop,), (T.BOOL,), s)
        made.add_block().results.append(self.constant(False))
        outer, self.block = self.block, made.add_block()
        self.block.results.append(test())
        self.block = outer
        return made.outs[0]

    def on_Break(self, s):
        """``break``."""
        if not self.in_loop:
            raise self.error("'break' outside loop", s)
        self.env.update({"@skip": self.constant(True), "@break": self.constant(True)})
        self.dead = LEFT

    def on_Continue(self, s):
        """``continue``."""
        if not self.in_loop:
            raise self.error("'continue' outside loop", s)
        self.env["@skip"] = self.constant(True)
        self.dead = LEFT
