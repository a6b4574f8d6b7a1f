"""Kernels that between them use every name that ``_cuda.py`` offers, on every element type: what the compiler must be able to do."""
import math

import numpy as np
from numtorch.kernels import _math, _powers, _special, _trigonometry
from numtorch.kernels._cuda import (
    ALL,
    COMPLEX,
    FLOATING,
    FULL,
    NUMBERS,
    WARP,
    A,
    T,
    U,
    atomic_add,
    atomic_cas,
    atomic_max,
    atomic_min,
    cuda,
    device_kernel,
    load,
    load_vector,
    pointer,
    store,
    store_vector,
)

SIZES = {1: ("int8", "uint8", "bool"), 2: ("int16", "float16", "bfloat16"), 4: ("int32", "float32"),
         8: ("int64", "float64", "complex64"), 16: ("complex128",)}


def up_to(size):
    """The dtypes of at most ``size`` bytes."""
    return tuple(t for s, types in SIZES.items() if s <= size for t in types)


def place():
    """The index of a thread in the grid."""
    return cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x


# ---- memory --------------------------------------------------------------------------------------------------------------

@device_kernel("T* T* q", T=ALL)
def copy(x, out, n):
    """out = x."""
    i = place()
    if i < n:
        store(out, i, load(x, i))


@device_kernel("T* T* q", T=up_to(8))
def copy_2(x, out, n):
    """out = x, two elements a thread."""
    i = place() * 2
    if i < n:
        store_vector(out, i, load_vector(x, i, 2))


@device_kernel("T* T* q", T=up_to(4))
def copy_4(x, out, n):
    """out = x, four elements a thread."""
    i = place() * 4
    if i < n:
        store_vector(out, i, load_vector(x, i, 4))


@device_kernel("T* T* q", T=up_to(2))
def copy_8(x, out, n):
    """out = x, eight elements a thread."""
    i = place() * 8
    if i < n:
        store_vector(out, i, load_vector(x, i, 8))


@device_kernel("T* T* q", T=up_to(1))
def copy_16(x, out, n):
    """out = x, sixteen elements a thread."""
    i = place() * 16
    if i < n:
        store_vector(out, i, load_vector(x, i, 16))


@device_kernel("T* U* q", T=FLOATING, U=FLOATING)
def convert(x, out, n):
    """out = x in another floating type."""
    i = place()
    if i < n:
        store(out, i, load(x, i))


@device_kernel("T* T* A q", T=NUMBERS)
def limit(x, out, top, n):
    """out = min(max(x, 0), top), as Python's min and max."""
    i = place()
    if i < n:
        store(out, i, A(min(max(load(x, i), A(0)), top)))


@device_kernel("q* T* q q", T=ALL)
def join(table, out, rows, n):
    """out[row] = the array of n elements at the address table[row]."""
    i = place()
    if i < rows * n:
        store(out, i, load(pointer(load(table, i // n), out), i % n))


# ---- shared memory and warps -----------------------------------------------------------------------------------------------

@device_kernel("T* T* q", T=FLOATING)
def block_sums(x, out, n):
    """out[b] = the sum of the elements of block b: shuffles, then one number a warp through shared memory."""
    shared = cuda.shared.array(WARP, A)
    i, thread = place(), cuda.threadIdx.x
    value = load(x, i) if i < n else A(0)
    for step in (16, 8, 4, 2, 1):
        value += cuda.shfl_xor_sync(FULL, value, step)
    if thread % WARP == 0:
        store(shared, thread // WARP, value)
    cuda.syncthreads()
    if thread < WARP:
        value = load(shared, thread) if thread < cuda.blockDim.x // WARP else A(0)
        for step in (16, 8, 4, 2, 1):
            value += cuda.shfl_xor_sync(FULL, value, step)
        if thread == 0:
            store(out, cuda.blockIdx.x, value)


@device_kernel("T* T*", T=ALL)
def through_shared(x, out):
    """out = x reversed in blocks of 256, through shared memory of the elements' own type."""
    shared = cuda.shared.array(256, T)
    thread = cuda.threadIdx.x
    store(shared, thread, load(x, place()))
    cuda.syncthreads()
    store(out, place(), load(shared, 255 - thread))


TILE, DEPTH = 64, 8
SHARED = TILE * DEPTH         # the size of a shared array must be a global


@device_kernel("T* T* T* q q", T=("float32",), threads=64)
def product(a, b, out, n, inner):
    """out = a b of row-major matrices whose sizes are multiples of the tile: 8 x 8 results a thread."""
    left, right = cuda.shared.array(SHARED, T, 16), cuda.shared.array(SHARED, T, 16)
    sums = cuda.local.array((8, 8), T)
    thread = cuda.threadIdx.x
    column, row = thread % 8, thread // 8
    first_row, first_column = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
    for i in range(8):
        for j in range(8):
            sums[i, j] = T(0)
    for k in range(0, inner, DEPTH):
        for half in range(2):
            values = load_vector(a, (first_row + thread) * inner + k + half * 4, 4)
            for j in range(4):
                store(left, (half * 4 + j) * TILE + thread, values[j])
            at = half * 256 + thread * 4
            store_vector(right, at, load_vector(b, (k + at // TILE) * n + first_column + at % TILE, 4))
        cuda.syncthreads()
        for l in range(DEPTH):
            x = load_vector(left, l * TILE + row * 8, 4)
            y = load_vector(left, l * TILE + row * 8 + 4, 4)
            u = load_vector(right, l * TILE + column * 8, 4)
            v = load_vector(right, l * TILE + column * 8 + 4, 4)
            for i in range(4):
                for j in range(4):
                    sums[i, j] += x[i] * u[j]
                    sums[i, j + 4] += x[i] * v[j]
                    sums[i + 4, j] += y[i] * u[j]
                    sums[i + 4, j + 4] += y[i] * v[j]
        cuda.syncthreads()
    for i in range(8):
        at = (first_row + row * 8 + i) * n + first_column + column * 8
        store_vector(out, at, (sums[i, 0], sums[i, 1], sums[i, 2], sums[i, 3]))
        store_vector(out, at + 4, (sums[i, 4], sums[i, 5], sums[i, 6], sums[i, 7]))


# ---- atomic operations -----------------------------------------------------------------------------------------------------

@device_kernel("T* i* T* T* q", T=ALL)
def scatter_add(x, index, out, old, n):
    """out[index] += x; old is what was there."""
    i = place()
    if i < n:
        store(old, i, atomic_add(out, load(index, i), load(x, i)))


@device_kernel("T* i* T* T* q", T=(*NUMBERS, "bool"))
def scatter_extremes(x, index, high, low, n):
    """high[index] = max(high[index], x), low likewise; nan where either is."""
    i = place()
    if i < n:
        atomic_max(high, load(index, i), load(x, i))
        atomic_min(low, load(index, i), load(x, i))


@device_kernel("T* T* q", T=(*NUMBERS, "bool"))
def claim(owner, x, n):
    """The first of those with one place there: owner[i // 4] becomes x[i] where it was 0; x what was found."""
    i = place()
    if i < n:
        store(x, i, atomic_cas(owner, i // 4, A(0), load(x, i)))


@device_kernel("T* i* T* q", T=NUMBERS)
def shared_histogram(x, index, out, n):
    """out += the sums of x by index, of each block in shared memory first."""
    sums = cuda.shared.array(64, T)
    thread = cuda.threadIdx.x
    if thread < 64:
        store(sums, thread, A(0))
    cuda.syncthreads()
    i = place()
    if i < n:
        atomic_add(sums, load(index, i), load(x, i))
    cuda.syncthreads()
    if thread < 64:
        atomic_add(out, thread, load(sums, thread))


# ---- arithmetic ------------------------------------------------------------------------------------------------------------

@device_kernel("T* T* T* q", T=COMPLEX)
def complex_arithmetic(x, y, out, n):
    """out = (x y + conj x) / y - |x|."""
    i = place()
    if i < n:
        a, b = load(x, i), load(y, i)
        store(out, i, _math.divide(a * b + a.conjugate(), b) - A(abs(a)))


def real_sum(x, y):
    """Most functions of formulas, of one or two numbers."""
    total = _math.exp(x) + _math.log(x) + _math.log1p(x) + _math.expm1(x) + _math.tanh(x) + _math.erf(x)
    total += _powers.exp2(x) + _powers.log2(x) + _powers.log10(x) + _powers.power(x, y) + _powers.hypot(x, y) + _powers.fmod(x, y)
    total += _trigonometry.asin(x) + _trigonometry.acos(x) + _trigonometry.atan(x) + _trigonometry.atan2(x, y)
    total += _trigonometry.sinh(x) + _trigonometry.cosh(x)
    total += _trigonometry.asinh(x) + _trigonometry.acosh(x) + _trigonometry.atanh(x)
    total += _special.erfinv(x) + _special.error_function_complement(x) + _special.lgamma(x)
    return total + np.rint(x) + np.trunc(x) + np.floor(x) + np.ceil(x) + math.sqrt(x)


def turning_sum(x):
    """Functions that reduce their argument or call one that does."""
    return _trigonometry.sin(x) + _trigonometry.cos(x) + _trigonometry.tan(x) + _special.digamma(x) + _special.trigamma(x)


@device_kernel("T* T* T* q", T=FLOATING)
def functions(x, y, out, n):
    """out = a sum of functions of x and y."""
    i = place()
    if i < n:
        store(out, i, real_sum(load(x, i), load(y, i)))


@device_kernel("T* T* q", T=FLOATING)
def turning_functions(x, out, n):
    """out = a sum of functions of x."""
    i = place()
    if i < n:
        store(out, i, turning_sum(load(x, i)))


@device_kernel("T* T* T* q", T=COMPLEX)
def complex_functions(x, y, out, n):
    """out = a sum of functions of complex x and y."""
    i = place()
    if i < n:
        a, b = load(x, i), load(y, i)
        total = _math.exp(a) + _math.log(a) + _math.tanh(a) + _trigonometry.sin(a) + _trigonometry.cos(a)
        store(out, i, total + _powers.power(a, b))


@device_kernel("f* i* q", threads=128)
def float_bits(x, out, n):
    """out = the bits of x and back."""
    i = place()
    if i < n:
        store(out, i, _math.bits(_math.from_bits(_math.bits(load(x, i)))))


KERNELS = [copy, copy_2, copy_4, copy_8, copy_16, convert, limit, join, block_sums, through_shared, product, scatter_add, scatter_extremes,
           claim, shared_histogram, complex_arithmetic, functions, turning_functions, complex_functions, float_bits]
assert U is not T
