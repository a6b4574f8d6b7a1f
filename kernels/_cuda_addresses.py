"""Tables of addresses, for kernels that work on many arrays in one launch.

A table has a row of int64 addresses for each array, or set of arrays of one size; a list of pieces (row, first element, end),
of at most PIECE elements, says what a block works on. The last tables stay on the device, for steps whose arrays lie where those
of an earlier step lay.
"""
import numpy as np

from . import _driver
from ._cuda_graphs import capture
from ._device import from_host, on_device

PIECE, THREADS, KEPT = 4096, 256, 16
_tables = {}            # (device, stream, addresses, sizes) -> (table, pieces)


def table_of(rows):
    """(table, pieces) on the device of ``rows``: lists of DeviceArrays, of which the first tells the size."""
    device, addresses = rows[0][0].device, tuple([a.ptr for row in rows for a in row])
    sizes, graph = tuple([row[0].size for row in rows]), capture(device)
    if graph is not None:
        return [graph.table(values) for values in _made(addresses, sizes)]
    with on_device(device):
        key = device, _driver.current().stream(), addresses, sizes
    found = _tables.get(key)
    if found is None:
        if len(_tables) >= KEPT:
            _tables.clear()
        found = _tables[key] = tuple([from_host(values, device) for values in _made(addresses, sizes)])
    return found


def _made(addresses, sizes):
    pieces = [(i, start, min(start + PIECE, n)) for i, n in enumerate(sizes) for start in range(0, n, PIECE)]
    return np.array(addresses, np.int64), np.array(pieces, np.int64).reshape(-1, 3)


_driver.on_change.append(_tables.clear)
