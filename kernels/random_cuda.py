"""Random numbers on a CUDA device: the counter-based generator Philox4x32-10, and every distribution on top of it.

Reference: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A block of four words
is a function of a counter of 128 bits and a key of 64: the key is the generator's seed, the upper half of the counter the number
of the thread, the lower half the generator's offset / 4. A launch advances the offset by four for each block that a thread takes,
so that no counter comes twice.

Which thread makes which number, and how words become numbers, is as in torch's kernels and cuRAND (ATen/native/cuda/
DistributionTemplates.h, curand_uniform.h, curand_normal.h): a grid of at most as many threads as the device holds; of the four
words that a thread makes, the first goes to its own place, the next one grid further. Large tensors so depend on the device's
number of multiprocessors, in torch as here.

``generator`` has ``reserve(n)``: (seed, offset, state, captured) of the next n words of each thread. In a CUDA graph, where
``captured`` is 1, ``state`` has the seed and the offset, on the device, which each replay sets, and ``offset`` counts from there.
"""
import math

import numpy as np

from . import _driver
from ._cuda import FLOATING, A, blocks, cuda, device_kernel, load, load_vector, store, store_vector

THREADS = 256
SINGLE = ("float32", "float16", "bfloat16")             # computed in float32
INTEGRAL = ("int64", "int32", "int16", "int8", "uint8", "bool")
M0, M1 = np.uint32(0xD2511F53), np.uint32(0xCD9E8D57)
W0, W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
F32, HALF32, TWO_PI32 = np.float32(2.0 ** -32), np.float32(2.0 ** -33), np.float32(2 * math.pi)
MINUS_2 = np.float32(-2)
F53 = 2.0 ** -53


# ---- words -------------------------------------------------------------------------------------------------------------------

def philox(c0, c1, c2, c3, k0, k1):
    """For kernels: the four words of a counter and a key, all uint32."""
    for _ in range(10):
        p0, p1 = np.uint64(M0) * np.uint64(c0), np.uint64(M1) * np.uint64(c2)
        high0, high1 = np.uint32(p0 >> np.uint64(32)), np.uint32(p1 >> np.uint64(32))
        c0, c1, c2, c3 = np.uint32(high1 ^ c1 ^ k0), np.uint32(p1), np.uint32(high0 ^ c3 ^ k1), np.uint32(p0)
        k0, k1 = np.uint32(k0 + W0), np.uint32(k1 + W1)
    return c0, c1, c2, c3


def words(seed, offset, thread):
    """For kernels: four words of a generator for one thread."""
    count, own = np.uint64(offset >> np.uint64(2)), np.uint64(thread)
    return philox(np.uint32(count), np.uint32(count >> np.uint64(32)), np.uint32(own), np.uint32(own >> np.uint64(32)),
                  np.uint32(seed), np.uint32(seed >> np.uint64(32)))


def begun(seed, offset, state, captured):
    """For kernels: the seed and the offset of a launch, of what ``reserve`` gave."""
    if captured:
        return state[0], np.uint64(state[1] + offset)
    return seed, offset


def uniform32(word):
    """For kernels: a float32 in (0, 1]."""
    return np.float32(word) * F32 + HALF32


def uniform53(low, high):
    """For kernels: a float64 in (0, 1], of 53 bits out of two words."""
    return np.float64(np.uint64(low) ^ (np.uint64(high) << np.uint64(21))) * F53 + F53 / 2


def word64(high, low):
    """For kernels: two words as one of 64 bits."""
    return (np.uint64(high) << np.uint64(32)) | np.uint64(low)


def normals32(x, y):
    """For kernels: two float32 normals by Box-Muller."""
    radius, angle = math.sqrt(MINUS_2 * math.log(uniform32(x))), uniform32(y) * TWO_PI32
    return radius * math.sin(angle), radius * math.cos(angle)


def normals64(x0, x1, y0, y1):
    """For kernels: two float64 normals by Box-Muller."""
    radius, angle = math.sqrt(-2.0 * math.log(uniform53(x0, x1))), 2.0 * math.pi * uniform53(y0, y1)
    return radius * math.sin(angle), radius * math.cos(angle)


def four_uniforms(w0, w1, w2, w3):
    """For kernels: each word as a float32 in (0, 1]."""
    return uniform32(w0), uniform32(w1), uniform32(w2), uniform32(w3)


def four_normals(w0, w1, w2, w3):
    """For kernels: four float32 normals."""
    a, b = normals32(w0, w1)
    c, d = normals32(w2, w3)
    return a, b, c, d


def four_words(w0, w1, w2, w3):
    """For kernels: the words themselves."""
    return w0, w1, w2, w3


def two_uniforms(w0, w1, w2, w3):
    """For kernels: two float64 in (0, 1]."""
    return uniform53(w0, w1), uniform53(w2, w3)


def two_words(w0, w1, w2, w3):
    """For kernels: two words of 64 bits."""
    return word64(w0, w1), word64(w2, w3)


# ---- loops over a tensor -----------------------------------------------------------------------------------------------------

def four_each(name, signature, T, numbers, act, doc):
    """The kernel that stores ``act(v, a, b, c)`` of each number v, four to a block of words."""
    def kernel(out, seed, offset, state, captured, n, a, b, c):
        seed, offset = begun(seed, offset, state, captured)
        thread = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        step, i = np.int64(cuda.gridDim.x) * cuda.blockDim.x, thread
        while i < n:
            w0, w1, w2, w3 = words(seed, offset, thread)
            v0, v1, v2, v3 = numbers(w0, w1, w2, w3)
            store(out, i, act(v0, a, b, c))
            if i + step < n:
                store(out, i + step, act(v1, a, b, c))
            if i + 2 * step < n:
                store(out, i + 2 * step, act(v2, a, b, c))
            if i + 3 * step < n:
                store(out, i + 3 * step, act(v3, a, b, c))
            i += 4 * step
            offset = np.uint64(offset + np.uint64(4))
    return _declared(kernel, name, signature, T, doc, 4)


def two_each(name, signature, T, numbers, act, doc):
    """The kernel that stores ``act(v, a, b, c)`` of each number v, two to a block of words."""
    def kernel(out, seed, offset, state, captured, n, a, b, c):
        seed, offset = begun(seed, offset, state, captured)
        thread = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        step, i = np.int64(cuda.gridDim.x) * cuda.blockDim.x, thread
        while i < n:
            w0, w1, w2, w3 = words(seed, offset, thread)
            v0, v1 = numbers(w0, w1, w2, w3)
            store(out, i, act(v0, a, b, c))
            if i + step < n:
                store(out, i + step, act(v1, a, b, c))
            i += 2 * step
            offset = np.uint64(offset + np.uint64(4))
    return _declared(kernel, name, signature, T, doc, 2)


def _declared(kernel, name, signature, T, doc, unroll):
    kernel.__name__ = kernel.__qualname__ = name
    kernel.__doc__ = f"out (n,) = {doc}. One pass; the module says which thread makes which."
    made = device_kernel(f"T* Q Q Q* q q {signature}", T=T, threads=THREADS)(kernel)
    made.unroll = unroll
    return made


def _both(name, numbers, act, doc, T=SINGLE):
    """The kernels for float64 and for other dtypes; ``numbers``: what makes two, and four, of a block of words."""
    return (two_each(name + "64", "d d d", ("float64",), numbers[0], act, doc),
            four_each(name + "32", "f f f", T, numbers[1], act, doc))


# ---- distributions -----------------------------------------------------------------------------------------------------------

def scaled(u, span, low, high):
    """u * span + low; what reaches ``high``, or rounds to it in the tensor's dtype, becomes low."""
    v = u * span + low
    return low if v >= high else v


def shifted(v, std, mean, unused):
    """v * std + mean."""
    return v * std + mean


def shifted_exp(v, std, mean, unused):
    """exp(v * std + mean)."""
    return math.exp(v * std + mean)


def waited(u, scale, one, least):
    """-log(u) * scale; of u from ``one`` on, whose logarithm is nearly 0, ``least`` instead."""
    return (least if u >= one else -math.log(u)) * scale


def tried(u, scale, one, unused):
    """ceil(log(u) * scale), at least ``one``."""
    v = A(math.ceil(math.log(u) * scale))
    return one if v < one else v


def tangent(u, sigma, median, edge):
    """median + sigma tan(pi (u - 1/2)), u kept in [edge, 1 - edge], where the tangent is finite."""
    v = min(max(u, edge), A(1) - edge)
    return median + sigma * math.tan(A(math.pi) * (v - A(0.5)))


def below(u, p, unused, also_unused):
    """1 where u < p, else 0."""
    return A(1) if u < p else A(0)


def remainder32(word, span, base, unused):
    """word % span + base."""
    return np.int64(np.uint32(word % span)) + base


def remainder64(word, span, base, unused):
    """word % span + base, with a span of 0 for 2^64."""
    return np.int64(word % span if span != np.uint64(0) else word) + base


UNIFORM, NORMAL = (two_uniforms, four_uniforms), (normals64, four_normals)
UNIFORMS = _both("uniform", UNIFORM, scaled, "uniform numbers in [b, b + a), c the end")
NORMALS = _both("normal", NORMAL, shifted, "normal numbers of standard deviation a and mean b")
LOG_NORMALS = _both("log_normal", NORMAL, shifted_exp, "exp of normal numbers of standard deviation a and mean b")
EXPONENTIALS = _both("exponential", UNIFORM, waited, "exponential numbers of rate 1 / a")
GEOMETRICS = _both("geometric", UNIFORM, tried, "numbers of trials up to the first success, of probability 1 - exp(1 / a)")
CAUCHYS = _both("cauchy", UNIFORM, tangent, "Cauchy numbers around b, of half width a")
BERNOULLIS = _both("bernoulli", UNIFORM, below, "ones with probability a, else zeros", (*SINGLE, *INTEGRAL))
integers_of_32 = four_each("integers_of_32", "I q q", ("int64",), four_words, remainder32, "word % a + b")
integers_of_64 = two_each("integers_of_64", "Q q q", ("int64",), two_words, remainder64, "word % a + b, of 64 bits")


@device_kernel("U* T* Q Q Q* q q", T=(*FLOATING, *INTEGRAL), U=FLOATING, threads=THREADS)
def bernoulli_each(p, out, seed, offset, state, captured, n):
    """out (n,) = ones with the probabilities p (n,), else zeros; four neighbours a thread. One pass."""
    seed, offset = begun(seed, offset, state, captured)
    thread = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    w0, w1, w2, w3 = words(seed, offset, thread)
    u0, u1, u2, u3 = four_uniforms(w0, w1, w2, w3)
    i = 4 * thread
    draw_one(p, out, i, n, u0)
    draw_one(p, out, i + 1, n, u1)
    draw_one(p, out, i + 2, n, u2)
    draw_one(p, out, i + 3, n, u3)


def draw_one(p, out, i, n, u):
    """For kernels: one element of ``bernoulli_each``."""
    if i < n:
        store(out, i, A(1) if u <= load(p, i) else A(0))


# ---- dropout -----------------------------------------------------------------------------------------------------------------

def kept_of(seed, offset, thread, keep):
    """For kernels: whether each of four elements stays."""
    w0, w1, w2, w3 = words(seed, offset, thread)
    u0, u1, u2, u3 = four_uniforms(w0, w1, w2, w3)
    return u0 < keep, u1 < keep, u2 < keep, u3 < keep


def drop_one(x, mask, out, i, n, kept, scale):
    """For kernels: one element of ``drop``."""
    if i < n:
        store(mask, i, kept)
        store(out, i, load(x, i) * (scale if kept else A(0)))


@device_kernel("T* ?* T* Q Q Q* q A f q", T=FLOATING, threads=THREADS)
def drop(x, mask, out, seed, offset, state, captured, scale, keep, n):
    """mask = uniform < keep, out = x * mask * scale, all (n,).

    One pass: reads x, writes a byte of mask and an element of out. NaN and inf times zero are NaN, as in torch.
    """
    seed, offset = begun(seed, offset, state, captured)
    thread = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    step, i = np.int64(cuda.gridDim.x) * cuda.blockDim.x, thread
    while i < n:
        k0, k1, k2, k3 = kept_of(seed, offset, thread, keep)
        drop_one(x, mask, out, i, n, k0, scale)
        drop_one(x, mask, out, i + step, n, k1, scale)
        drop_one(x, mask, out, i + 2 * step, n, k2, scale)
        drop_one(x, mask, out, i + 3 * step, n, k3, scale)
        i += 4 * step
        offset = np.uint64(offset + np.uint64(4))


@device_kernel("T* ?* T* Q Q Q* q A f q", T=FLOATING, threads=THREADS)
def drop_fours(x, mask, out, seed, offset, state, captured, scale, keep, n):
    """``drop`` of n elements, a multiple of four at aligned addresses: four neighbours a thread."""
    seed, offset = begun(seed, offset, state, captured)
    thread = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    step, i = 4 * np.int64(cuda.gridDim.x) * cuda.blockDim.x, 4 * thread
    while i < n:
        k0, k1, k2, k3 = kept_of(seed, offset, thread, keep)
        x0, x1 = load_vector(x, i, 2)
        x2, x3 = load_vector(x, i + 2, 2)
        store_vector(mask, i, (k0, k1, k2, k3))
        zero = A(0)
        store_vector(out, i, (x0 * (scale if k0 else zero), x1 * (scale if k1 else zero)))
        store_vector(out, i + 2, (x2 * (scale if k2 else zero), x3 * (scale if k3 else zero)))
        i += step
        offset = np.uint64(offset + np.uint64(4))


@device_kernel("T* ?* T* A q", T=FLOATING, threads=THREADS)
def scale_kept(x, mask, out, scale, n):
    """out = x * mask * scale, all (n,): one element a thread. One pass: two elements and a byte."""
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i < n:
        store(out, i, load(x, i) * (scale if load(mask, i) else A(0)))


# ---- rejection, search -------------------------------------------------------------------------------------------------------

POISSON_WORDS = 64              # of a thread, in a launch: more are needed once in 10^10 numbers, and then come twice


@device_kernel("d* d* Q Q Q* q q", threads=THREADS)
def poissons(rate, out, seed, offset, state, captured, n):
    """out (n,) = Poisson numbers of the rates (n,), nan for a rate that is none; float64. One number a thread, one pass.

    Below a rate of 10 uniforms are multiplied; from there on W. Hoermann's transformed rejection (PTRS, Insurance: Mathematics
    and Economics 12, 1993).
    """
    seed, offset = begun(seed, offset, state, captured)
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i >= n:
        return
    lam = rate[i]
    if not lam >= 0:
        out[i] = math.nan
    elif lam < 10:
        count, product, limit = -1, 1.0, math.exp(-lam)
        while product > limit or count < 0:
            w0, w1, w2, w3 = words(seed, offset, i)
            u0, u1 = two_uniforms(w0, w1, w2, w3)
            offset = np.uint64(offset + np.uint64(4))
            product *= u0
            count += 1
            if product > limit:
                product *= u1
                count += 1
        out[i] = np.float64(count)
    else:
        out[i] = ptrs(lam, seed, offset, i)


def ptrs(lam, seed, offset, thread):
    """For kernels: a Poisson number of a rate of at least 10."""
    b = 0.931 + 2.53 * math.sqrt(lam)
    a = -0.059 + 0.02483 * b
    inverse_alpha, vr, log_rate = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2.0), math.log(lam)
    while True:
        w0, w1, w2, w3 = words(seed, offset, thread)
        u, v = two_uniforms(w0, w1, w2, w3)
        u -= 0.5
        offset = np.uint64(offset + np.uint64(4))
        us = 0.5 - abs(u)
        k = np.float64(math.floor((2.0 * a / us + b) * u + lam + 0.43))
        if us >= 0.07 and v <= vr:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        if math.log(v * inverse_alpha / (a / (us * us) + b)) <= k * log_rate - lam - math.lgamma(k + 1.0):
            return k


@device_kernel("T* q* Q Q Q* q q q q", T=("float32", "float64"), threads=THREADS)
def categories(cumulative, out, seed, offset, state, captured, n, samples, count):
    """out (m, samples) = the first category whose running weight, cumulative (m, n), exceeds a uniform part of the whole.

    One sample a thread, by binary search. A weight of 0 is never drawn.
    """
    seed, offset = begun(seed, offset, state, captured)
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i >= count:
        return
    start = i // samples * n
    w0, w1, w2, w3 = words(seed, offset, i)
    wanted = A(uniform32(w0)) * load(cumulative, start + n - 1)
    low, high = np.int64(0), n - 1
    while low < high:
        middle = (low + high) >> 1
        if load(cumulative, start + middle) < wanted:
            low = middle + 1
        else:
            high = middle
    out[i] = low


@device_kernel("Q* Q Q", threads=1)
def set_state(state, seed, offset):
    """state = seed, offset: before the replay of a graph. One thread."""
    state[0] = seed
    state[1] = offset


# ---- running them ------------------------------------------------------------------------------------------------------------

def _grid(n, device, each=1):
    """How many blocks: for every ``each`` of n numbers a thread, but no more than the device holds at once."""
    found = _driver.current().properties(device)
    return min(found.multi_processor_count * (found.max_threads_per_multi_processor // THREADS), blocks(n, THREADS * each))


def _fill(kernels, generator, out, a, b, c):
    """Fills ``out`` (n,) by one of ``kernels``, for float64 and others."""
    n = out.size
    if n:
        kernel = kernels[out.dtype != np.float64]
        grid = _grid(n, out.device)
        drawn = generator.reserve(4 * blocks(n, THREADS * grid * kernel.unroll))
        kernel.launch(grid, THREADS, out, *drawn, n, a, b, c)


def _least_that_rounds_to(end, dtype):
    """The least number, of the type that a dtype is computed in, that becomes ``end`` when it is stored."""
    if dtype.itemsize > 2:
        return end
    bits = np.asarray(end, dtype).view(np.int16)
    nearer = (bits - 1 if end > 0 else bits + 1 if end < 0 else np.int16(-0x7FFF)).astype(np.int16).view(dtype)
    middle = np.float32((np.float64(end) + np.float64(nearer)) / 2)
    return middle if not bits & 1 else np.nextafter(middle, np.float32(np.inf))


def uniform(generator, low, high, out):
    """Fills ``out`` (n,), floating, with uniform numbers in [low, high)."""
    kind = out.dtype.type
    low, high = float(kind(low)), float(kind(high))
    _fill(UNIFORMS, generator, out, high - low, low, _least_that_rounds_to(high, out.dtype))


def normal(generator, mean, std, out):
    """Fills ``out`` (n,), floating, with normal numbers."""
    _fill(NORMALS, generator, out, std, mean, 0)


def log_normal(generator, mean, std, out):
    """Fills ``out`` (n,), floating, with exp of normal numbers."""
    _fill(LOG_NORMALS, generator, out, std, mean, 0)


def exponential(generator, rate, out):
    """Fills ``out`` (n,), floating, with exponential numbers of a rate."""
    half = np.finfo(np.float64 if out.dtype == np.float64 else np.float32).eps / 2
    _fill(EXPONENTIALS, generator, out, 1 / rate, 1 - half, half)


def geometric(generator, p, out):
    """Fills ``out`` (n,), floating, with numbers of trials up to the first success, of probability p."""
    _fill(GEOMETRICS, generator, out, 1 / math.log1p(-p), 1, 0)


def cauchy(generator, median, sigma, out):
    """Fills ``out`` (n,), floating, with Cauchy numbers."""
    _fill(CAUCHYS, generator, out, sigma, median, 0 if out.dtype == np.float64 else 2.0 ** -23)


def bernoulli(generator, p, out):
    """Fills ``out`` (n,), real, with ones with probability p, else zeros."""
    _fill(BERNOULLIS, generator, out, _limit(p) if out.dtype != np.float64 else p if p < 1 else 2.0, 0, 0)


def _limit(p):
    """The float32 that a uniform number, in (0, 1], is below with probability p."""
    near = np.float32(p)
    return np.float32(2) if p >= 1 else near if near >= p else np.nextafter(near, np.float32(2))


def bernoulli_with(generator, p, out):
    """Fills ``out`` (n,), real, with ones with the probabilities p (n,), else zeros."""
    n = out.size
    if n:
        drawn = generator.reserve(4)
        bernoulli_each.launch(blocks(n, 4 * THREADS), THREADS, p, out, *drawn, n)


def integers(generator, span, base, long, out):
    """Fills ``out`` (n,), int64, with word % span + base; ``long``: of words of 64 bits, where a span of 0 means 2^64."""
    n = out.size
    if n:
        kernel, grid = integers_of_64 if long else integers_of_32, _grid(n, out.device)
        drawn = generator.reserve(4 * blocks(n, THREADS * grid * kernel.unroll))
        kernel.launch(grid, THREADS, out, *drawn, n, span, base, 0)


def poisson(generator, rate, out):
    """Fills ``out`` (n,) with Poisson numbers of the rates (n,), both float64; nan for a rate below 0."""
    n = out.size
    if n:
        drawn = generator.reserve(POISSON_WORDS)
        poissons.launch(blocks(n, THREADS), THREADS, rate, out, *drawn, n)


def multinomial(generator, cumulative, out):
    """Fills ``out`` (m, samples), int64, with categories; cumulative (m, n): running sums of weights."""
    n, samples, count = cumulative.shape[1], out.shape[1], out.size
    if count:
        drawn = generator.reserve(4)
        categories.launch(blocks(count, THREADS), THREADS, cumulative, out, *drawn, n, samples, count)


def dropout(generator, keep, scale, x, mask, out):
    """mask = ones with probability ``keep``, out = x * mask * scale, all (n,)."""
    n = out.size
    if n:
        together = n % 4 == 0 and not (x.ptr | out.ptr) & 15 and not mask.ptr & 3
        grid = _grid(n, out.device, 4 if together else 1)
        drawn = generator.reserve(4 * blocks(n, 4 * THREADS * grid))
        (drop_fours if together else drop).launch(grid, THREADS, x, mask, out, *drawn, scale, _limit(keep), n)


def masked_scale(x, mask, scale, out):
    """Twin of ``random.masked_scale``."""
    n = out.size
    if n:
        scale_kept.launch(blocks(n, THREADS), THREADS, x, mask, out, scale, n)
