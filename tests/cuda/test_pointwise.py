"""Every element-wise formula compiles for a GPU in every kind of dtype that an operation gives it, without float64 in float32."""
import re

import pytest
from numtorch.kernels import _cuda_compile, pointwise_cuda

from numtorch.ops import _pointwise

KINDS = ("float32", "bfloat16", "int64", "int8", "bool", "complex64")      # the others are the same code
LOOPS = [(formula, names) for formula, names in _pointwise.all_loops() if names[0] in KINDS]


@pytest.mark.parametrize("part", range(8))
def test_formulas(part):
    """An eighth of all loops over arrays without gaps, and of each formula the strided one, as PTX for sm_90."""
    seen = set()
    for formula, names in LOOPS[part::8]:
        for dims in (0,) if formula in seen else (0, 3):
            text = _cuda_compile.ptx(pointwise_cuda.kernel(formula, names, dims), None, None, (9, 0))
            double = [line for line in re.findall(r".*\.f64\b.*", text) if ".reg" not in line]
            assert not double or names[0] in ("int64", "int8", "bool"), f"{formula} on {names}: {double[:3]}"
        seen.add(formula)


def test_width():
    """Sums of float32 are made of 16-byte loads and stores."""
    text = _cuda_compile.ptx(pointwise_cuda.kernel("add", ("float32",) * 3), None, None, (9, 0))
    assert len(re.findall(r"ld\.global[.\w]*\.v4\.[fb]32", text)) >= 2 and re.search(r"st\.global[.\w]*\.v4\.[fb]32", text)
