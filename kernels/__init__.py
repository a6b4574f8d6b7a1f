"""Kernels: arrays in, arrays out, outputs last. One family a file; nothing here knows of tensors.

A family is imported at its first use (``kernels.softmax`` imports ``softmax.py``): Numba costs 0.4 s to import, and a
program that only looks at shapes should not pay for it.
"""
from importlib import import_module


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        return import_module("." + name, __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"there is no kernel family {name!r}") from None
