"""A kernel's way from Python to LLVM's code for a GPU, through numba-cuda, which is used as a compiler only.

No driver is needed, and nothing here starts a kernel. One thread at a time may call it: ``_cuda_compile.py`` sees to that. Of all
modules only this one and those named ``_cuda_intrinsics`` import numba-cuda.
"""
import inspect
import math
import re
from functools import lru_cache
from types import ModuleType, SimpleNamespace

import numba.cuda
import numpy as np
from numba.cuda import compiler, dispatcher, types
from numba.cuda.cudadrv import nvvm
from numba.cuda.extending import overload

from . import _cuda, _cuda_intrinsics_mma, _cuda_math, _relink
from . import _cuda_intrinsics as intrinsics


class _offline:
    """numba-cuda asks the current device for its capability when it meets a function that a kernel calls: a stand-in answers."""

    def __init__(self, cc):
        self.device = SimpleNamespace(compute_capability=cc)

    def __enter__(self):
        self.ask, dispatcher.get_current_device = dispatcher.get_current_device, lambda: self.device

    def __exit__(self, *exc):
        dispatcher.get_current_device = self.ask


# a variable for each function, which only Numba's CPU code uses
_UNUSED = re.compile(r'^@"_ZN08NumbaEnv.*= common global .*\n', re.MULTILINE)


class Code:
    """A lowered kernel: LLVM's code that libNVVM turns into PTX or LTO-IR for any GPU of its generation."""

    def __init__(self, library, entry):
        self.library, self.entry = library, entry

    def ptx(self, cc):
        """PTX, as text."""
        text, = self.library.get_asm_strs(cc=cc)
        return text

    def ltoir(self, cc):
        """What nvJitLink links, as bytes."""
        return self.library.get_ltoir(cc=cc)


def lower(kernel, t, u, cc):
    """The ``Code`` of one specialisation of a ``DeviceKernel``: the same for all GPUs, but for how bfloat16 is converted."""
    converts = cc >= (8, 0) and any(kind.startswith("bfloat16") for kind in kernel.argument_types(t, u))
    return _lower(kernel, t, u, (8, 0) if converts else (7, 5))


@lru_cache(16)
def _lower(kernel, t, u, cc):
    arguments = [intrinsics.argument(word) for word in kernel.argument_types(t, u)]
    with _offline(cc):
        fn = _relink.relink(kernel.fn, _names(t, u), _replacements(), _device_function)
        result = compiler.compile_cuda(fn, types.void, tuple(arguments), cc=cc, nvvm_options={"opt": 3})
    library = result.library
    entry = library.get_function(result.fndesc.llvm_func_name)
    compiler.kernel_fixup(entry, False)
    nvvm.set_launch_bounds(entry, (kernel.threads, kernel.resident) if kernel.resident else kernel.threads)
    short = "_".join(filter(None, (kernel.fn.__name__, t, u)))
    library._llvm_strs = [_UNUSED.sub("", text).replace(entry.name, short) for text in library.llvm_strs]
    return Code(library, short)


def _names(t, u):
    """What the placeholders are for element types named ``t`` and ``u``."""
    found = {name: getattr(intrinsics, name) for name in _cuda.NAMES if hasattr(intrinsics, name)}
    found |= {"cuda": numba.cuda, "mma": _cuda_intrinsics_mma}
    if t:
        found |= {"T": intrinsics.ELEMENTS[t], "A": intrinsics.ELEMENTS[_cuda.computed_in(t)]}
    if u:
        found["U"] = intrinsics.ELEMENTS[u]
    return found


def _device_function(fn):
    """A function that kernels call; a call left in the code would need a stack in local memory."""
    return numba.cuda.jit(device=True, forceinline=True)(fn)


@lru_cache(None)
def _replacements():
    """For each original of ``_cuda_math.REPLACE`` what numba-cuda can call; NumPy and math with their own in them."""
    found = {original: _stub(choice) for original, choice in _cuda_math.REPLACE.items()}
    for builtin, name in ((min, "smallest"), (max, "largest")):
        found[builtin] = getattr(intrinsics, name)
    for module in (math, np):
        copy = ModuleType(module.__name__)
        vars(copy).update({name: found.get(value, value) if callable(value) else value for name, value in vars(module).items()})
        found[module] = copy
    return found


def _stub(choice):
    """A function that numba-cuda replaces by the one of a ``Choice`` that suits the arguments' types."""
    def pick(*kinds):
        fn = choice.of(*(k.name for k in kinds))
        return fn and _relinked(fn)

    names = ", ".join(inspect.signature(choice.single).parameters)
    space = {"pick": pick}
    exec(f"def stub({names}): raise NotImplementedError\ndef choose({names}): return pick({names})", space)
    overload(space["stub"], jit_options={"forceinline": True}, strict=False)(space["choose"])
    return space["stub"]


@lru_cache(None)
def _relinked(fn):
    return _relink.relink(fn, _names(None, None), _replacements(), _device_function)
