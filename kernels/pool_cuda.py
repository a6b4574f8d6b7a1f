"""Pooling on a CUDA device: the largest element or the average of windows, their gradients, and unpooling.

Arrays are those of ``pool``, (planes, depth, height, width), but the windows of an axis come as a rule, from which threads work
out their own: (size, outputs, kernel, stride, padding, dilation, whether padding counts), or (size, outputs) of adaptive
pooling, whose window o is all elements from o * size // outputs to the next window's start, rounded up. Leading dimensions may be
in any shape: planes are all that is not of the three axes.

Gradients are gathered: a thread looks through the windows that hold its elements, so that nothing is added atomically and each
sum has an order. Only ``scatter``, for indices that any windows may have left, adds atomically, in an order that changes from run
to run, as in torch, unless a program asks for one (``_cuda_ordered``).
"""
import math
from functools import lru_cache

import numpy as np

from . import _cuda_errors, _cuda_ordered, _driver
from ._cuda import FLOATING, INTEGRAL, NUMBERS, A, atomic_add, blocks, cuda, device_kernel, load, load_vector, store, store_vector
from ._cuda_errors import report
from ._cuda_gemm import divided
from ._cuda_places import MOST, division, indices, quotient
from ._device import copyto, empty
from .indexing_cuda import put

THREADS = 256
_PLACE = " I" * 10      # how many elements, and the divisions of ``indices``
_DIVISIONS = " I" * 6   # factor and shift of ``holders`` for each axis
_RULES = " i" * 18      # for each axis size, outputs, kernel, stride, padding, dilation; stride 0 means adaptive


# ---- windows -----------------------------------------------------------------------------------------------------------

def window(o, size, outputs, kernel, stride, padding, dilation):
    """First element and end of window ``o`` of an axis, cut off at the borders."""
    if stride == 0:
        first, end = divided(o * size, outputs)[0], divided((o + 1) * size + outputs - 1, outputs)[0]
        return np.int32(first), np.int32(end)
    first = np.int32(o * stride - padding)
    end = min(np.int32(first + dilation * (kernel - 1) + 1), size)
    while first < 0:
        first = np.int32(first + dilation)
    return first, end


def counted(o, size, outputs, kernel, stride, padding, counts):
    """How many elements an average over window ``o`` of an axis counts; ``counts``: those of the padding, too."""
    if counts and stride:
        first = np.int32(o * stride - padding)
        return np.int32(min(np.int32(first + kernel), np.int32(size + padding)) - first)
    first, end = window(o, size, outputs, kernel, stride, padding, np.int32(1))
    return np.int32(end - first)


def holders(i, size, outputs, kernel, stride, padding, dilation, factor, shift):
    """The first window of an axis that may hold element ``i``, and the one after the last that may.

    ``factor`` and ``shift`` are those of a division by the stride; of adaptive windows, by the size.
    """
    if stride == 0:
        low, high = i * outputs, (i + 1) * outputs + size - 1
    else:
        low, high = max(i + padding - dilation * (kernel - 1) + stride - 1, 0), i + padding + stride
    first, end = quotient(np.uint32(low), factor, shift), quotient(np.uint32(high), factor, shift)
    return np.int32(first), min(np.int32(end), outputs)


# ---- maximum -----------------------------------------------------------------------------------------------------------

@device_kernel("T* T* q*" + _PLACE + _RULES, T=NUMBERS, threads=THREADS)
def max_windows(x, y, where, count, n1, f1, h1, n2, f2, h2, n3, f3, h3, dn, do, dk, ds, dp, dd, hn, ho, hk, hs, hp, hd,
                wn, wo, wk, ws, wp, wd):
    """y = the largest element of each window, where its place in the plane; the first of equal ones, the last nan. One a thread.

    Reads x about once (windows share the first-level cache), writes y and 8 bytes an output.
    """
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    plane, o_d, o_h, o_w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
    first_d, end_d = window(o_d, dn, do, dk, ds, dp, dd)
    first_h, end_h = window(o_h, hn, ho, hk, hs, hp, hd)
    first_w, end_w = window(o_w, wn, wo, wk, ws, wp, wd)
    volume = dn * hn * wn
    at = np.int32((first_d * hn + first_h) * wn + first_w)
    best = load(x, plane * volume + at)
    d = first_d
    while d < end_d:        # a range with a step would divide
        h = first_h
        while h < end_h:
            row, w = np.int32((d * hn + h) * wn), first_w
            while w < end_w:
                value = load(x, plane * volume + row + w)
                if value > best or value != value:
                    best = value
                    at = np.int32(row + w)
                w = np.int32(w + wd)
            h = np.int32(h + hd)
        d = np.int32(d + dd)
    store(y, np.int64(i), best)
    store(where, np.int64(i), np.int64(at))


@device_kernel("T* q* T*" + _PLACE + _RULES + _DIVISIONS, T=FLOATING, threads=THREADS)
def max_windows_grad(gy, where, gx, count, n1, f1, h1, n2, f2, h2, n3, f3, h3, dn, do, dk, ds, dp, dd, hn, ho, hk, hs, hp, hd,
                     wn, wo, wk, ws, wp, wd, df, dh, hf, hh, wf, wh):
    """gx = for each element, the sum of gy over the windows whose largest it is; one element a thread.

    Writes gx once; gy and where are read once from memory, and from the caches for each element that they may be of.
    """
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    plane, d, h, w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
    first_d, end_d = holders(d, dn, do, dk, ds, dp, dd, df, dh)
    first_h, end_h = holders(h, hn, ho, hk, hs, hp, hd, hf, hh)
    first_w, end_w = holders(w, wn, wo, wk, ws, wp, wd, wf, wh)
    mine, total = (d * hn + h) * wn + w, A(0)
    for o_d in range(first_d, end_d):
        for o_h in range(first_h, end_h):
            row = np.int32(((plane * do + o_d) * ho + o_h) * wo)
            for o in range(first_w, end_w):
                at = np.int32(row + o)
                if load(where, at) == mine:
                    total += load(gy, at)
    store(gx, np.int64(i), total)


@device_kernel("T* q* T* I I I q", T=FLOATING, threads=THREADS)
def scatter(gy, where, gx, count, factor, shift, volume):
    """gx[plane, where[plane, i]] += gy[plane, i], atomically, on an array of zeros; ``factor`` divides by a plane's elements."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < count:
        atomic_add(gx, np.int64(quotient(i, factor, shift)) * volume + load(where, np.int64(i)), load(gy, np.int64(i)))


@device_kernel("T* q* T* I I I q", T=FLOATING, threads=THREADS)
def gather(x, where, y, count, factor, shift, volume):
    """y[plane, i] = x[plane, where[plane, i]]."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < count:
        store(y, np.int64(i), load(x, np.int64(quotient(i, factor, shift)) * volume + load(where, np.int64(i))))


@device_kernel("T* q* T* I I I q q*", T=NUMBERS, threads=THREADS)
def unpool(x, where, y, count, factor, shift, volume, wrong):
    """y[plane, where[plane, i]] = x[plane, i], on an array of zeros; an index that is not in the plane is noted in ``wrong``."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i < count:
        at = load(where, np.int64(i))
        if at < 0 or at >= volume:
            report(wrong, at, volume)
        else:
            store(y, np.int64(quotient(i, factor, shift)) * volume + at, load(x, np.int64(i)))


# ---- windows of 2 x 2 --------------------------------------------------------------------------------------------------

def corner_2x2(i, width, factor, shift, height_factor, height_shift, height, x_height, x_width):
    """For kernels: where the first element of window i lies."""
    row = quotient(i, factor, shift)
    plane = np.int64(quotient(row, height_factor, height_shift))
    return (plane * x_height + 2 * (np.int64(row) - plane * height)) * x_width + 2 * np.int64(np.uint32(i - row * width))


@device_kernel("T* T* B* I I I I I I q q q", T=("float32", "float64"), threads=THREADS)
def max_2x2(x, y, taps, count, width, factor, shift, height_factor, height_shift, height, x_height, x_width):
    """``max_windows`` with 2 x 2 windows two apart; taps is which of the window's four elements it is. 25 bytes an output."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    at = corner_2x2(i, width, factor, shift, height_factor, height_shift, height, x_height, x_width)
    if x_width % 2 == 0:
        a, b = load_vector(x, at, 2)
        c, d = load_vector(x, at + x_width, 2)
    else:
        a, b, c, d = load(x, at), load(x, at + 1), load(x, at + x_width), load(x, at + x_width + 1)
    best, tap = a, 0
    if b > best or b != b:
        best, tap = b, 1
    if c > best or c != c:
        best, tap = c, 2
    if d > best or d != d:
        best, tap = d, 3
    store(y, np.int64(i), best)
    store(taps, np.int64(i), np.uint8(tap))


@device_kernel("T* B* T* I I I I I I q q q", T=("float32", "float64"), threads=THREADS)
def max_2x2_grad(gy, taps, gx, count, width, factor, shift, height_factor, height_shift, height, x_height, x_width):
    """gx = gy at each window's largest element, 0 at its others. A last row or column without a window is left as it is."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    at = corner_2x2(i, width, factor, shift, height_factor, height_shift, height, x_height, x_width)
    g, tap = load(gy, np.int64(i)), load(taps, np.int64(i))
    a, b, c, d = g if tap == 0 else A(0), g if tap == 1 else A(0), g if tap == 2 else A(0), g if tap == 3 else A(0)
    if x_width % 2 == 0:
        store_vector(gx, at, (a, b))
        store_vector(gx, at + x_width, (c, d))
    else:
        store(gx, at, a)
        store(gx, at + 1, b)
        store(gx, at + x_width, c)
        store(gx, at + x_width + 1, d)


@device_kernel("T* B* T* I I I I I I q q q", T=("float32", "float64"), threads=THREADS)
def max_2x2_pick(x, taps, y, count, width, factor, shift, height_factor, height_shift, height, x_height, x_width):
    """y = the element of each 2 x 2 window that taps names."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    at = corner_2x2(i, width, factor, shift, height_factor, height_shift, height, x_height, x_width)
    tap = np.int64(load(taps, np.int64(i)))
    store(y, np.int64(i), load(x, at + (tap >> 1) * x_width + (tap & 1)))


# ---- average -----------------------------------------------------------------------------------------------------------

def nothing():
    """What a sum of floating-point numbers starts from."""
    return A(0)


def nothing_integer():
    """What a sum of integers starts from."""
    return np.int64(0)


def over(total, count):
    """The average of floating-point numbers."""
    return total / A(count)


def over_integer(total, count):
    """The average of integers, rounded towards 0."""
    found = total // count
    return A(found + 1 if found < 0 and found * count != total else found)


def average_kernel(name, zero, divide, types):
    """The kernel of averages for element types that ``zero`` and ``divide`` suit."""
    def average_windows(x, y, count, n1, f1, h1, n2, f2, h2, n3, f3, h3, dn, do, dk, ds, dp, dd, hn, ho, hk, hs, hp, hd,
                        wn, wo, wk, ws, wp, wd, counts, divisor):
        i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        if i >= count:
            return
        plane, o_d, o_h, o_w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
        first_d, end_d = window(o_d, dn, do, dk, ds, dp, np.int32(1))
        first_h, end_h = window(o_h, hn, ho, hk, hs, hp, np.int32(1))
        first_w, end_w = window(o_w, wn, wo, wk, ws, wp, np.int32(1))
        total = zero()
        for d in range(first_d, end_d):
            for h in range(first_h, end_h):
                row = ((plane * dn + d) * hn + h) * wn
                for w in range(first_w, end_w):
                    total += load(x, row + w)
        if divisor == 0:
            divisor = counted(o_d, dn, do, dk, ds, dp, counts) * counted(o_h, hn, ho, hk, hs, hp, counts) \
                * counted(o_w, wn, wo, wk, ws, wp, counts)
        store(y, np.int64(i), divide(total, divisor))

    average_windows.__name__ = average_windows.__qualname__ = name
    average_windows.__doc__ = "y = sum of each window / (product of the three counts, or divisor if it is not 0); one a thread."
    return device_kernel("T* T*" + _PLACE + _RULES + " q q", T=types, threads=THREADS)(average_windows)


average_windows = average_kernel("average_windows", nothing, over, FLOATING)
average_windows_of_integers = average_kernel("average_windows_of_integers", nothing_integer, over_integer, INTEGRAL)


@device_kernel("T* A*" + _PLACE + _RULES + " q", T=FLOATING, threads=THREADS)
def shares(gy, out, count, n1, f1, h1, n2, f2, h2, n3, f3, h3, dn, do, dk, ds, dp, dd, hn, ho, hk, hs, hp, hd,
           wn, wo, wk, ws, wp, wd, counts):
    """out = gy / the count of each window; one a thread."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    _, o_d, o_h, o_w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
    held = counted(o_d, dn, do, dk, ds, dp, counts) * counted(o_h, hn, ho, hk, hs, hp, counts) \
        * counted(o_w, wn, wo, wk, ws, wp, counts)
    store(out, np.int64(i), load(gy, np.int64(i)) / A(held))


@device_kernel("A* T*" + _PLACE + _RULES + " q" + _DIVISIONS, T=FLOATING, threads=THREADS)
def average_windows_grad(gy, gx, count, n1, f1, h1, n2, f2, h2, n3, f3, h3, dn, do, dk, ds, dp, dd, hn, ho, hk, hs, hp, hd,
                         wn, wo, wk, ws, wp, wd, divisor, df, dh, hf, hh, wf, wh):
    """gx = for each element, the sum of gy over the windows that hold it, / divisor; one element a thread."""
    i = np.uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if i >= count:
        return
    plane, d, h, w = indices(i, n1, f1, h1, n2, f2, h2, n3, f3, h3)
    first_d, end_d = holders(d, dn, do, dk, ds, dp, 1, df, dh)
    first_h, end_h = holders(h, hn, ho, hk, hs, hp, 1, hf, hh)
    first_w, end_w = holders(w, wn, wo, wk, ws, wp, 1, wf, wh)
    total = A(0)
    for o_d in range(first_d, end_d):
        for o_h in range(first_h, end_h):
            row = np.int32(((plane * do + o_d) * ho + o_h) * wo)
            for o in range(first_w, end_w):
                total += load(gy, np.int32(row + o))
    store(gx, np.int64(i), total / A(divisor))


# ---- launching ---------------------------------------------------------------------------------------------------------

@lru_cache(1024)
def _rules(axes):
    """The arguments for the windows of three axes."""
    found = []
    for rule in axes:
        if len(rule) == 2:
            if rule[0] * (rule[1] + 1) > MOST or rule[1] * (rule[0] + 1) > MOST:
                raise _driver.OnHost(f"adaptive pooling of {rule[0]} elements to {rule[1]}")
            rule = *rule, 0, 0, 0, 1
        found += rule[:6]
    return found


@lru_cache(1024)
def _divisions(axes):
    """The factors and shifts for ``holders``."""
    return [number for rule in axes for number in division(rule[0] if len(rule) == 2 else rule[3])[1:]]


def _launch(kernel, sizes, arrays, *rest):
    """Starts a kernel with a thread for each element of planes of ``sizes``, of so many at a time as 32-bit numbers count.

    ``arrays`` have the same number of planes; the last is the one with an element for each thread.
    """
    a_plane = math.prod(sizes)
    planes = arrays[-1].size // a_plane
    largest = max([a.size // planes for a in arrays])
    if largest > MOST:
        raise _driver.OnHost(f"pooling of planes of {largest} elements")
    few = min(planes, MOST // largest)
    divisions = [number for size in sizes for number in division(size)]
    for first in range(0, planes, few):
        part = arrays if few == planes else [a.reshape(planes, -1)[first:first + few] for a in arrays]
        count = min(few, planes - first) * a_plane
        kernel.launch(blocks(count, THREADS), THREADS, *part, count, *divisions, *rest)


def max_pool(x, depths, heights, widths, y, where):
    """``pool.max_pool`` with rules for tables."""
    axes = depths, heights, widths
    _launch(max_windows, [rule[1] for rule in axes], [x, y, where], *_rules(axes))


def max_pool_grad(gy, where, gx, axes):
    """gx = gy at the places ``where`` of the windows of the three rules ``axes``."""
    axes = tuple(axes)
    _launch(max_windows_grad, [rule[0] for rule in axes], [gy, where, gx], *_rules(axes), *_divisions(axes))


def avg_pool(x, depths, heights, widths, divisor, y):
    """``pool.avg_pool`` with rules for tables."""
    axes = depths, heights, widths
    kernel = average_windows_of_integers if x.dtype.kind in "iu" else average_windows
    _launch(kernel, [rule[1] for rule in axes], [x, y], *_rules(axes), _counts(axes), divisor)


def avg_pool_grad(gy, depths, heights, widths, divisor, gx):
    """``pool.avg_pool_grad`` with rules for tables: one pass where all windows count alike, or else one over gy before."""
    axes = depths, heights, widths
    divisor = divisor or math.prod([_common_count(rule) for rule in axes])
    if not divisor or gy.dtype not in (np.float32, np.float64):
        out = empty(gy.shape, np.float64 if gy.dtype == np.float64 else np.float32, gy.device)
        if divisor:
            copyto(out, gy)
        else:
            _launch(shares, [rule[1] for rule in axes], [gy, out], *_rules(axes), _counts(axes))
        gy = out
    _launch(average_windows_grad, [rule[0] for rule in axes], [gy, gx], *_rules(axes), divisor or 1, *_divisions(axes))


def _common_count(rule):
    """How many elements each window of an axis counts; 0 where they differ."""
    if len(rule) == 2:
        return 0 if rule[0] % rule[1] else rule[0] // rule[1]
    size, outputs, kernel, stride, padding, _, counts = rule
    inside = size + padding if counts else size
    return kernel if (counts or not padding) and (outputs - 1) * stride - padding + kernel <= inside else 0


def _counts(axes):
    return int(any([len(rule) > 2 and rule[6] for rule in axes]))


def _by_index(kernel, a, where, b, planes, volume, *rest):
    """Starts ``scatter``, ``gather`` or ``unpool``; ``volume`` is what the indices in a plane count."""
    count = where.size
    if count > MOST:
        raise _driver.OnHost(f"pooling with {count} indices")
    if count:
        kernel.launch(blocks(count, THREADS), THREADS, a, where, b, count, *division(count // planes)[1:], volume, *rest)


def scatter_planes(gy, where, gx, planes):
    """``pool.scatter_planes``; the order of additions is open, unless one is asked for."""
    gx.fill(0)
    if _cuda_ordered.fixed:
        put("add", gx.reshape(planes, -1), 1, where.reshape(planes, -1), gy.reshape(planes, -1), "max_pool_backward")
    else:
        _by_index(scatter, gy, where, gx, planes, gx.size // planes)


def gather_planes(x, where, y, planes):
    """``pool.gather_planes``."""
    _by_index(gather, x, where, y, planes, x.size // planes)


def unpool_planes(x, where, y, planes, name):
    """y, zeros, = x at the places ``where`` of each plane; a bad index is noted for ``name``."""
    _by_index(unpool, x, where, y, planes, y.size // planes, _cuda_errors.note(name, y.device))


def _launch_2x2(kernel, arrays, out, plane):
    """``out``: the array of outputs, (..., height, width); ``plane``: that of the inputs."""
    count, (height, width) = out.size, out.shape[-2:]
    if count > MOST:
        raise _driver.OnHost(f"pooling to {count} elements")
    if count:
        kernel.launch(blocks(count, THREADS), THREADS, *arrays, count, *division(width), *division(height)[1:], height,
                      *plane.shape[-2:])


def max_pool_2x2(x, y, taps):
    """``pool.max_pool_2x2``."""
    _launch_2x2(max_2x2, (x, y, taps), y, x)


def max_pool_2x2_grad(gy, taps, gx):
    """``pool.max_pool_2x2_grad``."""
    if gx.shape[-2] % 2 or gx.shape[-1] % 2:
        gx.fill(0)
    _launch_2x2(max_2x2_grad, (gy, taps, gx), gy, gx)


def max_pool_2x2_pick(x, taps, y):
    """``pool.max_pool_2x2_pick``."""
    _launch_2x2(max_2x2_pick, (x, taps, y), y, x)
