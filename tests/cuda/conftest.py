"""These tests compile CUDA kernels: they need the ``cuda`` extra (make test-cuda), but neither a GPU nor a driver."""
from importlib.util import find_spec

if find_spec("numba_cuda") is None:
    collect_ignore_glob = ["test_*.py"]
