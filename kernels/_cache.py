"""Where compiled kernels are kept: one folder a family in the user's cache, named by a hash of the family's sources.

Numba's own cache notices a change in a kernel's file but not in a helper that it calls from another file. With the hash of a
family's file, and of every kernel file that it imports, in the folder's name, an edit starts from an empty folder and old
machine code is never run; families that the edit does not touch keep theirs.
"""
import hashlib
import os
import re
import tempfile
from functools import lru_cache
from pathlib import Path

from . import _settings

HERE = Path(__file__).parent
_IMPORT = re.compile(r"^from \.(\w*) import (.+)$", re.MULTILINE)


@lru_cache(None)
def sources(family):
    """The names of the kernel files that ``family`` is made of: its own, and those it imports, in turn."""
    found, todo = set(), [family]
    while todo:
        name = todo.pop()
        if name in found or not (HERE / f"{name}.py").exists():
            continue
        found.add(name)
        for module, names in _IMPORT.findall((HERE / f"{name}.py").read_text()):
            todo += [module] if module else re.findall(r"\w+", names)
    return frozenset(found)


@lru_cache(None)
def source_hash(family):
    """Sixteen hex digits that change when any source of ``family`` changes."""
    digest = hashlib.sha256()
    for name in sorted(sources(family)):
        digest.update(name.encode())
        digest.update((HERE / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


@lru_cache(None)
def root():
    """The folder of all compiled kernels: ``NUMTORCH_CACHE``, else the user's cache folder, created if it is missing.

    Where it cannot be written, a private temporary folder: a read-only home works, only without a cache between processes.
    """
    path = Path(_settings.CACHE_ROOT).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError:
        return Path(tempfile.mkdtemp(prefix="numtorch-kernels-"))


@lru_cache(None)
def folder(family):
    """The cache folder of one family of kernels, created if it is missing."""
    path = root() / f"{family}-{source_hash(family)}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_source(family, name, text):
    """Writes generated source ``text`` as ``name``.py in the family's cache folder, once, and returns its path.

    The rename is atomic and the text is a function of the family's hash, so processes that race write the same file.
    """
    path = folder(family) / f"{name}.py"
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text)
        draft.replace(path)
    return path
