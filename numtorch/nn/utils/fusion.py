"""Batch normalisation in ``eval`` mode is linear: it can become part of the layer before it."""
import copy

from ...ops import create
from ..parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _check(layer, bn):
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")


def fuse_conv_bn_eval(conv, bn, transpose=False):
    """A copy of a convolution that also does the batch normalisation behind it.

    Args:
        conv (Module): a convolution in ``eval`` mode. bn (Module): a batch normalisation in ``eval`` mode.
        transpose (bool): the convolution is a transposed one.
    """
    _check(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight,
                                                    bn.bias, transpose)
    return fused


def fuse_conv_bn_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """Weight and bias (Parameters) of a convolution that also does the batch normalisation of the tensors given."""
    grads = conv_w.requires_grad, conv_b.requires_grad if conv_b is not None else False
    dtypes = conv_w.dtype, conv_w.dtype if conv_b is None else conv_b.dtype
    conv_b = create.zeros_like(bn_rm) if conv_b is None else conv_b
    bn_w = create.ones_like(bn_rm) if bn_w is None else bn_w
    bn_b = create.zeros_like(bn_rm) if bn_b is None else bn_b
    rsqrt = (bn_rv + bn_eps).rsqrt()
    shape = ([1, -1] if transpose else [-1, 1]) + [1] * (conv_w.dim() - 2)
    weight = (conv_w * (bn_w * rsqrt).reshape(shape)).to(dtypes[0])
    bias = ((conv_b - bn_rm) * rsqrt * bn_w + bn_b).to(dtypes[1])
    return Parameter(weight, grads[0]), Parameter(bias, grads[1])


def fuse_linear_bn_eval(linear, bn):
    """A copy of a Linear that also does the batch normalisation behind it; both in ``eval`` mode."""
    _check(linear, bn)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError("To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got linear.out_features="
                             f"{linear.out_features} and bn.num_features={bn.num_features}")
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps,
                                                      bn.weight, bn.bias)
    return fused


def fuse_linear_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """Weight and bias (Parameters) of a Linear that also does the batch normalisation of the tensors given."""
    grads = linear_w.requires_grad, linear_b.requires_grad if linear_b is not None else False
    dtypes = linear_w.dtype, linear_w.dtype if linear_b is None else linear_b.dtype
    linear_b = create.zeros_like(bn_rm) if linear_b is None else linear_b
    scale = bn_w * (bn_rv + bn_eps).rsqrt()
    weight = linear_w * scale.unsqueeze(-1).to(dtypes[0])
    bias = ((linear_b - bn_rm) * scale + bn_b).to(dtypes[1])
    return Parameter(weight, grads[0]), Parameter(bias, grads[1])
