"""Scalar formula -> compiled loop over arrays of any layout, and the calls that run it.

For each formula and each list of dtypes one loop is generated as a real source file in the cache folder (Numba caches
functions of files, not closures) and compiled as a C function of addresses, when it is first needed. ``run_n`` and
``parallel_n`` call such a function on whole arrays, in one thread or in all: only they are parallel code, so a formula is
compiled once and not twice.
"""
import importlib.util
import sys
import threading

import numpy as np
from numba import int64, prange, void

from . import _cache, _jit, pointwise  # noqa: F401 - an edited formula must change the hash of this family
from ._memory import call

_loops = {}         # (formula, dtypes) -> address
_alive = []         # compiled callbacks, which own the machine code
_lock = threading.RLock()


def _row_variants(n_in):
    """Which inputs are one repeated element, for the loops worth having apart: none, each one, and the scalars at the end."""
    singles = [(k,) for k in range(n_in)] if n_in in (2, 3) else []
    ends = [tuple(range(k, n_in)) for k in range(n_in - 1 - bool(singles), 0, -1)]
    return [(), *singles, *ends]


def source(formula, dtypes):
    """The text of the loop for ``formula`` on ``dtypes`` (NumPy names, the output's last)."""
    n_in = len(dtypes) - 1
    ins = range(n_in)
    arrays = ", ".join([f"x{k}" for k in ins] + ["out"])
    moves = ", ".join([f"a{k}, s{k}" for k in ins] + ["ao, so"])
    sizes = [np.dtype(d).itemsize for d in dtypes]
    lines = [
        f'"""Generated from numtorch/kernels/pointwise.py: {formula} on {", ".join(dtypes)}."""',
        "import numpy as np",
        f"from numtorch.kernels.pointwise import {formula} as formula",
        "from numtorch.kernels._jit import function",
        "from numtorch.kernels._memory import collapse, data, get, linear_step, ndim, numel, pointer, put",
        "",
        "f = function(formula, cache=False, forceinline=True)",
    ]
    lines += [f"T{k} = np.dtype({d!r})" for k, d in enumerate(dtypes)]
    lines += ["", "", "@function(cache=False)", f"def row({moves}, n):",
              '    """One row: addresses and byte strides of the inputs, then of the output."""']
    lines += [f"    p{k} = pointer(a{k}, T{k})" for k in ins] + [f"    po = pointer(ao, T{n_in})"]
    word = "if"
    for repeated in _row_variants(n_in):
        test = " and ".join([f"s{k} == {0 if k in repeated else sizes[k]}" for k in ins] + [f"so == {sizes[-1]}"])
        lines += [f"    {word} {test}:"]
        lines += [f"        v{k} = get(p{k}, 0)" for k in repeated]
        values = ", ".join(f"v{k}" if k in repeated else f"get(p{k}, i)" for k in ins)
        lines += ["        for i in range(n):", f"            put(po, i, f({values}))"]
        word = "elif"
    values = ", ".join(f"get(pointer(a{k} + i * s{k}, T{k}), 0)" for k in ins)
    lines += ["    else:", "        for i in range(n):",
              f"            put(pointer(ao + i * so, T{n_in}), 0, f({values}))"]
    lines += ["", "", f"def loop({arrays}, start, stop):",
              '    """Elements start to stop (-1: all) of the output, in its order in memory; arguments are ids of ndarrays."""',
              "    total = numel(out)", "    if stop < 0:", "        stop = total",
              "    if start >= stop:", "        return"]
    lines += [f"    l{k} = linear_step(x{k}, total)" for k in ins] + ["    lo = linear_step(out, total)"]
    test = " and ".join([f"l{k} >= 0" for k in ins] + ["lo == 1"])
    steps = [f"data(x{k}) + start * l{k} * {sizes[k]}, l{k} * {sizes[k]}" for k in ins]
    steps += [f"data(out) + start * {sizes[-1]}, lo * {sizes[-1]}"]      # lo is 1: a literal would compile row twice
    lines += [f"    if {test}:", f"        row({', '.join(steps)}, stop - start)", "        return"]
    # the odometer: g[-1] counts along the outer dimensions, the addresses follow
    addresses = [(f"a{k}", f"data(x{k})", k + 1) for k in ins] + [("ao", "data(out)", n_in + 1)]
    lines += [f"    g = np.empty(({n_in + 3}, ndim(out) + 1), np.int64)",
              f"    last = collapse(({arrays}), g) - 1",
              "    if last < 0:", "        last, g[:, 0], g[0, 0] = 0, 0, 1",
              "    column, rest, i = start % g[0, last], start // g[0, last], start"]
    lines += [f"    {a} = {first} + column * g[{k}, last]" for a, first, k in addresses]
    lines += ["    for d in range(last - 1, -1, -1):",
              "        at = rest % g[0, d]", f"        rest, g[{n_in + 2}, d] = rest // g[0, d], at"]
    lines += [f"        {a} += at * g[{k}, d]" for a, _, k in addresses]
    ends = ", ".join(f"{a}, g[{k}, last]" for a, _, k in addresses)
    lines += ["    while True:", "        n = min(g[0, last] - column, stop - i)", f"        row({ends}, n)",
              "        i += n", "        if i >= stop:", "            return"]
    lines += [f"        {a} -= column * g[{k}, last]" for a, _, k in addresses]
    lines += ["        column, d = 0, last - 1", "        while True:", f"            g[{n_in + 2}, d] += 1"]
    lines += [f"            {a} += g[{k}, d]" for a, _, k in addresses]
    lines += [f"            if g[{n_in + 2}, d] < g[0, d]:", "                break", f"            g[{n_in + 2}, d] = 0"]
    lines += [f"            {a} -= g[0, d] * g[{k}, d]" for a, _, k in addresses] + ["            d -= 1"]
    return "\n".join(lines) + "\n"


def _load(formula, dtypes):
    """Writes and imports the generated module; returns its loop."""
    name = "_".join((formula, *dtypes))
    path = _cache.write_source("_pointwise", name, source(formula, dtypes))
    full = f"numtorch.kernels._generated.{name}"
    spec = importlib.util.spec_from_file_location(full, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module.loop


def loop(formula, dtypes):
    """The address of the compiled loop of ``formula`` (a name in pointwise.py) on ``dtypes`` (NumPy names, output last)."""
    found = _loops.get((formula, dtypes))
    if found is None:
        with _lock:
            found = _loops.get((formula, dtypes))
            if found is None:
                fn = _load(formula, dtypes)
                fn.__name__ = formula
                words = [int64] * (len(dtypes) + 2)
                found, callback = _jit.compile_callback(fn, void(*words))
                _alive.append(callback)
                _loops[formula, dtypes] = found
    return found


# ---- running a loop on whole arrays: x are ids of ndarrays, n is the output's size, parts the number of threads ------------

def _run_1(address, x, out):
    call(address, (x, out, 0, -1))


def _run_2(address, x0, x1, out):
    call(address, (x0, x1, out, 0, -1))


def _run_3(address, x0, x1, x2, out):
    call(address, (x0, x1, x2, out, 0, -1))


def _run_4(address, x0, x1, x2, x3, out):
    call(address, (x0, x1, x2, x3, out, 0, -1))


def _run_5(address, x0, x1, x2, x3, x4, out):
    call(address, (x0, x1, x2, x3, x4, out, 0, -1))


def _entry_point(fn):
    """The compiled C entry of ``fn`` for integers, past Numba's look-up of argument types (0.27 -> 0.17 us a call)."""
    dispatcher = _jit.compile_function(fn)
    dispatcher.compile((int64,) * fn.__code__.co_argcount)
    (compiled,) = dispatcher.overloads.values()
    return compiled.entry_point


SERIAL = (None, *map(_entry_point, (_run_1, _run_2, _run_3, _run_4, _run_5)))
run_1, run_2 = SERIAL[1:3]


def threads_1(address, x, out, n, parts):
    for t in prange(parts):
        call(address, (x, out, n * t // parts, n * (t + 1) // parts))


def threads_2(address, x0, x1, out, n, parts):
    for t in prange(parts):
        call(address, (x0, x1, out, n * t // parts, n * (t + 1) // parts))


def threads_3(address, x0, x1, x2, out, n, parts):
    for t in prange(parts):
        call(address, (x0, x1, x2, out, n * t // parts, n * (t + 1) // parts))


def threads_4(address, x0, x1, x2, x3, out, n, parts):
    for t in prange(parts):
        call(address, (x0, x1, x2, x3, out, n * t // parts, n * (t + 1) // parts))


def threads_5(address, x0, x1, x2, x3, x4, out, n, parts):
    for t in prange(parts):
        call(address, (x0, x1, x2, x3, x4, out, n * t // parts, n * (t + 1) // parts))


PARALLEL = (None, *map(_jit.parallel_twin, (threads_1, threads_2, threads_3, threads_4, threads_5)))


def run_large(address, ids, out, n):
    """Runs a loop with all threads; with one, where threads are taken by another kernel or forbidden after a fork."""
    if not _jit.enter_parallel():
        SERIAL[len(ids)](address, *ids, out)
        return
    try:
        PARALLEL[len(ids)](address, *ids, out, n, _jit.get_num_threads())
    finally:
        _jit.leave_parallel()
