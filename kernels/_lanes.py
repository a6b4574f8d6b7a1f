"""Sums and extremes of one row, in vector lanes: the inner loops of reductions, softmax, norms and losses.

LLVM vectorises such a loop by itself, but takes what is left over at a row's end one by one, each waiting for the one before:
of 100 float32, 36. Here ``_fold`` writes the loop: four vectors at a time, then single vectors, the last one masked. Which
element goes to which lane depends on the row's length alone, so results do not change with the number of threads.

Extremes take nan as the largest and as the smallest number, as torch does. llvm.maximum does so too, but puts -0 below 0 as
well, which costs twice the time.
"""
from functools import partial

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from ._jit import REASSOCIATE

WORD = ir.IntType(64)
FLAGS = {"forceinline": True, "fastmath": REASSOCIATE, "error_model": "numpy"}
BYTES, UNROLL = 64, 4           # a vector of AVX-512; narrower machines split it


def _fma(builder, a, b, c):
    """a b + c in one rounding where the machine can."""
    name = f"llvm.fmuladd.v{a.type.count}{_letter(a.type.element)[0]}"
    fn = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(fn, (a, b, c))


def _load(builder, data, at, vector, mask):
    """A vector from ``data`` at element ``at``; where ``mask`` (or None) is not set, zeros."""
    letter, size = _letter(vector.element)
    address = builder.bitcast(builder.gep(data, [at]), vector.as_pointer())
    if mask is None:
        return builder.load(address, align=size)
    kind = ir.FunctionType(vector, [address.type, ir.IntType(32), mask.type, vector])
    load = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{vector.count}{letter}.p0")
    return builder.call(load, [address, ir.IntType(32)(size), mask, ir.Constant(vector, None)])


def _letter(element):
    """(name in intrinsics, bytes) of a float type."""
    return ("f32", 4) if isinstance(element, ir.FloatType) else ("f64", 8)


def _fold(builder, rows, n, first, step, merge):
    """The lanes of ``step(lanes, vector of each row)`` over n elements, from ``first`` in every lane.

    Args:
        rows: pointers to the elements.
        merge: joins two accumulators.
    """
    width = BYTES // _letter(first.type)[1]
    vector = ir.VectorType(first.type, width)
    start = _splat(builder, first, vector)
    lanes = [cgutils.alloca_once_value(builder, start) for _ in range(UNROLL)]

    def take(lane, at, mask=None):
        before = builder.load(lane)
        after = step(before, [_load(builder, row, at, vector, mask) for row in rows])
        builder.store(after if mask is None else builder.select(mask, after, before), lane)

    blocks = builder.udiv(n, WORD(UNROLL * width))
    with cgutils.for_range(builder, blocks) as loop:
        base = builder.mul(loop.index, WORD(UNROLL * width))
        for k, lane in enumerate(lanes):
            take(lane, builder.add(base, WORD(k * width)))
    done = builder.mul(blocks, WORD(UNROLL * width))
    single = builder.udiv(builder.sub(n, done), WORD(width))
    with cgutils.for_range(builder, single) as loop:
        take(lanes[0], builder.add(done, builder.mul(loop.index, WORD(width))))
    done = builder.add(done, builder.mul(single, WORD(width)))
    with builder.if_then(builder.icmp_unsigned("<", done, n)):
        places = ir.Constant(ir.VectorType(WORD, width), list(range(width)))
        left = _splat(builder, builder.sub(n, done), places.type)
        take(lanes[1], done, builder.icmp_unsigned("<", places, left))
    found = [builder.load(lane) for lane in lanes]
    while len(found) > 1:
        found = [merge(x, y) for x, y in zip(found[::2], found[1::2])]
    return found[0]


def _reduce(builder, lanes, merge):
    """One number from all lanes: halves are merged until one is left."""
    width = lanes.type.count
    while width > 1:
        width //= 2
        low, high = (builder.shuffle_vector(lanes, ir.Constant(lanes.type, ir.Undefined), ir.Constant(
            ir.VectorType(ir.IntType(32), width), list(range(at, at + width)))) for at in (0, width))
        lanes = merge(builder, low, high)
    return builder.extract_element(lanes, ir.IntType(32)(0))


def _splat(builder, value, vector):
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined),
                                  ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


def _add(builder, a, b):
    return builder.fadd(a, b)


def _extreme(sign):
    """``a if a > b or a != a else b``: one instruction and the test for nan."""
    def of_two(builder, a, b):
        return builder.select(builder.fcmp_unordered("uno", a, a), a, builder.select(builder.fcmp_ordered(sign, a, b), a, b))
    return of_two


_larger, _smaller = _extreme(">"), _extreme("<")


def _reducer(plain, step, merge=_add):
    """``plain``, a function of rows (and perhaps a number), that compiled code runs by ``_fold`` on contiguous floats.

    ``step(builder, lanes, values of each row, number)``. Sums, which ``merge`` by addition, start from 0 and others from the
    first element.
    """
    @intrinsic
    def folded(typing, arguments):
        kinds = arguments.types

        def codegen(context, builder, signature, args):
            values = cgutils.unpack_tuple(builder, args[0])
            rows = [context.make_array(k)(context, builder, v) for k, v in zip(kinds, values) if isinstance(k, types.Array)]
            number = [v for k, v in zip(kinds, values) if not isinstance(k, types.Array)]
            element = context.get_value_type(kinds[0].dtype)
            first = ir.Constant(element, 0.0) if merge is _add else builder.load(rows[0].data)
            lanes = _fold(builder, [r.data for r in rows], builder.extract_value(rows[0].shape, 0), first,
                          lambda acc, vectors: step(builder, acc, *vectors, *number),
                          partial(merge, builder))
            return _reduce(builder, lanes, merge)
        return kinds[0].dtype(arguments), codegen

    def suits(*kinds):
        return all(k.layout == "C" and isinstance(k.dtype, types.Float) and k.dtype.bitwidth >= 32 if isinstance(k, types.Array)
                   else k == kinds[0].dtype for k in kinds)

    # numba matches an overload's argument names with the function's: one for each number of arguments
    count = plain.__code__.co_argcount
    if count == 1:
        @overload(plain, jit_options=FLAGS)
        def choose(x):
            return (lambda x: folded((x,))) if suits(x) else plain
    elif count == 2:
        @overload(plain, jit_options=FLAGS)
        def choose_of_two(x, y):
            return (lambda x, y: folded((x, y))) if suits(x, y) else plain
    else:
        @overload(plain, jit_options=FLAGS)
        def choose_of_three(x, y, z):
            return (lambda x, y, z: folded((x, y, z))) if suits(x, y, z) else plain
    return plain


@partial(_reducer, step=_add)
def total(x):
    """The sum of a row."""
    acc = x[0] * 0
    for j in range(x.shape[0]):
        acc += x[j]
    return acc


def _add_number(builder, acc, x):
    return builder.fadd(acc, builder.select(builder.fcmp_unordered("uno", x, x), ir.Constant(x.type, None), x))


@partial(_reducer, step=_add_number)
def total_of_numbers(x):
    """The sum of a row, nan counted as 0."""
    acc = x[0] * 0 if x[0] == x[0] else x[0].dtype.type(0)
    for j in range(x.shape[0]):
        acc += x[j] if x[j] == x[j] else acc * 0
    return acc


@partial(_reducer, step=lambda builder, acc, x, y: _fma(builder, x, y, acc))
def dot(x, y):
    """The sum of products of two rows."""
    acc = x[0] * y[0] * 0
    for j in range(x.shape[0]):
        acc += x[j] * y[j]
    return acc


def _square_from(builder, acc, x, centre):
    d = builder.fsub(x, _splat(builder, centre, x.type))
    return _fma(builder, d, d, acc)


@partial(_reducer, step=_square_from)
def squares_from(x, y):
    """The sum of squared differences of a row ``x`` from the number ``y``."""
    acc = x[0] * 0
    for j in range(x.shape[0]):
        acc += (x[j] - y) * (x[j] - y)
    return acc


def _product_from(builder, acc, x, y, centre):
    return _fma(builder, x, builder.fsub(y, _splat(builder, centre, y.type)), acc)


@partial(_reducer, step=_product_from)
def dot_from(x, y, z):
    """The sum of a row ``x`` times the differences of a row ``y`` from the number ``z``."""
    acc = x[0] * 0
    for j in range(x.shape[0]):
        acc += x[j] * (y[j] - z)
    return acc


def larger(a, b):
    """The larger of two numbers of one type; nan if either is."""
    return a if a > b or a != a else b


@overload(larger, jit_options=FLAGS)
def _compiled_larger(a, b):
    return larger


def smaller(a, b):
    """The smaller of two numbers of one type; nan if either is."""
    return a if a < b or a != a else b


@overload(smaller, jit_options=FLAGS)
def _compiled_smaller(a, b):
    return smaller


@partial(_reducer, step=_larger, merge=_larger)
def largest(x):
    """The largest number of a row."""
    best = x[0]
    for j in range(x.shape[0]):
        best = larger(best, x[j])
    return best


@partial(_reducer, step=_smaller, merge=_smaller)
def smallest(x):
    """The smallest number of a row."""
    best = x[0]
    for j in range(x.shape[0]):
        best = smaller(best, x[j])
    return best
