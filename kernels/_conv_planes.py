"""What the convolution kernels share: the plan of a convolution, and the padded planes that its tasks read.

A task copies the part of the image that its block of outputs sees into planes, split by phase where there is a stride; then
one tap of a whole block of output positions is one contiguous shifted row. Along one axis source = u * step + shift[tap]
with u the output index:

- forward and weight gradient: step = stride, shift = tap * dilation - padding;
- input gradient: for each phase a = index mod stride, the taps with (a + padding - tap * dilation) divisible by stride, step 1,
  shift = that quotient; the weight is read transposed.
"""
from functools import lru_cache
from itertools import product as pairs
from typing import NamedTuple

import numpy as np

from ._jit import function, get_num_threads
from ._tile import SLACK, TAPS, clear, copy_run

CACHE_ELEMENTS = 1 << 17        # elements of a task's planes: 512 KB of float32, half of the second-level cache
BLOCK_WIDTH = 512               # output columns of a task at most
BLOCK_POSITIONS = 256           # output positions of a task at least, if there are so many

# Fields of the geometry vector that kernels get: one small array is cheaper to pass than twenty numbers.
(GROUPS, CHANNELS, ROWS, DEPTH_STEP, HEIGHT_STEP, WIDTH_STEP, OUT_DEPTH, OUT_HEIGHT, OUT_WIDTH, BLOCK_H, BLOCK_W,
 PLANE_H, PLANE_W, START_D, START_H, START_W, STRIDE_D, STRIDE_H, STRIDE_W, W_GROUP, W_ROW, HAS_BIAS, IMAGES,
 IN_DEPTH, IN_HEIGHT, IN_WIDTH, FULL_DEPTH, FULL_HEIGHT, FULL_WIDTH, DEPTHS, PHASES, COUNT, PARTS) = range(33)
FIELDS = 33


class Plan(NamedTuple):
    """Tables of one convolution: see the module's text."""

    geometry: np.ndarray        # the fields above
    depths: np.ndarray          # shift of each depth tap
    origins: np.ndarray         # (planes, 2): first source row and column of each phase
    starts: np.ndarray          # start of (channel, tap) in the planes, padded to a multiple of TAPS with the last one
    taps: np.ndarray            # element of the weight that belongs to it, relative to the group's and row's first


def _phases(shifts, step):
    """Origins of the planes of one axis, and for each shift its (plane, offset): shift = origin + offset * step."""
    low = min(shifts)
    used = sorted({(s - low) % step for s in shifts})
    places = [(used.index((s - low) % step), (s - low) // step) for s in shifts]
    return [low + phase for phase in used], places


def _blocks(planes, halo, out_height, out_width, tasks):
    """Rows and columns of outputs per task, so that its planes stay in cache and all threads have work."""
    width = min(out_width, BLOCK_WIDTH)
    pitch = width + halo[1]
    height = CACHE_ELEMENTS // (planes * pitch) - halo[0]
    height = max(height, -(-BLOCK_POSITIONS // pitch))
    threads = get_num_threads()
    if 4 * threads * -(-tasks // threads) > 5 * tasks:      # threads would wait for the last one
        height = min(height, -(-out_height // threads))
    height = max(1, min(height, out_height))
    return -(-out_height // -(-out_height // height)), width


def _plan(images, groups, channels, rows, weight_strides, axes, source, full, kernel, has_bias, threads):
    """A Plan. An axis is (step, shift of each tap used, index of each tap used, outputs, first output, output stride)."""
    steps, shifts, chosen, out, start, stride = zip(*axes)
    (origin_h, place_h), (origin_w, place_w) = (_phases(shifts[i], steps[i]) for i in (1, 2))
    halo = [max(offset for _, offset in places) for places in (place_h, place_w)]
    planes = len(origin_h) * len(origin_w)
    block_h, block_w = _blocks(channels * len(shifts[0]) * planes, halo, out[1], out[2], images * groups * out[0])
    pitch = block_w + halo[1]
    plane = (block_h + halo[0]) * pitch
    in_row = [phase * plane + offset for phase, offset in place_w]
    in_column = [phase * len(origin_w) * plane + offset * pitch for phase, offset in place_h]
    by_depth = np.arange(channels * len(shifts[0])) * (planes * plane)
    starts = np.add.outer(by_depth, np.add.outer(in_column, in_row)).ravel()
    in_kernel = np.add.outer(np.multiply(chosen[1], kernel[2]), chosen[2])
    taps = np.add.outer(np.arange(channels) * weight_strides[2],
                        np.add.outer(np.multiply(chosen[0], kernel[1] * kernel[2]), in_kernel)).ravel()
    sizes = len(shifts[0]), planes, starts.size, threads
    starts = np.append(starts, np.repeat(starts[-1:], -starts.size % TAPS))
    geometry = np.array([groups, channels, rows, *steps, *out, block_h, block_w, block_h + halo[0], pitch, *start, *stride,
                         *weight_strides[:2], has_bias, images, *source, *full, *sizes])
    return Plan(geometry, np.array(shifts[0]), np.array(list(pairs(origin_h, origin_w))).ravel(), starts, taps)


@lru_cache(512)
def forward_plan(images, channels, rows, kernel, source, out, stride, padding, dilation, groups, has_bias, threads):
    """The plan of a convolution's forward, and of its weight's gradient. All but images and numbers are triples."""
    volume = kernel[0] * kernel[1] * kernel[2]
    axes = [(s, [t * d - p for t in range(k)], range(k), o, 0, 1)
            for k, o, s, p, d in zip(kernel, out, stride, padding, dilation)]
    strides = rows * channels * volume, channels * volume, volume
    return _plan(images, groups, channels, rows, strides, axes, source, out, kernel, has_bias, threads)


@lru_cache(512)
def input_plans(images, channels, rows, kernel, source, out, stride, padding, dilation, groups, has_bias, threads):
    """One plan for each phase of the input (here ``out``); None for a phase that no tap reaches."""
    axes = []
    for k, size, s, p, d in zip(kernel, out, stride, padding, dilation):
        phases = []
        for a in range(min(s, size)):
            taps = [t for t in range(k) if (a + p - t * d) % s == 0]
            phases.append((1, [(a + p - t * d) // s for t in taps], taps, -(-(size - a) // s), a, s))
        axes.append(phases)
    volume = kernel[0] * kernel[1] * kernel[2]
    strides = rows * channels * volume, volume, rows * volume
    return [_plan(images, groups, channels, rows, strides, phases, source, out, kernel, has_bias, threads)
            if all(taps for _, _, taps, *_ in phases) else None for phases in pairs(*axes)]


# ---- in kernels --------------------------------------------------------------------------------------------------------

@function(inline="always")
def fill_planes(x, image, depth, row, column, geometry, depths, origins, planes, at):
    """Copies what one block of outputs sees of the channels from element ``image`` of x on, into ``planes`` from ``at`` on.

    Outside the image the planes are 0. One read of the block and its halo, one write.
    """
    height, width, step_h, step_w = geometry[PLANE_H], geometry[PLANE_W], geometry[HEIGHT_STEP], geometry[WIDTH_STEP]
    d_max, h_max, w_max = geometry[IN_DEPTH], geometry[IN_HEIGHT], geometry[IN_WIDTH]
    run, zero = SLACK * 4 // planes.itemsize, planes.dtype.type(0)
    for c in range(geometry[CHANNELS]):
        for tap in range(geometry[DEPTHS]):
            d = depth * geometry[DEPTH_STEP] + depths[tap]
            for p in range(geometry[PHASES]):
                h0, w0 = row * step_h + origins[2 * p], column * step_w + origins[2 * p + 1]
                top, bottom = max(0, -(h0 // step_h)), min(height, -((h0 - h_max) // step_h))
                first, last = max(0, -(w0 // step_w)), min(width, -((w0 - w_max) // step_w))
                if d < 0 or d >= d_max:
                    bottom = top
                if (bottom - top) * (last - first) < height * width:
                    clear(planes, at, height * width)
                source = image + ((c * d_max + d) * h_max + h0) * w_max + w0
                for r in range(top, bottom):
                    if step_w == 1:
                        for j in range(first, last, run):
                            copy_run(x, source + r * step_h * w_max + j, planes, at + r * width + j, min(run, last - j), zero)
                    else:
                        for j in range(first, last):
                            planes[at + r * width + j] = x[source + r * step_h * w_max + j * step_w]
                at += height * width


@function(inline="always")
def place(block, geometry):
    """The image and group (as one number), output depth, first row and first column of a block of outputs."""
    blocks_w = -(-geometry[OUT_WIDTH] // geometry[BLOCK_W])
    blocks_h = -(-geometry[OUT_HEIGHT] // geometry[BLOCK_H])
    rest, column = block // blocks_w, block % blocks_w * geometry[BLOCK_W]
    rest, row = rest // blocks_h, rest % blocks_h * geometry[BLOCK_H]
    return rest // geometry[OUT_DEPTH], rest % geometry[OUT_DEPTH], row, column
