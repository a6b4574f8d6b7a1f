"""The ``.code`` of a graph: Python-like text, in torch's manner."""
import keyword

from ..tensor import Tensor
from . import functions
from . import graph as G
from . import types as T
from .graph import attribute_text, float_text


def python_code(graph, schema):
    """(text, {"c0": Tensor ...}) of a graph; the text calls its tensors CONSTANTS.c0 and so on."""
    writer = _Writer(graph, schema)
    return writer.write(), writer.tensors


class _Writer:
    def __init__(self, graph, schema):
        self.graph, self.schema = graph, schema
        self.names, self.taken, self.tensors, self.lines, self.inner = {}, set(), {}, [], set()
        self.uses = {}
        for value in _all_uses(graph):
            self.uses[value] = self.uses.get(value, 0) + 1

    def write(self):
        arguments = []
        for value, a in zip(self.graph.params, self.schema.arguments):
            self.names[value] = a.name
            self.taken.add(a.name)
            default = f"={self.literal(a.default)}" if a.has_default() else ""
            arguments.append(a.name if a.type.name == "Module" else f"{a.name}: {a.type!r}{default}")
        name = "_lambda" if self.schema.name == "<lambda>" else self.schema.name
        head = f"def {name}({(',' + chr(10) + '    ').join(arguments)}) -> {self.schema.returns!r}:"
        self.block(self.graph, 1)
        self.lines.append(f"  return {self.text(self.graph.results[0])}")
        return "\n".join([head, *self.lines]) + "\n"

    def name(self, value):
        """A variable for a value: its own name, with a number where that is taken."""
        base = (value.name or "").partition(".")[0]
        if not base.isidentifier() or keyword.iskeyword(base) or base.startswith("_") and base[1:].isdigit():
            base = "_"
        k = 0
        found = base if base != "_" else "_0"
        while found in self.taken:
            found = f"{base}{k}"
            k += 1
        self.taken.add(found)
        self.names[value] = found
        return found

    def literal(self, value):
        if isinstance(value, Tensor):
            for name, known in self.tensors.items():
                if known is value:
                    return f"CONSTANTS.{name}"
            name = f"c{len(self.tensors)}"
            self.tensors[name] = value
            return f"CONSTANTS.{name}"
        if isinstance(value, float):
            return f'float("{value}")' if value != value or value in (float("inf"), float("-inf")) else float_text(value)
        if isinstance(value, str):
            return attribute_text(value)
        if isinstance(value, tuple):
            return f"({', '.join(map(self.literal, value))}{',' if len(value) == 1 else ''})"
        if isinstance(value, list):
            return f"[{', '.join(map(self.literal, value))}]" if value else "annotate(List[int], [])"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{self.literal(k)}: {self.literal(v)}" for k, v in value.items()) + "}"
        kind = T.of_value(value)
        if kind == T.DEVICE:
            return f'torch.device("{value}")'
        return getattr(value, "__name__", None) or repr(value)

    def text(self, value):
        """What stands for a value: a variable, a literal, or the expression that makes it."""
        if value in self.names:
            return self.names[value]
        known, constant = value.constant()
        if known:
            return self.literal(constant)
        return self.expression(value.node)

    def add(self, depth, text):
        self.lines.append("  " * depth + text)

    # ---- blocks ------------------------------------------------------------------------------------------------------

    def block(self, block, depth):
        start = len(self.lines)
        body = [n for n in block.body if n.kind_ != G.CONSTANT]
        for k, node in enumerate(body):
            following = body[k + 1] if k + 1 < len(body) else None
            self.node(node, following, block, depth)
        if len(self.lines) == start and block is not self.graph:
            self.add(depth, "pass")

    def node(self, node, following, block, depth):
        kind = node.kind_
        if kind == G.IF:
            return self.if_(node, depth)
        if kind == G.LOOP:
            return self.loop(node, depth)
        if kind == G.WITH:
            return self.with_(node, depth)
        if kind == G.SET_ATTR:
            return self.add(depth, f"{self.text(node.args[0])}.{node.attrs['name']} = {self.text(node.args[1])}")
        if kind == "prim::unchecked_cast":
            self.names[node.outs[0]] = self.text(node.args[0])
            return
        if kind == "prim::Uninitialized":
            self.names[node.outs[0]] = f"uninitialized({node.outs[0].type!r})"
            return
        if kind in ("prim::TupleUnpack", "prim::ListUnpack"):
            source = self.text(node.args[0])
            self.add(depth, f"{', '.join(self.name(v) for v in node.outs)}, = {source}")
            return
        if not node.outs or node.outs[0].type == T.NONE:
            self.add(depth, self.expression(node))
            for value in node.outs:
                self.names[value] = "None"
            return
        if self._goes_inside(node, following, block):
            return
        expression = self.expression(node)
        if not self.uses.get(node.outs[0]):
            self.add(depth, f"{self.name(node.outs[0])} = {expression}")
        else:
            self.add(depth, f"{self.name(node.outs[0])} = {expression}")

    def _goes_inside(self, node, following, block):
        """Whether the expression is written where its only use is: in the next statement."""
        if node.kind_ == G.GET_ATTR:
            return False
        value = node.outs[0]
        if self.uses.get(value) != 1 or value.name and not value.name.isdigit() and "." not in value.name \
                and not value.name.startswith("_") and node.kind_ != "prim::ListConstruct":
            return False
        if following is None:
            return value in block.results
        return value in following.args and following.kind_ not in (G.LOOP, "prim::unchecked_cast")

    def if_(self, node, depth):
        outs = node.outs
        self.add(depth, f"if {self.text(node.args[0])}:")
        then, other = node.blocks_
        names = None
        before = len(self.lines)
        self.block(then, depth + 1)
        then_results = [self.text(v) for v in then.results]
        names = [self.name(v) for v in outs]
        self._assign(names, then_results, depth + 1, before)
        self.add(depth, "else:")
        before = len(self.lines)
        self.block(other, depth + 1)
        self._assign(names, [self.text(v) for v in other.results], depth + 1, before)

    def _assign(self, names, sources, depth, start):
        pairs = [(n, s) for n, s in zip(names, sources) if n != s]
        if pairs:
            if len(self.lines) == start + 1 and self.lines[-1].strip() == "pass":
                self.lines.pop()
            self.add(depth, f"{', '.join(n for n, _ in pairs)} = {', '.join(s for _, s in pairs)}")

    def loop(self, node, depth):
        trips, condition, *carried = node.args
        block, = node.blocks_
        index, *params = block.params
        names = [self.name(p) for p in params]
        self._assign(names, [self.text(v) for v in carried], depth, len(self.lines))
        go_on, *after = block.results
        tail = None
        if condition.constant() == (True, True) and go_on.constant() == (True, True) and trips.constant() != (True, G.FOREVER):
            self.add(depth, f"for {self.name(index)} in range({self.text(trips)}):")
        else:
            tail = self._free("_going")
            self.add(depth, f"{tail} = {self.text(condition)}")
            limit = ""
            if trips.constant() != (True, G.FOREVER):
                counter = self.name(index)
                self.add(depth, f"{counter} = 0")
                limit = f" and torch.lt({counter}, {self.text(trips)})"
            self.add(depth, f"while {tail}{limit}:")
        start = len(self.lines)
        self.block(block, depth + 1)
        targets, sources = names + ([tail] if tail else []), [self.text(v) for v in after] + ([self.text(go_on)] if tail else [])
        self._assign(targets, sources, depth + 1, start)
        if tail and trips.constant() != (True, G.FOREVER):
            self.add(depth + 1, f"{self.names[index]} = torch.add({self.names[index]}, 1)")
        for value, name in zip(node.outs, names):
            self.names[value] = name

    def _free(self, base):
        found, k = base, 0
        while found in self.taken:
            found, k = f"{base}{k}", k + 1
        self.taken.add(found)
        return found

    def with_(self, node, depth):
        self.add(depth, f"with {self.text(node.args[0])}:")
        start = len(self.lines)
        self.block(node.blocks_[0], depth + 1)
        names = [self.name(v) for v in node.outs]
        self._assign(names, [self.text(v) for v in node.blocks_[0].results], depth + 1, start)

    # ---- expressions -------------------------------------------------------------------------------------------------

    def expression(self, node):
        kind, args, attrs = node.kind_, node.args, node.attrs
        domain, _, name = kind.partition("::")
        texts = [self.text(v) for v in args]
        if kind == G.GET_ATTR:
            plain = attrs["name"].isidentifier() and not keyword.iskeyword(attrs["name"])
            return f"{texts[0]}.{attrs['name']}" if plain else f'getattr({texts[0]}, "{attrs["name"]}")'
        if kind == G.CALL_METHOD:
            return f"({texts[0]}).{attrs['name']}({''.join(t + ', ' for t in texts[1:])})"
        if kind == G.CALL_FUNCTION:
            return f"{attrs['function'].qualified_name}({''.join(t + ', ' for t in texts)})"
        if kind == "prim::ListConstruct":
            return f"[{', '.join(texts)}]" if texts else f"annotate({node.outs[0].type!r}, [])"
        if kind == "prim::DictConstruct":
            inside = ", ".join(f"{k}: {v}" for k, v in zip(texts[::2], texts[1::2]))
            return "{" + inside + "}" if inside else f"annotate({node.outs[0].type!r}, {{}})"
        if kind == "prim::TupleConstruct":
            label = node.outs[0].type.label if node.outs[0].type.name == "NamedTuple" else ""
            return f"{label or ''}({', '.join(texts)}{',' if len(texts) == 1 and not label else ''})"
        if kind == "prim::TupleIndex":
            return f"({texts[0]})[{attrs['index']}]"
        if kind == "aten::__getitem__":
            return f"{texts[0]}[{texts[1]}]"
        if kind == "prim::Context":
            return f"torch.{attrs['name']}({', '.join(texts)})"
        if kind == "prim::PythonOp":
            return f"^{attrs['name']}({', '.join(texts)})"
        if domain in ("list", "dict", "str") and hasattr({"list": list, "dict": dict, "str": str}[domain], name):
            return f"{texts[0]}.{name}({', '.join(texts[1:])})"
        if kind in ("aten::Int", "aten::Float", "aten::Bool", "aten::str"):
            return f"{name.lower()}({texts[0]})"
        if kind == "aten::__not__":
            return f"not ({texts[0]})"
        if domain == "aten":
            return f"torch.{name}({', '.join(self.without_defaults(node, texts))})"
        if domain == "nn":
            return f"torch.nn.functional.{name}({', '.join(self.without_defaults(node, texts))})"
        if domain == "math":
            return f"math.{name}({', '.join(texts)})"
        return f"ops.{domain}.{name}({', '.join(texts)})"

    def without_defaults(self, node, texts):
        """The arguments of an operation but those at the end that are left to their defaults."""
        function = functions.by_kind(node.kind_)
        if function is None:
            return texts
        words, named = [], False
        for value, text, p in zip(node.args, texts, function.parameters):
            known, constant = value.constant()
            if known and p.default is not p.empty and type(constant) is type(p.default) and constant == p.default:
                named = True
            else:
                words.append(f"{p.name}={text}" if named or p.kind is p.KEYWORD_ONLY else text)
        return words


def _all_uses(block):
    for node in block.body:
        yield from node.args
        for inner in node.blocks_:
            yield from _all_uses(inner)
    yield from block.results
