"""NVIDIA's own libraries, where they are installed (pip install numtorch[cuda-math]): loaded, which needs no GPU, and their headers."""
import ctypes
import re
import sys
from pathlib import Path

import pytest
from numtorch.kernels import _vendor, fft_cuda, solver_cuda

sys.path.append(str(Path(__file__).parent.parent))
from simulator import vendor  # noqa: E402

HEADERS = {fft_cuda.CUFFT: "cufft.h", solver_cuda.CUSOLVER: "cusolverDn.h"}
LIBRARIES = pytest.mark.parametrize("library", HEADERS, ids=lambda library: library.name)


def loaded(library):
    """The real library, and its file; the test is skipped without it."""
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    try:
        path = load_nvidia_dynamic_lib(library.file).abs_path
    except DynamicLibNotFoundError:
        pytest.skip(f"{library.name} is not installed")
    return ctypes.CDLL(path), Path(path)


@LIBRARIES
def test_symbols(library):
    """Every function that is declared is there; it is found as programs find it."""
    names, _ = loaded(library)
    missing = [name for name in library.functions if not hasattr(names, name)]
    assert not missing
    assert _vendor._installed(library.file)._name == names._name


@LIBRARIES
def test_prototypes(library):
    """The stand-in's prototypes, of which the tests without a GPU are made, are those of NVIDIA's header."""
    _, path = loaded(library)
    header = path.parent.parent / "include" / HEADERS[library]
    if not header.exists():
        pytest.skip(f"{header} is not installed")
    text = re.sub(r"/\*.*?\*/|//[^\n]*|^\s*#[^\n]*", "", header.read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\b(CUFFTAPI|CUSOLVERAPI)\b", "", text)
    ours = vendor.argument_types(vendor.PROTOTYPES)
    for name in library.functions:
        found = re.search(rf"\w+\s+{name}\s*\([^)]*\)\s*;", text)
        assert found, name
        assert vendor.argument_types(found[0])[name] == ours[name], name


@LIBRARIES
def test_statuses(library):
    """The numbers of the statuses are the header's."""
    _, path = loaded(library)
    header = path.parent.parent / "include" / {"cufft": "cufft.h", "cusolver": "cusolver_common.h"}[library.file]
    if not header.exists():
        pytest.skip(f"{header} is not installed")
    known = {name: int(number, 0) for name, number in re.findall(r"\b(CU\w+)\s*=\s*(0x[0-9A-Fa-f]+|\d+)", header.read_text())}
    assert {name: known.get(name) for name in library.statuses.values()} == {n: k for k, n in library.statuses.items()}
