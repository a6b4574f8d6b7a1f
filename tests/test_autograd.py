"""The tape: backward, grad, modes, hooks, Function, in-place writes and views, errors, threads."""
import gc
import threading
import weakref

import numpy as np
import pytest

import numtorch as torch


def leaf(*values, dtype=torch.float64):
    return torch.tensor(values if len(values) != 1 else values[0], dtype=dtype, requires_grad=True)


def test_a_chain_of_ten_thousand_operations_does_not_overflow():
    """The walk is iterative, and so is the release of the tape."""
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1
    del y
    gc.collect()


def test_gradients_of_shared_inputs_add_up():
    """A tensor used twice gets the sum; one used by two leaves keeps them apart."""
    x, y = leaf(2.0), leaf(3.0)
    (x * x + x + y).backward()
    assert x.grad.item() == 5 and y.grad.item() == 1
    (x + y).backward()
    x.grad.zero_()
    assert y.grad.item() == 2, "x.grad and y.grad must not share memory"


def test_backward_accumulates_into_the_same_tensor():
    """A second backward adds to .grad in place."""
    x = leaf([1.0, 2.0])
    (x * 3).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first and x.grad.tolist() == [6, 6]


def test_broadcast_and_promoted_inputs_get_gradients_of_their_shape_and_dtype():
    """The engine sums down to the input's shape and converts to its dtype."""
    x = torch.ones(3, 1, requires_grad=True)
    y = torch.ones(4, dtype=torch.float64, requires_grad=True)
    (x * y).sum().backward()
    assert x.grad.shape == (3, 1) and x.grad.dtype is torch.float32
    assert y.grad.shape == (4,) and y.grad.dtype is torch.float64


def test_a_second_backward_raises_unless_the_graph_is_retained():
    """What was kept is freed as the tape is walked."""
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()
    assert x.grad.item() == 8


def test_saved_tensors_are_freed_without_the_garbage_collector():
    """There is no reference cycle between a node and the output that it keeps."""
    gc.disable()
    try:
        x = leaf([1.0, 2.0])
        y = x.exp().sigmoid()
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_create_graph_gives_higher_derivatives():
    """The third derivative of x^4 is 24 x."""
    x = leaf(2.0)
    d = x ** 4
    for _ in range(3):
        d, = torch.autograd.grad(d, x, create_graph=True)
    assert d.item() == 48


def test_grad_of_intermediate_and_unused_tensors():
    """grad reaches non-leaves, refuses unused inputs unless told otherwise, and leaves .grad alone."""
    x, unused = leaf(2.0), leaf(1.0)
    y = x * 3
    z = y * y
    assert [g.item() for g in torch.autograd.grad(z, (y, x), retain_graph=True)] == [12, 36]
    assert x.grad is None
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        torch.autograd.grad(z, (x, unused), retain_graph=True)
    assert torch.autograd.grad(z, (x, unused), allow_unused=True, retain_graph=True)[1] is None
    assert torch.autograd.grad(z, (x, unused), materialize_grads=True)[1].item() == 0


def test_backward_into_chosen_inputs_only():
    """inputs= leaves other leaves without a gradient."""
    x, y = leaf(2.0), leaf(3.0)
    (x * y).backward(inputs=[x])
    assert x.grad.item() == 3 and y.grad is None


@pytest.mark.parametrize("call, message", [
    (lambda: torch.ones(2, requires_grad=True).backward(), "grad can be implicitly created only for scalar outputs"),
    (lambda: torch.ones(1).backward(), "does not require grad and does not have a grad_fn"),
    (lambda: (torch.ones(2, requires_grad=True) * 1).backward(torch.ones(3)), "Mismatch in shape"),
    (lambda: torch.ones(2, requires_grad=True).numpy(), "Can't call numpy\\(\\) on Tensor that requires grad"),
    (lambda: torch.ones(2, dtype=torch.int64, requires_grad=True), "only Tensors of floating point"),
    (lambda: torch.ones(2, requires_grad=True).add_(1), "a leaf Variable that requires grad is being used in an in-place"),
    (lambda: torch.ones(2, requires_grad=True)[0].mul_(2), "a view of a leaf Variable that requires grad is being used"),
    (lambda: (torch.ones(2, requires_grad=True) * 1).requires_grad_(False), "you can only change requires_grad flags of leaf"),
    (lambda: torch.ones(2).register_hook(print), "cannot register a hook on a tensor that doesn't require gradient"),
    (lambda: torch.add(torch.ones(2, requires_grad=True), 1, out=torch.ones(2)), "don't support automatic differentiation"),
])
def test_errors(call, message):
    """Misuse ends in torch's words."""
    with pytest.raises(RuntimeError, match=message):
        call()


def test_modes():
    """no_grad, enable_grad, set_grad_enabled and inference_mode, as blocks and as decorators, by thread."""
    x = leaf(1.0)
    with torch.no_grad():
        assert not (x * 2).requires_grad
        with torch.enable_grad():
            assert (x * 2).requires_grad
        seen = []
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
        assert seen == [True], "the mode belongs to the thread"

    @torch.no_grad()
    def plain():
        return x * 2

    @torch.no_grad()
    def numbers():
        yield x * 2
    assert not plain().requires_grad and not next(numbers()).requires_grad and torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    assert not (x * 2).requires_grad
    torch.set_grad_enabled(True)
    with torch.inference_mode():
        y = x * 2
    assert y.is_inference() and not y.requires_grad
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        y * x


def test_hooks_on_tensors_and_nodes():
    """Hooks see and replace gradients; handles remove them."""
    x, seen = leaf(2.0), []
    y = x * 3
    handle = y.register_hook(lambda g: seen.append(g.item()) or g * 10)
    y.grad_fn.register_prehook(lambda gs: (gs[0] + 1,))
    (y * 2).backward(retain_graph=True)
    assert seen == [2] and x.grad.item() == (2 * 10 + 1) * 3
    handle.remove()
    x.grad = None
    x.register_hook(lambda g: g * 0.5)
    done = []
    x.register_post_accumulate_grad_hook(lambda t: done.append(t.grad.item()))
    (y * 2).backward()
    assert seen == [2] and x.grad.item() == 4.5 and done == [4.5]


def test_retain_grad_keeps_the_gradient_of_a_non_leaf():
    """And a warning says so where it is not kept."""
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    (y * y).backward()
    assert y.grad.item() == 12
    with pytest.warns(UserWarning, match="The .grad attribute of a Tensor that is not a leaf"):
        assert (x * 2).grad is None


def test_graph_names():
    """Nodes print as torch's and lead back to the leaf."""
    x = leaf([2.0])
    y = (x * 3).sum()
    assert y.grad_fn.name() == "SumBackward0" and repr(y.grad_fn).startswith("<SumBackward0 object at 0x")
    (mul, number), = y.grad_fn.next_functions
    assert mul.name() == "MulBackward0" and number == 0
    (accumulate, _), (none, _) = mul.next_functions
    assert accumulate.name() == "AccumulateGrad" and accumulate.variable is x and none is None


class Cube(torch.autograd.Function):
    """x^3, with its gradient by hand."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * 3 * x ** 2


def test_function():
    """A user's operation is recorded, differentiates twice, and is checked."""
    x = leaf([1.0, 2.0])
    y = Cube.apply(x)
    assert y.grad_fn.name() == "CubeBackward"
    g, = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert g.tolist() == [3, 12]
    assert torch.autograd.grad(g.sum(), x)[0].tolist() == [6, 12]
    assert torch.autograd.gradcheck(Cube.apply, (x,)) and torch.autograd.gradgradcheck(Cube.apply, (x,))


def test_function_with_context_flags():
    """needs_input_grad, non-differentiable outputs, unused outputs, and a wrong number of gradients."""
    class Pair(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y, scale):
            ctx.needed = ctx.needs_input_grad
            index = (x > y).long()
            ctx.mark_non_differentiable(index)
            ctx.set_materialize_grads(False)
            return x * scale, y * scale, index

        @staticmethod
        def backward(ctx, gx, gy, gi):
            assert ctx.needed == (True, False, False) and gy is None and gi is None
            return gx * 2, None, None
    x = leaf([1.0])
    a, b, i = Pair.apply(x, torch.zeros(1, dtype=torch.float64), 2.0)
    assert not i.requires_grad
    a.sum().backward()
    assert x.grad.tolist() == [2]

    class Wrong(Cube):
        @staticmethod
        def backward(ctx, g):
            return g, g
    with pytest.raises(RuntimeError, match="returned an incorrect number of gradients \\(expected 1, got 2\\)"):
        Wrong.apply(x).backward()


def test_once_differentiable():
    """The first derivative works, the second raises."""
    class Once(Cube):
        @staticmethod
        @torch.autograd.once_differentiable
        def backward(ctx, g):
            return g * 2
    x = leaf([1.0])
    assert torch.autograd.grad(Once.apply(x), x)[0].tolist() == [2]
    g, = torch.autograd.grad(Once.apply(x), x, torch.ones(1, dtype=torch.float64, requires_grad=True), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


def test_modified_saved_tensors_are_an_error_that_names_the_operation():
    """Of inputs and of outputs."""
    x = leaf([1.0, 2.0])
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation: \[torch.DoubleTensor \[2\]\], which is output 0 of "
                                           r"AddBackward0, is at version 1; expected version 0 instead"):
        z.sum().backward()
    e = x.exp()
    e += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        e.sum().backward()


def test_in_place_operations_are_recorded():
    """Arithmetic, assignment and fills in place give the gradients of their out-of-place forms."""
    x = leaf([1.0, 2.0, 3.0])
    y = x * 2
    y.mul_(x)
    y += 1
    y[1] = 5.0
    y.sum().backward()
    assert x.grad.tolist() == [4, 0, 12]
    a = torch.zeros(3, dtype=torch.float64)
    a[:2] = x[1:] * 3
    a.sum().backward()
    assert x.grad.tolist() == [4, 3, 15]


def test_writes_through_views_reach_the_base_and_its_other_views():
    """A view's write rewrites the history of the base; sibling views made before see it."""
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    y = x * 1
    first, column = y[0], y[:, 1]
    first.mul_(10)
    assert y.tolist() == [[10, 20], [3, 4]] and column.tolist() == [20, 4]
    column.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [[0, 10], [0, 1]]
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [[10, 10], [1, 1]]


def test_versions_count_writes_and_are_shared_by_views():
    """detach shares memory and version; a clone does not."""
    x = torch.zeros(3)
    view, other = x[1:], x.detach()
    view.add_(1)
    other.mul_(2)
    assert x._version == view._version == other._version == 2 and x.tolist() == [0, 2, 2]
    assert x.clone()._version == 0


def test_anomaly_mode_finds_nan_and_names_the_forward_call():
    """The error names the function; the warning holds the forward stack."""
    x = leaf([0.0])
    with torch.autograd.detect_anomaly():
        y = x.sqrt() * 0
        with pytest.warns(UserWarning, match="Traceback of forward call that caused the error"):
            with pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output"):
                y.sum().backward()


def test_backward_from_several_threads_loses_nothing():
    """Eight threads add into one leaf at once."""
    x = torch.zeros(1000, requires_grad=True)

    def work():
        for _ in range(50):
            (x * 2).sum().backward()
    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (x.grad._a == 800).all()


def test_gradcheck_finds_a_wrong_gradient():
    """And returns False where it is not to raise."""
    class Bad(Cube):
        @staticmethod
        def backward(ctx, g):
            return g * 2
    x = leaf([1.0, 2.0])
    with pytest.raises(torch.autograd.gradcheck.__globals__["GradcheckError"], match="Jacobian mismatch for output 0 with respect to input 0"):
        torch.autograd.gradcheck(Bad.apply, (x,))
    assert not torch.autograd.gradcheck(Bad.apply, (x,), raise_exception=False)
    with pytest.raises(RuntimeError, match="random direction"):
        torch.autograd.gradcheck(Bad.apply, (x,), fast_mode=True)


def test_gradients_of_leaves_are_not_copied_when_nobody_else_holds_them():
    """The engine's buffer becomes .grad; one that the user holds is copied."""
    x = torch.ones(4, requires_grad=True)
    g = torch.ones(4)
    x.view(2, 2).backward(g.view(2, 2))
    g.mul_(5)
    assert x.grad.tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(x.grad.numpy(), 1)


@pytest.mark.parametrize("make", [lambda t, x: x.t() * 2, lambda t, x: (x * 2).t(), lambda t, x: x.permute(1, 0) + x.t()],
                         ids=["a transposed result", "a transposed view", "a sum of transposed"])
def test_in_place_on_views_of_transposed_tensors(make):
    """Writes into rows, columns and steps of a tensor that is not row-major give torch's values and gradients, twice over."""
    found = []
    for library in (torch, pytest.importorskip("torch")):
        x = library.arange(1.0, 7.0, dtype=library.float64).reshape(2, 3).requires_grad_()
        y = make(library, x)
        y[0].mul_(3)
        y[:, 1] += x[1]
        y[::2].exp_()
        z = (y * y).sum() + y[1].sum()
        (g,) = library.autograd.grad(z, x, create_graph=True)
        (gg,) = library.autograd.grad((g * g).sum().log(), x)
        found.append([t.detach().numpy() for t in (y, g, gg)])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_as_strided_of_a_transposed_tensor():
    """The gradient of as_strided lands in the elements that it showed, however the input lies in memory."""
    found = []
    for library in (torch, pytest.importorskip("torch")):
        x = library.arange(6.0).reshape(2, 3).requires_grad_()
        y = (x.t() * 1).as_strided((2, 2), (2, 1), 1)
        (y * library.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
        found.append((y.tolist(), x.grad.tolist()))
    assert found[0] == found[1]


MANY, UNRECORDED = "the output of a function that returns multiple views", "Given that this use case is ambiguous"


def unrecorded(make):
    """A view that was made without recording."""
    with torch.no_grad():
        return make()


@pytest.mark.parametrize("view, message", [
    (lambda x: x.unbind()[1], "Output 1 of Unbind is a view and is being modified inplace. This view is " + MANY),
    (lambda x: x.split([2, 2])[1], "Output 1 of SplitWithSizes is a view and is being modified inplace. This view is " + MANY),
    (lambda x: x.chunk(2)[0], "Output 0 of Split is a view and is being modified inplace. This view is " + MANY),
    (lambda x: x.split(2)[1][0], "Output 0 of Select is a view and is being modified inplace. This view is " + MANY),
    (lambda x: next(iter(x)), "Output 0 of Unbind is a view and is being modified inplace. This view is " + MANY),
    (lambda x: unrecorded(lambda: x[0]), "A view was created in no_grad mode and is being modified inplace .*" + UNRECORDED),
    (lambda x: unrecorded(x.unbind)[0], "A view was created in no_grad mode and is being modified inplace .*" + UNRECORDED),
])
def test_views_that_must_not_be_written(view, message):
    """A write to one of several views, or to a view that was not recorded, is torch's error, and nothing is written."""
    x = leaf([[1.0, 1.0]] * 4) * 1
    part = view(x)
    with pytest.raises(RuntimeError, match=message):
        part.add_(1)
    assert x.tolist() == [[1, 1]] * 4 and x.grad_fn.name() == "MulBackward0"
    with torch.no_grad():
        part.add_(1)
    assert x.sum() > 8


def test_one_of_several_views_may_be_written_where_nothing_is_recorded():
    """unbind and split of tensors without gradient are written as usual; tensor_split's views also with one."""
    x = torch.zeros(4)
    x.split(2)[1].add_(1)
    x.unbind()[0].add_(2)
    assert x.tolist() == [2, 0, 1, 1]
    y = leaf(1.0, 1.0, 1.0, 1.0) * 1
    y.tensor_split(2)[1].mul_(3)
    assert y.tolist() == [1, 1, 3, 3] and y.grad_fn.name() == "CopySlices"
