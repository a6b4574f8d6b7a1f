"""What ``mma`` of ``_cuda.py`` stands for on a GPU: tensor cores, and copies into shared memory that run by themselves, as PTX.

All need compute capability 8.0. The instructions and which lane holds which element: the PTX ISA, sections on mma, ldmatrix and
cp.async.
"""
from llvmlite import ir

from ._cuda_intrinsics import F32, I32, I64, _address, intrinsic, types

WORDS, NUMBERS = types.UniTuple(types.int32, 4), types.UniTuple(types.float32, 4)


def _asm(builder, text, constraints, args, result=None, memory=True):
    """A call of inline PTX, which stays under the conditions where it is; ``memory``: it reads or writes memory."""
    kind, clobbers = ir.FunctionType(result or ir.VoidType(), [a.type for a in args]), ["~{memory}"] if memory else []
    return builder.call(ir.InlineAsm(kind, text, ",".join([*constraints.split(), *clobbers]), True), args)


def _shared(context, builder, array, value, index):
    """The 32-bit address of an element of a shared array."""
    address = _address(context, builder, array, value, index)
    return builder.ptrtoint(builder.addrspacecast(address, address.type.pointee.as_pointer(3)), I32)


def _tuple(context, builder, kind, found):
    return context.make_tuple(builder, kind, [builder.extract_value(found, k) for k in range(4)])


# ---- copies ------------------------------------------------------------------------------------------------------------

@intrinsic
def copy(typing, shared, index, pointer, source, inside):
    """Starts to copy 16 bytes from an aligned element of a pointer to an aligned one of a shared array; not ``inside``: zeros."""
    def generate(context, builder, signature, args):
        to = _shared(context, builder, shared, *args[:2])
        address = _address(context, builder, pointer, *args[2:4])
        size = builder.select(args[4], I32(16), I32(0))
        _asm(builder, "cp.async.cg.shared.global [$0], [$1], 16, $2;", "r l r",
             [to, builder.ptrtoint(address, I64), size])
        return context.get_dummy_value()
    return types.void(shared, types.int64, pointer, types.int64, types.boolean), generate


@intrinsic
def commit(typing):
    """Makes one group of all copies that the thread has started since the last."""
    def generate(context, builder, signature, args):
        _asm(builder, "cp.async.commit_group;", "", [])
        return context.get_dummy_value()
    return types.void(), generate


@intrinsic
def wait(typing, groups):
    """Waits until of the thread's groups of copies at most the last ``groups``, a constant, are under way."""
    if not isinstance(groups, types.IntegerLiteral):
        return None

    def generate(context, builder, signature, args):
        _asm(builder, f"cp.async.wait_group {groups.literal_value};", "", [])
        return context.get_dummy_value()
    return types.void(groups), generate


# ---- fragments ---------------------------------------------------------------------------------------------------------

def _matrices(name, option):
    def matrices(typing, shared, index):
        def generate(context, builder, signature, args):
            found = _asm(builder, f"ldmatrix.sync.aligned.m8n8.x4{option}.shared.b16 {{$0, $1, $2, $3}}, [$4];", "=r =r =r =r r",
                         [_shared(context, builder, shared, *args)], ir.LiteralStructType([I32] * 4))
            return _tuple(context, builder, WORDS, found)
        return WORDS(shared, types.int64), generate
    matrices.__name__ = name
    return intrinsic(matrices)


matrices = _matrices("matrices", "")
matrices_transposed = _matrices("matrices_transposed", ".trans")


@intrinsic
def rounded(typing, word):
    """The bits of a float32 rounded to the nearest number that has 10 bits of fraction, as the tensor cores take it."""
    def generate(context, builder, signature, args):
        return _asm(builder, "cvt.rna.tf32.f32 $0, $1;", "=r f", [builder.bitcast(args[0], F32)], I32, memory=False)
    return types.int32(types.int32), generate


def _product(name, shape, kind):
    """d = a b + c for 16 x 8 results of a warp: four accumulators of a lane, four words of a, two of b."""
    text = f"mma.sync.aligned.{shape}.row.col.f32.{kind}.{kind}.f32 {{$0, $1, $2, $3}}, {{$4, $5, $6, $7}}, {{$8, $9}}, " \
        "{$10, $11, $12, $13};"

    def product(typing, c0, c1, c2, c3, a0, a1, a2, a3, b0, b1):
        def generate(context, builder, signature, args):
            found = _asm(builder, text, "=f =f =f =f r r r r r r f f f f", [*args[4:], *args[:4]],
                         ir.LiteralStructType([F32] * 4), memory=False)
            return _tuple(context, builder, NUMBERS, found)
        return NUMBERS(*[types.float32] * 4, *[types.int32] * 6), generate
    product.__name__ = name
    return intrinsic(product)


float16 = _product("float16", "m16n8k16", "f16")
bfloat16 = _product("bfloat16", "m16n8k16", "bf16")
tf32 = _product("tf32", "m16n8k8", "tf32")
