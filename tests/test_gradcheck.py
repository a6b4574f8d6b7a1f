"""gradcheck and gradgradcheck find wrong derivatives; autograd.functional gives torch's derivatives and
messages."""
import warnings

import pytest

import numtorch as torch
from numtorch.autograd import GradcheckError, functional, gradcheck, gradgradcheck


def doubles(*values, requires_grad=True):
    return torch.tensor(list(values), dtype=torch.float64, requires_grad=requires_grad)


class WrongFactor(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return a * a

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0] * 3


class NotLinear(torch.autograd.Function):
    """Right for a gradient of ones, and wrong by 1e-3 for any."""

    @staticmethod
    def forward(ctx, a):
        return a * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2 + 1e-4


class Drifting(torch.autograd.Function):
    calls = 0

    @staticmethod
    def forward(ctx, a):
        return a * 2

    @staticmethod
    def backward(ctx, g):
        Drifting.calls += 1
        return g * (2 + 1e-8 * Drifting.calls)


class WrongSecond(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return a * a

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].detach() * 2


class WrongComplex(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        return a * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2j


@pytest.mark.parametrize("fast_mode", [False, True])
def test_right_gradients_pass(fast_mode):
    """Several inputs and outputs, 0-dim, empty, non-contiguous, complex, unused and constant inputs."""
    x, y = doubles(0.5, 2.0), doubles(1.5, 3.0)
    z = torch.tensor([1 + 2j, -0.5j], requires_grad=True, dtype=torch.complex128)
    wide = torch.ones(2, 4, dtype=torch.float64)[:, ::2].detach().requires_grad_()
    for func, inputs in ((torch.exp, x), (lambda a, b: (a * b, a.sum(), b.detach()), (x, y)),
                         (lambda a, n: a * n, (x, 3)),
                         (lambda a, b: a * 2, (x, y)), (torch.exp, x[0].detach().requires_grad_()),
                         (lambda a: a * 2, torch.zeros(0, dtype=torch.float64).requires_grad_()),
                         (lambda a: a.t() * a.t(), wide), (lambda a: a * a.conj() * a, z), (torch.abs, z),
                         (lambda a: torch.complex(a, a * a) * 1j, x), (lambda a: [a * 2, a], [x])):
        assert gradcheck(func, inputs, fast_mode=fast_mode)
    for func, inputs in ((torch.exp, x), (lambda a, b: a * b, (x, y)), (lambda a: a * 2, x),
                         (lambda a: a * a, z)):
        assert gradgradcheck(func, inputs, fast_mode=fast_mode)
    assert gradgradcheck(lambda a, b: a * b, (x, y), doubles(1.0, 2.0), fast_mode=fast_mode)
    assert gradgradcheck(lambda a, b: a * b, (x, y), gen_non_contig_grad_outputs=True, fast_mode=fast_mode)


def test_the_message_shows_both_jacobians():
    """torch's message, with the Jacobians by differences and by backward."""
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda a, b: (a * b, WrongFactor.apply(b)), (doubles(0.5, 2.0), doubles(1.5, 3.0)))
    assert str(caught.value) == """Jacobian mismatch for output 1 with respect to input 1,
numerical:tensor([[3.0000, 0.0000],
        [0.0000, 6.0000]], dtype=torch.float64)
analytical:tensor([[4.5000, 0.0000],
        [0.0000, 9.0000]], dtype=torch.float64)
"""


@pytest.mark.parametrize("fast_mode", [False, True])
def test_wrong_gradients_are_found(fast_mode):
    """Wrong factors, real and complex, offsets, drifts, and second derivatives that were cut off."""
    x = doubles(0.5, 2.0)
    z = torch.tensor([1 + 2j], requires_grad=True, dtype=torch.complex128)
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradcheck(WrongFactor.apply, (x,), fast_mode=fast_mode)
    assert not gradcheck(WrongFactor.apply, (x,), raise_exception=False, fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="considering the imaginary part of complex outputs only, "
                                             "Jacobian mismatch"):
        gradcheck(WrongComplex.apply, (z,), fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="backward not multiplied by grad_output"):
        gradcheck(NotLinear.apply, (x,), atol=1e-2, fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(Drifting.apply, (x,), fast_mode=fast_mode)
    assert gradcheck(Drifting.apply, (x,), nondet_tol=1e-5, fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="expected to be zero"):
        gradcheck(lambda a: a.detach(), (x,), fast_mode=fast_mode)
    assert gradcheck(WrongSecond.apply, (x,), fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradgradcheck(WrongSecond.apply, (x,), fast_mode=fast_mode)
    assert torch.equal(x, doubles(0.5, 2.0))                # the inputs are as before


def test_bad_input_of_gradcheck_is_refused():
    """No input that requires a gradient, overlapping memory, no tensor returned, modes that are not
    built."""
    x = doubles(1.0, 2.0)
    with pytest.raises(ValueError, match="gradcheck expects at least one input tensor to require gradient"):
        gradcheck(torch.exp, (x.detach(),))
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(torch.exp, (torch.ones(1, dtype=torch.float64).expand(3).detach().requires_grad_(),))
    with pytest.raises(TypeError, match="expected func to return a Tensor or a tuple of Tensors, but got "
                                        "NoneType"):
        gradcheck(lambda a: None, (x,))
    with pytest.raises(NotImplementedError, match="check_forward_ad"):
        gradcheck(torch.exp, (x,), check_forward_ad=True)
    with pytest.raises(NotImplementedError, match="check_fwd_over_rev"):
        gradgradcheck(torch.exp, (x,), check_fwd_over_rev=True)
    with pytest.raises(AssertionError, match="at least one of check_forward_ad or check_backward_ad"):
        gradcheck(torch.exp, (x,), check_backward_ad=False)
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision"):
        gradcheck(lambda a: a * 2, (x.detach().float().requires_grad_(),), eps=1e-2, atol=1e-2)


# ---- autograd.functional -------------------------------------------------------------------------

def derivatives(library, name, func, inputs, v, settings):
    """What a function of autograd.functional gives or raises, with numbers as lists."""
    def plain(x):
        if isinstance(x, tuple):
            return tuple(plain(y) for y in x)
        return [float(f"{value:.5g}") for value in x.reshape(-1).tolist()], tuple(x.shape), x.requires_grad

    made = [library.tensor(value, requires_grad=grad) for value, grad in inputs]
    args = (made[0] if len(made) == 1 else tuple(made),)
    if v is not None:
        args += (tuple(library.tensor(value) for value in v) if isinstance(v, tuple) else library.tensor(v),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(getattr(library.autograd.functional, name)(func(library), *args, **settings))
        except (RuntimeError, TypeError) as error:
            return type(error).__name__, str(error)


X, Y = ([1.0, 2.0], False), ([3.0, 4.0], False)
FUNCTIONS = {
    "square": (lambda T: lambda a: a * a, [X], [3.0, 4.0]),
    "square by a leaf": (lambda T: lambda a: a * a, [([1.0, 2.0], True)], [3.0, 4.0]),
    "cubes": (lambda T: lambda a: (a ** 3).sum(), [X], [3.0, 4.0]),
    "product": (lambda T: lambda a, b: (a * b).sum(), [X, Y], ([3.0, 4.0], [1.0, 2.0])),
    "several": (lambda T: lambda a, b: (a * b, a.sum(), b * 2), [X, Y], ([3.0, 4.0], [1.0, 2.0])),
    "constant": (lambda T: lambda a: T.ones(2), [X], [3.0, 4.0]),
    "constant number": (lambda T: lambda a: T.tensor(1.0), [X], [3.0, 4.0]),
    "linear": (lambda T: lambda a: (a * 2).sum(), [X], [3.0, 4.0]),
    "identity": (lambda T: lambda a: a, [X], [3.0, 4.0]),
    "independent": (lambda T: lambda a, b: (a ** 3).sum(), [X, Y], ([3.0, 4.0], [1.0, 2.0])),
    "one element": (lambda T: lambda a: a ** 3, [(2.0, False)], None),
    "matrix": (lambda T: lambda a: a.exp().sum(1), [([[1.0, 2.0], [0.5, 0.0]], False)],
               [[1.0, 2.0], [3.0, 4.0]]),
    "wrong v": (lambda T: lambda a: (a ** 3).sum(), [X], [[1.0, 2.0]]),
    "too many v": (lambda T: lambda a: (a ** 3).sum(), [X], ([1.0, 2.0], [1.0, 2.0])),
    "too few v": (lambda T: lambda a, b: (a * b).sum(), [X, Y], ([1.0, 2.0],)),
    "no v": (lambda T: lambda a: a * a, [X], None),
    "not a tensor": (lambda T: lambda a: 3, [X], [3.0, 4.0]),
    "tuple with a number": (lambda T: lambda a: (a, 3), [X], [3.0, 4.0]),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", ["jacobian", "hessian", "vjp", "jvp", "vhp", "hvp"])
def test_derivatives_and_errors_are_torchs(name, create_graph, strict):
    """All functions, in all modes: torch's numbers, shapes, histories, and messages of what is not
    allowed."""
    reference = pytest.importorskip("torch")
    for label, (func, inputs, v) in FUNCTIONS.items():
        if name in ("jacobian", "hessian"):
            v = None
        settings = dict(create_graph=create_graph, strict=strict)
        own, theirs = (derivatives(library, name, func, inputs, v, settings)
                       for library in (torch, reference))
        assert own == theirs, label


def test_known_derivatives():
    """The Hessian of x^3 + y^3 and its products, known here; a graph through them can be differentiated."""
    x, v = doubles(1.0, 2.0), doubles(3.0, 4.0, requires_grad=False)

    def cubes(a):
        return (a ** 3).sum()

    assert functional.hessian(cubes, x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    assert functional.vhp(cubes, x, v)[1].tolist() == functional.hvp(cubes, x, v)[1].tolist() == [18.0, 48.0]
    assert functional.jvp(lambda a: a * a, x, v)[1].tolist() == [6.0, 16.0]
    functional.jacobian(cubes, x, create_graph=True).sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    assert functional.jacobian(lambda a: a.new_zeros(0) * a.sum(), x).shape == (0, 2)


def test_what_is_not_built_says_so():
    """vectorize and forward mode raise NotImplementedError; a strategy that is none raises as in torch."""
    with pytest.raises(NotImplementedError, match="jacobian: vectorize=True"):
        functional.jacobian(torch.exp, doubles(1.0), vectorize=True)
    with pytest.raises(NotImplementedError, match="hessian"):
        functional.hessian(torch.sum, doubles(1.0), outer_jacobian_strategy="forward-mode")
    with pytest.raises(AssertionError,
                       match='Expected strategy to be either "forward-mode" or "reverse-mode"'):
        functional.jacobian(torch.exp, doubles(1.0), strategy="sideways")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_variable():
    """Variable shares memory, drops history, and every tensor is one."""
    x = doubles(1.0, 2.0)
    y = torch.autograd.Variable(x * 1)
    z = torch.autograd.Variable(x, requires_grad=True)
    assert not y.requires_grad and z.requires_grad and z.is_leaf and z.data_ptr() == x.data_ptr()
    assert isinstance(x, torch.autograd.Variable)
    with pytest.raises(TypeError, match="Variable data has to be a tensor, but got int"):
        torch.autograd.Variable(3)
    with pytest.raises(RuntimeError, match="Only Tensors of floating point and complex dtype"):
        torch.autograd.Variable(torch.arange(2), requires_grad=True)
    with pytest.warns(UserWarning, match="volatile was removed"):
        torch.autograd.Variable(x, volatile=True)
