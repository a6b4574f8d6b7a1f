"""Images read at places given by a tensor, on a CUDA device: ``grid_sample`` and its gradients.

A thread has one place of one image, and goes through the channels. Along each axis the place has one tap (nearest), two (linear)
or four (cubic): elements, weights, and the weights' slopes; an element outside counts as 0. An image of two dimensions is a
volume of depth 1, whose depth has one tap.

The gradient of the image is added atomically, in an order that changes from run to run, as in torch; in float32 at least.
"""
import math

import numpy as np

from . import _driver
from ._cuda import FLOATING, A, atomic_add, blocks, cuda, device_kernel, load, store
from ._cuda_places import MOST, division, quotient

THREADS, RESIDENT = 128, 3                  # of a block; blocks of a multiprocessor, so that a thread has up to 168 registers
ZEROS, BORDER, REFLECTION = range(3)        # what is outside of the image
MODES = {"zeros": ZEROS, "border": BORDER, "reflection": REFLECTION}
CUBIC = -0.75                               # the constant of Keys' kernel


def placed(g, size, align):
    """The coordinate of a place in the grid, whose -1 and 1 are the corners' centres (``align``) or the borders; its slope."""
    if align:
        slope = A(size - 1) * A(0.5)
        return (g + A(1)) * slope, slope
    return ((g + A(1)) * A(size) - A(1)) * A(0.5), A(size) * A(0.5)


def within(x, size, outside, align):
    """A coordinate brought inside the image, as ``outside`` says, and its slope; ZEROS leaves it."""
    if outside == ZEROS:
        return x, A(1)
    slope = A(1)
    if outside == REFLECTION:
        low, span = (A(0), A(size - 1)) if align else (A(-0.5), A(size))
        if span == A(0):
            return x * A(0), A(0)
        x = x - low
        if x < A(0):
            slope = A(-1)
            x = -x
        turns = np.floor(x / span)
        x = x - turns * span
        if turns - A(2) * np.floor(turns * A(0.5)) == A(1):
            x = span - x
            slope = -slope
        x = x + low
    last = A(size - 1)
    if x < A(0):
        return A(0), A(0)
    if x > last:
        return last, A(0)
    return x, slope


def element(x, size):
    """The element at a whole coordinate; -1 outside."""
    return np.int32(x) if (x >= A(0)) & (x <= A(size - 1)) else np.int32(-1)


def keys(x):
    """Keys' cubic kernel at a distance, and its slope."""
    a, t = A(CUBIC), abs(x)
    sign = A(1) if x > A(0) else A(-1) if x < A(0) else A(0)
    if t <= A(1):
        return ((a + A(2)) * t - (a + A(3))) * t * t + A(1), sign * (A(3) * (a + A(2)) * t - A(2) * (a + A(3))) * t
    return ((a * t - A(5) * a) * t + A(8) * a) * t - A(4) * a, sign * ((A(3) * a * t - A(10) * a) * t + A(8) * a)


def nearest(g, size, outside, align, at, weights, slopes):
    """The tap of the element next to the place."""
    x, _ = placed(g, size, align)
    x, _ = within(x, size, outside, align)
    at[0] = element(np.rint(x), size)
    weights[0] = A(1)
    slopes[0] = A(0)


def linear(g, size, outside, align, at, weights, slopes):
    """The taps of the two elements beside the place."""
    x, slope = placed(g, size, align)
    x, turn = within(x, size, outside, align)
    low = np.floor(x)
    at[0] = element(low, size)
    at[1] = element(low + A(1), size)
    weights[0] = A(1) - (x - low)
    weights[1] = x - low
    slopes[0] = -slope * turn
    slopes[1] = slope * turn


def cubic(g, size, outside, align, at, weights, slopes):
    """The taps of the four elements around the place; each is brought inside by itself."""
    x, slope = placed(g, size, align)
    low = np.floor(x)
    for k in range(4):
        tap, _ = within(low + A(k - 1), size, outside, align)
        at[k] = element(tap, size)
        weight, change = keys(x - low - A(k - 1))
        weights[k] = weight
        slopes[k] = change * slope


def alone(g, size, outside, align, at, weights, slopes):
    """The tap of the depth of an image."""
    at[0] = 0
    weights[0] = A(1)
    slopes[0] = A(0)


def kernels(name, find, taps, dims):
    """The kernel that samples with ``taps`` for an axis, which ``find`` finds, and that of the gradients; 2 or 3 dimensions."""
    find_depth, deep = (find, taps) if dims == 3 else (alone, 1)

    def sample(x, grid, y, count, factor, shift, places, channels, depth, height, width, outside, align):
        i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        if i >= count:
            return
        at_d, by_d, slope_d = cuda.local.array(deep, np.int32), cuda.local.array(deep, A), cuda.local.array(deep, A)
        at_h, by_h, slope_h = cuda.local.array(taps, np.int32), cuda.local.array(taps, A), cuda.local.array(taps, A)
        at_w, by_w, slope_w = cuda.local.array(taps, np.int32), cuda.local.array(taps, A), cuda.local.array(taps, A)
        first = np.int64(i) * dims
        find(load(grid, first), width, outside, align, at_w, by_w, slope_w)
        find(load(grid, first + 1), height, outside, align, at_h, by_h, slope_h)
        find_depth(load(grid, first + dims - 1), depth, outside, align, at_d, by_d, slope_d)
        n = np.int64(quotient(i, factor, shift))
        place = np.int64(i) - n * places
        for c in range(n * channels, (n + 1) * channels):
            total = A(0)
            for a in range(deep):
                for b in range(taps):
                    row = ((c * depth + at_d[a]) * height + at_h[b]) * width
                    for e in range(taps):
                        value = load(x, row + at_w[e]) if at_d[a] | at_h[b] | at_w[e] >= 0 else A(0)
                        total += by_d[a] * by_h[b] * by_w[e] * value
            store(y, c * places + place, total)

    def sample_grad(gy, x, grid, gx, ggrid, count, factor, shift, places, channels, depth, height, width, outside, align, need_x):
        i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        if i >= count:
            return
        at_d, by_d, slope_d = cuda.local.array(deep, np.int32), cuda.local.array(deep, A), cuda.local.array(deep, A)
        at_h, by_h, slope_h = cuda.local.array(taps, np.int32), cuda.local.array(taps, A), cuda.local.array(taps, A)
        at_w, by_w, slope_w = cuda.local.array(taps, np.int32), cuda.local.array(taps, A), cuda.local.array(taps, A)
        first = np.int64(i) * dims
        find(load(grid, first), width, outside, align, at_w, by_w, slope_w)
        find(load(grid, first + 1), height, outside, align, at_h, by_h, slope_h)
        find_depth(load(grid, first + dims - 1), depth, outside, align, at_d, by_d, slope_d)
        n = np.int64(quotient(i, factor, shift))
        place = np.int64(i) - n * places
        total_d, total_h, total_w = A(0), A(0), A(0)
        for c in range(n * channels, (n + 1) * channels):
            g = load(gy, c * places + place)
            for a in range(deep):
                for b in range(taps):
                    row = ((c * depth + at_d[a]) * height + at_h[b]) * width
                    for e in range(taps):
                        if at_d[a] | at_h[b] | at_w[e] >= 0:
                            value = g * load(x, row + at_w[e])
                            total_d += slope_d[a] * by_h[b] * by_w[e] * value
                            total_h += by_d[a] * slope_h[b] * by_w[e] * value
                            total_w += by_d[a] * by_h[b] * slope_w[e] * value
                            if need_x:
                                atomic_add(gx, row + at_w[e], by_d[a] * by_h[b] * by_w[e] * g)
        store(ggrid, first, total_w)
        store(ggrid, first + 1, total_h)
        if dims == 3:
            store(ggrid, first + 2, total_d)

    sample.__name__ = sample.__qualname__ = f"sample_{name}"
    sample.__doc__ = f"""y[n, c, place] = sum over taps of the weights times x[n, c, taps]: {find.__name__}, {dims} dimensions.

    The grid is read once, y written once; neighbouring threads read neighbouring places, whose elements the caches hold.
    """
    sample_grad.__name__ = sample_grad.__qualname__ = f"sample_{name}_grad"
    sample_grad.__doc__ = f"gx += gy * the weights, atomically; ggrid = gy * x * the slopes: {find.__name__}, {dims} dimensions."
    numbers = " I I I" + " q" * 7
    return (device_kernel("T* T* T*" + numbers, T=FLOATING, threads=THREADS, resident=RESIDENT)(sample),
            device_kernel("T* T* T* A* T*" + numbers + " q", T=FLOATING, threads=THREADS, resident=RESIDENT)(sample_grad))


KERNELS = {("nearest", 2): kernels("nearest_2", nearest, 1, 2), ("bilinear", 2): kernels("linear_2", linear, 2, 2),
           ("bicubic", 2): kernels("cubic_2", cubic, 4, 2), ("nearest", 3): kernels("nearest_3", nearest, 1, 3),
           ("bilinear", 3): kernels("linear_3", linear, 2, 3)}


def _arguments(x, grid, outside, align):
    places = math.prod(grid.shape[1:-1])
    count = places * x.shape[0]
    if count > MOST:
        raise _driver.OnHost(f"sampling at {count} places")
    depth, height, width = (1, *x.shape[2:])[-3:]
    return count, *division(places)[1:], places, x.shape[1], depth, height, width, MODES[outside], int(align)


def grid_sample(x, grid, y, mode, outside, align):
    """y (n, c, places ...) = x (n, c, size ...) sampled at grid (n, places ..., 2 or 3)."""
    numbers = _arguments(x, grid, outside, align)
    KERNELS[mode, grid.shape[-1]][0].launch(blocks(numbers[0], THREADS), THREADS, x, grid, y, *numbers)


def grid_sample_grad(gy, x, grid, gx, ggrid, mode, outside, align):
    """The gradients of ``grid_sample``; gx is zeros of float32 or float64, or None where it is not needed."""
    numbers = _arguments(x, grid, outside, align)
    KERNELS[mode, grid.shape[-1]][1].launch(blocks(numbers[0], THREADS), THREADS, gy, x, grid, gx, ggrid, *numbers,
                                            int(gx is not None))
