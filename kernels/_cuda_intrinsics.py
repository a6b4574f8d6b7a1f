"""What load, store, their vectors and the atomic operations of ``_cuda.py`` stand for on a GPU: LLVM IR.

Numba's own accesses move one element, know no bfloat16, and test each index of an array for being negative.
"""
import numpy as np
from llvmlite import ir
from numba.cuda import cgutils, types
from numba.cuda.core.targetconfig import ConfigStack
from numba.cuda.extending import core_models, intrinsic, overload, register_model

if not hasattr(np, "row_stack"):
    np.row_stack = np.vstack    # NumPy 2.5 has it no more; numba-cuda <= 0.30.4 asks for it when it first compiles (its #907)


# ---- types ---------------------------------------------------------------------------------------------------------------

class Half(types.Type):
    """An element of 16 bits in memory, computed with as float32."""

    def __init__(self, name):
        super().__init__(name=f"stored {name}")
        self.brain = name == "bfloat16"


@register_model(Half)
class _HalfModel(core_models.StructModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, [("bits", types.uint16)])


ELEMENTS = {"bool": types.boolean, "float16": Half("float16"), "bfloat16": Half("bfloat16")}
ELEMENTS.update({name: getattr(types, name) for name in (
    "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "float32", "float64", "complex64", "complex128")})


def argument(word):
    """The Numba type of an argument that ``DeviceKernel.argument_types`` names."""
    if word.endswith("*"):
        return types.CPointer(ELEMENTS[word[:-1]])
    if isinstance(ELEMENTS[word], Half):
        raise TypeError(f"a number of type {word} is no argument of a kernel: declare A, the type it is computed in")
    if isinstance(ELEMENTS[word], types.Complex):
        raise TypeError(f"a number of type {word} is no argument of a kernel: declare its parts, as Numba would pass them")
    return ELEMENTS[word]


def _element(array):
    """The element type of a pointer or an array, or None."""
    return array.dtype if isinstance(array, (types.CPointer, types.Array)) else None


def _number(element):
    """The type that an element has once it is loaded."""
    return types.float32 if isinstance(element, Half) else element


def _size(element):
    if isinstance(element, Half):
        return 2
    return 1 if element == types.boolean else element.bitwidth // 8


# ---- memory --------------------------------------------------------------------------------------------------------------

I8, I16, I32, I64, F16, F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.HalfType(), ir.FloatType()


def _address(context, builder, array, value, index):
    """The address of element ``index`` (int64) of a pointer or of a contiguous array."""
    first = value if isinstance(array, types.CPointer) else context.make_array(array)(context, builder, value).data
    return builder.gep(first, [index], inbounds=True)


def _read(context, builder, address, element, n):
    """``n`` numbers from ``address``, in one access."""
    parts = 2 if isinstance(element, types.Complex) else 1
    size = _size(element) // parts
    lane, count = _lanes(context, element, size, n * parts)
    vector = lane if count == 1 else ir.VectorType(lane, count)
    data = builder.load(builder.bitcast(address, vector.as_pointer()), align=size * n * parts)
    lanes = [data] if count == 1 else [builder.extract_element(data, I32(k)) for k in range(count)]
    if n > count:       # elements smaller than a word
        whole = ir.IntType(8 * size)
        lanes = [builder.trunc(builder.lshr(word, lane(8 * size * k)), whole) for word in lanes for k in range(n // count)]
    if parts == 2:
        return [_complex(context, builder, element, *lanes[2 * k:2 * k + 2]) for k in range(n)]
    return [_decode(builder, element, bits) for bits in lanes]


def _write(context, builder, address, element, values):
    """The reverse of ``_read``."""
    parts = 2 if isinstance(element, types.Complex) else 1
    size, n = _size(element) // parts, len(values)
    if parts == 2:
        lanes = [builder.extract_value(value, k) for value in values for k in (0, 1)]
    else:
        lanes = [_encode(builder, element, value) for value in values]
    lane, count = _lanes(context, element, size, n * parts)
    if n > count:
        per, words = n // count, []
        for first in range(0, n, per):
            word = builder.zext(lanes[first], lane)
            for k in range(1, per):
                word = builder.or_(word, builder.shl(builder.zext(lanes[first + k], lane), lane(8 * size * k)))
            words.append(word)
        lanes = words
    data = lanes[0]
    if count > 1:
        data = ir.Constant(ir.VectorType(lane, count), ir.Undefined)
        for k, value in enumerate(lanes):
            data = builder.insert_element(data, value, I32(k))
    builder.store(data, builder.bitcast(address, data.type.as_pointer()), align=size * n * parts)


def _lanes(context, element, size, n):
    """(LLVM type, number) of the lanes of an access of ``n`` elements: of the elements themselves, or of words that hold them."""
    if isinstance(element, types.Complex):
        return context.get_value_type(element.underlying_float), n
    if size >= 4:
        return context.get_value_type(element), n
    if n == 1:
        return ir.IntType(8 * size), 1
    return (I32, size * n // 4) if size * n >= 4 else (I16, 1)


def _complex(context, builder, element, real, imaginary):
    number = context.make_complex(builder, element)
    number.real, number.imag = real, imaginary
    return number._getvalue()


def _decode(builder, element, bits):
    """A number from the form it has in memory."""
    if element == types.boolean:
        return builder.icmp_unsigned("!=", bits, I8(0))
    if not isinstance(element, Half):
        return bits
    if element.brain:
        return builder.bitcast(builder.shl(builder.zext(bits, I32), I32(16)), F32)
    return builder.fpext(builder.bitcast(bits, F16), F32)


def _encode(builder, element, number):
    """The form that a number has in memory; halves are rounded to nearest, ties to even."""
    if element == types.boolean:
        return builder.zext(number, I8)
    if not isinstance(element, Half):
        return number
    if not element.brain:
        return builder.bitcast(builder.fptrunc(number, F16), I16)
    if ConfigStack().top().compute_capability >= (8, 0):
        convert = ir.InlineAsm(ir.FunctionType(I16, [F32]), "cvt.rn.bf16.f32 $0, $1;", "=h,f")
        return builder.call(convert, [number])
    bits = builder.bitcast(number, I32)
    odd = builder.and_(builder.lshr(bits, I32(16)), I32(1))
    rounded = builder.add(bits, builder.add(odd, I32(0x7FFF)))
    nan = builder.fcmp_unordered("uno", number, number)
    return builder.trunc(builder.lshr(builder.select(nan, I32(0x7FFFFFFF), rounded), I32(16)), I16)



@intrinsic
def pointer(typing, address, like):
    """The pointer to ``address``, an integer, with elements as those of the pointer ``like``."""
    if not isinstance(like, types.CPointer) or not isinstance(address, types.Integer):
        return None

    def generate(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(like))
    return like(types.int64, like), generate


@intrinsic
def load(typing, array, index):
    """Element ``index`` of a pointer or array."""
    element = _element(array)
    if element is None:
        return None

    def generate(context, builder, signature, args):
        return _read(context, builder, _address(context, builder, array, *args), element, 1)[0]
    return _number(element)(array, types.int64), generate


@intrinsic
def store(typing, array, index, value):
    """Sets element ``index`` of a pointer or array."""
    element = _element(array)
    if element is None:
        return None

    def generate(context, builder, signature, args):
        _write(context, builder, _address(context, builder, array, *args[:2]), element, [args[2]])
        return context.get_dummy_value()
    return types.void(array, types.int64, _number(element)), generate


@intrinsic
def load_vector(typing, array, index, n):
    """A tuple of elements; see ``_cuda.py``."""
    element = _element(array)
    if element is None or not isinstance(n, types.IntegerLiteral):
        return None
    _check_width(element, n.literal_value)

    def generate(context, builder, signature, args):
        values = _read(context, builder, _address(context, builder, array, *args[:2]), element, n.literal_value)
        return context.make_tuple(builder, signature.return_type, values)
    return types.UniTuple(_number(element), n.literal_value)(array, types.int64, n), generate


@intrinsic
def store_vector(typing, array, index, values):
    """Sets elements to those of a tuple; see ``_cuda.py``."""
    element = _element(array)
    if element is None or not isinstance(values, types.BaseTuple):
        return None
    _check_width(element, values.count)

    def generate(context, builder, signature, args):
        _write(context, builder, _address(context, builder, array, *args[:2]), element, cgutils.unpack_tuple(builder, args[2]))
        return context.get_dummy_value()
    return types.void(array, types.int64, types.UniTuple(_number(element), values.count)), generate


def _check_width(element, n):
    if n * _size(element) not in (1, 2, 4, 8, 16):
        raise TypeError(f"{n} elements of type {element} are no access of 1, 2, 4, 8 or 16 bytes")


# ---- atomic operations ---------------------------------------------------------------------------------------------------

def _exchange(builder, pointer, update):
    """Sets an integer of 32 or 64 bits at ``pointer`` to ``update`` of what it was, as one step; returns what it was."""
    first, before = builder.load(pointer), builder.block
    attempt, write, done = (builder.append_basic_block(name) for name in ("attempt", "write", "done"))
    builder.branch(attempt)
    builder.position_at_end(attempt)
    old = builder.phi(pointer.type.pointee)
    old.add_incoming(first, before)
    new = update(old)
    builder.cbranch(builder.icmp_unsigned("==", new, old), done, write)
    builder.position_at_end(write)
    found = builder.extract_value(builder.cmpxchg(pointer, old, new, "monotonic", "monotonic"), 0)
    old.add_incoming(found, write)
    builder.cbranch(builder.icmp_unsigned("==", found, old), done, attempt)
    builder.position_at_end(done)
    return old


def _exchange_bits(builder, address, size, update):
    """The same for an integer of any size: one of 8 or 16 bits by exchanging the word that it lies in."""
    whole = ir.IntType(8 * size)
    if size >= 4:
        return _exchange(builder, builder.bitcast(address, whole.as_pointer()), update)
    place = builder.ptrtoint(address, I64)
    word = builder.inttoptr(builder.and_(place, I64(-4)), I32.as_pointer())
    shift = builder.shl(builder.and_(builder.trunc(place, I32), I32(3)), I32(3))
    others = builder.not_(builder.shl(I32((1 << 8 * size) - 1), shift))

    def part(of):
        return builder.trunc(builder.lshr(of, shift), whole)

    def replace(old):
        return builder.or_(builder.and_(old, others), builder.shl(builder.zext(update(part(old)), I32), shift))
    return part(_exchange(builder, word, replace))


def _bits_of(context, builder, element, number):
    """The integer that a number is in memory."""
    encoded = _encode(builder, element, number)
    return builder.bitcast(encoded, ir.IntType(8 * _size(element)))


def _number_of(context, builder, element, bits):
    stored = bits if isinstance(element, (Half, types.Boolean)) else builder.bitcast(bits, context.get_value_type(element))
    return _decode(builder, element, stored)


def _update(context, builder, address, element, combine):
    """``combine`` of the number at ``address`` takes its place; returns the number that was there."""
    def on_bits(old):
        return _bits_of(context, builder, element, combine(_number_of(context, builder, element, old)))
    old = _exchange_bits(builder, address, _size(element), on_bits)
    return _number_of(context, builder, element, old)


def _is_float(element):
    return isinstance(element, (types.Float, Half))


def _add(context, builder, address, element, value):
    if isinstance(element, types.Complex):
        part = element.underlying_float
        first = builder.bitcast(address, context.get_value_type(part).as_pointer())
        old = [_add(context, builder, builder.gep(first, [I32(k)]), part, builder.extract_value(value, k)) for k in (0, 1)]
        return _complex(context, builder, element, *old)
    if isinstance(element, types.Float):
        letter, kind = f"f{element.bitwidth}", context.get_value_type(element)
        fn = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind.as_pointer(), kind]),
                                            f"llvm.nvvm.atomic.load.add.{letter}.p0{letter}")
        return builder.call(fn, [address, value])
    if isinstance(element, types.Integer) and _size(element) >= 4:
        return builder.atomic_rmw("add", address, value, "monotonic")
    plus = builder.fadd if _is_float(element) else builder.or_ if element == types.boolean else builder.add
    return _update(context, builder, address, element, lambda old: plus(old, value))


def _extreme(sign, name):
    """max or min: nan where either is."""
    def of(context, builder, address, element, value):
        if isinstance(element, types.Integer) and _size(element) >= 4:
            return builder.atomic_rmw(name if element.signed else f"u{name}", address, value, "monotonic")

        def better(old):
            if _is_float(element):
                return builder.select(builder.or_(builder.fcmp_ordered(sign, value, old),
                                                  builder.fcmp_unordered("uno", value, value)), value, old)
            signed = isinstance(element, types.Integer) and element.signed
            compare = builder.icmp_signed if signed else builder.icmp_unsigned
            return builder.select(compare(sign, value, old), value, old)
        return _update(context, builder, address, element, better)
    return of


def _atomic(name, operation, suits):
    def atomic(typing, array, index, value):
        element = _element(array)
        if element is None or not suits(element):
            return None

        def generate(context, builder, signature, args):
            return operation(context, builder, _address(context, builder, array, *args[:2]), element, args[2])
        return _number(element)(array, types.int64, _number(element)), generate
    atomic.__name__ = name
    return intrinsic(atomic)


def _is_real(element):
    return not isinstance(element, types.Complex)


atomic_add = _atomic("atomic_add", _add, lambda element: True)
atomic_max = _atomic("atomic_max", _extreme(">", "max"), _is_real)
atomic_min = _atomic("atomic_min", _extreme("<", "min"), _is_real)


@intrinsic
def atomic_cas(typing, array, index, old, new):
    """Sets an element to ``new`` where its bits are those of ``old``; returns what it was."""
    element = _element(array)
    if element is None or not _is_real(element):
        return None

    def generate(context, builder, signature, args):
        expected, wanted = (_bits_of(context, builder, element, v) for v in args[2:])
        address = _address(context, builder, array, *args[:2])
        found = _exchange_bits(builder, address, _size(element), lambda bits: builder.select(
            builder.icmp_unsigned("==", bits, expected), wanted, bits))
        return _number_of(context, builder, element, found)
    number = _number(element)
    return number(array, types.int64, number, number), generate


# ---- what differs from Numba's own ----------------------------------------------------------------------------------------

def _first_by(sign):
    """min or max as Python's: the first of the arguments that no other is beyond, so that a nan that comes first stays."""
    @intrinsic
    def of_two(typing, x, y):
        kind = typing.unify_types(x, y)
        if not isinstance(kind, (types.Integer, types.Float)):
            return None

        def generate(context, builder, signature, args):
            compare = (builder.fcmp_ordered if isinstance(kind, types.Float)
                       else builder.icmp_signed if kind.signed else builder.icmp_unsigned)
            return builder.select(compare(sign, args[1], args[0]), args[1], args[0])
        return kind(kind, kind), generate

    def first(*values):
        raise TypeError("works only inside a CUDA kernel")

    @overload(first)
    def choose(*values):
        if len(values) == 2:
            return lambda *values: of_two(values[0], values[1])
        if len(values) == 3:
            return lambda *values: of_two(of_two(values[0], values[1]), values[2])
        return None
    return first


smallest, largest = _first_by("<"), _first_by(">")
