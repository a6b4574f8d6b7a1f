"""What kernels are compiled to: wide accesses, atomic instructions, division and square root as IEEE 754 asks, fused additions."""
import re

import pytest
import sample_kernels as samples
from numtorch.kernels import _cuda_compile
from numtorch.kernels import pointwise_cuda as pointwise


def ptx(kernel, t=None, cc=(8, 0), u=None):
    return _cuda_compile.ptx(kernel, t, u, cc)


def formula(name, *types, cc=(8, 0)):
    return ptx(pointwise.kernel(name, types), cc=cc)


@pytest.mark.parametrize("kernel, t", [(samples.copy_4, "float32"), (samples.copy_2, "int64"), (samples.copy_8, "int16"),
                                       (samples.copy_16, "uint8"), (samples.copy, "complex128"), (samples.copy_2, "complex64"),
                                       (samples.copy_16, "bool")], ids=lambda v: getattr(v, "__name__", v))
def test_sixteen_bytes_move_in_one_access(kernel, t):
    """A thread's 16 bytes are one load and one store, whatever they are elements of."""
    text = ptx(kernel, t)
    for access in ("ld.global", "st.global"):
        found = re.findall(rf"{access}[.\w]*", text)
        assert len(found) == 1 and re.search(r"v4\.[uf]32|v2\.[uf]64|v4\.b32|v2\.b64", found[0]), found


def test_tiles_are_read_from_shared_memory_in_wide_accesses():
    """The inner loop of a matrix product: 64 fused multiply-adds for four loads."""
    text = ptx(samples.product, "float32")
    assert text.count("fma.rn.f32") % 64 == 0
    assert text.count("ld.shared.v4.f32") * 16 == text.count("fma.rn.f32") and "ld.shared.f32" not in text
    _, _, report = _cuda_compile.compile(samples.product, "float32", None, (8, 0))
    assert report.registers <= 128 and report.shared == 2 * samples.TILE * samples.DEPTH * 4


@pytest.mark.parametrize("t, instruction", [("float32", "add.f32"), ("float64", "add.f64"), ("int32", "add.u32"), ("int64", "add.u64"),
                                            ("int8", "cas.b32"), ("float16", "cas.b32"), ("bfloat16", "cas.b32"), ("bool", "cas.b32")])
def test_atomic_addition(t, instruction):
    """One instruction where the GPU has it; elements below 32 bits by exchanging their word."""
    assert re.search(rf"atom\.(global\.)?{instruction}", ptx(samples.scatter_add, t))


@pytest.mark.parametrize("t, of", [("int32", "s32"), ("int64", "s64")])
def test_atomic_extremes_of_integers(t, of):
    text = ptx(samples.scatter_extremes, t)
    assert all(re.search(rf"(atom|red)\.(global\.)?{name}\.{of}", text) for name in ("max", "min"))


def test_atomic_addition_in_shared_memory():
    """The histogram of a block does not go through device memory."""
    assert re.search(r"(atom|red)\.shared\.add\.f32", ptx(samples.shared_histogram, "float32"))


def test_halves_are_converted_in_one_instruction():
    """float16 on all GPUs, bfloat16 from 8.0 on; before, its rounding is integer arithmetic."""
    assert "cvt.rn.f16.f32" in ptx(samples.convert, "float32", u="float16", cc=(7, 5))
    assert "cvt.rn.bf16.f32" in ptx(samples.convert, "float32", u="bfloat16", cc=(8, 0))
    assert "bf16" not in re.sub(r"//.*|convert\w*", "", ptx(samples.convert, "float32", u="bfloat16", cc=(7, 5)))


def test_division_and_square_root_round_correctly():
    """No approximations, and denormals stay."""
    assert "div.rn.f32" in formula("div", *["float32"] * 3)
    assert "sqrt.rn.f32" in formula("sqrt", *["float32"] * 2)
    for name in ("add", "mul", "div", "sqrt"):
        assert "ftz" not in formula(name, *["float32"] * (2 if name == "sqrt" else 3))


def test_products_are_fused_into_sums():
    """a b + c is one instruction with one rounding, in float32 and in halves."""
    for t in ("float32", "float16", "bfloat16"):
        text = formula("addcmul", *[t] * 5)
        assert "fma.rn.f32" in text and "mul.f32" in text


def test_sums_are_not_reassociated():
    """(x + y) + z stays so: rounding must not depend on what the optimiser likes."""
    text = ptx(samples.complex_arithmetic, "complex64")
    assert "fast" not in text and "approx" not in text.replace("rcp.approx.ftz", "")


def test_an_address_computed_in_32_bits_is_not_tested_for_being_negative():
    """A copy is a comparison, a load and a store: Numba's own accesses of arrays would wrap indices."""
    assert ptx(samples.copy, "float32").count("setp") == 1
    assert "selp" not in ptx(samples.through_shared, "float32")
