"""Scalar formula -> CUDA kernel over arrays of any layout, generated for each formula and list of dtypes when first needed.

``flat`` serves arrays that lie alike and without gaps: a thread moves 16 bytes of the widest of them, in one access each. All
else goes to ``strided``, which computes each array's place from the indices of 2, 3 or 5 dimensions; those that every array
walks as one are merged first, so that more are rare. Any input may be a number instead, an argument of the kernel.
"""
import linecache
from functools import lru_cache

import numpy as np

from . import _cuda, _driver, pointwise
from ._cuda import DeviceKernel, apart, blocks, computed_in
from ._cuda_places import MOST, division, quotient
from ._device import DeviceArray, empty

THREADS = 256
NUMBER, ELEMENT, ARRAY = 0, 1, 2        # what an input is: an argument, one element in memory, elements in memory
_made = {}                              # (formula, names, dimensions) -> DeviceKernel
_LETTER = {"bool": "?", "int8": "b", "uint8": "B", "int16": "h", "int32": "i", "int64": "q", "float32": "f", "float64": "d",
           "float16": "e", "bfloat16": "E", "complex64": "F", "complex128": "D"}
_PARTS = {"complex64": "f", "complex128": "d"}


def _number_words(name):
    """The arguments that hold a number of a dtype: two for a complex one, an integer for a bool."""
    if name in _PARTS:
        return (_PARTS[name],) * 2
    return ("B",) if name == "bool" else (_LETTER[computed_in(name)],)


def _number(k, name):
    """The expression that makes input ``k`` of these arguments."""
    if name in _PARTS:
        return f"complex(v{k}, w{k})"
    return f"v{k} != 0" if name == "bool" else f"v{k}"


def _number_arguments(k, name):
    return [f"v{k}", f"w{k}"] if name in _PARTS else [f"v{k}"]


def flat_source(formula, names):
    """The text of the kernel for arrays without gaps, and its signature."""
    ins, per = range(len(names) - 1), vector(names)
    arguments, words = [], []
    for k in ins:
        arguments += [f"x{k}", f"m{k}", *_number_arguments(k, names[k])]
        words += [_LETTER[names[k]] + "*", "q", *_number_words(names[k])]
    lines = [f"def {formula}_flat({', '.join([*arguments, 'out', 'n'])}):",
             f'    """out[i] = {formula}(...) on {", ".join(names)}, {per} elements a thread."""',
             f"    i = (cuda.blockIdx.x * {THREADS} + cuda.threadIdx.x) * {per}",
             "    if i >= n:", "        return"]
    for k in ins:
        lines += [f"    c{k} = {_number(k, names[k])}", f"    if m{k} == {ELEMENT}:", f"        c{k} = load(x{k}, 0)"]
    lines += [f"    if i + {per} <= n:"]
    for k in ins:
        lines += [f"        a{k} = load_vector(x{k}, i, {per}) if m{k} == {ARRAY} else ({f'c{k}, ' * per})"]
    values = [f"f({', '.join(f'a{k}[{j}]' for k in ins)})" for j in range(per)]
    lines += [f"        store_vector(out, i, ({', '.join(values)},))", "    else:", "        for j in range(i, n):"]
    one = ", ".join(f"load(x{k}, j) if m{k} == {ARRAY} else c{k}" for k in ins)
    lines += [f"            store(out, j, f({one}))"]
    return "\n".join(lines) + "\n", " ".join([*words, _LETTER[names[-1]] + "*", "q"])


def strided_source(formula, names, dims):
    """The text of the kernel for arrays of any layout with up to ``dims`` dimensions, and its signature."""
    ins, axes = range(len(names) - 1), range(dims)
    arguments, words = [], []
    for k in ins:
        arguments += [f"x{k}", f"m{k}", *_number_arguments(k, names[k]), *(f"s{k}_{d}" for d in axes)]
        words += [_LETTER[names[k]] + "~", "q", *_number_words(names[k]), *("q" for d in axes)]
    arguments += ["out", *(f"so_{d}" for d in axes), *(f"{letter}{d}" for d in axes[1:] for letter in "nfh"), "n"]
    words += [_LETTER[names[-1]] + "~", *("q" for d in axes), *("I" for d in axes[1:] for _ in "nfh"), "I"]
    lines = [f"def {formula}_strided({', '.join(arguments)}):",
             f'    """out[i0, i1 ...] = {formula}(...) on {", ".join(names)}, {dims} dimensions, one element a thread."""',
             f"    rest = np.uint32(cuda.blockIdx.x * {THREADS} + cuda.threadIdx.x)", "    if rest >= n:", "        return"]
    for d in reversed(axes[1:]):
        lines += [f"    above = quotient(rest, f{d}, h{d})", f"    i{d} = np.int64(np.uint32(rest - above * n{d}))",
                  "    rest = above"]
    lines += ["    i0 = np.int64(rest)"]
    for k in ins:
        place = " + ".join(f"i{d} * s{k}_{d}" for d in axes)
        lines += [f"    c{k} = {_number(k, names[k])}", f"    if m{k}:", f"        c{k} = load(x{k}, {place})"]
    lines += [f"    store(out, {' + '.join(f'i{d} * so_{d}' for d in axes)}, f({', '.join(f'c{k}' for k in ins)}))"]
    return "\n".join(lines) + "\n", " ".join(words)


@lru_cache(None)
def vector(names):
    """How many elements a thread of ``flat`` handles: 16 bytes of the widest dtype."""
    return max(1, 16 // max(np.dtype(_LETTER[n]).itemsize if n != "bfloat16" else 2 for n in names))


def kernel(formula, names, dims=0):
    """The kernel of ``formula`` (a name in pointwise.py) on dtypes ``names`` (output last); ``dims`` 0 is ``flat``."""
    found = _made.get((formula, names, dims))
    if found is None:
        text, signature = strided_source(formula, names, dims) if dims else flat_source(formula, names)
        short = "_".join(dict.fromkeys(names))
        file = f"<CUDA kernel {formula} {short} {dims}>"
        namespace = {"f": getattr(pointwise, formula), "np": np, "quotient": quotient, "__name__": __name__}
        namespace.update({name: getattr(_cuda, name) for name in _cuda.NAMES})
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        exec(compile(text, file, "exec"), namespace)
        fn = namespace[f"{formula}_{'strided' if dims else 'flat'}"]
        fn.__name__ = fn.__qualname__ = f"{formula}_{short}_{dims}"
        found = _made[formula, names, dims] = DeviceKernel(fn, signature, (), (), THREADS, source=text)
    return found


# ---- running -----------------------------------------------------------------------------------------------------------

def run(formula, names, inputs, out):
    """out = formula(inputs): DeviceArrays that broadcast to ``out``, or numbers; ``names``: their dtypes, the output's last."""
    n = out.size
    if not n:
        return
    arguments = _flat_arguments(inputs, out)
    if arguments is not None:
        kernel(formula, names).launch(blocks(n, THREADS * vector(names)), THREADS, *arguments, out, n)
        return
    layouts = tuple([(x.shape, x.strides, x.dtype.itemsize) if x.__class__ is DeviceArray else None for x in (*inputs, out)])
    walk = None if n > MOST else _walk(out.shape, layouts)
    if walk is None:
        _run_in_parts(formula, names, inputs, out, n <= MOST)
        return
    dims, steps, divisions = walk
    arguments = []
    for x, own in zip(inputs, steps):
        arguments += _input(x, ELEMENT)
        arguments += own
    kernel(formula, names, dims).launch(blocks(n, THREADS), THREADS, *arguments, out, *steps[-1], *divisions, n)


@lru_cache(4096)
def _walk(shape, layouts):
    """How ``strided`` walks: its dimensions, each layout's steps, sizes with what divides by them; None for too many."""
    sizes, steps = collapse(shape, layouts)
    dims = next((d for d in (2, 3, 5) if d >= len(sizes)), None)
    if dims is None:
        return None
    pad = dims - len(sizes)
    return dims, [[0] * pad + own for own in steps], [np.uint32(x) for n in ([1] * pad + sizes)[1:] for x in division(n)]


def _run_in_parts(formula, names, inputs, out, apart):
    """The same in two halves of the largest dimension, or (``apart``) for each index of the first."""
    d = 0 if apart else out.shape.index(max(out.shape))
    step = 1 if apart else blocks(out.shape[d], 2)
    after = out.ndim - d
    for at in range(0, out.shape[d], step):
        key = (..., slice(at, at + step)) + (slice(None),) * (after - 1)
        run(formula, names, [x[key] if isinstance(x, DeviceArray) and x.ndim >= after and x.shape[-after] > 1 else x
                             for x in inputs], out[key])


def _flat_arguments(inputs, out):
    """The arguments of ``flat`` for the inputs; None where they, or ``out``, do not lie as it needs."""
    if not out.flags.c_contiguous or out.ptr & 15:
        return None
    arguments, shape = [], out.shape
    for x in inputs:
        if x.__class__ is not DeviceArray:
            if x.__class__ is np.ndarray:
                apart((*inputs, out))
            arguments += _input(x, NUMBER)
        elif x.shape == shape and not x.ptr & 15 and (x._strides is None or x.flags.c_contiguous):
            arguments += _input(x, ARRAY)
        elif x.size == 1:
            arguments += _input(x, ELEMENT)
        else:
            return None
    return arguments


def _input(x, kind):
    """Pointer, kind and number of one input; of an array a 0, of the type that the kernel takes."""
    if x.__class__ is DeviceArray:
        return [x, kind] + _ZEROS[x.dtype.num]
    return (None, NUMBER, x.real, x.imag) if x.dtype.kind == "c" else (None, NUMBER, x)


# by the number of the dtype, of which int64 has two in NumPy: "l" and "q"
_ZEROS = {np.dtype(kind).num: [np.dtype(letter).type(0) for letter in _number_words(np.dtype(kind).name)]
          for kind in (*_LETTER, "l", "q")}


def collapse(shape, layouts):
    """Sizes, and for each layout the steps in elements, of the dimensions to walk, in the order of the last layout's memory.

    Layouts are (shape, byte strides, itemsize), or None for a number; they are broadcast to ``shape``. Dimensions of size 1 are
    left out, and those that all walk as one are merged.
    """
    columns = []
    for d, size in enumerate(shape):
        if size == 1:
            continue
        steps = []
        for layout in layouts:
            if layout is None:
                steps.append(0)
                continue
            own, strides, itemsize = layout
            at = d - len(shape) + len(own)
            steps.append(0 if at < 0 or own[at] == 1 else strides[at] // itemsize)
        columns.append((size, steps))
    columns.sort(key=lambda c: -abs(c[1][-1]))
    merged = []
    for size, steps in columns:
        if merged and all(s == size * t for s, t in zip(merged[-1][1], steps)):
            merged[-1] = (merged[-1][0] * size, steps)
        else:
            merged.append((size, steps))
    return [c[0] for c in merged], [[c[1][k] for c in merged] for k in range(len(layouts))]


# ---- NumPy's functions on DeviceArrays -----------------------------------------------------------------------------------

_ARITHMETIC = {np.add: "add", np.subtract: "sub", np.multiply: "mul", np.negative: "neg"}
_FLOATING = {np.true_divide: "div", np.sqrt: "sqrt", np.exp: "exp", np.log: "log"}
_COMPARISONS = {np.equal: "eq", np.not_equal: "ne", np.less: "lt", np.less_equal: "le", np.greater: "gt",
                np.greater_equal: "ge"}


_EQUALITY = {f: _COMPARISONS[f] for f in (np.equal, np.not_equal)}


def ufunc(function, method, inputs, out, kwargs):
    """A NumPy ufunc on DeviceArrays and numbers, where a formula computes it; ``OnHost`` otherwise."""
    kinds = {x.dtype.kind if isinstance(x, (DeviceArray, np.ndarray, np.generic)) else "" for x in inputs}
    table = _ARITHMETIC if "b" not in kinds else {}
    table = {**table, **(_FLOATING if kinds <= {"f", "c", ""} else {}), **(_COMPARISONS if "c" not in kinds else _EQUALITY)}
    if method != "__call__" or function not in table or kwargs or any(isinstance(x, np.ndarray) and x.ndim for x in inputs):
        raise _driver.OnHost(f"numpy.{function.__name__}")
    dtype = np.result_type(*[x.dtype if isinstance(x, DeviceArray) else x for x in inputs])
    inputs = [x.astype(dtype, copy=False) if isinstance(x, DeviceArray) else dtype.type(x) for x in inputs]
    first = next(x for x in inputs if isinstance(x, DeviceArray))
    result = np.dtype(bool) if function in _COMPARISONS else dtype
    if out is None:
        target = empty(np.broadcast_shapes(*[np.shape(x) for x in inputs]), result, first.device)
    else:
        target, = out
    run(table[function], (dtype.name,) * len(inputs) + (target.dtype.name,), inputs, target)
    return target
