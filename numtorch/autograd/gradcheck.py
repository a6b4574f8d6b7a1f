"""Checks of gradients against finite differences: ``gradcheck`` and ``gradgradcheck``.

Each output is differenced against each element of each input: (f(x + eps) - f(x - eps)) / (2 eps), in the inputs' own memory,
so that functions of non-contiguous inputs are checked as they are. ``fast_mode`` compares one random projection instead.
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


def _differentiable_outputs(result):
    return tuple(o for o in _as_tuple(result) if isinstance(o, Tensor) and o._rg)


def _check_inputs(inputs, raise_exception):
    found = False
    for i, x in enumerate(inputs):
        if isinstance(x, Tensor) and x._rg:
            found = True
            if x._a.dtype.name not in _DOUBLES:
                warnings.warn(f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                              "will likely fail if all the inputs are not of double precision floating point or complex. ")
            if x._a.size and any(s == 0 and n > 1 for s, n in zip(x._a.strides, x._a.shape)):
                raise RuntimeError(f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                                   "non-overlapping to be able to compute the numerical gradients correctly. You should call "
                                   ".contiguous on the input before passing it to gradcheck.")
    if not found:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of the them have "
                         "requires_grad=True.")
    return found


def _evaluate(func, inputs):
    """The differentiable outputs as flat float64 or complex128 copies."""
    outs = _differentiable_outputs(func(*inputs))
    return [o._a.astype(np.complex128 if o._a.dtype.kind == _COMPLEX else np.float64).reshape(-1) for o in outs]


def _numeric(func, inputs, x, eps):
    """For each output, its derivative by each element of ``x``: (inputs, outputs), by central differences.

    For a complex ``x`` the two real derivatives are combined into conj Wirtinger form: d/d re + i d/d im.
    """
    a = x._a
    steps = (eps, 1j * eps) if a.dtype.kind == _COMPLEX else (eps,)
    rows = []
    for index in np.ndindex(a.shape):
        kept, parts = a[index].copy(), []
        for step in steps:
            a[index] = kept + step
            plus = _evaluate(func, inputs)
            a[index] = kept - step
            minus = _evaluate(func, inputs)
            a[index] = kept
            parts.append([(p - m) / (2 * eps) for p, m in zip(plus, minus)])
        rows.append(parts)
    sizes = [out.size for out in _evaluate(func, inputs)]
    return [[np.array([row[k][o] for row in rows]).reshape(a.size, n) for k in range(len(steps))] for o, n in enumerate(sizes)]


def _analytic(outputs, o, x):
    """The derivative of output ``o`` by ``x`` from backward: one run an element, (inputs, outputs); complex outputs by part."""
    out = outputs[o]
    units = (1.0, 1j) if out._a.dtype.kind == _COMPLEX else (1.0,)
    columns = []
    for unit in units:
        own = []
        for i in range(out._a.size):
            seed = np.zeros(out._a.size, out._a.dtype)
            seed[i] = unit
            g, = grad(out, x, wrap(seed.reshape(out._a.shape)), retain_graph=True, allow_unused=True)
            own.append(np.zeros(x._a.size, x._a.dtype) if g is None else g._a.reshape(-1).copy())
        columns.append(np.array(own).T.reshape(x._a.size, out._a.size))
    return columns


def _compare(func, inputs, outputs, eps, atol, rtol, nondet_tol):
    for j, x in enumerate(inputs):
        if not (isinstance(x, Tensor) and x._rg):
            continue
        numeric = _numeric(func, inputs, x, eps)
        for o in range(len(outputs)):
            analytic = _analytic(outputs, o, x)
            repeated = _analytic(outputs, o, x)
            for a, b in zip(analytic, repeated):
                if a.size and np.abs(a - b).max() > nondet_tol:
                    raise GradcheckError("Backward is not reentrant, i.e., running backward with same input and grad_output "
                                         "multiple times gives different values, although analytical gradient matches numerical "
                                         f"gradient.The tolerance for nondeterminism was {nondet_tol}.")
            for unit, a in zip((1.0, 1j), analytic):
                want = _wanted(numeric[o], unit, x._a.dtype.kind == _COMPLEX)
                if a.size and not np.allclose(a, want, rtol, atol, equal_nan=True):
                    raise GradcheckError(f"Jacobian mismatch for output {o} with respect to input {j},\n"
                                         f"numerical:{want}\nanalytical:{a}\n")


def _wanted(parts, unit, complex_input):
    """What backward returns for the output direction ``unit``, from real partial derivatives."""
    real = [np.real(np.conj(unit) * p) for p in parts]
    return real[0] + 1j * real[1] if complex_input else real[0]


def _fast(func, inputs, outputs, eps, atol, rtol):
    """One random direction v in the inputs and u in each output: u . J v by difference and by backward."""
    rng = np.random.default_rng(0)
    tensors = [x for x in inputs if isinstance(x, Tensor) and x._rg]
    directions = [_unit(rng, x._a) for x in tensors]
    kept = [x._a.copy() for x in tensors]

    def at(scale):
        for x, k, v in zip(tensors, kept, directions):
            x._a[...] = k + scale * v
        found = _evaluate(func, inputs)
        for x, k in zip(tensors, kept):
            x._a[...] = k
        return found
    plus, minus = at(eps), at(-eps)
    for o, out in enumerate(outputs):
        u = _unit(rng, out._a)
        gs = grad(out, tensors, wrap(u), retain_graph=True, allow_unused=True)
        analytic = sum(float(np.real(np.vdot(g._a, v))) for g, v in zip(gs, directions) if g is not None)
        numeric = float(np.real(np.vdot(u.reshape(-1), (plus[o] - minus[o]) / (2 * eps))))
        if not np.isclose(analytic, numeric, rtol, atol, equal_nan=True):
            raise GradcheckError(f"Jacobian mismatch for output {o} in a random direction,\nnumerical:{numeric}\n"
                                 f"analytical:{analytic}\n\nThe above quantities relating the numerical and analytical jacobians "
                                 "are computed in fast mode. Rerun with fast_mode=False for the whole jacobians.")


def _unit(rng, array):
    v = rng.standard_normal(array.shape)
    if array.dtype.kind == _COMPLEX:
        v = v + 1j * rng.standard_normal(array.shape)
    size = np.linalg.norm(v)
    return np.asarray(v / size if size else v, array.dtype)


def _check_undefined(func, inputs):
    """Backward functions must take None for the gradients of unused outputs."""
    outputs = _differentiable_outputs(func(*inputs))
    tensors = [x for x in inputs if isinstance(x, Tensor) and x._rg]
    for out in outputs:
        grad(out, tensors, wrap(np.zeros(out._a.shape, out._a.dtype)), retain_graph=True, allow_unused=True)


def gradcheck(func, inputs, *, eps=1e-06, atol=1e-05, rtol=0.001, raise_exception=True, nondet_tol=0.0,
              check_undefined_grad=True, check_grad_dtypes=False, check_batched_grad=False, check_batched_forward_grad=False,
              check_forward_ad=False, check_backward_ad=True, fast_mode=False, masked=None):
    """Whether the gradients of ``func`` agree with finite differences.

    Args:
        func (callable): of the inputs, returning a Tensor or a tuple of them.
        inputs (tuple of Tensor or Tensor): those in float64 (or complex128) that require gradients are checked.
        eps, atol, rtol, nondet_tol (float): the step, and the tolerances of agreement and of repetition.
        raise_exception (bool): raise GradcheckError, with the two Jacobians; else return False.
        fast_mode (bool): one random projection instead of every element.

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
        raise NotImplementedError("gradcheck: forward mode and batched gradients are not built; leave check_forward_ad, "
                                  "check_batched_grad and check_batched_forward_grad at False")
    inputs = _as_tuple(inputs)
    _check_inputs(inputs, raise_exception)
    try:
        with enable_grad():
            outputs = _differentiable_outputs(func(*inputs))
            if not outputs:
                _check_constant(func, inputs, eps)
                return True
            if fast_mode:
                _fast(func, inputs, outputs, eps, atol, rtol)
            else:
                _compare(func, inputs, outputs, eps, atol, rtol, nondet_tol)
            if check_grad_dtypes:
                _check_dtypes(outputs, inputs)
            if check_undefined_grad:
                _check_undefined(func, inputs)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check_constant(func, inputs, eps):
    """Outputs that require no gradient must not change with the inputs."""
    before = [o._a.copy() for o in _as_tuple(func(*inputs)) if isinstance(o, Tensor)]
    for x in inputs:
        if isinstance(x, Tensor) and x._rg and x._a.size:
            kept = x._a.copy()
            x._a[...] = kept + eps
            after = [o._a.copy() for o in _as_tuple(func(*inputs)) if isinstance(o, Tensor)]
            x._a[...] = kept
            if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after)):
                raise GradcheckError("Numerical gradient for function expected to be zero")


def _check_dtypes(outputs, inputs):
    tensors = [x for x in inputs if isinstance(x, Tensor) and x._rg]
    for g, x in zip(grad(outputs, tensors, [wrap(np.ones(o._a.shape, o._a.dtype)) for o in outputs], retain_graph=True,
                         allow_unused=True), tensors):
        if g is not None and g._a.dtype != x._a.dtype:
            raise GradcheckError(f"grad has dtype {g.dtype}, but input has dtype {x.dtype}")


def gradgradcheck(func, inputs, grad_outputs=None, *, eps=1e-06, atol=1e-05, rtol=0.001, gen_non_contig_grad_outputs=False,
                  raise_exception=True, nondet_tol=0.0, check_undefined_grad=True, check_grad_dtypes=False,
                  check_batched_grad=False, check_fwd_over_rev=False, check_rev_over_rev=True, fast_mode=False, masked=False):
    """Whether the gradients of the gradients of ``func`` agree with finite differences; arguments as ``gradcheck``.

    Args:
        grad_outputs (Tensors): the gradients with respect to the outputs; random if left out.
    """
    inputs = _as_tuple(inputs)
    with enable_grad():
        outputs = _differentiable_outputs(func(*inputs))
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
            own = tuple(x.requires_grad_() if i in wanted and not x._rg else x for i, x in enumerate(own))
            outs = _differentiable_outputs(func(*own))
            found = grad(outs, [own[i] for i in wanted], gs, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None and g._rg)
    if not n:
        return True
    with enable_grad():
        found = gradients(*inputs, *grad_outputs)
    if not found:
        return True
    return gradcheck(gradients, (*inputs, *grad_outputs), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
                     nondet_tol=nondet_tol, check_undefined_grad=False, check_grad_dtypes=check_grad_dtypes,
                     check_batched_grad=check_batched_grad, fast_mode=fast_mode)


def _random_like(rng, out, non_contiguous):
    values = rng.standard_normal(out._a.shape)
    if out._a.dtype.kind == _COMPLEX:
        values = values + 1j * rng.standard_normal(out._a.shape)
    values = np.asarray(values, out._a.dtype)
    if non_contiguous and values.ndim:
        values = np.repeat(values, 2, -1)[..., ::2]
    return wrap(values).requires_grad_()
