"""No file runs code, damaged files are clear errors, and a crash while saving leaves the old file."""
import io
import os
import pickle
import signal
import stat
import struct
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from serial_files import FORMATS, Call, Net, archive, loaded, pickled, records, saved

import numtorch as nt
from numtorch import nn, serialization
from numtorch.serialization import load, save

# ---- no code from files ------------------------------------------------------------------------------------------------

def _attacks(target):
    write = f"open({str(target)!r}, 'w').close()"
    yield pickle.dumps(Call(os.system, (f"touch {target}",)), 2)
    yield pickle.dumps(Call(eval, (write,)), 2)
    yield pickle.dumps(Call(eval, (write,)), 4)
    yield pickle.dumps(Call(exec, (write,)), 0)
    yield pickle.dumps(Call(getattr, ("", "join")), 2)
    yield pickle.dumps(Call(open, (str(target), "w")), 5)
    yield f"(S'{target}'\nS'w'\nibuiltins\nopen\n.".encode()                         # INST
    yield f"(cbuiltins\nopen\nS'{target}'\nS'w'\no.".encode()                         # OBJ
    yield f"c__builtin__\nopen\n(V{target}\nVw\ntR.".encode()                         # Python 2's name
    yield f"cnumtorch.serialization\nopen\n(V{target}\nVw\ntR.".encode()              # a builtin through a module
    yield f"ctorch.serialization\nsave\n(K\x01V{target}\ntR.".encode()                # a function of this library
    yield b"\x80\x04\x8c\x08builtins\x8c\x0bdict.update\x93."                          # an attribute of an allowed class
    yield b"\x80\x04\x8c\x05torch\x8c\x0fTensor.__init__\x93."
    yield b"ccollections\nOrderedDict\n(dV__class__\nctorch\nTensor\nsb."              # state for a class
    yield b"ctorch._utils\n_rebuild_tensor\n}V__doc__\nVx\nsb."                        # state for a function
    yield b"c_codecs\nencode\n(Vabc\nVrot13\ntR."                                      # a codec by its name
    yield b"]V\nR."                                                                    # calls a list
    yield b"\x80\x02(U\x06moduleK\x01tQ."                                              # a persistent id that is no storage
    yield b"Pstorage\n."                                                               # one that is text
    yield b"\x80\x02\x82\x01."                                                         # an extension's code
    yield b"c__main__\nNet\n)\x81."
    yield b"csubprocess\nrun\n."


def test_files_run_no_code(tmp_path):
    """Whatever a pickle asks for, weights_only refuses what is on no list, in both formats, and nothing has happened."""
    target = tmp_path / "ran"
    start = b"".join(pickle.dumps(value, 2) for value in (0x1950a86a20f9469cfc6c, 1001, {}))     # of the old format
    for attack in _attacks(target):
        for data in (pickled(attack), start + attack):
            with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
                loaded(data)
    assert not target.exists()


def test_state_stays_away_from_the_tensors_own():
    """A file cannot reach into a tensor through the attributes that it may set."""
    x = nt.ones(2)
    x.note = 1
    content = records(saved(x))
    for name in ("_a", "_storage", "__dict__", "__class__"):
        word = struct.pack("<cI", b"X", len(name)) + name.encode()
        changed = content["data.pkl"].replace(struct.pack("<cI", b"X", 4) + b"note", word)
        with pytest.raises(RuntimeError, match=f"the file sets '{name}' of a tensor"):
            loaded(archive({**content, "data.pkl": changed}))


@pytest.mark.parametrize("values", [(0, (3,), (1,)), (1, (2,), (1,)), (0, (2, 2), (1, 1)), (-1, (1,), (1,)), (0, (2,), (-1,)),
                                    (0, (2, 2), (1,)), (0, ("2",), (1,)), (1 << 62, (2,), (1 << 62,))])
def test_tensors_stay_in_their_storage(values):
    """A size, stride or offset that leaves the storage is an error, not a look at other memory."""
    from numtorch._serial_tensors import _rebuild_tensor_v2

    storage = nt.ones(2).untyped_storage()
    with pytest.raises(RuntimeError, match="out of bounds|made of integers|mismatch in length"):
        _rebuild_tensor_v2(storage, *values, False, OrderedDict())


def test_safe_globals():
    """What the user adds may be made and filled; the list can be read, cleared, and kept to a block."""
    net = Net()
    data = saved(net)
    need = serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    assert need == sorted(["serial_files.Net", "torch.nn.modules.linear.Linear", "torch.nn.functional.relu"])
    with serialization.safe_globals([Net, nn.Linear]):
        with pytest.raises(pickle.UnpicklingError, match=r"add_safe_globals\(\[torch.nn.functional.relu\]\)"):
            loaded(data)
        with serialization.safe_globals([nn.functional.relu]):
            assert loaded(data).fc.weight.tolist() == net.fc.weight.tolist()
            assert serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data)) == []
        assert set(serialization.get_safe_globals()) == {Net, nn.Linear}
    assert serialization.get_safe_globals() == []
    serialization.add_safe_globals([(os.getcwd, "somewhere.else"), Net])
    try:
        assert loaded(pickled(b"csomewhere\nelse\n)R.")) == os.getcwd()
        with pytest.raises(pickle.UnpicklingError, match="module posix is blocked"):
            loaded(pickled(b"cposix\ngetcwd\n)R."))
    finally:
        serialization.clear_safe_globals()
    with pytest.raises(TypeError, match="expected functions, classes, or pairs"):
        serialization.add_safe_globals(["Net"])


def test_errors_of_allowed_functions_are_theirs():
    """What a function that the user has allowed, or map_location, raises is not called a damaged file."""
    with serialization.safe_globals([(int, "my.number")]), pytest.raises(ValueError, match="invalid literal"):
        loaded(pickled(b"cmy\nnumber\n(Vx\ntR."))
    with pytest.raises(ZeroDivisionError):
        loaded(saved(nt.ones(1)), map_location=lambda storage, place: 1 / 0)


# ---- damaged files -----------------------------------------------------------------------------------------------------

def test_damaged_archives(tmp_path):
    """Truncated and altered archives are RuntimeErrors that name what is wrong."""
    data = saved([nt.arange(100.0), "text"])
    for n in (4, 100, 700, len(data) - 9, len(data) - 1):
        (tmp_path / "x.pt").write_bytes(data[:n])
        for how in ({}, {"mmap": True}, {"weights_only": False}):
            with pytest.raises(RuntimeError, match="failed reading zip archive: failed finding central directory"):
                load(tmp_path / "x.pt", **how)
    place = data.index(np.arange(100, dtype=np.float32).tobytes())
    with pytest.raises(RuntimeError, match="failed reading file data/0: its checksum is wrong"):
        loaded(data[:place] + b"\1" + data[place + 1:])
    content = records(data)
    for name, value, error, message in (
            ("data/0", None, RuntimeError, "failed locating file data/0: file not found"),
            ("data/0", b"short", RuntimeError, r"record size \(5 bytes\) does not match expected size \(400 bytes = 100 elem"),
            ("data.pkl", None, RuntimeError, "failed locating file data.pkl"),
            ("data.pkl", content["data.pkl"][:50], EOFError, "Ran out of input"),
            ("version", None, RuntimeError, "record 'version'"), ("version", b"99", RuntimeError, "version 99, but the"),
            ("byteorder", b"middle", ValueError, "Unknown endianness type: middle")):
        changed = {k: v for k, v in {**content, name: value}.items() if v is not None}
        with pytest.raises(error, match=message):
            loaded(archive(changed))
    assert loaded(archive(content))[0][99] == 99
    with pytest.raises(RuntimeError, match="not in a subdirectory: name"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as made:
            made.writestr("name", "x")
        loaded(file.getvalue())


def test_compressed_archives():
    """An archive that somebody has packed again, with compression, is read, mapped or not."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in records(saved(nt.arange(100.0))).items():
            made.writestr("x/" + name, data)
    assert loaded(file.getvalue())[99] == 99


def test_damaged_streams():
    """The old format's own errors."""
    data = saved(nt.arange(100.0), _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="unexpected EOF, expected 20 more bytes. The file might be corrupted"):
        loaded(data[:-20])
    with pytest.raises(RuntimeError, match="Invalid magic number; corrupt file"):
        loaded(pickle.dumps(5, 2))
    with pytest.raises(RuntimeError, match="Invalid protocol version: 5"):
        loaded(pickle.dumps(0x1950a86a20f9469cfc6c, 2) + pickle.dumps(5, 2))
    with pytest.raises(EOFError):
        loaded(b"")
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        loaded(data[:200])


def test_random_damage():
    """Any change of any byte ends in a value or in one of a few errors."""
    draw = np.random.RandomState(0)
    files = [saved([nt.arange(6.0), nn.Linear(1, 2).state_dict(), (1, "x")], **how) for how in (*FORMATS, {"pickle_protocol": 4})]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(600):
            data = bytearray(files[i % 3])
            for place in draw.randint(len(data), size=draw.randint(1, 5)):
                data[place] = draw.randint(256)
            try:
                loaded(bytes(data[:draw.randint(len(data))] if i % 5 == 0 else data))
            except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
                assert type(error) is not ValueError or "endianness" in str(error)


def test_bad_arguments(tmp_path):
    """Wrong files and arguments are torch's errors, by type and words."""
    with pytest.raises(FileNotFoundError, match="No such file or directory: 'nowhere.pt'"):
        load("nowhere.pt")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    with pytest.raises(AttributeError, match="expected 'f' to be string, path, or a file-like object with a 'write' attribute"):
        save(1, 5)
    with pytest.raises(AttributeError, match="no attribute 'seek'. You can only torch.load from a file that is seekable"):
        load(5)
    with pytest.raises(RuntimeError, match="Parent directory .*missing does not exist"):
        save(1, tmp_path / "missing" / "x.pt")
    with pytest.raises(FileNotFoundError, match="missing/x.pt"):
        save(1, tmp_path / "missing" / "x.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="is a directory"):
        save(1, tmp_path)
    with pytest.raises(RuntimeError, match="invalid file name"):
        save(1, "")
    closed = open(tmp_path / "x.pt", "w+b")
    save(1, closed)
    closed.close()
    with pytest.raises(ValueError, match="closed file"):
        load(closed)
    with pytest.raises(ValueError, match="closed file"):
        save(1, closed)
    with open(tmp_path / "x.pt") as text, pytest.raises(TypeError, match="opened as text"):
        load(text)
    with pytest.raises(RuntimeError, match="Can not safely load weights when explicit pickle_module is specified"):
        load(tmp_path / "x.pt", pickle_module=pickle, weights_only=True)
    with pytest.warns(UserWarning, match="pickle_load_args only works if"):
        assert load(tmp_path / "x.pt", encoding="latin1") == 1
    with open(tmp_path / "x.pt", "rb") as file, pytest.raises(ValueError, match="f must be a file path in order to use the mmap"):
        load(file, mmap=True)
    with pytest.raises(NotImplementedError, match="safetensors"):
        load("x.safetensors")
    with pytest.raises(ValueError, match="pickle protocol must be <= 5"):
        saved(1, pickle_protocol=9)
    with pytest.raises(TypeError, match="pickle|generator"):
        save((i for i in ()), tmp_path / "x.pt")
    assert load(tmp_path / "x.pt") == 1


# ---- atomic writing ----------------------------------------------------------------------------------------------------

def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    """An error in the middle of writing leaves the old file, and no other."""
    from numtorch import _serial_zip

    path = tmp_path / "x.pt"
    save(nt.ones(2), path)

    def interrupted(self):
        raise KeyboardInterrupt
    for how in FORMATS:
        with monkeypatch.context() as patch:
            patch.setattr(_serial_zip.Writer, "close", interrupted)
            patch.setattr(os, "fsync", lambda number: interrupted(None))
            with pytest.raises(KeyboardInterrupt):
                save(nt.zeros(2), path, **how)
        assert os.listdir(tmp_path) == ["x.pt"] and load(path).tolist() == [1, 1]


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a signal")
def test_a_killed_save_leaves_the_old_file(tmp_path):
    """A process that is killed in the middle of writing leaves the old file whole."""
    path = tmp_path / "x.pt"
    save(nt.ones(2), path)
    code = f"""if True:
        import os, signal, numtorch, numtorch.serialization as s
        s.Writer.close = lambda self: os.kill(os.getpid(), signal.SIGKILL)
        s.save(numtorch.zeros(100000), {str(path)!r})"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == -signal.SIGKILL
    assert load(path).tolist() == [1, 1]


@pytest.mark.skipif(os.name != "posix", reason="modes and links as POSIX has them")
def test_what_is_replaced(tmp_path):
    """The file's mode is kept, a link's target is written, a new file gets the usual mode, and a device is not replaced."""
    path = tmp_path / "x.pt"
    save(1, path)
    (tmp_path / "usual").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    path.chmod(0o640)
    (tmp_path / "link.pt").symlink_to("x.pt")
    save(2, tmp_path / "link.pt")
    assert (tmp_path / "link.pt").is_symlink() and load(path) == 2 and stat.S_IMODE(path.stat().st_mode) == 0o640
    save(3, os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    save(4, str(tmp_path / "häßlich.pt"))
    assert load(tmp_path / "häßlich.pt") == 4
