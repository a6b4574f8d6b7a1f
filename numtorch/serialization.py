"""Saving and loading: files in torch's formats, which torch reads and writes too.

A file is a ZIP archive with a pickle of the object, in which tensors refer to their storages, and one record a storage, so
that views of one memory are views of one memory again. The parts: ``_serial_zip`` (the archive), ``_serial_names`` (torch's
names for numtorch's classes), ``_serial_tensors`` (how tensors are pickled), ``_serial_safe`` (``weights_only``),
``_serial_legacy`` (the formats before torch 1.6) and ``_serial_places`` (settings and devices).
"""
import io
import os
import pickle
import re
import secrets
import stat
import sys
import warnings
from contextlib import contextmanager
from functools import partial

import numpy as np

from . import _serial_legacy as legacy
from . import _serial_names as names
from . import _serial_safe as safe
from ._serial_legacy import SourceChangeWarning
from ._serial_places import (
    MAP_SHARED,
    LoadEndianness,
    Options,
    default_restore_location,
    get_crc32_options,
    get_default_load_endianness,
    get_default_mmap_options,
    location_tag,
    register_package,
    restorer,
    set_crc32_options,
    set_default_load_endianness,
    set_default_mmap_options,
)
from ._serial_safe import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from ._serial_tensors import Reducer, StorageType, named_storage, rebuild_return_type, refuse_dtype, storage_type
from ._serial_zip import ALIGNMENT, Reader, Writer, is_archive
from .storage import Storage

__all__ = ["DEFAULT_PROTOCOL", "LoadEndianness", "SourceChangeWarning", "StorageType", "add_safe_globals", "clear_safe_globals",
           "default_restore_location", "get_crc32_options", "get_default_load_endianness", "get_default_mmap_options",
           "get_safe_globals", "get_unsafe_globals_in_checkpoint", "load", "location_tag", "register_package", "safe_globals",
           "save", "set_crc32_options", "set_default_load_endianness", "set_default_mmap_options"]

DEFAULT_PROTOCOL = 2

_UNSAFE = ("In PyTorch 2.6, we changed the default value of the `weights_only` argument in `torch.load` from `False` to `True`. "
           "Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it can result in arbitrary code "
           "execution. Do it only if you got the file from a trusted source.")


# ---- saving ------------------------------------------------------------------------------------------------------------

def save(obj, f, pickle_module=pickle, pickle_protocol=DEFAULT_PROTOCOL, _use_new_zipfile_serialization=True,
         _disable_byteorder_record=False):
    """Saves an object to a file that ``load``, and torch's, read.

    Tensors that share memory share it again when they are loaded; the whole memory of a view is saved. A file with that name
    is replaced when the new one is complete, so that a crash leaves the old one.

    Args:
        obj: a tensor, a module, a state dict, or any nest of them that can be pickled.
        f: a path, or a file object with ``write`` and ``flush``.
        pickle_module: what pickles the object, a module with ``Pickler``.
        pickle_protocol (int): pickle's protocol; torch's ``weights_only`` reads only 2.
        _use_new_zipfile_serialization (bool): False writes the format of torch before 1.6.
        _disable_byteorder_record (bool): leave out the record of the byte order.

    Raises:
        AttributeError: ``f`` is neither a path nor has ``write``.
        RuntimeError: the folder does not exist, or tensors view one memory as different dtypes.
        pickle.PicklingError, TypeError, AttributeError: something in the object cannot be pickled.

    >>> import io
    >>> import numtorch as torch
    >>> file = io.BytesIO()
    >>> torch.save({"x": torch.ones(2), "epoch": 3}, file)
    >>> torch.load(io.BytesIO(file.getvalue()))
    {'x': tensor([1., 1.]), 'epoch': 3}
    """
    _check_dill(pickle_module)
    path = isinstance(f, (str, os.PathLike))
    if not path and not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    new = _use_new_zipfile_serialization
    # in the old format a storage may be a part of another, and classes of modules come with their source
    reducer = Reducer(location_tag) if new else Reducer(location_tag, (None,), legacy.Containers().persistent_id)
    value = _pickled(obj, pickle_module, pickle_protocol, reducer)
    if new:
        name = os.path.splitext(os.path.basename(os.fspath(f)))[0] if path else "archive"
        write = partial(_write_archive, name if name.isascii() and name else "archive", value, reducer.memories,
                        not _disable_byteorder_record)
    else:
        def write(file):
            legacy.write(file, partial(pickle_module.dumps, protocol=pickle_protocol), value, reducer.memories)
    if not path:
        write(f)
        f.flush()
        return
    with _replacing(os.fspath(f), new) as file:
        write(file)


def _check_dill(module):
    if getattr(module, "__name__", "") == "dill":
        version = tuple(int(part) for part in re.findall(r"\d+", module.__version__)[:3])
        if version < (0, 3, 1):
            raise ValueError(f"'torch' supports dill >= 0.3.1, but you have dill {module.__version__}. Please upgrade dill or "
                             "switch to 'pickle'")


def _pickled(obj, module, protocol, reducer):
    """The pickle of an object, with torch's names."""

    class Pickler(module.Pickler):
        def persistent_id(self, value):
            return reducer.persistent_id(value)

        def reducer_override(self, value):
            found = reducer.reduce(value)
            if found is not NotImplemented:
                return found
            inherited = getattr(super(), "reducer_override", None)
            return NotImplemented if inherited is None else inherited(value)

    data = io.BytesIO()
    Pickler(data, protocol=protocol).dump(obj)
    return names.written_for_torch(data.getvalue())


def _write_archive(name, value, memories, with_byteorder, file):
    writer = Writer(file, name, Options.crc32)
    writer.record("data.pkl", value)
    writer.record(".format_version", b"1")
    writer.record(".storage_alignment", b"%d" % ALIGNMENT)
    if with_byteorder:
        writer.record("byteorder", sys.byteorder.encode())
    for memory in memories:
        writer.record(f"data/{memory.key}", memory.bytes)
    writer.close()


@contextmanager
def _replacing(path, new):
    """A file to write to, which takes the place of ``path`` when the block ends without an error."""
    if not os.path.basename(path):
        raise RuntimeError(f"save: invalid file name: {path!r}")
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        raise RuntimeError(f"save: cannot write to {path!r}: it is a directory")
    if new and not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    mode = os.stat(path).st_mode if os.path.exists(path) else None
    if mode is not None and not stat.S_ISREG(mode):
        with open(path, "wb") as file:      # a device or pipe is written to, not replaced
            yield file
        return
    if mode is not None and not os.access(path, os.W_OK):
        raise PermissionError(13, "Permission denied", path)
    temporary = os.path.join(folder, f".{secrets.token_hex(8)}.tmp")
    try:
        file = open(temporary, "xb")
    except OSError as error:
        error.filename = path
        raise
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


# ---- loading -----------------------------------------------------------------------------------------------------------

def load(f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None, **pickle_load_args):
    """Loads an object that ``save``, or torch's, has saved.

    Args:
        f: a path, or a file object with ``read``, ``readline``, ``seek`` and ``tell``.
        map_location: the place of all storages (a string or device); a dict of places by the places they were saved from; or a
            function of a storage, on the CPU, and the place it was saved from, that returns a storage, or None for the default.
        pickle_module: what unpickles, a module with ``Unpickler``; only without ``weights_only``.
        weights_only (bool): build only tensors, containers and what ``add_safe_globals`` allows, and run no code that the file
            names. Default True, unless a ``pickle_module`` is given. False for a file that can be trusted.
        mmap (bool): map the storages of a ZIP file into memory instead of reading them.
        pickle_load_args: more arguments of the Unpickler, such as ``encoding`` for files of Python 2.

    Raises:
        pickle.UnpicklingError: a file needs more than ``weights_only`` allows.
        RuntimeError: the file is damaged, or was saved on a device that is not there.
        FileNotFoundError, EOFError: there is no file; it is empty.

    See also: https://pytorch.org/docs/stable/generated/torch.load.html
    """
    if weights_only is None:
        weights_only = pickle_module is None
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if weights_only and pickle_load_args:
        warnings.warn("pickle_load_args only works if `weights_only=False`.", stacklevel=2)
    _check_dill(pickle_module)
    restore = restorer(map_location)
    options = {"encoding": "utf-8", **pickle_load_args}
    unpickler = partial(_unpickler(safe if weights_only else pickle_module or pickle), **options)
    if not isinstance(f, (str, os.PathLike)):
        _check_seekable(f)
        return _explained(f, f, restore, unpickler, weights_only, mmap, map_location)
    if os.fspath(f).endswith(".safetensors"):
        raise NotImplementedError("load: numtorch reads no safetensors files; use safetensors.numpy.load_file and from_numpy")
    with open(f, "rb") as file:
        return _explained(file, f, restore, unpickler, weights_only, mmap, map_location)


def _explained(file, f, restore, unpickler, weights_only, mmap, map_location):
    """What is in an open file; UnpicklingErrors say what may be done about them."""
    try:
        if is_archive(file):
            return _load_archive(file, f, restore, unpickler, weights_only, mmap, map_location)
        if mmap:
            name = f"{f}, " if isinstance(f, str) else ""
            raise RuntimeError(f"mmap can only be used with files saved with `torch.save({name}_use_new_zipfile_serialization="
                               "True), please torch.save your checkpoint with this option in order to use mmap.")
        if not legacy.is_tar(file):
            return legacy.load(file, restore, unpickler)
        if weights_only:
            raise RuntimeError("Cannot use ``weights_only=True`` with files saved in the legacy .tar format. " + _UNSAFE)
        return legacy.load_tar(file, restore, unpickler)
    except pickle.UnpicklingError as error:
        if not weights_only:
            raise
        raise pickle.UnpicklingError(_advice(str(error))) from None


def _advice(message):
    documents = ("\n\nCheck the documentation of torch.load to learn more about types accepted by default with weights_only "
                 "https://pytorch.org/docs/stable/generated/torch.load.html.")
    if "was not an allowed global by default" in message:
        return ("Weights only load failed. This file can still be loaded, to do so you have two options, \033[1mdo those steps "
                f"only if you trust the source of the checkpoint\033[0m. \n\t(1) {_UNSAFE}\n\t(2) Alternatively, to load with "
                "`weights_only=True` please check the recommended steps in the following error message.\n\tWeightsUnpickler "
                f"error: {message}{documents}")
    return f"Weights only load failed. {_UNSAFE}\n\nWeightsUnpickler error: {message}{documents}"


def _check_seekable(f):
    try:
        f.seek(f.tell())
        if isinstance(f.read(0), str):
            raise TypeError("load: the file was opened as text; open it with mode 'rb'")
    except (io.UnsupportedOperation, AttributeError) as error:
        if "seek" not in str(error) and "tell" not in str(error):
            raise
        raise type(error)(f"{error}. You can only torch.load from a file that is seekable. Please pre-load the data into a "
                          "buffer like io.BytesIO and try to load from it instead.") from None


def _unpickler(module):
    """A class of unpicklers that know what torch's and numtorch's names in files mean."""

    class Unpickler(module.Unpickler):
        def find_class(self, mod_name, name):
            ours = names.is_torch(mod_name)
            if mod_name == "torch":
                refuse_dtype(name)
            if ours and "Storage" in name:
                found = storage_type(name)
                if found is not None:
                    return found
            if ours and module is not safe:
                found = names.find(mod_name, name)
                return partial(rebuild_return_type, found) if mod_name == "torch.return_types" else found
            return super().find_class(mod_name, name)

    return Unpickler


def _is_script(reader):
    """Whether an archive is what jit.save writes, torch's or numtorch's, and no checkpoint."""
    return "constants.pkl" in reader or "graph.json" in reader


def _load_archive(file, f, restore, unpickler, weights_only, mmap, map_location):
    start = file.tell()
    reader = Reader(file)
    if _is_script(reader):
        return _load_script(file, start, weights_only, map_location)
    if mmap and file is f:
        raise ValueError("f must be a file path in order to use the mmap argument")
    mapped = _mapped(file) if mmap else None
    swap = _is_swapped(reader)
    storages = {}

    def persistent_load(pid):
        dtype, key, location, count = named_storage(pid, 5)
        if key not in storages:
            storages[key] = restore(_read_storage(reader, f"data/{key}", dtype, count, mapped, swap), location)
        return storages[key]

    value = unpickler(io.BytesIO(reader.read("data.pkl")))
    value.persistent_load = persistent_load
    return value.load()


def _load_script(file, start, weights_only, map_location):
    warnings.warn("'torch.load' received a zip file that looks like a TorchScript archive dispatching to 'torch.jit.load' (call "
                  "'torch.jit.load' directly to silence this warning)", UserWarning, stacklevel=5)
    if weights_only:
        raise RuntimeError("Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch.load``. " + _UNSAFE)
    from .jit import load as load_script

    file.seek(start)
    return load_script(file, map_location=map_location)


def _is_swapped(reader):
    """Whether the bytes of a file's numbers are in the other order than the machine's."""
    if "byteorder" in reader:
        found = reader.read("byteorder")
        if found not in (b"little", b"big"):
            raise ValueError(f"Unknown endianness type: {found.decode('latin-1')}")
        return found.decode() != sys.byteorder
    assumed = {LoadEndianness.BIG: "big", LoadEndianness.NATIVE: sys.byteorder}.get(Options.endianness, "little")
    return assumed != sys.byteorder


def _mapped(file):
    import mmap

    if Options.mmap == MAP_SHARED:
        with open(file.name, "r+b") as writable:
            return mmap.mmap(writable.fileno(), 0, access=mmap.ACCESS_WRITE)
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _read_storage(reader, name, dtype, count, mapped, swap):
    """A storage from a record of an archive."""
    size, expected = reader.size(name), count * dtype.itemsize
    if size != expected:
        raise RuntimeError(f"record size ({size} bytes) does not match expected size ({expected} bytes = {count} elements * "
                           f"{dtype.itemsize} bytes/element) for dtype {dtype}")
    offset = reader.offset(name) if mapped is not None and count else None
    if offset is not None and not offset % dtype.itemsize:
        array = np.frombuffer(mapped, dtype._np, count, offset)
    else:
        array = reader.read_into(name, np.empty(count, dtype._np))
    if swap:
        array.view(np.uint8)[:] = legacy.swapped(array.view(np.uint8), dtype)
    return Storage(array)


# ---- looking into a file -----------------------------------------------------------------------------------------------

def get_unsafe_globals_in_checkpoint(f):
    """The full names of what a file needs and ``load(weights_only=True)`` would refuse; nothing in it is executed.

    Args:
        f: a path or file object, of a ZIP file that ``save`` or torch's has written.

    Raises:
        ValueError: the file is of a format before torch 1.6, or a TorchScript archive.
    """
    if not isinstance(f, (str, os.PathLike)):
        _check_seekable(f)
        return _unsafe_in(f)
    with open(f, "rb") as file:
        return _unsafe_in(file)


def _unsafe_in(file):
    if not is_archive(file):
        raise ValueError("get_unsafe_globals_in_checkpoint is not supported for files of torch before 1.6; expected a ZIP file "
                         "that torch.save wrote")
    reader = Reader(file)
    if _is_script(reader):
        raise ValueError("Expected input to be a checkpoint returned by torch.save but got a torchscript checkpoint")
    allowed = safe._of_user()
    return [name for name in sorted(names.named_in(reader.read("data.pkl"))) if name not in allowed and not safe.is_allowed(name)]
