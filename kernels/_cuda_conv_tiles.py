"""Convolutions as matrix products by tiles (``_cuda_gemm.tile``): one operand is read from the image, with no copy of it.

Rows are output channels. The other two dimensions of the product are positions and taps: a position is an output element of one
image (n, d, h, w), a tap an input channel and an element of the window (c, d, h, w). Where a tap lies for a position is a sum of
both, along each axis and in memory,

    coordinate = position's + tap's,    element = position's + tap's,

and the operand is 0 where a coordinate is outside of the image. ``convolution`` multiplies along taps, and its columns are
positions; ``weight_gradient`` multiplies along positions, and its columns are taps. What belongs to the columns is worked out
once a block; what belongs to the inner indices in shared memory for ``span`` of them at a time, one or two by each thread:
divisions are too slow for each slice.

The gradient of the input (a transposed convolution) is a convolution, too, for each phase of the outputs: along an axis with
stride s, the outputs phase, phase + s, phase + 2 s ... see the same taps, one step apart. All phases are one launch.

A product with few tiles is split along its inner dimension (``splits``): each part goes to an array of its own, in the type that
is computed in, and ``_cuda_conv_direct.add_parts`` adds them up, always in the same order.
"""
from typing import NamedTuple

import numpy as np

from ._cuda import A, cuda, device_kernel, load, load_vector, store, store_vector
from ._cuda_gemm import divided, tile

OUTSIDE = 1 << 29       # a coordinate that is in no image, also when another one or OUTSIDE is added
# what ``set_axis`` works out for an axis of a convolution
FIRST, APART, TAPS, SHIFT, TURN, STEP, OUTPUTS, START, STRIDE, FIELDS = range(10)
AXES = 3 * FIELDS


def one_of(axis, of_depth, of_height, of_width):
    """The argument of an axis: 0 depth, 1 height, 2 width."""
    return of_depth if axis == 0 else of_height if axis == 1 else of_width


def set_axis(axes, axis, phase, transposed, taps, stride, padding, dilation, outputs):
    """Writes the fields of one axis to ``axes``: output START + u STRIDE, u < OUTPUTS, is the sum over j < TAPS of weight FIRST +
    j APART times input u STEP + SHIFT + j TURN."""
    first, apart, shift, turn, step = 0, 1, -padding, dilation, stride
    if transposed:
        by = np.uint32(stride)
        less = np.int64(np.uint32(dilation) % by)
        rest = np.int64(np.uint32(phase + padding) % by)        # of phase + padding - first * dilation, modulo stride
        while first < taps and rest != 0:
            first += 1
            rest += stride - less if rest < less else -less
        rest = less
        while rest != 0:
            apart += 1
            rest += less - stride if rest + less >= stride else less
        shift = phase + padding - first * dilation
        shift = np.int64(np.uint32(shift) // by) if shift >= 0 else -np.int64(np.uint32(-shift) // by)
        turn, step = -np.int64(np.uint32(apart * dilation) // by), 1
        taps = np.int64(np.uint32(taps - first + apart - 1) // np.uint32(apart))
        outputs = np.int64(np.uint32(outputs - phase + stride - 1) // by)
    at = axis * FIELDS
    store(axes, at + FIRST, np.int32(first))
    store(axes, at + APART, np.int32(apart))
    store(axes, at + TAPS, np.int32(taps))
    store(axes, at + SHIFT, np.int32(shift))
    store(axes, at + TURN, np.int32(turn))
    store(axes, at + STEP, np.int32(step))
    store(axes, at + OUTPUTS, np.int32(outputs))
    store(axes, at + START, np.int32(phase))
    store(axes, at + STRIDE, np.int32(stride if transposed else 1))


def set_axes(axes, axis, phase, transposed, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, od, oh, ow):
    """``set_axis`` by three threads, ``axis`` their number; ``phase`` counts the phases of all axes."""
    if axis > 2:
        return
    if transposed:
        phase, of_width = divided(phase, min(sw, ow))
        of_depth, of_height = divided(phase, min(sh, oh))
        phase = one_of(axis, of_depth, of_height, of_width)
    set_axis(axes, axis, phase, transposed, one_of(axis, kd, kh, kw), one_of(axis, sd, sh, sw), one_of(axis, pd, ph, pw),
             one_of(axis, dd, dh, dw), one_of(axis, od, oh, ow))


def digit(number, size):
    """``divided``, which takes 40 instructions, unless the size is 1, as that of an image's depth is."""
    return (np.int64(number), np.int64(0)) if size == 1 else divided(number, size)


def position(axes, q):
    """Image, depth, height and width, in steps of the phase, of position ``q``."""
    rest, w = digit(q, load(axes, 2 * FIELDS + OUTPUTS))
    rest, h = digit(rest, load(axes, FIELDS + OUTPUTS))
    n, d = digit(rest, load(axes, OUTPUTS))
    return n, d, h, w


def source(axes, axis, u):
    """The input's coordinate that the first tap of output ``u`` of an axis has."""
    return u * load(axes, axis * FIELDS + STEP) + load(axes, axis * FIELDS + SHIFT)


def target(axes, axis, u):
    """The coordinate of output ``u`` of an axis."""
    return u * load(axes, axis * FIELDS + STRIDE) + load(axes, axis * FIELDS + START)


def window_place(axes, j_d, j_h, j_w, height, width):
    """The element of a window that tap j of each axis is."""
    d = load(axes, FIRST) + j_d * load(axes, APART)
    h = load(axes, FIELDS + FIRST) + j_h * load(axes, FIELDS + APART)
    w = load(axes, 2 * FIELDS + FIRST) + j_w * load(axes, 2 * FIELDS + APART)
    return (d * height + h) * width + w


def shared_out(slices, split, splits, depth, end):
    """The inner indices of a part of a split product: from, to."""
    first, _ = divided(slices * split, splits)
    after, _ = divided(slices * (split + 1), splits)
    return first * depth, min(end, after * depth)


def set_tap(taps, e, axes, k, stop, volume, height, width):
    """Writes where tap ``k`` lies to the four numbers of entry ``e``: depth, height, width, element; OUTSIDE from ``stop`` on.

    Returns its channel, and its indices along the axes.
    """
    rest, w = digit(k, load(axes, 2 * FIELDS + TAPS))
    rest, h = digit(rest, load(axes, FIELDS + TAPS))
    c, d = digit(rest, load(axes, TAPS))
    in_d, in_h, in_w = d * load(axes, TURN), h * load(axes, FIELDS + TURN), w * load(axes, 2 * FIELDS + TURN)
    store(taps, 4 * e, np.int32(in_d if k < stop else OUTSIDE))
    store(taps, 4 * e + 1, np.int32(in_h))
    store(taps, 4 * e + 2, np.int32(in_w))
    store(taps, 4 * e + 3, np.int32(c * volume + (in_d * height + in_h) * width + in_w))
    return c, d, h, w


def inside(d, h, w, size):
    """Whether coordinates are in an image of ``size``, three uint32: without a sign, those below 0 are large."""
    return (np.uint32(d) < size[0]) & (np.uint32(h) < size[1]) & (np.uint32(w) < size[2])


# ---- the parts of both kernels -------------------------------------------------------------------------------------------

def moving(parts, left_step, right_step, taps_apart):
    """Two functions: ``fetch`` reads a thread's part of a slice into registers; ``turn`` puts it from there into shared memory,
    fetches the next one, and multiplies.

    ``left_step`` and ``right_step``: between a thread's elements in shared memory. ``taps_apart``: between their taps.
    """
    left_values, right_values, eight = parts.left_values, parts.right_values, parts.eight
    left_half, right_half = parts.left_size // 2, parts.right_size // 2

    def fetch(p, row_places, inner_place, p_values, x, corner, size, taps, tap, x_values):
        """One inner index of its rows, at ``inner_place`` (-1 beyond the last), and one position, ``corner``, at some taps."""
        for i in range(left_values):
            p_values[i] = load(p, np.int32(row_places[i] + inner_place)) if inner_place >= 0 else A(0)
        d, h, w, place = corner
        for i in range(right_values):
            tap_d, tap_h, tap_w, tap_place = load_vector(taps, 4 * (tap + i * taps_apart), 4)
            there = inside(d + tap_d, h + tap_h, w + tap_w, size)
            x_values[i] = load(x, np.int32(place + tap_place)) if there else A(0)

    def turn(buffer, left, left_place, right, right_place, row, column, products, p, row_places, inner_place, p_values,
             x, corner, size, taps, tap, x_values):
        """A slice, by way of ``buffer``. The next one's reads are under way before the barrier, and while this is multiplied."""
        for i in range(left_values):
            store(left, buffer * left_half + left_place + i * left_step, p_values[i])
        for i in range(right_values):
            store(right, buffer * right_half + right_place + i * right_step, x_values[i])
        fetch(p, row_places, inner_place, p_values, x, corner, size, taps, tap, x_values)
        cuda.syncthreads()
        # not ``parts.multiply``, whose loop over such slices would keep the next slice's reads behind it
        eight(left, right, buffer * left_half + row, buffer * right_half + column, products)

    return fetch, turn


def finishing(shape, parts):
    """The function that writes a thread's results: one to four groups of them."""
    height, width, vector = shape[3:]
    tuple_of, down, across, taller, wider = parts.tuple, parts.down, parts.across, height > vector, width > vector

    def finish_group(group_row, group_column, products, has_bias, bias, channel, out, at, row_step, places, column, rows, whole):
        to = cuda.local.array(vector, np.int64)
        for l in range(vector):
            to[l] = load(places, column + l)
        for h in range(vector):
            if h < rows:
                first = (group_row * vector + h) * width + group_column * vector
                if has_bias:
                    b = load(bias, channel + h)
                    for l in range(vector):
                        products[first + l] += b
                if whole:
                    if to[0] >= 0:
                        store_vector(out, at + h * row_step + to[0], tuple_of(products, first))
                else:
                    for l in range(vector):
                        if to[l] >= 0:
                            store(out, at + h * row_step + to[l], products[first + l])

    def finish(products, has_bias, bias, channel, out, at, row_step, places, column, rows, whole):
        """out[at + i * row_step + place of column] = product + bias, ``rows`` of them; channel is that of the first.

        ``whole``: groups of columns are neighbours in ``out``, and aligned for vectors.
        """
        finish_group(0, 0, products, has_bias, bias, channel, out, at, row_step, places, column, rows, whole)
        if wider:
            finish_group(0, 1, products, has_bias, bias, channel, out, at, row_step, places, column + across, rows, whole)
        if taller:
            channel, at, rows = channel + down, at + down * row_step, rows - down
            finish_group(1, 0, products, has_bias, bias, channel, out, at, row_step, places, column, rows, whole)
        if taller and wider:
            finish_group(1, 1, products, has_bias, bias, channel, out, at, row_step, places, column + across, rows, whole)
    return finish


# ---- convolution ---------------------------------------------------------------------------------------------------------

def convolution_kernel(name, shape, span, types):
    """The kernel of convolutions for one shape of tile, as ``tile`` takes it; ``span`` taps are worked out at a time."""
    rows_of, columns_of, depth_of, _, _, vector = shape
    parts = tile(*shape)
    ahead = 2 * depth_of            # taps beyond the span: of slices that are fetched and not needed
    entries, four_entries = span + ahead, 4 * (span + ahead)
    threads, left_size, right_size, left_values, right_values = (
        parts.threads, parts.left_size, parts.right_size, parts.left_values, parts.right_values)
    left_pitch, right_pitch = left_size // 2 // depth_of, right_size // 2 // depth_of
    left_apart, right_apart, number_of_products = threads // depth_of, threads // columns_of, parts.products
    place, clear, finish = parts.place, parts.clear, finishing(shape, parts)
    fetch, turn = moving(parts, left_apart, right_apart * right_pitch, right_apart)

    def convolution(x, w, bias, out, images, has_bias, channels, rows, splits, transposed, kd, kh, kw, sd, sh, sw, pd, ph, pw,
                    dd, dh, dw, in_d, in_h, in_w, out_d, out_h, out_w):
        left, right = cuda.shared.array(left_size, A, 16), cuda.shared.array(right_size, A, 16)
        axes, places = cuda.shared.array(AXES, np.int32), cuda.shared.array(columns_of, np.int64)
        taps, weights = cuda.shared.array(four_entries, np.int32, 16), cuda.shared.array(entries, np.int32)
        spot = cuda.shared.array(2, np.int64)       # where the block's results go: there, it takes no registers on the way
        row_places, products = cuda.local.array(left_values, np.int32), cuda.local.array(number_of_products, A)
        w_values, x_values = cuda.local.array(left_values, A), cuda.local.array(right_values, A)
        thread, group = cuda.threadIdx.x, cuda.blockIdx.y
        phase, split = digit(cuda.blockIdx.z, splits)
        set_axes(axes, thread, phase, transposed, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, out_d, out_h, out_w)
        cuda.syncthreads()
        column_tile, row_tile = divided(cuda.blockIdx.x, (rows + rows_of - 1) // rows_of)
        first_row, first_column = row_tile * rows_of, column_tile * columns_of
        positions = images * load(axes, OUTPUTS) * load(axes, FIELDS + OUTPUTS) * load(axes, 2 * FIELDS + OUTPUTS)
        if first_column >= positions:       # this phase has fewer positions than another
            return
        volume, out_volume, window = in_d * in_h * in_w, out_d * out_h * out_w, kd * kh * kw
        size = np.uint32(in_d), np.uint32(in_h), np.uint32(in_w)
        q = first_column + thread % columns_of
        corner, y_place = (np.int32(OUTSIDE), np.int32(0), np.int32(0), np.int32(0)), np.int64(-1)
        if q < positions:
            n, u_d, u_h, u_w = position(axes, q)
            d, h, at_w = source(axes, 0, u_d), source(axes, 1, u_h), source(axes, 2, u_w)
            image = n * cuda.gridDim.y + group
            x_place = image * channels * volume + (d * in_h + h) * in_w + at_w
            corner = np.int32(d), np.int32(h), np.int32(at_w), np.int32(x_place)
            y_place = image * rows * out_volume + (target(axes, 0, u_d) * out_h + target(axes, 1, u_h)) * out_w \
                + target(axes, 2, u_w)
        if thread < columns_of:
            store(places, thread, np.int64(y_place))
        if thread == 0:
            store(spot, 0, np.int64(first_row))
            store(spot, 1, np.int64((split * images * cuda.gridDim.y * rows + first_row) * out_volume))
        row_step, channel_step = (window, rows * window) if transposed else (channels * window, window)
        for i in range(left_values):        # beyond the last row the last one: its products are dropped
            row = min(np.int32(first_row + thread // depth_of + i * left_apart), np.int32(rows - 1))
            row_places[i] = np.int32(group * rows * channels * window + row * row_step)
        inner = channels * load(axes, TAPS) * load(axes, FIELDS + TAPS) * load(axes, 2 * FIELDS + TAPS)
        slices = (inner + depth_of - 1) // depth_of
        k, end = shared_out(slices, split, splits, depth_of, inner)
        w_from, x_from = thread % depth_of, thread // columns_of
        left_place, right_place = w_from * left_pitch + thread // depth_of, x_from * right_pitch + thread % columns_of
        row, column = place(thread)
        clear(products)
        if k >= end:        # no tap: there is no other barrier between writing the places and reading them
            cuda.syncthreads()
        while k < end:
            e, todo = thread, min(span, end - k)
            while e < todo + ahead:
                c, j_d, j_h, j_w = set_tap(taps, e, axes, k + e, end, volume, in_h, in_w)
                there = window_place(axes, j_d, j_h, j_w, kh, kw)
                store(weights, e, np.int32(c * channel_step + there if k + e < end else -1))
                e += threads
            cuda.syncthreads()
            at = 0
            fetch(w, row_places, load(weights, w_from), w_values, x, corner, size, taps, x_from, x_values)
            while at < todo:
                at += depth_of
                turn(0, left, left_place, right, right_place, row, column, products, w, row_places, load(weights, at + w_from),
                     w_values, x, corner, size, taps, at + x_from, x_values)
                at += depth_of
                turn(1, left, left_place, right, right_place, row, column, products, w, row_places, load(weights, at + w_from),
                     w_values, x, corner, size, taps, at + x_from, x_values)
            k += span
        first, at = load(spot, 0) + row, load(spot, 1) + row * out_volume
        finish(products, has_bias, bias, cuda.blockIdx.y * rows + first, out, at, out_volume, places, column, rows - first,
               out_volume % vector == 0 and (not transposed or sw == 1))

    convolution.__name__ = convolution.__qualname__ = name
    convolution.__doc__ = f"""out[split] = convolution of x with w, + bias; {rows_of} channels x {columns_of} positions a block.

    x (images, groups * channels, in ...), out (splits, images, groups * rows, out ...); w (groups * rows, channels, k ...), or
    transposed (groups * channels, rows, k ...). Grid: tiles of rows times positions, groups, phases times splits.
    """
    return device_kernel("T* T* T* T* " + "q " * 24, T=types, threads=threads)(convolution)


# ---- gradient of the weight ----------------------------------------------------------------------------------------------

def weight_gradient_kernel(name, shape, span, types):
    """The kernel of the weight's gradient for one shape of tile; ``span`` positions are worked out at a time."""
    rows_of, columns_of, depth_of, _, _, vector = shape
    parts = tile(*shape)
    ahead = 2 * depth_of
    entries, four_entries, four_columns = span + ahead, 4 * (span + ahead), 4 * columns_of
    threads, left_size, right_size, left_values, right_values = (
        parts.threads, parts.left_size, parts.right_size, parts.left_values, parts.right_values)
    left_pitch, right_pitch, apart = left_size // 2 // depth_of, right_size // 2 // depth_of, threads // depth_of
    number_of_products = parts.products
    place, clear, finish = parts.place, parts.clear, finishing(shape, parts)
    fetch, turn = moving(parts, apart, apart, apart)

    def weight_gradient(x, gy, out, images, channels, rows, splits, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw,
                        in_d, in_h, in_w, out_d, out_h, out_w):
        left, right = cuda.shared.array(left_size, A, 16), cuda.shared.array(right_size, A, 16)
        axes, places = cuda.shared.array(AXES, np.int32), cuda.shared.array(columns_of, np.int64)
        taps, corners = cuda.shared.array(four_columns, np.int32, 16), cuda.shared.array(four_entries, np.int32, 16)
        y_places, spot = cuda.shared.array(entries, np.int32), cuda.shared.array(2, np.int64)
        row_places, products = cuda.local.array(left_values, np.int32), cuda.local.array(number_of_products, A)
        y_values, x_values = cuda.local.array(left_values, A), cuda.local.array(right_values, A)
        thread, group, split = cuda.threadIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
        set_axes(axes, thread, 0, 0, kd, kh, kw, sd, sh, sw, pd, ph, pw, dd, dh, dw, out_d, out_h, out_w)
        cuda.syncthreads()
        column_tile, row_tile = divided(cuda.blockIdx.x, (rows + rows_of - 1) // rows_of)
        first_row, first_column = row_tile * rows_of, column_tile * columns_of
        volume, out_volume, columns = in_d * in_h * in_w, out_d * out_h * out_w, channels * kd * kh * kw
        size = np.uint32(in_d), np.uint32(in_h), np.uint32(in_w)
        if thread == 0:
            store(spot, 0, np.int64(first_row))
            store(spot, 1, np.int64(((split * cuda.gridDim.y + group) * rows + first_row) * columns))
        e = thread
        while e < columns_of:
            set_tap(taps, e, axes, first_column + e, columns, volume, in_h, in_w)
            store(places, e, np.int64(first_column + e if first_column + e < columns else -1))
            e += threads
        for i in range(left_values):        # beyond the last row the last one: its products are dropped
            row = min(np.int32(first_row + thread // depth_of + i * apart), np.int32(rows - 1))
            row_places[i] = np.int32(row * out_volume)
        positions = images * out_volume
        slices = (positions + depth_of - 1) // depth_of
        k, end = shared_out(slices, split, splits, depth_of, positions)
        tap, left_place = thread // depth_of, thread % depth_of * left_pitch + thread // depth_of
        right_place = thread % depth_of * right_pitch + thread // depth_of
        row, column = place(thread)
        clear(products)
        while k < end:
            e, todo = thread, min(span, end - k)
            while e < todo + ahead:
                d, y_place = np.int64(OUTSIDE), np.int64(-1)
                if k + e < end:
                    n, u_d, u_h, u_w = position(axes, k + e)
                    d, h, w = source(axes, 0, u_d), source(axes, 1, u_h), source(axes, 2, u_w)
                    image = n * cuda.gridDim.y + group
                    store(corners, 4 * e + 1, np.int32(h))
                    store(corners, 4 * e + 2, np.int32(w))
                    store(corners, 4 * e + 3, np.int32(image * channels * volume + (d * in_h + h) * in_w + w))
                    y_place = image * rows * out_volume + (u_d * out_h + u_h) * out_w + u_w
                store(corners, 4 * e, np.int32(d))
                store(y_places, e, np.int32(y_place))
                e += threads
            cuda.syncthreads()
            at, done = thread % depth_of, 0
            fetch(gy, row_places, load(y_places, at), y_values, x, load_vector(corners, 4 * at, 4), size, taps, tap, x_values)
            while done < todo:
                at += depth_of
                turn(0, left, left_place, right, right_place, row, column, products, gy, row_places, load(y_places, at), y_values,
                     x, load_vector(corners, 4 * at, 4), size, taps, tap, x_values)
                at += depth_of
                turn(1, left, left_place, right, right_place, row, column, products, gy, row_places, load(y_places, at), y_values,
                     x, load_vector(corners, 4 * at, 4), size, taps, tap, x_values)
                done += 2 * depth_of
            k += span
        first, at = load(spot, 0) + row, load(spot, 1) + row * columns
        finish(products, 0, out, 0, out, at, columns, places, column, rows - first, columns % vector == 0)

    weight_gradient.__name__ = weight_gradient.__qualname__ = name
    weight_gradient.__doc__ = f"""out[split] = correlation of gy with x by taps; {rows_of} channels x {columns_of} taps a block.

    x (images, groups * channels, in ...), gy (images, groups * rows, out ...), out (splits, groups * rows, channels, k ...).
    Grid: tiles of rows times taps, groups, splits of the positions, each of one slice at least.
    """
    return device_kernel("T* T* T* " + "q " * 22, T=types, threads=threads)(weight_gradient)


# ---- the kernels ---------------------------------------------------------------------------------------------------------

class Tile(NamedTuple):
    """The kernels of one shape of tile; ``cost``: the time that a tile takes, in any unit."""

    rows: int
    columns: int
    depth: int
    threads: int
    cost: float
    convolution: object
    weight_gradient: object


def made(name, shape, efficiency, resident, types, span=256):
    """The ``Tile`` of a shape, its kernels for ``types``; ``efficiency`` is the part of their instructions that multiply.

    ``resident``: blocks that a multiprocessor has room for, which bounds a thread's registers.
    """
    rows, columns, depth = shape[:3]
    kernels = (convolution_kernel(f"convolution_{name}", shape, span, types),
               weight_gradient_kernel(f"weight_gradient_{name}", shape, span, types))
    for kernel in kernels:
        kernel.resident = resident
    return Tile(rows, columns, depth, tile(*shape).threads, rows * columns / efficiency, *kernels)


# Shapes: (rows, columns, depth, height, width, vector) of ``tile``. 3 blocks of 128 threads with up to 168 registers are more
# warps than one of 256 threads, which would need 151; held to 128 registers, of which there would be two, it would spill some.
FLOAT, DOUBLE = ("float32",), ("float64",)
TILES = [made("128", (128, 64, 8, 8, 8, 4), 0.78, 3, FLOAT), made("64", (64, 128, 8, 8, 8, 4), 0.75, 3, FLOAT),
         made("16", (16, 128, 8, 4, 4, 4), 0.48, 3, FLOAT)]
DOUBLE_TILES = [made("double_64", (64, 32, 8, 4, 4, 2), 0.6, 3, DOUBLE), made("double_16", (16, 64, 8, 2, 4, 2), 0.4, 3, DOUBLE)]
