"""Rows of the convolutions. torch is the oracle; ``tests/test_conv.py`` has one in NumPy."""
from . import I, Row, S, T

TOL = {"float32": (3e-5, 2e-5)}
TWO = dict(stride=2, padding=1)


def call(x, w, b=None, **options):
    bias = () if b is None else (T(b),)
    return S(T(*x), T(*w), *bias, **options)


ROWS = [
    Row("conv1d", [call((2, 3, 7), (4, 3, 3), 4), call((3, 7), (2, 3, 2)), call((1, 2, 9), (2, 1, 3), 2, stride=2, padding=2, groups=2),
                   call((2, 1, 5), (1, 1, 5)), call((1, 2, 6), (3, 2, 3), padding="same"), call((0, 2, 5), (3, 2, 3), 3),
                   call((1, 2, 8), (2, 2, 3), dilation=2, padding="valid"), call((1, 1, 40), (1, 1, 3)), call((1, 1, 3), (1, 1, 1), stride=3)],
        tol=TOL,
        errors=[(call((8,), (6, 3, 5)), RuntimeError, r"Expected 2D \(unbatched\) or 3D \(batched\) input to conv1d, but got"),
                (call((1, 3, 2), (6, 3, 5)), RuntimeError, r"Calculated padded input size per channel: \(2\). Kernel size: \(5\)")]),
    Row("conv2d", [call((2, 3, 5, 6), (4, 3, 3, 2), 4), call((3, 5, 5), (2, 3, 3, 3), 2), call((2, 2, 6, 5), (4, 1, 3, 3), 4, groups=2, **TWO),
                   call((1, 1, 7, 7), (2, 1, 3, 3), stride=(2, 3), padding=(2, 0), dilation=(1, 2)),
                   call((1, 3, 4, 4), (3, 1, 3, 3), 3, groups=3, padding="same"), call((2, 2, 4, 4), (5, 2, 1, 1), 5),
                   call((1, 1, 5, 5), (1, 1, 2, 2), stride=3), call((0, 1, 4, 4), (2, 1, 3, 3), 2),
                   call((1, 2, 4, 4), (13, 2, 2, 2), 13, padding=1), S(I(1, 2, 4, 4), I(3, 2, 2, 2))],
        tol=TOL, also=("float16", "bfloat16"),
        errors=[(call((1, 1, 32, 32), (6, 3, 5, 5)), RuntimeError,
                 r"Given groups=1, weight of size \[6, 3, 5, 5\], expected input\[1, 1, 32, 32\] to have 3 channels, but got 1 channels"),
                (call((1, 3, 2, 2), (6, 3, 5, 5)), RuntimeError, r"Calculated padded input size per channel: \(2 x 2\). "
                 r"Kernel size: \(5 x 5\). Kernel size can't be greater than actual input size"),
                (call((3, 8), (6, 3, 5, 5)), RuntimeError, r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d"),
                (call((1, 3, 8, 8), (6, 3, 5, 5), 5), RuntimeError, "expected bias to be 1-dimensional with 6 elements"),
                (call((1, 3, 8, 8), (6, 3, 5, 5), stride=0), RuntimeError, "non-positive stride is not supported"),
                (call((1, 3, 8, 8), (6, 3, 5, 5), padding=-1), RuntimeError, "negative padding is not supported"),
                (call((1, 3, 8, 8), (6, 3, 5, 5), dilation=0), RuntimeError, "non-positive dilation is not supported"),
                (call((1, 4, 8, 8), (5, 2, 5, 5), groups=2), RuntimeError, "expected weight to be divisible by 2 at dimension 0"),
                (call((1, 4, 8, 8), (6, 2, 5, 5), groups=0), RuntimeError, "non-positive groups is not supported"),
                (call((1, 3, 8, 8), (6, 3, 5, 5), padding="same", stride=2), RuntimeError, "padding='same' is not supported for strided"),
                (call((1, 3, 8, 8), (6, 3, 5, 5), padding="sam"), RuntimeError, "Invalid padding string: 'sam'"),
                (call((1, 3, 8, 8), (6, 3, 5, 5), stride=(1, 2, 3)), RuntimeError, "expected stride to be a single integer value or a list"),
                (S(T(1, 3, 8, 8), I(6, 3, 5, 5)), RuntimeError, "Input type .* and weight type .* should be the same")]),
    Row("conv3d", [call((1, 2, 3, 4, 3), (2, 2, 2, 2, 2), 2), call((2, 3, 3, 3), (2, 2, 3, 1, 2), 2, padding=1, stride=(2, 1, 1)),
                   call((1, 2, 4, 3, 3), (2, 1, 2, 2, 2), dilation=(2, 1, 1), groups=2, padding=(0, 1, 0))], tol=TOL),
    Row("conv_transpose1d", [call((2, 3, 4), (3, 2, 3), 2), call((2, 5), (2, 2, 3), stride=2, output_padding=1),
                             call((1, 2, 4), (2, 1, 3), 2, groups=2, stride=3, dilation=2, padding=1)], tol=TOL),
    Row("conv_transpose2d", [call((2, 3, 3, 4), (3, 2, 3, 2), 2), call((2, 3, 3), (2, 3, 3, 3), **TWO),
                             call((1, 4, 3, 2), (4, 2, 3, 3), 4, groups=2, output_padding=1, **TWO),
                             call((1, 1, 3, 3), (1, 2, 1, 1), 2, stride=3, output_padding=2), call((0, 2, 3, 3), (2, 1, 2, 2), 1)],
        tol=TOL,
        errors=[(call((1, 4, 8, 8), (3, 6, 5, 5)), RuntimeError, r"Given transposed=1, weight of size \[3, 6, 5, 5\], expected input"),
                (call((1, 3, 8, 8), (3, 6, 5, 5), output_padding=1), RuntimeError, "output padding must be smaller than either stride"),
                (call((1, 3, 8, 8), (3, 6, 5, 5), stride=2, output_padding=-1), RuntimeError, "negative output_padding is not supported"),
                (call((3, 8, 8), (3, 6, 5, 5), 5), RuntimeError, "expected bias to be 1-dimensional with 6 elements")]),
    Row("conv_transpose3d", [call((1, 2, 2, 2, 2), (2, 2, 2, 2, 2), 2), call((1, 2, 2, 3, 2), (2, 1, 2, 1, 3), 2, groups=2, stride=(2, 1, 2),
                                                                             output_padding=(1, 0, 1))], tol=TOL),
]
