"""The unpickler of ``load(weights_only=True)``: it builds tensors and containers, and never runs code that a file names.

A pickle is a program for a small machine, of which a few operations call what the program names. Here names are looked up in
a list, calls are limited to what that list gave, and attributes are set only on the kinds that need it. It differs from
torch's (which is not its source) in reading all protocols of pickle, and in defaultdict, frozenset and slice.
"""
import pickle
import struct
from collections import Counter, OrderedDict, defaultdict

from . import _serial_names as names
from .dtypes import ALIASES, ALL

_BLOCKED = ("sys", "os", "posix", "nt")

_user = set()


# ---- the user's additions ----------------------------------------------------------------------------------------------

def add_safe_globals(safe_globals):
    """Lets ``load(weights_only=True)`` call functions, and make and fill instances of classes, that a file names.

    Args:
        safe_globals (list): functions and classes, or pairs of one and the full name that files have for it.

    >>> import numtorch
    >>> numtorch.serialization.add_safe_globals([range])
    >>> numtorch.serialization.get_safe_globals()
    [<class 'range'>]
    >>> numtorch.serialization.clear_safe_globals()
    """
    entries = list(safe_globals)
    for entry in entries:
        if not isinstance(entry, tuple) and not (hasattr(entry, "__module__") and hasattr(entry, "__qualname__")):
            raise TypeError("add_safe_globals: expected functions, classes, or pairs of one and its full name, but got a "
                            f"{type(entry).__name__}")
    _user.update(entries)


def get_safe_globals():
    """The list of what ``add_safe_globals`` has added."""
    return list(_user)


def clear_safe_globals():
    """Takes back all that ``add_safe_globals`` has added."""
    _user.clear()


class safe_globals:
    """A context in which ``load(weights_only=True)`` accepts more, as ``add_safe_globals`` says.

    Args:
        safe_globals (list): as for ``add_safe_globals``.
    """

    def __init__(self, safe_globals):
        self.safe_globals = safe_globals

    def __enter__(self):
        add_safe_globals(self.safe_globals)

    def __exit__(self, *exc):
        _user.difference_update(self.safe_globals)


def _of_user():
    """The user's additions by the names that files have for them."""
    found = {}
    for entry in _user:
        if not isinstance(entry, tuple):
            module, name = names.torch_name(entry.__module__, entry.__qualname__)
            found[f"{module}.{name}"] = entry
            continue
        if len(entry) != 2:
            raise ValueError("Expected tuple of length 2 (global, str of callable full path), but got tuple of length: "
                             f"{len(entry)}")
        if type(entry[1]) is not str:
            raise TypeError(f"Expected second item in tuple to be str of callable full path, but got: {type(entry[1])}")
        found[entry[1]] = entry[0]
    return found


# ---- what is allowed ---------------------------------------------------------------------------------------------------

def _latin1(text, encoding):
    """``_codecs.encode`` for what it is needed for: pickles below protocol 3 write bytes as text."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"_codecs.encode is allowed only for latin1, but the file asks for {encoding!r}")
    return text.encode("latin-1")


_PYTHON = {"collections.OrderedDict": OrderedDict, "collections.Counter": Counter, "collections.defaultdict": defaultdict,
           "_codecs.encode": _latin1}
_PYTHON.update({f"builtins.{kind.__name__}": kind for kind in
                (bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset, slice)})

_TORCH = {"torch.Size", "torch.Tensor", "torch.device", "torch.nn.parameter.Parameter", "torch.serialization._get_layout",
          "torch._tensor._rebuild_from_type_v2", "torch.storage.UntypedStorage"}
_TORCH.update(f"torch._utils._rebuild_{name}" for name in (
    "tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state", "sparse_tensor", "qtensor", "nested_tensor",
    "meta_tensor_no_storage", "wrapper_subclass", "device_tensor_from_numpy", "device_tensor_from_cpu_tensor"))
_TORCH.update(f"torch.{name}" for name in names.STORAGES)
_TORCH.update(f"torch.{name.replace('Storage', 'Tensor')}" for name in names.STORAGES)
_TORCH.update(f"torch.{name}" for name in (*(d._name for d in ALL), *ALIASES))


def is_allowed(full_name):
    """Whether a file may name this without the user's consent."""
    return full_name in _PYTHON or full_name in _TORCH


def _refused(module, full_name):
    if module in _BLOCKED:
        return f"Trying to load unsupported GLOBAL {full_name} whose module {module} is blocked."
    shown = full_name.removeprefix("builtins.")
    return (f"Unsupported global: GLOBAL {shown} was not an allowed global by default. Please use "
            f"`torch.serialization.add_safe_globals([{shown}])` or the `torch.serialization.safe_globals([{shown}])` context "
            "manager to allowlist this global if you trust this class/function.")


class _Operations(dict):
    """The unpickler's operations by their codes."""

    def __missing__(self, code):
        raise pickle.UnpicklingError(f"Unsupported operand {code}")


class Unpickler(pickle._Unpickler):
    """Reads one pickle, as ``pickle.Unpickler`` does, and raises UnpicklingError for all that could run code."""

    # classes by other ways than the list, ids that are lines of text, and memory from outside the file
    dispatch = _Operations((code, method) for code, method in pickle._Unpickler.dispatch.items() if code not in {
        c[0] for c in (pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.NEXT_BUFFER,
                       pickle.READONLY_BUFFER)})

    def __init__(self, file, **kwargs):
        super().__init__(file, **kwargs)
        self.of_user, self.given = _of_user(), {}
        self.trusted, self.theirs = {id(entry) for entry in self.of_user.values()}, None

    def load(self):
        """The pickled value."""
        try:
            return super().load()
        except EOFError:
            raise EOFError("Ran out of input") from None
        except (pickle.UnpicklingError, RuntimeError, MemoryError, OSError):
            raise
        except Exception as error:
            if error is self.theirs:
                raise
            # the pickle is no pickle: what goes wrong then is a matter of chance
            raise pickle.UnpicklingError(f"the pickle is damaged: {type(error).__name__}: {error}") from error

    def find_class(self, module, name):
        """What the file names, if it is on one of the lists."""
        if self.proto < 3:
            module, name = names.today(module, name)
        full = f"{module}.{name}"
        if module in _BLOCKED:
            raise pickle.UnpicklingError(_refused(module, full))
        if full in _PYTHON:
            found = _PYTHON[full]
        elif full in _TORCH:
            found = names.find(module, name)
        elif full in self.of_user:
            found = self.of_user[full]
        else:
            raise pickle.UnpicklingError(_refused(module, full))
        self.given[id(found)] = found
        return found

    def persistent_load(self, pid):
        """Refuses: there is no storage to refer to in a plain pickle."""
        raise pickle.UnpicklingError("unsupported persistent id encountered")

    # ---- operations that call or change something ------------------------------------------------------------------

    def _outside(self, function, *args, **kwargs):
        """Calls what the user has allowed or given; its errors are passed on as they are."""
        try:
            return function(*args, **kwargs)
        except Exception as error:
            self.theirs = error
            raise

    def load_reduce(self):
        args, function = self.stack.pop(), self.stack[-1]
        if id(function) not in self.given:
            raise pickle.UnpicklingError(f"Trying to call reduce for unrecognized function {function}")
        self.stack[-1] = self._outside(function, *args) if id(function) in self.trusted else function(*args)
    dispatch[pickle.REDUCE[0]] = load_reduce

    def _new(self, cls, args, kwargs):
        if id(cls) not in self.given or not isinstance(cls, type):
            raise pickle.UnpicklingError("Can only create new object for nn.Parameter or classes allowlisted via "
                                         f"`add_safe_globals` but got {cls}")
        new = cls.__new__
        self.stack.append(self._outside(new, cls, *args, **kwargs) if id(cls) in self.trusted else new(cls, *args, **kwargs))

    def load_newobj(self):
        args, cls = self.stack.pop(), self.stack.pop()
        self._new(cls, args, {})
    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_newobj_ex(self):
        kwargs, args, cls = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self._new(cls, args, kwargs)
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex

    def load_build(self):
        state, value = self.stack.pop(), self.stack[-1]
        kind = type(value)
        if kind is OrderedDict:
            value.__dict__.update(state)
        elif id(kind) in self.trusted:
            self._outside(_build, value, state)
        else:
            raise pickle.UnpicklingError("Can only build Tensor, Parameter, OrderedDict or types allowlisted via "
                                         f"`add_safe_globals`, but got {kind}")
    dispatch[pickle.BUILD[0]] = load_build

    def _target(self, operation, *kinds):
        value = self.stack[-1]
        if type(value) not in kinds:
            wanted = ", ".join(kind.__name__ for kind in kinds)
            raise pickle.UnpicklingError(f"Can only {operation} for {wanted}, but got {type(value)}")
        return value

    def load_append(self):
        item = self.stack.pop()
        self._target("APPEND", list).append(item)
    dispatch[pickle.APPEND[0]] = load_append

    def load_appends(self):
        items = self.pop_mark()
        self._target("APPENDS", list).extend(items)
    dispatch[pickle.APPENDS[0]] = load_appends

    def load_additems(self):
        items = self.pop_mark()
        self._target("ADDITEMS", set).update(items)
    dispatch[pickle.ADDITEMS[0]] = load_additems

    def load_setitem(self):
        value, key = self.stack.pop(), self.stack.pop()
        self._target("SETITEM", dict, OrderedDict, Counter, defaultdict)[key] = value
    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self):
        items = self.pop_mark()
        target = self._target("SETITEMS", dict, OrderedDict, Counter, defaultdict)
        for key, value in zip(items[::2], items[1::2]):
            target[key] = value             # Counter.update would count the pairs
    dispatch[pickle.SETITEMS[0]] = load_setitems

    def load_binpersid(self):
        pid = self.stack.pop()
        if type(pid) not in (tuple, int):
            raise pickle.UnpicklingError(f"persistent_load id must be tuple or int, but got {type(pid)}")
        if type(pid) is tuple and pid and pid[0] not in ("storage", b"storage"):
            raise pickle.UnpicklingError(f"Only persistent_load of storage is allowed, but got {pid[0]!r}")
        self.stack.append(self._outside(self.persistent_load, pid))
    dispatch[pickle.BINPERSID[0]] = load_binpersid

    def load_bytearray8(self):
        size, = struct.unpack("<Q", self.read(8))
        self.stack.append(bytearray(self.read(size)))   # the size is the file's word: nothing is set aside for it beforehand
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def _build(value, state):
    """Gives an instance of a class that the user allows its state, as pickle does."""
    setter = getattr(value, "__setstate__", None)
    if setter is not None:
        setter(state)
        return
    state, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if state:
        value.__dict__.update(state)
    for name, content in (slots or {}).items():
        setattr(value, name, content)
