"""The simulated CUDA device: it computes what a device does, and reports each kind of mistake, whose right twin passes."""
import gc
import inspect
import math
import threading
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
import simulator
from numtorch.kernels import _math, _powers, _relink, _special, _trigonometry, pointwise
from numtorch.kernels._cuda import (
    FLOATING,
    FULL,
    A,
    T,
    atomic_add,
    atomic_cas,
    atomic_max,
    atomic_min,
    cuda,
    load,
    load_vector,
    store,
    store_vector,
)
from simulator import KernelError, StandInDriver
from simulator.arrays import kernel, launch, to_host

ANY = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool")
SEEDS = (None, 0, 1, 2)


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed {seed}")
def driver(request):
    """A driver for each order of threads."""
    return StandInDriver(seed=request.param)


def reported(driver, kernel, grid, block, *args, match, **how):
    """The message of the error, which names kernel, block and thread."""
    with pytest.raises(KernelError, match=match) as found:
        launch(driver, kernel, grid, block, *args, **how)
    assert f"{kernel.name}, block (" in str(found.value) and "), thread (" in str(found.value)
    return str(found.value)


# ---- what kernels compute ----------------------------------------------------------------------------------------------

@kernel("T* T* q", T=ANY)
def doubled(x, out, n):
    i = cuda.grid(1)
    if i < n:
        store(out, i, load(x, i) + load(x, i))


@pytest.mark.parametrize("dtype", ANY)
def test_a_thread_for_each_element_in_every_dtype(driver, dtype):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    x = (np.arange(70) % 9).astype(dtype)
    out = np.zeros_like(x)
    launch(driver, doubled, 3, 32, x, out, 70)
    assert (out == (x.astype(np.float64) * 2).astype(dtype)).all()


@kernel("q* q", threads=1024)
def places(out, n):
    t, b = cuda.threadIdx, cuda.blockIdx
    x, y, z = cuda.grid(3)
    width, height, _ = cuda.gridsize(3)
    i = (z * height + y) * width + x
    out[i] = b.x + 10 * b.y + 100 * b.z + 1000 * (t.x + 10 * t.y + 100 * t.z) + n * (cuda.gridDim.z + 10 * cuda.blockDim.x)


def test_indices_of_threads_and_blocks(driver):
    out = np.zeros((4, 6, 4), np.int64)
    launch(driver, places, (2, 3, 4), (2, 2, 1), out, 10**6)
    z, y, x = np.indices(out.shape)
    assert (out == x // 2 + 10 * (y // 2) + 100 * z + 1000 * (x % 2 + 10 * (y % 2)) + 24 * 10**6).all()


@kernel("T* T* q", T=FLOATING)
def block_total(x, out, n):
    partial = cuda.shared.array(32, A)
    t = cuda.threadIdx.x
    acc = A(0)
    for i in range(t, n, cuda.blockDim.x):
        acc += load(x, i)
    for k in (16, 8, 4, 2, 1):
        acc += cuda.shfl_xor_sync(FULL, acc, k)
    if cuda.laneid == 0:
        partial[t // 32] = acc
    cuda.syncthreads()
    if t == 0:
        total = A(0)
        for k in range(cuda.blockDim.x // 32):
            total += partial[k]
        store(out, 0, total)


@pytest.mark.parametrize("dtype", FLOATING)
def test_sums_by_shuffles_and_shared_memory(driver, dtype):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    x, out = np.arange(1, 200).astype(dtype), np.zeros(1, dtype)
    launch(driver, block_total, 1, 96, x, out, x.size)
    assert out[0] == x.astype(np.float64).sum().astype(dtype)


TILE = 8


@kernel("T* T* T* q", T=FLOATING)
def product(a, b, c, n):
    left, right = cuda.shared.array((TILE, TILE), A), cuda.shared.array((TILE, TILE), A)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    row, column = cuda.blockIdx.y * TILE + y, cuda.blockIdx.x * TILE + x
    acc = cuda.local.array(1, A)
    acc[0] = A(0)
    for k in range(0, n, TILE):
        left[y, x] = load(a, row * n + k + x)
        right[y, x] = load(b, (k + y) * n + column)
        cuda.syncthreads()
        for j in range(TILE):
            acc[0] = cuda.fma(left[y, j], right[j, x], acc[0])
        cuda.syncthreads()
    store(c, row * n + column, acc[0])


@pytest.mark.parametrize("races", [False, True])
def test_a_tiled_product(driver, races):
    a, b = np.random.randn(2, 16, 16).astype(np.float32)
    c = np.zeros_like(a)
    driver.races = races
    launch(driver, product, (2, 2), (TILE, TILE), a, b, c, 16)
    np.testing.assert_allclose(c, a @ b, atol=1e-5)


@kernel("q* f*")
def warp_operations(integers, floats):
    lane = cuda.laneid
    v = np.float32(lane)
    values = (cuda.shfl_sync(FULL, v, 5), cuda.shfl_up_sync(FULL, v, 3), cuda.shfl_down_sync(FULL, v, 3),
              cuda.shfl_xor_sync(FULL, v, 9))
    for k in range(4):
        floats[lane * 4 + k] = values[k]
    found = (cuda.ballot_sync(FULL, lane % 2), cuda.any_sync(FULL, lane == 31), cuda.all_sync(FULL, lane < 31),
             cuda.eq_sync(FULL, lane < 32), cuda.match_any_sync(FULL, np.int32(lane // 8)),
             cuda.match_all_sync(FULL, np.int32(3))[1], cuda.lanemask_lt(), cuda.popc(lane), cuda.clz(np.int32(lane)),
             cuda.ffs(lane), cuda.brev(np.uint32(lane)))
    for k in range(11):
        integers[lane * 11 + k] = found[k]


def test_shuffles_votes_and_bits(driver):
    integers, floats = np.zeros((32, 11), np.int64), np.zeros((32, 4), np.float32)
    launch(driver, warp_operations, 1, 32, integers, floats)
    lane = np.arange(32)
    assert (floats[:, 0] == 5).all()
    assert (floats[:, 1] == np.where(lane < 3, lane, lane - 3)).all()
    assert (floats[:, 2] == np.where(lane > 28, lane, lane + 3)).all()
    assert (floats[:, 3] == lane ^ 9).all()
    assert (integers[:, 0] == np.int32(0xAAAAAAAA - 2**32)).all()        # int32, as numba.cuda has it
    assert (integers[:, 1:4] == (1, 0, 1)).all()
    assert (integers[:, 4].astype(np.uint32) == 0xFF << (lane // 8 * 8)).all() and (integers[:, 5] == 1).all()
    assert [list(row) for row in integers[:, 6:]] == [
        [2**k - 1, k.bit_count(), 32 - k.bit_length(), (k & -k).bit_length(), int(f"{k:032b}"[::-1], 2)] for k in range(32)]


@kernel("f*")
def shuffle_of_half_a_warp(out):
    lane = cuda.laneid
    if lane < 16:
        out[lane] = cuda.shfl_xor_sync(0xFFFF, np.float32(lane), 1)
    else:
        cuda.syncwarp(0xFFFF0000)
        out[lane] = cuda.shfl_down_sync(0xFFFF0000, np.float32(lane), 16)


def test_masks_name_the_lanes_that_take_part(driver):
    out = np.zeros(32, np.float32)
    launch(driver, shuffle_of_half_a_warp, 1, 32, out)
    assert (out[:16] == np.arange(16) ^ 1).all() and (out[16:] == np.arange(16, 32)).all()


@kernel("f* f*")
def reads_lanes_that_are_not(x, out):
    out[cuda.threadIdx.x] = cuda.shfl_down_sync(FULL, x[cuda.threadIdx.x], 8)


def test_a_shuffle_from_a_lane_that_is_not_gives_nan(driver):
    out = np.zeros(12, np.float32)
    launch(driver, reads_lanes_that_are_not, 1, 12, np.arange(12, dtype=np.float32), out)
    assert (out[:4] == np.arange(8, 12)).all() and np.isnan(out[4:]).all()


@kernel("q*")
def counted_barriers(out):
    t = cuda.threadIdx.x
    found = (cuda.syncthreads_count(t % 3), cuda.syncthreads_and(t), cuda.syncthreads_or(t))
    for k in range(3):
        out[t * 3 + k] = found[k]


def test_barriers_that_count(driver):
    out = np.zeros((40, 3), np.int64)
    launch(driver, counted_barriers, 1, 40, out)
    assert (out == (26, 0, 1)).all()


@kernel("T* q*", T=("float32", "float16", "int32"))
def atomics(x, q):
    shared = cuda.shared.array(1, A)
    t = cuda.grid(1)
    if cuda.threadIdx.x == 0:
        shared[0] = A(0)
    cuda.syncthreads()
    cuda.atomic.add(shared, 0, A(1))
    atomic_add(x, 0, A(1))
    atomic_max(x, 1, A(t))
    atomic_min(x, 2, A(-t))
    atomic_cas(q, 0, 3, 4)
    cuda.atomic.or_(q, 1, 1 << (t % 16))
    cuda.atomic.exch(q, 2, 7)
    store(x, 4 + atomic_add(q, 3, 1), A(1))
    cuda.syncthreads()
    if t == 0:
        store(x, 3, shared[0])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
def test_atomics(driver, dtype):
    x, q = np.zeros(4 + 64, dtype), np.array([3, 0, 0, 0])
    driver.races = True
    launch(driver, atomics, 2, 32, x, q)
    assert list(x[:4]) == [64, 63, -63, 32] and (x[4:] == 1).all() and list(q) == [4, 0xFFFF, 7, 64]


@kernel("T* T* q", T=FLOATING)
def by_vectors(x, out, n):
    i = cuda.grid(1) * 4
    if i < n:
        a, b, c, d = load_vector(x, i, 4)
        store_vector(out, i, (d, c, b, a))


def test_vectors(driver):
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        x = np.arange(64).astype(dtype)
        out = np.zeros_like(x)
        launch(driver, by_vectors, 1, 32, x, out, 64)
        assert (out.reshape(-1, 4) == x.reshape(-1, 4)[:, ::-1]).all()


def helper(v):
    scratch = cuda.shared.array(32, A)
    scratch[cuda.threadIdx.x] = v
    cuda.syncthreads()
    v = scratch[31 - cuda.threadIdx.x]
    cuda.syncthreads()
    return v


@kernel("T*", T=FLOATING)
def calls_twice(out):
    dynamic = cuda.shared.array(0, A)
    t = cuda.threadIdx.x
    dynamic[t] = helper(A(t))
    out[t] = helper(dynamic[t]) + dynamic[31 - t] * A(100) if t == t else A(0)


def test_a_helper_has_one_shared_array_and_dynamic_memory_is_another(driver):
    out = np.zeros(32, np.float32)
    launch(driver, calls_twice, 1, 32, out, shared=128)
    assert (out == np.arange(32) + 100 * np.arange(32)).all()


@kernel("T* q", T=FLOATING)
def local_grid(out, n):
    a = cuda.local.array((2, 3, 4), A)
    for i in range(2):
        for j in range(3):
            for k in range(4):
                a[i, j, k] = A(i + 10 * j + 100 * k)
    out[cuda.grid(1)] = a[1, 2, n]


def test_arrays_of_three_dimensions(driver):
    out = np.zeros(2, np.float64)
    launch(driver, local_grid, 1, 2, out, 3)
    assert (out == 321).all()
    reported(driver, local_grid, 1, 2, out, 4, match=r"index \(1, 2, 4\) of a local array, which has shape \(2, 3, 4\)")


# ---- numbers -----------------------------------------------------------------------------------------------------------

ONE32, SEVEN = np.uint32(1), np.int8(7)


@kernel("q* I* b* B* i")
def integers(out, words, signed, unsigned, n):
    w = words[0]
    found = (w * w, w + ONE32, np.uint32(w * w), w >> ONE32, w - 2 * w, signed[0] + SEVEN, unsigned[0] + unsigned[0], ~signed[0],
             -unsigned[0], n * n, n // 0, np.uint8(300), np.int64(np.float32(math.nan)), np.int32(-1.5), unsigned[0] << 60)
    for k in range(15):
        out[k] = found[k]
    words[0], unsigned[0] = w * w + 7, -1


def test_integers_are_computed_in_64_bits():
    """As Numba does on the device; NumPy would stay in the type."""
    out, words = np.zeros(15, np.int64), np.array([2**32 - 1], np.uint32)
    launch(StandInDriver(), integers, 1, 1, out, words, np.array([127], np.int8), np.array([255], np.uint8), np.int32(2**30))
    assert list(out) == [(2**32 - 1)**2 - 2**64, 2**32, 1, 2**31 - 1, 1 - 2**32, 134, 510, -128, 1, 2**60, 0, 44, -2**63, -1,
                         (255 << 60) % 2**64 - 2**64]
    assert words[0] == 8


@kernel("T* T*", T=FLOATING)
def extremes(x, out):
    i = cuda.grid(1)
    v = load(x, i)
    found = (math.log(v), A(1) / v, math.sqrt(v), pointwise.logarithm(v), math.pow(v, A(-1)), math.exp(v * A(1e9)),
             pointwise.lgamma(v), _math.divide(v, v), pointwise.fmod(v, A(0)), math.lgamma(v), math.acos(A(2) + v))
    for k in range(11):
        store(out, i * 11 + k, found[k])


@pytest.mark.filterwarnings("error")
def test_functions_never_raise(driver):
    out = np.zeros((2, 11), np.float32)
    launch(driver, extremes, 1, 2, np.array([0, -1], np.float32), out)
    inf, nan = math.inf, math.nan
    np.testing.assert_array_equal(out[0], [-inf, inf, 0, -inf, inf, 1, inf, nan, nan, inf, nan])
    np.testing.assert_array_equal(out[1], [nan, -1, nan, nan, -1, 0, inf, 1, nan, inf, 0])


@kernel("T* T*", T=("float32", "float64", "complex64", "complex128"))
def kept_types(x, out):
    v = load(x, 0)
    results = (v + T(1), pointwise.exponential(v), pointwise.div(v, v - v), pointwise.sqrt(v))
    for k in range(4):
        store(out, k, results[k] if type(results[k]) is type(v) else T(-1000))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_functions_keep_the_type(driver, dtype):
    out = np.zeros(4, dtype)
    launch(driver, kept_types, 1, 1, np.array([4], dtype), out)
    infinite = math.inf if out.dtype.kind == "f" else complex(math.inf, math.nan)
    np.testing.assert_allclose(out, [5, np.exp(4), infinite, 2], 1e-6)


def test_every_function_of_formulas_has_its_replacement():
    """What ``define`` makes is compiled code's; plain Python would raise where the device gives inf."""
    made = _math.exp.__code__, _powers.fmod.__code__
    for module in (_math, _powers, _trigonometry, _special):
        for name, value in vars(module).items():
            if getattr(value, "__code__", None) in made:
                assert value in simulator.arithmetic.REPLACE, f"{module.__name__}.{name}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula, x, want", [
    (pointwise.gelu, 1, 0.5 * (1 + math.erf(0.5**0.5))), (pointwise.sigmoid, 2, 1 / (1 + math.exp(-2))),
    (pointwise.digamma, 1, -0.5772156649015329), (pointwise.erfinv, 0.5, 0.4769362762044699), (pointwise.exp2, 3, 8),
    (_trigonometry.sin, 2, math.sin(2)), (_special.lgamma, 5, math.log(24)), (pointwise.absolute, -3, 3)])
def test_formulas_are_those_of_the_cpu(formula, x, want, dtype):
    got = _relink.relink(lambda v: formula(v), {}, simulator.arithmetic.REPLACE)(dtype(x))
    assert type(got) is dtype and got == pytest.approx(want, rel=1e-6 if dtype is np.float32 else 1e-13)


@pytest.mark.parametrize("x", [-80.0, -0.3, 0.0, 1.5, 80.0])
def test_functions_that_take_numbers_apart(x):
    """The CPU's polynomials, whose integers are int32 and int64, and wrap."""
    single = _relink.relink(_math._exp, {}, simulator.arithmetic.REPLACE)(np.float32(x))
    assert type(single) is np.float32 and single == pytest.approx(math.exp(x), rel=1e-6)
    power = _relink.relink(_powers._power, {}, simulator.arithmetic.REPLACE)(np.float32(x), np.float32(3))
    assert type(power) is np.float32 and power == pytest.approx(x**3, rel=1e-6)


# ---- mistakes ----------------------------------------------------------------------------------------------------------

@kernel("f* q")
def shifted_read(x, by):
    i = cuda.grid(1)
    x[i] = x[i + by]


@pytest.mark.parametrize("by", [1, -1])
def test_an_index_outside_of_an_array(driver, by):
    launch(driver, shifted_read, 1, 8, np.zeros(8, np.float32), 0)
    said = reported(driver, shifted_read, 1, 8, np.zeros(8, np.float32), by, match="argument x, which has 8 elements of float32")
    assert f"index {8 if by > 0 else -1} of" in said and f"thread ({7 if by > 0 else 0}, 0, 0)" in said


@kernel("f* q")
def shifted_shared(x, by):
    s = cuda.shared.array(8, np.float32)
    s[cuda.threadIdx.x + by] = x[cuda.threadIdx.x]


@kernel("f* q")
def shifted_in_a_row(x, by):
    s = cuda.shared.array((2, 8), np.float32)
    s[1, cuda.threadIdx.x + by] = x[cuda.threadIdx.x]


@pytest.mark.parametrize("bad", [shifted_shared, shifted_in_a_row])
@pytest.mark.parametrize("by", [1, -1])
def test_an_index_outside_of_shared_memory(driver, bad, by):
    launch(driver, bad, 1, 8, np.zeros(8, np.float32), 0)
    reported(driver, bad, 1, 8, np.zeros(8, np.float32), by, match="index .* of the shared array of line [0-9]+, which has")


@kernel("f* q")
def vector_at(x, i):
    store_vector(x, i, load_vector(x, i, 4))


def test_a_vector_at_an_address_that_is_not_aligned(driver):
    launch(driver, vector_at, 1, 1, np.zeros(16, np.float32), 4)
    reported(driver, vector_at, 1, 1, np.zeros(16, np.float32), 2, match="16 bytes at index 2 of argument x, 8 bytes past")
    reported(driver, vector_at, 1, 1, np.zeros(18, np.float32), 16, match="index 19 of argument x, which has 18")


@kernel("f*")
def vector_of_shared(x):
    plain, aligned = cuda.shared.array(4, np.float32), cuda.shared.array(4, np.float32, 16)
    store_vector(aligned, 0, load_vector(x, 0, 4))
    if x[0] > 0:
        store_vector(plain, 0, load_vector(aligned, 0, 4))


def test_a_shared_array_is_aligned_where_it_says_so(driver):
    launch(driver, vector_of_shared, 1, 1, np.zeros(4, np.float32))
    reported(driver, vector_of_shared, 1, 1, np.ones(4, np.float32), match="4 bytes past an aligned address")


@kernel("T*", T=FLOATING)
def half_by_index(x):
    x[0] = A(1)


def test_halves_are_not_indexed(driver):
    launch(driver, half_by_index, 1, 1, np.zeros(1, np.float32))
    reported(driver, half_by_index, 1, 1, np.zeros(1, np.float16), match=r"argument x\[i\] of float16: use store")


@kernel("f* f*")
def unwritten(shared_out, local_out):
    s, p = cuda.shared.array(1, np.float32), cuda.local.array(1, np.float32)
    shared_out[0], local_out[0] = s[0], p[0]


def test_memory_that_was_not_written_holds_nan(driver):
    out = np.zeros((2, 1), np.float32)
    launch(driver, unwritten, 1, 1, *out)
    assert np.isnan(out).all()
    assert np.isnan(to_host(driver, driver.allocate(8, 0, 0), np.zeros(2, np.float32))).all()


@kernel("f* q")
def barrier_in_a_branch(x, n):
    if cuda.threadIdx.x < n:
        cuda.syncthreads()
    else:
        cuda.syncthreads()


def test_threads_at_different_barriers(driver):
    launch(driver, barrier_in_a_branch, 1, 64, np.zeros(1, np.float32), 64)
    reported(driver, barrier_in_a_branch, 1, 64, np.zeros(1, np.float32), 32, match="divergent barrier.*at syncthreads in line")


@kernel("f* q")
def barriers_in_a_loop(x, n):
    for _ in range(n + cuda.threadIdx.x // 32):
        cuda.syncthreads()
    cuda.syncthreads()


@kernel("f* q")
def leaves_early(x, n):
    if cuda.threadIdx.x < n:
        cuda.syncthreads()
        x[cuda.threadIdx.x] = 1


def test_threads_that_meet_fewer_barriers(driver):
    launch(driver, barriers_in_a_loop, 1, 32, np.zeros(1, np.float32), 3)
    reported(driver, barriers_in_a_loop, 1, 64, np.zeros(1, np.float32), 3, match="divergent barrier")
    x = np.zeros(64, np.float32)
    launch(driver, leaves_early, 1, 64, x, 40)      # threads that have ended are not waited for
    assert x.sum() == 40


@kernel("f* q q")
def shuffle_in_a_branch(x, n, mask):
    if cuda.laneid < n:
        x[cuda.laneid] = cuda.shfl_xor_sync(mask, x[cuda.laneid], 1)
    else:
        cuda.syncwarp(0xFFFF0000)
    cuda.syncwarp()


def test_lanes_that_are_named_and_do_not_take_part(driver):
    launch(driver, shuffle_in_a_branch, 1, 32, np.zeros(32, np.float32), 16, 0xFFFF)
    reported(driver, shuffle_in_a_branch, 1, 32, np.zeros(32, np.float32), 16, FULL,
             match="lanes 0, 1, .* wait at shfl_xor_sync with mask 0xffffffff for lanes 16, .*, which do not take part")
    reported(driver, shuffle_in_a_branch, 1, 32, np.zeros(32, np.float32), 16, 0xFF,
             match="lane [0-9]+ calls shfl_xor_sync with mask 0xff, which does not name it")


@kernel("f* q")
def shuffle_beside_a_barrier(x, n):
    if cuda.laneid < n:
        cuda.syncthreads()
    cuda.syncwarp()
    if cuda.laneid >= n:
        cuda.syncthreads()


def test_a_deadlock_of_barrier_and_warp(driver):
    launch(driver, shuffle_beside_a_barrier, 1, 64, np.zeros(1, np.float32), 32)
    reported(driver, shuffle_beside_a_barrier, 1, 64, np.zeros(1, np.float32), 8, match="wait at syncwarp .* do not take part")


@kernel("T*", T=("float32", "float16", "complex64", "int32", "uint8"))
def shuffle_of(x):
    v = load(x, 0)
    store(x, 0, cuda.shfl_sync(FULL, v, 0))


def test_what_cannot_be_shuffled(driver):
    for dtype in (np.float32, np.float16, np.int32):
        launch(driver, shuffle_of, 1, 32, np.zeros(1, dtype))
    for dtype in (np.complex64, np.uint8):
        reported(driver, shuffle_of, 1, 32, np.zeros(1, dtype), match="only int32, int64, float32 and float64")


@kernel("f* q", threads=64)
def shared_of_48_kib(x, n):
    a = cuda.shared.array(12 << 10, np.float32)
    if n:
        a = cuda.shared.array(1, np.float32)
    a[0] = x[0]


def test_limits_of_a_block(driver):
    x = np.zeros(1, np.float32)
    launch(driver, shared_of_48_kib, 1, 64, x, 0)
    reported(driver, shared_of_48_kib, 1, 1, x, 1, match="49156 bytes of static and 0 of dynamic shared memory")
    reported(driver, shared_of_48_kib, 1, 1, x, 0, match="has 49152, and 232448 together", shared=200_000)
    for grid, block, shared in ((1, 65, 0), (1, (8, 9), 0), (0, 32, 0), ((1, 70000), 32, 0), (1, 32, 1 << 20)):
        with pytest.raises(AssertionError, match="shared_of_48_kib: "):
            launch(driver, shared_of_48_kib, grid, block, x, 0, shared=shared)


@kernel("f* q")
def neighbours(x, how):
    s = cuda.shared.array(64, np.float32)
    t = cuda.threadIdx.x
    s[t] = x[t]
    if how == 1:
        cuda.syncthreads()
    elif how == 2:
        cuda.syncwarp()
    elif how == 3:
        cuda.shfl_xor_sync(FULL, x[t], 1)
    x[t] = s[t ^ 1]


@kernel("f* q")
def two_writers(x, how):
    s = cuda.shared.array(0, np.float32)
    t = cuda.threadIdx.x
    if t == 0:
        s[0] = x[0]
    if how:
        cuda.syncthreads()
    cuda.atomic.add(s, 0, x[t])
    cuda.syncthreads()
    x[t] = s[0]


def test_races_in_shared_memory(driver):
    x = np.arange(64, dtype=np.float32)
    driver.races = True
    for how in (1, 2):
        y = x.copy()
        launch(driver, neighbours, 1, 64, y, how)
        assert (y == np.arange(64) ^ 1).all()
    for how in (0, 3):
        reported(driver, neighbours, 1, 64, x.copy(), how, match=r"element [0-9]+ of the shared array of line [0-9]+ was "
                 r"(written|read) by thread \([0-9]+, 0, 0\) and is (written|read) by thread \([0-9]+, 0, 0\) with no barrier")
    launch(driver, two_writers, 1, 64, x.copy(), 1, shared=256)
    reported(driver, two_writers, 1, 64, x.copy(), 0, match="of dynamic shared memory .* was", shared=256)


def without_barrier(kernel_, number):
    """A kernel less one of its barriers; None where it has not so many."""
    text = inspect.getsource(kernel_.fn)
    head, *tail = text[text.index("def "):].split("cuda.syncthreads()")
    if number >= len(tail):
        return None
    text = head + "".join(("pass" if k == number else "cuda.syncthreads()") + part for k, part in enumerate(tail))
    space = dict(globals())
    exec(text, space)
    return kernel(" ".join(kernel_.words), T=FLOATING)(space[kernel_.__name__])


@pytest.mark.parametrize("good, number", [(product, 0), (product, 1), (block_total, 0)])
def test_each_missing_barrier_is_noticed(good, number):
    """By a wrong result for some order of threads, and as a race in every order."""
    bad, noticed = without_barrier(good, number), 0
    assert without_barrier(good, 2) is None
    a, b = np.random.randn(2, 16, 16).astype(np.float32)
    how = ((2, 2), (TILE, TILE), a, b, np.zeros_like(a), 16) if good is product else (1, 256, a, np.zeros(1, np.float32), 256)
    for seed in (None, *range(4)):
        for made in (good, bad):
            launch(StandInDriver(seed=seed), made, *how)
            want, got = (a @ b, how[4]) if good is product else (a.sum(), how[3][0])
            right = np.allclose(got, want, atol=1e-4)
            assert right or made is bad
        noticed += not right
        reported(StandInDriver(seed=seed, races=True), bad, *how, match="Race: element")
    assert noticed


def test_the_order_of_threads_is_that_of_the_seed():
    """The same in every run; without a seed it is that of their numbers, by which a race of warps may go well."""
    def drawn(seed):
        out = np.zeros(65, np.int64)
        launch(StandInDriver(seed=seed), order_of_arrival, 2, 32, out)
        return list(out[:64])
    assert drawn(None) == list(range(64))
    assert drawn(1) == drawn(1) != drawn(2) and sorted(drawn(1)) == sorted(drawn(2)) == drawn(None)


@kernel("q*")
def order_of_arrival(out):
    i = cuda.grid(1)
    out[atomic_add(out, 64, 1)] = i


def test_a_failed_kernel_leaves_nothing_behind(driver):
    errors = np.geterr()
    for _ in range(3):
        reported(driver, shuffle_in_a_branch, 1, 96, np.zeros(32, np.float32), 16, FULL, match="do not take part")
        x, out = np.ones(96, np.float32), np.zeros(1, np.float32)
        launch(driver, block_total, 1, 96, x, out, 96)
        assert out[0] == 96
    gc.collect()
    assert np.geterr() == errors


def test_kernels_in_several_threads(driver):
    """Each Python thread has greenlets of its own; one kernel runs at a time."""
    outs = np.zeros((4, 1), np.float32)
    threads = [threading.Thread(target=launch, args=(driver, block_total, 1, 64, np.full(64, k, np.float32), outs[k], 64))
               for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert list(outs[:, 0]) == [0, 64, 128, 192]


# ---- relinking ---------------------------------------------------------------------------------------------------------

shared_array, sync = cuda.shared.array, cuda.syncthreads


def countdown(n):
    return 0 if n == 0 else 1 + countdown(n - 1)


def closed_over(f):
    def inner(x):
        return [f(x + n) for n in range(2)]
    return inner


alias, closed = A, closed_over(countdown)


def test_relinked_functions():
    """Placeholders under any name, functions below functions, recursion, closures, and modules; the original stays as it was."""
    def uses(x):
        return alias(x), countdown(3), shared_array, sync, closed(x)
    own = SimpleNamespace(shared=SimpleNamespace(array="array"), syncthreads="sync")
    seen = []
    relinker = _relink.Relinker({"A": str, "cuda": own}, wrap=lambda fn: seen.append(fn.__name__) or fn)
    copy = relinker(uses)
    assert copy(5) == ("5", 3, "array", "sync", [5, 6])
    assert sorted(seen) == ["countdown", "inner"] and {"alias", "countdown", "range", "syncthreads"} <= relinker.used
    assert uses.__globals__["alias"] is A and copy.__globals__ is not uses.__globals__
    with pytest.raises(NameError, match="A has no meaning in this specialisation"):
        _relink.relink(uses, {"cuda": own})


def test_modules_are_relinked_as_far_as_they_are_used():
    fmod = _relink.relink(pointwise.fmod, {}, {_powers.fmod: lambda x, y: "replaced"})
    assert fmod(1, 2) == "replaced" and pointwise.fmod(3.0, 2.0) == 1
    assert [n for n in vars(fmod.__globals__["powers"]) if not n.startswith("__")] == ["fmod"]
