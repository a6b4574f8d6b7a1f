"""``jit.save`` and ``jit.load``: one ZIP file that holds graphs as JSON and tensors as torch's records, and no code to run.

The records: ``graph.json`` (modules, graphs, types, and where in the user's program each node comes from), ``data/0`` ... (the
memory of parameters, buffers and constants, as ``torch.save`` writes it), ``code/*.py`` (the graphs as text, for people) and
``extra/*`` (the user's own).
"""
import io
import json
import math
import os
import sys

from .. import devices, dtypes
from .._serial_places import restorer
from .._serial_tensors import Memories, _place, _rebuild_tensor_v3
from .._serial_zip import Reader, Writer, is_archive
from ..nn.parameter import Parameter
from ..serialization import _is_swapped, _read_storage, _replacing
from ..shape import Size
from ..tensor import (
    Tensor,
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    strided,
)
from . import functions
from . import graph as G
from . import types as T
from .executor import _SPECIAL, CONTEXTS, named_tuple_class
from .graph import Graph, Value, copy_block
from .module import Method, RecursiveScriptModule, ScriptFunction, ScriptModule
from .schema import NOTHING, Argument, Schema
from .source import Source, Text

_FORMAT = 1
_FORMATS = {f.name: f for f in (channels_last, channels_last_3d, contiguous_format, preserve_format)}


def save(m, f, _extra_files=None):
    """Writes a compiled module or function to a file that needs none of the user's source to load.

    Args:
        m (ScriptModule or ScriptFunction): what ``jit.script`` or ``jit.trace`` gave.
        f: a path, or a file object with ``write``. A file of that name is replaced when the new one is complete.
        _extra_files (dict): names and contents (str or bytes) that are kept in the file.

    Raises:
        RuntimeError: a graph calls Python functions, or the folder does not exist.
    """
    path = isinstance(f, (str, os.PathLike))
    if not path and not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    document = _Document(m)
    name = os.path.splitext(os.path.basename(os.fspath(f)))[0] if path else "archive"
    name = name if name.isascii() and name else "archive"
    if not path:
        document.write(f, name, _extra_files)
        return
    with _replacing(os.fspath(f), True) as file:
        document.write(file, name, _extra_files)


def to_bytes(m, _extra_files=None):
    """The bytes of the file that ``save`` writes."""
    file = io.BytesIO()
    save(m, file, _extra_files)
    return file.getvalue()


# ---- writing -----------------------------------------------------------------------------------------------------------

class _Document:
    """What a file says, as lists and dicts; and the memory that its tensors are in."""

    def __init__(self, m):
        if not isinstance(m, (ScriptModule, ScriptFunction)):
            raise TypeError(f"jit.save expects a ScriptModule or a ScriptFunction, got {type(m).__name__}; make one with "
                            "jit.script or jit.trace")
        self.memories, self.tensors, self.places = Memories(), [], {}
        self.types, self.texts, self.modules, self.graphs = [], [], [], []
        self.known, self.code = {}, {}
        root = self.function(m) if isinstance(m, ScriptFunction) else self.module(m)
        self.root = {"function" if isinstance(m, ScriptFunction) else "module": root}

    def write(self, file, name, extra):
        """Writes the records."""
        writer = Writer(file, name)
        content = {"format": "numtorch.jit", "version": _FORMAT, **self.root, "modules": self.modules, "graphs": self.graphs,
                   "types": self.types, "tensors": self.tensors, "texts": self.texts}
        writer.record("graph.json", json.dumps(content, separators=(",", ":")).encode())
        writer.record("byteorder", sys.byteorder.encode())
        for path, text in self.code.items():
            writer.record(f"code/{path}.py", text.encode())
        for key, value in (extra or {}).items():
            writer.record(f"extra/{key}", value.encode() if isinstance(value, str) else value)
        for memory in self.memories:
            writer.record(f"data/{memory.key}", memory.bytes)
        writer.close()

    def type(self, t):
        """The number of a type."""
        key = "type", t, t.label
        if key not in self.known:
            self.known[key] = len(self.types)
            self.types.append(T.to_json(t))
        return self.known[key]

    def tensor(self, t):
        """The number of a tensor."""
        key = "tensor", id(t)
        if key not in self.known:
            memory, offset, size, stride = _place(t, self.memories)
            self.known[key] = len(self.tensors)
            self.tensors.append({"data": memory.key, "storage": memory.kind.dtype._name, "count": memory.count,
                                 "dtype": t.dtype._name, "offset": offset, "size": list(size), "stride": list(stride),
                                 "grad": t.requires_grad, "parameter": isinstance(t, Parameter)})
        return self.known[key]

    def value(self, value):
        """A constant, as JSON: numbers, strings and None as they are, all else as a dict with one key."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, Tensor):
            return {"tensor": self.tensor(value)}
        if value is Ellipsis:
            return {"ellipsis": 0}
        if isinstance(value, complex):
            return {"complex": [self.value(value.real), self.value(value.imag)]}
        if isinstance(value, list):
            return {"list": [self.value(v) for v in value]}
        if isinstance(value, tuple):
            if hasattr(value, "_fields"):
                return {"named": [type(value).__name__, list(value._fields), [self.value(v) for v in value]]}
            return {"size" if isinstance(value, Size) else "tuple": [self.value(v) for v in value]}
        if isinstance(value, dict):
            return {"dict": [[self.value(k), self.value(v)] for k, v in value.items()]}
        if isinstance(value, dtypes.dtype):
            return {"dtype": value._name}
        if isinstance(value, devices.device):
            return {"device": str(value)}
        if isinstance(value, memory_format):
            return {"memory_format": value.name}
        if isinstance(value, layout):
            return {"layout": "strided"}
        raise RuntimeError(f"jit.save: a value of type {type(value).__name__} cannot be written to a file: {value!r}")

    def source(self, source):
        """A place in the user's program: the number of its text, and a range."""
        if source is None:
            return None
        key = "text", id(source.text)
        if key not in self.known:
            text = source.text
            self.known[key] = len(self.texts)
            self.texts.append([text.file, text.first, text.lines, text.function])
        return [self.known[key], source.line, source.column, source.end_line, source.end_column, self.source(source.caller)]

    def graph(self, graph, schema):
        """The number of a graph with its schema."""
        key = "graph", id(graph)
        if key in self.known:
            return self.known[key]
        numbers = {}

        def values(items):
            return [[numbers.setdefault(v, len(numbers)), self.type(v.type), v.name] for v in items]

        def block(b):
            found = {"inputs": values(b.params), "nodes": [node(n) for n in b.body]}
            found["outputs"] = [numbers[v] for v in b.results]
            return found

        def node(n):
            if n.kind_ == "prim::PythonOp":
                place = "" if n.source is None else ":\n" + n.source.highlight()
                raise RuntimeError(f"\nCould not export Python function call '{n.attrs['name']}'. Remove calls to Python "
                                   "functions before "
                                   "export. Did you forget to add @script or @script_method annotation? If this is a "
                                   "nn.ModuleList, add "
                                   f"it to __constants__{place}")
            attrs = {k: {"function": self.function(v)} if k == "function" else self.value(v) for k, v in n.attrs.items()}
            found = {"kind": n.kind_, "inputs": [numbers[v] for v in n.args]}
            found["blocks"] = [block(b) for b in n.blocks_]
            found.update(outputs=values(n.outs), attrs=attrs, source=self.source(n.source))
            return {k: v for k, v in found.items() if v or k == "kind"}
        content = {"name": graph.name, "schema": self.schema(schema), **block(graph)}
        number = self.known[key] = len(self.graphs)
        self.graphs.append(content)
        return number

    def schema(self, schema):
        """Names, types and defaults of arguments, and the type of the result."""
        arguments = [{"name": a.name, "type": self.type(a.type), "inferred": a.inferred, "only": a.keyword_only,
                      **({"default": self.value(a.default)} if a.has_default() else {})} for a in schema.arguments]
        return {"name": schema.name, "arguments": arguments, "returns": self.type(schema.returns)}

    def function(self, f):
        """The number of a function's graph."""
        self.code[f.qualified_name.replace(".", "/")] = f.code
        return [self.graph(f.graph, f.schema), f.qualified_name]

    def module(self, m):
        """The number of a module."""
        if id(m) in self.places:
            return self.places[id(m)]
        number = self.places[id(m)] = len(self.modules)
        found = {}
        self.modules.append(found)
        found.update(type=m._type_name, training=m.training, container=m._container)
        found["parameters"] = {k: None if v is None else self.tensor(v) for k, v in m._parameters.items()}
        found["buffers"] = {k: [None if v is None else self.tensor(v), k not in m._non_persistent_buffers_set]
                            for k, v in m._buffers.items()}
        found["attributes"] = {k: [self.type(t), self.value(getattr(m, k))] for k, t in m._script_attributes.items()}
        found["modules"] = {k: None if c is None else self.module(self._script(c, k)) for k, c in m._modules.items()}
        found["methods"] = {k: self.graph(method.graph, method.schema) for k, method in m._methods.items()}
        text = "\n".join(getattr(m, k).code if k != "forward" else m.code for k in m._methods)
        if text:
            path = (m._type_name or "module").replace(".", "/")
            self.code[path if path not in self.code else f"{path}_{number}"] = text
        return number

    @staticmethod
    def _script(child, name):
        if not isinstance(child, ScriptModule):
            raise RuntimeError(f"jit.save: the submodule '{name}' is no ScriptModule")
        return child


# ---- reading -----------------------------------------------------------------------------------------------------------

def load(f, map_location=None, _extra_files=None, _restore_shapes=False):
    """Reads a compiled module or function from a file of ``jit.save``. Nothing in the file is run as Python.

    Args:
        f: a path, or a file object with ``read`` and ``seek``.
        map_location: where tensors are put, as for ``torch.load``.
        _extra_files (dict): its keys name the extra files to read; their contents, as bytes, become the values.
        _restore_shapes (bool): the shapes seen by a trace are always kept.

    Returns:
        A ScriptModule; for a saved function one whose forward is the function.

    Raises:
        ValueError: there is no such file. RuntimeError: the file is damaged, or was written by a later version.
    """
    if isinstance(f, (str, os.PathLike)):
        if not os.path.exists(f):
            raise ValueError(f"The provided filename {f} does not exist")
        if os.path.isdir(f):
            raise ValueError(f"The provided filename {f} is a directory")
        with open(f, "rb") as file:
            return _load(file, map_location, _extra_files)
    return _load(f, map_location, _extra_files)


def _load(file, map_location, extra):
    if not is_archive(file):
        raise RuntimeError("jit.load: the file is no ZIP archive, so that jit.save did not write it")
    reader = Reader(file)
    if "graph.json" not in reader:
        if "constants.pkl" in reader:
            raise NotImplementedError("jit.load: the file is a TorchScript archive of PyTorch, whose code numtorch does not "
                                      "read; save "
                                      "the model's state_dict() with torch, load that, and script or trace the model here")
        raise RuntimeError("jit.load: the file has no record 'graph.json', so that jit.save did not write it")
    try:
        content = json.loads(reader.read("graph.json"))
        if not isinstance(content, dict) or content.get("format") != "numtorch.jit":
            raise ValueError("it does not say that it is of numtorch.jit")
        if content["version"] != _FORMAT:
            raise RuntimeError(f"jit.load: the file is of version {content['version']}, and this numtorch reads version "
                               f"{_FORMAT}")
        found = _Reader(content, reader, restorer(map_location)).root()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise RuntimeError(f"jit.load: the file is damaged ({type(error).__name__}: {error})") from error
    for name in list(extra or ()):
        extra[name] = reader.read(f"extra/{name}") if f"extra/{name}" in reader else b""
    return found


class _Reader:
    """Builds what a file says."""

    def __init__(self, content, reader, restore):
        self.content, self.reader, self.restore = content, reader, restore
        self.swap = _is_swapped(reader)
        self.storages, self.tensors, self.graphs, self.modules, self.functions = {}, {}, {}, {}, {}
        self.types = []
        for t in content["types"]:
            self.types.append(T.from_json(t))
        self.texts = [Text(*text) for text in content["texts"]]

    def root(self):
        """The module or function."""
        if "function" in self.content:
            return _as_module(self.function(self.content["function"]))
        return self.module(self.content["module"])

    def tensor(self, number):
        """A tensor by its number; the same for the same number."""
        found = self.tensors.get(number)
        if found is not None:
            return found
        entry = self.content["tensors"][number]
        key = str(entry["data"])
        if key not in self.storages:
            kind = dtypes._by_name(entry["storage"])
            storage = _read_storage(self.reader, f"data/{key}", kind, entry["count"], None, self.swap)
            self.storages[key] = self.restore(storage, "cpu")
        found = _rebuild_tensor_v3(self.storages[key], entry["offset"], tuple(entry["size"]), tuple(entry["stride"]), False, None,
                                   dtypes._by_name(entry["dtype"]))
        if entry["parameter"]:
            found = Parameter(found, bool(entry["grad"]))
        elif entry["grad"]:
            found.requires_grad_(True)
        self.tensors[number] = found
        return found

    def value(self, data):
        """A constant."""
        if not isinstance(data, dict):
            return data
        (kind, content), = data.items()
        if kind == "float":
            return float(content)
        if kind == "tensor":
            return self.tensor(content)
        if kind == "ellipsis":
            return Ellipsis
        if kind == "complex":
            return complex(*map(self.value, content))
        if kind in ("list", "tuple", "size"):
            return {"list": list, "tuple": tuple, "size": Size}[kind](map(self.value, content))
        if kind == "named":
            label, fields, values = content
            return named_tuple_class(T.named_tuple(label, fields, ()))(*map(self.value, values))
        if kind == "dict":
            return {self.value(k): self.value(v) for k, v in content}
        if kind == "dtype":
            return dtypes._by_name(content)
        if kind == "device":
            return devices.device(content)
        if kind == "memory_format":
            return _FORMATS[content]
        if kind == "layout":
            return strided
        raise ValueError(f"a value of the kind {kind!r}")

    def source(self, data):
        """A place in the user's program."""
        if data is None:
            return None
        text, line, column, end_line, end_column, caller = data
        return Source(self.texts[text], line, column, end_line, end_column, self.source(caller))

    def graph(self, number):
        """(Graph, Schema)."""
        if number not in self.graphs:
            content = self.content["graphs"][number]
            graph = Graph(str(content["name"]))
            self.block(content, graph, {})
            self.graphs[number] = graph, self.schema(content["schema"])
        return self.graphs[number]

    def block(self, content, block, values):
        """Fills a block."""
        for number, kind, name in content["inputs"]:
            values[number] = block.add_input(self.types[kind], name)
        for entry in content["nodes"]:
            kind = entry["kind"]
            if kind not in _LANGUAGE and functions.by_kind(kind) is None:
                raise RuntimeError(f"jit.load: the file has the operation {kind}, which this numtorch does not know")
            attrs = {k: self.function(v["function"]) if k == "function" else self.value(v)
                     for k, v in entry.get("attrs", {}).items()}
            if kind == "prim::Context" and attrs["name"] not in CONTEXTS:
                raise RuntimeError(f"jit.load: the file has the context {attrs['name']}, which this numtorch does not know")
            if kind == G.CONSTANT:
                attrs.setdefault("value", None)
            node = block.append(kind, [values[n] for n in entry.get("inputs", ())], (), attrs, self.source(entry.get("source")))
            for inner in entry.get("blocks", ()):
                self.block(inner, node.add_block(), values)
            for number, type_, name in entry.get("outputs", ()):
                values[number] = Value(self.types[type_], node, name)
                node.outs.append(values[number])
        block.results = [values[n] for n in content["outputs"]]

    def schema(self, content):
        """The schema of a graph."""
        arguments = [Argument(str(a["name"]), self.types[a["type"]], self.value(a["default"]) if "default" in a else NOTHING,
                              a["inferred"], a["only"]) for a in content["arguments"]]
        return Schema(str(content["name"]), arguments, self.types[content["returns"]])

    def function(self, entry):
        """A ScriptFunction."""
        number, name = entry
        if number not in self.functions:
            graph, schema = self.graph(number)
            _check_attributes(graph, None)
            found = self.functions[number] = ScriptFunction(graph, schema)
            found.qualified_name = str(name)
        return self.functions[number]

    def module(self, number):
        """A module."""
        if number in self.modules:
            return self.modules[number]
        content = self.content["modules"][number]
        found = self.modules[number] = RecursiveScriptModule._of(str(content["type"]))
        own = found.__dict__
        own["training"], own["_container"] = bool(content["training"]), bool(content["container"])
        for name, tensor in content["parameters"].items():
            found._parameters[name] = None if tensor is None else self.tensor(tensor)
        for name, (tensor, persistent) in content["buffers"].items():
            found._buffers[name] = None if tensor is None else self.tensor(tensor)
            if not persistent:
                found._non_persistent_buffers_set.add(name)
        for name, (kind, value) in content["attributes"].items():
            if name in _RESERVED or name.startswith("__"):
                raise ValueError(f"an attribute of the name {name}")
            own[name] = self.value(value)
            found._script_attributes[name] = self.types[kind]
        for name, child in content["modules"].items():
            found._modules[name] = None if child is None else self.module(child)
        for name, graph in content["methods"].items():
            graph, schema = self.graph(graph)
            _check_attributes(graph, found)
            found._methods[name] = Method(name, graph, schema)
        return found


_LANGUAGE = frozenset(_SPECIAL) - {"prim::PythonOp"} | {G.CONSTANT, G.CALL_METHOD, G.CALL_FUNCTION}
_RESERVED = frozenset(("_parameters", "_buffers", "_modules", "_methods", "_script_attributes", "_type_name", "training",
                       "_container", "_non_persistent_buffers_set"))


def _as_module(function):
    """A module whose forward is a function."""
    found = RecursiveScriptModule._of("__torch__.PlaceholderModule")
    kind, graph, known = T.module_type(found), Graph(function.name), {}
    graph.add_input(kind, "self")
    copy_block(function.graph, graph, known)
    arguments = [Argument("self", kind), *function.schema.arguments]
    found._methods["forward"] = Method("forward", graph, Schema("forward", arguments, function.schema.returns))
    return found


def _check_attributes(graph, module):
    """Raises where a graph reads or writes anything of a module (None: of a function's arguments) that the file does not have."""
    modules = {graph.params[0]: module} if graph.params else {}
    for node in graph.all_nodes():
        if node.kind_ not in (G.GET_ATTR, G.SET_ATTR, G.CALL_METHOD):
            continue
        owner, name = modules[node.args[0]], node.attrs["name"]
        if node.kind_ == G.CALL_METHOD:
            if name not in owner._methods:
                raise ValueError(f"a call of the method {name}, which is not there")
        elif name in owner._modules and node.kind_ == G.GET_ATTR:
            modules[node.outs[0]] = owner._modules[name]
        elif name != "training" and name not in owner._parameters and name not in owner._buffers \
                and name not in owner._script_attributes:
            raise ValueError(f"the attribute {name}, which is not there")


