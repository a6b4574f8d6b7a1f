"""``a[key]`` and ``a[key] = value``: the key of a tensor becomes steps of select, slice and unsqueeze, and then one index."""
import ast

from . import types as T
from .errors import NotSupportedError
from .sugar import Items, Module, Python, Undefined


def plan(kinds):
    """How a tensor's key is read.

    Args:
        kinds (list of str): of each entry: "int", "slice", "full" (a slice of everything), "none", "ellipsis" or "tensor".

    Returns:
        steps: a list of (operation, dim, place in the key), in order; and the entries that are index tensors, a list with
        for each dim behind the steps a place, None for a dim that is left whole, or Ellipsis; None if there are none.
    """
    steps, indices, dim, places = [], [], 0, list(enumerate(kinds))
    consuming = ("int", "slice", "full", "tensor")
    if "ellipsis" in kinds:
        at = kinds.index("ellipsis")
        places, behind = places[:at], places[at + 1:]
    else:
        behind = []
    for place, kind in places:
        if kind == "int":
            steps.append(("select", dim, place))
            continue
        if kind in ("slice", "none"):
            steps.append(("slice" if kind == "slice" else "unsqueeze", dim, place))
        indices.append(place if kind == "tensor" else None)
        dim += 1
    if behind or "ellipsis" in kinds:
        indices.append(Ellipsis)
        left = sum(kind in consuming for _, kind in behind)
        for place, kind in behind:              # dims count from the end
            if kind == "none":
                steps.append(("unsqueeze", -left - 1, place))
            else:
                if kind in ("int", "slice"):
                    steps.append(("select" if kind == "int" else "slice", -left, place))
                left -= 1
            if kind != "int":
                indices.append(place if kind == "tensor" else None)
    return steps, indices if any(type(i) is int for i in indices) else None


class Subscripts:
    """The part of the Compiler that reads and writes elements."""

    def of_Subscript(self, node):
        """``a[key]``."""
        owner = self.expression(node.value)
        if isinstance(owner, Undefined):
            owner.as_value(self, node)
        if isinstance(owner, (Module, Items)):
            return self.static_subscript(owner, node)
        if isinstance(owner, Python) and not owner.usable:
            raise self.error(f"'{type(owner.obj).__name__}' object is not subscriptable in a script", node)
        value = self.unwrapped(self.value(owner, node), node)
        kind = value.type.name
        if kind == "Tensor":
            part, indices = self.indexed(value, self.key(node.slice), node)
            return part if indices is None else self.emit_value("aten::index", (part, indices), T.TENSOR, node)
        if isinstance(node.slice, ast.Slice):
            return self.list_slice(value, node)
        index = self.value(self.expression(node.slice), node.slice)
        if kind in ("Tuple", "NamedTuple"):
            known, k = index.constant()
            if not known or not isinstance(k, int):
                return self._tuple_at(value, index, node)
            n = len(value.type.args)
            if not -n <= k < n:
                raise self.error("Tuple index out of range", node)
            return self.element_at(value, k % n, node)
        if kind == "Dict":
            return self.emit_value("aten::__getitem__", (value, index), value.type.args[1], node)
        if kind == "List":
            return self.emit_value("aten::__getitem__", (value, index), value.type.args[0], node)
        if kind == "str":
            return self.emit_value("aten::__getitem__", (value, index), T.STR, node)
        raise self.error(f"'{value.type!r}' object is not subscriptable", node)

    def _tuple_at(self, value, index, node):
        kind = T.unify_all(value.type.args) if value.type.args else None
        if kind is None:
            raise self.error("tuple index must be a compile time constant, unless all elements are of one type", node)
        values = self.elements(value, node)
        made = self.emit_value("prim::ListConstruct", values, T.list_of(kind), node)
        return self.emit_value("aten::__getitem__", (made, index), kind, node)

    def element_at(self, value, k, node):
        """An element of a tuple."""
        if value.node is not None and value.node.kind_ == "prim::TupleConstruct":
            return value.node.args[k]
        known, constant = value.constant()
        if known:
            return self.constant(constant[k], node)
        return self.emit_value("prim::TupleIndex", (value,), value.type.args[k], node, index=k)

    def _bounds(self, node, full=False):
        """(start, stop, step) of a slice as values; constants where they are left out."""
        parts = []
        for part, default in ((node.lower, None), (node.upper, None), (node.step, 1)):
            value = self.constant(default) if part is None else self.value(self.expression(part), part)
            parts.append(value)
        return parts

    def list_slice(self, value, node):
        """``a[1:]`` of a list, tuple or string."""
        start, stop, step = self._bounds(node.slice)
        if value.type.name in ("Tuple", "NamedTuple"):
            known = [v.constant() for v in (start, stop, step)]
            if not all(k for k, _ in known):
                raise self.error("tuple slice indices must be compile time constants", node)
            part = self.elements(value, node)[slice(*[c for _, c in known])]
            return self.emit_value("prim::TupleConstruct", part, T.tuple_of(*[v.type for v in part]), node)
        if value.type.name not in ("List", "str"):
            raise self.error(f"'{value.type!r}' object cannot be sliced", node)
        return self.emit_value("aten::slice", (value, self.constant(0), start, stop, step), value.type, node)

    def static_subscript(self, owner, node):
        """An element of modules or of other things that are known one by one."""
        found = self.module_items(owner, node) if isinstance(owner, Module) else owner
        if isinstance(node.slice, ast.Slice):
            known = [v.constant() for v in self._bounds(node.slice)]
            if not all(k for k, _ in known):
                raise self.error("the bounds of a slice of modules must be compile time constants", node)
            part = slice(*[c for _, c in known])
            return Items(found.items[part])
        known, k = self.value(self.expression(node.slice), node.slice).constant()
        if not known:
            raise self.error("Enumeration of ModuleList is not supported with an index that is not known: expected an integer "
                             "literal for index", node)
        if found.keys is not None and isinstance(k, str):
            if k not in found.keys:
                raise self.error(f"Key Error, {k}", node)
            return found.items[found.keys.index(k)]
        if not isinstance(k, int) or not -len(found.items) <= k < len(found.items):
            raise self.error(f"Index {k} out of range of {len(found.items)} modules", node)
        return found.items[k]

    # ---- tensors -----------------------------------------------------------------------------------------------------

    def key(self, node):
        """The entries of a tensor's key: (kind, Value, node, or slice bounds)."""
        parts = node.elts if isinstance(node, ast.Tuple) else [node]
        found = []
        for part in parts:
            if isinstance(part, ast.Starred):
                raise NotSupportedError(self.source(part), "'*' in an index isn't supported")
            if isinstance(part, ast.Slice):
                full = part.lower is part.upper is part.step is None
                found.append(("full", None) if full else ("slice", self._bounds(part)))
            elif isinstance(part, ast.Constant) and part.value is Ellipsis:
                found.append(("ellipsis", None))
            else:
                found.append(self._entry(part))
        return found

    def _entry(self, part):
        found = self.expression(part)
        if isinstance(found, Python) and isinstance(found.obj, type(Ellipsis)):
            return "ellipsis", None
        value = self.value(found, part)
        if value.type == T.NONE:
            return "none", None
        if value.type in (T.INT, T.BOOL, T.NUMBER):
            return "int", value
        if value.type == T.TENSOR or value.type.name == "List" and value.type.args[0] in (T.INT, T.BOOL):
            return "tensor", value
        if value.type.name == "Optional":
            return "tensor", self.unwrapped(value, part)
        raise self.error(f"Unsupported operation: indexing tensor with unsupported index type '{value.type!r}'. Only ints, "
                         "slices, lists and tensors are supported", part)

    def indexed(self, value, key, node):
        """The view that the plain entries of a key make, and a list Value of its index tensors, or None."""
        steps, indices = plan([kind for kind, _ in key])
        for name, dim, place in steps:
            dim, payload = self.constant(dim), key[place][1]
            if name == "select":
                value = self.emit_value("aten::select", (value, dim, payload), T.TENSOR, node)
            elif name == "slice":
                value = self.emit_value("aten::slice", (value, dim, *payload), T.TENSOR, node)
            else:
                value = self.emit_value("aten::unsqueeze", (value, dim), T.TENSOR, node)
        if indices is None:
            return value, None
        entries = [self.constant(i, node, T.ANY) if i is Ellipsis else self.constant(None) if i is None else key[i][1]
                   for i in indices]
        return value, self.emit_value("prim::ListConstruct", entries, T.list_of(T.optional(T.TENSOR)), node)

    def set_subscript(self, target, found):
        """``target[key] = found``."""
        owner = self.value(self.expression(target.value), target)
        if owner.type == T.TENSOR:
            part, indices = self.indexed(owner, self.key(target.slice), target)
            if indices is None:
                self.emit("aten::assign_", (part, found), (T.TENSOR,), target)
            else:
                self.emit("aten::assign_index_", (part, indices, found), (T.TENSOR,), target)
            return
        if owner.type.name not in ("List", "Dict"):
            raise self.error(f"'{owner.type!r}' object does not support item assignment", target)
        index = self.value(self.expression(target.slice), target)
        if not T.is_subtype(found.type, owner.type.args[-1]):
            raise self.error(f"a {owner.type!r} cannot hold a value of type {found.type!r}", target)
        self.emit("aten::_set_item", (owner, index, found), (T.NONE,), target)


