"""Copies of kernels whose names stand for something else: for the compiler numba.cuda and its types, for the simulator its own.

A kernel's function is left as it is. Its copy has the same code and other globals: only those that the code reads, each as
``Relinker.linked`` translates it. Functions of this package that it reaches are copied in the same way, so that a formula
written for the CPU becomes a device function, and a placeholder of ``_cuda.py`` may be used at any depth.
"""
import builtins
import dis
import functools
import types

from ._cuda import Name

_PACKAGE = __name__.rpartition(".")[0]
_READS = {"LOAD_GLOBAL", "LOAD_NAME"}


def code_objects(code):
    """``code`` and all code nested in it: lambdas, comprehensions, inner functions."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_objects(constant)


@functools.lru_cache(maxsize=4096)
def global_names(code):
    """The names of the globals that ``code`` reads."""
    return {i.argval for c in code_objects(code) for i in dis.get_instructions(c) if i.opname in _READS}


class Relinker:
    """Copies functions; what it has copied once it does not copy again.

    names: placeholder's name -> object, for globals that are ``_cuda.Name``; a dotted one (``cuda.shared``) is looked up in
        the object of its first part.
    replace: original -> object, for globals (functions, modules, builtins) that are exactly that original.
    wrap: called with the copy of each function but the first; what it returns is what the others see.
    constant: called with every other global, such as a number, an array or a type; what it returns takes its place.

    ``used`` holds the names that the copied code has read so far, of globals and of attributes.
    """

    def __init__(self, names, replace=None, wrap=None, constant=None):
        self.names, self.wrap, self.constant = names, wrap or (lambda fn: fn), constant or (lambda value: value)
        self.replace = {id(original): (original, new) for original, new in (replace or {}).items()}
        self.made, self.used, self.home = {}, set(), None

    def __call__(self, fn):
        """The copy of a kernel's function, not wrapped."""
        self.home = fn.__module__
        return self._copy(fn, lambda copy: copy)

    def linked(self, value, reads=()):
        """What takes the place of a global; of a module only the attributes named in ``reads``."""
        if isinstance(value, Name):
            return self._placeholder(value.name)
        found = self.replace.get(id(value))
        if found is not None:
            return found[1]
        if isinstance(value, types.ModuleType):
            return self._module(value, reads) if self._is_own(value.__name__) else value
        fn = getattr(value, "py_func", value)       # of Numba's dispatchers and of the package's CPU kernels
        if isinstance(fn, types.FunctionType):
            return self._function(fn) if self._is_own(fn.__module__) else value
        return self.constant(value)

    def _placeholder(self, name):
        first, *parts = name.split(".")
        self.used.update(parts)
        if first not in self.names:
            raise NameError(f"{name} has no meaning in this specialisation of a kernel of {self.home}")
        value = self.names[first]
        for part in parts:
            value = getattr(value, part)
        return value

    def _is_own(self, module):
        return module is not None and (module == self.home or (module + ".").startswith(_PACKAGE + "."))

    def _function(self, fn):
        found = self.made.get(fn)
        return self._copy(fn, self.wrap) if found is None else found

    def _copy(self, fn, wrap):
        space = {"__builtins__": builtins, "__name__": fn.__module__}
        closure = None if fn.__closure__ is None else tuple(types.CellType() for _ in fn.__closure__)
        copy = types.FunctionType(fn.__code__, space, fn.__name__, fn.__defaults__, closure)
        copy.__kwdefaults__, copy.__qualname__, copy.__doc__ = fn.__kwdefaults__, fn.__qualname__, fn.__doc__
        copy.__module__ = fn.__module__
        found = self.made[fn] = wrap(copy)          # before its globals, among which it may be itself
        reads = {name for code in code_objects(fn.__code__) for name in code.co_names}
        self.used |= reads
        for name in global_names(fn.__code__):
            if name in fn.__globals__:
                space[name] = self.linked(fn.__globals__[name], reads)
            elif id(getattr(builtins, name, None)) in self.replace:
                space[name] = self.linked(getattr(builtins, name))
        for new, old in zip(closure or (), fn.__closure__ or ()):
            new.cell_contents = self.linked(old.cell_contents, reads)
        return found

    def _module(self, module, reads):
        """A module of this package, as far as ``reads`` name its attributes."""
        copy = self.made.get(module)
        if copy is None:
            copy = self.made[module] = types.ModuleType(module.__name__, module.__doc__)
        for name in reads:
            if name in vars(module) and name not in vars(copy):
                setattr(copy, name, self.linked(vars(module)[name], reads))
        return copy


def relink(fn, names, replace=None, wrap=None, constant=None):
    """A copy of ``fn`` with other globals; see ``Relinker``."""
    return Relinker(names, replace, wrap, constant)(fn)
