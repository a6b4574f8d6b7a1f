"""The state of a trace: which value of which graph each tensor and number is, module by module."""
import threading
import warnings

from ..tensor import Tensor
from . import functions, numbers, results
from . import graph as G
from . import types as T
from .annotations import tracing
from .errors import TracerWarning
from .graph import Graph, Value
from .numbers import Traced
from .source import caller_source

_SHORT = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long", "int32": "Int",
          "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool", "complex64": "ComplexFloat",
          "complex128": "ComplexDouble"}
CONVERSION = ("Converting a tensor to a Python {} might cause the trace to be incorrect. We can't record the data flow of "
               "Python "
               "values, so this value will be treated as a constant in the future. This means that the trace might not "
               "generalize to "
               "other inputs!")


def tensor_type(t):
    """The Type of a traced tensor, shown with dtype, shape and strides."""
    a = t._a
    strides = ", ".join(map(str, (s // a.itemsize for s in a.strides)))
    inside = [*map(str, a.shape), *([f"strides=[{strides}]"] if a.ndim else []), f"requires_grad={int(t._rg)}", "device=cpu"]
    return T.Type("Tensor", (), f"{_SHORT.get(t.dtype._name, t.dtype._name)}({', '.join(inside)})")


class Frame:
    """One graph of a trace: that of the whole function, or of one call of a submodule."""

    def __init__(self, module, parent):
        self.module, self.parent, self.graph = module, parent, Graph()
        self.env, self.head, self.handles, self.calls, self.extra = {}, [], {}, {}, []
        self.tensors, self.paths = {}, {}
        if module is not None:
            for name, child in module.named_modules():
                self.paths.setdefault(id(child), name)
            for table in (module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)):
                for name, t in table:
                    self.tensors.setdefault(id(t), name)
            self.handles[""] = self.graph.add_input(T.module_type(module), "self")

    def handle(self, path):
        """The Value of the submodule of a dotted name."""
        found = self.handles.get(path)
        if found is None:
            outer, _, name = path.rpartition(".")
            child = self.module.get_submodule(path)
            node = G.Node(G.GET_ATTR, (self.handle(outer),), (T.module_type(child),), {"name": name})
            self.head.append(node)
            found = self.handles[path] = node.outs[0]
            found.name = name if name.isidentifier() else f"_{name}"
        return found

    def attribute(self, path):
        """The Value of the parameter or buffer of a dotted name."""
        outer, _, name = path.rpartition(".")
        node = G.Node(G.GET_ATTR, (self.handle(outer),), (T.TENSOR,), {"name": name})
        self.head.append(node)
        node.outs[0].name = name
        return node.outs[0]


class Call:
    """A call of a submodule: its frame, the node in the frame around it, and what is handed out."""

    def __init__(self, frame, node, name):
        self.frame, self.node, self.name, self.outs = frame, node, name, {}

    def hand_out(self, key):
        """The Value, in the frame around, of an object that the call made; None where it did not make it."""
        if key in self.outs:
            return self.outs[key][1]
        inner = self.frame.env.get(key)
        if inner is None:
            deeper = self.frame.calls.get(key)
            inner = None if deeper is None else deeper.hand_out(key)
            if inner is None:
                return None
            self.frame.env[key] = inner
        outer = Value(inner.type, None)
        self.outs[key] = inner, outer
        return outer

    def finish(self):
        """Gives the node its outputs and the graph its result: one value, or a tuple of several."""
        self.frame.graph.body[:0] = self.frame.head
        graph, pairs = self.frame.graph, list(self.outs.values())
        if not pairs:
            nothing = graph.append(G.CONSTANT, (), (T.NONE,), {"value": None})
            graph.results, self.node.outs = nothing.outs, [Value(T.NONE, self.node)]
            return []
        if len(pairs) == 1:
            (inner, outer), = pairs
            graph.results, self.node.outs, outer.node = [inner], [outer], self.node
            return []
        kind = T.tuple_of(*[T.bare(inner.type) for inner, _ in pairs])
        graph.results = graph.append("prim::TupleConstruct", [inner for inner, _ in pairs], (kind,)).outs
        self.node.outs = [Value(kind, self.node)]
        unpack = G.Node("prim::TupleUnpack", self.node.outs)
        unpack.outs = [outer for _, outer in pairs]
        for outer in unpack.outs:
            outer.node = unpack
        return [unpack]


class State:
    """A running trace."""

    def __init__(self, module, strict):
        self.strict, self.thread, self.depth = strict, threading.get_ident(), 0
        self.frames, self.alive, self.finished = [Frame(module, None)], [], []
        self.methods = {}                       # (id of a module, name) -> (module, Call)
        self.warned = set()

    def is_here(self):
        """Whether this thread is the one that traces."""
        return threading.get_ident() == self.thread

    @property
    def frame(self):
        """The frame that is recorded into."""
        return self.frames[-1]

    # ---- values ------------------------------------------------------------------------------------------------------

    def bind(self, obj, value):
        """Says that an object is a value from here on."""
        self.alive.append(obj)                  # its id must not become another's
        self.frame.env[id(obj)] = value

    def find(self, obj, frame):
        """The Value of an object in a frame; None where nobody knows it."""
        key = id(obj)
        found = frame.env.get(key)
        if found is not None:
            return found
        if key in frame.tensors:
            found = frame.attribute(frame.tensors[key])
            self.alive.append(obj)
        elif key in frame.calls:
            found = frame.calls[key].hand_out(key)
        elif frame.parent is not None:
            outer = self.find(obj, frame.parent)
            if outer is None:
                return None
            found = frame.graph.add_input(outer.type, None)
            frame.extra.append(outer)
        if found is not None:
            frame.env[key] = found
        return found

    def constant(self, value, type=None):
        """The Value of a constant."""
        return self.emit(G.CONSTANT, (), type or T.of_value(value) or T.ANY, value=value)

    def emit(self, kind, inputs, type, **attrs):
        """Adds a node with one output to the current graph; returns the output."""
        return self.frame.graph.append(kind, inputs, (type,), attrs, caller_source()).outs[0]

    def value(self, obj):
        """The Value of an argument: a tensor, number, constant, or a nest of them."""
        if isinstance(obj, (Tensor, Traced)):
            found = self.find(obj, self.frame)
            if found is not None:
                return found
            if isinstance(obj, Traced):
                return self.constant(obj.plain())
            return self.tensor_constant(obj)
        if isinstance(obj, (list, tuple)) and any(self._is_traced(o) for o in obj):
            values = [self.value(o) for o in obj]
            if hasattr(obj, "_fields"):
                kind = T.named_tuple(type(obj).__name__, obj._fields, [v.type for v in values])
                return self.emit("prim::TupleConstruct", values, kind)
            kind = T.unify_all([v.type for v in values])
            if kind is None:
                return self.emit("prim::TupleConstruct", values, T.tuple_of(*[v.type for v in values]))
            return self.emit("prim::ListConstruct", values, T.list_of(kind))
        if isinstance(obj, dict) and any(self._is_traced(o) for o in obj.values()):
            values = [v for k, o in obj.items() for v in (self.constant(k), self.value(o))]
            kind = T.unify_all([v.type for v in values[1::2]])
            return self.emit("prim::DictConstruct", values, T.Type("Dict", (values[0].type, kind or T.ANY)))
        if type(obj).__module__ == "numpy":
            from ..ops.create import as_tensor

            obj = obj.item() if getattr(obj, "ndim", 1) == 0 else as_tensor(obj)
        if isinstance(obj, tuple) and type(obj) is not tuple and not hasattr(obj, "_fields"):
            obj = tuple(obj)
        if not _is_constant(obj):
            raise NotImplementedError(f"jit.trace: an argument of type '{type(obj).__name__}' of an operation cannot be "
                                      "recorded; "
                                      "use jit.script, or keep that part out of the trace")
        return self.constant(obj)

    def _is_traced(self, obj):
        if isinstance(obj, (list, tuple)):
            return any(map(self._is_traced, obj))
        return isinstance(obj, (Tensor, Traced))

    def tensor_constant(self, t):
        """The Value of a tensor that the trace has not seen."""
        if t._rg:
            raise RuntimeError("Cannot insert a Tensor that requires grad as a constant. Consider making it a parameter or "
                               "input, or "
                               f"detaching the gradient\nTensor:\n{t.detach()}")
        found = self.constant(t.detach().clone(), tensor_type(t))
        self.alive.append(t)
        self.frame.env[id(t)] = found
        return found

    def writable(self, t):
        """The Value of a tensor that is about to be written: a constant's copy, for a constant must be the same in each run."""
        found = self.value(t)
        if found.constant()[0]:
            found = self.emit("aten::clone", (found,), found.type)
            self.bind(t, found)
        return found

    # ---- recording ---------------------------------------------------------------------------------------------------

    def run(self, call, args, kwargs):
        """The result of a call that is not looked into, its numbers plain."""
        self.depth += 1
        try:
            return call(*_plain(args), **_plain(kwargs))
        finally:
            self.depth -= 1

    def record(self, function, original, args, kwargs):
        """Calls an operation and records it."""
        out = kwargs.get("out")
        shapes = [t.shape for t in flat(out)]
        if function.kind.endswith("_") and args and isinstance(args[0], Tensor):
            self.depth += 1
            self.writable(args[0])              # before it is written
            self.depth -= 1
        result = self.run(original, args, kwargs)
        if not _has_tensor(result):
            return result
        self.depth += 1
        try:
            if out is None:
                self.note(function, args, kwargs, result)
            else:
                fresh = tuple(t.detach() for t in flat(out))
                self.note(function, args, {k: v for k, v in kwargs.items() if k != "out"},
                          fresh if isinstance(out, (tuple, list)) else fresh[0])
                for target, shape, source in zip(flat(out), shapes, fresh):
                    self.write(target, source, target.shape != shape)
        finally:
            self.depth -= 1
        return result

    def write(self, target, source, resized):
        """Records that ``out=target`` was given the values of ``source``."""
        if resized:
            self.bind(target, self.find(source, self.frame))
        else:
            self.note(functions.by_kind("aten::copy_"), (target, source), {}, target)

    def note(self, function, args, kwargs, result):
        """Adds the node of a call that gave ``result``."""
        try:
            function, bound = functions.bind(function, args, dict(kwargs), lambda v: T.of_value(numbers.plain(v)) or T.ANY)
        except TypeError as error:
            raise NotImplementedError(f"jit.trace: the call of {function.kind} cannot be recorded: {error}") from error
        function, bound = functions.canonical(function, bound)
        values = []
        for p in function.parameters:
            if p.name not in bound:
                values.append(self.constant((), T.INTS) if p.kind is p.VAR_POSITIONAL else self.constant(p.default))
                continue
            given = bound[p.name]
            if p.kind is p.VAR_POSITIONAL:
                if len(given) == 1 and isinstance(given[0], (list, tuple)) and functions.takes_list(function):
                    given, = given
                given = list(given)
            values.append(self.value(given))
        self.output(function.kind, values, result)

    def output(self, kind, values, result):
        """Adds a node and says which objects its output is."""
        if isinstance(result, Tensor):
            self.bind(result, self.emit(kind, values, tensor_type(result)))
            return
        attrs = {"as_list": False} if kind.partition("::")[2] in results.LISTS else {}
        self.unpack(self.emit(kind, values, T.of_value(result if hasattr(result, "_fields") else tuple(result)), **attrs), result)

    def output_of_python(self, fn, name, values, result):
        """Adds a node that calls a Python function."""
        kind = tensor_type(result) if isinstance(result, Tensor) else T.of_value(result) or T.ANY
        self.unpack(self.emit("prim::PythonOp", values, kind, name=name, callable=fn), result)

    def record_number(self, kind, args, result):
        """Records an operation on numbers; returns the traced result."""
        self.depth += 1
        try:
            values = [self.value(a) for a in args]
            if kind == "aten::size":
                type_ = T.INT
            else:
                type_ = T.of_value(result.plain())
            self.bind(result, self.emit(kind, values, type_))
        finally:
            self.depth -= 1
        return result

    # ---- warnings ----------------------------------------------------------------------------------------------------

    def warn(self, message):
        """A TracerWarning at the line of the user's program that runs."""
        place = caller_source()
        if place is None:
            warnings.warn(message, TracerWarning, stacklevel=3)
            return
        warnings.warn_explicit(message, TracerWarning, place.text.file, place.text.first + place.line)

    def warn_conversion(self, kind):
        """The warning that a tensor became a Python number."""
        self.warn(CONVERSION.format(kind))

    # ---- submodules --------------------------------------------------------------------------------------------------

    def enter(self, module, original, args, kwargs):
        """A call of a module, recorded as a graph of its own where the module is below the one that is traced."""
        from .module import ScriptModule

        frame = self.frame
        path = frame.paths.get(id(module)) if frame.module is not None else None
        if isinstance(module, ScriptModule) and "forward" in module._methods:
            return self.call_script(module, path, original, args, kwargs)
        if not path:
            return original(module, *args, **kwargs)
        inner = Frame(module, frame)
        outer, seen = [frame.handle(path)], set()
        for obj in flat((args, kwargs)):
            known = self.find(obj, frame) if id(obj) not in seen else None
            if known is not None:
                seen.add(id(obj))
                inner.env[id(obj)] = inner.graph.add_input(known.type, known.name)
                outer.append(known)
                self.alive.append(obj)
        own = set(inner.graph.params)
        self.frames.append(inner)
        try:
            result = original(module, *args, **kwargs)
        finally:
            self.frames.pop()
        node = frame.graph.append(G.CALL_METHOD, [*outer, *inner.extra], (), {"name": "forward"}, caller_source())
        call = Call(inner, node, self._method_name(module))
        node.attrs["name"] = call.name
        self.finished.append((frame, call))
        self.methods[id(module), call.name] = module, call
        for key in [*inner.env, *inner.calls]:
            frame.calls[key] = call
        self.depth += 1
        for obj in flat(result):
            value = inner.env.get(id(obj))
            if value is None or value in own:
                value = None if value is not None else self.find(obj, inner) if id(obj) in inner.calls else None
            if value is not None:
                frame.env[id(obj)] = call.hand_out(id(obj))
                self.alive.append(obj)
        self.depth -= 1
        return result

    def _method_name(self, module):
        k = 0
        while (id(module), name := f"forward{k or ''}") in self.methods:
            k += 1
        return name

    def call_script(self, module, path, original, args, kwargs):
        """A call of a module that is a graph already."""
        method = module._methods["forward"]
        if path is None:
            raise RuntimeError(f"jit.trace: the script module '{module.original_name}' is no submodule of what is traced")
        result = self.run(original, (module, *args), kwargs)
        self.depth += 1
        values = [self.frame.handle(path)] if path else [self.frame.handle("")]
        values += [self.value(v) for v in _in_order(method.schema, args, kwargs, 1)]
        made = self.emit(G.CALL_METHOD, values, method.schema.returns, name="forward")
        self.unpack(made, result)
        self.depth -= 1
        return result

    def unpack(self, value, result):
        """Says which objects a value of any type is made of."""
        if isinstance(result, Tensor):
            if value.type == T.TENSOR:
                value.type = tensor_type(result)
            self.bind(result, value)
        elif isinstance(result, (tuple, list)) and value.type.name in ("Tuple", "NamedTuple", "List"):
            kinds = value.type.args if value.type.name != "List" else value.type.args * len(result)
            kind = "prim::ListUnpack" if value.type.name == "List" else "prim::TupleUnpack"
            for part, item in zip(self.frame.graph.append(kind, (value,), kinds, {}, caller_source()).outs, result):
                self.unpack(part, item)
        elif isinstance(result, dict):
            for key, item in result.items():
                self.unpack(self.emit("aten::__getitem__", (value, self.constant(key)), value.type.args[1]), item)

    def finish(self):
        """Completes the graphs of all calls."""
        for frame, call in self.finished:
            after = call.finish()
            if after:
                at = frame.graph.body.index(call.node)
                frame.graph.body[at + 1:at + 1] = after


def _in_order(schema, args, kwargs, skip):
    """A call's arguments in the order of a schema."""
    wanted = schema.arguments[skip:]
    return [args[k] if k < len(args) else kwargs.get(a.name, a.default) for k, a in enumerate(wanted)]


def recorded_call(call, owner, target, args, kwargs):
    """Calls a compiled function or method, as one node where a trace runs."""
    state = tracing[0]
    if state is None or state.depth or not state.is_here():
        return call(owner, args, kwargs)
    from .module import ScriptFunction

    state.depth += 1
    try:
        result = call(owner, _plain(args), _plain(kwargs))
        if isinstance(target, ScriptFunction):
            values = [state.value(v) for v in _in_order(target.schema, args, kwargs, 0)]
            made = state.emit(G.CALL_FUNCTION, values, target.schema.returns, function=target)
        else:
            path = state.frame.paths.get(id(owner)) if state.frame.module is not None else None
            if path is None:
                raise RuntimeError(f"jit.trace: the script module '{owner.original_name}' is no submodule of what is traced")
            values = [state.frame.handle(path), *(state.value(v) for v in _in_order(target.schema, args, kwargs, 1))]
            made = state.emit(G.CALL_METHOD, values, target.schema.returns, name=target.name)
        state.unpack(made, result)
    finally:
        state.depth -= 1
    return result


def flat(tree):
    """The tensors and traced numbers in a nest, in order."""
    if isinstance(tree, (Tensor, Traced)):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for branch in tree:
            yield from flat(branch)
    elif isinstance(tree, dict):
        for branch in tree.values():
            yield from flat(branch)


def _plain(tree):
    """A nest of arguments with plain numbers in place of traced ones."""
    kind = type(tree)
    if isinstance(tree, Traced):
        return tree.plain()
    if kind in (list, tuple):
        return kind([_plain(branch) for branch in tree])
    if kind is dict:
        return {key: _plain(branch) for key, branch in tree.items()}
    if kind is slice:
        return slice(_plain(tree.start), _plain(tree.stop), _plain(tree.step))
    if isinstance(tree, tuple) and any(isinstance(branch, Traced) for branch in tree):
        return tuple(map(_plain, tree))
    return tree


def _is_constant(obj):
    """Whether a graph can hold an argument as it is."""
    if isinstance(obj, (list, tuple)):
        return all(map(_is_constant, obj))
    if isinstance(obj, dict):
        return all(map(_is_constant, obj.values()))
    return obj is Ellipsis or T.of_value(obj) not in (None, T.GENERATOR)


def _has_tensor(result):
    return isinstance(result, Tensor) or isinstance(result, (tuple, list)) and any(isinstance(r, Tensor) for r in result)


