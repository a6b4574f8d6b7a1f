"""Derivatives of functions: jacobian, hessian, and their products with vectors, by backward passes.

Products from the left, v J and v H, are one backward pass. Products from the right use the double backward
trick: v -> v J is linear in v, and its derivative in the direction of v is J v.
"""
from ..ops.join import stack
from ..tensor import Tensor
from .engine import grad
from .grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_STRICT = "This is not allowed in strict mode"
_SINGLE = "The vector v can only be None if the {} a single Tensor with a single element."


# ---- arguments -----------------------------------------------------------------------------------

def _tuple(value, what, name):
    """Whether ``value`` is a tuple, and a tuple of tensors of it; torch's TypeError for anything else."""
    several = isinstance(value, tuple)
    for i, x in enumerate(value if several else (value,)):
        if not isinstance(x, Tensor):
            where = f"the value at index {i}" if several else f"the given {what}"
            raise TypeError(f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but "
                            f"{where} has type {type(x)}.")
    return several, value if several else (value,)


def _inputs(inputs, create_graph, name):
    """The inputs as tensors to differentiate by: linked to the caller's graph only where ``create_graph``
    asks for it."""
    several, inputs = _tuple(inputs, "inputs", name)
    return several, tuple(x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
                          for x in inputs)


def _outputs(func, inputs, strict, name):
    several, outputs = _tuple(func(*inputs), "outputs of the user-provided function", name)
    if strict:
        for i, out in enumerate(outputs):
            if not out.requires_grad:
                raise RuntimeError(f"Output {i} of the user-provided function does not require gradients. "
                                   "The outputs must be computed in a differentiable manner from the input "
                                   "when running in strict mode.")
    return several, outputs


def _scalar_output(func, inputs, strict, name):
    """The one output of a function that hessians are taken of."""
    several, outputs = _outputs(func, inputs, strict, name)
    if several:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if outputs[0].nelement() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {name} should contain a single "
                           "element")
    return outputs[0]


def _vectors(v, like, several, whose, create_graph, name):
    """v as a tuple of tensors shaped as those in ``like``; None for None where there is one element."""
    if v is None:
        if several or like[0].nelement() != 1:
            raise RuntimeError(_SINGLE.format(whose))
        return None
    _, v = _tuple(v, "v", name)
    if several and len(v) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(v)}.")
    if not several and len(v) != 1:
        raise RuntimeError("The given v should contain a single Tensor.")
    for i, (one, other) in enumerate(zip(v, like)):
        if one.shape != other.shape:
            entry = f"Entry {i} in " if several else ""
            raise RuntimeError(f"{entry}v has invalid size: should be {other.shape} but got {one.shape}.")
    return tuple(one if create_graph else one.detach() for one in v)


# ---- backward passes -----------------------------------------------------------------------------

def _grads(outputs, inputs, vectors=None, create_graph=False, retain_graph=None):
    """``grad`` of those outputs that have a history, and None where there is no way from them to an
    input."""
    pairs = [(out, None if vectors is None else v) for out, v in zip(outputs, vectors or outputs)
             if out is not None and out.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    outs, vs = zip(*pairs)
    return grad(outs, inputs, vs, retain_graph=retain_graph, create_graph=create_graph, allow_unused=True)


def _filled(grads, like, strict, create_graph, missing, constant="jacobian"):
    """Zeros for None; in strict mode torch's errors for independence, with the text ``missing`` for None."""
    found = []
    for i, (g, x) in enumerate(zip(grads, like)):
        if g is None:
            if strict:
                raise RuntimeError(missing.format(i=i) + f" {_STRICT}.")
            g = x.detach().new_zeros(x.shape)
        elif strict and create_graph and not g.requires_grad:
            raise RuntimeError(f"The {constant} of the user-provided function is independent of input {i}. "
                               f"{_STRICT} when create_graph=True.")
        found.append(g)
    return tuple(found)


def _check_first(grads, strict, linear):
    """In strict mode: the first derivatives must exist, and depend on the inputs, else the text
    ``linear``."""
    if strict:
        for i, g in enumerate(grads):
            if g is None:
                raise RuntimeError(f"The output of the user-provided function is independent of input {i}. "
                                   f"{_STRICT}.")
            if not g.requires_grad:
                raise RuntimeError(linear.format(i=i))


_LINEAR = ("While computing the hessian, found that the jacobian of the user-provided function with respect "
           "to input {i} is independent of the input. This is not allowed in strict mode. You should ensure "
           "that your function is twice differentiable and that the jacobian depends on the inputs (this "
           "would be violated by a linear function for example).")
_NO_GRADIENT = ("The gradient with respect to input {i} is independent of the inputs of the user-provided "
                "function. This is not allowed in strict mode.")


def _given(results, several, create_graph):
    """Results as the user gets them: a tensor for a tensor, without history unless ``create_graph``."""
    if not create_graph:
        results = tuple(r.detach() for r in results)
    return tuple(results) if several else results[0]


# ---- products with vectors -----------------------------------------------------------------------

def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """The product of a vector and the Jacobian of ``func`` at the inputs, v J: one backward pass.

    Args:
        func: of tensors, returns a tensor or a tuple of tensors.
        inputs (Tensor or tuple): where.
        v (Tensor or tuple): shaped as the outputs; may be left out for one output of one element.
        create_graph (bool): the results can be differentiated again.
        strict (bool): an output that does not depend on an input is an error, and not zeros.

    Returns:
        (outputs, v J), the second shaped as the inputs.

    >>> import numtorch as torch
    >>> torch.autograd.functional.vjp(lambda x: x * x, torch.tensor([1.0, 2.0]), torch.ones(2))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    with enable_grad():
        several, inputs = _inputs(inputs, create_graph, "vjp")
        several_out, outputs = _outputs(func, inputs, strict, "vjp")
        v = _vectors(v, outputs, several_out, "user-provided function returns", create_graph, "vjp")
        found = _filled(_grads(outputs, inputs, v, create_graph), inputs, strict, create_graph,
                        "The output of the user-provided function is independent of input {i}.")
    return _given(outputs, several_out, create_graph), _given(found, several, create_graph)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """The product of the Jacobian of ``func`` at the inputs and a vector, J v: two backward passes.

    Args:
        func, inputs, create_graph, strict: as for ``vjp``.
        v (Tensor or tuple): shaped as the inputs; may be left out for one input of one element.

    Returns:
        (outputs, J v), both shaped as the outputs.
    """
    with enable_grad():
        several, inputs = _inputs(inputs, create_graph, "jvp")
        v = _vectors(v, inputs, several, "input to the user-provided function is", create_graph, "jvp")
        several_out, outputs = _outputs(func, inputs, strict, "jvp")
        trick = tuple(out.detach().new_zeros(out.shape).requires_grad_() for out in outputs)
        first = _grads(outputs, inputs, trick, create_graph=True)
        _check_first(first, strict, _NO_GRADIENT)
        found = _filled(_grads(first, trick, v, create_graph), outputs, strict, create_graph,
                        "The gradient with respect to the input is independent of entry {i} in the "
                        "grad_outputs when using the double backward trick to compute forward mode "
                        "gradients.")
    return _given(outputs, several_out, create_graph), _given(found, several_out, create_graph)


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """The product of a vector and the Hessian of ``func`` at the inputs, v H.

    Args:
        func: of tensors, returns one tensor with one element.
        inputs, create_graph, strict: as for ``vjp``.
        v (Tensor or tuple): shaped as the inputs; may be left out for one input of one element.

    Returns:
        (output, v H), the second shaped as the inputs.
    """
    with enable_grad():
        several, inputs = _inputs(inputs, create_graph, "vhp")
        v = _vectors(v, inputs, several, "input to the user-provided function is", create_graph, "vhp")
        output = _scalar_output(func, inputs, strict, "vhp")
        first = _grads((output,), inputs, create_graph=True)
        _check_first(first, strict, _LINEAR)
        found = _filled(_grads(first, inputs, v, create_graph), inputs, strict, create_graph,
                        "The jacobian of the user-provided function is independent of input {i}.", "hessian")
    return _given((output,), False, create_graph), _given(found, several, create_graph)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """The product of the Hessian of ``func`` at the inputs and a vector, H v; ``vhp`` is the same and
    faster.

    Args:
        func, inputs, v, create_graph, strict: as for ``vhp``.

    Returns:
        (output, H v), the second shaped as the inputs.
    """
    with enable_grad():
        several, inputs = _inputs(inputs, create_graph, "hvp")
        v = _vectors(v, inputs, several, "input to the user-provided function is", create_graph, "hvp")
        output = _scalar_output(func, inputs, strict, "hvp")
        first = _grads((output,), inputs, create_graph=True)
        _check_first(first, strict, _LINEAR)
        trick = tuple(x.detach().new_zeros(x.shape).requires_grad_() for x in inputs)
        second = _grads(first, inputs, trick, create_graph=True)
        found = _filled(_grads(second, trick, v, create_graph), inputs, strict, create_graph,
                        "The hessian of the user-provided function is independent of entry {i} in the "
                        "grad_jacobian, which prevents the double backward trick.", "hessian")
    return _given((output,), False, create_graph), _given(found, several, create_graph)


# ---- whole matrices ------------------------------------------------------------------------------

def _refuse(name, vectorize, strategy):
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')
    if vectorize or strategy == "forward-mode":
        raise NotImplementedError(f"{name}: vectorize=True and forward mode are not built; leave them out "
                                  "for one backward pass a row")


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """The Jacobian of ``func`` at the inputs: one backward pass for each element of the outputs.

    Args:
        func, inputs, create_graph: as for ``vjp``.
        strict (bool): an output that does not depend on an input is an error, and not zeros.
        vectorize, strategy: only False and ``"reverse-mode"`` are built.

    Returns:
        A tensor of shape output.shape + input.shape; a tuple of them for a tuple of inputs, or of outputs; a
        tuple of tuples, first by output, for both.

    >>> import numtorch as torch
    >>> torch.autograd.functional.jacobian(lambda x: x * x, torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _refuse("jacobian", vectorize, strategy)
    with enable_grad():
        several, inputs = _inputs(inputs, create_graph, "jacobian")
        several_out, outputs = _outputs(func, inputs, strict, "jacobian")
        rows = tuple(_rows(i, out, inputs, create_graph, strict) for i, out in enumerate(outputs))
    found = tuple(_given(row, several, create_graph) for row in rows)
    return found if several_out else found[0]


def _rows(i, out, inputs, create_graph, strict):
    """The derivatives of output ``i`` by each input."""
    parts = [[] for _ in inputs]
    for j in range(out.nelement()):
        unit = out.detach().new_zeros(out.shape)
        unit.view(-1)[j] = 1
        for k, (g, x) in enumerate(zip(_grads((out,), inputs, (unit,), create_graph, retain_graph=True),
                                       inputs)):
            if g is None:
                if strict:
                    raise RuntimeError(f"Output {i} of the user-provided function is independent of input "
                                       f"{k}. {_STRICT}.")
                g = x.detach().new_zeros(x.shape)
            elif strict and create_graph and not g.requires_grad:
                raise RuntimeError(f"The jacobian of the user-provided function is independent of input "
                                   f"{i}. {_STRICT} when create_graph=True.")
            parts[k].append(g)
    shapes = [tuple(out.shape) + tuple(x.shape) for x in inputs]
    return tuple(stack(part).view(shape) if part else x.detach().new_zeros(shape)
                 for part, x, shape in zip(parts, inputs, shapes))


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False,
            outer_jacobian_strategy="reverse-mode"):
    """The Hessian of ``func`` at the inputs: the Jacobian of its gradient.

    Args:
        func: of tensors, returns one tensor with one element.
        inputs, create_graph, strict: as for ``jacobian``.
        vectorize, outer_jacobian_strategy: only False and ``"reverse-mode"`` are built.

    Returns:
        A tensor of shape input.shape + input.shape; for a tuple of inputs a tuple of tuples, entry [i][j] of
        shape inputs[i].shape + inputs[j].shape.
    """
    _refuse("hessian", vectorize, outer_jacobian_strategy)
    several, inputs = _tuple(inputs, "inputs", "hessian")

    def gradient(*args):
        found = jacobian(lambda *x: _scalar_output(func, x, strict, "hessian").squeeze(), args,
                         create_graph=True)
        _check_first(found, strict, _LINEAR)
        return found

    found = jacobian(gradient, inputs, create_graph=create_graph, strict=strict)
    return found if several else found[0][0]
