"""Calls of the library's functions, seen while a trace runs, and at no cost when none does.

A Python function is one object however many names it has: the registry, Tensor's methods, nn.functional and ``from torch import
relu`` all hold the same. So a trace exchanges the *code* of each function for one that reports the call, and puts the code back
at its end; nothing else is changed, and outside a trace there is not so much as an ``if``.
"""
import threading
import types

_LOCK = threading.RLock()
_MARK = "the code of the function that reports is put here"
_templates = {}


def _template(count):
    """Code that calls a constant with its arguments, and has ``count`` free variables, as the code that it replaces has."""
    found = _templates.get(count)
    if found is None:
        names = [f"v{k}" for k in range(count)]
        lines = ["def make():"]
        if names:
            lines.append(f"    {' = '.join(names)} = None")
        lines += ["    def call(*args, **kwargs):", f"        return {_MARK!r}(args, kwargs)"]
        lines += [f"        {name}" for name in names]      # never reached: it makes them free variables
        lines.append("    return call")
        namespace = {}
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # a string is called: the constant is about to be exchanged
            exec("\n".join(lines), namespace)
        found = _templates[count] = namespace["make"]().__code__
    return found


def plain_copy(fn):
    """A function that is ``fn`` as it is now."""
    found = types.FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
    found.__kwdefaults__ = fn.__kwdefaults__
    return found


def reporting_code(fn, handler):
    """Code for ``fn`` that calls ``handler(original, args, kwargs)``, where ``original`` is ``fn`` as it is now."""
    template = _template(len(fn.__code__.co_freevars))
    report = _reporter(handler, plain_copy(fn))
    constants = tuple(report if c == _MARK else c for c in template.co_consts)
    return template.replace(co_consts=constants, co_name=fn.__code__.co_name, co_filename=__file__)


class Interception:
    """A with-block in which calls of functions go to handlers.

    Args:
        handlers (list of pairs): a Python function, and ``handler(original, args, kwargs)`` to be called in its place;
            ``original`` is the function as it was.
    """

    def __init__(self, handlers):
        self.handlers, self.codes = handlers, []

    def __enter__(self):
        _LOCK.acquire()
        for fn, handler in self.handlers:
            self.codes.append((fn, fn.__code__))
            fn.__code__ = reporting_code(fn, handler)
        return self

    def __exit__(self, *exc):
        while self.codes:
            fn, code = self.codes.pop()
            fn.__code__ = code
        _LOCK.release()


def _reporter(handler, original):
    return lambda args, kwargs: handler(original, args, kwargs)
