"""Matrix products: layouts, types, empty factors, nodes, and what backward does and does not compute."""
import numpy as np
import pytest
from numtorch.kernels import matmul as kernels

import numtorch as torch
from numtorch.op import OPS

linear = OPS["nn.functional.linear"].fn


def test_any_layout_gives_the_product():
    """Transposed, strided, expanded and zero-stride factors give what contiguous copies give."""
    a, b = np.random.default_rng(0).standard_normal((2, 8, 8))
    views = [lambda x: x, lambda x: x.T, lambda x: x[::2, ::2], lambda x: np.broadcast_to(x[:1], x.shape),
             lambda x: np.broadcast_to(x[:1, :1], x.shape), lambda x: x[1:, 1:], lambda x: x[:, :1]]
    for left in views:
        for right in views:
            x, y = left(a), right(b)
            if x.shape[1] == y.shape[0]:
                got = torch.mm(torch.from_numpy(x), torch.from_numpy(y))
                np.testing.assert_allclose(got.numpy(), x.copy() @ y.copy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_integers_wrap_around(dtype):
    """Integer products are exact modulo 2^bits, for stacks and single matrices, small and large."""
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    a, b = (rng.integers(info.min, info.max, (3, 40, 40), dtype) for _ in range(2))
    want = np.einsum("bij,bjk->bik", a.astype(object), b.astype(object)) % (1 << info.bits)
    got = torch.bmm(torch.from_numpy(a), torch.from_numpy(b)).numpy().astype(object) % (1 << info.bits)
    assert (got == want).all()


def test_half_types_are_summed_in_float32():
    """4096 ones give 4096 in float16; a float16 accumulator would stop at 2048."""
    a = torch.ones(1, 4096, dtype=torch.float16)
    assert (a @ a.T).item() == 4096
    x = torch.ones(4096, 1, dtype=torch.float16)
    b = torch.zeros(1, dtype=torch.float16, requires_grad=True)
    linear(x, torch.ones(1, 1, dtype=torch.float16), b).sum().backward()
    assert b.grad.item() == 4096


def test_empty_sums_are_zero():
    """A product over no elements is 0, and its gradients are empty."""
    a, b = torch.empty(2, 0, requires_grad=True), torch.empty(0, 3, requires_grad=True)
    y = a @ b
    assert torch.equal(y, torch.zeros(2, 3))
    y.sum().backward()
    assert a.grad.shape == (2, 0) and b.grad.shape == (0, 3)


def test_nan_in_an_ignored_input_does_not_spread():
    """With beta=0 the added tensor is not read."""
    nan = torch.full((2, 2), float("nan"))
    eye = torch.eye(2)
    assert torch.equal(torch.addmm(nan, eye, eye, beta=0), eye)
    assert torch.equal(torch.addmv(nan[0], eye, eye[0], beta=0), eye[0])
    assert torch.equal(torch.baddbmm(nan[None], eye[None], eye[None], beta=0), eye[None])


def test_names_of_nodes_are_torchs():
    """grad_fn prints as in torch, for every form of matmul and linear."""
    def r(*shape):
        return torch.randn(*shape, requires_grad=True)
    for tensor, name in ((r(2, 3) @ r(3, 2), "MmBackward0"), (r(3) @ r(3), "DotBackward0"), (r(2, 3) @ r(3), "MvBackward0"),
                         (r(2, 5, 3) @ r(3, 4), "UnsafeViewBackward0"), (r(2, 5, 3) @ r(2, 3, 4), "UnsafeViewBackward0"),
                         (torch.bmm(r(2, 5, 3), r(2, 3, 4)), "BmmBackward0"), (torch.addmm(r(2), r(2, 3), r(3, 2)), "AddmmBackward0"),
                         (linear(r(2, 3), r(4, 3), r(4)), "AddmmBackward0"), (linear(r(2, 3), r(4, 3)), "MmBackward0"),
                         (linear(r(2, 5, 3), r(4, 3), r(4)), "ViewBackward0"),
                         (linear(r(2, 5, 3), r(4, 3)), "UnsafeViewBackward0"),
                         (torch.baddbmm(r(2), r(2, 5, 3), r(2, 3, 2)), "BaddbmmBackward0")):
        assert tensor.grad_fn.name() == name


def test_backward_multiplies_only_what_is_wanted(monkeypatch):
    """A linear layer whose input needs no gradient makes one product in backward, and no transposed copies."""
    calls = []
    original = kernels.matmul
    monkeypatch.setattr(kernels, "matmul", lambda a, b, *bias: calls.append((a, b)) or original(a, b, *bias))
    x, w, b = torch.randn(4, 3), torch.randn(2, 3, requires_grad=True), torch.randn(2, requires_grad=True)
    y = linear(x, w, b)
    calls.clear()
    g = torch.ones(4, 2)
    y.backward(g)
    (left, right), = calls
    assert np.shares_memory(left, g.numpy()) and np.shares_memory(right, x.numpy())


def test_stacks_that_broadcast_sum_their_gradients():
    """A matrix shared by a whole stack gets the sum of all its products' gradients."""
    a, b = torch.randn(1, 3, 4, requires_grad=True), torch.randn(5, 4, 2, requires_grad=True)
    (a @ b).sum().backward()
    want = b.detach().numpy().sum((0, 2))
    np.testing.assert_allclose(a.grad.numpy(), np.broadcast_to(want, (1, 3, 4)), rtol=1e-5)


def test_operator_refuses_numbers():
    """``tensor @ 2`` is a TypeError, as in torch, and so is a number given to mm."""
    with pytest.raises(TypeError):
        torch.ones(2, 2) @ 2
    with pytest.raises(TypeError, match=r"mm\(\): argument 'mat2' \(position 2\) must be Tensor, not int"):
        torch.mm(torch.ones(2, 2), 2)


def test_in_place_and_out_forms():
    """addmm_ writes into its input; out= fills a given tensor."""
    y = torch.ones(2, 2)
    assert y.addmm_(torch.eye(2), torch.eye(2)) is y
    assert torch.equal(y, torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
    out = torch.empty(2, 2)
    torch.mm(torch.eye(2), torch.eye(2), out=out)
    assert torch.equal(out, torch.eye(2))


def test_chain_is_multiplied_in_the_cheapest_order(monkeypatch):
    """multi_dot of (10, 100), (100, 5), (5, 50) multiplies the first two first."""
    shapes = []
    original = kernels.matmul
    monkeypatch.setattr(kernels, "matmul", lambda a, b, *bias: shapes.append((a.shape, b.shape)) or original(a, b, *bias))
    OPS["linalg.multi_dot"].fn([torch.ones(10, 100), torch.ones(100, 5), torch.ones(5, 50)])
    assert shapes == [((10, 100), (100, 5)), ((10, 5), (5, 50))]


def test_einsum_with_lists_of_ints():
    """Operands may alternate with lists of dimension numbers, Ellipsis among them."""
    a, b = torch.randn(2, 3), torch.randn(4, 3, 5)
    assert torch.allclose(torch.einsum(a, [0, 1], b, [2, 1, 3], [2, 0, 3]), torch.einsum("ij,bjk->bik", a, b))
    assert torch.allclose(torch.einsum(b, [..., 0]), b)
