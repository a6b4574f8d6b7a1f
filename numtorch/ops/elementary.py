"""Trigonometry, special functions, sigmoid and rounding, element by element."""
from ..op import op
from ._pointwise import binary, unary
from .pointwise import OUT, X, Y, _doc, _two, add, conj_if_complex, div, exp, log, mul, neg, rsqrt, sub

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


asin = unary("asin", {"float": "asin"}, asin_backward, (X,), floats=True, aliases=("arcsin",),
             doc=_doc("Arc sine", "asin(input)"))
acos = unary("acos", {"float": "acos"}, acos_backward, (X,), floats=True, aliases=("arccos",),
             doc=_doc("Arc cosine", "acos(input)"))
atan = unary("atan", {"float": "atan"}, atan_backward, (X,), floats=True, aliases=("arctan",),
             doc=_doc("Arc tangent", "atan(input)"))


def atan2_backward(node, g):
    """d atan2(x, y) = (y dx - x dy) / (x^2 + y^2)."""
    x, y = node.saved_tensors
    scaled = div(g, add(mul(x, x), mul(y, y)))
    return mul(scaled, y), neg(mul(scaled, x))


atan2 = binary("atan2", {"float": "atan2"}, atan2_backward, (X, Y), floats=True, aliases=("arctan2",), numbers=(),
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
