"""NVIDIA's mathematical libraries, cuFFT and cuSOLVER: found at their first use, and called through ctypes.

Where one is not installed, what needs it raises ``OnHost``. A simulated device has none of them, for they know nothing of its
memory; the tests put stand-ins in their places (``use``).
"""
import contextlib
import ctypes
import threading

from . import _driver

LIBRARIES = {}          # name of the file -> Library
_stand_ins = {}         # the same -> an object with the C functions as attributes
_LETTERS = {"p": ctypes.c_void_p, "i": ctypes.c_int, "q": ctypes.c_int64, "z": ctypes.c_size_t, "b": ctypes.c_byte}


class Library:
    """One library: ``library("function", *args)`` calls a function of it, and raises RuntimeError for any status but 0.

    functions: the letters of each one's arguments: p a pointer or a handle, i an int or an enumeration, q an int64, z a size_t,
        b a signed char; spaces mean nothing. Every function returns a status.
    statuses: what the library calls them.
    """

    def __init__(self, file, name, functions, statuses):
        self.file, self.name, self.functions, self.statuses = file, name, functions, statuses
        self.lock = threading.RLock()
        self._library, self._looked_for, self._declared = None, False, {}
        LIBRARIES[file] = self

    def load(self):
        """The library's functions as attributes of an object; OnHost where it is not installed."""
        if not self._looked_for:
            with self.lock:
                self._library, self._looked_for = _find(self.file), True
        if self._library is None:
            raise _driver.OnHost(f"this without {self.name} (pip install 'numtorch[cuda-math]')")
        return self._library

    def __call__(self, function, *args):
        call = self._declared.get(function) or self._declare(function)
        status = call(*args)
        if status:
            raise RuntimeError(f"CUDA error: {self.statuses.get(status, f'status {status}')} when calling {function}")

    def _declare(self, function):
        call = getattr(self.load(), function, None)
        if call is None:
            raise _driver.OnHost(f"this without a newer {self.name}, which has {function}")
        call.argtypes = [_LETTERS[letter] for letter in self.functions[function].replace(" ", "")]
        call.restype = ctypes.c_int
        self._declared[function] = call
        return call

    @contextlib.contextmanager
    def on(self, device):
        """A block in which ``device`` is the current one and no other thread calls the library; gives the current stream."""
        self.load()
        driver = _driver.current()
        with self.lock, _driver.on(device, driver):
            driver.set_device(device)       # the thread may have started nothing yet: the library needs a context
            yield driver.stream()

    def forget(self):
        """The library is to be looked for again."""
        self._library, self._looked_for = None, False
        self._declared.clear()


def use(libraries):
    """Takes ``libraries`` (name of the file -> an object with the C functions as attributes) for the installed ones."""
    _stand_ins.clear()
    _stand_ins.update(libraries)
    _forget()


def _find(file):
    return _stand_ins.get(file) if _driver.current().checks else _installed(file)


def _installed(file):
    """The library of this machine, or None; it needs no GPU."""
    try:
        from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib
    except ImportError:
        return None
    try:
        found = load_nvidia_dynamic_lib(file)
    except DynamicLibNotFoundError:
        return None
    return ctypes.CDLL(found.abs_path)


def _forget():
    for library in LIBRARIES.values():
        library.forget()


_driver.on_change.append(_forget)
