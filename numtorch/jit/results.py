"""The types of what operations give: a Tensor, unless the tables here say otherwise."""
from . import types as T
from .graph import Value
from .types import BOOL, FLOAT, INT, INTS, NONE, NUMBER, STR, TENSOR, TENSORS

_PAIR = T.tuple_of(TENSOR, TENSOR)


def _named(label, fields):
    fields = fields.split()
    return T.named_tuple(label, fields, [TENSOR] * len(fields))


# name of the operation -> type
_FIXED = {
    **dict.fromkeys("dim numel nelement element_size storage_offset get_device len Int ord hash __range_length "
                    "__derive_index".split(), INT),
    **dict.fromkeys(("is_floating_point", "is_complex", "is_nonzero", "is_tensor", "allclose", "equal", "is_contiguous", "Bool",
                     "is_same_size", "is_set_to", "__not__", "__is__", "__isnot__", "__contains__"), BOOL),
    **dict.fromkeys(("split", "chunk", "unbind", "tensor_split", "hsplit", "vsplit", "dsplit", "split_with_sizes", "meshgrid",
                     "broadcast_tensors"), TENSORS),
    **dict.fromkeys(("var_mean", "std_mean", "lstm_cell"), _PAIR),
    "pack_padded_sequence": T.PACKED, "pack_sequence": T.PACKED, "pad_packed_sequence": _PAIR, "Float": FLOAT, "str": STR,
    "chr": STR, "format": STR, "item": NUMBER, "_set_item": NONE, "Delete": NONE,
    "backward": NONE, "Complex": T.COMPLEX, "percentFormat": STR, "result_type": T.DTYPE,
    "multi_head_attention_forward": T.tuple_of(TENSOR, T.optional(TENSOR)),
    "_canonical_mask": T.optional(TENSOR),
    **{name: _named(name, "values indices") for name in ("sort", "topk", "kthvalue", "mode", "cummax", "cummin")},
    "aminmax": _named("aminmax", "min max"), "histogram": _named("histogram", "hist bin_edges"),
    "linalg_svd": _named("linalg_svd", "U S Vh"), "svd": _named("svd", "U S V"), "linalg_qr": _named("linalg_qr", "Q R"),
    "qr": _named("qr", "Q R"), "linalg_eigh": _named("linalg_eigh", "eigenvalues eigenvectors"),
    "linalg_eig": _named("linalg_eig", "eigenvalues eigenvectors"), "linalg_slogdet": _named("linalg_slogdet", "sign logabsdet"),
    "slogdet": _named("slogdet", "sign logabsdet"), "linalg_inv_ex": _named("linalg_inv_ex", "inverse info"),
    "linalg_solve_ex": _named("linalg_solve_ex", "result info"), "linalg_cholesky_ex": _named("linalg_cholesky_ex", "L info"),
    "triangular_solve": _named("triangular_solve", "solution cloned_coefficient"),
    "linalg_lstsq": _named("linalg_lstsq", "solution residuals rank singular_values"),
}
# given as tuples, where a script expects lists
LISTS = frozenset(("split", "chunk", "unbind", "tensor_split", "hsplit", "vsplit", "dsplit", "split_with_sizes", "meshgrid",
                   "broadcast_tensors", "atleast_1d", "atleast_2d", "atleast_3d", "where", "nonzero"))


def _flag(bound, name):
    """The constant value of an argument; None where it is not given or not known."""
    value = bound.get(name)
    return value.constant()[1] if isinstance(value, Value) else value


def _given(bound, name):
    value = bound.get(name)
    if isinstance(value, Value):
        return value.constant() != (True, None)
    return value is not None


def _type_of(argument):
    if isinstance(argument, Value):
        return argument.type
    return T.of_value(argument)


def _extremum(label):
    def found(bound):
        return _named(label, "values indices") if _given(bound, "dim") else TENSOR
    return found


def _pooled(default):
    def found(bound):
        flag = _flag(bound, "return_indices") if "return_indices" in bound else default
        return _PAIR if flag else TENSOR
    return found


def _unique(bound):
    count = 1 + sum(bool(_flag(bound, n)) for n in ("return_inverse", "return_counts"))
    return TENSOR if count == 1 else T.tuple_of(*[TENSOR] * count)


def _shapes(bound):
    return INT if _given(bound, "dim") else INTS


def _at_least(bound):
    tensors = bound.get("tensors")
    one = tensors is not None and len(tensors) == 1 and _type_of(tensors[0]) == TENSOR if isinstance(tensors, (list, tuple)) \
        else False
    return TENSOR if one else TENSORS


def _recurrent(states):
    """Of a recurrent layer: the outputs, packed where the input is, and the states."""
    return lambda bound: T.tuple_of(_type_of(bound["input"]), *[TENSOR] * states)


def _element(bound):
    """Of ``container[key]``."""
    a = _type_of(bound["a"])
    if a.name == "List":
        return a.args[0]
    return a.args[1] if a.name == "Dict" else STR


_VARIED = {
    "lstm": _recurrent(2), "gru": _recurrent(1), "rnn_tanh": _recurrent(1), "rnn_relu": _recurrent(1),
    "max": _extremum("max"), "min": _extremum("min"), "median": _extremum("median"), "nanmedian": _extremum("nanmedian"),
    "size": _shapes, "stride": _shapes, "__getitem__": _element, "slice": lambda bound: _type_of(bound["input"]),
    "unique": _unique, "unique_consecutive": _unique,
    "where": lambda bound: TENSOR if "input" in bound or "x" in bound else TENSORS,
    "nonzero": lambda bound: TENSORS if _flag(bound, "as_tuple") else TENSOR,
    **{f"{kind}max_pool{n}d": _pooled(False) for kind in ("", "adaptive_") for n in (1, 2, 3)},
    **{f"{kind}max_pool{n}d_with_indices": _pooled(True) for kind in ("", "adaptive_") for n in (1, 2, 3)},
    "embedding_bag": lambda bound: TENSOR, "lp_pool": lambda bound: TENSOR,
    "atleast_1d": _at_least, "atleast_2d": _at_least, "atleast_3d": _at_least,
    "tolist": lambda bound: T.ANY, "_shape_as_tensor": lambda bound: TENSOR,
    "type": lambda bound: TENSOR if _given(bound, "dtype") else STR,
}
_PRIM = {"dtype": T.DTYPE, "device": T.DEVICE, "layout": T.LAYOUT, "itemsize": INT, "nbytes": INT, "grad": T.optional(TENSOR),
         "T": TENSOR, "mT": TENSOR, "H": TENSOR, "mH": TENSOR, "data": TENSOR, "real": TENSOR, "imag": TENSOR,
         "NumToTensor": TENSOR, "RaiseException": NONE, "Print": NONE, "warn": NONE, "type": STR, "index": T.optional(INT),
         "names": T.ANY}
_MATH_INT = frozenset(("floor", "ceil", "trunc", "gcd", "factorial", "invert"))
_MATH_BOOL = frozenset(("isnan", "isinf", "isfinite", "any", "all"))
_STR = {**dict.fromkeys(("split", "rsplit", "splitlines"), T.list_of(STR)),
        **dict.fromkeys(("startswith", "endswith", "isdigit", "isalpha", "isalnum", "isupper", "islower", "isspace", "isdecimal",
                         "isnumeric", "isidentifier", "isprintable", "istitle"), BOOL),
        **dict.fromkeys(("find", "rfind", "index", "count"), INT),
        **dict.fromkeys(("partition", "rpartition"), T.tuple_of(STR, STR, STR))}


def _of_list(name, bound):
    own = _type_of(bound["self"]) if "self" in bound else None
    if name in ("index", "count"):
        return INT
    if name == "pop":
        return own.args[0]
    if name == "copy":
        return own
    if name in ("sorted", "list"):
        a = _type_of(bound["a"])
        return T.list_of(STR) if a == STR else T.list_of(a.args[0]) if a.name in ("List", "Dict") else a
    return INTS if name == "range" else NONE


def _of_dict(name, bound):
    if name == "dict":
        return _type_of(bound["a"])
    own = _type_of(bound["self"])
    key, value = own.args
    if name == "get":
        return T.optional(value) if "d" not in bound else value
    return {"keys": T.list_of(key), "values": T.list_of(value), "items": T.list_of(T.tuple_of(key, value)), "pop": value,
            "popitem": T.tuple_of(key, value), "setdefault": value, "copy": own}.get(name, NONE)


def _of_math(name, bound):
    if name in _MATH_INT or name in _MATH_BOOL:
        return INT if name in _MATH_INT else BOOL
    kinds = []
    for value in bound.values():
        kinds += map(_type_of, value) if isinstance(value, (list, tuple)) else [_type_of(value)]
    if len(kinds) == 1 and kinds[0].name == "List":
        kinds = [kinds[0].args[0]]
    if name in ("abs", "sum"):
        return INT if kinds[0] == BOOL else kinds[0]
    if name in ("max", "min", "divmod"):
        kind = FLOAT if FLOAT in kinds else kinds[0]
        return T.tuple_of(kind, kind) if name == "divmod" else kind
    return FLOAT


def result(function, bound):
    """The Type of what a call gives.

    Args:
        function (Function): what is called.
        bound (dict): its arguments by parameter, as Values, Python values, or tuples of them.
    """
    domain, _, name = function.kind.partition("::")
    if domain == "prim":
        return _PRIM.get(name, BOOL)
    if domain == "math":
        return _of_math(name, bound)
    if domain == "str":
        return _STR.get(name, STR)
    if domain in ("list", "dict"):
        return (_of_list if domain == "list" else _of_dict)(name, bound)
    if name in _VARIED:
        return _VARIED[name](bound)
    found = _FIXED.get(name)
    if found is None and name in ("__and__", "__or__", "__xor__", "__lshift__", "__rshift__", "floordiv"):
        kinds = [_type_of(v) for v in bound.values()]
        return FLOAT if FLOAT in kinds else BOOL if kinds == [BOOL, BOOL] else INT
    return TENSOR if found is None else found


def scalar_result(kind, a, b):
    """The Type of a Python operator on numbers, strings and lists; None where there is no such operator in a script."""
    if kind in ("eq", "ne", "lt", "le", "gt", "ge"):
        return BOOL
    if a in T.NUMBERS and b in T.NUMBERS:
        if NUMBER in (a, b):
            return NUMBER
        if T.COMPLEX in (a, b):
            return T.COMPLEX
        if kind in ("div", "pow"):
            return FLOAT
        return FLOAT if FLOAT in (a, b) else INT
    if kind == "add" and a == b and a.name in ("str", "List"):
        return a
    if kind == "add" and a.name == b.name == "Tuple":
        return T.tuple_of(*a.args, *b.args)
    if kind == "mul" and a.name in ("List", "str") and b == INT:
        return a
    if kind == "mul" and b.name in ("List", "str") and a == INT:
        return b
    return None
