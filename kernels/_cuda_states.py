"""What CUDA reductions and scans keep that is more than one number, or no sum, product or extreme: formulas of one thread.

start(x): the state before the first element, for an element x; combine(state, x): with one element more, in the order of
elements for scans; merge(state, state): of two parts; finish(state): the result. States are written out as arguments, since they
live in registers. Those of one number that the CPU has as well are in reduce.py.
"""
import math

import numpy as np

from ._cuda import FULL, A, cuda
from ._cuda_blocks import larger

# ---- one number ------------------------------------------------------------------------------------------------------

def is_set(x):
    """Whether a number is not 0."""
    return x != type(x)(0)


def any_start(x):
    return np.int32(0)


def any_combine(found, x):
    return np.int32(1) if is_set(x) else found


def any_merge(found, other):
    return np.int32(found | other)


def all_start(x):
    return np.int32(1)


def all_combine(found, x):
    return found if is_set(x) else np.int32(0)


def all_merge(found, other):
    return np.int32(found & other)


def truth(found):
    return found != 0


def count_start(x):
    return np.int64(0)


def count_combine(count, x):
    return count + np.int64(1) if is_set(x) else count


def count_merge(count, other):
    return count + other


def mean(total, n):
    return total / n


def mean_of_complex(total, n):
    return complex(total.real / n, total.imag / n)


# ---- a number and its place ------------------------------------------------------------------------------------------

def argmax_start(x):
    return x, np.int64(0)


argmin_start = argmax_start


def argmax_combine(best, place, x, i):
    """The larger of ``best`` and ``x``, which comes later; the first of equals, nan as the largest."""
    later = x > best or (x != x and best == best)
    return x if later else best, i if later else place


def argmin_combine(best, place, x, i):
    """The smaller of ``best`` and ``x``, which comes later; the first of equals, nan as the smallest."""
    later = x < best or (x != x and best == best)
    return x if later else best, i if later else place


def _is_first(x, i, y, j):
    """Whether the equals x and y (nan equals nan) are to be told apart in favour of y."""
    return j < i and (x == y or (x != x and y != y))


def argmax_merge(best, place, x, i):
    other = x > best or (x != x and best == best) or _is_first(best, place, x, i)
    return x if other else best, i if other else place


def argmin_merge(best, place, x, i):
    other = x < best or (x != x and best == best) or _is_first(best, place, x, i)
    return x if other else best, i if other else place


def cummax_start(x):
    """No place: what is combined with this stays as it is."""
    return x, np.int64(-1)


cummin_start = cummax_start


def cummax_combine(best, place, x, i):
    """The latest of equals; from the first nan on always the latest nan."""
    later = i >= 0 and (place < 0 or x != x or (best == best and x >= best))
    return x if later else best, i if later else place


def cummin_combine(best, place, x, i):
    """The latest of equals; from the first nan on always the latest nan."""
    later = i >= 0 and (place < 0 or x != x or (best == best and x <= best))
    return x if later else best, i if later else place


# ---- mean and squared deviations: how many, their mean, the sum of squared deviations from it ------------------------

def moments_start(x):
    return A(0), A(0), A(0)


def moments_of_two(x, y):
    """Mean and squared deviations of two numbers."""
    d = y - x
    return x + A(0.5) * d, A(0.5) * d * d


def moments_of_halves(mean_, m2, other, other_m2, half):
    """Mean and squared deviations of two parts with ``half`` numbers each."""
    d = other - mean_
    return mean_ + A(0.5) * d, m2 + other_m2 + A(0.5) * half * d * d


def moments_combine(n, mean_, m2, x):
    return moments_merge(n, mean_, m2, A(1), x, A(0))


def moments_merge(n, mean_, m2, count, other, other_m2):
    """Of any two parts (Chan et al., 1983)."""
    both = n + count
    share = count / both if both > A(0) else A(0)
    d = other - mean_
    return both, mean_ + d * share, m2 + other_m2 + d * d * n * share


def variance(n, mean_, m2, divisor):
    return m2 / divisor, mean_


def deviation(n, mean_, m2, divisor):
    return math.sqrt(m2 / divisor), mean_


# ---- log of a sum of exponentials: the largest, and the sum of exp(x - largest) --------------------------------------

def logsumexp_start(x):
    return A(-math.inf), A(0)


def finite_or_zero(x):
    """``x``; 0 where it is infinite, so that it can be subtracted."""
    return x if abs(x) < A(math.inf) else A(0)


def logsumexp_combine(top, total, x):
    return logsumexp_merge(top, total, x, A(1))


def logsumexp_merge(top, total, other, other_total):
    both = larger(top, other)
    shift = finite_or_zero(both)
    return both, total * math.exp(top - shift) + other_total * math.exp(other - shift)


def logsumexp_finish(top, total):
    return finite_or_zero(top) + math.log(total)


# ---- linear recurrences: y -> factor y + term ------------------------------------------------------------------------

def recurrence_start(x):
    return A(1), A(0)


def recurrence_combine(factor, term, next_factor, next_term):
    """First the one, then the next."""
    return next_factor * factor, next_factor * term + next_term


# ---- complex numbers between the lanes of a warp, which exchange real ones -------------------------------------------

def complex_xor(v, k):
    return complex(cuda.shfl_xor_sync(FULL, v.real, k), cuda.shfl_xor_sync(FULL, v.imag, k))


def complex_up(v, k):
    return complex(cuda.shfl_up_sync(FULL, v.real, k), cuda.shfl_up_sync(FULL, v.imag, k))


def complex_from(v, lane):
    return complex(cuda.shfl_sync(FULL, v.real, lane), cuda.shfl_sync(FULL, v.imag, lane))
