"""Batch normalisation on a GPU: statistics, sums and maps of the channels of (N, C, L), none of which waits for the device.

Where L is at least 32 a channel's numbers are runs of L, whose threads lie along them. Shorter runs are C L columns of N rows,
and the columns of a channel are added up at the end. Sums have two levels: blocks leave partial results, which one warp for each
channel joins in a fixed order, so that every run of a program gives the same.
"""
import math

import numpy as np

from ._cuda import FLOATING, FULL, REAL, WARP, A, cuda, device_kernel, load, load_vector, store, store_vector
from ._cuda_blocks import warp_sum
from ._cuda_rows import TUPLES, by_width, divided, power_of_two, width_of
from ._device import several

WEIGHT, BIAS = MEAN, VARIANCE = 1, 2       # which of two arrays there is
FLOAT32 = np.dtype(np.float32)
THREADS = 256           # of a block
COLUMNS, SHARED_BY = 32, 8
RUN = 32                # shorter runs are taken by columns
REPEAT = 8              # accesses of a thread to one run
BLOCKS = 1024           # which keep a GPU busy


# ---- moments ---------------------------------------------------------------------------------------------------------------

def joined(n, mean, squares, other_n, other_mean, other_squares):
    """Count, mean and sum of squared deviations of two sets of numbers together (Chan et al., 1983)."""
    both = n + other_n
    share = other_n / both if both > A(0) else A(0)
    d = other_mean - mean
    return both, mean + d * share, squares + other_squares + d * d * n * share


def warp_joined(n, mean, squares):
    """The moments of all numbers of a warp's lanes; the first lane's are the result."""
    for k in (16, 8, 4, 2, 1):
        n, mean, squares = joined(n, mean, squares, cuda.shfl_xor_sync(FULL, n, k), cuda.shfl_xor_sync(FULL, mean, k),
                                  cuda.shfl_xor_sync(FULL, squares, k))
    return n, mean, squares


def _moments(width):
    share = 1 / width

    def channel_moments(x, counts, means, squares, images, channels, length, stretch, stretches):
        """Count, mean and squared deviations (blocks of y, channels) of each channel of (images, channels, length): block x, y
        has a share y of the stretches of channel x. Reads x once."""
        counted, centred, squared = cuda.shared.array(WARP, A), cuda.shared.array(WARP, A), cuda.shared.array(WARP, A)
        c, step = np.int64(cuda.blockIdx.x), cuda.blockDim.x * width
        n, mean, m2 = A(0), A(0), A(0)
        task = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        while task < images * stretches:
            image, part = divided(task, stretches)
            at = (image * channels + c) * length
            j, last = part * stretch + cuda.threadIdx.x * width, min(length, (part + 1) * stretch)
            while j < last:
                found = load_vector(x, at + j, width)
                near, rest = A(0), A(0)
                for e in range(width):
                    near += found[e]
                near *= A(share)
                for e in range(width):
                    rest += (found[e] - near) * (found[e] - near)
                n, mean, m2 = joined(n, mean, m2, A(width), near, rest)
                j += step
            task += cuda.gridDim.y * cuda.blockDim.y
        n, mean, m2 = warp_joined(n, mean, m2)
        thread = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        warp, lane = thread // WARP, thread % WARP
        if lane == 0:
            counted[warp], centred[warp], squared[warp] = n, mean, m2
        cuda.syncthreads()
        if warp == 0:
            there = lane < cuda.blockDim.x * cuda.blockDim.y // WARP
            n, mean, m2 = (counted[lane], centred[lane], squared[lane]) if there else (A(0), A(0), A(0))
            n, mean, m2 = warp_joined(n, mean, m2)
            if lane == 0:
                at = cuda.blockIdx.y * channels + c
                counts[at], means[at], squares[at] = n, mean, m2
    return channel_moments


MOMENTS = by_width(_moments, "T* A* A* A* q q q q q", threads=THREADS, resident=4)


@device_kernel("T* A* A* A* q q", T=FLOATING, threads=THREADS)
def column_moments(x, counts, means, squares, m, n):
    """The same (blocks of y, n) of the columns of (m, n); a block has 32 columns, and 8 threads share one."""
    counted, centred, squared = cuda.shared.array(THREADS, A), cuda.shared.array(THREADS, A), cuda.shared.array(THREADS, A)
    c, count, mean, m2 = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x, A(0), A(0), A(0)
    if c < n:
        for i in range(cuda.blockIdx.y * SHARED_BY + cuda.threadIdx.y, m, cuda.gridDim.y * SHARED_BY):
            count, mean, m2 = joined(count, mean, m2, A(1), load(x, i * n + c), A(0))
    at = cuda.threadIdx.y * COLUMNS + cuda.threadIdx.x
    counted[at], centred[at], squared[at] = count, mean, m2
    cuda.syncthreads()
    if c < n and cuda.threadIdx.y == 0:
        for _ in range(1, SHARED_BY):
            at += COLUMNS
            count, mean, m2 = joined(count, mean, m2, counted[at], centred[at], squared[at])
        at = cuda.blockIdx.y * n + c
        counts[at], means[at], squares[at] = count, mean, m2


def _coefficients(c, centre, rate, weight, bias, affine, scale, shift):
    """The map of a channel: y = (x - mean) scale + shift."""
    scale[c] = rate * weight[c] if affine & WEIGHT else rate
    shift[c] = bias[c] if affine & BIAS else A(0)


@device_kernel("T* T* T* T* T* T* T* T* T* T* T* q q q q q T T", T=REAL, threads=WARP)
def finish_moments(counts, means, squares, weight, bias, running_mean, running_var, mean, rstd, scale, shift, p, channels, length,
                   affine, running, momentum, eps):
    """From the moments (p, channels, length) of all parts of channel x its mean, 1 / sqrt(var + eps) and map. Where it is
    ``running``, the running mean and the running unbiased variance move towards it by ``momentum``. One warp a channel."""
    c = np.int64(cuda.blockIdx.x)
    n, centre, m2 = A(0), A(0), A(0)
    for e in range(cuda.threadIdx.x, p * length, WARP):
        part, l = divided(e, length)
        at = (part * channels + c) * length + l
        n, centre, m2 = joined(n, centre, m2, counts[at], means[at], squares[at])
    n, centre, m2 = warp_joined(n, centre, m2)
    if cuda.threadIdx.x == 0:
        rate = A(1) / math.sqrt(m2 / n + eps)
        mean[c], rstd[c] = centre, rate
        _coefficients(c, centre, rate, weight, bias, affine, scale, shift)
        if running & MEAN:
            running_mean[c] = (A(1) - momentum) * running_mean[c] + momentum * centre
        if running & VARIANCE:
            running_var[c] = (A(1) - momentum) * running_var[c] + momentum * (m2 / (n - A(1)))


@device_kernel("T* T* T* T* T* T* T* T* q q T", T=REAL, threads=THREADS)
def fixed_moments(running_mean, running_var, weight, bias, mean, rstd, scale, shift, channels, affine, eps):
    """The same from the running statistics, as they are."""
    c = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if c < channels:
        rate = A(1) / math.sqrt(running_var[c] + eps)
        mean[c], rstd[c] = running_mean[c], rate
        _coefficients(c, mean[c], rate, weight, bias, affine, scale, shift)


# ---- sums of gradients -----------------------------------------------------------------------------------------------------

def _sums(width):
    def channel_sums(g, x, mean, sums, products, images, channels, length, stretch, stretches):
        """The sums of g and of g (x - mean), (blocks of y, channels), of each channel of (images, channels, length), as
        channel_moments: reads g and x once."""
        c, step = np.int64(cuda.blockIdx.x), cuda.blockDim.x * width
        centre, a, b = mean[c], A(0), A(0)
        task = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        while task < images * stretches:
            image, part = divided(task, stretches)
            at = (image * channels + c) * length
            j, last = part * stretch + cuda.threadIdx.x * width, min(length, (part + 1) * stretch)
            while j < last:
                gs, xs = load_vector(g, at + j, width), load_vector(x, at + j, width)
                for e in range(width):
                    a += gs[e]
                    b += gs[e] * (xs[e] - centre)
                j += step
            task += cuda.gridDim.y * cuda.blockDim.y
        first, second = cuda.shared.array(WARP, A), cuda.shared.array(WARP, A)
        a, b = warp_sum(a), warp_sum(b)
        thread = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        warp, lane = thread // WARP, thread % WARP
        if lane == 0:
            first[warp], second[warp] = a, b
        cuda.syncthreads()
        if warp == 0:
            there = lane < cuda.blockDim.x * cuda.blockDim.y // WARP
            a, b = warp_sum(first[lane] if there else A(0)), warp_sum(second[lane] if there else A(0))
            if lane == 0:
                at = cuda.blockIdx.y * channels + c
                sums[at], products[at] = a, b
    return channel_sums


SUMS = by_width(_sums, "T* T* A* A* A* q q q q q", threads=THREADS)


@device_kernel("T* T* A* A* A* q q q", T=FLOATING, threads=THREADS)
def column_sums(g, x, mean, sums, products, m, n, length):
    """The same (blocks of y, n) of the columns of (m, n), ``length`` of which are a channel."""
    first, second = cuda.shared.array(THREADS, A), cuda.shared.array(THREADS, A)
    c, a, b = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x, A(0), A(0)
    if c < n:
        centre = mean[divided(c, length)[0]]
        for i in range(cuda.blockIdx.y * SHARED_BY + cuda.threadIdx.y, m, cuda.gridDim.y * SHARED_BY):
            v = load(g, i * n + c)
            a += v
            b += v * (load(x, i * n + c) - centre)
    at = cuda.threadIdx.y * COLUMNS + cuda.threadIdx.x
    first[at], second[at] = a, b
    cuda.syncthreads()
    if c < n and cuda.threadIdx.y == 0:
        for _ in range(1, SHARED_BY):
            at += COLUMNS
            a += first[at]
            b += second[at]
        at = cuda.blockIdx.y * n + c
        sums[at], products[at] = a, b


@device_kernel("T* T* T* T* T* T* T* T* T* q q q q q q", T=REAL, threads=WARP)
def finish_sums(sums, products, rstd, weight, gweight, gbias, first, second, shift, p, channels, length, count, affine, training):
    """From the sums (p, channels, length) of all parts of channel x the gradients of its weight and bias, and the map that gives
    x's: gx = g first + (x - mean) second + shift; of fixed statistics, g first. One warp a channel."""
    c = np.int64(cuda.blockIdx.x)
    a, b = A(0), A(0)
    for e in range(cuda.threadIdx.x, p * length, WARP):
        part, l = divided(e, length)
        at = (part * channels + c) * length + l
        a += sums[at]
        b += products[at]
    a, b = warp_sum(a), warp_sum(b)
    if cuda.threadIdx.x == 0:
        rate = rstd[c]
        scale = rate * weight[c] if affine & WEIGHT else rate
        gweight[c], gbias[c], first[c] = b * rate, a, scale
        second[c] = -scale * (b * rate) * rate / A(count) if training else A(0)
        shift[c] = -scale * a / A(count) if training else A(0)


# ---- maps ------------------------------------------------------------------------------------------------------------------

def _map(width):
    pack = TUPLES[width]

    def channel_map(x, g, mean, first, second, shift, out, runs, channels, length, stretch, stretches, with_g):
        """out = (x - mean) second + shift (+ g first) over the runs of (images, channels, length), numbers of a channel each:
        reads x (and g) and writes out once. A block has ``stretch`` numbers of as many runs as its y."""
        task, values = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y, cuda.local.array(width, A)
        if task >= runs * stretches:
            return
        run, part = divided(task, stretches)
        c = divided(run, channels)[1]
        centre, slope, rest = mean[c], second[c], shift[c]
        share = first[c] if with_g else A(0)
        j, last = part * stretch + cuda.threadIdx.x * width, min(length, (part + 1) * stretch)
        while j < last:
            at = run * length + j
            xs = load_vector(x, at, width)
            for e in range(width):
                values[e] = (xs[e] - centre) * slope + rest
            if with_g:
                gs = load_vector(g, at, width)
                for e in range(width):
                    values[e] += gs[e] * share
            store_vector(out, at, pack(values, 0))
            j += cuda.blockDim.x * width
    return channel_map


MAPS = by_width(_map, "T* T* A* A* A* A* T* q q q q q q", threads=THREADS)


@device_kernel("T* T* A* A* A* A* T* q q q q", T=FLOATING, threads=THREADS)
def column_map(x, g, mean, first, second, shift, out, m, n, length, with_g):
    """The same over the columns of (m, n), ``length`` of which are a channel."""
    column = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    if column >= n:
        return
    c = divided(column, length)[0]
    centre, slope, rest = mean[c], second[c], shift[c]
    share = first[c] if with_g else A(0)
    for i in range(cuda.blockIdx.y * SHARED_BY + cuda.threadIdx.y, m, cuda.gridDim.y * SHARED_BY):
        at = i * n + column
        v = (load(x, at) - centre) * slope + rest
        store(out, at, v + load(g, at) * share if with_g else v)


# ---- launching -------------------------------------------------------------------------------------------------------------

def _by_columns(length):
    return length < RUN


def _run_block(length, width):
    """(threads of a block as (along a run, runs), numbers of a stretch, stretches of a run)."""
    along = min(THREADS, power_of_two(-(-length // width)))
    stretch = along * width * REPEAT
    return (along, THREADS // along), stretch, -(-length // stretch)


def _parts(columns, rows):
    """How many blocks share the rows of each of ``columns`` blocks."""
    return max(1, min(BLOCKS // columns, rows, 65535))


def _computed(x):
    return FLOAT32 if x.dtype.itemsize == 2 else x.dtype


def _new(shape, x, count):
    return several(count, shape, _computed(x), x.device)


def statistics(x, weight, bias, running_mean, running_var, momentum, eps):
    """(mean, rstd, scale, shift) of the channels of a contiguous (N, C, L); moves the running statistics, which may be None."""
    images, channels, length = x.shape
    found = _new(channels, x, 4)
    if _by_columns(length):
        n = channels * length
        p = _parts(-(-n // COLUMNS), -(-images // SHARED_BY))
        moments = _new((p, n), x, 3)
        column_moments.launch((-(-n // COLUMNS), p), (COLUMNS, SHARED_BY), x, *moments, images, n)
    else:
        width = width_of(length, x)
        block, stretch, stretches = _run_block(length, width)
        p = _parts(channels, -(-images * stretches // block[1]))
        moments = _new((p, channels), x, 3)
        MOMENTS[width].launch((channels, p), block, x, *moments, images, channels, length, stretch, stretches)
        length = 1
    running = (running_mean is not None) * MEAN | (running_var is not None) * VARIANCE
    finish_moments.launch(channels, WARP, *moments, weight, bias, running_mean, running_var, *found, p, channels, length,
                          _affine(weight, bias), running, momentum, eps)
    return found


def _affine(weight, bias):
    return (weight is not None) * WEIGHT | (bias is not None) * BIAS


def fixed(x, weight, bias, running_mean, running_var, eps):
    """(mean, rstd, scale, shift) of the channels of (N, C, L) from running statistics."""
    channels = x.shape[1]
    found = _new(channels, x, 4)
    fixed_moments.launch(-(-channels // THREADS), THREADS, running_mean, running_var, weight, bias, *found, channels,
                         _affine(weight, bias), eps)
    return found


def gradients(g, x, mean, rstd, weight, training):
    """(gweight, gbias, first, second, shift) for contiguous g and x (N, C, L); the last three make x's gradient by ``mapped``."""
    images, channels, length = x.shape
    count = images * length
    if _by_columns(length):
        n = channels * length
        p = _parts(-(-n // COLUMNS), -(-images // SHARED_BY))
        sums = _new((p, n), x, 2)
        column_sums.launch((-(-n // COLUMNS), p), (COLUMNS, SHARED_BY), g, x, mean, *sums, images, n, length)
    else:
        width = width_of(length, g, x)
        block, stretch, stretches = _run_block(length, width)
        p = _parts(channels, -(-images * stretches // block[1]))
        sums = _new((p, channels), x, 2)
        SUMS[width].launch((channels, p), block, g, x, mean, *sums, images, channels, length, stretch, stretches)
        length = 1
    found = _new(channels, x, 5)
    finish_sums.launch(channels, WARP, *sums, rstd, weight, *found, p, channels, length, count, _affine(weight, None), training)
    return found


def mapped(g, x, mean, first, second, shift, out):
    """out = (x - mean) second + shift, and g first where g is not None, by channels of contiguous arrays (N, C, L)."""
    images, channels, length = x.shape
    if _by_columns(length):
        n = channels * length
        p = min(-(-images // (SHARED_BY * REPEAT)), 65535)
        column_map.launch((-(-n // COLUMNS), p), (COLUMNS, SHARED_BY), x, g, mean, first, second, shift, out, images, n, length,
                          g is not None)
        return
    width = width_of(length, x, out) if g is None else width_of(length, g, x, out)
    block, stretch, stretches = _run_block(length, width)
    runs = images * channels
    MAPS[width].launch(-(-runs * stretches // block[1]), block, x, g, mean, first, second, shift, out, runs, channels, length,
                       stretch, stretches, g is not None)
