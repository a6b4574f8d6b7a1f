"""Saving and loading: files go to torch and come back, values, views and shared memory as they were."""
import collections
import copy
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from serial_files import DTYPES, FORMATS, Call, archive, by_torch, loaded, real_torch, records, reloaded, same_memory, saved

import numtorch as nt
from numtorch import nn, serialization
from numtorch.serialization import load, save


@pytest.fixture
def torch():
    """Real torch."""
    yield from real_torch()


def same_layout(a, b):
    return tuple(a.shape) == tuple(b.shape) and a.stride() == b.stride() and a.storage_offset() == b.storage_offset()


def sample(t):
    """Tensors of all kinds, made by numtorch or torch."""
    x = t.arange(12.0).reshape(3, 4)
    found = OrderedDict((name, t.arange(5).to(getattr(t, name))) for name in DTYPES)
    found.update(x=x, row=x[1], columns=x[:, 1:3], transposed=x.T, empty=t.zeros(0, 3), scalar=t.tensor(2.5),
                 strided=x[::2, 1::2], expanded=t.tensor([7.0]).expand(2, 3), of_empty=x[3:],
                 parameter=t.nn.Parameter(t.tensor([1.0, 2.0])))
    return found


def check_sample(found, t, expected):
    """``found`` is what ``sample`` makes, as tensors of ``t``."""
    for name, value in expected.items():
        assert isinstance(found[name], t.Tensor) and str(found[name].dtype) == str(value.dtype), name
        assert found[name].tolist() == value.tolist() and same_layout(found[name], value), name
    for name in ("row", "columns", "transposed", "strided"):
        assert same_memory(found["x"], found[name])
    assert type(found["parameter"]) is t.nn.Parameter and found["parameter"].requires_grad
    assert not found["x"].requires_grad
    with t.no_grad():
        found["x"][1, 1] = 99.0
    assert found["row"][1] == 99 and found["transposed"][1, 1] == 99 and found["columns"][1, 0] == 99


# ---- there and back ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("weights_only", [True, False])
def test_round_trip(how, weights_only, protocol):
    """Values, dtypes, strides, offsets and shared memory survive, in both formats and all protocols."""
    check_sample(loaded(saved(sample(nt), pickle_protocol=protocol, **how), weights_only=weights_only), nt, sample(nt))


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("weights_only", [True, False])
def test_torch_reads_what_numtorch_writes(torch, how, weights_only):
    """torch.load, restricted or not, finds the same tensors, views and parameters."""
    found = torch.load(io.BytesIO(saved(sample(nt), **how)), weights_only=weights_only)
    check_sample(found, torch, sample(nt))


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_torch_reads_other_protocols(torch, protocol):
    """The names on the stack of protocol 4 and up become torch's, too."""
    found = torch.load(io.BytesIO(saved([sample(nt), nn.Linear(2, 2)], pickle_protocol=protocol)), weights_only=False)
    check_sample(found[0], torch, sample(nt))
    assert type(found[1]) is torch.nn.Linear


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("weights_only", [True, False])
def test_numtorch_reads_what_torch_writes(torch, how, weights_only):
    """load, restricted or not, finds the tensors that torch saved."""
    check_sample(loaded(by_torch(torch, sample(torch), **how), weights_only=weights_only), nt, sample(nt))


def test_the_archive_is_torchs(torch, tmp_path):
    """Byte for byte the file that torch writes, but for the 40 digits that identify it."""
    for t, write, folder in ((nt, save, "a"), (torch, torch.save, "b")):
        (tmp_path / folder).mkdir()
        write({"a": t.arange(5.0), "b": [t.zeros(0), t.ones(3, dtype=t.bool)], "p": t.nn.Parameter(t.ones(2)), "s": {1}, "c": 1j,
               "d": t.float16, "v": t.device("cuda", 1), "z": t.Size([1]), "l": t.strided}, tmp_path / folder / "some.file.pt")
    own, theirs = ((tmp_path / folder / "some.file.pt").read_bytes() for folder in "ab")
    assert len(own) == len(theirs)
    place = own.index(b".data/serialization_id")
    assert own[:place] == theirs[:place]
    assert own[-300:].split(b"serialization_id")[1] == theirs[-300:].split(b"serialization_id")[1]
    assert set(records(own)) == {"data.pkl", ".format_version", ".storage_alignment", "byteorder", "version", "data/0", "data/1",
                                 "data/2", "data/3", ".data/serialization_id"}


def test_records_are_aligned():
    """Every record begins on a multiple of 64 bytes and is stored as it is; numtorch's name is nowhere."""
    data = saved({"a": nt.ones(3), "b": nt.ones(1, dtype=nt.bool), "c": nn.Linear(2, 2)})
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        assert made.testzip() is None
        for info in made.infolist():
            sizes = struct.unpack("<2H", data[info.header_offset + 26:info.header_offset + 30])
            assert (info.header_offset + 30 + sum(sizes)) % 64 == 0 and info.compress_type == zipfile.ZIP_STORED
    assert b"numtorch" not in data


def test_torch_computes_offsets(torch, tmp_path):
    """torch finds records by arithmetic on their sizes, as it may with files of its own."""
    from torch.utils.serialization import config

    save([nt.arange(10.0), nt.zeros(0), nt.ones(3), nt.arange(7)], tmp_path / "x.pt")
    with config.patch("load.calculate_storage_offsets", True):
        found = torch.load(tmp_path / "x.pt", mmap=True)
    assert found[3].tolist() == list(range(7)) and found[2].tolist() == [1, 1, 1]


def test_sizes_beyond_32_bits(monkeypatch):
    """Where sizes and places do not fit 32 bits, ZIP64 fields hold them (here the limit is lowered)."""
    from numtorch import _serial_zip

    monkeypatch.setattr(_serial_zip, "_zip64", lambda size, packed, start: struct.pack("<2H3Q", 1, 24, size, packed, start))
    data = saved([nt.arange(100.0), nt.ones(2)])
    assert loaded(data)[1].tolist() == [1, 1] and loaded(data)[0][99] == 99
    monkeypatch.undo()
    assert _serial_zip._zip64(5, 5, 5) == b""
    assert _serial_zip._zip64(2 ** 32, 0, 7) == struct.pack("<2H2Q", 1, 16, 2 ** 32, 0)
    assert _serial_zip._zip64(7, 7, 2 ** 32) == struct.pack("<2HQ", 1, 8, 2 ** 32)


def test_other_values(torch):
    """What else a file may hold goes to torch and comes back, restricted as well."""
    def facts(t):
        return {"dtype": t.float16, "device": t.device("cuda", 1), "cpu": t.device("cpu"), "size": t.Size([3, 4]),
                "layout": t.strided, "bytes": b"abc\xff", "set": {1, 2}, "complex": 1j, "large": 1 << 70, "none": None,
                "text": "häßlich", "array": bytearray(b"x"), "counter": collections.Counter("aab"),
                "list": [1.5, (), (1, 2, 3, 4)], "bool": True}
    theirs = torch.load(io.BytesIO(saved(facts(nt))))
    assert theirs == facts(torch)
    assert loaded(by_torch(torch, facts(torch))) == facts(nt) == reloaded(facts(nt))
    more = {"frozen": frozenset((1, 2)), "slice": slice(1, None, 2), "table": collections.defaultdict(list, a=[1])}
    found = reloaded(more)
    assert found == more and found["table"].default_factory is list


def test_functions_types_and_named_tuples(torch):
    """Functions of the library, tensor types, results with names and generators keep their torch names."""
    generator = nt.Generator().manual_seed(5)
    mine = {"relu": nn.functional.relu, "tanh": nt.tanh, "init": nn.init.xavier_uniform_, "tensor": nt.Tensor,
            "generator": generator, "max": nt.tensor([[1.0, 3.0]]).max(1), "linear": nn.Linear, "format": nt.channels_last}
    theirs = torch.load(io.BytesIO(saved(mine)), weights_only=False)
    assert theirs["relu"] is torch.nn.functional.relu and theirs["tanh"] is torch.tanh and theirs["linear"] is torch.nn.Linear
    assert theirs["max"].indices.tolist() == [1] and theirs["tensor"] is torch.Tensor and theirs["format"] is torch.channels_last
    assert torch.rand(3, generator=theirs["generator"]).tolist() == nt.rand(3, generator=generator).tolist()
    del theirs["format"]                            # torch itself cannot save one
    back = loaded(by_torch(torch, theirs), weights_only=False)
    assert back["relu"] is nn.functional.relu and back["tanh"] is nt.tanh and back["linear"] is nn.Linear
    assert repr(back["max"]) == repr(mine["max"]) and type(back["generator"]) is nt.Generator
    assert nt.rand(3, generator=back["generator"]).tolist() == nt.rand(3, generator=generator).tolist()


def test_attributes_of_tensors(torch):
    """What a program has set on tensors and parameters is saved; gradients and hooks are not, with a word on the hooks."""
    x, p = nt.ones(2), nn.Parameter(nt.ones(2))
    x.note, p.note = "of x", ["of p"]
    p.grad = nt.ones(2)
    for t, found in ((nt, reloaded([x, p])), (torch, torch.load(io.BytesIO(saved([x, p]))))):
        assert found[0].note == "of x" and found[1].note == ["of p"] and found[1].grad is None
        assert type(found[0]) is t.Tensor and type(found[1]) is t.nn.Parameter
    assert loaded(by_torch(torch, found))[0].note == "of x"
    p.register_hook(lambda g: g)
    with pytest.warns(UserWarning, match="backward hook .* on tensor will not be serialized"):
        saved(p)


class Marked(nt.Tensor):
    """A subclass of Tensor that a program defines."""


def test_subclasses_of_tensor():
    """A tensor's own class survives where the file is trusted, or the class is."""
    x = nt.ones(2)
    x.__class__ = Marked
    data = saved(x)
    assert type(loaded(data, weights_only=False)) is Marked
    with pytest.raises(pickle.UnpicklingError, match="Marked was not an allowed global"):
        loaded(data)
    with serialization.safe_globals([Marked]):
        assert type(loaded(data)) is Marked


def test_storages(torch):
    """A storage that is saved for itself is the one that the saved tensors view."""
    x = nt.arange(3.0)
    found = reloaded([x, x.storage()])
    assert found[1] is found[0].untyped_storage() and found[1].tolist() == [0, 1, 2]
    assert torch.load(io.BytesIO(saved(x.storage())), weights_only=False).tolist() == [0, 1, 2]
    assert loaded(by_torch(torch, torch.ones(2).storage())).tolist() == [1, 1]


def test_views_share_history():
    """Loaded views share the version counter, so that autograd sees a write through either of them."""
    x = nt.arange(4.0)
    a, b = reloaded([x, x[1:3]])
    b.add_(1)
    assert a._version == b._version == 1 and a.tolist() == [0, 2, 3, 3]


def test_two_types_of_one_memory():
    """Views of one memory as different dtypes cannot be saved together; one of them can."""
    z = nt.ones(3, dtype=nt.complex64)
    assert reloaded(z.real).tolist() == [1, 1, 1] and reloaded(z.imag).stride() == (2,)
    with pytest.raises(RuntimeError, match="Cannot save multiple tensors or storages that view the same data as different types"):
        saved([z, z.real])


def test_memory_that_is_not_torchs():
    """Arrays in column order, windows on other memory and read-only arrays are saved as they lie."""
    column = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    window = np.lib.stride_tricks.sliding_window_view(np.arange(5), 3)
    with pytest.warns(UserWarning, match="not writable"):
        letters = nt.from_numpy(np.frombuffer(b"abcd", np.uint8))
        tensors = [nt.from_numpy(column), nt.from_numpy(column)[1], nt.from_numpy(window), letters]
    found = reloaded(tensors)
    for new, old in zip(found, tensors):
        assert new.tolist() == old.tolist() and new.stride() == old.stride()
    assert same_memory(found[0], found[1]) and found[3].add_(1).tolist() == [98, 99, 100, 101]


# ---- places, maps, files -----------------------------------------------------------------------------------------------

def test_map_location(torch):
    """A place, a dict of places and a function decide where storages go; absent devices are torch's error."""
    x = nt.arange(3.0)
    data = saved([x, x[1:]])
    on_cuda = archive({**records(data), "data.pkl": records(data)["data.pkl"].replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:1")})
    with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device but torch.cuda.is_available"):
        loaded(on_cuda)
    for place in ("cpu", nt.device("cpu"), {"cuda:1": "cpu"}, lambda storage, location: storage):
        assert loaded(on_cuda, map_location=place)[1].tolist() == [1, 2]
    seen = []
    other = nt.tensor([7.0, 8.0, 9.0]).untyped_storage()
    a, b = loaded(on_cuda, map_location=lambda storage, location: seen.append((storage.tolist(), location)) or other)
    assert seen == [([0, 1, 2], "cuda:1")] and b.tolist() == [8, 9] and same_memory(a, b)
    assert loaded(data, map_location=lambda storage, location: None)[0].tolist() == [0, 1, 2]
    for place, error, message in (("cuda", RuntimeError, "CUDA device"), ({"cpu": "xpu:0"}, RuntimeError, "XPU device"),
                                  ("meta", NotImplementedError, "no meta device"),
                                  (5, TypeError, "argument 'map_location' must be"),
                                  ("moon", RuntimeError, "don't know how to restore data location of .* \\(tagged with moon\\)"),
                                  (lambda storage, location: 5, TypeError, "has to return a storage or None")):
        with pytest.raises(error, match=message):
            loaded(data, map_location=place)


def test_packages(monkeypatch):
    """A registered package tags storages when they are saved and restores them by its tag."""
    from numtorch import _serial_places

    monkeypatch.setattr(_serial_places, "_packages", list(_serial_places._packages))
    serialization.register_package(5, lambda storage: "moon", lambda storage, place: storage if place == "moon" else None)
    data = saved(nt.ones(2))
    assert b"moon" in records(data)["data.pkl"] and loaded(data).tolist() == [1, 1]
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="tagged with moon"):
        loaded(data)


def test_mmap(tmp_path):
    """Mapped storages are read when they are used; writes stay in memory, unless the map is shared."""
    import mmap

    path = tmp_path / "x.pt"
    save({"a": nt.arange(1000.0), "b": nt.arange(3).bfloat16(), "e": nt.zeros(0)}, path)
    found = load(path, mmap=True)
    assert not found["a"].untyped_storage().array.flags.owndata
    assert found["b"].tolist() == [0, 1, 2] and found["e"].tolist() == [] and found["a"].sum().item() == 499500
    found["a"][0] = 5
    assert load(path)["a"][0] == 0
    os.replace(path, tmp_path / "moved.pt")
    assert found["a"][999] == 999
    with serialization.set_default_mmap_options(mmap.MAP_SHARED):
        load(tmp_path / "moved.pt", mmap=True)["a"][0] = 6
        assert serialization.get_default_mmap_options() == mmap.MAP_SHARED
    assert load(tmp_path / "moved.pt", mmap=True)["a"][0] == 6
    with pytest.raises(RuntimeError, match="checksum is wrong.*load it with mmap=True"):
        load(tmp_path / "moved.pt")
    with pytest.raises(ValueError, match="expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, but got 7"):
        serialization.set_default_mmap_options(7)


def test_byte_order():
    """Numbers of a file from a machine of the other byte order are turned around, half by half for complex ones."""
    values = [nt.tensor([1, 2], dtype=getattr(nt, name)) for name in DTYPES]
    content = records(saved(values))
    other = {"little": "big", "big": "little"}[sys.byteorder]
    for i, value in enumerate(values):
        size = value.element_size() // (2 if value.is_complex() else 1)
        raw = content[f"data/{i}"]
        content[f"data/{i}"] = b"".join(raw[k:k + size][::-1] for k in range(0, len(raw), size))
    for found, value in zip(loaded(archive({**content, "byteorder": other.encode()})), values):
        assert found.tolist() == value.tolist()
    del content["byteorder"]
    kind = serialization.LoadEndianness
    serialization.set_default_load_endianness({"big": kind.BIG, "little": kind.LITTLE}[other])
    try:
        assert loaded(archive(content))[5].tolist() == [1, 2]
    finally:
        serialization.set_default_load_endianness(None)
    assert "byteorder" not in records(saved(1, _disable_byteorder_record=True))
    with pytest.raises(TypeError, match="set_default_load_endianness"):
        serialization.set_default_load_endianness("big")


def test_checksums(torch):
    """Checksums can be left out, by numtorch and by torch, and then are not missed."""
    serialization.set_crc32_options(False)
    try:
        data = saved(nt.ones(3))
    finally:
        serialization.set_crc32_options(True)
    assert serialization.get_crc32_options() and {i.CRC for i in zipfile.ZipFile(io.BytesIO(data)).infolist()} == {0}
    assert loaded(data).tolist() == [1, 1, 1] == torch.load(io.BytesIO(data)).tolist()


def test_file_objects(tmp_path):
    """Files, buffers, and objects that have only what is asked of them; the position is where the archive begins."""
    class Plain:
        def __init__(self, data=b""):
            self.inner = io.BytesIO(data)
            self.read, self.readline, self.seek, self.tell = (
                getattr(self.inner, name) for name in ("read", "readline", "seek", "tell"))
            self.write, self.flush = self.inner.write, self.inner.flush

    for how in FORMATS:
        plain = Plain()
        save([nt.arange(3.0), nt.ones(1)], plain, **how)
        assert load(Plain(plain.inner.getvalue()))[0].tolist() == [0, 1, 2]
        with open(tmp_path / "x.pt", "w+b") as file:
            file.write(b"something before")
            save([nt.arange(3.0)], file, **how)
            file.seek(16)
            assert load(file)[0].tolist() == [0, 1, 2]
    with pytest.raises(AttributeError, match="flush"):
        save(1, type("", (), {"write": lambda self, data: len(data)})())


def test_pickle_modules():
    """Another module pickles and unpickles: what it changes stays changed, and the files are the same."""
    class Slow:                                 # Python's own pickler, in Python
        Pickler, Unpickler, dumps, __name__ = pickle._Pickler, pickle._Unpickler, staticmethod(pickle.dumps), "slow"

    class Special(pickle.Pickler):
        def reducer_override(self, value):
            return (int, ("7",)) if isinstance(value, Call) else NotImplemented

    class Changed:
        Pickler, Unpickler, dumps, __name__ = Special, pickle.Unpickler, staticmethod(pickle.dumps), "changed"

    for how in FORMATS:
        data = saved(sample(nt), pickle_module=Slow, **how)
        check_sample(loaded(data), nt, sample(nt))
        check_sample(loaded(data, pickle_module=Slow), nt, sample(nt))
        found = loaded(saved([Call(), nt.ones(1)], pickle_module=Changed, **how), weights_only=False)
        assert found[0] == 7 and found[1].tolist() == [1]
    assert records(saved(sample(nt)))["data.pkl"] == records(saved(sample(nt), pickle_module=Slow))["data.pkl"]


def test_strings_that_look_like_names():
    """Only names are renamed: a program's own strings stay as they are, in every protocol."""
    word = "cnumtorch.shape\nSize\n"
    for protocol in range(6):
        content = [word, {"numtorch.shape": nt.Size([1]), "Size": "numtorch.dtypes"}, word.encode(), nt.float32]
        assert loaded(saved(content, pickle_protocol=protocol), weights_only=protocol > 0) == content


def test_pickle_and_deepcopy_are_as_before():
    """Python's own copies do not go through files: they keep numtorch's names."""
    x = nt.arange(3.0)
    assert pickle.loads(pickle.dumps(x)).tolist() == copy.deepcopy(x).tolist() == [0, 1, 2]
    assert b"numtorch" in pickle.dumps(x) and b"numtorch" in pickle.dumps(nn.Linear(1, 1))


# ---- the oldest format -------------------------------------------------------------------------------------------------

def old_tar():
    """A file as torch 0.1 wrote it: a tar archive of storages, tensors and a pickle that refers to them by number."""
    storages, tensors, value = io.BytesIO(), io.BytesIO(), io.BytesIO()
    kind = b"ctorch\nFloatStorage\n"
    storages.write(pickle.dumps(1, 2) + b"\x80\x02(K\x05X\x03\0\0\0cpu" + kind + b"t.")
    storages.write(struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes())
    storages.write(pickle.dumps([(8, 5, 2, 3)], 2))                 # a view of three elements, from the third on
    tensors.write(pickle.dumps(2, 2))
    for key, storage, offset, size, stride in ((6, 5, 0, (2, 3), (3, 1)), (7, 8, 1, (2,), (1,))):
        tensors.write(b"\x80\x02(K" + bytes([key]) + b"K" + bytes([storage]) + b"ctorch\nFloatTensor\nt.")
        tensors.write(struct.pack(f"<i4x{2 * len(size) + 1}q", len(size), *size, *stride, offset))
    value.write(b"\x80\x02]q\0(X\x01\0\0\x006QX\x01\0\0\x007Qe.")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        for name, content in (("pickle", value), ("tensors", tensors), ("storages", storages)):
            info = tarfile.TarInfo(name)
            info.size = len(content.getvalue())
            content.seek(0)
            tar.addfile(info, content)
    return file.getvalue()


def test_tar_files(torch, tmp_path):
    """The tar format is read, as torch reads it, without weights_only."""
    path = tmp_path / "old.pt"
    path.write_bytes(old_tar())
    for found in (load(path, weights_only=False), torch.load(path, weights_only=False)):
        assert found[0].tolist() == [[0, 1, 2], [3, 4, 5]] and found[1].tolist() == [3, 4]
    found = load(path, weights_only=False)
    found[0][1, 0] = 9
    assert found[1].tolist() == [9, 4]
    with pytest.raises(RuntimeError, match="Cannot use ``weights_only=True`` with files saved in the legacy .tar format"):
        load(path)


def test_deep_values():
    """A long chain of containers and a list that holds itself are saved and loaded."""
    chain = []
    for _ in range(200):
        chain = [chain, nt.ones(1)]
    found, depth = reloaded(chain), 0
    while found:
        found, depth = found[0], depth + 1
    assert depth == 200
    loop = [nt.ones(1)]
    loop.append(loop)
    again = reloaded(loop)
    assert again[1] is again


def test_serialization_is_loaded_when_it_is_needed():
    """``import numtorch`` does not load the archive's modules."""
    code = "import sys, numtorch; print([m for m in ('numtorch.serialization', 'zipfile', 'tarfile') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
