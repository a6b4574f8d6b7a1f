"""Backends that programs ask about or set up: here as names, since numtorch's only one on the CPU is its own kernels."""
from . import cuda, cudnn, mkl, mps

__all__ = ["cuda", "cudnn", "mkl", "mps"]
