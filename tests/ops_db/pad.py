"""Rows of padding, unfolding, shuffling and resampling; torch is the oracle."""
from . import B, I, Row, S, T

F = "nn.functional."


def row(name, samples, **options):
    return Row(F + name, samples, **options)


def both(mode, *shapes_and_pads):
    return [S(T(*shape), pad, mode=mode) for shape, pad in shapes_and_pads]


LAYOUTS = [((2, 3, 5), (1, 2)), ((3, 5), (2, 0)), ((1, 2, 4, 5), (1, 2, 3, 0)), ((2, 4, 5), (0, 1, 1, 1)),
           ((1, 2, 3, 4, 3), (1, 0, 2, 1, 0, 2)), ((2, 3, 4, 3), (1, 1, 1, 1, 1, 1)), ((1, 2, 4, 5), (-1, 1, 2, -1))]
LINES = [(3,), (4, 4)]


def image(*shape, **options):
    return S(T(*shape), **options)


def modes(n):
    """Samples of interpolate for n spatial dimensions."""
    size, new = (5, 4, 3)[:n], (7, 2, 5)[:n]
    linear = {1: ["linear"], 2: ["bilinear", "bicubic"], 3: ["trilinear"]}[n]
    found = [S(T(2, 2, *size), size=new, mode=m) for m in ["nearest", "nearest-exact", "area", *linear]]
    found += [S(T(1, 2, *size), scale_factor=f, mode=m) for f in (2, 0.6) for m in ["nearest", "nearest-exact", *linear]]
    found += [S(T(1, 2, *size), size=new, mode=m, align_corners=True) for m in linear]
    found += [S(T(1, 1, *size), scale_factor=1.7, mode=m, recompute_scale_factor=True) for m in linear]
    found += [S(T(1, 1, *size), size=1, mode=m, align_corners=True) for m in linear]
    return found


def grid(*shape):
    return T(*shape, low=-1.3, high=1.3)


GRIDS = [S(T(2, 2, 4, 5), grid(2, 3, 2, 2), mode=m, padding_mode=p, align_corners=a)
         for m in ("bilinear", "nearest", "bicubic") for p in ("zeros", "border", "reflection") for a in (True, False)]
GRIDS += [S(T(1, 2, 3, 4, 3), grid(1, 2, 2, 2, 3), mode=m, padding_mode=p, align_corners=False)
          for m in ("bilinear", "nearest") for p in ("zeros", "border", "reflection")]

ROWS = [
    row("pad", [S(T(2, 3), (1, 2)), S(T(2, 3), (1, 2, 0, 1), value=2.5), S(T(1, 2, 3), (-1, 1, 1, -1)), S(T(3), (0, 0)),
                S(I(2, 3), (1, 1), value=7), S(B(2, 2), (1, 0)), S(T(0, 3), (1, 1)), S(T(2, 2, 2), (0, 0, 0, 0, 1, 1)),
                S(T(2, 3), [1, 1], "constant", 3.0)]
        + both("reflect", *LAYOUTS[:6]) + both("replicate", *LAYOUTS) + both("circular", *LAYOUTS[:6]),
        errors=[(S(T(1, 3, 5, 5), (1, 1, 2)), RuntimeError, "Padding length must be divisible by 2"),
                (S(T(1, 3, 5, 5), (1, 1, -3, -3)), RuntimeError, r"narrow\(\): length must be non-negative"),
                (S(T(3, 5), (1, 1, 2, 2, 2, 2)), RuntimeError, "Padding length should be less than or equal to two times"),
                (S(T(1, 3, 5, 5), (5, 1, 2, 2), mode="reflect"), RuntimeError,
                 r"Argument #4: Padding size should be less than the corresponding input dimension, but got: padding \(5, 1\) at "
                 r"dimension 3 of input \[1, 3, 5, 5\]"),
                (S(T(1, 3, 5, 5), (6, 1, 2, 2), mode="circular"), RuntimeError, "Padding value causes wrapping around more than"),
                (S(T(1, 3, 5, 5), (1, 1, 2, 2), mode="circularx"), NotImplementedError, "Unrecognised padding mode circularx"),
                (S(T(1, 3, 5, 5), (1, 1), mode="reflect"), NotImplementedError, "Padding size 2 is not supported for 4D input"),
                (S(T(1, 3, 5, 5), (1, 1, 2, 2), mode="reflect", value=1), RuntimeError, "doesn't take in value argument")]),
    row("unfold", [S(T(2, 3, 5, 4), 2), S(T(3, 5, 4), (2, 3)), S(T(1, 2, 7, 6), (3, 2), dilation=2, padding=1, stride=(2, 1)),
                   S(T(0, 2, 4, 4), 2)],
        errors=[(S(T(1, 3, 1, 1), 2), RuntimeError, "calculated shape of the array of sliding blocks as")]),
    row("fold", [S(T(2, 12, 12), (5, 4), 2), S(T(12, 12), (5, 4), (2, 2)),
                 S(T(1, 12, 9), (7, 6), (3, 2), dilation=2, padding=1, stride=(2, 2))],
        errors=[(S(T(1, 12, 15), (5, 5), 2), RuntimeError, "expected size of input's dimension 2 to match the calculated number"),
                (S(T(1, 11, 16), (5, 5), 2), RuntimeError, "Expected size of input's dimension 1 to be divisible by")]),
    row("pixel_shuffle", [S(T(2, 8, 2, 3), 2), S(T(9, 2, 1), 3)],
        errors=[(S(T(1, 3, 5, 5), 2), RuntimeError, r"but input.size\(-3\)=3 is not divisible by 4")]),
    row("pixel_unshuffle", [S(T(2, 2, 4, 6), 2), S(T(1, 3, 3), 3)],
        errors=[(S(T(1, 4, 5, 6), 2), RuntimeError, "pixel_unshuffle expects height to be divisible by downscale_factor")]),
    row("channel_shuffle", [S(T(2, 6, 2, 2), 3), S(T(1, 4, 3), 2)], torch="channel_shuffle"),
    row("interpolate", modes(1) + modes(2) + modes(3) + [
        S(T(1, 2, 7, 6), size=(3, 4), mode=m, antialias=True) for m in ("bilinear", "bicubic", "lanczos")] + [
        S(T(1, 1, 3, 4), scale_factor=(2, 0.5), mode="bilinear", antialias=True), S(I(1, 1, 4, 4, dtype="uint8"), scale_factor=2)],
        tol={"float32": (5e-5, 2e-5)},
        errors=[(image(1, 3, 5, 5, scale_factor=2, mode="linear"), NotImplementedError, "Got 4D input, but linear mode needs 3D input"),
                (image(1, 3, 5, 5, size=3, mode="foo"), NotImplementedError, r"\(got foo\)"),
                (image(1, 3, 5, 5), ValueError, "either size or scale_factor should be defined"),
                (image(1, 3, 5, 5, size=3, scale_factor=2), ValueError, "only one of size or scale_factor should be defined"),
                (image(1, 3, 5, 5, size=(3, 3, 3)), ValueError, "Input and output must have the same number of spatial dimensions"),
                (image(1, 3, 5, 5, scale_factor=(3, 3, 3)), ValueError, "Input and scale_factor must have the same number"),
                (image(1, 3, 5, 5, size=3, align_corners=True), ValueError, "align_corners option can only be set with"),
                (image(1, 3, 5, 5, size=3, antialias=True), ValueError, "Anti-alias option is restricted to"),
                (image(1, 3, 5, 5, size=3, recompute_scale_factor=True), ValueError, "recompute_scale_factor is not meaningful"),
                (image(3, 5, size=3), NotImplementedError, r"\(got 2D\)"),
                (image(1, 3, 5, 5, size=0), RuntimeError, "Input and output sizes should be greater than 0")]),
    row("grid_sample", GRIDS, gradgrad=False, tol={"float32": (1e-4, 5e-5)},
        errors=[(S(T(1, 1, 2, 2), T(1, 2, 2, 2), mode="cubic"), ValueError, "expected mode to be 'bilinear', 'nearest' or 'bicubic'"),
                (S(T(1, 1, 2, 2), T(2, 2, 2, 2), align_corners=False), RuntimeError, "same batch size"),
                (S(T(1, 1, 2, 2), T(1, 2, 2, 3), align_corners=False), RuntimeError, "expected grid to have size 2 in last")]),
    row("affine_grid", [S(T(2, 2, 3), (2, 1, 3, 4), align_corners=a) for a in (True, False)]
        + [S(T(1, 3, 4), (1, 1, 2, 3, 2), align_corners=a) for a in (True, False)],
        errors=[(S(T(2, 3, 3), (2, 1, 3, 4), align_corners=False), ValueError, "Expected a batch of 2D affine matrices")]),
]
