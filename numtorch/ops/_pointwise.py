"""Declares element-wise operations: from a formula's name, a promotion rule and a backward function to the torch function.

``unary`` and ``binary`` write the hot path of each operation as straight-line source (no ``*args``, no dict look-ups: 0.6 us
for an addition of 64 numbers where a generic call takes 2 us); everything unusual - promotion, Python scalars of another kind,
half precision, the first call, out= - goes through ``call``, which is written once.
"""
import functools
import linecache

import numpy as np

from .. import dtypes
from .. import kernels as K
from .. import shape as shapes
from ..autograd.grad_mode import inference_depth, mode
from ..autograd.node import new, next_number, node_class
from ..kernels._device import DeviceArray, empty
from ..op import INPLACE, OPS, OUT, Op, attach, needs_grad, put_out, refuse_inference, saved_output, type_name
from ..tensor import Tensor, edge_of, storage_of, wrap
from ._layout import empty_as
from .inplace import assign, check_writable, without_overlap

GRAIN = 1 << 17         # elements from which threads pay: waking one takes 10 us, 131,072 products 15 us
_NUMBERS = (int, float, bool, complex, np.generic)
broadcast_shapes = functools.lru_cache(4096)(shapes.broadcast_shapes)
_scalars = {}           # (value, class, type number) -> 0-dim tensor, for Python numbers beside tensors
_globals = {"ndarray": np.ndarray, "empty": np.empty, "empty_as": empty_as, "Tensor": Tensor, "new": new, "mode": mode,
            "inference": inference_depth,
            "edge_of": edge_of, "next_number": next_number, "saved_output": saved_output, "GRAIN": GRAIN,
            "broadcast_shapes": broadcast_shapes, "BOOL": np.dtype(bool), "storage_of": storage_of,
            "refuse_inference": refuse_inference}


def scalar(value, np_dtype):
    """A Python int or float as a 0-dim tensor of ``np_dtype``, or None where that would change the result's dtype.

    The last thousand are kept: the constants of a program are few, and making one costs more than an addition.
    """
    key = (value if value else str(value), value.__class__, np_dtype.num)     # -0.0 == 0.0, but is not the same
    found = _scalars.get(key)
    if found is None:
        kind = np_dtype.kind
        if kind not in "fcV" and (value.__class__ is float or kind == "b"):
            return None
        if len(_scalars) > 1000:
            _scalars.clear()
        found = _scalars[key] = wrap(np.array(value).astype(np_dtype))
        found._inference = False
        _check_fits(value, np_dtype)
    return found


def _check_fits(value, np_dtype):
    if np_dtype.kind in "iu" and isinstance(value, int):
        info = np.iinfo(np_dtype)
        if not info.min <= value <= info.max and not -2**63 <= value < 2**63:
            raise RuntimeError(f"value cannot be converted to type {np_dtype.name} without overflow")


RULES = []              # every Rule: for those who compile all loops ahead of use


class Rule:
    """How an element-wise operation treats dtypes.

    formulas: one name, or a dict by category ("bool", "int", "float", "complex") of the dtype computed in.
    floats: integers are computed in the default floating dtype (torch's INT_TO_FLOAT).
    out: "same", "bool", or "real" (of a complex input, its part's dtype).
    by_first: the first operand's own dtype must have a formula, whatever the others promote it to.
    check: called with the operands, to raise what this operation alone refuses.
    """

    __slots__ = ("name", "formulas", "floats", "out", "by_first", "check", "plans", "device_plans")

    def __init__(self, name, formulas, floats, out, by_first=False, check=None):
        self.name, self.formulas, self.floats, self.out, self.by_first = name, formulas, floats, out, by_first
        self.check = check
        RULES.append(self)
        self.plans = {}         # type number of inputs that are all alike -> (address of the loop, the output's NumPy dtype)
        self.device_plans = {}  # the same of arrays on a device -> (formula, names of its dtypes, the output's NumPy dtype)

    def formula(self, dtype):
        """The formula for a dtype; NotImplementedError as torch's for one that has none."""
        if isinstance(self.formulas, str):
            if dtype.is_complex and self.name in _REAL_ONLY:
                raise NotImplementedError(f'"{self.name}" not implemented for \'{type_name(dtype)}\'')
            return self.formulas
        found = self.formulas.get(("bool", "int", "float", "complex")[dtype.category])
        if found is None:
            raise NotImplementedError(f'"{self.name}" not implemented for \'{type_name(dtype)}\'')
        return found


_REAL_ONLY = frozenset("lt le gt ge maximum minimum fmax fmin clamp floor ceil trunc round remainder fmod atan2 sign relu "
                       "sigmoid_grad erf erfc erfinv lgamma digamma frac hypot copysign heaviside".split())


def loop_names(compute, rule, n):
    """The names of the dtypes of a loop on ``n`` inputs of dtype ``compute``."""
    out = compute
    if rule.out == "bool":
        out = dtypes.bool
    elif rule.out == "real":
        out = compute.to_real()
    return (compute._name,) * n + (out._name,), out


def all_loops():
    """(formula, names of its dtypes) of every element-wise loop that an operation may ask for with operands of one dtype."""
    found = {}
    for rule in RULES:
        for dtype in dtypes.ALL:
            if rule.floats and dtype.category < dtypes.FLOATING:
                continue
            try:
                formula = rule.formula(dtypes.float32 if dtype in dtypes.HALVES else dtype)
            except NotImplementedError:
                continue
            inputs = getattr(K.pointwise, formula).__code__.co_argcount
            found[formula, loop_names(dtype, rule, inputs)[0]] = None
    return list(found)


def launch(address, arrays, out):
    """Runs a compiled loop on ``arrays`` (broadcast to ``out``), in threads where that pays."""
    kernels = K._pointwise
    if out.size < GRAIN:
        kernels.SERIAL[len(arrays)](address, *[id(a) for a in arrays], id(out))
    else:
        kernels.run_large(address, tuple([id(a) for a in arrays]), id(out), out.size)


def run(formula, arrays, names, shape, out=None):
    """A formula on arrays of dtypes ``names`` (output last), into ``out`` or a new array of ``shape``."""
    if out is None:
        out = empty_as(shape, dtypes._names[names[-1]]._np, *arrays)
    if type(out) is DeviceArray:
        K.pointwise_cuda.run(formula, names, arrays, out)
        return out
    launch(K._pointwise.loop(formula, names), arrays, out)
    return out


def as_tensor_argument(value, name, position):
    """``value`` if it is a Tensor or a number; TypeError in torch's words otherwise."""
    if isinstance(value, (Tensor, *_NUMBERS)):
        return value
    word = "input" if position == 0 else "other"
    raise TypeError(f"{name}(): argument '{word}' (position {position + 1}) must be Tensor, not {type(value).__name__}")


def common_dtype(values):
    """torch's result dtype of Tensors and Python numbers."""
    ranks = ([], [], [])
    for v in values:
        if isinstance(v, Tensor):
            ranks[v._a.ndim == 0].append(v.dtype)
        else:
            ranks[2].append(dtypes.scalar_dtype(v))
    return dtypes.result_dtype(*ranks)


def call(rule, backward, saves, values, table=None):
    """An element-wise operation on Tensors and numbers, in all generality; recorded with ``backward``."""
    if rule.check is not None:
        rule.check(values)
    tensors, plan = _alike(rule, values)
    out = on_device(rule, tensors) if tensors else None
    if out is not None:
        t = wrap(out)
    elif plan is None:
        if any([isinstance(v, Tensor) and type(v._a) is DeviceArray for v in values]):
            t, tensors = _on_device(rule, values)
        else:
            t, tensors = _promoted(rule, values, table)
    else:
        arrays = [t._a for t in tensors]
        shape = arrays[0].shape
        for a in arrays:
            if a.shape != shape:
                shape = shapes.broadcast_shapes(*[a.shape for a in arrays])
                break
        out = empty_as(shape, plan[1], *arrays)
        launch(plan[0], arrays, out)
        t = wrap(out)
    if backward is not None and needs_grad(*tensors):
        kept = [OUT if what == "out" else tensors[what] if who is None or edge_of(tensors[who]) is not None else None
                for what, who in saves]
        attach((t,), backward, tensors, kept, {})
    return t


def _alike(rule, values):
    """(tensors, plan) of operands that are of one dtype, with which ``rule`` has been seen before; (None, None) of others.

    The plan is None unless all are in the host's memory.
    """
    first, tensors = values[0], []
    if not isinstance(first, Tensor):
        return None, None
    d, on_host = first._a.dtype, type(first._a) is not DeviceArray
    plan = (rule.plans if on_host else rule.device_plans).get(d.num)
    if plan is None:
        return None, None
    for v in values:
        if not isinstance(v, Tensor):
            v = scalar(v, d) if v.__class__ is float or v.__class__ is int else None
        if v is None or v._a.dtype is not d or on_host and type(v._a) is DeviceArray:
            return None, None
        tensors.append(v)
    return tensors, plan if on_host else None


def on_device(rule, tensors):
    """The result on operands of one dtype that ``rule`` has been seen with, the first on a device; None for others.

    The others are on the same device, or numbers: 0-dim tensors in the host's memory that no gradient goes to.
    """
    first = tensors[0]._a
    plan = rule.device_plans.get(first.dtype.num) if first.__class__ is DeviceArray else None
    if plan is None:
        return None
    d, shape, where = first.dtype, first.shape, first.device
    inputs, arrays, dense = [first], [first], first.flags.c_contiguous
    for t in tensors[1:]:
        b = t._a
        if b.__class__ is DeviceArray:
            if b.dtype is not d or b.device != where:
                return None
            if b.shape != shape:
                shape = broadcast_shapes(shape, b.shape)
            dense = dense and b.flags.c_contiguous
            arrays.append(b)
        elif b.ndim or b.dtype is not d or t._rg:
            return None
        else:
            b = _computed(b[()])
        inputs.append(b)
    formula, names, made = plan
    out = empty(shape, made, where) if dense else empty_as(shape, made, *arrays)
    K.pointwise_cuda.run(formula, names, inputs, out)
    return out


def on_device_into(rule, target, *others):
    """Whether the operation was done in the memory of ``target``, a tensor on a device that others do not overlap in part."""
    a = target._a
    plan = rule.device_plans.get(a.dtype.num) if a.__class__ is DeviceArray and a.base is None else None
    if plan is None or plan[2] is not a.dtype:
        return False
    inputs = [a]
    for t in others:
        b = t._a
        if b.dtype is not a.dtype or b.shape != a.shape and (b.size != 1 or b.ndim > a.ndim):
            return False
        if b.__class__ is not DeviceArray:
            if b.ndim:
                return False
            b = _computed(b[()])
        elif b.base is not None or b.device != a.device:
            return False
        inputs.append(b)
    K.pointwise_cuda.run(*plan[:2], inputs, a)
    return True


def _promoted(rule, values, table):
    """The result on operands of any dtypes and the tensors they became; a plan is kept where they were alike."""
    values, common = _common(rule, values)
    half = common in dtypes.HALVES
    compute = dtypes.float32 if half else common
    formula = rule.formula(compute)
    tensors = [v if isinstance(v, Tensor) else _number_tensor(v, common) for v in values]
    arrays = [t._a if t._a.dtype is compute._np else t._a.astype(compute._np) for t in tensors]
    names, out_dtype = loop_names(compute, rule, len(arrays))
    address = K._pointwise.loop(formula, names)
    if not half:
        if tensors[0]._a.dtype is compute._np:
            rule.plans[compute._num] = address, out_dtype._np
        if table is not None and names[-1] in (names[0], "bool"):
            table[compute._num] = address
    shape = shapes.broadcast_shapes(*[a.shape for a in arrays])
    out = empty_as(shape, out_dtype._np, *arrays)
    launch(address, arrays, out)
    if half and rule.out != "bool":
        out = out.astype(common._np)
    return wrap(out), tensors


def _common(rule, values):
    """The operands, checked, and the dtype that they are promoted to."""
    values = [as_tensor_argument(v, rule.name, i) for i, v in enumerate(values)]
    if rule.by_first and isinstance(values[0], Tensor):
        rule.formula(values[0].dtype)
    common = common_dtype(values)
    if rule.floats and common.category < dtypes.FLOATING:
        common = dtypes.get_default_dtype()
    return values, common


def _on_device(rule, values):
    """The result on operands of which one at least is on a CUDA device, and the tensors that they became.

    Numbers are arguments of the kernel; so are 0-dim tensors in the host's memory, which may stand beside CUDA tensors.
    """
    values, common = _common(rule, values)
    place = same_device(rule.name, values)
    half = common in dtypes.HALVES
    formula = rule.formula(dtypes.float32 if half else common)
    names, out_dtype = loop_names(common, rule, len(values))
    tensors = [v if isinstance(v, Tensor) else _number_tensor(v, common) for v in values]
    inputs = [t._a.astype(common._np, copy=False) if type(t._a) is DeviceArray else _computed(t._a.astype(common._np)[()])
              for t in tensors]
    arrays = [x for x in inputs if type(x) is DeviceArray]
    out = empty_as(shapes.broadcast_shapes(*[a.shape for a in arrays]), out_dtype._np, *arrays)
    K.pointwise_cuda.run(formula, names, inputs, out)
    if tensors[0]._a.dtype is common._np:
        rule.device_plans[common._num] = formula, names, out_dtype._np
    if needs_grad(*tensors):        # the gradient of a host tensor goes back to the host
        tensors = [t if type(t._a) is DeviceArray or not t._rg else t.to(place) for t in tensors]
    return wrap(out), tensors


def _computed(number):
    """A number as a kernel takes it: float16 and bfloat16 are computed in float32."""
    return np.float32(number) if number.dtype.itemsize == 2 and number.dtype.kind not in "iu" else number


def same_device(name, values):
    """The CUDA device of all Tensors among ``values`` that are not 0-dim in the host's memory; torch's error for several."""
    found = None
    for v in values:
        if isinstance(v, Tensor) and (type(v._a) is DeviceArray or v._a.ndim):
            if found is not None and v.device != found:
                raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, {found} "
                                   f"and {v.device}! (when checking arguments of {name})")
            found = v.device
    return found


def _number_tensor(value, dtype):
    kept = scalar(value, dtype._np) if value.__class__ in (int, float) else None
    if kept is not None:
        return kept
    _check_fits(value, dtype._np)
    return wrap(np.array(value).astype(dtype._np))


# ---- the hot path, as source --------------------------------------------------------------------------------------------

def _source(name, n_in, extras, saves, bool_out, differentiable, numbers):
    ins, tensors = ("input", "other")[:n_in], ("input", "input, o")[n_in - 1]
    letters = "ab"[:n_in]
    guard = "".join(f"    if {e.split('=')[0]} != {e.split('=')[1]}:\n        return extra({', '.join(ins)}, "
                    f"{e.split('=')[0]}, out)\n" for e in extras)
    star = ", ".join(["*", *extras, "out=None"])
    lines = [f"def {name}({', '.join(ins)}, {star}):", guard.rstrip("\n")] if guard else [
        f"def {name}({', '.join(ins)}, {star}):"]
    lines += ["    try:", "        a = input._a", "        d = a.dtype"]
    if n_in == 2:
        lines += [*_second(numbers), "        b = o._a",
                  "        k = table[d.num] if type(a) is type(b) is ndarray and b.dtype is d and out is None else 0"]
    else:
        lines += ["        k = table[d.num] if type(a) is ndarray and out is None else 0"]
    lines += ["    except (AttributeError, IndexError):", "        k = None", "    if k:", "        shape = a.shape"]
    if n_in == 2:
        lines += ["        same = shape == b.shape", "        if not same:",
                  "            shape = broadcast_shapes(shape, b.shape)"]
    dtype = "BOOL" if bool_out else "d"
    plain = "a.flags.c_contiguous" + (" and (same or shape == a.shape)" if n_in == 2 else "")
    lines += [f"        y = empty(shape, {dtype}) if {plain} else empty_as(shape, {dtype}, {', '.join(letters)})",
              "        if y.size < GRAIN:",
              f"            run_{n_in}(k, {', '.join(f'id({x})' for x in letters)}, id(y))", "        else:",
              f"            run_large(k, ({', '.join(f'id({x})' for x in letters)},), id(y), y.size)",
              "    else:", f"        y = on_device(rule, ({tensors},)) if k is not None and out is None else None",
              "        if y is None:", f"            return slow({', '.join(ins)}, out)"]
    if n_in == 2:
        lines += ["        same = a.shape == b.shape"]
    lines += ["    t = new(Tensor)", "    t._a = y"]
    if differentiable:
        tensors = ("input", "o")[:n_in]
        test = " or ".join(f"{x}._rg or {x}._base is not None" for x in tensors)
        lines += [f"    if ({test}) and mode.enabled:"]
        for k, x in enumerate(tensors):
            lines += [f"        e{k} = (({x}._fn or {x}) if {x}._rg else None) if {x}._base is None else edge_of({x})"]
        lines += [f"        if {' or '.join(f'e{k} is not None' for k in range(n_in))}:",
                  "            node = new(Kind)",
                  f"            node.edges = ({', '.join(f'e{k}' for k in range(n_in))},)",
                  f"            node.numbers = ({', '.join(f'{x}._nr' for x in tensors)},)"]
        if n_in == 2:
            lines += ["            node.fixes = None if same else ((a.shape, d), (b.shape, d))"]
        else:
            lines += ["            node.fixes = None"]
        kept = []
        for j, (what, who) in enumerate(saves):
            value = "saved_output(t)" if what == "out" else tensors[what]
            lines += [f"            s{j} = {value}" + (f" if e{who} is not None else None" if who is not None else "")]
            if what != "out":
                lines += [f"            if {tensors[what]}._inference:", "                refuse_inference()"]
            kept.append(f"s{j}")
        one = "," if len(kept) == 1 else ""
        lines += [f"            node.saved = ({', '.join(kept)}{one})"]
        versions = ", ".join(f"0 if s{j} is None or s{j}._storage is None else s{j}._storage.version"
                             for j in range(len(kept)))
        lines += [f"            node.versions = ({versions}{one})",
                  "            node.seq = next_number()", "            node.outs = 1",
                  "            node.hooks = node.ctx = None",
                  "            node.stack = stack() if mode.anomaly else None",
                  "            t._fn = node", "            t._rg = True"]
    lines += ["    if inference[0] and mode.inference:", "        t._inference = True", "    return t"]
    return "\n".join(lines) + "\n"


def _second(numbers):
    """Lines that set ``o``, the second operand as a tensor."""
    if not numbers:
        return ["        o = other"]
    return ["        kind = other.__class__", "        o = scalar(other, d) if kind is float or kind is int else other"]


def _inplace_source(name, n_in, extras, numbers):
    """name_: the kernel writes into its first argument where nothing is recorded and nothing overlaps."""
    arguments = "".join(f", {e}" for e in extras)
    second = ", other" if n_in == 2 else ""
    star = f", *{arguments}" if extras else ""
    lines = [f"def {name}_(input{second}{star}):", "    try:", "        a = input._a", "        d = a.dtype"]
    usual = "".join(f"{e.split('=')[0]} == {e.split('=')[1]} and " for e in extras)
    if n_in == 2:
        lines += [*_second(numbers), "        b = o._a",
                  f"        k = table[d.num] if {usual}type(a) is type(b) is ndarray and b.dtype is d and a.base is None and "
                  "b.base is None and (b.shape == a.shape or b.size == 1 and b.ndim <= a.ndim) else 0"]
    else:
        lines += [f"        k = table[d.num] if {usual}type(a) is ndarray and a.base is None else 0"]
    lines += ["    except (AttributeError, IndexError):", "        k = None"]
    record = "input._rg or input._base is not None" + (" or o._rg or o._base is not None" if n_in == 2 else "")
    given = "".join(f", {e.split('=')[0]}" for e in extras)
    lines += [f"    if k is None or input._inference or (mode.enabled and ({record})):",
              f"        return slow_(input{second}{given})",
              "    if not k:", f"        if not ({usual}on_device_into(rule, input{', o' if n_in == 2 else ''})):",
              f"            return slow_(input{second}{given})",
              "    elif a.size < GRAIN:",
              f"        run_{n_in}(k, id(a){', id(b)' if n_in == 2 else ''}, id(a))", "    else:",
              f"        run_large(k, (id(a),{' id(b),' if n_in == 2 else ''}), id(a), a.size)",
              "    s = input._storage", "    if s is None:", "        s = storage_of(input)", "    s.version += 1",
              "    return input"]
    return "\n".join(lines) + "\n"


def _compile(name, source, values):
    filename = f"<numtorch op {name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    exec(compile(source, filename, "exec"), values)
    return values


def _stack():
    import traceback

    return traceback.extract_stack()[:-2]


_namespaces = []


def _share_runners(kernels):
    for namespace in _namespaces:
        namespace.update(run_1=kernels.run_1, run_2=kernels.run_2, run_large=kernels.run_large)
    _namespaces.clear()


def _tensors_at(name, positions):
    """A check that the operands at ``positions`` are Tensors, and no numbers."""
    def check(values):
        for i in positions:
            if not isinstance(values[i], Tensor):
                word = "other" if i else "input"
                raise TypeError(f"{name}(): argument '{word}' (position {i + 1}) must be Tensor, not {type(values[i]).__name__}")
    return check


def _declare(n_in, name, formulas, backward, saves, floats, out, method, inplace, aliases, grad, extras, extra, doc, functional,
             numbers=(0, 1), check=None):
    rule = Rule(name, formulas, floats, out)
    tensors = [i for i in range(n_in) if i not in numbers]
    rule.check = check or (_tensors_at(name, tensors) if tensors else None)
    table = [0] * 24

    def general(*values):
        if _namespaces:         # before the first call, since one that fails may already have filled the table
            _share_runners(K._pointwise)
        return call(rule, backward, saves, values, table)

    def slow(*values_and_out):
        *values, target = values_and_out
        if target is None:
            return general(*values)
        return _into(name, values, target, general)

    values = dict(_globals, table=table, slow=slow, scalar=scalar, stack=_stack, extra=extra, rule=rule, on_device=on_device,
                  on_device_into=on_device_into)
    if backward is not None:
        values["Kind"] = backward.node_class = getattr(backward, "node_class", None) or node_class(backward, grad)
    bool_out = out == "bool"
    namespace = _compile(name, _source(name, n_in, extras, saves, bool_out, backward is not None, 1 in numbers), dict(values))
    _namespaces.append(namespace)
    fn = namespace[name]
    fn.__doc__, fn.__module__ = doc, __name__.replace("_pointwise", "pointwise")
    namespaces = "nn.functional" if functional else "torch"
    for n in (name, *aliases):
        OPS[n if not functional else f"nn.functional.{n}"] = Op(n, fn, namespaces, method, inplace, True)
        if method:
            setattr(Tensor, n, fn)
    if inplace:
        twin = _inplace(name, n_in, extras, fn, bool_out, values, 1 in numbers)
        for n in (name, *aliases):
            setattr(Tensor, n + "_", twin)
            INPLACE[n + "_" if not functional else f"nn.functional.{n}_"] = twin
    return fn


def _inplace(name, n_in, extras, fn, bool_out, values, numbers):
    def slow_(input, *rest):
        operands = [r for r in rest if isinstance(r, Tensor)]
        check_writable(input, name + "_", operands)
        source = input
        if needs_grad(input, *operands):
            source = wrap(input._a.copy())      # what the operation keeps is the value before the write
            source._rg, source._nr = input._rg, input._nr
            source._fn = edge_of(input) if input._rg else None
        keywords = {e.split("=")[0]: v for e, v in zip(extras, rest[n_in - 1:])}
        rest = [wrap(without_overlap(r._a, input._a)) if isinstance(r, Tensor) and not r._rg and r is not input else r
                for r in rest[:n_in - 1]]
        return assign(input, fn(source, *rest, **keywords), name + "_")

    if bool_out:                # the result's dtype is not the input's: always converted
        slow_.__name__ = slow_.__qualname__ = name + "_"
        slow_.__doc__ = f"In-place version of ``{name}``: writes the result into the tensor and returns it."
        return slow_
    namespace = _compile(name + "_", _inplace_source(name, n_in, extras, numbers), dict(values, slow_=slow_))
    _namespaces.append(namespace)
    twin = namespace[name + "_"]
    twin.__doc__ = f"In-place version of ``{name}``: writes the result into the tensor and returns it."
    twin.__module__ = fn.__module__
    return twin


def _into(name, values, out, general):
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if mode.enabled and any(isinstance(v, Tensor) and v._rg for v in (*values, out)):
        raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of "
                           "the arguments requires grad.")
    put_out(name, out, general(*values)._a)
    return out


def unary(name, formulas, backward=None, saves=(), *, floats=False, out="same", method=True, inplace=True, aliases=(),
          grad=None, doc, functional=False, check=None):
    """Declares ``name(input, *, out=None)``; ``saves``: (0 or "out", None) for each tensor that backward finds."""
    return _declare(1, name, formulas, backward, saves, floats, out, method, inplace, aliases, grad, (), None, doc, functional,
                    check=check)


def binary(name, formulas, backward=None, saves=(), *, floats=False, out="same", method=True, inplace=True, aliases=(),
           grad=None, extras=(), extra=None, doc, functional=False, numbers=(0, 1), check=None):
    """Declares ``name(input, other, *, out=None)``; ``saves``: (0, 1 or "out", the input whose gradient needs it or None).

    ``extras`` are keywords such as "alpha=1"; another value than the default goes to ``extra(input, other, value, out)``.
    ``numbers``: the operands that may be Python numbers. ``check``: see Rule; it is not asked where dtypes have been seen.
    """
    return _declare(2, name, formulas, backward, saves, floats, out, method, inplace, aliases, grad, extras, extra, doc,
                    functional, numbers, check)


def pointwise(rule, values, backward=None, saves=()):
    """An element-wise operation on any number of inputs, for those that are not on the hot path."""
    return call(rule, backward, saves, values)
