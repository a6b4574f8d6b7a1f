"""Checks of gradients against finite differences: ``gradcheck`` and ``gradgradcheck``.

Each output is differenced against each element of each input: (f(x + eps) - f(x - eps)) / (2 eps), in the
inputs' own memory, so that functions of non-contiguous inputs are checked as they are. ``fast_mode``
compares one random projection instead.
"""
import warnings

import numpy as np

from ..tensor import Tensor, wrap
from .engine import grad
from .grad_mode import enable_grad

_COMPLEX, _DOUBLES = "c", ("float64", "complex128")


class GradcheckError(RuntimeError):
    """Raised by ``gradcheck`` and ``gradgradcheck`` when derivatives do not agree."""


def _as_tuple(value):
    if isinstance(value, Tensor):
        return (value,)
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _differentiable(values):
    return tuple(x for x in _as_tuple(values) if isinstance(x, Tensor) and x._rg)


def _check_inputs(inputs):
    if not _differentiable(inputs):
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of them "
                         "have requires_grad=True.")
    for i, x in enumerate(inputs):
        if isinstance(x, Tensor) and x._rg:
            if x._a.dtype.name not in _DOUBLES:
                warnings.warn(f"Input #{i} requires gradient and is not a double precision floating point "
                              "or complex. This check will likely fail if all the inputs are not of double "
                              "precision floating point or complex. ", stacklevel=3)
            if x._a.size and any(s == 0 and n > 1 for s, n in zip(x._a.strides, x._a.shape)):
                raise RuntimeError(f"The {i}th input has a dimension with stride 0. gradcheck only supports "
                                   "inputs that are non-overlapping to be able to compute the numerical "
                                   "gradients correctly. You should call .contiguous on the input before "
                                   "passing it to gradcheck.")


# ---- derivatives by differences ------------------------------------------------------------------

def _values(func, inputs):
    """The differentiable outputs as flat copies."""
    return [_on_host(o).reshape(-1) for o in _differentiable(func(*inputs))]


def _on_host(t):
    """A copy of a tensor's elements as an ndarray."""
    return t._a.copy() if isinstance(t._a, np.ndarray) else t._a.on_host()


def _difference(func, inputs, x, change, eps):
    """(f(x + change) - f(x - change)) / (2 eps) for each output; x is as before afterwards."""
    kept = _on_host(x)
    try:
        x._a[...] = kept + change
        plus = _values(func, inputs)
        x._a[...] = kept - change
        minus = _values(func, inputs)
    finally:
        x._a[...] = kept
    with np.errstate(invalid="ignore"):
        return [(p - m) / (2 * eps) for p, m in zip(plus, minus)]


def _numeric(func, inputs, x, outputs, eps):
    """For each output its derivatives by the elements of x, (elements of x, elements of the output).

    For a complex x, those by its real parts and those by its imaginary parts.
    """
    units = (1.0, 1j) if x._a.dtype.kind == _COMPLEX else (1.0,)
    tables = [[np.empty((x._a.size, o._a.size), o._a.dtype) for _ in units] for o in outputs]
    change = np.zeros(x._a.shape, x._a.dtype)
    for row, index in enumerate(np.ndindex(x._a.shape)):
        for k, unit in enumerate(units):
            change[index] = unit * eps
            for o, column in enumerate(_difference(func, inputs, x, change, eps)):
                tables[o][k][row] = column
        change[index] = 0
    return tables


def _gradient_of_part(parts, unit):
    """What backward returns for the output direction ``unit`` (1: the real part, 1j: the imaginary part of
    the output).

    It is the derivative of that real number by the real part of x, plus i times that by the imaginary part.
    """
    reals = [np.real(np.conj(unit) * p) for p in parts]
    return reals[0] if len(reals) == 1 else reals[0] + 1j * reals[1]


# ---- derivatives by backward ---------------------------------------------------------------------

def _backward(out, tensors, seed):
    """The gradients with respect to ``tensors`` as flat arrays, zeros where there is no way."""
    found = grad(out, tensors, wrap(seed).to(out.device), retain_graph=True, allow_unused=True)
    for g, x in zip(found, tensors):
        if g is not None and g._a.shape != x._a.shape:
            raise GradcheckError("grad is incorrect size")
    return [np.zeros(x._a.size, x._a.dtype) if g is None else _on_host(g).reshape(-1)
            for g, x in zip(found, tensors)]


def _analytic(out, tensors, unit):
    """The derivatives of an output by each tensor, (elements of x, elements of the output): one backward a
    column."""
    tables = [np.empty((x._a.size, out._a.size), x._a.dtype) for x in tensors]
    for i in range(out._a.size):
        seed = np.zeros(out._a.size, out._a.dtype)
        seed[i] = unit
        for table, column in zip(tables, _backward(out, tensors, seed.reshape(out._a.shape))):
            table[:, i] = column
    return tables


# ---- comparison ----------------------------------------------------------------------------------

def _parts(outputs):
    """The parts of outputs to look at: (unit, what to say of it); of complex outputs the imaginary one
    first."""
    if not any(o._a.dtype.kind == _COMPLEX for o in outputs):
        return [(1.0, "")]
    return [(unit, f"While considering the {name} part of complex outputs only, ")
            for unit, name in ((1j, "imaginary"), (1.0, "real"))]


def _mismatch(note, o, j, numeric, analytic):
    return (f"{note}Jacobian mismatch for output {o} with respect to input {j},\n"
            f"numerical:{numeric}\nanalytical:{analytic}\n")


def _check_repeats(first, second, nondet_tol):
    for a, b in zip(first, second):
        if a.size and np.abs(a - b).max() > nondet_tol:
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output multiple "
                "times gives different values, although analytical gradient matches numerical gradient.The "
                f"tolerance for nondeterminism was {nondet_tol}.")


def _slow(func, inputs, outputs, eps, atol, rtol, nondet_tol):
    """Every element of every Jacobian."""
    places = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x._rg]
    tensors = [inputs[i] for i in places]
    numeric = [_numeric(func, inputs, x, outputs, eps) for x in tensors]
    for unit, note in _parts(outputs):
        for o, out in enumerate(outputs):
            if unit == 1j and out._a.dtype.kind != _COMPLEX:
                continue
            analytic = _analytic(out, tensors, unit)
            for j, table, own in zip(places, analytic, numeric):
                wanted = _gradient_of_part(own[o], unit).astype(table.dtype)
                if not np.allclose(table, wanted, rtol, atol, equal_nan=True):
                    raise GradcheckError(_mismatch(note, o, j, wrap(wanted), wrap(table)))
            _check_repeats(analytic, _analytic(out, tensors, unit), nondet_tol)


def _fast(func, inputs, outputs, eps, atol, rtol, nondet_tol):
    """One random direction u in each input and v in each output: v J u, by difference and by backward."""
    rng = np.random.default_rng(0)
    for j, x in enumerate(inputs):
        if not (isinstance(x, Tensor) and x._rg):
            continue
        u = _unit_vector(rng, x._a)
        changes = _difference(func, inputs, x, eps * u, eps)
        for unit, note in _parts(outputs):
            for o, out in enumerate(outputs):
                if unit == 1j and out._a.dtype.kind != _COMPLEX:
                    continue
                v = _unit_vector(rng, out._a.real)
                numeric = float(v.reshape(-1) @ np.real(np.conj(unit) * changes[o]))
                seed = np.asarray(unit * v, out._a.dtype)
                first, second = (_backward(out, [x], seed) for _ in range(2))
                analytic = float(np.real(np.vdot(first[0], u)))
                if not np.isclose(analytic, numeric, rtol, atol, equal_nan=True):
                    wanted = _gradient_of_part(_numeric(func, inputs, x, outputs, eps)[o],
                                               unit).astype(x._a.dtype)
                    raise GradcheckError(
                        _mismatch(note, o, j, numeric, analytic)
                        + "\nThe numbers above are of random directions (fast mode). The jacobians:\n\n"
                        f"Numerical:\n{wrap(wanted)}\nAnalytical:\n"
                        f"{wrap(_analytic(out, [x], unit)[0])}\n")
                _check_repeats(first, second, nondet_tol)


def _unit_vector(rng, array):
    v = rng.standard_normal(array.shape)
    if array.dtype.kind == _COMPLEX:
        v = v + 1j * rng.standard_normal(array.shape)
    size = np.linalg.norm(v)
    return np.asarray(v / size if size else v, array.dtype)


def _check_zero_seed(outputs, tensors):
    """Backward is linear in the outputs' gradients: zeros give zeros."""
    for out in outputs:
        for g in _backward(out, tensors, np.zeros(out._a.shape, out._a.dtype)):
            if not (g == 0).all():
                raise GradcheckError("backward not multiplied by grad_output")


def _check_constant(func, inputs, eps):
    """Outputs that require no gradient must not change with the inputs."""
    def values():
        return [_on_host(o) for o in _as_tuple(func(*inputs)) if isinstance(o, Tensor)]

    before = values()
    for x in _differentiable(inputs):
        kept = _on_host(x)
        x._a[...] = kept + eps
        after = values()
        x._a[...] = kept
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after)):
            raise GradcheckError("Numerical gradient for function expected to be zero")


def _check_dtypes(outputs, tensors):
    for out in outputs:
        found = grad(out, tensors, wrap(np.ones(out._a.shape, out._a.dtype)).to(out.device), retain_graph=True,
                     allow_unused=True)
        if any(g is not None and g._a.dtype != x._a.dtype for g, x in zip(found, tensors)):
            raise GradcheckError("grad is incorrect type")


def gradcheck(func, inputs, *, eps=1e-06, atol=1e-05, rtol=0.001, raise_exception=True, nondet_tol=0.0,
              check_undefined_grad=True, check_grad_dtypes=False, check_batched_grad=False,
              check_batched_forward_grad=False,
              check_forward_ad=False, check_backward_ad=True, fast_mode=False, masked=None):
    """Whether the gradients of ``func`` agree with finite differences.

    Args:
        func (callable): of the inputs, returning a Tensor or a tuple of them.
        inputs (tuple of Tensor or Tensor): those in float64 (or complex128) that require gradients are
            checked.
        eps, atol, rtol, nondet_tol (float): the step, and the tolerances of agreement and of repetition.
        raise_exception (bool): raise GradcheckError, with the two Jacobians; else return False.
        check_undefined_grad (bool): without effect: each output is differentiated alone, so that the
            gradients of the others are undefined in any case.
        check_grad_dtypes (bool): gradients must have their inputs' dtypes.
        fast_mode (bool): one random projection of each Jacobian instead of every element.
        masked (bool): without effect, it is for sparse tensors.

    Returns:
        True when all agree.

    Raises:
        GradcheckError: they do not, and ``raise_exception`` is set.
        ValueError: no input requires a gradient.

    >>> import numtorch as torch
    >>> x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(torch.exp, (x,))
    True
    """
    if check_forward_ad or check_batched_grad or check_batched_forward_grad:
        raise NotImplementedError("gradcheck: forward mode and batched gradients are not built; leave "
                                  "check_forward_ad, check_batched_grad and check_batched_forward_grad at "
                                  "False")
    if not check_backward_ad:
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    inputs = _as_tuple(inputs)
    _check_inputs(inputs)
    try:
        with enable_grad():
            result = func(*inputs)
            if not any(isinstance(o, Tensor) for o in _as_tuple(result)):
                raise TypeError("gradcheck: expected func to return a Tensor or a tuple of Tensors, but got "
                                f"{type(result).__name__}")
            outputs, tensors = _differentiable(result), _differentiable(inputs)
            if not outputs:
                _check_constant(func, inputs, eps)
                return True
            (_fast if fast_mode else _slow)(func, inputs, outputs, eps, atol, rtol, nondet_tol)
            _check_zero_seed(outputs, tensors)
            if check_grad_dtypes:
                _check_dtypes(outputs, tensors)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func, inputs, grad_outputs=None, *, eps=1e-06, atol=1e-05, rtol=0.001,
                  gen_non_contig_grad_outputs=False,
                  raise_exception=True, nondet_tol=0.0, check_undefined_grad=True, check_grad_dtypes=False,
                  check_batched_grad=False, check_fwd_over_rev=False, check_rev_over_rev=True,
                  fast_mode=False, masked=False):
    """Whether the gradients of the gradients of ``func`` agree with finite differences; arguments as
    ``gradcheck``.

    Args:
        grad_outputs (Tensors): the gradients with respect to the outputs; random if left out.
        gen_non_contig_grad_outputs (bool): the random ones have gaps.
    """
    if check_fwd_over_rev:
        raise NotImplementedError("gradgradcheck: forward mode is not built; leave check_fwd_over_rev at "
                                  "False")
    if not check_rev_over_rev:
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    inputs = _as_tuple(inputs)
    with enable_grad():
        outputs = _differentiable(func(*inputs))
    if grad_outputs is None:
        rng = np.random.default_rng(1)
        grad_outputs = tuple(_random_like(rng, o, gen_non_contig_grad_outputs) for o in outputs)
    else:
        grad_outputs = _as_tuple(grad_outputs)
    n = len(grad_outputs)
    wanted = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x._rg]

    def gradients(*args):
        own, gs = args[:-n], args[-n:]
        with enable_grad():
            outs = _differentiable(func(*own))
            found = grad(outs, [own[i] for i in wanted], gs, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None and g._rg)
    if not n:
        return True
    with enable_grad():
        found = gradients(*inputs, *grad_outputs)
    if not found:
        return True
    return gradcheck(gradients, (*inputs, *grad_outputs), eps=eps, atol=atol, rtol=rtol,
                     raise_exception=raise_exception,
                     nondet_tol=nondet_tol, check_undefined_grad=False, check_grad_dtypes=check_grad_dtypes,
                     check_batched_grad=check_batched_grad, fast_mode=fast_mode)


def _random_like(rng, out, non_contiguous):
    values = rng.standard_normal(out._a.shape)
    if out._a.dtype.kind == _COMPLEX:
        values = values + 1j * rng.standard_normal(out._a.shape)
    values = np.asarray(values, out._a.dtype)
    if non_contiguous and values.ndim:
        values = np.repeat(values, 2, -1)[..., ::2]
    return wrap(values).to(out.device).requires_grad_()
