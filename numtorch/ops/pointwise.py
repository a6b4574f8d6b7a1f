"""Element-wise operations: arithmetic, comparisons, mathematics. Formulas are in kernels/pointwise.py."""
from .. import dtypes
from ..op import also_named, grad_name, op
from ..tensor import Tensor
from ._pointwise import Rule, binary, call, unary

X, Y, OUT = (0, None), (1, None), ("out", None)      # what an operation keeps for backward, whoever needs it
X_FOR_OTHER, Y_FOR_INPUT = (0, 1), (1, 0)


def _doc(says, formula, args="input (Tensor)", more=""):
    return (f"{says}: ``{formula}``.\n\n    Args:\n        {args}: of any shape{more}.\n        out (Tensor): where the result "
            "goes.\n\n    Returns:\n        A Tensor of the (broadcast) shape.\n    ")


def _two(says, formula):
    return _doc(says, formula, "input (Tensor), other (Tensor or number)", "s that broadcast together")


# ---- arithmetic --------------------------------------------------------------------------------------------------------

def add_backward(node, g):
    """d(x + y) = dx + dy."""
    return g, g


def _add_scaled(input, other, alpha, out):
    found = add(input, _scaled(input, other, alpha, "add"))
    return found if out is None else out.copy_(found)


def _scaled(input, other, alpha, name):
    if isinstance(alpha, bool) or isinstance(alpha, float) and not any(
            isinstance(v, float) or isinstance(v, Tensor) and v.dtype.category >= dtypes.FLOATING for v in (input, other)):
        raise RuntimeError(f"{name}: For integral input tensors, argument alpha must not be a floating point number.")
    return other * alpha


add = binary("add", {"bool": "logical_or_add", "int": "add", "float": "add", "complex": "add"}, add_backward,
             extras=("alpha=1",), extra=_add_scaled, doc=_two("Sum", "input + alpha * other"))
add_ = Tensor.add_


def sub_backward(node, g):
    """d(x - y) = dx - dy."""
    return g, neg(g) if node.edges[1] is not None else None


def _no_bools(values):
    kinds = [(v._a.dtype.kind if isinstance(v, Tensor) else type(v)) in ("b", bool) for v in values]
    if all(kinds):
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                           "`logical_xor()` operator instead.")
    if any(kinds):
        raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a "
                           "mask, use the `~` or `logical_not()` operator instead.")


def _sub_scaled(input, other, alpha, out):
    _no_bools((input, other))
    found = sub(input, _scaled(input, other, alpha, "sub"))
    return found if out is None else out.copy_(found)


sub = binary("sub", {"int": "sub", "float": "sub", "complex": "sub"}, sub_backward, extras=("alpha=1",), extra=_sub_scaled,
             aliases=("subtract",), check=_no_bools, doc=_two("Difference", "input - alpha * other"))


@grad_name("RsubBackward1")
def rsub_backward(node, g):
    """d(y - x) = dy - dx, the first input being y."""
    return g, neg(g) if node.edges[1] is not None else None


_RSUB = Rule("rsub", "sub", False, "same", check=_no_bools)


@op(method=False)
def rsub(input, other, *, alpha=1):
    """``other - alpha * input``."""
    if alpha != 1:
        _no_bools((input, other))
        input = input * alpha
    return call(_RSUB, rsub_backward, (), (other, input))


def mul_backward(node, g):
    """d(x * y) = y dx + x dy."""
    x, y = node.saved_tensors
    return (mul(g, conj_if_complex(y)) if y is not None else None, mul(g, conj_if_complex(x)) if x is not None else None)


def conj_if_complex(x):
    """The conjugate of a complex tensor, a real one as it is: gradients are conjugate Wirtinger derivatives."""
    return conj(x) if x._a.dtype.kind == "c" else x


mul = binary("mul", {"bool": "logical_and_mul", "int": "mul", "float": "mul", "complex": "mul"}, mul_backward,
             (X_FOR_OTHER, Y_FOR_INPUT), aliases=("multiply",), doc=_two("Product", "input * other"))


def div_backward(node, g):
    """d(x / y) = dx / y - x / y^2 dy."""
    x, y = node.saved_tensors
    y = conj_if_complex(y)
    gx = div(g, y) if node.edges[0] is not None else None
    return gx, neg(div(mul(g, conj_if_complex(x)), mul(y, y))) if node.edges[1] is not None else None


_true_div = binary("true_divide", "div", div_backward, (X_FOR_OTHER, Y), floats=True, grad="DivBackward0",
                   doc=_two("Quotient", "input / other"))


def _no_zero(name, other):
    if isinstance(other, Tensor) and other.is_cuda:
        return                  # to look at the numbers would be to wait for them
    values = other._a if isinstance(other, Tensor) else None
    if other == 0 if values is None else values.dtype.kind in "iub" and not values.all():
        raise RuntimeError("ZeroDivisionError")


def _rounding(name, float_formula, int_formula, backward=None, saves=()):
    rule = Rule(name, {"int": int_formula, "float": float_formula}, False, "same")

    def apply(input, other):
        integral = all(t.dtype.category < dtypes.FLOATING if isinstance(t, Tensor) else isinstance(t, int)
                       for t in (input, other))
        if integral:
            _no_zero(name, other)
        return call(rule, backward, saves, (input, other))
    return apply


_floor_divide = _rounding("div_floor", "div_floor", "div_floor_integral")
_trunc_divide = _rounding("div_trunc", "div_trunc", "div_trunc_integral")


def div(input, other, *, rounding_mode=None, out=None):
    """Quotient: ``input / other``, rounded if asked for.

    Args:
        input (Tensor), other (Tensor or number): of shapes that broadcast together.
        rounding_mode (str): None, "trunc" (toward zero) or "floor".
        out (Tensor): where the result goes.

    Raises:
        RuntimeError: an integer division by zero, or another rounding mode.

    >>> import numtorch as torch
    >>> torch.div(torch.tensor([-7, 7]), 2, rounding_mode="floor")
    tensor([-4,  3])
    """
    if rounding_mode is None:
        return _true_div(input, other, out=out)
    if rounding_mode not in ("trunc", "floor"):
        raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
                           f"'{rounding_mode}'")
    found = (_floor_divide if rounding_mode == "floor" else _trunc_divide)(input, other)
    return found if out is None else out.copy_(found)


div = op(method=True, inplace=True, aliases=("divide",))(div)
Tensor.div_ = Tensor.divide_ = lambda self, other, *, rounding_mode=None: (
    Tensor.true_divide_(self, other) if rounding_mode is None else self.copy_(div(self, other, rounding_mode=rounding_mode)))


@op(method=True, inplace=True, out=True)
def floor_divide(input, other):
    """``floor(input / other)``, elementwise; of integers an integer."""
    return _floor_divide(input, other)


def remainder_backward(node, g):
    """d(x mod y) = dx - floor(x / y) dy."""
    x, y = node.saved_tensors
    return g, neg(mul(g, floor_divide(x, y))) if node.edges[1] is not None else None


def fmod_backward(node, g):
    """d fmod(x, y) = dx - trunc(x / y) dy."""
    x, y = node.saved_tensors
    return g, neg(mul(g, _trunc_divide(x, y))) if node.edges[1] is not None else None


_remainder = _rounding("remainder", "remainder", "remainder_integral", remainder_backward, (X, Y))
_fmod = _rounding("fmod", "fmod", "fmod_integral", fmod_backward, (X, Y))


@op(method=True, inplace=True, out=True)
def remainder(input, other):
    """The remainder of ``input / other`` with the sign of ``other``, as Python's ``%``."""
    return _remainder(input, other)


@op(method=True, inplace=True, out=True)
def fmod(input, other):
    """The remainder of ``input / other`` with the sign of ``input``, as C's fmod."""
    return _fmod(input, other)


def neg_backward(node, g):
    """d(-x) = -dx."""
    return neg(g)


def _no_bool(values):
    if isinstance(values[0], Tensor) and values[0]._a.dtype.kind == "b":
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, "
                           "use the `~` or `logical_not()` operator instead.")


neg = unary("neg", {"int": "neg", "float": "neg", "complex": "neg"}, neg_backward, aliases=("negative",),
            check=_no_bool, doc=_doc("Negation", "-input"))


def abs_backward(node, g):
    """d|x| = sgn(x) dx."""
    x, = node.saved_tensors
    return mul(g, sgn(x))


abs = unary("abs", {"bool": "absolute", "int": "absolute", "float": "absolute", "complex": "absolute"}, abs_backward, (X,),
            out="real", aliases=("absolute",), doc=_doc("Absolute value", "|input|"))


def sgn_backward(node, g):
    """The sign of a real number is flat; the direction of a complex one turns: (g - Re(g / s) s) / |z|."""
    from .masked import where

    z, s = node.saved_tensors
    if not z.is_complex():
        return mul(g, 0)
    size = abs(z)
    turned = div(sub(g, mul(real(div(g, s)), s)), size)
    return where(size == 0, 0.0, turned)


@grad_name("SignBackward0")
def sign_backward(node, g):
    """The sign is flat."""
    return mul(g, 0)


sign = unary("sign", {"bool": "absolute", "int": "sign", "float": "sign"}, sign_backward,
             doc=_doc("Sign", "-1, 0 or 1"))
sgn = unary("sgn", {"int": "sign", "float": "sign", "complex": "sgn_complex"}, sgn_backward,
            (X, OUT), doc=_doc("Sign; of complex numbers the direction", "input / |input|"))


@op(method=True)
def positive(input):
    """The tensor itself; RuntimeError for bool."""
    if input._a.dtype.kind == "b":
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def reciprocal_backward(node, g):
    """d(1 / x) = -dx / x^2."""
    y, = node.saved_tensors
    y = conj_if_complex(y)
    return neg(mul(g, mul(y, y)))


reciprocal = unary("reciprocal", "reciprocal", reciprocal_backward, (OUT,), floats=True, doc=_doc("Reciprocal", "1 / input"))


def conj_backward(node, g):
    """d conj(x) = conj(dx)."""
    return conj(g)


_conj = unary("_conj", {"complex": "conj"}, conj_backward, grad="ConjBackward0", method=False, inplace=False,
              doc=_doc("Conjugate", "conj(input)"))


@op(method=True, aliases=("conj_physical",))
def conj(input):
    """The complex conjugate; a real tensor as it is."""
    return _conj(input) if input._a.dtype.kind == "c" else input


@op(method=True)
def resolve_conj(input):
    """``input`` itself: conjugates are computed at once here, never only marked."""
    return input


# ---- powers ------------------------------------------------------------------------------------------------------------

_POW = Rule("pow", {"int": "pow_integral", "float": "pow", "complex": "pow"}, False, "same")
_SQUARE, _CUBE = Rule("pow", "square", False, "same"), Rule("pow", "cube", False, "same")
_SQRT = Rule("pow", {"float": "sqrt", "complex": "sqrt_complex"}, True, "same")


@grad_name("PowBackward0")
def _pow_scalar_backward(node, g):
    """d x^n = n x^(n-1) dx."""
    x, = node.saved_tensors
    n = node.ctx["exponent"]
    if n == 0:
        return mul(g, 0)
    if n == 2:
        return mul(g, mul(conj_if_complex(x), 2))
    return mul(g, mul(pow(conj_if_complex(x), n - 1), n))


@grad_name("PowBackward1")
def _pow_backward(node, g):
    """d x^y = y x^(y-1) dx + x^y ln(x) dy, 0 where x = 0 and y >= 0."""
    from .masked import where

    x, y, out = node.saved_tensors
    gx = gy = None
    if node.edges[0] is not None:
        gx = mul(g, where(y == 0, 0.0, mul(y, pow(x, sub(y, 1)))))
    if node.edges[1] is not None:
        gy = mul(g, where(logical_and(x == 0, y >= 0), 0.0, mul(out, log(x))))
    return gx, gy


_number_pow_backward = also_named("PowBackward2", _pow_backward)


@op(method=True, inplace=True, out=True)
def pow(input, exponent):
    """``input ** exponent``, elementwise; one of the two may be a number.

    Args:
        input, exponent (Tensor or number): of shapes that broadcast together.

    Raises:
        RuntimeError: a negative integer power of integers.

    >>> import numtorch as torch
    >>> torch.pow(torch.tensor([1., 2., 3.]), 2)
    tensor([1., 4., 9.])
    """
    if not isinstance(exponent, Tensor) and isinstance(input, Tensor):
        rule = _POW
        if exponent == 2 and input._a.dtype.kind in "fc":
            rule = _SQUARE
        elif exponent == 3 and input._a.dtype.kind in "fc":
            rule = _CUBE
        elif exponent == 0.5 and input._a.dtype.kind in "fc":
            rule = _SQRT
        elif isinstance(exponent, int) and exponent < 0 and input.dtype.category < dtypes.FLOATING:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        if type(exponent) is bool and input._a.dtype.kind == "b":       # torch has no pow of bools, but 0 and 1 are exponents
            return input.clone() if exponent else input.new_ones(input._a.shape)
        if rule is _POW:
            found = call(rule, None, (), (input, exponent))
        else:
            found = call(rule, None, (), (input,))
        from ..op import record

        return record(found, _pow_scalar_backward, (input,), (input,), exponent=exponent)
    backward = _pow_backward if isinstance(input, Tensor) else _number_pow_backward
    return call(_POW, backward, (X, Y, OUT), (input, exponent))


@op(method=True, out=True)
def float_power(input, exponent):
    """``input ** exponent`` in double precision."""
    return pow(*(v.double() if isinstance(v, Tensor) and not v.is_complex() else v for v in (input, exponent)))


def square_backward(node, g):
    """d x^2 = 2 x dx."""
    x, = node.saved_tensors
    return mul(g, mul(conj_if_complex(x), 2))


square = unary("square", {"int": "square", "float": "square", "complex": "square"}, square_backward, (X,), grad="PowBackward0",
               doc=_doc("Square", "input^2"))


@grad_name("SqrtBackward0")
def sqrt_backward(node, g):
    """d sqrt(x) = dx / (2 sqrt(x))."""
    y, = node.saved_tensors
    return div(g, mul(conj_if_complex(y), 2))


sqrt = unary("sqrt", {"float": "sqrt", "complex": "sqrt_complex"}, sqrt_backward, (OUT,), floats=True,
             doc=_doc("Square root", "sqrt(input)"))


def rsqrt_backward(node, g):
    """d x^(-1/2) = -x^(-3/2) dx / 2."""
    y, = node.saved_tensors
    return mul(mul(g, -0.5), mul(y, mul(y, y)))


rsqrt = unary("rsqrt", {"float": "rsqrt"}, rsqrt_backward, (OUT,), floats=True, doc=_doc("Reciprocal square root",
                                                                                        "1 / sqrt(input)"))


# ---- exponentials and logarithms ---------------------------------------------------------------------------------------

def exp_backward(node, g):
    """d e^x = e^x dx."""
    y, = node.saved_tensors
    return mul(g, conj_if_complex(y))


exp = unary("exp", "exponential", exp_backward, (OUT,), floats=True, doc=_doc("Exponential", "e^input"))


def exp2_backward(node, g):
    """d 2^x = ln(2) 2^x dx."""
    y, = node.saved_tensors
    return mul(g, mul(y, 0.6931471805599453))


exp2 = unary("exp2", {"float": "exp2"}, exp2_backward, (OUT,), floats=True, doc=_doc("Power of two", "2^input"))


def expm1_backward(node, g):
    """d (e^x - 1) = e^x dx."""
    y, = node.saved_tensors
    return mul(g, add(y, 1))


expm1 = unary("expm1", {"float": "exponential_minus_1"}, expm1_backward, (OUT,), floats=True,
              doc=_doc("Exponential less one, exact near zero", "e^input - 1"))


def log_backward(node, g):
    """d ln(x) = dx / x."""
    x, = node.saved_tensors
    return div(g, conj_if_complex(x))


log = unary("log", "logarithm", log_backward, (X,), floats=True, doc=_doc("Natural logarithm", "ln(input)"))


def log2_backward(node, g):
    """d log2(x) = dx / (x ln 2)."""
    x, = node.saved_tensors
    return div(g, mul(x, 0.6931471805599453))


log2 = unary("log2", {"float": "log2"}, log2_backward, (X,), floats=True, doc=_doc("Logarithm to base 2", "log2(input)"))


def log10_backward(node, g):
    """d log10(x) = dx / (x ln 10)."""
    x, = node.saved_tensors
    return div(g, mul(x, 2.302585092994046))


log10 = unary("log10", {"float": "log10"}, log10_backward, (X,), floats=True, doc=_doc("Logarithm to base 10", "log10(input)"))


def log1p_backward(node, g):
    """d ln(1 + x) = dx / (1 + x)."""
    x, = node.saved_tensors
    return div(g, add(x, 1))


log1p = unary("log1p", {"float": "logarithm_plus_1"}, log1p_backward, (X,), floats=True,
              doc=_doc("Logarithm of one more, exact near zero", "ln(1 + input)"))


def xlogy_backward(node, g):
    """d (x ln y) = ln(y) dx + x / y dy; ln(y) counts as 0 where x = 0 and y <= 0."""
    from .masked import where

    x, y = node.saved_tensors
    gx = mul(g, where(logical_and(x == 0, y <= 0), 0.0, log(y))) if node.edges[0] is not None else None
    return gx, div(mul(g, x), y) if node.edges[1] is not None else None


xlogy = binary("xlogy", {"float": "xlogy"}, xlogy_backward, (X, Y), floats=True, doc=_two("Product with a logarithm",
                                                                                         "input * ln(other), 0 for input 0"))


def logaddexp_backward(node, g):
    """Weights exp(x - out) and exp(y - out)."""
    x, y, out = node.saved_tensors
    return mul(g, exp(sub(x, out))), mul(g, exp(sub(y, out)))


logaddexp = binary("logaddexp", {"float": "logaddexp"}, logaddexp_backward, (X, Y, OUT), inplace=False,
                   numbers=(), doc=_two("Logarithm of a sum of exponentials", "ln(e^input + e^other)"))


def logaddexp2_backward(node, g):
    """Weights 2^(x - out) and 2^(y - out)."""
    x, y, out = node.saved_tensors
    return mul(g, exp2(sub(x, out))), mul(g, exp2(sub(y, out)))


logaddexp2 = binary("logaddexp2", {"float": "logaddexp2"}, logaddexp2_backward, (X, Y, OUT), inplace=False,
                    numbers=(), doc=_two("Logarithm to base 2 of a sum of powers of two", "log2(2^input + 2^other)"))


def hypot_backward(node, g):
    """d sqrt(x^2 + y^2) = (x dx + y dy) / out."""
    x, y, out = node.saved_tensors
    return mul(g, div(x, out)), mul(g, div(y, out))


hypot = binary("hypot", {"float": "hypot"}, hypot_backward, (X, Y, OUT), numbers=(),
               doc=_two("Hypotenuse", "sqrt(input^2 + other^2)"))


# the rest of the family, built on what is above
from .compare import clamp, le, logical_and, logical_not, lt, maximum, minimum  # noqa: E402, F401
from .elementary import erf, sigmoid, tanh, zero_backward  # noqa: E402, F401
from .operators import real  # noqa: E402, F401
