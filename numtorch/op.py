"""Declares operations: ``op`` registers a function and derives its forms, ``record`` puts its result on the tape.

An operation is a function on Tensors with torch's signature that computes arrays with kernels and hands them to ``record``
with its backward function. From the one declaration come the Tensor method, the in-place twin, ``out=``, the entry in the
namespace, and (through OPS) the tests, the table in the documentation and the benchmarks.
"""
import functools
import inspect
import re
import traceback

import numpy as np

from . import _on_host, dtypes
from .autograd.function import restore_output
from .autograd.grad_mode import mode
from .autograd.node import OUT, new, next_number, node_class
from .kernels._driver import OnHost
from .tensor import Tensor, edge_of, storage_of, wrap

__all__ = ["OPS", "OUT", "explaining", "grad_name", "must_be_floating", "needs_grad", "op", "record"]

OPS = {}        # name -> Op, in the order of declaration


class Op:
    """What is known of an operation: its function, where it is found, and which forms it has."""

    __slots__ = ("name", "fn", "namespace", "method", "inplace", "out", "module")

    def __init__(self, name, fn, namespace, method, inplace, out):
        self.name, self.fn, self.namespace = name, fn, namespace
        self.method, self.inplace, self.out, self.module = method, inplace, out, fn.__module__

    def __repr__(self):
        return f"<op {self.namespace}.{self.name}>"


def op(name=None, *, method=False, inplace=False, out=False, namespace="torch", aliases=()):
    """Decorator that registers an operation.

    Args:
        name (str): its name in torch; default the function's.
        method (bool): also ``Tensor.<name>``.
        inplace (bool): also ``<name>_`` and ``Tensor.<name>_``, which write the result into the first argument.
        out (bool): add the ``out=`` keyword.
        namespace (str): "torch", "nn.functional", "linalg", "fft" or "special": where users find it.
        aliases (strings): further names in the same places.
    """
    if callable(name):
        return op()(name)

    def declare(fn):
        own = name or fn.__name__
        public = _with_out(own, fn) if out else fn
        for n in (own, *aliases):
            key = n if namespace == "torch" else f"{namespace}.{n}"
            OPS[key] = Op(n, explaining(own, public), namespace, method, inplace, out)
            if method:
                setattr(Tensor, n, explaining(n, public, 1))
            if inplace:
                twin = inplace_twin(n, fn)
                setattr(Tensor, n + "_", twin)
                INPLACE[n + "_" if namespace == "torch" else f"{namespace}.{n}_"] = twin
        return public
    return declare


INPLACE = {}    # name_ -> function, derived


def grad_name(name):
    """Decorator that gives a backward function the name that torch prints for it, such as "MmBackward0"."""
    def name_it(backward):
        backward.node_class = node_class(backward, name)
        return backward
    return name_it


def also_named(name, backward):
    """``backward`` as another function, for an operation whose node torch calls ``name``."""
    return grad_name(name)(lambda node, g: backward(node, g))


# ---- the tape ----------------------------------------------------------------------------------------------------------

def needs_grad(*tensors):
    """True when an operation on ``tensors`` (some may be None) is to be recorded."""
    for t in tensors:
        if t is not None and (t._rg or t._base is not None and edge_of(t) is not None):
            return mode.enabled
    return False


def record(out, backward, inputs, saved=(), **ctx):
    """Wraps the result of an operation and, where a gradient is wanted, puts it on the tape.

    Args:
        out: an ndarray (or a Tensor), or a tuple of them for several outputs.
        backward: ``backward(node, g)``, or ``backward(node, g1, g2 ...)`` with None for unused outputs; returns a Tensor
            (one input), or a tuple with a Tensor or None for each input.
        inputs: Tensors or None, in the order of what backward returns.
        saved: Tensors or None that backward finds in ``node.saved_tensors``; OUT (or ``(OUT, k)``) is the output itself.
        ctx: anything else that backward needs, in ``node.ctx``.

    Returns:
        A Tensor, or a tuple of them.
    """
    if type(out) is tuple:
        outs = tuple([o if isinstance(o, Tensor) else wrap(o) for o in out])
        if needs_grad(*inputs):
            attach(outs, backward, inputs, saved, ctx)
        return outs
    t = out if isinstance(out, Tensor) else wrap(out)
    for i in inputs:
        if i is not None and (i._rg or i._base is not None and edge_of(i) is not None):
            if mode.enabled:
                attach((t,), backward, inputs, saved, ctx)
            break
    return t


def attach(outs, backward, inputs, saved, ctx):
    """Makes the node of a recorded operation and hangs it on its outputs."""
    try:
        kind = backward.node_class
    except AttributeError:
        kind = backward.node_class = node_class(backward)
    node = new(kind)
    edges, numbers, fixes = [], [], []
    for t in inputs:        # one loop: 0.6 us less than a list for each of the three
        edge = None if t is None else edge_of(t) if t._base is not None else (t._fn or t) if t._rg else None
        edges.append(edge)
        numbers.append(0 if t is None else t._nr)
        fixes.append(None if edge is None else (t._a.shape, t._a.dtype))
    node.edges, node.numbers, node.fixes = edges, numbers, fixes
    node.seq, node.ctx, node.outs, node.hooks = next_number(), ctx, len(outs), None
    node.stack = traceback.extract_stack()[:-2] if mode.anomaly else None
    for k, out in enumerate(outs):
        if out._a.dtype.kind in "biu":
            continue
        out._fn, out._rg = node, True
        if k:
            out._nr = k
    kept, versions = [], []
    for t in saved:
        if t is OUT or type(t) is tuple:
            t = saved_output(outs[0 if t is OUT else t[1]])
        elif t is not None and t._inference:
            refuse_inference()
        kept.append(t)
        versions.append(0 if t is None or t._storage is None else t._storage.version)
    node.saved, node.versions = kept, versions
    return node


def refuse_inference():
    """Raises torch's error for keeping an inference tensor for backward."""
    raise RuntimeError("Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in "
                       "computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and "
                       "use it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`.")


def saved_output(out):
    """An alias of an output for its own node to keep: without the history, so that there is no reference cycle."""
    alias = new(Tensor)
    alias._a, alias._storage, alias._nr, alias._saved_output = out._a, storage_of(out), out._nr, restore_output
    return alias


# ---- derived forms -----------------------------------------------------------------------------------------------------

def _with_out(name, fn):
    explained = explaining(name, fn)

    @functools.wraps(fn)
    def call(*args, out=None, **kwargs):
        if out is None:
            return fn(*args, **kwargs)
        return write_out(name, explained, args, kwargs, out)
    signature = inspect.signature(fn)
    parameters = list(signature.parameters.values())
    keyword = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
    at = len(parameters) - (bool(parameters) and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD)
    call.__signature__ = signature.replace(parameters=[*parameters[:at], keyword, *parameters[at:]])
    return call


# names of further arguments that are Tensors; operations of these modules look for themselves
_TENSORS = frozenset("other index mask src source end tensor1 tensor2 weight boundaries condition values".split())
_CHECKED = ("numtorch.ops.matmul", "numtorch.ops.pointwise")


def takes_tensors(fn):
    """Whether a method has Tensors among its arguments, so that ``explaining`` is worth the 0.1 us that it costs a call."""
    code = inspect.unwrap(fn).__code__
    return fn.__module__ not in _CHECKED and not _TENSORS.isdisjoint(code.co_varnames[1:code.co_argcount])


def name_publicly():
    """Gives every operation the module and name that users, and so pickle and saved files, find it by."""
    found = [(o.namespace, o.name, o.fn) for o in OPS.values()]
    found += [(key.rpartition(".")[0] or "torch", key.rpartition(".")[2], fn) for key, fn in INPLACE.items()]
    for namespace, name, fn in found:
        fn.__module__, fn.__qualname__ = "numtorch" if namespace == "torch" else f"numtorch.{namespace}", name


def explaining(name, fn, bound=0, like=None):
    """``fn`` with torch's TypeError where an argument that should be a Tensor is something else, and done in the host's memory
    where the arguments are on a CUDA device that has no kernel for it.

    Args:
        bound (int): 1 for a method, whose first argument torch does not count.
        like (callable): a function with the signature to name arguments by; default ``fn``.
    """
    @functools.wraps(fn)
    def call(*args, **kwargs):
        try:
            return fn(*args, **kwargs)
        except OnHost as why:
            reason = why
        except AttributeError as error:
            found = _not_a_tensor(name, inspect.signature(like or fn), args, kwargs, error, bound)
            if found is None:
                if isinstance(getattr(error, "obj", None), np.ndarray):     # where a kernel wants an array on a device
                    _check_devices(name, args, kwargs)
                raise
            raise TypeError(found) from None
        except ValueError as error:     # of int() and float()
            word = _NOT_A_NUMBER.match(str(error))
            if word is None or word[1] not in (*args, *kwargs.values()):
                raise
            raise TypeError(f"{name}(): expected a number, but got the str {word[1]!r}") from None
        _check_devices(name, args, kwargs)
        return _on_host.call(name, fn, args, kwargs, reason)
    return call


def _check_devices(*call):
    from .ops._devices import check_arguments

    check_arguments(call[0], call[1:])


_NOT_A_NUMBER = re.compile(r"(?:invalid literal for int\(\) with base 10|could not convert string to float): "
                           r"(?:np.str_\()?'(.*?)'")


def _not_a_tensor(name, signature, args, kwargs, error, bound):
    """torch's words for the argument on which ``error`` missed an attribute of Tensor; None where it is about another thing."""
    culprit = getattr(error, "obj", None)
    kind, given = type(culprit).__name__, signature.bind(*args, **kwargs).arguments
    if error.name == "_np" and culprit is given.get("dtype", given):
        return f"{name}(): argument 'dtype' must be torch.dtype, not {kind}"
    if isinstance(culprit, Tensor) or error.name != "_a" and not hasattr(Tensor, error.name or ""):
        return None
    for i, (argument, value) in enumerate(given.items()):
        if value is culprit:
            return f"{name}(): argument '{argument}' (position {i + 1 - bound}) must be Tensor, not {kind}"
        if isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], (list, tuple)):
            value, = value                      # f(*tensors) that was given a list
        for k, element in enumerate(value if isinstance(value, (list, tuple)) else ()):
            if element is culprit:
                return f"expected Tensor as element {k} in argument {i}, but got {kind}"
    return None


def write_out(name, fn, args, kwargs, out):
    """Runs ``fn`` and writes its result(s) into ``out``, resized where its shape differs; returns ``out``."""
    outs = out if isinstance(out, (tuple, list)) else (out,)
    for t in outs:
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(t).__name__}")
    if mode.enabled and any(isinstance(t, Tensor) and t._rg for t in (*args, *kwargs.values(), *outs)):
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of "
                           "the arguments requires grad.")
    results = fn(*args, **kwargs)
    n = len(results) if isinstance(results, tuple) else 0
    if n != (len(out) if outs is out else 0):
        raise TypeError(f"{name}(): argument 'out' must be {f'tuple of {n} Tensors' if n else 'Tensor'}, not "
                        f"{f'{type(out).__name__} of {len(out)}' if outs is out else 'Tensor'}")
    for t, r in zip(outs, results if n else (results,)):
        put_out(name, t, r._a)
    return out


def put_out(name, out, array):
    """Writes ``array`` into the tensor ``out``; RuntimeError where the dtype does not allow it."""
    have = dtypes._from_np[array.dtype]
    if have is not out.dtype and not dtypes.can_cast(have, out.dtype):
        raise RuntimeError(f"{name}(): result type {type_name(have)} can't be cast to the desired output type "
                           f"{type_name(out.dtype)}")
    if out._a.shape != array.shape:
        if out._a.size:
            import warnings

            warnings.warn(f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does "
                          f"not match the required output shape {list(array.shape)}. This behavior is deprecated, and in a "
                          "future PyTorch release outputs will not be resized unless they have zero elements. You can "
                          "explicitly reuse an out tensor t by resizing it, inplace, to zero elements with t.resize_(0).",
                          UserWarning, stacklevel=4)
        out._a = array.astype(out._a.dtype)
        out._storage = None
    else:
        np.copyto(out._a, array, casting="unsafe")
        storage_of(out).version += 1


def inplace_twin(name, fn):
    """``name_``: runs ``fn`` and writes its result into its first argument, recorded as an in-place operation."""
    fn = explaining(name, fn)

    def twin(self, *args, **kwargs):
        from .ops.inplace import assign, check_writable

        check_writable(self, name + "_", [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)])
        if not needs_grad(self, *(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))):
            return assign(self, fn(self, *args, **kwargs), name + "_")
        # what the operation keeps of its input must be the value before the write
        before = wrap(self._a.copy())
        before._rg, before._fn, before._nr = self._rg, edge_of(self) if self._rg and not self.is_leaf else None, self._nr
        return assign(self, fn(before, *args, **kwargs), name + "_")
    twin.__name__ = twin.__qualname__ = name + "_"
    twin.__doc__ = f"In-place version of ``{name}``: writes the result into the tensor and returns it."
    return explaining(name + "_", twin, 1, fn) if takes_tensors(inspect.unwrap(fn)) else twin


_TYPE_NAMES = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long",
               "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
               "complex64": "ComplexFloat", "complex128": "ComplexDouble"}


def type_name(dtype):
    """The name that torch's messages use for a dtype, such as Float."""
    return _TYPE_NAMES[dtype._name]


def must_be_floating(kernel, tensor):
    """NotImplementedError in torch's words, which name a kernel, for a tensor that is not of a real floating dtype."""
    if tensor._a.dtype.kind in "biuc":
        raise NotImplementedError(f'"{kernel}" not implemented for \'{type_name(tensor.dtype)}\'')
