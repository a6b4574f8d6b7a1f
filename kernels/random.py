"""Random numbers: the MT19937 engine on an array, and every distribution of torch's CPU generator on top of it.

Reference: M. Matsumoto, T. Nishimura, "Mersenne Twister: A 623-dimensionally equidistributed uniform pseudorandom number
generator", ACM TOMACS 8 (1998); https://www.math.sci.hiroshima-u.ac.jp/m-mat/MT/emt.html. How torch turns its words into
numbers was read from the headers its wheel ships (ATen/core/DistributionsHelper.h, ATen/native/cpu/DistributionTemplates.h).

``state`` is uint32[626]: 624 words, then ``left`` (1 + words not yet given out) and ``next`` (index of the next one), the two
counters of torch's saved states. ``cache`` is float64[2]: the second normal of the last Box-Muller pair, and 1.0 where
there is one.

The words of a block are made and tempered in vector lanes, into a buffer that stays in the L1 cache; only what depends on the
number of words drawn so far (rejection, the cached normal, the shuffle) runs word by word.
"""
import math

import numpy as np
from numba import prange

from ._jit import function, kernel

N, M, LEFT, NEXT = 624, 397, 624, 625
CHUNK = 1024                    # words made at once: 4 KiB, a multiple of 16 for the normals

_ONE = np.uint32(1)
_UPPER, _LOWER, _MATRIX = np.uint32(0x80000000), np.uint32(0x7fffffff), np.uint32(0x9908b0df)
_T1, _T2 = np.uint32(0x9d2c5680), np.uint32(0xefc60000)
_S7, _S11, _S15, _S18 = np.uint32(7), np.uint32(11), np.uint32(15), np.uint32(18)
_MASK24, _MASK53 = np.uint32(0xffffff), np.uint64((1 << 53) - 1)
_SCALE24, _SCALE53 = np.float32(2.0 ** -24), 2.0 ** -53


# ---- the engine --------------------------------------------------------------------------------------------------------

@kernel(grain=None)
def seed(state, value):
    """Starts the engine from a 32-bit ``value`` (Knuth's multiplicative recurrence, as init_genrand of 2002)."""
    word = np.uint32(value)
    state[0] = word
    for i in range(1, N):
        word = np.uint32(np.uint32(1812433253) * (word ^ (word >> np.uint32(30))) + np.uint32(i))
        state[i] = word
    state[LEFT] = 1
    state[NEXT] = 0


@function
def _twist(u, v):
    return (((u & _UPPER) | (v & _LOWER)) >> _ONE) ^ ((v & _ONE) * _MATRIX)


@function
def _refill(state):
    """The next 624 words. Two loops whose reads and writes are at least 227 words apart, so that they vectorise."""
    for i in range(N - M):
        state[i] = state[i + M] ^ _twist(state[i], state[i + 1])
    for i in range(N - M, N - 1):
        state[i] = state[i + M - N] ^ _twist(state[i], state[i + 1])
    state[N - 1] = state[M - 1] ^ _twist(state[N - 1], state[0])
    state[LEFT] = N + 1
    state[NEXT] = 0


@function
def _temper(y):
    y = y ^ (y >> _S11)
    y = y ^ ((y << _S7) & _T1)
    y = y ^ ((y << _S15) & _T2)
    return y ^ (y >> _S18)


@function
def _fill(state, out):
    """The next ``out.size`` words."""
    n, i = out.size, 0
    while i < n:
        if state[LEFT] == 1:
            _refill(state)
        first = np.int64(state[NEXT])
        m = min(np.int64(state[LEFT]) - 1, n - i)
        source, target = state[first:first + m], out[i:i + m]
        for j in range(m):
            target[j] = _temper(source[j])
        state[LEFT] -= np.uint32(m)
        state[NEXT] += np.uint32(m)
        i += m


@function
def _word(state):
    """One word."""
    if state[LEFT] == 1:
        _refill(state)
    y = _temper(state[np.int64(state[NEXT])])
    state[LEFT] -= _ONE
    state[NEXT] += _ONE
    return y


@function
def _word64(state):
    """Two words as one of 64 bits, the first one high."""
    high = np.uint64(_word(state))
    return (high << np.uint64(32)) | np.uint64(_word(state))


@function
def _uniform(state):
    """A float64 in [0, 1), on the grid of 2^-53."""
    return np.float64(_word64(state) & _MASK53) * _SCALE53


@function
def _uniforms(state, words, out):
    """``out.size`` float64 in [0, 1); ``words`` is a buffer of at least twice as many words."""
    n = out.size
    _fill(state, words[:2 * n])
    for j in range(n):
        word = (np.uint64(words[2 * j] & np.uint32(0x1fffff)) << np.uint64(32)) | np.uint64(words[2 * j + 1])
        out[j] = np.float64(np.int64(word)) * _SCALE53


@kernel(grain=None)
def words32(state, out):
    """uint32 words as the engine gives them."""
    _fill(state, out)


@kernel(grain=None)
def words64(state, out):
    """uint64 words, each of two of the engine's, the first one high."""
    for i in range(out.size):
        out[i] = _word64(state)


# ---- uniform -----------------------------------------------------------------------------------------------------------

@kernel(grain=None)
def uniform32(state, low, high, bound, base, out):
    """out = u * (high - low) + low with u = (word & 0xffffff) / 2^24; float32.

    The product may round up to ``high``, which the interval [low, high) leaves out: torch then gives ``low``. ``bound`` and
    ``base`` are those two numbers, apart because a half-precision tensor compares after its own rounding (NaN: no test).
    """
    n = out.size
    words = np.empty(min(n, CHUNK), np.uint32)
    scale = high - low
    for i in range(0, n, CHUNK):
        m = min(CHUNK, n - i)
        part, target = words[:m], out[i:i + m]
        _fill(state, part)
        for j in range(m):
            value = (np.float32(np.int32(part[j] & _MASK24)) * _SCALE24) * scale + low
            target[j] = base if value == bound else value


@kernel(grain=None)
def uniform64(state, low, high, out):
    """out = u * (high - low) + low with u of 53 bits out of two words; float64. What rounds up to ``high`` becomes ``low``."""
    n = out.size
    words, scale = np.empty(min(2 * n, CHUNK), np.uint32), high - low
    for i in range(0, n, CHUNK // 2):
        target = out[i:min(i + CHUNK // 2, n)]
        _uniforms(state, words, target)
        for j in range(target.size):
            value = target[j] * scale + low
            target[j] = low if value == high else value


# ---- integers ----------------------------------------------------------------------------------------------------------

@kernel(grain=None)
def integers32(state, span, base, out):
    """out = word % span + base; int64, span < 2^32."""
    n = out.size
    words = np.empty(min(n, CHUNK), np.uint32)
    inverse = 1.0 / span
    for i in range(0, n, CHUNK):
        m = min(CHUNK, n - i)
        part, target = words[:m], out[i:i + m]
        _fill(state, part)
        for j in range(m):
            # A division by multiplication, which runs in vector lanes: the quotient is off by one at most.
            word = np.int64(part[j])
            rest = word - np.int64(np.float64(word) * inverse) * span
            rest += span if rest < 0 else 0
            rest -= span if rest >= span else 0
            target[j] = rest + base


@kernel(grain=None)
def integers64(state, span, base, out):
    """out = word64 % span + base, wrapped to int64; ``span`` uint64, 0 for 2^64."""
    for i in range(out.size):
        word = _word64(state)
        if span != 0:
            word = word % span
        out[i] = np.int64(word) + base


@kernel(grain=None)
def permutation(state, out):
    """A random permutation of 0 .. n-1 (Fisher-Yates); int64.

    Below 2^32 / 20 elements torch swaps p[i] with p[i + word % (n - i)]; above, where a remainder of 32 bits would be skewed,
    it builds the permutation inside out from 64-bit words.
    """
    n = out.size
    if n < 4294967295 // 20:
        for i in range(n):
            out[i] = i
        words = np.empty(min(n, CHUNK), np.uint32)
        for i in range(0, n - 1, CHUNK):
            m = min(CHUNK, n - 1 - i)
            _fill(state, words[:m])
            for j in range(m):
                k = i + j
                other = k + np.int64(words[j] % np.uint32(n - k))
                out[k], out[other] = out[other], out[k]
    else:
        for i in range(n):
            other = np.int64(_word64(state) % np.uint64(i + 1))
            out[i] = i
            out[i] = out[other]
            out[other] = i


# ---- normal ------------------------------------------------------------------------------------------------------------

@function
def _normal(state, cache):
    """One standard normal in float64 by Box-Muller; the sine of a pair waits in ``cache`` for the next call."""
    if cache[1] != 0:
        cache[1] = 0
        return cache[0]
    u1 = _uniform(state)
    u2 = _uniform(state)
    radius, angle = math.sqrt(-2.0 * math.log1p(-u2)), 2.0 * math.pi * u1
    cache[0], cache[1] = radius * math.sin(angle), 1
    return radius * math.cos(angle)


@kernel(grain=None)
def normal_serial(state, cache, mean, std, out):
    """out = normal * std + mean, one after another in float64, as torch does below 16 elements and for strided tensors."""
    for i in range(out.size):
        out[i] = _normal(state, cache) * std + mean


_SQRT_HALF = np.float32(0.707106781186547524)
_L0, _L1, _L2 = np.float32(7.0376836292E-2), np.float32(-1.1514610310E-1), np.float32(1.1676998740E-1)
_L3, _L4, _L5 = np.float32(-1.2420140846E-1), np.float32(1.4249322787E-1), np.float32(-1.6668057665E-1)
_L6, _L7, _L8 = np.float32(2.0000714765E-1), np.float32(-2.4999993993E-1), np.float32(3.3333331174E-1)
_LOG2_LOW, _LOG2_HIGH, _HALF, _F1 = np.float32(-2.12194440e-4), np.float32(0.693359375), np.float32(0.5), np.float32(1)
_F0, _MINUS_2 = np.float32(0), np.float32(-2)
_TWO_PI, _FOUR_OVER_PI = np.float32(2 * math.pi), np.float32(1.27323954473516)
_D1, _D2, _D3 = np.float32(-0.78515625), np.float32(-2.4187564849853515625e-4), np.float32(-3.77489497744594108e-8)
_C0, _C1, _C2 = np.float32(2.443315711809948E-5), np.float32(-1.388731625493765E-3), np.float32(4.166664568298827E-2)
_S0, _S1, _S2 = np.float32(-1.9515295891E-4), np.float32(8.3321608736E-3), np.float32(-1.6666654611E-1)


@function
def _box_muller32(u, e, v, mean, std):
    """Turns u (in (0, 1]) and v (in [0, 1)) into two normals in place: u = radius cos(2 pi v), v = radius sin(2 pi v).

    The logarithm, sine and cosine are Cephes' logf, sinf and cosf (S. Moshier) in the order of operations of the AVX2 code in
    torch's avx_mathfun.h: with its fused multiply-adds the results are equal to the bit. ``e`` is a buffer.
    """
    n, bits = u.size, u.view(np.int32)
    for j in range(n):
        e[j] = np.float32((bits[j] >> np.int32(23)) - np.int32(126))
        bits[j] = (bits[j] & np.int32(0x7fffff)) | np.int32(0x3f000000)
    for j in range(n):
        x = u[j]
        small = x < _SQRT_HALF
        exponent = e[j] - (_F1 if small else _F0)
        x = (x - _F1) + (x if small else _F0)
        z = x * x
        y = ((((((((_L0 * x + _L1) * x + _L2) * x + _L3) * x + _L4) * x + _L5) * x + _L6) * x + _L7) * x + _L8) * x
        y = y * z + exponent * _LOG2_LOW
        y = y - z * _HALF
        e[j] = math.sqrt(_MINUS_2 * ((x + y) + exponent * _LOG2_HIGH))
    for j in range(n):
        x = _TWO_PI * v[j]
        octant = (np.int32(x * _FOUR_OVER_PI) + np.int32(1)) & np.int32(-2)
        y = np.float32(octant)
        x = ((x + y * _D1) + y * _D2) + y * _D3
        z = x * x
        cosine = ((_C0 * z + _C1) * z + _C2) * z
        cosine = (cosine * z - z * _HALF) + _F1
        sine = ((_S0 * z + _S1) * z + _S2) * z
        sine = sine * x + x
        swap = (octant & np.int32(2)) != 0
        c, s = (sine if swap else cosine), (cosine if swap else sine)
        c = -c if ((octant + np.int32(2)) & np.int32(4)) != 0 else c
        s = -s if (octant & np.int32(4)) != 0 else s
        u[j] = (e[j] * c) * std + mean
        v[j] = (e[j] * s) * std + mean


@function
def _normal_blocks32(state, words, u, e, v, mean, std, out):
    """Normals for ``out``, whose size is a multiple of 16 and fits the buffers: of 16 words, 8 give radii and 8 angles."""
    n = out.size // 2
    _fill(state, words[:2 * n])
    for k in range(n // 8):
        for j in range(8):
            u[8 * k + j] = _F1 - np.float32(np.int32(words[16 * k + j] & _MASK24)) * _SCALE24
            v[8 * k + j] = np.float32(np.int32(words[16 * k + 8 + j] & _MASK24)) * _SCALE24
    _box_muller32(u[:n], e[:n], v[:n], mean, std)
    for k in range(n // 8):
        for j in range(8):
            out[16 * k + j] = u[8 * k + j]
            out[16 * k + 8 + j] = v[8 * k + j]


@kernel(grain=None)
def normal32(state, mean, std, out):
    """out = normal * std + mean for a contiguous float32 of 16 elements or more.

    Blocks of 16 words give 8 cosines, then 8 sines. If 16 does not divide n, torch draws 16 more words, after all the others
    (those of the incomplete block are drawn and dropped), and writes the last 16 elements again.
    """
    n = out.size
    whole = n - n % 16
    half = min(n, CHUNK) // 2
    words = np.empty(2 * half, np.uint32)
    u, e, v = np.empty(half, out.dtype), np.empty(half, out.dtype), np.empty(half, out.dtype)
    for i in range(0, whole, CHUNK):
        _normal_blocks32(state, words, u, e, v, mean, std, out[i:min(i + CHUNK, whole)])
    if whole < n:
        _fill(state, words[:n - whole])
        _normal_blocks32(state, words, u, e, v, mean, std, out[n - 16:])


@kernel(grain=None)
def normal16(state, mean, std, out):
    """As ``normal32``, for a tensor of half precision (``out`` is its float32 copy): an incomplete block draws nothing."""
    n = out.size
    whole = n - n % 16
    half = min(n, CHUNK) // 2
    words = np.empty(2 * half, np.uint32)
    u, e, v = np.empty(half, out.dtype), np.empty(half, out.dtype), np.empty(half, out.dtype)
    for i in range(0, whole, CHUNK):
        _normal_blocks32(state, words, u, e, v, mean, std, out[i:min(i + CHUNK, whole)])
    if whole < n:
        _normal_blocks32(state, words, u, e, v, mean, std, out[n - 16:])


@function
def _normal_blocks64(mean, std, out):
    """Box-Muller in place on blocks of 16 uniforms: 8 for the radii, 8 for the angles."""
    for i in range(0, out.size, 16):
        for j in range(i, i + 8):
            radius, angle = math.sqrt(-2.0 * math.log(1.0 - out[j])), (2.0 * math.pi) * out[j + 8]
            out[j] = radius * math.cos(angle) * std + mean
            out[j + 8] = radius * math.sin(angle) * std + mean


@kernel(grain=None)
def normal64(state, mean, std, out):
    """As ``normal32`` in float64, each uniform of 53 bits out of two words."""
    n = out.size
    whole = n - n % 16
    words = np.empty(min(2 * n, CHUNK), np.uint32)
    for i in range(0, n, CHUNK // 2):
        _uniforms(state, words, out[i:min(i + CHUNK // 2, n)])
    _normal_blocks64(mean, std, out[:whole])
    if whole < n:
        _uniforms(state, words, out[n - 16:])
        _normal_blocks64(mean, std, out[n - 16:])


# ---- the other distributions -------------------------------------------------------------------------------------------

@kernel(grain=None)
def bernoulli(state, p, out):
    """out = 1 where a uniform of 53 bits is below the number ``p``, else 0."""
    n = out.size
    words = np.empty(min(2 * n, CHUNK), np.uint32)
    # u < p on the grid of 2^-53 is k < ceil(p 2^53) in integers: no conversion of 64-bit words in the loop.
    limit = np.int64(math.ceil(p * 9007199254740992.0))
    for i in range(0, n, CHUNK // 2):
        target = out[i:min(i + CHUNK // 2, n)]
        m = target.size
        _fill(state, words[:2 * m])
        for j in range(m):
            k = (np.int64(words[2 * j] & np.uint32(0x1fffff)) << np.int64(32)) | np.int64(words[2 * j + 1])
            target[j] = k < limit


@kernel(grain=None)
def bernoulli_each32(state, p, out):
    """out = 1 where a uniform of 24 bits is below ``p`` (float32, one per element); False if a ``p`` is outside [0, 1]."""
    n, right = out.size, True
    words = np.empty(min(n, CHUNK), np.uint32)
    for i in range(0, n, CHUNK):
        m = min(CHUNK, n - i)
        part, chance, target = words[:m], p[i:i + m], out[i:i + m]
        _fill(state, part)
        for j in range(m):
            right &= 0 <= chance[j] <= 1
            target[j] = np.float32(np.int32(part[j] & _MASK24)) * _SCALE24 < chance[j]
    return right


@kernel(grain=None)
def bernoulli_each64(state, p, out):
    """out = 1 where a uniform of 53 bits is below ``p`` (float64, one per element); False if a ``p`` is outside [0, 1]."""
    n, right = out.size, True
    words, u = np.empty(min(2 * n, CHUNK), np.uint32), np.empty(min(n, CHUNK // 2))
    for i in range(0, n, CHUNK // 2):
        m = min(CHUNK // 2, n - i)
        chance, target = p[i:i + m], out[i:i + m]
        _uniforms(state, words, u[:m])
        for j in range(m):
            right &= 0 <= chance[j] <= 1
            target[j] = u[j] < chance[j]
    return right


@kernel(grain=None)
def dropout(state, p, scale, x, mask, out):
    """mask = 1 where a uniform of 53 bits is below the number ``p`` (the chance to stay), out = x * mask * scale.

    One pass: reads x, writes a byte of mask and an element of out. NaN and inf times zero are NaN, as in torch.
    """
    n = out.size
    words = np.empty(min(2 * n, CHUNK), np.uint32)
    limit = np.int64(math.ceil(p * 9007199254740992.0))
    zero = x.dtype.type(0)
    for i in range(0, n, CHUNK // 2):
        target = out[i:min(i + CHUNK // 2, n)]
        m = target.size
        source, kept = x[i:i + m], mask[i:i + m]
        _fill(state, words[:2 * m])
        for j in range(m):
            k = (np.int64(words[2 * j] & np.uint32(0x1fffff)) << np.int64(32)) | np.int64(words[2 * j + 1])
            kept[j] = k < limit
        for j in range(m):
            target[j] = source[j] * (scale if kept[j] else zero)


@kernel(grain=1 << 23)      # bound by memory: one core moves a million in 0.14 ms
def masked_scale(x, mask, scale, out):
    """out = x * mask * scale, of 1-D arrays; ``mask`` bool. One pass: reads x and a byte of mask, writes out."""
    for i in prange(x.size):
        out[i] = x[i] * (scale if mask[i] else scale * 0)


@masked_scale.on_device
def masked_scale_on_device(x, mask, scale, out):
    """The same on a CUDA device."""
    from . import random_cuda

    random_cuda.masked_scale(x, mask, scale, out)


@kernel(grain=None)
def exponential(state, rate, out):
    """out = -log1p(-u) / rate, in float64."""
    n = out.size
    words, u = np.empty(min(2 * n, CHUNK), np.uint32), np.empty(min(n, CHUNK // 2))
    for i in range(0, n, CHUNK // 2):
        m = min(CHUNK // 2, n - i)
        _uniforms(state, words, u[:m])
        for j in range(m):
            out[i + j] = -1.0 / rate * math.log1p(-u[j])


@kernel(grain=None)
def geometric(state, p, out):
    """out = ceil(log(u) / log1p(-p)), in float64."""
    n, scale = out.size, math.log1p(-p)
    words, u = np.empty(min(2 * n, CHUNK), np.uint32), np.empty(min(n, CHUNK // 2))
    for i in range(0, n, CHUNK // 2):
        m = min(CHUNK // 2, n - i)
        _uniforms(state, words, u[:m])
        for j in range(m):
            out[i + j] = math.ceil(math.log(u[j]) / scale)


@kernel(grain=None)
def cauchy(state, median, sigma, out):
    """out = median + sigma tan(pi (u - 1/2)), in float64."""
    n = out.size
    words, u = np.empty(min(2 * n, CHUNK), np.uint32), np.empty(min(n, CHUNK // 2))
    for i in range(0, n, CHUNK // 2):
        m = min(CHUNK // 2, n - i)
        _uniforms(state, words, u[:m])
        for j in range(m):
            out[i + j] = median + sigma * math.tan(math.pi * (u[j] - 0.5))


@kernel(grain=None)
def log_normal(state, cache, mean, std, out):
    """out = exp(normal * std + mean), in float64, with the cached second normal."""
    for i in range(out.size):
        out[i] = math.exp(_normal(state, cache) * std + mean)


@function
def _poisson(state, rate):
    """One Poisson number: products of uniforms below a rate of 10, from there on W. Hoermann's transformed rejection (PTRS,
    Insurance: Mathematics and Economics 12, 1993)."""
    if rate == 0:
        return np.int64(0)
    if rate < 10:
        count, product, limit = np.int64(0), 1.0, math.exp(-rate)
        while True:
            product *= _uniform(state)
            if product <= limit:
                return count
            count += 1
    log_rate = math.log(rate)
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    vr = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = _uniform(state) - 0.5
        v = _uniform(state)
        us = 0.5 - abs(u)
        k = np.int64(math.floor((2 * a / us + b) * u + rate + 0.43))
        if us >= 0.07 and v <= vr:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        if math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b) <= -rate + k * log_rate - math.lgamma(k + 1.0):
            return k


@kernel(grain=None)
def poisson(state, rate, out):
    """out = a Poisson number of each ``rate``, in float64; False at a negative or NaN rate."""
    for i in range(out.size):
        if not rate[i] >= 0:
            return False
        out[i] = _poisson(state, rate[i])
    return True


@kernel(grain=None)
def multinomial(state, p, cumulative, out):
    """Row by row, out[i, j] = the first category whose normalised cumulative weight reaches a uniform of 53 bits.

    p (m, n) finite weights of at least 0, not all 0 in a row; cumulative (n,) a buffer of p's dtype; out (m, samples) int64.
    """
    n = p.shape[1]
    for i in range(p.shape[0]):
        total = p.dtype.type(0)
        for j in range(n):
            total += p[i, j]
            cumulative[j] = total
        for j in range(n):
            cumulative[j] /= total
        cumulative[n - 1] = 1
        for k in range(out.shape[1]):
            u = _uniform(state)
            low, high = 0, n
            while low < high:
                middle = low + (high - low) // 2
                if cumulative[middle] < u:
                    low = middle + 1
                else:
                    high = middle
            out[i, k] = low
