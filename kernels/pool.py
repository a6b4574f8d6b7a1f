"""Pooling over windows, in 1, 2 and 3 dimensions: largest element, average, and their gradients.

Arrays are (planes, depth, height, width); 1-d and 2-d pooling have unit extents in front, and a plane is one channel of one
image. The windows of each axis come as a table with a row (first, stop, count) for each output: cut off at the borders, so
padding, ``ceil_mode`` and adaptive pooling are all the same loop. Planes are dealt to threads.
"""
from numba import prange

from ._jit import kernel


@kernel
def max_pool(x, depths, heights, widths, step_d, step_h, step_w, y, indices):
    """y = the largest element of each window, indices its place in the plane (d * H + h) * W + w; nan counts as largest.

    The first of equal elements wins, as in torch, and the last nan. Reads every window, writes y and indices once.
    """
    height, width = x.shape[2], x.shape[3]
    for plane in prange(x.shape[0]):
        for od in range(depths.shape[0]):
            for oh in range(heights.shape[0]):
                for ow in range(widths.shape[0]):
                    at = (depths[od, 0] * height + heights[oh, 0]) * width + widths[ow, 0]
                    best = x[plane, depths[od, 0], heights[oh, 0], widths[ow, 0]]
                    for d in range(depths[od, 0], depths[od, 1], step_d):
                        for h in range(heights[oh, 0], heights[oh, 1], step_h):
                            for w in range(widths[ow, 0], widths[ow, 1], step_w):
                                value = x[plane, d, h, w]
                                if value > best or value != value:
                                    best = value
                                    at = (d * height + h) * width + w
                    y[plane, od, oh, ow] = best
                    indices[plane, od, oh, ow] = at


@kernel
def scatter_planes(gy, indices, gx):
    """gx[plane, indices[plane, i]] += gy[plane, i], from zero: the gradient of ``max_pool``. All are (planes, elements)."""
    for plane in prange(gy.shape[0]):
        for i in range(gx.shape[1]):
            gx[plane, i] = 0
        for i in range(gy.shape[1]):
            gx[plane, indices[plane, i]] += gy[plane, i]


@kernel
def gather_planes(x, indices, y):
    """y[plane, i] = x[plane, indices[plane, i]]: the gradient of ``scatter_planes``."""
    for plane in prange(x.shape[0]):
        for i in range(y.shape[1]):
            y[plane, i] = x[plane, indices[plane, i]]


@kernel
def max_pool_2x2(x, y, taps):
    """``max_pool`` with 2 x 2 windows two apart: y, and in taps which of the window's four elements (uint8) it is.

    x is (planes, H, W), y and taps are (planes, H // 2, W // 2). A row of outputs is one loop in vector lanes.
    """
    height, width = y.shape[1], y.shape[2]
    for row in prange(y.shape[0] * height):
        plane, i = row // height, row % height
        top, bottom, out, out_taps = x[plane, 2 * i], x[plane, 2 * i + 1], y[plane, i], taps[plane, i]
        for j in range(width):
            a, b, c, d = top[2 * j], top[2 * j + 1], bottom[2 * j], bottom[2 * j + 1]
            # (b > a or b is nan) without a branch
            right, lower = not b <= a, not d <= c
            right &= (a == a) | (b != b)
            lower &= (c == c) | (d != d)
            above, below = b if right else a, d if lower else c
            down = not below <= above
            down &= (above == above) | (below != below)
            out[j] = below if down else above
            out_taps[j] = (2 + lower) if down else (0 + right)


@kernel
def max_pool_2x2_grad(gy, taps, gx):
    """gx = gy at each window's largest element, 0 elsewhere: a plane is zeroed, then written while it is in cache."""
    height, width, pitch = gy.shape[1], gy.shape[2], gx.shape[2]
    for plane in prange(gy.shape[0]):
        flat = gx[plane].reshape(-1)
        flat[:] = 0
        for i in range(height):
            for j in range(width):
                tap = taps[plane, i, j]
                flat[(2 * i + (tap >> 1)) * pitch + 2 * j + (tap & 1)] = gy[plane, i, j]


@kernel
def max_pool_2x2_pick(x, taps, y):
    """y = the element of each 2 x 2 window that taps names: the gradient of ``max_pool_2x2_grad``."""
    for plane in prange(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                tap = taps[plane, i, j]
                y[plane, i, j] = x[plane, 2 * i + (tap >> 1), 2 * j + (tap & 1)]


@kernel
def avg_pool(x, depths, heights, widths, divisor, y):
    """y = sum of each window / (product of the three counts, or divisor if it is not 0)."""
    zero = x.dtype.type(0)
    for plane in prange(x.shape[0]):
        for od in range(depths.shape[0]):
            for oh in range(heights.shape[0]):
                for ow in range(widths.shape[0]):
                    total = zero
                    for d in range(depths[od, 0], depths[od, 1]):
                        for h in range(heights[oh, 0], heights[oh, 1]):
                            for w in range(widths[ow, 0], widths[ow, 1]):
                                total += x[plane, d, h, w]
                    count = divisor if divisor else depths[od, 2] * heights[oh, 2] * widths[ow, 2]
                    y[plane, od, oh, ow] = x.dtype.type(total / x.dtype.type(count))


@kernel
def avg_pool_grad(gy, depths, heights, widths, divisor, gx):
    """gx = for each element, the sum of gy / count over the windows that hold it. gx is zeroed, then added to."""
    for plane in prange(gy.shape[0]):
        gx[plane] = 0
        for od in range(depths.shape[0]):
            for oh in range(heights.shape[0]):
                for ow in range(widths.shape[0]):
                    count = divisor if divisor else depths[od, 2] * heights[oh, 2] * widths[ow, 2]
                    g = gy[plane, od, oh, ow] / gy.dtype.type(count)
                    for d in range(depths[od, 0], depths[od, 1]):
                        for h in range(heights[oh, 0], heights[oh, 1]):
                            for w in range(widths[ow, 0], widths[ow, 1]):
                                gx[plane, d, h, w] += g
