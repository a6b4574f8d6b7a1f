"""What kernels find wrong while they run, an index out of range, reported by the next call that waits for the device.

A kernel cannot raise, and to wait for it would cost more than it does. It passes a bad index over, so that no other memory is
touched, and writes three words into the device's memory: that there was one, the index, and the size that it exceeds. ``note``
gives a kernel the words of its operation; ``synchronize`` and ``check`` read them all, where kernels that may have written some
were started since the last time, and raise.
"""
import threading

import numpy as np

from . import _driver
from ._device import empty, on_device

WORDS, LARGEST = 3, 128         # words of a note; how many operations may have one
PASSED = -1 << 62               # takes the place of a bad index that was reported: the next kernel passes it over in silence
_LATE = "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect."
_names = {}                     # name of an operation -> number of its note
_notes = {}                     # device -> Notes
_making = threading.Lock()


class Notes:
    """The words of one device, 0 where all is well, and the streams on which kernels may write some."""

    def __init__(self, device):
        driver, stream = _driver.current(), _driver.current().stream()
        self.words = empty(WORDS * LARGEST, np.int64, device)
        driver.fill(self.words.ptr, 0, self.words.nbytes, stream)
        driver.synchronize_stream(stream)       # other streams may write next
        self.found = np.empty(WORDS * LARGEST, np.int64)
        self.own, self.streams = {}, set()

    def of(self, name):
        """The words of one operation."""
        words = self.own.get(name)
        if words is None:
            at = WORDS * _names.setdefault(name, len(_names))
            words = self.own[name] = self.words[at:at + WORDS]
        return words


def report(words, index, size):
    """For kernels: notes that ``index`` is not one of ``size``; the first stays, of several at once any."""
    if words[0] == 0 and index != PASSED:
        words[1] = index
        words[2] = size
        words[0] = 1


def note(name, device):
    """The words that a kernel which works for the operation ``name`` is given, to be launched on the device's current stream."""
    notes = _notes.get(device) or prepare(device)
    driver = _driver.current()
    if driver.device() == device:
        notes.streams.add(driver.stream())
    else:
        with on_device(device):
            notes.streams.add(driver.stream())
    return notes.of(name)


def prepare(device):
    """Makes the words of a device, if there are none yet: before a capture, in which that cannot be done."""
    with _making, on_device(device):
        if device not in _notes:
            _notes[device] = Notes(device)
    return _notes[device]


def expect(device, stream):
    """Says that a stream will run kernels that were given their words earlier: those of a captured graph."""
    prepare(device).streams.add(stream)


def synchronize(device, stream):
    """Waits for a stream of ``device``, the current one; RuntimeError for what its kernels found wrong."""
    driver, notes = _driver.current(), _notes.get(device)
    if notes is None or stream not in notes.streams:
        driver.synchronize_stream(stream)
        return
    notes.streams.discard(stream)
    driver.copy_out(notes.found.ctypes.data, notes.words.ptr, notes.words.nbytes, stream)
    driver.synchronize_stream(stream)
    _raise(device, notes, stream)


def check(device):
    """RuntimeError for what kernels of ``device`` found wrong; to be called when all of its work is done."""
    notes = _notes.get(device)
    if notes is None or not notes.streams:
        return
    notes.streams.clear()
    with on_device(device):
        driver = _driver.current()
        stream = driver.stream()
        driver.copy_out(notes.found.ctypes.data, notes.words.ptr, notes.words.nbytes, stream)
        driver.synchronize_stream(stream)
        _raise(device, notes, stream)


def _raise(device, notes, stream):
    found = notes.found.reshape(LARGEST, WORDS)
    bad = np.flatnonzero(found[:, 0])
    if not bad.size:
        return
    driver = _driver.current()
    driver.fill(notes.words.ptr, 0, notes.words.nbytes, stream)
    name = next(name for name, number in _names.items() if number == bad[0])
    _, index, size = found[bad[0]].tolist()
    raise RuntimeError(f"CUDA error: device-side assert triggered: {name}: index {index} is out of bounds for dimension with "
                       f"size {size}\n{_LATE}")


_driver.on_change.append(_notes.clear)
