"""Every declared CUDA kernel compiles for every GPU generation, without float64 where it is not asked for, spills or a stack."""
import re

import pytest
import sample_kernels
from numtorch.kernels import _cuda_compile

from numtorch import _cuda_build

CAPABILITIES = [(7, 5), (8, 0), (9, 0), (10, 0), (12, 0)]
DOUBLE = ("float64", "complex128")
REGISTERS = 65536           # of a multiprocessor
INTERNAL = "__internal_"    # functions of libdevice that stay calls: the reduction of a large float64 angle, lgamma of float64

SPECIALISATIONS = [(kernel, t, u) for kernel in sample_kernels.KERNELS for t, u in kernel.specialisations()]
SPECIALISATIONS += _cuda_build.declared()


def named(case):
    kernel, *types = case
    return "-".join(filter(None, (kernel.name, *types)))


def check(kernel, t, u, capabilities):
    """The rules for one specialisation; the lowered code is the same for all capabilities from 8.0 on."""
    types = kernel.argument_types(t, u)
    double, text = any(kind.rstrip("*") in DOUBLE for kind in types), ""
    for cc in capabilities:
        if cc < getattr(kernel, "capability", (7, 5)):
            continue
        where = f"{kernel.name} {types} for sm_{cc[0]}{cc[1]}"
        text = _cuda_compile.ptx(kernel, t, u, cc) if not text or cc == (9, 0) else text
        if not double:
            instructions = [line.strip() for line in re.findall(r".*\.f64\b.*", text) if ".reg" not in line]
            assert not instructions, f"{where}: float64 instructions: {instructions[:5]}"
        cubin, entry, report = _cuda_compile.compile(kernel, t, u, cc)
        assert cubin[:4] == b"\x7fELF" and entry.encode() in cubin
        if not (double and INTERNAL in text):
            assert report.spills == report.stack == 0, f"{where}: {report}"
        assert report.registers * kernel.threads <= REGISTERS, f"{where}: {report} with {kernel.threads} threads"


@pytest.mark.parametrize("case", SPECIALISATIONS, ids=named)
def test_kernel(case):
    """One specialisation of one kernel, for five architectures."""
    check(*case, CAPABILITIES)


def test_all_names_are_tried():
    """The samples use each name that ``_cuda.py`` offers to all kernels."""
    from numtorch.kernels import _cuda

    used = {name for kernel in sample_kernels.KERNELS for name in (*kernel.fn.__code__.co_names, *kernel.fn.__code__.co_freevars)}
    assert {name for name in _cuda.NAMES if name not in "TUA"} <= used
