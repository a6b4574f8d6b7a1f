"""Register tiles: the innermost loops of convolution, as LLVM vector code that a Numba kernel calls.

Both tiles keep a block of sums in vector registers over their whole loop, which LLVM's vectoriser does not do for a nest of
loops. They are emitted with LLVM's vector types, so one source serves AVX-512, AVX2, SSE and NEON; only the length of a
vector and the number of rows follow the processor.

``product_tile`` reads the rows of its right operand at arbitrary starts. A convolution is then a matrix product whose right
operand is never built: row k is the padded image, shifted by tap k. ``correlate_tile`` is the transposed use: sums over
positions of a gradient times shifted images.
"""
import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import function

_features = llvm.get_host_cpu_features()
_AVX512, _AVX = bool(_features.get("avx512f")), bool(_features.get("avx"))
_MANY = _AVX512 or not _AVX             # 32 vector registers (AVX-512, NEON), else 16 (AVX2)
VECTOR_BYTES = 64 if _AVX512 else 32 if _AVX else 16
VECTORS = 2                             # vectors side by side in a product tile
TILE_ROWS = 12 if _MANY else 6          # rows of the largest product tile: 24 or 12 sums, the other registers for operands
GRADS = 4 if _MANY else 2               # a correlation tile has GRADS x TAPS sums
TAPS = 5 if _MANY else 4
SLACK = VECTORS * VECTOR_BYTES // 4     # elements that a tile may read past the last position asked for

_INT = ir.IntType(64)


class _Emitter:
    """The LLVM steps that both tiles share, for vectors of one element type."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder = context, builder
        self.scalar = context.get_value_type(dtype)
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        self.align = dtype.bitwidth // 8
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def operation(self, name, result, arguments, more=""):
        name = f"llvm.{name}.{self.suffix}{more}"
        return self.builder.module.globals.get(name) or \
            ir.Function(self.builder.module, ir.FunctionType(result, arguments), name)

    def data(self, type_, value):
        """The address of the first element of an array, or of what a C pointer points at."""
        if isinstance(type_, types.CPointer):
            return value
        return self.context.make_array(type_)(self.context, self.builder, value).data

    def at(self, pointer, index):
        return self.builder.gep(pointer, [index if isinstance(index, ir.Value) else _INT(index)])

    def integer(self, pointer, index):
        value = self.builder.load(self.at(pointer, index))
        return value if value.type == _INT else self.builder.sext(value, _INT)

    def load(self, address):
        return self.builder.load(self.builder.bitcast(address, self.vector.as_pointer()), align=self.align)

    def store(self, vector, address):
        self.builder.store(vector, self.builder.bitcast(address, self.vector.as_pointer()), align=self.align)

    def splat(self, scalar):
        """A vector whose lanes all hold ``scalar``."""
        undefined = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def not_unrolled(self):
        """Loop metadata: LLVM would unroll by two, hoist the loads and then spill the sums."""
        module = self.builder.module
        # A loop's identity is a node that names itself first.
        loop = module.add_metadata([ir.MetaDataString(module, f"tile {len(module.metadata)}")])
        loop.operands = (loop, module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")]))
        return loop

    def sums(self, count, n, step):
        """``count`` vector sums that start at zero and become ``step(i, sums)`` for i in range(n); n is at least 1."""
        builder = self.builder
        entry = builder.block
        body, done = builder.append_basic_block("tile.body"), builder.append_basic_block("tile.done")
        builder.branch(body)
        builder.position_at_end(body)
        i = builder.phi(_INT)
        sums = [builder.phi(self.vector) for _ in range(count)]
        after = [builder.add(i, _INT(1))] + step(i, sums)
        for phi, start, next_ in zip([i] + sums, [_INT(0)] + [self.zero] * count, after):
            phi.add_incoming(start, entry)
            phi.add_incoming(next_, body)
        builder.cbranch(builder.icmp_signed("<", after[0], n), body, done).set_metadata("llvm.loop", self.not_unrolled())
        builder.position_at_end(done)
        return after[1:]


def _product(rows):
    """An intrinsic: out[row, j] = sum over i < n of left[i, row] * right[starts[i] + j], for VECTORS vectors of j.

    ``left`` is packed: n groups of ``rows`` elements from index ``l`` on; ``right`` is read from index ``r`` on; rows of
    ``out`` lie ``pitch`` apart from index ``o`` on.
    """
    @intrinsic
    def product(typing, left, l, right, r, starts, n, out, o, pitch):
        def generate(context, builder, signature, args):
            e = _Emitter(context, builder, out.dtype)
            fma = e.operation("fma", e.vector, [e.vector] * 3)
            left_, l_, right_, r_, starts_, n_, out_, o_, pitch_ = args
            left_, right_, starts_, out_ = (e.data(t, v) for t, v in (
                (left, left_), (right, right_), (starts, starts_), (out, out_)))
            left_, right_, out_ = e.at(left_, l_), e.at(right_, r_), e.at(out_, o_)

            def step(i, sums):
                row = e.at(right_, e.integer(starts_, i))
                shifted = [e.load(e.at(row, j * e.lanes)) for j in range(VECTORS)]
                column = e.at(left_, builder.mul(i, _INT(rows)))
                after = []
                for m in range(rows):
                    weight = e.splat(builder.load(e.at(column, m)))
                    after += [builder.call(fma, [weight, shifted[j], sums[m * VECTORS + j]]) for j in range(VECTORS)]
                return after

            sums = e.sums(rows * VECTORS, n_, step)
            for m in range(rows):
                for j in range(VECTORS):
                    e.store(sums[m * VECTORS + j], e.at(out_, builder.add(builder.mul(pitch_, _INT(m)), _INT(j * e.lanes))))
            return context.get_dummy_value()

        return types.void(left, types.intp, right, types.intp, starts, types.intp, out, types.intp, types.intp), generate
    return product


def _correlate(grads):
    """An intrinsic: out[g, t] = sum over blocks i < n of left[lefts[i] + g * pitch] . right[starts[t] + rights[i]].

    The dot is over the lanes of one vector; g < ``grads``, t < TAPS. ``left`` is read from index ``l`` on, ``right`` from
    ``r`` on, ``starts`` from ``s`` on; ``out`` holds grads x TAPS elements.
    """
    @intrinsic
    def correlate(typing, left, l, pitch, right, r, starts, s, lefts, rights, n, out):
        def generate(context, builder, signature, args):
            e = _Emitter(context, builder, out.dtype)
            fma = e.operation("fma", e.vector, [e.vector] * 3)
            total = e.operation("vector.reduce.fadd", e.scalar, [e.scalar, e.vector])
            left_, l_, pitch_, right_, r_, starts_, s_, lefts_, rights_, n_, out_ = args
            left_, right_, starts_, lefts_, rights_, out_ = (e.data(t, v) for t, v in (
                (left, left_), (right, right_), (starts, starts_), (lefts, lefts_), (rights, rights_), (out, out_)))
            heads = [e.at(left_, builder.add(l_, builder.mul(pitch_, _INT(g)))) for g in range(grads)]
            right_ = e.at(right_, r_)
            taps = [e.at(right_, e.integer(starts_, builder.add(s_, _INT(t)))) for t in range(TAPS)]

            def step(i, sums):
                at, shift = e.integer(lefts_, i), e.integer(rights_, i)
                gs = [e.load(e.at(head, at)) for head in heads]
                after = []
                for t, tap in enumerate(taps):
                    x = e.load(e.at(tap, shift))
                    after += [builder.call(fma, [gs[g], x, sums[t * grads + g]]) for g in range(grads)]
                return after

            sums = e.sums(grads * TAPS, n_, step)
            for t in range(TAPS):
                for g in range(grads):
                    value = builder.call(total, [e.scalar(-0.0), sums[t * grads + g]], fastmath=("reassoc",))
                    builder.store(value, e.at(out_, g * TAPS + t))
            return context.get_dummy_value()

        return types.void(left, types.intp, types.intp, right, types.intp, starts, types.intp, lefts, rights, types.intp,
                          out), generate
    return correlate


@intrinsic
def copy_run(typing, source, s, target, t, count, plus):
    """target[t + j] = source[s + j] + plus for j < count, at most a tile's width: a copy without a loop's overhead.

    Loads and stores are masked, so nothing past the run is read or written.
    """
    def generate(context, builder, signature, args):
        e = _Emitter(context, builder, plus)
        source_, s_, target_, t_, count_, plus_ = args
        from_, to = e.at(e.data(source, source_), s_), e.at(e.data(target, target_), t_)
        small, pointer = ir.IntType(32), e.vector.as_pointer()
        mask_type, align = ir.VectorType(ir.IntType(1), e.lanes), small(e.align)
        # LLVM 22 has the alignment elsewhere, and still reads this form.
        load = e.operation("masked.load", e.vector, [pointer, small, mask_type, e.vector], ".p0")
        store = e.operation("masked.store", ir.VoidType(), [e.vector, pointer, small, mask_type], ".p0")
        more, limit = e.splat(plus_), e.splat(builder.trunc(count_, small))
        for j in range(VECTORS):
            lanes = ir.Constant(limit.type, list(range(j * e.lanes, (j + 1) * e.lanes)))
            mask = builder.icmp_signed("<", lanes, limit)
            source_j, target_j = (builder.bitcast(e.at(p, j * e.lanes), pointer) for p in (from_, to))
            value = builder.call(load, [source_j, align, mask, e.zero])
            builder.call(store, [builder.fadd(value, more), target_j, align, mask])
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.intp, plus), generate


@intrinsic
def clear(typing, target, t, count):
    """target[t + j] = 0 for j < count: one memset, where a loop would check every index for being negative."""
    def generate(context, builder, signature, args):
        e = _Emitter(context, builder, target.dtype)
        target_, t_, count_ = args
        to = e.at(e.data(target, target_), t_)
        cgutils.memset(builder, builder.bitcast(to, ir.IntType(8).as_pointer()), builder.mul(count_, _INT(e.align)), 0)
        return context.get_dummy_value()

    return types.void(target, types.intp, types.intp), generate


@intrinsic
def transpose_tile(typing, rows, source, s, pitch, target, t, step):
    """target[t + j * step + i] = source[s + i * pitch + j] for j < L and i < rows, L a vector's lanes; rows = 0 stands for L.

    Whole vectors are stored: what one puts past its rows, the next overwrites, so the target needs L elements more. The
    network swaps blocks of L/2, L/4 ... 1 lanes between pairs of vectors.
    """
    if not isinstance(rows, types.IntegerLiteral):
        return None

    def generate(context, builder, signature, args):
        e = _Emitter(context, builder, target.dtype)
        lanes, small = e.lanes, ir.IntType(32)
        count = rows.literal_value or lanes
        _, source_, s_, pitch_, target_, t_, step_ = args
        from_, to = e.at(e.data(source, source_), s_), e.at(e.data(target, target_), t_)
        groups = []
        for group in range(0, count, lanes):
            v = [e.load(e.at(from_, builder.mul(pitch_, _INT(i)))) if i < count else e.zero
                 for i in range(group, group + lanes)]
            block = lanes // 2
            while block:
                first = [j if not j & block else lanes + j - block for j in range(lanes)]
                second = [j + block if not j & block else lanes + j for j in range(lanes)]
                masks = [ir.Constant(ir.VectorType(small, lanes), m) for m in (first, second)]
                for i in range(lanes):
                    if not i & block:
                        v[i], v[i + block] = [builder.shuffle_vector(v[i], v[i + block], m) for m in masks]
                block //= 2
            groups.append(v)
        for j in range(lanes):
            for g, v in enumerate(groups):
                e.store(v[j], e.at(to, builder.add(builder.mul(step_, _INT(j)), _INT(g * lanes))))
        return context.get_dummy_value()

    return types.void(rows, source, types.intp, types.intp, target, types.intp, types.intp), generate


_product_12, _product_8, _product_6, _product_4, _product_2 = (_product(rows) for rows in (12, 8, 6, 4, 2))
_correlate_4, _correlate_2, _correlate_1 = (_correlate(grads) for grads in (4, 2, 1))


@function(inline="always")
def tile_rows(left):
    """Rows of the product tile to use when ``left`` rows are to be done: 12, 8 (where registers allow), 6, 4 or 2."""
    if left >= 8 and TILE_ROWS > 8:
        return TILE_ROWS if left >= TILE_ROWS else 8
    return 6 if left >= 6 else 4 if left > 2 else 2


@function(inline="always")
def product_tile(rows, left, l, right, r, starts, n, out, o, pitch):
    """out[row, j] = sum over i < n of left[i, row] * right[starts[i] + j]; see ``_product``."""
    if rows == 12:
        _product_12(left, l, right, r, starts, n, out, o, pitch)
    elif rows == 8:
        _product_8(left, l, right, r, starts, n, out, o, pitch)
    elif rows == 6:
        _product_6(left, l, right, r, starts, n, out, o, pitch)
    elif rows == 4:
        _product_4(left, l, right, r, starts, n, out, o, pitch)
    else:
        _product_2(left, l, right, r, starts, n, out, o, pitch)


@function(inline="always")
def correlate_tile(grads, left, l, pitch, right, r, starts, s, lefts, rights, n, out):
    """out[g, t] = sum over blocks i < n of left[lefts[i] + g * pitch] . right[starts[t] + rights[i]]; see ``_correlate``."""
    if grads == 4:
        _correlate_4(left, l, pitch, right, r, starts, s, lefts, rights, n, out)
    elif grads == 2:
        _correlate_2(left, l, pitch, right, r, starts, s, lefts, rights, n, out)
    else:
        _correlate_1(left, l, pitch, right, r, starts, s, lefts, rights, n, out)
