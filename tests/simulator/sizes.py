"""Blocks and tiles that are so small that arrays of a few numbers cross their borders, for all families of kernels.

Kernels read these constants when they are linked, and what launches them when it plans a launch: ``tiny`` puts other numbers in
their place for a while. Where threads work together a block has one warp or two, elsewhere as few as two threads.
"""
import contextlib
import functools
import importlib
import inspect
import sys

import pytest
from numtorch.kernels import _cuda

CONSTANTS = {       # module -> its constants
    "_cuda_addresses": {"THREADS": 32, "PIECE": 128},
    "_cuda_conv_direct": {"THREADS": 32},
    "_cuda_grids": {"THREADS": 4},
    "_cuda_loops": {"THREADS": 32},
    "_cuda_masks": {"THREADS": 32},
    "_cuda_rearrange": {"THREADS": 32, "EACH": 1},
    "_cuda_rows": {"WARP_THREADS": 32},
    "attention_cuda": {"DELTA_THREADS": 32},
    "batch_norm_cuda": {"THREADS": 64, "REPEAT": 1, "SHARED_BY": 2},
    "conv_cuda": {"LEAST_SLICES": 1},
    "copy": {"THREADS": 4},
    "embedding_cuda": {"THREADS": 32},
    "indexing_cuda": {"THREADS": 4},
    "loss_cuda": {"THREADS": 4},
    "norm_cuda": {"SHARED_BY": 2, "TILE": 64},
    "optim_cuda": {"THREADS": 32},
    "pointwise_cuda": {"THREADS": 2},
    "pool_cuda": {"THREADS": 4},
    "random_cuda": {"THREADS": 4},
    "reduce_cuda": {"RESIDENT": 64},
    "rnn_cuda": {"BLOCK": (4, 2)},
    "sampling_cuda": {"THREADS": 4},
    "scan_cuda": {"THREADS": 64, "RESIDENT": 64},
    "softmax_cuda": {"COLUMN_THREADS": 32},
    "sort_cuda": {"TILE": 512, "SMALL": 64, "THREADS": 64, "ITEMS": 1}}
TILE = (8, 16, 8, 2, 2, 2)      # of a product: rows, columns, inner indices of a slice, and what of it a thread has


@functools.cache
def _tiles():
    """(the product, the ``Tile`` of convolutions) of TILE."""
    from numtorch.kernels import _cuda_conv_tiles, _cuda_gemm
    known, both = dict(_cuda.KERNELS), ("float32", "float64")
    made = _cuda_gemm.product_kernel("product_tiny", TILE, both), _cuda_conv_tiles.made("tiny", TILE, 1.0, 0, both, span=32)
    for name in _cuda.KERNELS.keys() - known:
        del _cuda.KERNELS[name]         # they are no kernels of the package
    return made


def modules():
    """The modules of kernels that are imported so far."""
    return [m for name, m in sorted(sys.modules.items()) if name.startswith("numtorch.kernels.") and m is not None]


def _forget():
    """Plans that were made from other constants."""
    for module in modules():
        if "cuda" in module.__name__ or module.__name__.endswith(".copy"):
            for _, cached in inspect.getmembers(module, lambda value: isinstance(value, type(_tiles))):
                cached.cache_clear()


@contextlib.contextmanager
def tiny(**others):
    """The constants above, and ``others`` (module=dict), in the place of the real ones."""
    known = dict(_cuda.KERNELS)
    product, tile = _tiles()
    with pytest.MonkeyPatch.context() as patch:
        for name in (*CONSTANTS, *others):
            module = importlib.import_module(f"numtorch.kernels.{name}")
            for constant, value in {**CONSTANTS.get(name, {}), **others.get(name, {})}.items():
                patch.setattr(module, constant, value)
        _products(patch, product)
        for kind in ("TILES", "DOUBLE_TILES"):
            patch.setattr(importlib.import_module("numtorch.kernels._cuda_conv_tiles"), kind, [tile])
        for module in modules():
            if isinstance(getattr(module, "_made", None), dict):
                patch.setattr(module, "_made", {})
        _forget()
        try:
            yield
        finally:
            for name in _cuda.KERNELS.keys() - known:
                if _cuda.KERNELS[name].source is not None:      # generated; others are of a module that is imported since
                    del _cuda.KERNELS[name]
            _cuda.KERNELS.update(known)
    _forget()


def _products(patch, product):
    """Only tiles of TILE for products of float32 and float64."""
    from numtorch.kernels import _cuda_gemm, matmul_cuda
    patch.setitem(_cuda_gemm.SHAPES, product.__name__, TILE)
    patch.setitem(_cuda_gemm.PRODUCTS, product.__name__, product)
    patch.setattr(matmul_cuda, "_ONE_RESULT", {*matmul_cuda._ONE_RESULT, product.name})
    for kind in ("float32", "float64"):
        patch.setitem(matmul_cuda._TILES, kind, [(product.__name__, *TILE[:3], 20)])
