"""Activation functions. Formulas are in kernels/pointwise.py; those with parameters take them as 0-dim inputs."""
from ..dtypes import finfo
from ..op import INPLACE, OPS, Op, also_named, explaining, grad_name, inplace_twin, op, type_name
from ..tensor import Tensor
from . import pointwise
from ._pointwise import Rule, binary, call, unary
from .pointwise import OUT, X, Y, _doc, _two, mul

_IN_NN = "nn.functional"


def _real(name, formula, by_first=False):
    return Rule(name, {"float": formula}, False, "same", by_first)


def _with_inplace(fn, name, *, torch_name=False):
    """F.name(input, ..., inplace=False), its twin name_, and both in torch where torch has them there."""
    twin = inplace_twin(name, fn)

    def public(input, *args, inplace=False, **kwargs):
        return twin(input, *args, **kwargs) if inplace else fn(input, *args, **kwargs)
    public.__name__ = public.__qualname__ = name
    public.__doc__, public.__module__, public.__wrapped__ = fn.__doc__, __name__, fn
    OPS[f"{_IN_NN}.{name}"] = Op(name, explaining(name, public), _IN_NN, False, True, False)
    INPLACE[f"{_IN_NN}.{name}_"] = twin
    if torch_name:
        OPS[name] = Op(name, explaining(name, fn), "torch", False, True, False)
        INPLACE[name + "_"] = twin
    return public


# ---- relu and its relatives --------------------------------------------------------------------------------------------

def relu_grad_backward(node, g):
    """relu's gradient is linear in its first argument."""
    y, = node.saved_tensors
    return relu_grad(g, y), None


relu_grad = binary("_relu_grad", {"float": "relu_grad"}, relu_grad_backward, (Y,), method=False, inplace=False,
                   grad="ThresholdBackwardBackward0", doc=_two("Gradient of relu", "input where other > 0, else 0"))


def relu_backward(node, g):
    """d relu(x) = dx where x > 0."""
    y, = node.saved_tensors
    return relu_grad(g, y)


_relu = unary("relu", {"int": "relu", "float": "relu"}, relu_backward, (OUT,), doc=_doc("Rectified linear unit", "max(0, input)"))


def relu(input, inplace=False):
    """Rectified linear unit: ``max(0, input)``; nan stays.

    Args:
        input (Tensor): of any shape.
        inplace (bool): write into ``input``.
    """
    return Tensor.relu_(input) if inplace else _relu(input)


OPS["nn.functional.relu"] = Op("relu", relu, _IN_NN, False, True, False)
INPLACE["nn.functional.relu_"] = Tensor.relu_


def threshold_backward(node, g):
    """Passes above the limit."""
    x, limit = node.saved_tensors
    return call(_THRESHOLD_GRAD, threshold_grad_backward, (Y, (2, None)), (g, x, limit)), None, None


def threshold_grad_backward(node, g):
    """The gradient of threshold is linear in its first argument."""
    x, limit = node.saved_tensors
    return call(_THRESHOLD_GRAD, threshold_grad_backward, (Y, (2, None)), (g, x, limit)), None, None


_THRESHOLD, _THRESHOLD_GRAD = _real("threshold", "threshold"), _real("threshold_backward", "threshold_grad")


def _threshold(input, threshold, value):
    """``input`` where it is above ``threshold``, else ``value``."""
    return call(_THRESHOLD, threshold_backward, (X, Y), (input, threshold, value))


threshold = _with_inplace(_threshold, "threshold", torch_name=True)


def leaky_relu_backward(node, g):
    """d leaky_relu(x) = dx where x > 0, slope dx elsewhere."""
    x, slope = node.saved_tensors
    return call(_LEAKY_GRAD, leaky_relu_grad_backward, (Y, (2, None)), (g, x, slope)), None


def leaky_relu_grad_backward(node, g):
    """The gradient of leaky_relu is linear in its first argument."""
    x, slope = node.saved_tensors
    return call(_LEAKY_GRAD, leaky_relu_grad_backward, (Y, (2, None)), (g, x, slope)), None, None


_LEAKY, _LEAKY_GRAD = _real("leaky_relu_cpu", "leaky_relu", True), _real("leaky_relu_backward", "leaky_relu_grad")


def _leaky_relu(input, negative_slope=0.01):
    """``input`` where it is positive, ``negative_slope * input`` elsewhere."""
    return call(_LEAKY, leaky_relu_backward, (X, Y), (input, negative_slope))


leaky_relu = _with_inplace(_leaky_relu, "leaky_relu")


@grad_name("PreluKernelBackward0")
def prelu_backward(node, g):
    """To the input as leaky_relu; to the weight where the input is not positive."""
    x, w = node.saved_tensors
    gx = call(_LEAKY_GRAD, prelu_grad_backward, (X, Y, (2, None)), (g, x, w)) if node.edges[0] is not None else None
    gw = mul(g, mul(x, pointwise.le(x, 0).to(g.dtype))) if node.edges[1] is not None else None
    return gx, gw


def prelu_grad_backward(node, gg):
    """d (a slope(x)) = slope(x) da + a [x <= 0] dw."""
    a, x, w = node.saved_tensors
    negative = pointwise.le(x, 0).to(a.dtype)
    return call(_LEAKY_GRAD, prelu_grad_backward, (X, Y, (2, None)), (gg, x, w)), None, mul(gg, mul(a, negative))


@op(method=True)
def prelu(input, weight):
    """``leaky_relu`` with a learned slope: one, or one a channel (dimension 1).

    Raises:
        RuntimeError: the number of slopes is neither 1 nor that of channels.
    """
    n, shape = weight._a.size, input._a.shape
    if input._a.dtype is not weight._a.dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {type_name(input.dtype)} and {type_name(weight.dtype)}")
    if n != 1:
        channels = shape[1] if len(shape) > 1 else 1
        if n != channels:
            raise RuntimeError("Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                               f"{n} and channel size = {channels}.")
        weight = weight.reshape((1, n) + (1,) * (len(shape) - 2) if len(shape) > 1 else (n,))
    else:
        weight = weight.reshape((1,) * len(shape))
    return call(_LEAKY, prelu_backward, (X, Y), (input, weight))


OPS["nn.functional.prelu"] = Op("prelu", explaining("prelu", prelu), _IN_NN, False, False, False)


def hardtanh_backward(node, g):
    """Passes strictly between the limits."""
    x, low, high = node.saved_tensors
    return call(_HARDTANH_GRAD, hardtanh_grad_backward, (Y, (2, None), (3, None)), (g, x, low, high)), None, None


def hardtanh_grad_backward(node, g):
    """The gradient of hardtanh is linear in its first argument."""
    x, low, high = node.saved_tensors
    return call(_HARDTANH_GRAD, hardtanh_grad_backward, (Y, (2, None), (3, None)), (g, x, low, high)), None, None, None


_HARDTANH, _HARDTANH_GRAD = _real("hardtanh", "clamp"), _real("hardtanh_backward", "hardtanh_grad")


def _hardtanh(input, min_val=-1.0, max_val=1.0):
    """``input`` kept within [min_val, max_val]."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return call(_HARDTANH, hardtanh_backward, (X, Y, (2, None)), (input, min_val, max_val))


hardtanh = _with_inplace(_hardtanh, "hardtanh")


def _relu6(input):
    """``min(max(0, input), 6)``."""
    return _hardtanh(input, 0.0, 6.0)


relu6 = _with_inplace(_relu6, "relu6")


# ---- exponential units -------------------------------------------------------------------------------------------------

_ELU, _ELU_GRAD = _real("elu_cpu", "elu", True), _real("elu_backward", "elu_grad")
_ELU_SAVES = (X, Y, (2, None), (3, None))


def elu_backward(node, g):
    """d elu(x) = scale dx where x > 0, alpha scale input_scale e^(x input_scale) dx elsewhere."""
    x, *parameters = node.saved_tensors
    return call(_ELU_GRAD, elu_grad_backward, (X, Y, (2, None), (3, None), (4, None)), (g, x, *parameters)), None, None, None


def elu_grad_backward(node, gg):
    """d (a f(x)) = f(x) da + a f'(x) dx, f' being input_scale f where x <= 0 and 0 elsewhere."""
    a, x, alpha, scale, input_scale = node.saved_tensors
    parameters = (alpha, scale, input_scale)
    ga = call(_ELU_GRAD, elu_grad_backward, (X, Y, (2, None), (3, None), (4, None)), (gg, x, *parameters))
    curve = mul(pointwise.exp(mul(x, input_scale)), mul(mul(alpha, scale), mul(input_scale, input_scale)))
    gx = mul(mul(gg, a), mul(curve, pointwise.le(x, 0).to(a.dtype))) if node.edges[1] is not None else None
    return ga, gx, None, None, None


def _elu(input, alpha=1.0):
    """``input`` where it is positive, ``alpha * (e^input - 1)`` elsewhere."""
    return call(_ELU, elu_backward, _ELU_SAVES, (input, alpha, 1.0, 1.0))


def _selu(input):
    """Scaled ``elu``: scale 1.0507, alpha 1.6733 (Klambauer et al., 2017)."""
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return call(_ELU, elu_backward, _ELU_SAVES, (input, alpha, scale, 1.0))


def _celu(input, alpha=1.0):
    """``max(0, x) + min(0, alpha * (e^(x / alpha) - 1))``; RuntimeError for alpha 0."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return call(_ELU, _celu_backward, _ELU_SAVES, (input, alpha, 1.0, 1.0 / alpha))


_celu_backward = also_named("CeluBackward0", elu_backward)


elu = _with_inplace(_elu, "elu")
selu, celu = _with_inplace(_selu, "selu", torch_name=True), _with_inplace(_celu, "celu", torch_name=True)


# ---- smooth units ------------------------------------------------------------------------------------------------------

def gelu_backward(node, g):
    """d gelu(x) = (Phi(x) + x phi(x)) dx."""
    x, = node.saved_tensors
    return _gelu_grad(g, x)


def gelu_grad_backward(node, gg):
    """The second derivative of gelu is phi(x) (2 - x^2)."""
    a, x = node.saved_tensors
    x2 = mul(x, x)
    density = mul(pointwise.exp(mul(x2, -0.5)), 0.3989422804014327)
    return _gelu_grad(gg, x), mul(mul(gg, a), mul(density, pointwise.rsub(x2, 2))) if node.edges[1] is not None else None


_gelu_grad = binary("_gelu_grad", {"float": "gelu_grad"}, gelu_grad_backward, (X, Y), method=False, inplace=False,
                    grad="GeluBackwardBackward0", doc=_two("Gradient of gelu", "input * gelu'(other)"))
_gelu = unary("_gelu", {"float": "gelu"}, gelu_backward, (X,), method=False, inplace=False, grad="GeluBackward0",
              doc=_doc("Gaussian error linear unit", "input * Phi(input)"))


@grad_name("GeluBackward0")
def gelu_tanh_backward(node, g):
    """d gelu(x), tanh form."""
    x, = node.saved_tensors
    return _gelu_tanh_grad(g, x)


@grad_name("GeluBackwardBackward0")
def gelu_tanh_grad_backward(node, gg):
    """The second derivative of the tanh form, by the chain rule on u = c (x + k x^3)."""
    a, x = node.saved_tensors
    c, k = 0.7978845608028654, 0.044715
    x2 = mul(x, x)
    t = pointwise.tanh(mul(x, mul(x2 * k + 1, c)))
    du, ddu, sech2 = (x2 * (3 * k) + 1) * c, x * (6 * k * c), 1 - t * t
    second = sech2 * du + x * 0.5 * (sech2 * ddu - 2 * t * sech2 * du * du)
    return _gelu_tanh_grad(gg, x), mul(mul(gg, a), second) if node.edges[1] is not None else None


_gelu_tanh_grad = binary("_gelu_tanh_grad", {"float": "gelu_tanh_grad"}, gelu_tanh_grad_backward, (X, Y), method=False,
                         inplace=False, doc=_two("Gradient of gelu's tanh form", "input * gelu'(other)"))
_gelu_tanh = unary("_gelu_tanh", {"float": "gelu_tanh"}, gelu_tanh_backward, (X,), method=False, inplace=False,
                   doc=_doc("Gaussian error linear unit, tanh form", "0.5 x (1 + tanh(0.7979 (x + 0.044715 x^3)))"))


@op(namespace=_IN_NN)
def gelu(input, approximate="none"):
    """Gaussian error linear unit: ``x * Phi(x)``, or its tanh approximation (Hendrycks & Gimpel, 2016).

    Raises:
        RuntimeError: ``approximate`` is neither "none" nor "tanh".
    """
    if approximate == "none":
        return _gelu(input)
    if approximate == "tanh":
        return _gelu_tanh(input)
    raise RuntimeError("approximate argument must be either none or tanh.")


def silu_backward(node, g):
    """d silu(x) = s (1 + x (1 - s)) dx with s = sigmoid(x)."""
    x, = node.saved_tensors
    return _silu_grad(g, x)


def silu_grad_backward(node, gg):
    """The second derivative of silu is s (1 - s) (2 + x (1 - 2 s))."""
    a, x = node.saved_tensors
    s = pointwise.sigmoid(x)
    second = s * (1 - s) * (2 + x * (1 - 2 * s))
    return _silu_grad(gg, x), mul(mul(gg, a), second) if node.edges[1] is not None else None


_silu_grad = binary("_silu_grad", {"float": "silu_grad"}, silu_grad_backward, (X, Y), method=False, inplace=False,
                    grad="SiluBackwardBackward0", doc=_two("Gradient of silu", "input * silu'(other)"))
_silu_op = unary("_silu", {"float": "silu"}, silu_backward, (X,), method=False, inplace=False, grad="SiluBackward0",
                 doc=_doc("Sigmoid linear unit", "input * sigmoid(input)"))


def _silu(input):
    """Sigmoid linear unit, or swish: ``input * sigmoid(input)``."""
    return _silu_op(input)


silu = _with_inplace(_silu, "silu")

_SOFTPLUS, _SOFTPLUS_GRAD = _real("softplus_cpu", "softplus", True), _real("softplus_backward", "softplus_grad")


def softplus_backward(node, g):
    """d softplus(x) = sigmoid(beta x) dx."""
    x, beta, limit = node.saved_tensors
    return call(_SOFTPLUS_GRAD, softplus_grad_backward, (X, Y, (2, None), (3, None)), (g, x, beta, limit)), None, None


def softplus_grad_backward(node, gg):
    """The second derivative of softplus is beta s (1 - s), 0 above the threshold."""
    a, x, beta, limit = node.saved_tensors
    ga = call(_SOFTPLUS_GRAD, softplus_grad_backward, (X, Y, (2, None), (3, None)), (gg, x, beta, limit))
    s = pointwise.sigmoid(mul(x, beta))
    curve = mul(mul(s, 1 - s), mul(beta, pointwise.le(mul(x, beta), limit).to(a.dtype)))
    return ga, mul(mul(gg, a), curve) if node.edges[1] is not None else None, None, None


@op(namespace=_IN_NN)
def softplus(input, beta=1, threshold=20):
    """``ln(1 + e^(beta x)) / beta``; x itself where ``beta * x > threshold``."""
    return call(_SOFTPLUS, softplus_backward, (X, Y, (2, None)), (input, float(beta), float(threshold)))


def logsigmoid_backward(node, g):
    """d ln sigmoid(x) = sigmoid(-x) dx."""
    x, = node.saved_tensors
    return mul(g, pointwise.sigmoid(pointwise.neg(x)))


logsigmoid = unary("logsigmoid", {"float": "logsigmoid"}, logsigmoid_backward, (X,), method=False, inplace=False,
                   grad="LogSigmoidBackward0", functional=True, doc=_doc("Logarithm of the sigmoid", "ln(1 / (1 + e^-input))"))


def mish_backward(node, g):
    """d mish(x) = (t + x (1 - t^2) sigmoid(x)) dx with t = tanh(softplus(x))."""
    x, = node.saved_tensors
    t = pointwise.tanh(softplus(x))
    return mul(g, t + x * (1 - t * t) * pointwise.sigmoid(x))


_mish_op = unary("_mish", {"float": "mish"}, mish_backward, (X,), method=False, inplace=False, grad="MishBackward0",
                 doc=_doc("Mish", "input * tanh(softplus(input))"))


def _mish(input):
    """``x * tanh(softplus(x))`` (Misra, 2019)."""
    return _mish_op(input)


mish = _with_inplace(_mish, "mish")


# ---- piecewise units ---------------------------------------------------------------------------------------------------

def hardsigmoid_backward(node, g):
    """A sixth where |x| < 3."""
    x, = node.saved_tensors
    return mul(g, mul(pointwise.lt(pointwise.abs(x), 3).to(g.dtype), 1 / 6))


_hardsigmoid_op = unary("_hardsigmoid", {"float": "hardsigmoid"}, hardsigmoid_backward, (X,), method=False, inplace=False,
                        grad="HardsigmoidBackward0", doc=_doc("Piecewise linear sigmoid", "min(max(input + 3, 0), 6) / 6"))


def _hardsigmoid(input):
    """``relu6(x + 3) / 6``."""
    return _hardsigmoid_op(input)


hardsigmoid = _with_inplace(_hardsigmoid, "hardsigmoid")


def hardswish_backward(node, g):
    """0 below -3, 1 above 3, x / 3 + 1 / 2 between."""
    x, = node.saved_tensors
    return _hardswish_grad(g, x)


def hardswish_grad_backward(node, gg):
    """The second derivative is a third between -3 and 3."""
    a, x = node.saved_tensors
    inside = pointwise.lt(pointwise.abs(x), 3).to(a.dtype)
    return _hardswish_grad(gg, x), mul(mul(gg, a), mul(inside, 1 / 3)) if node.edges[1] is not None else None


_hardswish_grad = binary("_hardswish_grad", {"float": "hardswish_grad"}, hardswish_grad_backward, (X, Y), method=False,
                         inplace=False, grad="HardswishBackwardBackward0", doc=_two("Gradient of hardswish",
                                                                                   "input * hardswish'(other)"))
_hardswish_op = unary("_hardswish", {"float": "hardswish"}, hardswish_backward, (X,), method=False, inplace=False,
                      grad="HardswishBackward0", doc=_doc("Piecewise swish", "input * relu6(input + 3) / 6"))


def _hardswish(input):
    """``x * relu6(x + 3) / 6``."""
    return _hardswish_op(input)


hardswish = _with_inplace(_hardswish, "hardswish")


@op(namespace=_IN_NN)
def softsign(input):
    """``x / (1 + |x|)``."""
    return input / (pointwise.abs(input) + 1)


@op(namespace=_IN_NN)
def tanhshrink(input):
    """``x - tanh(x)``."""
    return input - pointwise.tanh(input)


def shrink_backward(node, g):
    """Passes outside [-limit, limit]."""
    x, limit = node.saved_tensors
    return call(_SHRINK_GRAD, shrink_grad_backward, (Y, (2, None)), (g, x, limit)), None


def shrink_grad_backward(node, g):
    """The gradient of shrinking is linear in its first argument."""
    x, limit = node.saved_tensors
    return call(_SHRINK_GRAD, shrink_grad_backward, (Y, (2, None)), (g, x, limit)), None, None


_SHRINK_GRAD = _real("shrink_backward", "shrink_grad")
_SOFTSHRINK, _HARDSHRINK = _real("softshrink_check", "softshrink", True), _real("hardshrink_cpu", "hardshrink", True)
softshrink_backward, hardshrink_backward = (
    also_named(name, shrink_backward) for name in ("SoftshrinkBackward0", "HardshrinkBackward0"))


@op(namespace=_IN_NN)
def softshrink(input, lambd=0.5):
    """``x`` moved toward 0 by ``lambd``, 0 within it."""
    if not lambd >= 0:
        raise RuntimeError(f"lambda must be in range [0, {finfo(input.dtype).max:g}] for input dtype {type_name(input.dtype)}, "
                           f"but found {lambd:g}")
    return call(_SOFTSHRINK, softshrink_backward, (X, Y), (input, lambd))


@op(method=True)
def hardshrink(input, lambd=0.5):
    """``x`` outside [-lambd, lambd], 0 within."""
    return call(_HARDSHRINK, hardshrink_backward, (X, Y), (input, lambd))


OPS["nn.functional.hardshrink"] = Op("hardshrink", explaining("hardshrink", hardshrink), _IN_NN, False, False, False)


@op(namespace=_IN_NN)
def sigmoid(input):
    """The logistic function; ``torch.sigmoid``."""
    return pointwise.sigmoid(input)


@op(namespace=_IN_NN)
def tanh(input):
    """The hyperbolic tangent; ``torch.tanh``."""
    return pointwise.tanh(input)
