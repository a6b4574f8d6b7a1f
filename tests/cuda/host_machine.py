"""Runs the LLVM code that kernels are lowered to on the host's processor, one thread of the GPU after another.

What numba-cuda makes of a kernel, and the code that kernels/_cuda_intrinsics.py adds, is the same text that libNVVM compiles: only
special registers, libdevice and one kind of atomic addition are the GPU's own, and are replaced here. Kernels that wait for other
threads (barriers, shuffles) cannot run so.

LLVM of today reads pointers without types, numba-cuda writes them for the LLVM of libNVVM: the process that imports this module
must have been started with LLVMLITE_ENABLE_IR_LAYER_TYPED_POINTERS=0.
"""
import ctypes
import itertools
import math
import re

import llvmlite
import llvmlite.binding as llvm
import numpy as np
from numtorch.kernels import _cuda_numba

assert not llvmlite.ir_layer_typed_pointers_enabled

REGISTERS = [f"{name}.{axis}" for name in ("tid", "ctaid", "ntid", "nctaid") for axis in "xyz"]

# special registers are elements of an array that the host sets; bit casts are libdevice's
RUNTIME = "@registers = global [12 x i32] zeroinitializer\n" + "".join(f"""
define i32 @"read.{name}"() {{
  %p = getelementptr [12 x i32], ptr @registers, i32 0, i32 {k}
  %v = load i32, ptr %p
  ret i32 %v
}}""" for k, name in enumerate(REGISTERS)) + "".join(f"""
define {to} @"{name}"({of} %x) {{
  %y = bitcast {of} %x to {to}
  ret {to} %y
}}""" for name, of, to in (("float_as_int", "float", "i32"), ("int_as_float", "i32", "float"),
                           ("double_as_longlong", "double", "i64"), ("longlong_as_double", "i64", "double"))) + "".join(f"""
define {kind} @"atomic.add.{letter}"(ptr %p, {kind} %v) {{
  %old = atomicrmw fadd ptr %p, {kind} %v monotonic
  ret {kind} %old
}}""" for letter, kind in (("f32", "float"), ("f64", "double")))


def _erfinv(y):
    if abs(y) >= 1 or y != y:
        return math.copysign(math.inf, y) if abs(y) == 1 else math.nan
    x = 0.0
    for _ in range(100):
        rest = math.erf(x) - y if abs(y) < 0.5 else (1 - abs(y) - math.erfc(abs(x))) * math.copysign(1, y)
        x -= rest * math.sqrt(math.pi) / 2 * math.exp(min(x * x, 50))
    return x


def _by_pi(fn):
    return lambda x: fn(math.pi * math.fmod(x, 2)) if math.isfinite(x) else math.nan


# libdevice's functions that the C library lacks
OWN = {"sinpif": _by_pi(math.sin), "cospif": _by_pi(math.cos), "erfinvf": _erfinv, "erfinv": _erfinv,
       "isnand": math.isnan, "isnanf": math.isnan, "isinfd": math.isinf, "isinff": math.isinf,
       "finitef": math.isfinite, "isfinited": math.isfinite}
_kept = []


def _machine():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.load_library_permanently("libm.so.6")
    for name, fn in OWN.items():
        kind = ctypes.c_float if name.endswith("f") else ctypes.c_double
        result = ctypes.c_int if name.startswith(("is", "finite")) else kind
        callback = ctypes.CFUNCTYPE(result, kind)(fn)
        _kept.append(callback)
        llvm.add_symbol(name, ctypes.cast(callback, ctypes.c_void_p).value)
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=1)


_target_machine = _machine()
_C = {"int8": ctypes.c_int8, "int16": ctypes.c_int16, "int32": ctypes.c_int32, "int64": ctypes.c_int64, "uint8": ctypes.c_uint8,
      "float32": ctypes.c_float, "float64": ctypes.c_double}


def _translate(text):
    text = re.sub(r"^target .*\n", "", text, flags=re.MULTILINE)
    text = text.replace("llvm.nvvm.read.ptx.sreg.", "read.").replace("__nv_", "")
    text = re.sub(r"llvm\.nvvm\.atomic\.load\.add\.(f\d\d)\.p0f\d\d", r"atomic.add.\1", text)
    assert "llvm.nvvm" not in text, re.findall(r"llvm\.nvvm[\w.]*", text)
    return text


def compile(kernel, t=None, u=None):
    """A function (grid, block, *args) that runs one specialisation of a ``DeviceKernel``; arrays are NumPy's."""
    code = _cuda_numba.lower(kernel, t, u, (7, 5))      # before 8.0 no instruction of the GPU's own converts bfloat16
    modules = [llvm.parse_assembly(RUNTIME)] + [llvm.parse_assembly(_translate(text)) for text in code.library.llvm_strs]
    for other in modules[1:]:
        modules[0].link_in(other)
    modules[0].verify()
    engine = llvm.create_mcjit_compiler(modules[0], _target_machine)
    engine.finalize_object()
    registers = (ctypes.c_int32 * 12).from_address(engine.get_global_value_address("registers"))
    kinds = kernel.argument_types(t, u)
    call = ctypes.CFUNCTYPE(None, *(ctypes.c_void_p if kind.endswith("*") else _C[kind] for kind in kinds))(
        engine.get_function_address(code.entry))
    _kept.append((engine, modules))

    def run(grid, block, *args):
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        values = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in args]
        assert len(values) == len(kinds) and all(a.ctypes.data % 16 == 0 for a in arrays)
        registers[6:12] = (block, 1, 1, grid, 1, 1)
        for at, thread in itertools.product(range(grid), range(block)):
            registers[0], registers[3] = thread, at
            call(*values)
    return run


def aligned(array):
    """A copy of an array at a multiple of 16 bytes, as device memory is."""
    array = np.asarray(array)
    room = np.empty(array.nbytes + 16, np.uint8)
    start = -room.ctypes.data % 16
    copy = room[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
