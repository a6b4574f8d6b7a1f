"""CUDA kernels in Python: how they are declared, which specialisations they have, and how they are launched.

A kernel is a plain function written against the names below. None of them does anything here: the compiler
(``_cuda_compile.py``) and the tests' simulator take the function, with all the functions of this package that it calls, and
put their own in the names' place. So importing a family of kernels needs no CUDA package, and the same text runs on a GPU, is
compiled without one, and is executed thread by thread by the simulator.

| name                          | stands for                                                                              |
|-------------------------------|-----------------------------------------------------------------------------------------|
| cuda                          | numba.cuda: threadIdx, blockIdx, syncthreads(), shared.array(n, A), shfl_xor_sync ...   |
| T, U                          | the element types of a specialisation                                                   |
| A                             | the type in which T is computed: float32 for float16 and bfloat16, else T itself        |
| load(p, i), store(p, i, v)    | element i of a pointer, as a number of the type it is computed in                       |
| load_vector(p, i, n)          | elements i to i + n as a tuple, in one access of at most 16 bytes to an aligned address |
| store_vector(p, i, values)    | the same for writing                                                                    |
| atomic_add(p, i, v)           | p[i] += v, seen whole by other threads; returns the old value; also _max, _min          |
| pointer(address, p)           | the pointer to an address that a table holds, to elements as those of the pointer p     |
| atomic_cas(p, i, old, new)    | p[i] = new if it is old; returns what it was                                            |
| mma                           | tensor cores, and copies into shared memory: see ``_cuda_intrinsics_mma.py``            |
"""
import numpy as np

from . import _driver

FLOATING = ("float32", "float64", "float16", "bfloat16")
REAL = ("float32", "float64")
INTEGRAL = ("int64", "int32", "int16", "int8", "uint8")
COMPLEX = ("complex64", "complex128")
NUMBERS = (*FLOATING, *INTEGRAL)
ALL = (*NUMBERS, "bool", *COMPLEX)
BITS = ("int8", "int16", "int32", "int64", "complex128")    # one type for each size: enough to move elements
WARP, FULL = 32, 0xFFFFFFFF


class Name:
    """A name that the compiler or the simulator replaces in a kernel."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, part):
        if part.startswith("__"):
            raise AttributeError(part)
        return Name(f"{self.name}.{part}")

    def __call__(self, *args):
        raise TypeError(f"{self.name} works only inside a CUDA kernel")

    def __repr__(self):
        return f"<{self.name} of a CUDA kernel>"


cuda, T, U, A = Name("cuda"), Name("T"), Name("U"), Name("A")
load, store = Name("load"), Name("store")
load_vector, store_vector = Name("load_vector"), Name("store_vector")
atomic_add, atomic_max, atomic_min = Name("atomic_add"), Name("atomic_max"), Name("atomic_min")
atomic_cas, pointer, mma = Name("atomic_cas"), Name("pointer"), Name("mma")

NAMES = ("cuda", "T", "U", "A", "load", "store", "load_vector", "store_vector", "atomic_add", "atomic_max", "atomic_min",
         "atomic_cas", "pointer")
_LETTERS = {"?": "bool", "b": "int8", "B": "uint8", "h": "int16", "i": "int32", "I": "uint32", "q": "int64", "Q": "uint64",
            "e": "float16", "E": "bfloat16", "f": "float32", "d": "float64", "F": "complex64", "D": "complex128"}


def computed_in(dtype):
    """The name of the type in which elements of ``dtype`` (a name) are computed."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


class DeviceKernel:
    """A CUDA kernel, for each choice of its element types.

    ``signature`` has a word for each argument: ``T*`` a contiguous array of T, ``T~`` one of any layout (its strides are
    arguments of their own), ``A`` a number of type A; U, and NumPy's letters (``q`` int64, ``f`` float32, ``?`` bool ...)
    stand likewise. ``threads`` is the most threads of a block that the kernel is compiled for, and ``resident`` the blocks that
    a multiprocessor is to have registers for; without it, the compiler decides, which now and then rather spills than have less.
    """

    def __init__(self, fn, signature, T, U, threads, source=None, resident=0):
        self.source = source        # the text, of a generated kernel
        self.fn, self.__name__, self.__doc__ = fn, fn.__name__, fn.__doc__
        self.name = f"{fn.__module__.rpartition('.')[2]}.{fn.__name__}"
        self.words, self.T, self.U, self.threads = tuple(signature.split()), tuple(T), tuple(U), threads
        self.arrays = tuple(k for k, w in enumerate(self.words) if w[1:])
        self.free = tuple(next((k for k in self.arrays if self.words[k][0] == letter), None) for letter in "TU")
        self.capability = (0, 0)    # the least compute capability that it can be compiled for
        self.resident = resident
        self._prepared = {}         # (device, numbers of T and U) -> (driver, what it launches, types, those of numbers)
        KERNELS[self.name] = self

    def specialisations(self):
        """Every (T, U) that the kernel is declared for; names, or None where it has no such type."""
        return [(t, u) for t in self.T or (None,) for u in self.U or (None,)]

    def argument_types(self, t, u):
        """The type of each argument for one specialisation: "float32*" for an array, "int64" for a number."""
        own = {"T": t, "U": u, "A": t and computed_in(t)}
        return tuple((own[w[0]] if w[0] in own else _LETTERS[w[0]]) + ("*" if w[1:] else "") for w in self.words)

    def launch(self, grid, block, *args, shared=0):
        """Starts the kernel on the current stream of the arrays' device; ``shared`` bytes of dynamic shared memory."""
        self.launch = _launcher(self)       # written at the first launch, for this kernel alone
        self.launch(grid, block, *args, shared=shared)

    def _prepare(self, driver, device, args):
        if device == "cpu":         # as NumPy says
            apart(args)
        t, u = (None if k is None else args[k].dtype.name for k in self.free)
        if (t, u) not in self.specialisations():
            raise _driver.OnHost(f"the CUDA kernel {self.name} is not written for {t or ''} {u or ''}".rstrip())
        types = self.argument_types(t, u)
        numbers = {word: kind for word, kind in zip(self.words, types) if not word[1:]}
        return driver, driver.prepare(self, t, u, device), types, [int if kind == "int64" else np.dtype(kind).type
                                                                   for kind in numbers.values()]

    def _check(self, args, types, device):
        """What the declaration promises about the arguments; asked of every launch in the tests."""
        assert len(args) == len(types), f"{self.name} takes {len(types)} arguments, not {len(args)}"
        for word, kind, a in zip(self.words, types, args):
            if word[1:] and a is not None:
                assert a.dtype.name == kind[:-1], f"{self.name}: an array of {a.dtype} where {kind} is declared"
                assert word[1:] == "~" or a.flags.c_contiguous, f"{self.name}: an array that is not contiguous for {word}"
                assert a.device == device, f"{self.name}: arrays of different devices"

    def __repr__(self):
        return f"<CUDA kernel {self.name}>"


def _launcher(kernel):
    """``kernel.launch``, written out for its arguments: 2.0 us for 25 of them, where a loop over any arguments took 4.2.

    Arrays become addresses, and numbers values of exactly the declared types, of which the driver takes the bytes.
    """
    names = [f"a{k}" for k in range(len(kernel.words))]
    every, (t, u) = ", ".join(names), kernel.free
    first = " else ".join([*(f"{names[k]} if {names[k]} is not None" for k in kernel.arrays[:-1]), names[kernel.arrays[-1]]])
    key = ", ".join(["device", *(f"{names[k]}.dtype.num" for k in (t, u) if k is not None)])
    values, numbers = [], []
    for name, word in zip(names, kernel.words):
        made = word if word.isalpha() else "boolean"
        if word[1:]:
            values.append(f"0 if {name} is None else {name}.ptr if {name}.device == device else apart(({every},))")
        else:
            values.append(f"{name} if {name}.__class__ is {made} else {made}({name})")
            numbers.append(made)
    text = f"""
def launch(grid, block, {every}, shared=0):
    driver, device = current(), ({first}).device
    found = prepared.get(({key}))
    if found is None or found[0] is not driver:
        found = prepared[{key}] = prepare(driver, device, ({every},))
    _, function, types, ({"".join(n + ", " for n in dict.fromkeys(numbers))}) = found
    values = ({", ".join(values)},)
    if driver.checks:       # the stand-in looks how far each array reaches
        check(({every},), types, device)
        driver.launch(function, grid, block, shared, values, ({every},))
    else:
        driver.launch(function, grid, block, shared, values)
"""
    given = {"current": _driver.current, "prepared": kernel._prepared, "prepare": kernel._prepare, "check": kernel._check,
             "apart": apart}
    exec(compile(text, f"<launch of {kernel.name}>", "exec"), given)
    return given["launch"]


def apart(args):
    """Raises torch's error for arrays of a kernel that are not on one device."""
    places = dict.fromkeys("cpu" if isinstance(a, np.ndarray) else f"cuda:{a.device}"
                           for a in args if isinstance(a, np.ndarray) or hasattr(a, "ptr"))
    raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, {' and '.join(places)}!")


KERNELS = {}        # every DeviceKernel by "family.function": for the tests, and to build all of them ahead of use


def device_kernel(signature, *, T=(), U=(), threads=256, resident=0):
    """Decorator for a CUDA kernel; see ``DeviceKernel``."""
    return lambda fn: DeviceKernel(fn, signature, T, U, threads, resident=resident)


def blocks(n, size):
    """How many blocks of ``size`` cover ``n``."""
    return -(-n // size)
