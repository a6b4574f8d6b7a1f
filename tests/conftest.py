"""Shared by all tests: one start for each, and the rule that is checked after the last, on all that the suite compiled."""
import collections
import sys

import numpy as np
import pytest

import numtorch

_compiled = collections.defaultdict(set)        # kernel's twin -> its signatures, of all of the suite's processes


@pytest.fixture(autouse=True)
def same_start():
    """Every test starts from the same random state and the default dtype, whatever ran before it."""
    numtorch.manual_seed(0)
    np.random.seed(0)
    yield
    numtorch.set_default_dtype(numtorch.float32)


def _signatures():
    """What this process has compiled. A read-only array is of another type to Numba, which no kernel can rule out: as writeable."""
    jit = sys.modules.get("numtorch.kernels._jit")
    for name, kernel in jit.KERNELS.items() if jit else ():
        for twin in filter(None, (kernel.serial, kernel._parallel)):
            found = {str(tuple(t.copy(readonly=False) if hasattr(t, "layout") else t for t in s)) for s in twin.signatures}
            yield f"{name} ({twin.py_func.__name__})", sorted(found)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """A process of pytest-xdist has ended: takes over what it compiled."""
    for name, found in getattr(node, "workeroutput", {}).get("signatures", ()):
        _compiled[name].update(found)


def pytest_sessionfinish(session):
    """The suite fails where a kernel was compiled for more than 8 signatures: layouts and views must not add any."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["signatures"] = list(_signatures())
        return
    for name, found in _signatures():
        _compiled[name].update(found)
    if _too_many():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _too_many():
    return {name: found for name, found in _compiled.items() if len(found) > 8}


def pytest_terminal_summary(terminalreporter):
    """Names the kernels that made the suite fail."""
    for name, found in _too_many().items():
        terminalreporter.write_line(f"FAILED rule: at most 8 signatures a kernel; {name} has {len(found)}: {' '.join(found)}")
