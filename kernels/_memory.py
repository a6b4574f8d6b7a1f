"""Pointers for generated loops: fields of an ndarray's header, and loads and stores that LLVM may vectorise.

A pointwise kernel gets ``id(array)``, the address of the array object, and reads data pointer, shape and strides from it. So
one compiled kernel serves every number of dimensions and every layout, where Numba would compile one for each, and a call
costs 0.15 us where unpacking three arrays costs 0.25 us and reshaping them to one dimension 0.35 us more. The fields' order is
NumPy's stable binary interface (``PyArrayObject_fields``); ``HEAD`` is the size of the object header before them.
"""
import sys

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import function

HEAD = object.__basicsize__
WORD = 8
assert sys.maxsize > 2**32, "numtorch needs a 64-bit Python"

_INT = ir.IntType(64)


@intrinsic
def word(typing, address):
    """The 64-bit integer stored at ``address``."""
    def codegen(context, builder, signature, args):
        return builder.load(builder.inttoptr(args[0], _INT.as_pointer()))
    return types.int64(types.int64), codegen


@intrinsic
def pointer(typing, address, dtype):
    """``address`` as a pointer to elements of ``dtype`` (a NumPy dtype, a constant)."""
    result = types.CPointer(dtype.dtype)

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(result))
    return result(types.int64, dtype), codegen


def _tag(builder, instruction, own, other):
    """Marks loads and stores as never overlapping, which lets LLVM vectorise a loop without run-time checks.

    What the op layer guarantees is weaker and is enough: an input either is the output, element for element, or does not
    touch it (``ops.inplace.check_overlap``); each element is read before it is written.
    """
    module = builder.module
    domain = module.add_metadata(["numtorch"])
    scopes = {name: module.add_metadata([module.add_metadata([name, domain])]) for name in ("read", "write")}
    instruction.set_metadata("alias.scope", scopes[own])
    instruction.set_metadata("noalias", scopes[other])


@intrinsic
def get(typing, p, i):
    """Element ``i`` of pointer ``p``."""
    def codegen(context, builder, signature, args):
        value = builder.load(builder.gep(args[0], [args[1]]))
        _tag(builder, value, "read", "write")
        return context.data_model_manager[p.dtype].from_data(builder, value)
    return p.dtype(p, types.int64), codegen


@intrinsic
def put(typing, p, i, value):
    """Writes element ``i`` of pointer ``p``, converting ``value`` to its type."""
    def codegen(context, builder, signature, args):
        element = context.cast(builder, args[2], value, p.dtype)
        data = context.data_model_manager[p.dtype].as_data(builder, element)
        store = builder.store(data, builder.gep(args[0], [args[1]]))
        _tag(builder, store, "write", "read")
        return context.get_dummy_value()
    return types.void(p, types.int64, value), codegen


@intrinsic
def call(typing, address, words):
    """Calls the C function at ``address`` with the integers of the tuple ``words``."""
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [_INT] * words.count)
        target = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(target, [builder.extract_value(args[1], k) for k in range(words.count)])
        return context.get_dummy_value()
    return types.void(types.int64, words), codegen


@function
def data(array):
    """The address of an array's first element."""
    return word(array + HEAD)


@function
def ndim(array):
    """An array's number of dimensions."""
    return word(array + HEAD + WORD) & 0xFFFFFFFF


@function
def dims(array):
    """The address of an array's shape."""
    return word(array + HEAD + 2 * WORD)


@function
def strides(array):
    """The address of an array's strides, in bytes."""
    return word(array + HEAD + 3 * WORD)


@function
def is_contiguous(array):
    """NumPy's C_CONTIGUOUS flag."""
    return (word(array + HEAD + 6 * WORD) & 1) != 0


@function
def numel(array):
    """An array's number of elements."""
    n, at = 1, dims(array)
    for i in range(ndim(array)):
        n *= word(at + i * WORD)
    return n


@function
def linear_step(array, n):
    """How far an input moves for each element of an output of ``n`` in row-major order: 1, 0 (one element), -1 (not so)."""
    if is_contiguous(array):
        own = numel(array)
        if own == n:
            return 1
        if own == 1:
            return 0
    return -1


@function
def collapse(arrays, geometry):
    """Sizes (row 0) and byte strides (row k + 1 for array k, the output last) of the dimensions to walk, outermost first.

    Inputs are broadcast to the output: missing and unit dimensions get stride 0. Dimensions come in the order in which they
    lie in the output's memory, and those that are walked as one are merged. The last row is left to the caller. Returns the
    number of columns filled.
    """
    out = arrays[len(arrays) - 1]
    nd, left = ndim(out), 0
    for d in range(nd):
        size = word(dims(out) + d * WORD)
        if size == 1:
            continue
        geometry[0, left] = size
        for k in range(len(arrays)):
            at = d - (nd - ndim(arrays[k]))
            step = 0
            if at >= 0 and word(dims(arrays[k]) + at * WORD) != 1:
                step = word(strides(arrays[k]) + at * WORD)
            geometry[k + 1, left] = step
        at = left
        while at > 0 and abs(geometry[len(arrays), at - 1]) < abs(geometry[len(arrays), at]):
            _swap(geometry, at - 1, at)
            at -= 1
        left += 1
    return _merge(geometry, left)


@function
def _swap(geometry, a, b):
    for k in range(geometry.shape[0]):
        geometry[k, a], geometry[k, b] = geometry[k, b], geometry[k, a]


@function
def _merge(geometry, n):
    """Joins neighbouring columns that every array walks as one; returns how many are left."""
    left = 0
    for d in range(n):
        merges = left > 0
        if merges:
            for k in range(1, geometry.shape[0]):
                merges = merges and geometry[k, left - 1] == geometry[0, d] * geometry[k, d]
        if merges:
            geometry[0, left - 1] *= geometry[0, d]
            for k in range(1, geometry.shape[0]):
                geometry[k, left - 1] = geometry[k, d]
        else:
            for k in range(geometry.shape[0]):
                geometry[k, left] = geometry[k, d]
            left += 1
    return left
