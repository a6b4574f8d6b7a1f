"""Parts of complex tensors, and what +, *, == and the like mean."""
from ..op import op
from ..tensor import Tensor
from ._pointwise import unary
from .compare import (
    bitwise_and,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    eq,
    ge,
    gt,
    le,
    lt,
    ne,
    wrap_number,
)
from .pointwise import (
    X,
    _doc,
    _true_div,
    abs,
    add,
    div,
    floor_divide,
    mul,
    neg,
    positive,
    pow,
    reciprocal,
    remainder,
    rsub,
    sub,
)

# ---- parts of complex numbers --------------------------------------------------------------------------------------------

def _part(name, doc):
    def part(input):
        if input._a.dtype.kind != "c":
            if name == "real":
                return input
            raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
        from .view import select, view_as_real

        return select(view_as_real(input), -1, 0 if name == "real" else 1)
    part.__doc__ = doc
    return op(name)(part)


real = _part("real", "The real part of a complex tensor, as a view; a real tensor as it is.")
imag = _part("imag", "The imaginary part of a complex tensor, as a view; RuntimeError for a real one.")
Tensor.real, Tensor.imag = property(real), property(imag)


def angle_backward(node, g):
    """d angle(z) = Im(conj(z) dz) / |z|^2."""
    z, = node.saved_tensors
    if not z.is_complex():
        return mul(g, 0)
    size = abs(z)
    return mul(div(g, mul(size, size)), mul(z, 1j))


angle = unary("angle", {"float": "angle_real", "complex": "angle"}, angle_backward, (X,), floats=True, out="real",
              inplace=False, doc=_doc("Angle", "atan2(imag, real)"))


# ---- operators ---------------------------------------------------------------------------------------------------------

def _reflected(fn):
    return lambda self, other: fn(other if isinstance(other, Tensor) else wrap_number(other, self), self)


def _operators():
    T = Tensor
    T.__add__ = T.__radd__ = add
    T.__sub__, T.__rsub__ = sub, lambda self, other: rsub(self, other)
    T.__mul__ = T.__rmul__ = mul
    T.__truediv__ = _true_div
    T.__rtruediv__ = lambda self, other: mul(reciprocal(self), other)
    T.__floordiv__, T.__rfloordiv__ = floor_divide, _reflected(floor_divide)
    T.__mod__, T.__rmod__ = remainder, _reflected(remainder)
    T.__divmod__ = lambda self, other: (floor_divide(self, other), remainder(self, other))
    T.__pow__, T.__rpow__ = pow, lambda self, other: pow(other, self)
    T.__neg__, T.__pos__, T.__abs__ = neg, positive, abs
    T.__eq__, T.__ne__, T.__lt__, T.__le__, T.__gt__, T.__ge__ = map(_comparing, (eq, ne, lt, le, gt, ge))
    T.__invert__ = bitwise_not
    T.__and__ = T.__rand__ = bitwise_and
    T.__or__ = T.__ror__ = bitwise_or
    T.__xor__ = T.__rxor__ = bitwise_xor
    T.__lshift__, T.__rshift__ = bitwise_left_shift, bitwise_right_shift
    T.__iadd__, T.__isub__, T.__imul__, T.__itruediv__ = T.add_, T.sub_, T.mul_, T.true_divide_
    T.__ifloordiv__, T.__imod__, T.__ipow__ = T.floor_divide_, T.remainder_, T.pow_
    T.__iand__, T.__ior__, T.__ixor__ = T.bitwise_and_, T.bitwise_or_, T.bitwise_xor_


def _comparing(fn):
    def compare(self, other):
        if other is None or isinstance(other, (str, list, tuple, dict)):
            return NotImplemented
        return fn(self, other)
    return compare


_operators()
