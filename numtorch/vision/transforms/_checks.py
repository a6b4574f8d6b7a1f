"""Checks of arguments that several transforms share; the words are torchvision's."""
import numbers
import warnings
from collections.abc import Sequence

MODES = ("constant", "edge", "reflect", "symmetric")


def pair(size, message="Please provide only two dimensions (h, w) for size."):
    """(height, width) from a number or from one or two numbers."""
    if isinstance(size, numbers.Number):
        return int(size), int(size)
    if isinstance(size, Sequence) and len(size) == 1:
        return size[0], size[0]
    if not isinstance(size, Sequence) or len(size) != 2:
        raise ValueError(message)
    return size


def must_be_sequence(x, name, lengths):
    """TypeError unless ``x`` is a sequence, ValueError unless its length is one of ``lengths``."""
    message = f"{name} should be a sequence of length {' or '.join(map(str, lengths))}."
    if not isinstance(x, Sequence):
        raise TypeError(message)
    if len(x) not in lengths:
        raise ValueError(message)


def angles(x, name, lengths=(2,)):
    """A range of angles as floats: [-x, x] for a number, else the sequence."""
    if isinstance(x, numbers.Number):
        if x < 0:
            raise ValueError(f"If {name} is a single number, it must be positive.")
        return [float(-x), float(x)]
    must_be_sequence(x, name, lengths)
    return [float(v) for v in x]


def filling(fill):
    """The color of new pixels: a number or a sequence; None is 0."""
    if fill is None:
        return 0
    if not isinstance(fill, (Sequence, numbers.Number)):
        raise TypeError("Fill should be either a sequence or a number.")
    return fill


def must_be_in(name, value, low, high):
    """ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{name} ({value}) is not in [{low}, {high}].")


def must_not_be_negative(name, value):
    """ValueError for a negative number."""
    if value < 0:
        raise ValueError(f"{name} ({value}) is not non-negative.")


def check_scale_and_ratio(scale, ratio):
    """TypeError unless both are sequences; a warning, at the line that makes the transform, for a range that is turned round."""
    if not isinstance(scale, Sequence):
        raise TypeError("Scale should be a sequence")
    if not isinstance(ratio, Sequence):
        raise TypeError("Ratio should be a sequence")
    if scale[0] > scale[1] or ratio[0] > ratio[1]:
        warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=3)


def check_border(padding, fill, padding_mode, sequences):
    """Errors for what ``pad`` cannot mean; ``sequences``: whether ``fill`` may have a number for each channel."""
    if not isinstance(padding, (numbers.Number, tuple, list)):
        raise TypeError("Got inappropriate padding arg")
    if fill is not None and not isinstance(fill, (numbers.Number, *((tuple, list) if sequences else ()))):
        raise TypeError("Got inappropriate fill arg")
    if not isinstance(padding_mode, str):
        raise TypeError("Got inappropriate padding_mode arg")
    if isinstance(padding, (tuple, list)) and len(padding) not in (1, 2, 4):
        raise ValueError(f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(padding)} element tuple")
    if padding_mode not in MODES:
        raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")


def sides(padding):
    """(left, right, top, bottom) from one number, [all], [left and right, top and bottom] or [left, top, right, bottom]."""
    p = list(padding) if isinstance(padding, (tuple, list)) else [padding]
    left, top, right, bottom = p * (4 // len(p))
    return left, right, top, bottom
