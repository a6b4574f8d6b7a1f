"""Element-wise operations: arithmetic, comparisons, mathematics. Formulas are in kernels/pointwise.py."""
from .. import dtypes
from ..op import grad_name, op
from ..tensor import Tensor, wrap
from ._pointwise import Rule, binary, call, unary

X, Y, OUT = (0, None), (1, None), ("out", None)      # what an operation keeps for backward, whoever needs it
X_FOR_OTHER, Y_FOR_INPUT = (0, 1), (1, 0)


def _doc(says, formula, args="input (Tensor)", more=""):
    return f"{says}: ``{formula}``.\n\n    Args:\n        {args}: of any shape{more}.\n        out (Tensor): where the result goes.\n\n" \
           "    Returns:\n        A Tensor of the (broadcast) shape.\n    "


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


def _sub_scaled(input, other, alpha, out):
    found = sub(input, _scaled(input, other, alpha, "sub"))
    return found if out is None else out.copy_(found)


sub = binary("sub", {"int": "sub", "float": "sub", "complex": "sub"}, sub_backward, extras=("alpha=1",), extra=_sub_scaled,
             aliases=("subtract",), doc=_two("Difference", "input - alpha * other"))


@grad_name("RsubBackward1")
def rsub_backward(node, g):
    """d(y - x) = dy - dx, the first input being y."""
    return g, neg(g) if node.edges[1] is not None else None


_RSUB = Rule("rsub", "sub", False, "same")


@op(method=False)
def rsub(input, other, *, alpha=1):
    """``other - alpha * input``."""
    if alpha != 1:
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


neg = unary("neg", {"int": "neg", "float": "neg", "complex": "neg"}, neg_backward, aliases=("negative",),
            doc=_doc("Negation", "-input"))


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


@op(method=True, aliases=("conj_physical", "resolve_conj"))
def conj(input):
    """The complex conjugate; a real tensor as it is."""
    return _conj(input) if input._a.dtype.kind == "c" else input


# ---- powers ------------------------------------------------------------------------------------------------------------

_POW = Rule("pow", {"bool": "logical_or", "int": "pow_integral", "float": "pow", "complex": "pow"}, False, "same")
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
        if rule is _POW:
            found = call(rule, None, (), (input, exponent))
        else:
            found = call(rule, None, (), (input,))
        from ..op import record

        return record(found, _pow_scalar_backward, (input,), (input,), exponent=exponent)
    return call(_POW, _pow_backward, (X, Y, OUT), (input, exponent))


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
                   doc=_two("Logarithm of a sum of exponentials", "ln(e^input + e^other)"))


def logaddexp2_backward(node, g):
    """Weights 2^(x - out) and 2^(y - out)."""
    x, y, out = node.saved_tensors
    return mul(g, exp2(sub(x, out))), mul(g, exp2(sub(y, out)))


logaddexp2 = binary("logaddexp2", {"float": "logaddexp2"}, logaddexp2_backward, (X, Y, OUT), inplace=False,
                    doc=_two("Logarithm to base 2 of a sum of powers of two", "log2(2^input + 2^other)"))


def hypot_backward(node, g):
    """d sqrt(x^2 + y^2) = (x dx + y dy) / out."""
    x, y, out = node.saved_tensors
    return mul(g, div(x, out)), mul(g, div(y, out))


hypot = binary("hypot", {"float": "hypot"}, hypot_backward, (X, Y, OUT), doc=_two("Hypotenuse", "sqrt(input^2 + other^2)"))


# ---- trigonometry ------------------------------------------------------------------------------------------------------

def sin_backward(node, g):
    """d sin(x) = cos(x) dx."""
    x, = node.saved_tensors
    return mul(g, cos(conj_if_complex(x)))


def cos_backward(node, g):
    """d cos(x) = -sin(x) dx."""
    x, = node.saved_tensors
    return neg(mul(g, sin(conj_if_complex(x))))


sin = unary("sin", "sine", sin_backward, (X,), floats=True, doc=_doc("Sine", "sin(input)"))
cos = unary("cos", "cosine", cos_backward, (X,), floats=True, doc=_doc("Cosine", "cos(input)"))


def tan_backward(node, g):
    """d tan(x) = (1 + tan^2) dx."""
    y, = node.saved_tensors
    return mul(g, add(mul(y, y), 1))


tan = unary("tan", {"float": "tan"}, tan_backward, (OUT,), floats=True, doc=_doc("Tangent", "tan(input)"))


def asin_backward(node, g):
    """d asin(x) = dx / sqrt(1 - x^2)."""
    x, = node.saved_tensors
    return mul(g, rsqrt(sub(1, mul(x, x))))


def acos_backward(node, g):
    """d acos(x) = -dx / sqrt(1 - x^2)."""
    return neg(asin_backward(node, g))


def atan_backward(node, g):
    """d atan(x) = dx / (1 + x^2)."""
    x, = node.saved_tensors
    return div(g, add(mul(x, x), 1))


asin = unary("asin", {"float": "asin"}, asin_backward, (X,), floats=True, aliases=("arcsin",), doc=_doc("Arc sine", "asin(input)"))
acos = unary("acos", {"float": "acos"}, acos_backward, (X,), floats=True, aliases=("arccos",),
             doc=_doc("Arc cosine", "acos(input)"))
atan = unary("atan", {"float": "atan"}, atan_backward, (X,), floats=True, aliases=("arctan",),
             doc=_doc("Arc tangent", "atan(input)"))


def atan2_backward(node, g):
    """d atan2(x, y) = (y dx - x dy) / (x^2 + y^2)."""
    x, y = node.saved_tensors
    scaled = div(g, add(mul(x, x), mul(y, y)))
    return mul(scaled, y), neg(mul(scaled, x))


atan2 = binary("atan2", {"float": "atan2"}, atan2_backward, (X, Y), floats=True, aliases=("arctan2",),
               doc=_two("Angle of (other, input)", "atan2(input, other)"))


def sinh_backward(node, g):
    """d sinh(x) = cosh(x) dx."""
    x, = node.saved_tensors
    return mul(g, cosh(x))


def cosh_backward(node, g):
    """d cosh(x) = sinh(x) dx."""
    x, = node.saved_tensors
    return mul(g, sinh(x))


sinh = unary("sinh", {"float": "sinh"}, sinh_backward, (X,), floats=True, doc=_doc("Hyperbolic sine", "sinh(input)"))
cosh = unary("cosh", {"float": "cosh"}, cosh_backward, (X,), floats=True, doc=_doc("Hyperbolic cosine", "cosh(input)"))


def tanh_backward(node, g):
    """d tanh(x) = (1 - tanh^2) dx."""
    y, = node.saved_tensors
    return tanh_grad(g, y)


tanh = unary("tanh", "hyperbolic_tangent", tanh_backward, (OUT,), floats=True, doc=_doc("Hyperbolic tangent", "tanh(input)"))


def tanh_grad_backward(node, g):
    """d (a (1 - y^2)) = (1 - y^2) da - 2 a y dy."""
    a, y = node.saved_tensors
    return tanh_grad(g, y), mul(mul(g, -2), mul(a, y))


tanh_grad = binary("_tanh_grad", {"float": "tanh_grad", "complex": "tanh_grad"}, tanh_grad_backward, (X, Y), method=False,
                   inplace=False, grad="TanhBackwardBackward0", doc=_two("Gradient of tanh", "input * (1 - other^2)"))


def asinh_backward(node, g):
    """d asinh(x) = dx / sqrt(x^2 + 1)."""
    x, = node.saved_tensors
    return mul(g, rsqrt(add(mul(x, x), 1)))


def acosh_backward(node, g):
    """d acosh(x) = dx / sqrt(x^2 - 1)."""
    x, = node.saved_tensors
    return mul(g, rsqrt(sub(mul(x, x), 1)))


def atanh_backward(node, g):
    """d atanh(x) = dx / (1 - x^2)."""
    x, = node.saved_tensors
    return div(g, sub(1, mul(x, x)))


asinh = unary("asinh", {"float": "asinh"}, asinh_backward, (X,), floats=True, aliases=("arcsinh",),
              doc=_doc("Inverse hyperbolic sine", "asinh(input)"))
acosh = unary("acosh", {"float": "acosh"}, acosh_backward, (X,), floats=True, aliases=("arccosh",),
              doc=_doc("Inverse hyperbolic cosine", "acosh(input)"))
atanh = unary("atanh", {"float": "atanh"}, atanh_backward, (X,), floats=True, aliases=("arctanh",),
              doc=_doc("Inverse hyperbolic tangent", "atanh(input)"))


def sinc_backward(node, g):
    """d sinc(x) = (cos(pi x) - sinc(x)) / x dx, 0 at x = 0."""
    from .masked import where

    x, y = node.saved_tensors
    slope = div(sub(cos(mul(x, 3.141592653589793)), y), x)
    return mul(g, where(x == 0, 0.0, slope))


sinc = unary("sinc", {"float": "sinc"}, sinc_backward, (X, OUT), floats=True, doc=_doc("Normalised sinc",
                                                                                       "sin(pi input) / (pi input)"))


# ---- special functions -------------------------------------------------------------------------------------------------

def erf_backward(node, g):
    """d erf(x) = 2 / sqrt(pi) e^(-x^2) dx."""
    x, = node.saved_tensors
    return mul(g, mul(exp(neg(mul(x, x))), 1.1283791670955126))


def erfc_backward(node, g):
    """d erfc(x) = -2 / sqrt(pi) e^(-x^2) dx."""
    return neg(erf_backward(node, g))


def erfinv_backward(node, g):
    """d erfinv(x) = sqrt(pi) / 2 e^(y^2) dx."""
    y, = node.saved_tensors
    return mul(g, mul(exp(mul(y, y)), 0.8862269254527579))


erf = unary("erf", {"float": "error_function"}, erf_backward, (X,), floats=True, doc=_doc("Error function", "erf(input)"))
erfc = unary("erfc", {"float": "error_function_complement"}, erfc_backward, (X,), floats=True,
             doc=_doc("Complementary error function", "1 - erf(input)"))
erfinv = unary("erfinv", {"float": "erfinv"}, erfinv_backward, (OUT,), floats=True,
               doc=_doc("Inverse error function", "y with erf(y) = input"))


def lgamma_backward(node, g):
    """d ln Gamma(x) = digamma(x) dx."""
    x, = node.saved_tensors
    return mul(g, digamma(x))


def digamma_backward(node, g):
    """d digamma(x) = trigamma(x) dx."""
    x, = node.saved_tensors
    return mul(g, _trigamma(x))


def _trigamma_backward(node, g):
    raise NotImplementedError("the derivative of trigamma is not built; detach() the second derivative of lgamma")


lgamma = unary("lgamma", {"float": "lgamma"}, lgamma_backward, (X,), floats=True,
               doc=_doc("Logarithm of the gamma function", "ln |Gamma(input)|"))
digamma = unary("digamma", {"float": "digamma"}, digamma_backward, (X,), floats=True,
                doc=_doc("Logarithmic derivative of the gamma function", "Gamma'(input) / Gamma(input)"))
_trigamma = unary("_trigamma", {"float": "trigamma"}, _trigamma_backward, floats=True, method=False, inplace=False,
                  doc=_doc("Second derivative of ln Gamma", "trigamma(input)"))


# ---- sigmoid, here because the special functions of torch hold it ---------------------------------------------------------

def sigmoid_backward(node, g):
    """d sigmoid(x) = y (1 - y) dx."""
    y, = node.saved_tensors
    return sigmoid_grad(g, y)


sigmoid = unary("sigmoid", {"float": "sigmoid"}, sigmoid_backward, (OUT,), floats=True, doc=_doc("Logistic function",
                                                                                                "1 / (1 + e^-input)"))


def sigmoid_grad_backward(node, g):
    """d (a y (1 - y)) = y (1 - y) da + a (1 - 2 y) dy."""
    a, y = node.saved_tensors
    return sigmoid_grad(g, y), mul(mul(g, a), sub(1, mul(y, 2)))


sigmoid_grad = binary("_sigmoid_grad", {"float": "sigmoid_grad"}, sigmoid_grad_backward, (X, Y), method=False, inplace=False,
                      grad="SigmoidBackwardBackward0", doc=_two("Gradient of sigmoid", "input * other * (1 - other)"))


def logit_backward(node, g):
    """d logit(x) = dx / (x (1 - x))."""
    x, = node.saved_tensors
    return div(g, mul(x, sub(1, x)))


@op(method=True, out=True)
def logit(input, eps=None):
    """``ln(x / (1 - x))``; with ``eps``, x is first kept within [eps, 1 - eps]."""
    x = input if eps is None else input.clamp(eps, 1 - eps)
    return log(div(x, sub(1, x)))


# ---- rounding ----------------------------------------------------------------------------------------------------------

def zero_backward(node, g):
    """A step function is flat."""
    return mul(g, 0)


floor = unary("floor", {"int": "add_zero", "float": "floor"}, zero_backward, grad="FloorBackward0",
              doc=_doc("Largest integer not above", "floor(input)"))
ceil = unary("ceil", {"int": "add_zero", "float": "ceil"}, zero_backward, grad="CeilBackward0",
             doc=_doc("Smallest integer not below", "ceil(input)"))
trunc = unary("trunc", {"int": "add_zero", "float": "trunc"}, zero_backward, grad="TruncBackward0", aliases=("fix",),
              doc=_doc("Integer part", "trunc(input)"))
_round = unary("_round", {"int": "add_zero", "float": "round_half_even"}, zero_backward, grad="RoundBackward0", method=False,
               inplace=False, doc=_doc("Nearest integer, halves to even", "round(input)"))


@op(method=True, inplace=True, out=True)
def round(input, *, decimals=0):
    """The nearest number of ``decimals`` decimals; halves go to the even neighbour."""
    if not decimals:
        return _round(input)
    scale = 10.0 ** decimals
    return div(_round(mul(input, scale)), scale)


def frac_backward(node, g):
    """d frac(x) = dx."""
    return g


frac = unary("frac", {"float": "frac"}, frac_backward, doc=_doc("Fractional part", "input - trunc(input)"))


# ---- comparisons and logic ---------------------------------------------------------------------------------------------

def _comparison(name, symbol, aliases=()):
    return binary(name, name, out="bool", aliases=aliases, doc=_two("Comparison, a bool tensor", f"input {symbol} other"))


eq, ne = _comparison("eq", "=="), _comparison("ne", "!=", ("not_equal",))
lt, le = _comparison("lt", "<", ("less",)), _comparison("le", "<=", ("less_equal",))
gt, ge = _comparison("gt", ">", ("greater",)), _comparison("ge", ">=", ("greater_equal",))

logical_not = unary("logical_not", "logical_not", out="bool", doc=_doc("Logical not", "input == 0"))
logical_and = binary("logical_and", "logical_and", out="bool", doc=_two("Logical and", "input != 0 and other != 0"))
logical_or = binary("logical_or", "logical_or", out="bool", doc=_two("Logical or", "input != 0 or other != 0"))
logical_xor = binary("logical_xor", "logical_xor", out="bool", doc=_two("Logical exclusive or", "(input != 0) != (other != 0)"))

isnan = unary("isnan", "isnan", out="bool", inplace=False, doc=_doc("Is not a number", "input != input"))
isinf = unary("isinf", {"bool": "logical_never", "int": "logical_never", "float": "isinf"}, out="bool", inplace=False,
              doc=_doc("Is infinite", "|input| == inf"))
isfinite = unary("isfinite", {"bool": "logical_always", "int": "logical_always", "float": "isfinite", "complex": "isfinite"},
                 out="bool", inplace=False, doc=_doc("Is finite", "|input| < inf"))
isposinf = unary("isposinf", {"bool": "logical_never", "int": "logical_never", "float": "isposinf"}, out="bool", inplace=False,
                 doc=_doc("Is plus infinity", "input == inf"))
isneginf = unary("isneginf", {"bool": "logical_never", "int": "logical_never", "float": "isneginf"}, out="bool", inplace=False,
                 doc=_doc("Is minus infinity", "input == -inf"))
signbit = unary("signbit", {"bool": "logical_never", "int": "signbit_integral", "float": "signbit"}, out="bool", inplace=False,
                doc=_doc("Has its sign bit set", "input < 0 or is -0.0"))

bitwise_not = unary("bitwise_not", {"bool": "logical_not", "int": "bitwise_not"}, doc=_doc("Bitwise not", "~input"))
bitwise_and = binary("bitwise_and", {"bool": "bitwise_and", "int": "bitwise_and"}, doc=_two("Bitwise and", "input & other"))
bitwise_or = binary("bitwise_or", {"bool": "bitwise_or", "int": "bitwise_or"}, doc=_two("Bitwise or", "input | other"))
bitwise_xor = binary("bitwise_xor", {"bool": "bitwise_xor", "int": "bitwise_xor"},
                     doc=_two("Bitwise exclusive or", "input ^ other"))
bitwise_left_shift = binary("bitwise_left_shift", {"int": "bitwise_left_shift"}, doc=_two("Shift left", "input << other"))
bitwise_right_shift = binary("bitwise_right_shift", {"int": "bitwise_right_shift"}, doc=_two("Shift right", "input >> other"))
gcd = binary("gcd", {"int": "gcd"}, doc=_two("Greatest common divisor", "gcd(input, other)"))
lcm = binary("lcm", {"int": "lcm"}, doc=_two("Least common multiple", "lcm(input, other)"))


# ---- extremes ----------------------------------------------------------------------------------------------------------

def maximum_backward(node, g):
    """To the larger; half to each of equals."""
    x, y = node.saved_tensors
    return _share(g, x, y, gt)


def _share(g, x, y, wins):
    half = mul(eq(x, y).to(g.dtype), 0.5)
    first = add(wins(x, y).to(g.dtype), half)
    return mul(g, first), mul(g, sub(1, first))


def minimum_backward(node, g):
    """To the smaller; half to each of equals."""
    x, y = node.saved_tensors
    return _share(g, x, y, lt)


_MAX_FORMS = {"bool": "bitwise_or", "int": "maximum", "float": "maximum"}
_MIN_FORMS = {"bool": "bitwise_and", "int": "minimum", "float": "minimum"}
maximum = binary("maximum", _MAX_FORMS, maximum_backward, (X, Y), inplace=False, doc=_two("The larger; nan wins", "max"))
minimum = binary("minimum", _MIN_FORMS, minimum_backward, (X, Y), inplace=False, doc=_two("The smaller; nan wins", "min"))


def fmax_backward(node, g):
    """To the one that was taken."""
    x, y = node.saved_tensors
    first = logical_or(ge(x, y), isnan(y)).to(g.dtype)
    return mul(g, first), mul(g, sub(1, first))


def fmin_backward(node, g):
    """To the one that was taken."""
    x, y = node.saved_tensors
    first = logical_or(le(x, y), isnan(y)).to(g.dtype)
    return mul(g, first), mul(g, sub(1, first))


fmax = binary("fmax", {"bool": "bitwise_or", "int": "fmax", "float": "fmax"}, fmax_backward, (X, Y), inplace=False,
              doc=_two("The larger; nan loses", "fmax"))
fmin = binary("fmin", {"bool": "bitwise_and", "int": "fmin", "float": "fmin"}, fmin_backward, (X, Y), inplace=False,
              doc=_two("The smaller; nan loses", "fmin"))


def copysign_backward(node, g):
    """The slope is -1 where the sign was turned; none at 0."""
    x, out = node.saved_tensors
    return mul(g, mul(sign(x), sign(out))), mul(g, 0) if node.edges[1] is not None else None


copysign = binary("copysign", {"float": "copysign"}, copysign_backward, (X, OUT), floats=True,
                  doc=_two("Size of one, sign of the other", "|input| with the sign of other"))
heaviside = binary("heaviside", {"int": "heaviside", "float": "heaviside"}, doc=_two("Step function",
                                                                                    "0, other at 0, or 1"))


# ---- several inputs ----------------------------------------------------------------------------------------------------

def _rule(name, formula):
    return Rule(name, formula, False, "same")


_CLAMP, _CLAMP_MIN, _CLAMP_MAX = (_rule("clamp", f) for f in ("clamp", "clamp_min", "clamp_max"))


def clamp_backward(node, g):
    """Passes within the limits; a limit that was taken gets the rest."""
    x, low, high = node.saved_tensors
    inside = gx = None
    below = lt(x, low) if low is not None else None
    above = gt(x, high) if high is not None else None
    for bad in (below, above):
        if bad is not None:
            inside = logical_not(bad) if inside is None else logical_and(inside, logical_not(bad))
    if node.edges[0] is not None:
        gx = mul(g, inside.to(g.dtype))
    i = 1
    found = [gx]
    for bad in (below, above):
        if bad is not None:
            found.append(mul(g, bad.to(g.dtype)) if node.edges[i] is not None else None)
            i += 1
    return tuple(found)


@op(method=True, inplace=True, out=True, aliases=("clip",))
def clamp(input, min=None, max=None):
    """Numbers below ``min`` become ``min``, those above ``max`` become ``max``; nan stays.

    Args:
        input (Tensor): of any shape.
        min, max (Tensor or number): one of them may be left out.

    Raises:
        RuntimeError: both are left out.

    >>> import numtorch as torch
    >>> torch.tensor([-2., 0.5, 3.]).clamp(0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    from ..op import record

    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    limits = [v for v in (min, max) if v is not None]
    rule = _CLAMP if len(limits) == 2 else (_CLAMP_MIN if max is None else _CLAMP_MAX)
    found = call(rule, None, (), (input, *limits))
    tensors = [v if isinstance(v, Tensor) else wrap_number(v, input) for v in limits]
    kept = [input] + [tensors.pop(0) if v is not None else None for v in (min, max)]
    return record(found, clamp_backward, (input, *(v if isinstance(v, Tensor) else None for v in limits)), kept)


def wrap_number(value, like):
    """A Python number as a 0-dim tensor of the dtype it takes beside ``like``."""
    import numpy as np

    return wrap(np.array(value).astype(dtypes.result_dtype([like.dtype], [], [dtypes.scalar_dtype(value)])._np))


@op(method=True, inplace=True, out=True)
def clamp_min(input, min):
    """``clamp(input, min=min)``."""
    return clamp(input, min=min)


@op(method=True, inplace=True, out=True)
def clamp_max(input, max):
    """``clamp(input, max=max)``."""
    return clamp(input, max=max)


_LERP, _ADDCMUL, _ADDCDIV = (_rule(n, n) for n in ("lerp", "addcmul", "addcdiv"))


def lerp_backward(node, g):
    """d (x + w (y - x)) = (1 - w) dx + w dy + (y - x) dw."""
    x, y, w = node.saved_tensors
    gw = mul(g, sub(y, x)) if node.edges[2] is not None else None
    return mul(g, sub(1, w)), mul(g, w), gw


@op(method=True, inplace=True, out=True)
def lerp(input, end, weight):
    """``input + weight * (end - input)``."""
    return call(_LERP, lerp_backward, (X, Y, (2, None)), (input, end, weight))


def addcmul_backward(node, g):
    """d (x + v y z) = dx + v z dy + v y dz."""
    y, z, v = node.saved_tensors
    g2 = mul(g, v)
    return g, mul(g2, z), mul(g2, y), None


@op(method=True, inplace=True, out=True)
def addcmul(input, tensor1, tensor2, *, value=1):
    """``input + value * tensor1 * tensor2``."""
    return call(_ADDCMUL, addcmul_backward, (Y, (2, None), (3, None)), (input, tensor1, tensor2, value))


def addcdiv_backward(node, g):
    """d (x + v y / z) = dx + v / z dy - v y / z^2 dz."""
    y, z, v = node.saved_tensors
    g2 = div(mul(g, v), z)
    return g, g2, neg(mul(g2, div(y, z))), None


@op(method=True, inplace=True, out=True)
def addcdiv(input, tensor1, tensor2, *, value=1):
    """``input + value * tensor1 / tensor2``; RuntimeError for integer tensors."""
    if all(t.dtype.category < dtypes.FLOATING for t in (tensor1, tensor2)):
        raise RuntimeError("Integer division with addcdiv is no longer supported, and in a future  release addcdiv will perform "
                           "a true division of tensor1 and tensor2. The historic addcdiv behavior can be implemented as "
                           "(input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for integer inputs and as "
                           "(input + value * tensor1 / tensor2) for float inputs.")
    return call(_ADDCDIV, addcdiv_backward, (Y, (2, None), (3, None)), (input, tensor1, tensor2, value))


def nan_to_num_backward(node, g):
    """Passes where the number was finite."""
    x, = node.saved_tensors
    return (mul(g, isfinite(x).to(g.dtype)), None, None, None)


_NAN_TO_NUM = Rule("nan_to_num", {"float": "nan_to_num"}, False, "same")


@op(method=True, inplace=True, out=True)
def nan_to_num(input, nan=None, posinf=None, neginf=None):
    """nan, inf and -inf replaced by numbers: 0, the largest and the smallest of the dtype unless given."""
    if input.dtype.category < dtypes.FLOATING:
        return input.clone()
    info = dtypes.finfo(input.dtype)
    return call(_NAN_TO_NUM, nan_to_num_backward, (X,), (input, 0.0 if nan is None else float(nan),
                info.max if posinf is None else float(posinf), info.min if neginf is None else float(neginf)))


_ISCLOSE = Rule("isclose", {"float": "isclose"}, True, "bool")


@op(method=True)
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """``|input - other| <= atol + rtol * |other|``; infinities are close to themselves, nan to nan if ``equal_nan``."""
    if input._a.dtype != other._a.dtype:
        raise RuntimeError(f"{input.dtype} did not match {other.dtype}")
    import numpy as np

    if input.is_complex():
        return wrap(np.asarray(np.isclose(input._a, other._a, rtol, atol, equal_nan)))
    if input.dtype.category < dtypes.FLOATING:
        input, other = input.double(), other.double()
    with_limits = [wrap(np.array(v, input._a.dtype)) for v in (rtol, atol, float(equal_nan))]
    return call(_ISCLOSE, None, (), (input, other, *with_limits))


@op(method=True)
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """True when all elements are close; see ``isclose``."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._a.all())


@op(method=True)
def equal(input, other):
    """True when shapes and all elements are equal."""
    import numpy as np

    return np.array_equal(input._a, other._a)


# ---- parts of complex numbers --------------------------------------------------------------------------------------------

def _part(name, doc):
    @op(name, method=False)
    def part(input):
        if input._a.dtype.kind != "c":
            if name == "real":
                return input
            raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
        from .view import select, view_as_real

        return select(view_as_real(input), -1, 0 if name == "real" else 1)
    part.__doc__ = doc
    return part


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
