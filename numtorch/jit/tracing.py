"""``jit.trace``: runs a function or module once on example inputs and keeps what it did as a graph."""
import inspect
import keyword

from ..nn.modules.module import Module
from ..op import OPS
from ..tensor import Tensor
from . import annotations
from . import types as T
from .intercept import Interception
from .module import Method, ScriptFunction, ScriptModule, TopLevelTracedModule, TracedModule
from .numbers import Traced
from .passes import clean, pool_constants
from .schema import Argument, Schema
from .tracer import State, tensor_type

_STRUCTURE = ("Encountering a {} at the output of the tracer might cause the trace to be incorrect, this is only valid if the "
              "container "
              "structure does not change based on the module's inputs. Consider using a constant container instead (e.g. for "
              "`list`, use "
              "a `tuple` instead. for `dict`, use a `NamedTuple` instead). If you absolutely need this and know the side "
              "effects, pass "
              "strict=False to trace() to allow this behavior.")


def trace(func, example_inputs=None, optimize=None, check_trace=True, check_inputs=None, check_tolerance=1e-5, strict=True,
          _force_outplace=False, _module_class=None, _compilation_unit=None, example_kwarg_inputs=None, _store_inputs=True):
    """Runs ``func`` on example inputs and records its operations as a graph, which then runs in its place.

    Sizes of tensors are recorded as well, so that other batch sizes work; Python's ``if`` and ``for`` are not: their course on
    the example inputs is kept. ``jit.script`` keeps them.

    Args:
        func: a function of tensors, or an nn.Module, whose forward is traced.
        example_inputs: a Tensor or a tuple of arguments; they may be nests of tuples, lists and dicts of Tensors.
        optimize: deprecated, as in torch.
        check_trace (bool): run the trace and the function again and compare, and trace again and compare the graphs.
        check_inputs (list): inputs for that comparison, in place of ``example_inputs``.
        check_tolerance (float): relative tolerance of that comparison.
        strict (bool): refuse dicts in the result, and warn about lists.
        example_kwarg_inputs (dict): arguments by name, in place of ``example_inputs``.

    Returns:
        A ScriptFunction for a function; for a module a TopLevelTracedModule, which shares its parameters.

    Raises:
        TracingCheckError: tracing again gave another graph.
        RuntimeError: the result holds something else than Tensors, or the function uses a tensor that requires a gradient and
            is neither an argument nor a parameter.

    >>> import numtorch as torch
    >>> double = torch.jit.trace(lambda x: x + x, torch.ones(2))
    >>> double(torch.ones(3))
    tensor([2., 2., 2.])
    """
    import warnings

    if optimize is not None:
        warnings.warn("`optimize` is deprecated and has no effect. Use `with torch.jit.optimized_execution()` instead",
                      FutureWarning, stacklevel=2)
    if _module_class is not None or _compilation_unit is not None:
        raise NotImplementedError("jit.trace: _module_class and _compilation_unit are not built; leave them out")
    if isinstance(func, ScriptModule):
        warnings.warn("The input to trace is already a ScriptModule, tracing it is a no-op. Returning the object as is.",
                      stacklevel=2)
        return func
    if isinstance(func, ScriptFunction):
        return func
    if example_kwarg_inputs is not None and not isinstance(example_kwarg_inputs, dict):
        raise RuntimeError("example_kwarg_inputs should be a dict")
    if example_inputs is None and example_kwarg_inputs is None:
        raise RuntimeError("example_kwarg_inputs should be a dict")
    by_name = example_kwarg_inputs is not None and example_inputs is None
    inputs = example_kwarg_inputs if by_name else example_inputs
    owner = getattr(func, "__self__", None)
    if isinstance(owner, Module) and getattr(func, "__name__", "") == "forward":
        func = owner
    if isinstance(func, Module):
        return trace_module(func, {"forward": inputs}, None, check_trace, _wrap_check(check_inputs), check_tolerance, strict,
                            _force_outplace, example_inputs_is_kwarg=by_name)
    inputs = _as_tuple(inputs, by_name)
    name = getattr(func, "__name__", type(func).__name__)
    name = "_lambda" if name == "<lambda>" else name
    state, graph, schema = record(None, func, inputs, name, strict, by_name)
    found = ScriptFunction(graph, schema, func if inspect.isfunction(func) else None)
    if check_trace:
        from .check import check

        for case in [inputs] if check_inputs is None else check_inputs:
            case = _as_tuple(case, by_name)
            check(case, func, found, lambda case=case: ScriptFunction(*record(None, func, case, name, strict, by_name)[1:]),
                  {"": graph}, lambda f: {"": f.graph}, check_tolerance, by_name)
    return found


def _wrap_check(check_inputs):
    return None if check_inputs is None else [{"forward": case} for case in check_inputs]


def _as_tuple(inputs, by_name):
    if by_name:
        return inputs
    if isinstance(inputs, (Tensor, dict)):
        return (inputs,)
    if not isinstance(inputs, (tuple, list)):
        raise TypeError(f"jit.trace expects example inputs that are a Tensor or a tuple, got {type(inputs).__name__}")
    return tuple(inputs)


def trace_module(mod, inputs, optimize=None, check_trace=True, check_inputs=None, check_tolerance=1e-5, strict=True,
                 _force_outplace=False, _module_class=None, _compilation_unit=None, example_inputs_is_kwarg=False,
                 _store_inputs=True):
    """Traces several methods of a module.

    Args:
        mod (nn.Module): the module.
        inputs (dict): the name of each method, such as "forward", and its example inputs.
        check_inputs (list of dicts): inputs for the comparison, in place of ``inputs``.
        optimize, check_trace, check_tolerance, strict: as for ``trace``.
        example_inputs_is_kwarg (bool): the example inputs are dicts of arguments by name.

    Returns:
        A TopLevelTracedModule.
    """
    import warnings

    if optimize is not None:
        warnings.warn("`optimize` is deprecated and has no effect. Use `with torch.jit.optimized_execution()` instead",
                      FutureWarning, stacklevel=2)
    if not isinstance(mod, Module):
        raise AttributeError("expected torch.nn.Module as the first argument")
    if not isinstance(inputs, dict):
        raise AttributeError("expected a dictionary of (method_name, input) pairs")
    if isinstance(mod, ScriptModule):
        raise RuntimeError("jit.trace_module: the module is a ScriptModule already")
    found = _traced(mod, inputs, strict, example_inputs_is_kwarg)
    if check_trace:
        from .check import check

        for cases in [inputs] if check_inputs is None else check_inputs:
            for name, case in cases.items():
                case = _as_tuple(case, example_inputs_is_kwarg)
                check(case, mod if name == "forward" else getattr(mod, name),
                      found if name == "forward" else getattr(found, name),
                      lambda name=name, case=case: _run_of(_traced(mod, {name: case}, strict, example_inputs_is_kwarg), name),
                      _graphs(found, name), lambda f, name=name: _graphs(f if name == "forward" else f.owner, name),
                      check_tolerance, example_inputs_is_kwarg)
    return found


def _run_of(module, name):
    return module if name == "forward" else getattr(module, name)


def _graphs(module, method):
    """The graphs that a traced module runs, by the name of the module and method."""
    found = {method: module._methods[method].graph}
    for name, child in module.named_modules():
        if name and isinstance(child, TracedModule):
            found.update({f"{name}.{n}": m.graph for n, m in child._methods.items()})
    return found


def _traced(mod, inputs, strict, by_name):
    """The traced module of all methods in ``inputs``."""
    states = []
    for name, case in inputs.items():
        call = mod if name == "forward" else getattr(mod, name)
        states.append((name, *record(mod, call, _as_tuple(case, by_name), name, strict, by_name)))
    made = {}

    def build(module, cls):
        if id(module) in made:
            return made[id(module)]
        if isinstance(module, ScriptModule):
            return module
        found = made[id(module)] = cls._of(type(module))
        found.__dict__["training"] = module.training
        for table in ("_parameters", "_buffers"):
            for key, value in getattr(module, table).items():
                getattr(found, table)[key] = value
        found._non_persistent_buffers_set.update(module._non_persistent_buffers_set)
        for key, child in module._modules.items():
            found._modules[key] = None if child is None else build(child, TracedModule)
        return found
    root = build(mod, TopLevelTracedModule)
    for name, state, graph, schema in states:
        root._methods[name] = Method(name, graph, schema)
        for (key, inner), (_, call) in state.methods.items():
            target = made[key]
            free, k = inner, 0
            while free in target._methods:
                k += 1
                free = f"forward{k}"
            call.node.attrs["name"] = free
            target._methods[free] = Method(free, call.frame.graph, _call_schema(free, call.frame.graph))
    return root


def _call_schema(name, graph):
    """The schema of a submodule's call: its inputs by the names that are free."""
    arguments, taken = [], set()
    for k, value in enumerate(graph.params):
        base = (value.name or "").partition(".")[0]
        found = base if base.isidentifier() and not keyword.iskeyword(base) else f"argument_{k}"
        while found in taken:
            found += "_"
        taken.add(found)
        value.name = found
        arguments.append(Argument(found, value.type if value.type.name != "Tensor" else T.TENSOR, inferred=True))
    graph.name = name
    pool_constants(graph)
    clean(graph)
    graph.name_values()
    return Schema(name, arguments, graph.results[0].type if graph.results[0].type.name != "Tensor" else T.TENSOR)


_handlers = []


def record(module, call, inputs, name, strict, by_name=False):
    """Runs ``call`` under a trace; returns (State, Graph, Schema)."""
    if annotations.tracing[0] is not None:
        raise RuntimeError("jit.trace: a trace is running already")
    if not _handlers:
        from .hooks import handlers

        _handlers.extend(handlers())
    state = State(module, strict)
    with Interception(_handlers):
        annotations.tracing[0] = state
        try:
            state.depth += 1
            args, kwargs, arguments = _inputs(state, module, call, inputs, by_name)
            state.depth -= 1
            result = call(*args, **kwargs)
            state.depth += 1
            kind, value = _output(state, result, strict)
        finally:
            annotations.tracing[0] = None
    frame = state.frame
    frame.graph.results = [value]
    state.finish()
    frame.graph.body[:0] = frame.head
    pool_constants(frame.graph)
    clean(frame.graph)
    frame.graph.name = name
    frame.graph.name_values()
    return state, frame.graph, Schema(name, arguments, kind)


# ---- inputs and outputs --------------------------------------------------------------------------------------------------

def _names(module, call, count):
    """The names of a function's parameters; made-up ones where they are not known."""
    target = module.forward if module is not None and call is module else call
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "argument")
    return (names + [f"{rest}_{k + 1}" for k in range(len(names), count)])[:count]


def _inputs(state, module, call, inputs, by_name):
    """The arguments of the call, which are graph inputs; and their schema."""
    graph, seen = state.frame.graph, {id(t) for t in state.frame.tensors}
    items = list(inputs.items()) if by_name else list(zip(_names(module, call, len(inputs)), inputs))
    arguments = [] if module is None else [Argument("self", T.module_type(module))]
    values = []
    for name, item in items:
        kind = T.of_value(item)
        if kind is None or not _only_tensors(item):
            every = T.of_value(tuple(i for _, i in items))
            shown = type(item).__name__ if every is None else repr(every)
            raise RuntimeError(f"Type '{shown}' cannot be traced. Only Tensors and "
                               "(possibly nested) Lists, Dicts, and Tuples of Tensors can be traced")
        value = graph.add_input(tensor_type(item) if isinstance(item, Tensor) else kind, name)
        arguments.append(Argument(name, T.TENSOR if isinstance(item, Tensor) else kind, inferred=isinstance(item, Tensor)))
        values.append(_input(state, item, value, seen))
    if by_name:
        return (), dict(zip([n for n, _ in items], values)), arguments
    return values, {}, arguments


def _only_tensors(item):
    if isinstance(item, (tuple, list)):
        return all(map(_only_tensors, item))
    if isinstance(item, dict):
        return all(map(_only_tensors, item.values()))
    return isinstance(item, Tensor)


def _input(state, item, value, seen):
    """An argument as the traced function gets it: a tensor that occurs twice, or is a parameter, as an alias of its own."""
    if isinstance(item, Tensor):
        if id(item) in seen or id(item) in state.frame.tensors:
            item = OPS["Tensor.view_as" if "Tensor.view_as" in OPS else "view_as"].fn(item, item)
        seen.add(id(item))
        state.bind(item, value)
        return item
    graph = state.frame.graph
    if isinstance(item, dict):
        found = {}
        for key, part in item.items():
            element = state.emit("aten::__getitem__", (value, state.constant(key)), value.type.args[1])
            found[key] = _input(state, part, element, seen)
        return found
    kinds = value.type.args if value.type.name != "List" else value.type.args * len(item)
    node = graph.append("prim::ListUnpack" if value.type.name == "List" else "prim::TupleUnpack", (value,), kinds)
    parts = [_input(state, part, element, seen) for part, element in zip(item, node.outs)]
    if hasattr(item, "_fields"):
        return type(item)(*parts)
    return type(item)(parts)


def _output(state, result, strict):
    """The Type and Value of what the function returned."""
    if result is None:
        raise RuntimeError("The traced function didn't return any values! Side-effects are not captured in traces, so it would "
                           "be a "
                           "no-op.")
    if isinstance(result, Traced):
        value = state.emit("prim::NumToTensor", (state.value(result),), T.TENSOR)
        return T.TENSOR, value
    if isinstance(result, Tensor):
        return T.TENSOR, state.value(result)
    if isinstance(result, tuple):
        parts = [_output(state, r, strict) for r in result]
        kinds = [k for k, _ in parts]
        kind = T.named_tuple(type(result).__name__, result._fields, kinds) if hasattr(result, "_fields") and len(
            result._fields) == len(kinds) else T.tuple_of(*kinds)
        return kind, state.emit("prim::TupleConstruct", [v for _, v in parts], kind)
    if isinstance(result, (list, dict)):
        name = "list" if isinstance(result, list) else "dict"
        if strict:
            if name == "dict":
                raise RuntimeError(_STRUCTURE.format(name))
            state.warn(_STRUCTURE.format(name))
        items = list(result) if name == "list" else list(result.values())
        parts = [_output(state, r, strict) for r in items]
        element = T.unify_all([k for k, _ in parts]) if parts else T.TENSOR
        if element is not None:
            values = [v for _, v in parts]
            if name == "list":
                return T.list_of(element), state.emit("prim::ListConstruct", values, T.list_of(element))
            if all(isinstance(k, str) for k in result):
                kind = T.Type("Dict", (T.STR, element))
                pairs = [x for k, v in zip(result, values) for x in (state.constant(k), v)]
                return kind, state.emit("prim::DictConstruct", pairs, kind)
    raise RuntimeError("Only tensors, lists, tuples of tensors, or dictionary of tensors can be output from traced functions")


