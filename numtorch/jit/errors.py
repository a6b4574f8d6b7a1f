"""The errors of jit: torch's classes, and the texts that show the place in the user's program."""
from ._natives import Raised


class Error(Exception):
    """A scripted program raised an exception, or an assertion in it failed."""


class FrontendError(Exception):
    """A program cannot be compiled.

    Args:
        source (Source): the place, or None. msg (str): what is wrong.
    """

    def __init__(self, source, msg):
        self.source_range, self.msg = source, msg
        super().__init__(msg if source is None else f"{msg}:\n{source.highlight(False)}\n")


class NotSupportedError(FrontendError):
    """A program uses a part of Python that scripts do not have."""


class UnsupportedNodeError(NotSupportedError):
    """A program uses a statement or expression that scripts do not have."""


class FrontendTypeError(FrontendError):
    """An annotation means no type that scripts have."""


class TracerWarning(Warning):
    """A traced program did something that the trace cannot hold, so that it may be wrong for other inputs."""


class TracingCheckError(Exception):
    """Tracing a program again gave another graph, or its trace cannot run.

    Args:
        graph_diff_error (str): how the graphs differ. tensor_compare_error (str): how constants differ.
        extra_msg (str): what else happened.
    """

    def __init__(self, graph_diff_error, tensor_compare_error, extra_msg=None):
        self.message = "Tracing failed sanity checks!\n"
        for part in (extra_msg, None if graph_diff_error is None else "ERROR: Graphs differed across invocations!\n"
                     + indent(graph_diff_error), None if tensor_compare_error is None else
                     "ERROR: Tensor-valued Constant nodes differed in value across invocations. This often indicates that the "
                     "tracer has encountered untraceable code.\n" + indent(tensor_compare_error)):
            if part is not None:
                self.message += part + "\n"
        super().__init__(self.message)


def indent(text):
    """``text`` with a tab before each line."""
    return "\n".join("\t" + line for line in text.splitlines())


def compile_error(message, source):
    """The RuntimeError for a program that does not compile."""
    return RuntimeError(f"\n{message}:\n{source.highlight(False)}\n" if source is not None else message)


def explained(error, nodes, filename):
    """The exception that a run ends with, in place of one that a node's operation raised.

    Args:
        error (Exception): what was raised. nodes (list of Nodes or None): the node of each line of the running function.
        filename (str): that function's file.

    Returns:
        RuntimeError, or Error for an exception that the program itself raised; None where no node raised it.
    """
    frame, line = error.__traceback__, None
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == filename:
            line = frame.tb_lineno
        frame = frame.tb_next
    node = nodes[line - 1] if line is not None and line <= len(nodes) else None
    if node is None:
        return None
    places, source = [], node.source
    while source is not None:
        places.insert(0, source.highlight())
        source = source.caller
    text = ["The following operation failed in the TorchScript interpreter.", "Traceback of TorchScript (most recent call last):",
            *places]
    if isinstance(error, Raised):
        message, kind = error.args
        return Error("\n".join([*text, f"{kind}: {message}"]))
    kind = "RuntimeError" if isinstance(error, (RuntimeError, IndexError)) else type(error).__name__
    return RuntimeError("\n".join([*text, f"{kind}: {error}"]))
