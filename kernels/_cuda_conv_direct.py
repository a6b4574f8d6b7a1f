"""What of a convolution is no matrix product worth its tiles: few output channels a group (depthwise convolutions first of all),
the gradient of the bias, and the sum of the parts of a product that was split.

With one to four output channels a group a tile would be mostly empty, and an input is used too seldom for shared memory to pay:
threads read the image through the first-level cache, neighbouring threads neighbouring positions.
"""
import numpy as np

from ._cuda import FLOATING, A, cuda, device_kernel, load, load_vector, store
from ._cuda_blocks import block_sum
from ._cuda_conv_tiles import (
    AXES,
    FIELDS,
    OUTPUTS,
    OUTSIDE,
    TAPS,
    inside,
    position,
    set_axes,
    set_tap,
    source,
    target,
    window_place,
)
from ._cuda_gemm import divided
from ._cuda_places import quotient

THREADS = 256
SPAN = 256      # taps that are worked out at a time
FOUR_SPANS = 4 * SPAN
EACH = 4        # positions of a thread, which share its reads of the weight


@device_kernel("T* T* T* T* " + "q " * 25, T=FLOATING, threads=THREADS)
def convolution_direct(x, w, bias, y, images, has_bias, channels, rows, groups, transposed, kd, kh, kw, sd, sh, sw, pd, ph, pw,
                       dd, dh, dw, in_d, in_h, in_w, out_d, out_h, out_w, position_blocks):
    """y = convolution of x with w, plus bias; the arrays of ``_cuda_conv_tiles``. A block has positions of one output channel.

    Grid: (groups * rows * position_blocks, phases). x is read once from memory, the weight from the caches.
    """
    axes, first = cuda.shared.array(AXES, np.int32), cuda.threadIdx.x
    taps, weights = cuda.shared.array(FOUR_SPANS, np.int32, 16), cuda.shared.array(SPAN, np.int32)
    d, h, w_ = cuda.local.array(EACH, np.int32), cuda.local.array(EACH, np.int32), cuda.local.array(EACH, np.int32)
    at, out, total = cuda.local.array(EACH, np.int32), cuda.local.array(EACH, np.int32), cuda.local.array(EACH, A)
    set_axes(axes, first, cuda.blockIdx.y, transposed, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, out_d, out_h, out_w)
    cuda.syncthreads()
    channel, part = divided(cuda.blockIdx.x, position_blocks)
    group, row = divided(channel, rows)
    volume, out_volume, window = in_d * in_h * in_w, out_d * out_h * out_w, kd * kh * kw
    size = np.uint32(in_d), np.uint32(in_h), np.uint32(in_w)
    positions = images * load(axes, OUTPUTS) * load(axes, FIELDS + OUTPUTS) * load(axes, 2 * FIELDS + OUTPUTS)
    b, q = load(bias, channel) if has_bias else A(0), part * EACH * cuda.blockDim.x + first
    for i in range(EACH):
        total[i] = b
        at[i] = 0
        out[i] = -1
        d[i] = OUTSIDE
        h[i] = 0
        w_[i] = 0
        if q < positions:
            n, u_d, u_h, u_w = position(axes, q)
            d[i] = source(axes, 0, u_d)
            h[i] = source(axes, 1, u_h)
            w_[i] = source(axes, 2, u_w)
            at[i] = (n * groups + group) * channels * volume + (d[i] * in_h + h[i]) * in_w + w_[i]
            out[i] = (n * groups * rows + channel) * out_volume + (target(axes, 0, u_d) * out_h + target(axes, 1, u_h)) * out_w \
                + target(axes, 2, u_w)
        q += cuda.blockDim.x
    row_step, channel_step = (window, rows * window) if transposed else (channels * window, window)
    w_at = group * rows * channels * window + row * row_step
    inner, k = channels * load(axes, TAPS) * load(axes, FIELDS + TAPS) * load(axes, 2 * FIELDS + TAPS), 0
    while k < inner:
        e, todo = first, min(SPAN, inner - k)
        while e < todo:
            c, j_d, j_h, j_w = set_tap(taps, e, axes, k + e, inner, volume, in_h, in_w)
            store(weights, e, np.int32(w_at + c * channel_step + window_place(axes, j_d, j_h, j_w, kh, kw)))
            e += cuda.blockDim.x
        cuda.syncthreads()
        for e in range(todo):
            tap_d, tap_h, tap_w, place = load_vector(taps, 4 * e, 4)
            weight = load(w, load(weights, e))
            for i in range(EACH):
                if inside(d[i] + tap_d, h[i] + tap_h, w_[i] + tap_w, size):
                    total[i] += weight * load(x, np.int32(at[i] + place))
        k += SPAN
        if k < inner:       # all are done with these taps
            cuda.syncthreads()
    for i in range(EACH):
        if out[i] >= 0:
            store(y, out[i], total[i])


@device_kernel("T* T* T* " + "q " * 22, T=FLOATING, threads=THREADS)
def weight_gradient_direct(x, gy, gw, images, channels, rows, groups, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw,
                           in_d, in_h, in_w, out_d, out_h, out_w):
    """gw = correlation of gy with x, one element a block: x and gy are read from memory once, from the caches for each tap."""
    rest, j_w = divided(cuda.blockIdx.x, kw)
    rest, j_h = divided(rest, kh)
    rest, j_d = divided(rest, kd)
    channel, c = divided(rest, channels)
    group, _ = divided(channel, rows)
    step, out_volume = cuda.blockDim.x, out_d * out_h * out_w
    # a thread's position moves on by the block's size, written in the axes' digits: carries instead of divisions
    rest, step_w = divided(step, out_w)
    rest, step_h = divided(rest, out_h)
    step_n, step_d = divided(rest, out_d)
    rest, o_w = divided(cuda.threadIdx.x, out_w)
    rest, o_h = divided(rest, out_h)
    n, o_d = divided(rest, out_d)
    size = np.uint32(in_d), np.uint32(in_h), np.uint32(in_w)
    total = A(0)
    while n < images:
        d, h, w = o_d * sd - pd + j_d * dd, o_h * sh - ph + j_h * dh, o_w * sw - pw + j_w * dw
        if inside(d, h, w, size):
            total += load(x, (((n * groups + group) * channels + c) * in_d + d) * in_h * in_w + h * in_w + w) \
                * load(gy, (n * groups * rows + channel) * out_volume + (o_d * out_h + o_h) * out_w + o_w)
        o_w += step_w
        o_h += step_h
        o_d += step_d
        n += step_n
        if o_w >= out_w:
            o_w -= out_w
            o_h += 1
        if o_h >= out_h:
            o_h -= out_h
            o_d += 1
        if o_d >= out_d:
            o_d -= out_d
            n += 1
    total = block_sum(total)
    if cuda.threadIdx.x == 0:
        store(gw, cuda.blockIdx.x, total)


@device_kernel("A* T* T* q q q q q", T=FLOATING, threads=THREADS)
def add_parts(sums, out, bias, n, splits, has_bias, volume, channels):
    """out[i] = sum over s < splits of sums[s * n + i], in this order, plus the bias of its channel (i // volume) % channels.

    One element a thread; splits * 4 + itemsize bytes each.
    """
    i = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if i >= n:
        return
    total = A(0)
    for s in range(splits):
        total += sums[s * n + i]
    if has_bias:
        plane, _ = divided(i, volume)
        total += load(bias, divided(plane, channels)[1])
    store(out, i, total)


def channel_sum_kernel(name, vector, types):
    """The kernel of ``channel_sum`` that reads ``vector`` elements at once, of which a plane has a multiple."""
    def channel_sum(gy, sums, images, channels, volume, factor, shift, splits):
        channel, split = divided(cuda.blockIdx.x, splits)
        vectors = np.uint32(volume) // np.uint32(vector)
        total, i, end = A(0), np.uint32(split * cuda.blockDim.x + cuda.threadIdx.x), np.uint32(images * vectors)
        while i < end:
            n = quotient(i, factor, shift)
            at = (np.int64(n) * channels + channel) * volume + np.int64(np.uint32(i - n * vectors)) * vector
            values = load_vector(gy, at, vector)
            for l in range(vector):
                total += values[l]
            i = np.uint32(i + splits * cuda.blockDim.x)
        total = block_sum(total)
        if cuda.threadIdx.x == 0:
            sums[split * channels + channel] = total

    channel_sum.__name__ = channel_sum.__qualname__ = name
    channel_sum.__doc__ = """sums[split, c] = sum of gy[n, c, i] over a split's share of images and positions. Each is read once.

    ``factor`` and ``shift`` divide by volume // vector. Grid: channels * splits.
    """
    return device_kernel("T* A* q q q I I q", T=types, threads=THREADS)(channel_sum)


channel_sum_4 = channel_sum_kernel("channel_sum_4", 4, ("float32", "float16", "bfloat16"))
channel_sum_1 = channel_sum_kernel("channel_sum_1", 1, FLOATING)
