"""Compiled CUDA kernels on disk, with a compiler that only pretends: the cache, sets for an architecture, the command line."""
import pytest
from numtorch.kernels import _cache, _cuda_compile, _cuda_cubins, _settings
from numtorch.kernels._cuda import REAL, DeviceKernel

from numtorch import _cuda_build
from numtorch.__main__ import main


def nothing(x, n):
    """Nothing."""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel of two specialisations; the cache is empty."""
    monkeypatch.setattr(_settings, "CACHE_ROOT", str(tmp_path / "cache"))
    monkeypatch.setattr(_settings, "CUBINS", None, raising=False)
    remembered = (_cache.root, _cache.folder, _cuda_cubins._index)
    for function in remembered:
        function.cache_clear()
    from numtorch.kernels import _cuda

    yield DeviceKernel(nothing, "T* q", REAL, (), 64)
    del _cuda.KERNELS[f"{__name__}.nothing"]
    for function in remembered:
        function.cache_clear()


@pytest.fixture
def compiled(monkeypatch):
    """What the pretended compiler was asked for."""
    asked = []

    def compile(kernel, t, u, cc, output="cubin"):
        asked.append((t, cc))
        return f"code of {t} for {cc}".encode(), f"{kernel.__name__}_{t}", _cuda_compile.Report(32, 0, 0, 0, 20)
    monkeypatch.setattr(_cuda_compile, "compile", compile)
    return asked


def test_compiled_once(kernel, compiled):
    """A specialisation for an architecture is compiled when it is first loaded, and never again."""
    for _ in range(2):
        for t in REAL:
            for cc in ((8, 0), (9, 0)):
                assert _cuda_compile.load(kernel, t, None, cc) == (f"code of {t} for {cc}".encode(), f"nothing_{t}")
    assert len(compiled) == 4
    assert all(file.suffix == ".cubin" for file in _cache.root().rglob("*") if file.is_file())


def test_kernels_that_differ_have_other_names(kernel):
    """Types, arguments, threads and text of a kernel are part of its file's name, beside the sources of its family."""
    names = {_cuda_cubins.identity(kernel, t, None) for t in REAL}
    for attribute, value in (("words", ("T*", "q", "q")), ("threads", 128), ("source", "text")):
        before = getattr(kernel, attribute)
        setattr(kernel, attribute, value)
        names.add(_cuda_cubins.identity(kernel, "float32", None))
        setattr(kernel, attribute, before)
    assert len(names) == 5 and all(name.startswith("nothing-float") for name in names)


def test_sets(kernel, compiled, tmp_path, monkeypatch):
    """A set serves GPUs of its generation from its own capability on; where there is none, the cache does."""
    names = {t: (_cuda_cubins.family(kernel), _cuda_cubins.identity(kernel, t, None)) for t in REAL}
    _cuda_cubins.write_set(_cuda_cubins.folder(), (8, 0), {names["float32"]: (b"ready " * 100, "entry")})
    for cc in ((8, 0), (8, 6)):
        assert _cuda_compile.load(kernel, "float32", None, cc) == (b"ready " * 100, "entry")
    assert not compiled
    for t, cc in (("float64", (8, 0)), ("float32", (7, 5)), ("float32", (9, 0))):
        _cuda_compile.load(kernel, t, None, cc)
    assert compiled == [("float64", (8, 0)), ("float32", (7, 5)), ("float32", (9, 0))]
    monkeypatch.setattr(_settings, "CUBINS", str(tmp_path), raising=False)
    assert _cuda_cubins.folder() == tmp_path
    (tmp_path / "sm_80.cubins").write_bytes(b"text\n")
    with pytest.raises(RuntimeError, match="is no set of CUDA kernels of this version"):
        _cuda_compile.load(kernel, "float32", None, (8, 0))


def test_names_on_the_command_line():
    """Families with and without what their files' names begin with; capabilities with and without sm_."""
    families = _cuda_build.families()
    assert "copy" in families and "_cuda" not in families
    assert _cuda_build.declared(["indexing"]) == _cuda_build.declared(["indexing_cuda"]) != []
    assert _cuda_build.architectures("80, sm_90,120") == [(8, 0), (9, 0), (12, 0)]
    with pytest.raises(ValueError):
        _cuda_build.architectures("ninety")
    with pytest.raises(ValueError, match="no family 'poetry' of CUDA kernels"):
        _cuda_build.declared(["poetry"])


def test_without_the_extra(monkeypatch, capsys):
    """The command says what is missing."""
    def missing():
        raise RuntimeError("compiling CUDA kernels needs numba-cuda and nvJitLink: pip install numtorch[cuda]")
    monkeypatch.setattr(_cuda_compile, "compilers", missing)
    assert main(["cuda", "report", "--arch", "80"]) == 2
    assert "pip install numtorch[cuda]" in capsys.readouterr().err
