"""Automatic differentiation: the tape and its walk, ``grad``, ``backward``, ``Function``, grad modes."""
from .engine import backward, grad
from .function import Function, FunctionCtx, once_differentiable
from .grad_mode import (detect_anomaly, enable_grad, inference_mode, no_grad, set_detect_anomaly, set_grad_enabled)
from .node import Node

__all__ = ["Function", "FunctionCtx", "Node", "Variable", "backward", "detect_anomaly", "enable_grad", "functional", "grad",
           "gradcheck", "gradgradcheck", "inference_mode", "no_grad", "once_differentiable", "set_detect_anomaly",
           "set_grad_enabled"]


def __getattr__(name):
    from importlib import import_module

    if name in ("gradcheck", "gradgradcheck", "GradcheckError"):
        module = import_module(".gradcheck", __name__)
        globals().update(gradcheck=module.gradcheck, gradgradcheck=module.gradgradcheck,
                         GradcheckError=module.GradcheckError)
        return globals()[name]
    if name in ("functional", "variable"):
        return import_module("." + name, __name__)
    if name == "Variable":
        return import_module(".variable", __name__).Variable
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
