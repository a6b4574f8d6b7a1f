"""Where autocast meets the operations: while it is on in some thread, the listed functions cast their arguments.

A function is one object under all its names, so its code is exchanged (``jit/intercept.py``) when autocast is switched on, and
put back when it is off in every thread. A program without autocast runs the functions as they were written.
"""
import inspect
import itertools

from .. import op as op_module
from ..nn import _recurrent, functional
from ..op import INPLACE, OPS
from . import _casts
from ._casts import TABLES, WITH_DTYPE, state

_contexts = [0]         # (thread, device) pairs whose autocast is on
_targets = []


class _Target:
    """A function, what is done in its place, and its code in both states."""

    __slots__ = ("fn", "handler", "plain", "casting")

    def __init__(self, fn, handler):
        self.fn, self.handler, self.plain, self.casting = fn, handler, None, None

    def exchange(self, intercept):
        """Casts from now on; the code of before is found again by ``restore``."""
        code = self.fn.__code__
        if code is not self.plain:              # the first time, or a trace has its own code there
            self.plain, self.casting = code, intercept.reporting_code(self.fn, self.handler)
        self.fn.__code__ = self.casting

    def restore(self):
        """Puts the code of before back."""
        self.fn.__code__ = self.plain


def switch(kind, on):
    """Turns autocast for a device type on or off in this thread."""
    was = state.enabled[kind]
    state.enabled[kind] = on
    state.active = any(state.enabled.values())
    if was != on:
        _count(1 if on else -1)


def _count(step):
    from ..jit import intercept  # with the whole of jit: only for programs that use autocast

    with intercept._LOCK:
        before = _contexts[0]
        _contexts[0] += step
        if not before:
            if not _targets:
                _targets.extend(_all_targets())
            for target in _targets:
                target.exchange(intercept)
        elif not _contexts[0]:
            for target in _targets:
                target.restore()


def _casting(policies):
    """A handler for a function with a policy for each device type in ``policies``."""
    def handler(original, args, kwargs):
        if state.active:
            for t in _casts._tensors(itertools.chain(args, kwargs.values())):
                kind = _casts.kind_of(t)
                if state.enabled[kind] and kind in policies:
                    state.active = False        # what it is made of runs in the type that it has got
                    try:
                        return policies[kind](original, args, kwargs, kind)
                    finally:
                        state.active = True
        return original(*args, **kwargs)
    return handler


def _apart(original, args, kwargs):
    """Forms that write into a given tensor are not cast."""
    was, state.active = state.active, False
    try:
        return original(*args, **kwargs)
    finally:
        state.active = was


def _declared(fn):
    """The function that was declared as an operation, of which ``fn`` is a form."""
    own = op_module.__file__
    return inspect.unwrap(fn, stop=lambda f: f.__globals__.get("__file__") != own)


def _functions(name):
    """(function, key in OPS or None) of everything that a name in the tables means."""
    if name.startswith("recurrent."):
        return [(getattr(_recurrent, name.partition(".")[2]), None)]
    found = [(_declared(OPS[key].fn), key) for key in (name, "nn.functional." + name) if key in OPS]
    return found or [(getattr(functional, name), None)]


def _all_targets():
    """A target for each listed function, and for those that write their results into given tensors."""
    policies, twins = {}, {id(op_module.write_out): op_module.write_out}
    for kind, table in TABLES.items():
        for name in {**table, **dict.fromkeys(WITH_DTYPE if kind == "cuda" else ())}:
            for fn, _ in _functions(name):
                policy = table.get(name) or _casts.result_in_full(_position(fn))
                policies.setdefault(id(fn), (fn, {}))[1][kind] = policy
    for key, op in OPS.items():
        if id(_declared(op.fn)) in policies and key + "_" in INPLACE:
            twin = _declared(INPLACE[key + "_"])
            twins[id(twin)] = twin
    return [*(_Target(fn, _casting(own)) for fn, own in policies.values()), *(_Target(fn, _apart) for fn in twins.values())]


def _position(fn):
    """The position of the parameter dtype; the number of parameters where it is given by name only."""
    parameters = inspect.signature(fn).parameters
    names = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    return names.index("dtype") if "dtype" in names else len(names)
