"""The source of a Python function as a syntax tree, with what its names mean; and questions about statements."""
import ast
import inspect
import textwrap
import types
import weakref

from . import types as T
from .errors import FrontendError, FrontendTypeError, NotSupportedError, UnsupportedNodeError
from .schema import NOTHING
from .source import Source, Text

__all__ = ["FrontendError", "FrontendTypeError", "NotSupportedError", "UnsupportedNodeError", "FunctionSource", "get_source"]


def get_source(fn):
    """The FunctionSource of a Python function.

    Raises:
        OSError: the text of the function is not there.
        RuntimeError: it is no function that was written with ``def``.
    """
    fn = inspect.unwrap(fn)
    if not isinstance(fn, types.FunctionType):
        raise RuntimeError(f"Could not get the source of {fn!r}: it is no Python function")
    found = _sources.get(fn)
    if found is None:
        found = _sources[fn] = _read_source(fn)
    return found


_sources = weakref.WeakKeyDictionary()


def _read_source(fn):
    try:
        lines, first = inspect.getsourcelines(fn)
    except OSError as error:
        raise OSError(f"Can't get source for {fn}. TorchScript requires source access in order to carry out compilation, make "
                      "sure original .py files are available.") from error
    return FunctionSource(fn, lines, first)


class FunctionSource:
    """A function's tree, its text, and the objects that its free names mean."""

    def __init__(self, fn, lines, first):
        self.fn, self.name = fn, fn.__name__
        lines = [line.rstrip("\n") for line in lines]
        self.text = Text(fn.__code__.co_filename, first, lines, fn.__name__)
        dedented = textwrap.dedent("\n".join(lines))
        self.offset = len(lines[0]) - len(lines[0].lstrip()) if dedented != "\n".join(lines) else 0
        try:
            tree = ast.parse(dedented, type_comments=True)
        except SyntaxError:
            tree = self._parse(dedented, fn)
        self.tree = tree.body[0] if tree.body else None
        if len(tree.body) != 1 or not isinstance(self.tree, ast.FunctionDef):
            raise RuntimeError(f"Expected a single top-level function: {self.text.file}:{first}")
        self.names = dict(fn.__globals__)
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or ()):
            try:
                self.names[name] = cell.cell_contents
            except ValueError:                  # not assigned yet
                self.names.pop(name, None)
        self.builtins = fn.__builtins__ if isinstance(fn.__builtins__, dict) else vars(fn.__builtins__)

    def _parse(self, text, fn):
        """Without the types in comments; a lambda, whose text is a part of a line, is no statement of its own."""
        try:
            return ast.parse(text)
        except SyntaxError:
            raise RuntimeError(f"Expected a single top-level function: {self.text.file}:{self.text.first}") from None

    def source(self, node):
        """The Source of a node of the tree; of a call, of what is called."""
        node = node.func if isinstance(node, ast.Call) else node
        line, end = node.lineno - 1, getattr(node, "end_lineno", node.lineno) - 1
        return Source(self.text, line, node.col_offset + self.offset, end, node.end_col_offset + self.offset)

    def lookup(self, name):
        """(True, object) of a free name; (False, None) where nothing bears it."""
        for names in (self.names, self.builtins):
            if name in names:
                return True, names[name]
        return False, None

    def evaluate(self, node):
        """The object that an annotation's expression means."""
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)
        return self.evaluate_text(text, node)

    def evaluate_text(self, text, node):
        """The object that an annotation in text means."""
        import typing

        from .. import Tensor

        known = {"Tensor": Tensor, **{n: getattr(typing, n) for n in ("List", "Dict", "Tuple", "Optional", "Any", "Union")}}
        try:
            return eval(text, {**known, **self.builtins, **self.names})
        except Exception as error:
            raise FrontendTypeError(self.source(node), f"Unknown type annotation: '{text}' ({error})") from error

    def type_of(self, node):
        """The Type that an annotation's expression means."""
        found = T.from_annotation(self.evaluate(node))
        if found is None:
            raise RuntimeError(f"Unknown type name '{ast.unparse(node)}':\n{self.source(node).highlight(False)}\n")
        return found

    def parameters(self):
        """(name, Type or None, default or NOTHING, keyword only, node) of each parameter, in order.

        Raises:
            NotSupportedError: there are ``*args`` or ``**kwargs``, or a default of a keyword-only parameter.
        """
        arguments, comment = self.tree.args, self.tree.type_comment
        if arguments.vararg or arguments.kwarg:
            raise NotSupportedError(self.source(arguments.vararg or arguments.kwarg), "Compiled functions can't take variable "
                                    "number of arguments or use keyword-only arguments with defaults")
        for default in arguments.kw_defaults:
            if default is not None:
                raise NotSupportedError(self.source(default), "Compiled functions can't take variable number of arguments or use "
                                        "keyword-only arguments with defaults")
        own = [*arguments.posonlyargs, *arguments.args]
        given = self.fn.__defaults__ or ()
        defaults = [NOTHING] * (len(own) - len(given)) + list(given)
        commented = self._comment(comment, own) if comment else {}
        found = []
        every = [(a, d, False) for a, d in zip(own, defaults)] + [(a, NOTHING, True) for a in arguments.kwonlyargs]
        for a, default, only in every:
            kind = None
            if a.annotation is not None:
                kind = self.type_of(a.annotation)
            elif a.type_comment:
                kind = self._text_type(a.type_comment, a)
            elif a.arg in commented:
                kind = commented[a.arg]
            found.append((a.arg, kind, default, only, a))
        return found

    def _text_type(self, text, node):
        found = T.from_annotation(self.evaluate_text(text, node))
        if found is None:
            raise RuntimeError(f"Unknown type name '{text}':\n{self.source(node).highlight(False)}\n")
        return found

    def _comment(self, comment, arguments):
        """The types in ``# type: (Tensor, int) -> Tensor``, by argument; that of the result as "return"."""
        tree = ast.parse(comment, mode="func_type")
        names = [a.arg for a in arguments]
        if len(tree.argtypes) == len(names) - 1:
            names = names[1:]                   # a method's comment leaves self out
        if len(tree.argtypes) != len(names):
            raise RuntimeError(f"Number of type annotations for function parameters ({len(tree.argtypes)}) does not match the "
                               f"number of parameters on the function ({len(names)})!")
        found = {n: self._text_type(ast.unparse(t), self.tree) for n, t in zip(names, tree.argtypes)}
        found["return"] = self._text_type(ast.unparse(tree.returns), self.tree)
        return found

    def returns(self):
        """The Type of the result that is written down; None where there is none."""
        if self.tree.returns is not None:
            return self.type_of(self.tree.returns)
        if self.tree.type_comment:
            return self._comment(self.tree.type_comment, [*self.tree.args.posonlyargs, *self.tree.args.args])["return"]
        return None


# ---- statements --------------------------------------------------------------------------------------------------------

def _own_statements(statements, into_loops):
    """All statements, those inside others too; inside loops only where wanted."""
    for s in statements:
        yield s
        inner = [getattr(s, "body", []), getattr(s, "orelse", [])]
        if isinstance(s, (ast.FunctionDef, ast.ClassDef)) or not into_loops and isinstance(s, (ast.For, ast.While)):
            continue
        for body in inner:
            if isinstance(body, list):
                yield from _own_statements(body, into_loops)


def returns_inside(statements):
    """Whether there is a return."""
    return any(isinstance(s, ast.Return) for s in _own_statements(statements, True))


def breaks_inside(statements):
    """Whether there is a break or continue of the loop around the statements."""
    return any(isinstance(s, (ast.Break, ast.Continue)) for s in _own_statements(statements, False))


def may_leave(statement):
    """Whether a statement may end the list that it is in: by return, break or continue."""
    own = [statement]
    if isinstance(statement, (ast.For, ast.While)):
        return returns_inside(own)
    return returns_inside(own) or breaks_inside(own)


def always_leaves(statements):
    """Whether a list of statements certainly ends in a return, break or continue, as far as its text says."""
    for s in statements:
        if isinstance(s, (ast.Return, ast.Break, ast.Continue)):
            return True
        if isinstance(s, ast.If) and s.orelse and always_leaves(s.body) and always_leaves(s.orelse):
            return True
    return False


def assigned(statements):
    """The names that statements assign, in order."""
    found = {}

    def targets(t):
        if isinstance(t, ast.Name):
            found[t.id] = None
        elif isinstance(t, (ast.Tuple, ast.List)):
            for element in t.elts:
                targets(element)
        elif isinstance(t, ast.Starred):
            targets(t.value)
    for s in _own_statements(statements, True):
        if isinstance(s, ast.Assign):
            for t in s.targets:
                targets(t)
        elif isinstance(s, (ast.AugAssign, ast.AnnAssign, ast.For)):
            targets(s.target)
        elif isinstance(s, ast.With):
            for item in s.items:
                if item.optional_vars is not None:
                    targets(item.optional_vars)
    return list(found)
