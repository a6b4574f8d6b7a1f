"""Where compiled CUDA kernels are kept: a file each in the cache, and sets of all kernels for one architecture.

A set is a file ``sm_90.cubins``: a line of magic, a line of JSON that names each kernel's place, and the compressed cubins. A
cubin for compute capability X.y runs on X.z for z >= y, so a set for 8.0 also serves 8.6 and 8.9. Sets are written by
``python -m numtorch cuda build``.
"""
import hashlib
import json
import os
import zlib
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from . import _cache, _settings

MAGIC = b"numtorch cubins 1\n"
# the text that all kernels depend on; what else a kernel is made of, its family imports
COMPILER = ("_cuda", "_cuda_compile", "_cuda_intrinsics", "_cuda_intrinsics_mma", "_cuda_math", "_cuda_numba", "_relink")
TOOLS = ("numba-cuda", "numba", "llvmlite", "nvidia-nvvm", "nvidia-nvjitlink")


def family(kernel):
    """The family of a ``DeviceKernel``: the name of the file that it is written in."""
    return kernel.name.partition(".")[0]


@lru_cache(None)
def _compiler():
    return hashlib.sha256(b"".join((_cache.HERE / f"{part}.py").read_bytes() for part in COMPILER)).hexdigest()


def identity(kernel, t, u):
    """A name for one specialisation in its family, which changes with all sources that the machine code is made of."""
    parts = (_cache.source_hash(family(kernel)), _compiler(), kernel.words, kernel.threads, kernel.source)
    return "-".join(filter(None, (kernel.__name__, t, u, hashlib.sha256(repr(parts).encode()).hexdigest()[:16])))


@lru_cache(None)
def _tools():
    """Eight hex digits that change with the versions of the packages that compile."""
    versions = []
    for package in TOOLS:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()[:8]


def path(kernel, t, u, cc):
    """The cache's file for a specialisation and a compute capability."""
    return _cache.folder(family(kernel)) / f"sm_{cc[0]}{cc[1]}-{_tools()}" / f"{identity(kernel, t, u)}.cubin"


def read(file):
    """(cubin, name of its entry) from a file of the cache, or None where it is missing."""
    try:
        entry, _, cubin = file.read_bytes().partition(b"\0")
    except FileNotFoundError:
        return None
    return cubin, entry.decode()


def write(file, cubin, entry):
    """Writes a file of the cache. The rename is atomic, so that processes may do so at once."""
    _replace(file, entry.encode() + b"\0" + cubin)


def _replace(file, data):
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(file)


# ---- sets ----------------------------------------------------------------------------------------------------------------

def folder():
    """The folder of the sets: ``NUMTORCH_CUBINS``, else one in the cache."""
    own = getattr(_settings, "CUBINS", None)
    return Path(own).expanduser() if own else _cache.root() / "cubins"


def write_set(folder, cc, kernels):
    """Writes the set of one architecture.

    Args:
        folder (Path): created if it is missing.
        cc (tuple): compute capability.
        kernels (dict): (family, ``identity``) of a specialisation -> (cubin, name of the entry).

    Returns:
        Path: of the file.
    """
    index, blocks, place = {}, [], 0
    for names, (cubin, entry) in sorted(kernels.items()):
        block = zlib.compress(cubin)
        index[".".join(names)] = (entry, place, len(block))
        blocks.append(block)
        place += len(block)
    file = folder / f"sm_{cc[0]}{cc[1]}.cubins"
    _replace(file, MAGIC + json.dumps(index).encode() + b"\n" + b"".join(blocks))
    return file


@lru_cache(None)
def _index(file):
    """(index, where the cubins begin) of a set; an empty one where there is no such file."""
    if not file.exists():
        return {}, 0
    with file.open("rb") as f:
        if f.readline() != MAGIC:
            raise RuntimeError(f"{file} is no set of CUDA kernels of this version of numtorch: build it again, or remove it")
        return json.loads(f.readline()), f.tell()


def prebuilt(kernel, t, u, cc):
    """(cubin, name of its entry) from a set that has the kernel as its sources are now; None where there is none."""
    name = f"{family(kernel)}.{identity(kernel, t, u)}"
    for minor in range(cc[1], -1, -1):
        file = folder() / f"sm_{cc[0]}{minor}.cubins"
        index, start = _index(file)
        if name in index:
            entry, place, size = index[name]
            with file.open("rb") as f:
                f.seek(start + place)
                return zlib.decompress(f.read(size)), entry
    return None
