"""torch means numtorch: an importer that gives numtorch's modules torch's names, for programs written for torch."""
import importlib
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

_ALIASES = {"torch": "numtorch", "torchvision": "numtorch.vision"}
_FOLDER = str(Path(__file__).with_name("_as_torch"))


def _ours(name):
    """The numtorch module that a torch name means, or None."""
    package, dot, rest = name.partition(".")
    own = _ALIASES.get(package)
    return own and own + dot + rest


class _Alias:
    """Finder and loader of torch's names: each is the numtorch module itself, so that both names give one object."""

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if _ours(name) else None

    def create_module(self, spec):
        module = importlib.import_module(_ours(spec.name))
        spec.loader_state = module.__spec__         # importlib is about to overwrite it
        return module

    def exec_module(self, module):
        spec, module.__spec__ = module.__spec__, module.__spec__.loader_state
        spec.loader_state = None


class _Missing:
    """Asked when nobody else has found a module: says that numtorch does not have it yet, and names the nearest thing."""

    def find_spec(self, name, path=None, target=None):
        if not name.startswith("numtorch."):
            return None
        parent, _, last = name.rpartition(".")
        theirs = next(t + name[len(own):] for t, own in reversed(_ALIASES.items()) if name.startswith(own + "."))
        # a name other than the one asked for: importlib would drop an error that bears it, and with it the words
        near = _nearest(last, dir(sys.modules[parent]))
        raise ModuleNotFoundError(f"numtorch does not have {theirs!r} yet" + near, name=theirs)


def no_attribute(module, name, names):
    """The AttributeError of a name that a module does not have yet, with the one of ``names`` that is spelled most like it."""
    return AttributeError(f"module {module!r} has no attribute {name!r}: numtorch does not have it yet" + _nearest(name, names))


def _nearest(name, names):
    import difflib

    found = difflib.get_close_matches(name, [n for n in names if not n.startswith("_")], 1)
    return f"; the nearest that it has is {found[0]!r}" if found else ""


def install_as_torch():
    """From here on, ``import torch`` and ``import torchvision`` give numtorch and numtorch.vision in this process.

    Worker processes inherit it: forked ones as they are, spawned ones because they get this process's ``sys.path``.

    Raises:
        ImportError: real torch or torchvision has been imported already.
    """
    for name, own in _ALIASES.items():
        loaded = sys.modules.get(name)
        # the second: a spawned process that is importing _as_torch/torch.py
        if loaded is not None and loaded.__name__ != own and not str(getattr(loaded, "__file__", "")).startswith(_FOLDER):
            raise ImportError(f"{name} is imported already, from {getattr(loaded, '__file__', 'somewhere')}: call "
                              "numtorch.install_as_torch() before anything imports it")
    if any(isinstance(finder, _Alias) for finder in sys.meta_path):
        return
    for name in _ALIASES:
        sys.modules.pop(name, None)
    sys.meta_path[:] = [_Alias(), *sys.meta_path, _Missing()]
    sys.path.insert(0, _FOLDER)
    importlib.import_module("torch")
    sys.modules["torchvision"] = importlib.import_module("numtorch.vision")
