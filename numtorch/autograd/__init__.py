"""Automatic differentiation: the tape and its walk, ``grad``, ``backward``, ``Function``, grad modes."""
from .engine import backward, grad
from .function import Function, FunctionCtx, once_differentiable
from .grad_mode import detect_anomaly, enable_grad, inference_mode, no_grad, set_detect_anomaly, set_grad_enabled
from .gradcheck import GradcheckError, gradcheck, gradgradcheck  # the functions take the place of the module of that name
from .node import Node

__all__ = ["Function", "FunctionCtx", "GradcheckError", "Node", "Variable", "backward", "detect_anomaly", "enable_grad",
           "functional", "grad", "gradcheck", "gradgradcheck", "inference_mode", "no_grad", "once_differentiable",
           "set_detect_anomaly", "set_grad_enabled"]


def __getattr__(name):
    from importlib import import_module

    if name in ("functional", "variable"):
        return import_module("." + name, __name__)
    if name == "Variable":
        return import_module(".variable", __name__).Variable
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
