"""Shared by all tests: NumPy's warnings about nan and inf, which several tests feed on purpose, are not news here."""
import numpy as np
import pytest

import numtorch


@pytest.fixture(autouse=True)
def same_start():
    """Every test starts from the same random state and the default dtype, whatever ran before it."""
    numtorch.manual_seed(0)
    np.random.seed(0)
    yield
    numtorch.set_default_dtype(numtorch.float32)


def pytest_collection_modifyitems(items):
    """Moves the tests marked ``last`` to the end."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
