"""torch.jit: functions and modules as graphs that run, are shown, saved and loaded without their source.

``trace`` runs a program once and keeps what it did; ``script`` compiles its source, with if, for and while. Both give a graph of
registered operations (``graph.py``), which ``executor.py`` runs.
"""
from contextlib import contextmanager

from . import frontend
from .annotations import (
    Attribute,
    Final,
    Future,
    annotate,
    export,
    fork,
    ignore,
    interface,
    is_scripting,
    is_tracing,
    script_if_tracing,
    unused,
    wait,
)
from .annotations import isinstance_of as isinstance
from .annotations import overload_method as _overload_method  # noqa: F401
from .annotations import unwrap_optional as _unwrap_optional  # noqa: F401
from .errors import Error, TracerWarning, TracingCheckError
from .freezing import freeze, optimize_for_inference, run_frozen_optimizations
from .graph import Graph
from .module import (
    RecursiveScriptModule,
    ScriptFunction,
    ScriptMethod,
    ScriptModule,
    TopLevelTracedModule,
    TracedModule,
    script_method,
)
from .saving import load, save
from .script import script
from .tracing import trace, trace_module

__all__ = ["Attribute", "CompilationUnit", "Error", "Final", "Future", "Graph", "RecursiveScriptModule", "ScriptFunction",
           "ScriptMethod", "ScriptModule", "TopLevelTracedModule", "TracedModule", "TracerWarning", "TracingCheckError",
           "annotate", "enable_onednn_fusion", "export", "fork", "freeze", "frontend", "ignore", "interface", "is_scripting",
           "is_tracing", "isinstance", "last_executed_optimized_graph", "load", "onednn_fusion_enabled", "optimize_for_inference",
           "optimized_execution", "run_frozen_optimizations", "save", "script", "script_if_tracing", "script_method",
           "set_fusion_strategy", "strict_fusion", "trace", "trace_module", "unused", "wait"]


class CompilationUnit:
    """NotImplementedError: programs given as text are not built.

    Args:
        lang (str): definitions of functions.
    """

    def __init__(self, lang=None, _frames_up=0):
        if lang is not None:
            raise NotImplementedError("jit.CompilationUnit: programs given as text are not built; write them into a file and use "
                                      "jit.script")


@contextmanager
def optimized_execution(should_optimize):
    """A with-block that does nothing: graphs run as they are.

    Args:
        should_optimize (bool): whether torch optimises while it runs.
    """
    yield


@contextmanager
def strict_fusion():
    """A with-block that does nothing: there is no fusion of which to report failures."""
    yield


def set_fusion_strategy(strategy):
    """The strategy before: there is no fusion.

    Args:
        strategy (list of pairs): "STATIC" or "DYNAMIC", and a depth.
    """
    return [("STATIC", 0), ("DYNAMIC", 0)]


def enable_onednn_fusion(enabled):
    """NotImplementedError where it is to be enabled: oneDNN is not used.

    Args:
        enabled (bool): whether to.
    """
    if enabled:
        raise NotImplementedError("jit.enable_onednn_fusion: oneDNN is not used; leave it out")


def onednn_fusion_enabled():
    """False: oneDNN is not used."""
    return False


def last_executed_optimized_graph():
    """NotImplementedError: the graph that runs is ``inlined_graph`` of the function or module."""
    raise NotImplementedError("jit.last_executed_optimized_graph: look at the inlined_graph of the function or module that ran")
