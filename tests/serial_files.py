"""What the tests of saving and loading share: files in memory, and what is in them."""
import io
import warnings
import zipfile

import pytest

import numtorch as nt
from numtorch import nn
from numtorch.serialization import load, save

DTYPES = [str(d)[6:] for d in (nt.bool, nt.uint8, nt.int8, nt.int16, nt.int32, nt.int64, nt.float16, nt.bfloat16, nt.float32,
                               nt.float64, nt.complex64, nt.complex128)]
FORMATS = [{}, {"_use_new_zipfile_serialization": False}]


def real_torch():
    """For fixtures: real torch, without its warnings about storages."""
    found = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield found


def saved(obj, **how):
    """The bytes of the file that ``save`` makes."""
    file = io.BytesIO()
    save(obj, file, **how)
    return file.getvalue()


def loaded(data, **how):
    """What ``load`` finds in bytes."""
    return load(io.BytesIO(data), **how)


def reloaded(obj, **how):
    return loaded(saved(obj), **how)


def by_torch(torch, obj, **how):
    """The bytes of the file that torch makes."""
    file = io.BytesIO()
    torch.save(obj, file, **how)
    return file.getvalue()


def records(data):
    """The records of an archive by their names."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}


def archive(content):
    """An archive of records, made by Python's zipfile: no alignment, other headers than torch's."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in content.items():
            made.writestr("archive/" + name, data)
    return file.getvalue()


def pickled(data):
    """An archive whose pickle is ``data``."""
    return archive({"data.pkl": data, "version": b"3\n", "byteorder": b"little"})


def same_memory(a, b):
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


class Net(nn.Module):
    """A model that a program defines."""

    def __init__(self):
        super().__init__()
        self.fc, self.act = nn.Linear(2, 2), nn.functional.relu
        self.register_buffer("count", nt.zeros(1), persistent=False)

    def forward(self, x):
        """A line."""
        return self.act(self.fc(x)) + self.count


class Call:
    """Pickles as a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call
