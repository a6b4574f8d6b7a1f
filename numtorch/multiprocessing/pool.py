"""The pool of processes of ``multiprocessing`` under torch's module name; tensors in its tasks and results are shared."""
from multiprocessing.pool import Pool

__all__ = ["Pool"]
