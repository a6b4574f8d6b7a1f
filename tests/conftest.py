"""Shared by all tests: one start for each, and two rules that are checked after the last, on all that was compiled and run."""
import collections
import sys

import numpy as np
import pytest

import numtorch

_compiled = collections.defaultdict(set)        # kernel's twin -> its signatures, of all of the suite's processes
_tried = collections.defaultdict(set)           # CUDA kernel -> what the simulator did with it, likewise


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


def _simulated():
    """What this process tried CUDA kernels with."""
    tried = sys.modules.get("simulator.tried")
    return [(name, sorted(found)) for name, found in tried.found.items()] if tried else []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """A process of pytest-xdist has ended: takes over what it compiled and tried."""
    for known, word in ((_compiled, "signatures"), (_tried, "tried")):
        for name, found in getattr(node, "workeroutput", {}).get(word, ()):
            known[name].update(found)


def pytest_sessionfinish(session):
    """The suite fails where a kernel was compiled for more than 8 signatures: layouts and views must not add any.

    And, where all of it was run, where a CUDA kernel was not tried as tests/simulator/tried.py asks.
    """
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput.update(signatures=list(_signatures()), tried=_simulated())
        return
    for known, new in ((_compiled, _signatures()), (_tried, _simulated())):
        for name, found in new:
            known[name].update(found)
    if _too_many() or _untried(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _too_many():
    return {name: found for name, found in _compiled.items() if len(found) > 8}


def _untried(config):
    choices = ("keyword", "markexpr", "deselect", "ignore", "lf", "collectonly", "maxfail")
    if config.args_source is not config.ArgsSource.TESTPATHS or any(config.getoption(name, None) for name in choices):
        return {}
    from simulator import tried
    return tried.missing(_tried)


def pytest_terminal_summary(terminalreporter, config):
    """Names the kernels that made the suite fail."""
    for name, found in _too_many().items():
        terminalreporter.write_line(f"FAILED rule: at most 8 signatures a kernel; {name} has {len(found)}: {' '.join(found)}")
    for name, wanted in _untried(config).items():
        terminalreporter.write_line(f"FAILED rule: every CUDA kernel is tried at borders of blocks; {name} was never {wanted}")
