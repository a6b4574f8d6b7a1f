"""CUDA kernels as machine code: from sets built ahead of time, from the cache on disk, or compiled with numba-cuda and nvJitLink.

A compiled kernel is a cubin, code for one architecture that any driver of CUDA 13 loads. It is made from LTO-IR: nvJitLink's
optimiser then allots the registers of the whole kernel (an SGEMM takes 128 of them; linked from PTX, 142).

A machine whose kernels are all in a set or in the cache needs neither numba-cuda nor nvJitLink.
"""
import re
import threading
from dataclasses import dataclass
from importlib import import_module

from . import _cuda_cubins, _jit

_lock = threading.RLock()               # numba-cuda and the notice of a compile take one thread at a time


@dataclass(frozen=True)
class Report:
    """What a compiled kernel takes."""

    registers: int      # of a thread
    shared: int         # bytes of a block that the kernel declares
    stack: int          # bytes of a thread in local memory: arrays with computed indices, functions that were not inlined
    spills: int         # bytes stored and loaded for registers that were too few
    size: int           # bytes of the cubin


def compile(kernel, t, u, cc, output="cubin"):
    """One specialisation of a ``DeviceKernel`` compiled for a compute capability, such as (9, 0).

    Args:
        kernel (DeviceKernel): what to compile.
        t, u (str or None): the names of its element types.
        cc (tuple): the compute capability.
        output (str): "cubin" for (machine code, name of its entry, ``Report``), "ltoir" for bytes, or "ptx" for text.
    """
    cc = tuple(cc)
    with _lock:
        front, linker = compilers()
        code = front.lower(kernel, t, u, cc)
        if output == "ptx":
            return code.ptx(cc)
        if output == "ltoir":
            return code.ltoir(cc)
        cubin, log = _link(linker, code.ltoir(cc), cc, kernel)
        return cubin, code.entry, _report(log, cubin)


def ptx(kernel, t, u, cc):
    """The PTX of one specialisation, as libNVVM writes it."""
    return compile(kernel, t, u, cc, "ptx")


def load(kernel, t, u, cc):
    """(cubin, name of its entry) of a specialisation; compiled and kept in the cache if neither a set nor the cache has it."""
    cc = tuple(cc)
    found = _cuda_cubins.prebuilt(kernel, t, u, cc)
    if found is not None:
        return found
    file = _cuda_cubins.path(kernel, t, u, cc)
    found = _cuda_cubins.read(file)
    if found is not None:
        return found
    with _lock:
        found = _cuda_cubins.read(file)         # another thread may have compiled it by now
        if found is not None:
            return found
        _jit._notice.enter(kernel.__name__)
        try:
            cubin, entry, _ = compile(kernel, t, u, cc)
        finally:
            _jit._notice.leave()
        _cuda_cubins.write(file, cubin, entry)
    return cubin, entry


def compilers():
    """numba-cuda, as ``_cuda_numba`` wraps it, and nvJitLink, imported at the first need; RuntimeError where they are missing."""
    try:
        return import_module("._cuda_numba", __package__), import_module("cuda.bindings.nvjitlink")
    except ImportError as error:
        raise RuntimeError("compiling CUDA kernels needs numba-cuda and nvJitLink: pip install numtorch[cuda] "
                           f"({error})") from error


def _link(linker, code, cc, kernel):
    """(cubin, what ptxas says) of LTO-IR."""
    options = [f"-arch=sm_{cc[0]}{cc[1]}", "-lto", "-verbose", "-Xptxas=-v"]
    handle = linker.create(len(options), options)
    try:
        linker.add_data(handle, linker.InputType.LTOIR, code, len(code), kernel.name)
        linker.complete(handle)
        cubin = bytearray(linker.get_linked_cubin_size(handle))
        linker.get_linked_cubin(handle, cubin)
        log = bytearray(linker.get_info_log_size(handle))
        linker.get_info_log(handle, log)
    except linker.nvJitLinkError as error:
        text = bytearray(linker.get_error_log_size(handle))
        linker.get_error_log(handle, text)
        raise RuntimeError(f"nvJitLink, {kernel.name} for sm_{cc[0]}{cc[1]}: {text.decode().strip()}") from error
    finally:
        linker.destroy(handle)
    return bytes(cubin), log.decode()


def _report(log, cubin):
    def total(pattern):
        return sum(int(n) for n in re.findall(pattern, log))
    most = max(int(n) for n in re.findall(r"Used (\d+) registers", log))
    return Report(most, total(r"(\d+) bytes smem"), total(r"(\d+) bytes stack frame"), total(r"(\d+) bytes spill"), len(cubin))
