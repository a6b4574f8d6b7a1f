"""Rows of the poolings; torch is the oracle, ``tests/test_conv.py`` checks nan, ties and infinities."""
from . import I, Row, S, T, V

F = "nn.functional."


def image(*shape, **options):
    return S(T(*shape), **options)


def windows(n):
    """Samples for a pooling of n dimensions: batched and not, strides, padding, ceil_mode, empty batch."""
    size = (6, 5, 4)[:n]
    return [S(T(2, 2, *size), 2), S(T(2, *size), 2, 1), S(T(1, 2, *size), 3, 2, 1), S(T(1, 1, *size), 3, 2, ceil_mode=True),
            S(T(1, 1, *(5, 5, 3)[:n]), (2, 3, 2)[:n], stride=(2, 1, 2)[:n], padding=(1, 0, 1)[:n], ceil_mode=True),
            S(T(0, 2, *size), 2)]


def dilated(n):
    return [S(T(1, 2, *(7, 6, 5)[:n]), 2, 1, dilation=2), S(T(1, 1, *(7, 5, 5)[:n]), 3, stride=2, padding=1, dilation=2),
            S(T(1, 2, *(6, 5, 4)[:n]), 2, return_indices=True), S(T(2, *(6, 5, 4)[:n]), 3, 2, 1, return_indices=True)]


def averages(n):
    return [S(T(1, 2, *(6, 5, 4)[:n]), 3, 2, 1, count_include_pad=False),
            S(T(1, 2, *(6, 5, 4)[:n]), 3, 2, 1, ceil_mode=True, count_include_pad=True)]


def adaptive(n):
    size = (7, 5, 4)[:n]
    return [S(T(2, 2, *size), 3), S(T(2, *size), 1), S(T(1, 1, *size), (4, 5, 6)[:n] if n > 1 else 4), S(T(0, 2, *size), 2)]


def unpool(shape, indices, *args, **options):
    return S(T(*shape), V(indices), *args, **options)


def row(name, samples, **options):
    return Row(F + name, samples, **options)


NOT_2D = (S(T(8, 8), 2), RuntimeError, r"non-empty 3D or 4D \(batch mode\) tensor expected for input")
TOO_SMALL = (S(T(1, 3, 1, 1), 2), RuntimeError,
             r"Given input size: \(3x1x1\). Calculated output size: \(3x0x0\). Output size is too small")
PADDED = (S(T(1, 3, 8, 8), 2, padding=2), RuntimeError, "pad should be at most half of effective kernel size, but got pad=2")

ROWS = [
    row("max_pool1d", windows(1) + dilated(1),
        errors=[(S(T(8), 2), RuntimeError, r"max_pool1d: Expected 2D or 3D \(batch mode\) tensor with optional 0 dim batch"),
                (S(T(1, 3, 1), 2), RuntimeError, r"max_pool1d\(\) Invalid computed output size: 0")]),
    row("max_pool2d", windows(2) + dilated(2) + [S(T(1, 1, 4, 4), 2, 2), S(T(2, 3, 5, 7), 2), S(I(1, 1, 4, 4, high=9), 2)],
        errors=[NOT_2D, TOO_SMALL, PADDED,
                (S(T(1, 3, 8, 8), 2, stride=0), RuntimeError, "stride should not be zero"),
                (S(T(1, 3, 8, 8), (2, 2, 2)), RuntimeError, "max_pool2d: kernel_size must either be a single int, or a tuple of two"),
                (S(T(1, 3, 8, 8), 2, dilation=0), RuntimeError, "dilation should be greater than zero")]),
    row("max_pool3d", windows(3) + dilated(3)),
    row("avg_pool1d", windows(1) + averages(1)),
    row("avg_pool2d", windows(2) + averages(2) + [S(T(1, 2, 5, 5), 2, divisor_override=3), S(I(1, 1, 4, 4, high=9), 2)],
        errors=[TOO_SMALL, PADDED,
                (S(T(1, 3, 8, 8), 2, divisor_override=0), RuntimeError, "divisor must be not zero")]),
    row("avg_pool3d", windows(3) + averages(3) + [S(T(1, 2, 4, 4, 3), 2, divisor_override=3)]),
    row("lp_pool1d", [S(T(1, 2, 6), 2, 2), S(T(1, 2, 6, low=0.5), 3, 3, 2), S(T(2, 5), 2, 2, ceil_mode=True)]),
    row("lp_pool2d", [S(T(1, 2, 6, 5), 2, 2), S(T(2, 6, 5, low=0.5), 3, (3, 2), stride=1)]),
    row("lp_pool3d", [S(T(1, 2, 4, 4, 4), 2, 2)]),
    row("adaptive_avg_pool1d", adaptive(1)),
    row("adaptive_avg_pool2d", adaptive(2) + [S(T(1, 2, 4, 5), (None, 3))],
        errors=[(S(T(1, 3, 8, 8), (3, 3, 3)), RuntimeError, "adaptive_avg_pool2d: output_size must be 2"),
                (S(T(8, 8), (3, 3)), ValueError, "Input dimension should be at least 3")]),
    row("adaptive_avg_pool3d", adaptive(3)),
    row("adaptive_max_pool1d", adaptive(1) + [S(T(1, 2, 7), 3, return_indices=True)]),
    row("adaptive_max_pool2d", adaptive(2) + [S(T(1, 2, 7, 5), 3, return_indices=True), S(T(1, 2, 4, 5), (None, 3))]),
    row("adaptive_max_pool3d", adaptive(3) + [S(T(1, 2, 4, 5, 3), 2, return_indices=True)]),
    row("max_unpool1d", [unpool((1, 1, 2), [[[0, 2]]], 2), unpool((1, 3), [[1, 2, 5]], 2, output_size=(7,))]),
    row("max_unpool2d", [unpool((1, 1, 2, 2), [[[[0, 2], [8, 10]]]], 2), unpool((1, 1, 2), [[[0, 3]]], 2, stride=2),
                         unpool((1, 1, 2, 2), [[[[0, 2], [8, 10]]]], 2, output_size=(5, 4))],
        errors=[(unpool((1, 1, 2, 2), [[[[0, 2], [8, 30]]]], 2), RuntimeError, "Found an invalid max index: 30"),
                (unpool((1, 1, 2, 2), [[[[0, 2], [8, 10]]]], 2, output_size=(9, 9)), ValueError, "invalid output_size")]),
    row("max_unpool3d", [unpool((1, 1, 1, 1, 2), [[[[[0, 3]]]]], 2)]),
]
