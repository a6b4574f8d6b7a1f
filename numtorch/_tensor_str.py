"""Printing: ``repr`` of tensors, equal to torch's to the character, and the print options.

A tensor is printed in three steps: ``_shown`` picks the elements that appear (only those are ever looked at,
so printing a large tensor costs what printing a small one does), ``_real_cells`` decides on one number format and
width for all of them, and ``_layout`` arranges the cells in nested, wrapped brackets.
"""
import contextlib
import math

import numpy as np

from . import dtypes as D
from .devices import get_default_device


class _Options:
    """What ``set_printoptions`` sets."""

    __slots__ = ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")

    def __init__(self):
        self.precision, self.threshold, self.edgeitems, self.linewidth, self.sci_mode = 4, 1000, 3, 80, None


_options = _Options()
_profiles = {"default": (4, 1000, 3, 80), "short": (2, 1000, 2, 80), "full": (4, math.inf, 3, 80)}


def set_printoptions(precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None,
                     sci_mode=None):
    """Sets how tensors are printed; what is left None stays, except that ``sci_mode`` goes back to
    automatic.

    Args:
        precision: digits after the point (4).
        threshold: a tensor of more elements is summarised (1000).
        edgeitems: elements shown at each end of a summarised dimension (3).
        linewidth: characters in a line (80).
        profile: ``"default"``, ``"short"`` or ``"full"`` sets all four; the other arguments override it.
        sci_mode: True or False forces or forbids scientific notation; None decides by the values.

    >>> import numtorch as torch
    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.set_printoptions(profile="default")
    """
    if profile in _profiles:
        _options.precision, _options.threshold, _options.edgeitems, _options.linewidth = _profiles[profile]
    elif profile is not None:
        raise ValueError(f"set_printoptions(): profile must be 'default', 'short' or 'full', but got "
                         f"{profile!r}")
    for name, value in (("precision", precision), ("threshold", threshold), ("edgeitems", edgeitems),
                        ("linewidth", linewidth)):
        if value is not None:
            setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions():
    """The print options as a dict that ``set_printoptions(**options)`` takes back."""
    return {name: getattr(_options, name) for name in _Options.__slots__}


@contextlib.contextmanager
def printoptions(**options):
    """Print options (those of ``set_printoptions``) that hold inside a ``with`` block."""
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


# ---- one format for all cells --------------------------------------------------------------------

def _number_format(shown):
    """The format string and width that all elements of ``shown`` (a float64 array) get, and whether they are
    integers.

    Width and notation follow the finite nonzero elements alone: zeros, inf and nan are at most padded to it.
    """
    values = shown[np.isfinite(shown) & (shown != 0)]
    if values.size == 0:
        return "{:.0f}", 1, True
    magnitudes = np.abs(values)
    low, high = magnitudes.min(), magnitudes.max()
    integral = bool((values == np.ceil(values)).all())
    scientific = _options.sci_mode
    if scientific is None:
        with np.errstate(over="ignore"):                # 1e300 / 1e-300: inf is also more than 1000
            scientific = bool(high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4)
    if scientific:
        template, integral, extra = f"{{:.{_options.precision}e}}", False, 0
    elif integral:
        template, extra = "{:.0f}", 1                   # the point that marks a float
    else:
        template, extra = f"{{:.{_options.precision}f}}", 0
    return template, max(1, max(map(len, map(template.format, values.tolist()))) + extra), integral


def _real_cells(shown):
    """The strings of a real array's elements, all padded to one width, and that width."""
    if shown.dtype.kind not in "biu":
        shown = shown.astype(np.float64)                # the halves as well; exact
        template, width, integral = _number_format(shown)
        texts = [template.format(value) for value in shown.tolist()]
        if integral:
            texts = [t if t[-1] in "fn" else t + "." for t in texts]
    else:
        texts = [str(value) for value in shown.tolist()]
        width = max(map(len, texts), default=1)
    return [t.rjust(width) for t in texts], width


def _complex_cells(shown):
    """As ``_real_cells`` for a complex array: the real parts share one format and width, the imaginary parts
    another."""
    real, real_width = _real_cells(shown.real)
    imag, imag_width = _real_cells(shown.imag)
    cells = []
    for r, i in zip(real, imag):
        i = i.lstrip()
        cells.append(f"{r}{i}j" if i[0] in "+-" else f"{r}+{i}j")
    return cells, real_width + imag_width + 1


# ---- the elements that are shown, and their arrangement ------------------------------------------

def _shown(a, edge):
    """The elements of ``a`` at the ends of every dimension, without a look at the rest."""
    for d, n in enumerate(a.shape):
        if n > 2 * edge:
            a = np.moveaxis(a, d, 0)
            a = np.moveaxis(np.concatenate([a[:edge], a[n - edge:]]), 0, d)
    return a


def _layout(cells, shape, full, width, indent, edge):
    """Nested brackets round the ``cells`` (an iterator) of an array of ``shape``, of which ``full`` is the
    size before
    summarising: a dimension that shrank gets an ellipsis between its two ends."""
    cut = shape[0] != full[0]
    if len(shape) == 1:
        items = [next(cells) for _ in range(shape[0])]
        if cut:
            items.insert(edge, " ..." if edge else "...")
        per_line = max(1, math.floor((_options.linewidth - indent) / (width + 2)))
        lines = [", ".join(items[i:i + per_line]) for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    blocks = [_layout(cells, shape[1:], full[1:], width, indent + 1, edge) for _ in range(shape[0])]
    if cut:
        blocks.insert(edge, "...")
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(blocks) + "]"


def _contents(a, indent):
    """The numbers of a non-empty array, in brackets."""
    edge = _options.edgeitems
    shown = _shown(a, edge) if a.ndim and a.size > _options.threshold else a
    if type(a) is not np.ndarray:
        shown = shown.on_host()
    make = _complex_cells if a.dtype.kind == "c" else _real_cells
    cells, width = make(shown.reshape(-1))
    if a.ndim == 0:
        return cells[0]
    return _layout(iter(cells), shown.shape, a.shape, width, indent, edge)


# ---- the whole repr ------------------------------------------------------------------------------

def _is_numtorchs(cls, name):
    return cls.__name__ == name and cls.__module__.partition(".")[0] == "numtorch"


def tensor_repr(t, *, tensor_contents=None):
    """``repr(t)``: contents, then those of device, size, dtype, grad_fn, requires_grad that are not what
    they usually are.

    Args:
        t: a tensor or an object of a subclass, which is printed under its own name.
        tensor_contents: text to print in place of the numbers.

    Returns:
        A string such as ``tensor([1., 2.], grad_fn=<MulBackward0>)``.
    """
    cls, a, dtype, default = type(t), t._a, t.dtype, D.get_default_dtype()
    plain = _is_numtorchs(cls, "Tensor") or _is_numtorchs(cls, "Parameter")
    prefix = "tensor(" if plain else cls.__name__ + "("
    suffixes = []
    if t.device != get_default_device():
        suffixes.append(f"device='{t.device}'")
    if a.size == 0:
        if a.ndim != 1:
            suffixes.append(f"size={tuple(a.shape)}")
        if dtype is not default:                        # there is no element to tell it from
            suffixes.append(f"dtype={dtype}")
        contents = "[]"
    else:
        if not _options.edgeitems:
            suffixes.append(f"size={tuple(a.shape)}")
        if dtype not in (default, default.to_complex(), D.int64, D.bool):
            suffixes.append(f"dtype={dtype}")
        contents = None
    if tensor_contents is not None:
        contents = tensor_contents
    elif contents is None:
        contents = _contents(a, len(prefix))
    grad_fn = t.grad_fn
    if grad_fn is not None:
        suffixes.append(f"grad_fn=<{type(grad_fn).__name__}>")
    elif t.requires_grad:
        suffixes.append("requires_grad=True")
    text = _with_suffixes(prefix + contents, suffixes, len(prefix))
    if not plain and any(_is_numtorchs(base, "Parameter") for base in cls.__mro__):
        return f"Parameter({text})"
    return text


def _with_suffixes(text, suffixes, indent):
    """Appends each suffix to the last line, or on a new one where the line would become too long."""
    # torch's count, one more than the characters in the line
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if column + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            column = indent + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"


def tensor_format(t, spec):
    """``format(t, spec)``: a 0-dim tensor formats as its number, any other tensor as an object (an empty
    spec only)."""
    if t._a.ndim == 0 and type(t).__name__ == "Tensor":
        return format(t.item(), spec)
    return object.__format__(t, spec)
