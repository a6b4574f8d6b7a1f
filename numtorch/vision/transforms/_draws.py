"""What random transforms draw from numtorch's generator, in torchvision's order."""
import math

import numpy as np

from ... import empty, float32, float64, rand, randint, tensor
from ...nn import Module


def uniform(low, high):
    """A float drawn between two numbers, as float32."""
    return empty(1).uniform_(low, high).item()


def integer(low, high):
    """An int drawn from low to high - 1."""
    return randint(low, high, size=(1,)).item()


def chance():
    """A float32 drawn from 0 to 1; NumPy compares it with a float in float32, as torch compares tensors."""
    return rand(1).numpy()[0]


def shapes_of_parts(area, scale, ratio):
    """Ten times the rounded sides of a random share of ``area``: sqrt(share / r) and sqrt(share * r), log r being uniform."""
    low, high = (_single(math.log(_single(r))) for r in ratio)
    for _ in range(10):
        share = area * uniform(scale[0], scale[1])
        r = _single(math.exp(uniform(low, high)))
        yield int(round(math.sqrt(share / r))), int(round(math.sqrt(share * r)))


def _single(x):
    """A float rounded to float32, in which torch computes."""
    return float(np.float32(x))


def dirichlet(concentrations, rows):
    """(rows, n) positive shares that sum to 1 in each row, from the Dirichlet distribution with n concentrations."""
    drawn = tensor([[_gamma(c) for c in concentrations] for _ in range(rows)], dtype=float64)
    return (drawn / drawn.sum(-1, keepdim=True)).to(float32)


def _gamma(shape):
    """A draw from the gamma distribution; G. Marsaglia and W. W. Tsang, 2000, https://doi.org/10.1145/358407.358414"""
    scale = 1.0
    if shape < 1:
        scale = (1 - rand(1, dtype=float64).item()) ** (1 / shape)
        shape += 1
    d = shape - 1 / 3
    while True:
        x = empty(1, dtype=float64).normal_().item()
        y = 1 + x / math.sqrt(9 * d)
        if y <= 0:
            continue
        v, u = y ** 3, 1 - rand(1, dtype=float64).item()
        # the first test spares most draws the logarithms of the second
        if u < 1 - 0.0331 * x ** 4 or math.log(u) < 0.5 * x * x + d * (1 - v + math.log(v)):
            return scale * d * v


class WithChance(Module):
    """Base of what happens only some of the time."""

    def __init__(self, p=0.5):
        super().__init__()
        self.p = p

    def __repr__(self):
        return f"{type(self).__name__}(p={self.p})"
