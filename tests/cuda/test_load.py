"""Where compiled kernels come from: sets, the cache on disk, the compiler; several threads and processes at once."""
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sample_kernels
from numtorch.kernels import _cache, _cuda_compile, _cuda_cubins, _settings

from numtorch import _cuda_build

HERE = Path(__file__).parent
KERNEL, T = sample_kernels.copy_4, "float32"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """An empty cache, with no set in it."""
    monkeypatch.setattr(_settings, "CACHE_ROOT", str(tmp_path / "cache"))
    monkeypatch.setattr(_settings, "CUBINS", None, raising=False)

    def forget():
        for remembered in (_cache.root, _cache.folder, _cuda_cubins._index):
            remembered.cache_clear()
    forget()
    yield tmp_path
    forget()


def load(cc=(9, 0)):
    return _cuda_compile.load(KERNEL, T, None, cc)


def no_compiler(*args):
    raise AssertionError("compiled again")


def test_a_kernel_is_compiled_once(monkeypatch):
    """The second time its cubin comes from the cache; each architecture has its own."""
    cubin, entry = load()
    assert cubin[:4] == b"\x7fELF" and entry == "copy_4_float32"
    other, _ = load((7, 5))
    assert other != cubin
    monkeypatch.setattr(_cuda_compile, "compile", no_compiler)
    assert load() == (cubin, entry) and load((7, 5))[0] == other


def test_other_sources_or_tools_are_another_file(monkeypatch):
    """A change of the compiler's sources, the kernel's, or the packages' versions never meets old machine code."""
    files = {_cuda_cubins.path(KERNEL, T, None, (9, 0))}
    monkeypatch.setattr(_cuda_cubins, "_compiler", lambda: "edited")
    files.add(_cuda_cubins.path(KERNEL, T, None, (9, 0)))
    monkeypatch.setattr(_cuda_cubins, "_tools", lambda: "newer")
    files.add(_cuda_cubins.path(KERNEL, T, None, (9, 0)))
    monkeypatch.setattr(KERNEL, "source", "other text")
    files.add(_cuda_cubins.path(KERNEL, T, None, (9, 0)))
    assert len(files) == 4 and all(f.is_relative_to(_cache.root()) for f in files)


def test_threads_at_once(monkeypatch):
    """Eight threads that need four kernels compile each of them once."""
    done, compiled, compile = [], [], _cuda_compile.compile

    def counted(*args):
        compiled.append(args)
        return compile(*args)
    monkeypatch.setattr(_cuda_compile, "compile", counted)
    cases = [(sample_kernels.copy_4, "float32"), (sample_kernels.copy, "bfloat16"), (sample_kernels.functions, "float32"),
             (sample_kernels.claim, "int8")] * 2
    threads = [threading.Thread(target=lambda k=k, t=t: done.append(_cuda_compile.load(k, t, None, (8, 0)))) for k, t in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8 and len(compiled) == 4 and len({entry for _, entry in done}) == 4


def run(code, cache, **environment):
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE,
                            env={**os.environ, "NUMTORCH_CACHE": str(cache), **environment})


LOAD = ("import sys, sample_kernels as s; from numtorch.kernels import _cuda_compile as c; "
        "cubin, entry = c.load(s.copy_4, 'float32', None, (9, 0)); print(entry, len(cubin), 'numba_cuda' in sys.modules)")


def test_processes_at_once(tmp_path):
    """Processes that race write the same file; one that comes later finds it and loads no compiler."""
    racing = [run(LOAD, tmp_path / "shared") for _ in range(3)]
    said = [process.communicate() for process in racing]
    assert not any(process.returncode for process in racing), said
    assert len({out.rpartition(" ")[0] for out, _ in said}) == 1
    out, err = run(LOAD, tmp_path / "shared").communicate()
    assert out.split()[-1] == "False", err
    assert not list((tmp_path / "shared").rglob("*.cubin.*"))      # no drafts are left


def test_a_long_compile_is_announced(tmp_path):
    """After a second one line on stderr says what is going on, once; NUMTORCH_QUIET silences it."""
    slow = LOAD.replace("cubin, entry", "import time; f = c.compile; c.compile = lambda *a: (time.sleep(1.2), f(*a))[1]; cubin, entry")
    _, err = run(slow, tmp_path / "a", NUMTORCH_QUIET="0").communicate()
    assert err.count("compiling kernels for their first use (copy_4 ...)") == 1
    _, err = run(slow, tmp_path / "b", NUMTORCH_QUIET="1").communicate()
    assert "compiling kernels" not in err


def test_without_numba_cuda(tmp_path):
    """The error names what to install; a kernel that the cache has needs nothing."""
    missing = "import sys; sys.modules['numba.cuda.extending'] = None; "
    out, err = run(missing + LOAD, tmp_path / "empty").communicate()
    assert err.splitlines()[-1].startswith("RuntimeError: compiling CUDA kernels needs numba-cuda and nvJitLink: pip install numtorch[cuda]")
    run(LOAD, tmp_path / "full").communicate()
    out, err = run(missing + LOAD, tmp_path / "full").communicate()
    assert out.startswith("copy_4_float32"), err


# ---- sets ----------------------------------------------------------------------------------------------------------------

def write_set(cc=(8, 0), folder=None):
    cubin, entry, _ = _cuda_compile.compile(KERNEL, T, None, cc)
    key = _cuda_cubins.family(KERNEL), _cuda_cubins.identity(KERNEL, T, None)
    return cubin, _cuda_cubins.write_set(folder or _cuda_cubins.folder(), cc, {key: (cubin, entry)})


def test_a_set_serves_its_generation(monkeypatch):
    """A set for 8.0 also serves 8.6 and 8.9, but neither 9.0 nor 7.5."""
    cubin, file = write_set()
    assert file.name == "sm_80.cubins"
    monkeypatch.setattr(_cuda_compile, "compile", no_compiler)
    for cc in ((8, 0), (8, 6), (8, 9)):
        assert load(cc) == (cubin, "copy_4_float32")
    for cc in ((7, 5), (9, 0)):
        with pytest.raises(AssertionError, match="compiled again"):
            load(cc)


def test_a_set_of_other_sources_is_not_used(monkeypatch):
    """After an edit the kernel is compiled, whatever the set holds."""
    write_set()
    monkeypatch.setattr(KERNEL, "source", "edited")
    monkeypatch.setattr(_cuda_compile, "compile", no_compiler)
    with pytest.raises(AssertionError, match="compiled again"):
        load((8, 0))


def test_the_folder_of_sets_can_be_chosen(tmp_path, monkeypatch):
    """``NUMTORCH_CUBINS`` is where programs look; a file of another kind there is an error, not a miss."""
    cubin, file = write_set(folder=tmp_path / "sets")
    monkeypatch.setattr(_settings, "CUBINS", str(tmp_path / "sets"), raising=False)
    assert _cuda_cubins.prebuilt(KERNEL, T, None, (8, 0)) == (cubin, "copy_4_float32")
    file.write_bytes(b"something else\n")
    _cuda_cubins._index.cache_clear()
    with pytest.raises(RuntimeError, match="is no set of CUDA kernels"):
        load((8, 0))


def test_the_command_line_builds_and_reports(tmp_path):
    """``cuda build`` writes a set for each architecture that programs then use; ``cuda report`` prints the table alone."""
    def command(*args):
        return subprocess.run([sys.executable, "-m", "numtorch", "cuda", *args], capture_output=True, text=True, check=True,
                              env={**os.environ, "NUMTORCH_CACHE": str(tmp_path / "cli")}).stdout
    family = "copy"
    specialisations = _cuda_build.declared([family])
    table = command("report", "--arch", "75", family)
    assert len(table.splitlines()) == 1 + len(specialisations) and "registers" in table
    assert not list((tmp_path / "cli").rglob("*.cubins"))
    built = command("build", "--arch", "80,sm_90", "--output", str(tmp_path / "sets"), "--jobs", "2", family)
    assert sorted(p.name for p in (tmp_path / "sets").iterdir()) == ["sm_80.cubins", "sm_90.cubins"]
    assert f"{len(specialisations)} kernels" in built
    magic, index = (tmp_path / "sets" / "sm_80.cubins").read_bytes().split(b"\n", 2)[:2]
    assert magic + b"\n" == _cuda_cubins.MAGIC and len(json.loads(index)) == len(specialisations)


def test_unknown_names_are_refused():
    """A family that does not exist, and an architecture that is none."""
    with pytest.raises(ValueError, match="no family 'poetry' of CUDA kernels"):
        _cuda_build.declared(["poetry"])
    with pytest.raises(ValueError):
        _cuda_build.architectures("ninety")
    assert _cuda_build.architectures("80, sm_90,120") == [(8, 0), (9, 0), (12, 0)]
