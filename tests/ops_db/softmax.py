"""Rows of softmax and its relatives."""
import math

import numpy as np

from . import D, I, Row, S, T, V

TOL = {"float32": (1e-5, 2e-6)}


def softmax(x, dim, dtype=None):
    with np.errstate(all="ignore"):
        e = np.exp(x - np.max(x, axis=dim, keepdims=True))
        return e / e.sum(axis=dim, keepdims=True)


def log_softmax(x, dim, dtype=None):
    with np.errstate(all="ignore"):
        y = x - np.max(x, axis=dim, keepdims=True)
        return y - np.log(np.exp(y).sum(axis=dim, keepdims=True))


SAMPLES = [S(T(3, 4), dim=1), S(T(3, 4), dim=0), S(T(2, 3, 4), dim=1), S(T(2, 40), dim=-1), S(T(), dim=0), S(T(0, 3), dim=1),
           S(V([[0.0, math.inf, 1.0], [math.nan, 0.0, 1.0], [-math.inf, -math.inf, -math.inf], [-math.inf, 0.0, 1.0]]), dim=1),
           S(V([[1000.0, 1001.0], [-1000.0, 0.0]]), dim=1)]
ERRORS = [(S(T(3), dim=2), IndexError, "Dimension out of range"), (S(I(3), dim=0), NotImplementedError, "not implemented for 'Long'")]


def rows(name, reference):
    return [Row(key, SAMPLES + ([S(T(3), dim=0, dtype=D("float64"))]), reference, tol=TOL, also=("float16", "bfloat16"),
                errors=ERRORS if key == name else ()) for key in (name, f"nn.functional.{name}", f"special.{name}")]


ROWS = rows("softmax", softmax) + rows("log_softmax", log_softmax) + [
    Row("nn.functional.softmin", SAMPLES[:4], lambda x, dim: softmax(-x, dim), tol=TOL)]
