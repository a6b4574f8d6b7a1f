"""What numtorch's classes and functions are called in files: by torch's names, so that each library reads the other's files.

A pickle names what it needs by module and attribute. Most of numtorch is laid out as torch is, so that ``numtorch`` becomes
``torch`` and back; the tables below hold the rest.
"""
import importlib
import pickle
import pickletools
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

# modules of numtorch whose content torch has in another place; the longest entry that a module starts with counts
_MODULES = {
    "numtorch": "torch",
    "numtorch.vision": "torchvision",
    "numtorch.devices": "torch",
    "numtorch.dtypes": "torch",
    "numtorch.shape": "torch",
    "numtorch.storage": "torch.storage",
    "numtorch.tensor": "torch",
    "numtorch.ops": "torch",
    "numtorch._serial_tensors": "torch._utils",
    "numtorch.nn.modules.attention": "torch.nn.modules.activation",
    "numtorch.nn.modules._state": "torch.nn.modules.module",
    "numtorch.optim._combined": "torch.optim.lr_scheduler",
    "numtorch.optim._cycles": "torch.optim.lr_scheduler",
    "numtorch.optim._plateau": "torch.optim.lr_scheduler",
    "numtorch.optim._scheduler": "torch.optim.lr_scheduler",
}

_NAMES = {
    ("numtorch._serial_tensors", "_get_layout"): ("torch.serialization", "_get_layout"),
    ("numtorch._serial_tensors", "_rebuild_from_type_v2"): ("torch._tensor", "_rebuild_from_type_v2"),
    ("numtorch._serial_tensors", "UntypedStorage"): ("torch.storage", "UntypedStorage"),
    ("numtorch.autograd.node", "RemovableHandle"): ("torch.utils.hooks", "RemovableHandle"),
    ("numtorch.nn.modules._hooks", "WrappedHook"): ("torch.nn.modules.module", "_WrappedHook"),
    ("numtorch.nn.modules.attention", "NonDynamicallyQuantizableLinear"): ("torch.nn.modules.linear",
                                                                           "NonDynamicallyQuantizableLinear"),
    ("numtorch.nn.modules.pixelshuffle", "ChannelShuffle"): ("torch.nn.modules.channelshuffle", "ChannelShuffle"),
    ("numtorch.random", "Generator"): ("torch._C", "Generator"),
}
STORAGES = {"DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
            "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
            "BoolStorage": "bool", "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128"}
_NAMES.update({("numtorch._serial_tensors", name): ("torch", name) for name in STORAGES})

_THEIRS = {theirs: own for own, theirs in _NAMES.items()}
_THEIRS.update({
    ("torch._C", "Generator"): ("numtorch._serial_tensors", "LoadedGenerator"),
    ("torch", "Generator"): ("numtorch.random", "Generator"),
    ("torch._tensor", "Tensor"): ("numtorch.tensor", "Tensor"),
    ("torch.nn.modules.activation", "MultiheadAttention"): ("numtorch.nn", "MultiheadAttention"),
    ("torch.nn.modules.module", "_IncompatibleKeys"): ("numtorch.nn.modules._state", "_IncompatibleKeys"),
    # bound methods of these are how torch's pickles name its compiled functions
    ("torch._C", "_VariableFunctionsClass"): ("numtorch", ""),
    ("torch._C", "_VariableFunctions"): ("numtorch", ""),
})
# torch's modules whose content numtorch has in another place
_PLACES = {"torch._utils": "numtorch._serial_tensors", "torch._C._nn": "numtorch.nn.functional",
           "torch.tensor": "numtorch.tensor", "torch.nn.modules.channelshuffle": "numtorch.nn"}


def torch_name(module, name):
    """What torch calls numtorch's ``module``.``name``: the pair of a module and a name; the same for what is not numtorch's.

    >>> torch_name("numtorch.nn.modules.linear", "Linear")
    ('torch.nn.modules.linear', 'Linear')
    """
    first, dot, rest = name.partition(".")
    found = _NAMES.get((module, first))
    if found is not None:
        return found[0], found[1] + dot + rest
    if module.startswith("numtorch.ops."):
        own = getattr(sys.modules[module], name, _ABSENT)
        for package in ("nn.functional", "linalg", "fft", "special"):
            if getattr(sys.modules.get("numtorch." + package), name, None) is own:
                return "torch." + package, name
    if module == "numtorch" or module.startswith("numtorch."):
        prefix = module
        while prefix not in _MODULES:
            prefix = prefix.rpartition(".")[0]
        if prefix in ("numtorch", "numtorch.vision"):
            return _MODULES[prefix] + module[len(prefix):], name
        return _MODULES[prefix], name
    return module, name


_ABSENT = object()


def is_torch(module):
    """True for the name of a module of torch, torchvision or numtorch."""
    return module.partition(".")[0] in ("torch", "torchvision", "numtorch")


def find(module, name):
    """numtorch's object for a name in a file.

    Args:
        module (str): a module of torch, torchvision or numtorch.
        name (str): the name in it, with dots for what is inside a class.

    Raises:
        AttributeError: numtorch does not have it.
    """
    within = module.removeprefix("torch._C._")
    if within in ("linalg", "special", "fft"):      # torch's compiled functions, such as torch._C._linalg.linalg_det
        found = _look_up("numtorch." + within, name.removeprefix(within + "_"))
    else:
        found = _look_up(*_THEIRS.get((module, name), (_place(module), name)))
    if found is _ABSENT:
        raise AttributeError(f"numtorch.load: the file needs {module}.{name}, which numtorch does not have yet; if it is a "
                             "model, save its state_dict() with torch and load that")
    return found


def _place(module):
    if module in _PLACES:
        return _PLACES[module]
    package, dot, rest = module.partition(".")
    return {"torch": "numtorch", "torchvision": "numtorch.vision"}.get(package, package) + dot + rest


def _look_up(module, name):
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        return _ABSENT
    for part in name.split(".") if name else ():
        found = getattr(found, part, _ABSENT)
    return found


# ---- names inside a finished pickle ------------------------------------------------------------------------------------

_OPERANDS = {ord(op.code): op.arg.n if op.arg else 0 for op in pickletools.opcodes}
_LENGTH_BYTES = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT4: 4,
                 pickletools.TAKEN_FROM_ARGUMENT4U: 4, pickletools.TAKEN_FROM_ARGUMENT8U: 8}
_TWO_LINES = (pickle.GLOBAL[0], pickle.INST[0])
_STRINGS = {pickle.SHORT_BINUNICODE[0]: 2, pickle.BINUNICODE[0]: 5, pickle.BINUNICODE8[0]: 9}
_GETS = (pickle.BINGET[0], pickle.LONG_BINGET[0])
_PUTS = (pickle.BINPUT[0], pickle.LONG_BINPUT[0])


def _operations(data):
    """The operations of the pickle that ``data`` begins with: code, start and end of each."""
    place = 0
    while True:
        if place >= len(data):
            raise pickle.UnpicklingError("pickle data was truncated")
        code, start = data[place], place
        size = _OPERANDS.get(code)
        if size is None:
            raise pickle.UnpicklingError(f"Unsupported operand {code}")
        place += 1
        if size >= 0:
            place += size
        elif size == pickletools.UP_TO_NEWLINE:
            for _ in range(2 if code in _TWO_LINES else 1):
                place = data.find(b"\n", place) + 1
                if not place:
                    raise pickle.UnpicklingError("pickle data was truncated")
        else:
            n = _LENGTH_BYTES[size]
            place += n + int.from_bytes(data[place:place + n], "little")
        yield code, start, place
        if code == pickle.STOP[0]:
            return


def _globals(data):
    """What a pickle names: (module, name, code, start, end) of each operation that fetches a global."""
    memo, strings, last = {}, [None, None], None
    for code, start, end in _operations(data):
        if code in _TWO_LINES:
            module, name = data[start + 1:end - 1].split(b"\n")
            yield module.decode(), name.decode(), code, start, end
            last = None
        elif code == pickle.STACK_GLOBAL[0]:
            if None in strings:
                raise pickle.UnpicklingError("STACK_GLOBAL requires str")
            yield *strings, code, start, end
            last = None
        elif code in _STRINGS:
            last = data[start + _STRINGS[code]:end].decode("utf-8", "surrogatepass")
            strings = [strings[1], last]
        elif code in _GETS:
            last = memo.get(int.from_bytes(data[start + 1:end], "little"))
            strings = [strings[1], last]
        elif code == pickle.MEMOIZE[0]:
            memo[len(memo)] = last
        elif code in _PUTS:
            memo[int.from_bytes(data[start + 1:end], "little")] = last
        elif code != pickle.FRAME[0]:
            last = None


def written_for_torch(data):
    """A pickle with numtorch's names replaced by torch's.

    A global of protocol 4, whose two names lie on the stack, becomes one of the older kind behind two operations that drop
    those names; frames, whose lengths would be wrong, are left out.
    """
    parts, done = [], 0
    framed = data[1] >= 4
    last = len(data) if framed else data.rfind(b"numtorch")     # from protocol 4 on, a module's name may stand once for many
    for module, name, code, start, end in _globals(data):
        if start > last:
            break
        theirs = torch_name(module, name)
        if theirs == (module, name):
            continue
        drop = pickle.POP * 2 if code == pickle.STACK_GLOBAL[0] else b""
        parts += data[done:start], drop + pickle.GLOBAL + "\n".join(theirs).encode() + b"\n"
        done = end
    data = b"".join([*parts, data[done:]])
    return _without_frames(data) if parts and framed else data


def _without_frames(data):
    parts, done = [], 0
    for code, start, end in _operations(data):
        if code == pickle.FRAME[0]:
            parts.append(data[done:start])
            done = end
    return b"".join([*parts, data[done:]])


def named_in(data):
    """The full names of all classes and functions that a pickle needs, as a set."""
    return {".".join(today(module, name)) for module, name, *_ in _globals(data)}


def today(module, name):
    """Python 3's name for what a pickle of protocol 2 or below names as Python 2 did."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name
