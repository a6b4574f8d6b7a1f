"""Rows of the matrix products."""
import numpy as np

from . import C, I, Row, S, T

TOL = {"float32": (2e-5, 1e-5)}


def affine(product):
    def reference(input, a, b, beta=1, alpha=1):
        return beta * input + alpha * product(a, b)
    return reference


def pair(*shapes, **options):
    return S(*(T(*shape) for shape in shapes), **options)


SIZES = [((2, 3), (3, 4)), ((1, 1), (1, 1)), ((2, 0), (0, 3)), ((0, 2), (2, 3)), ((5, 2), (2, 1))]
STACKS = [((2, 3, 4), (2, 4, 2)), ((1, 1, 3), (1, 3, 1)), ((2, 3, 0), (2, 0, 2)), ((0, 3, 2), (0, 2, 2))]
EXTRA = [dict(), dict(beta=0.5, alpha=2.0), dict(beta=0, alpha=-1)]

ROWS = [
    Row("mm", [pair(*s) for s in SIZES] + [S(C(2, 3), C(3, 2)), S(I(2, 3), I(3, 2))], np.matmul, tol=TOL,
        also=("float16", "bfloat16"),
        errors=[(pair((2, 3), (2, 3)), RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)"),
                (pair((2, 2, 3), (3, 3)), RuntimeError, "self must be a matrix"),
                (pair((2, 3), (3,)), RuntimeError, "mat2 must be a matrix"),
                (S(T(2, 3), I(3, 3)), RuntimeError, "expected m1 and m2 to have the same dtype")]),
    Row("bmm", [pair(*s) for s in STACKS] + [S(C(2, 2, 3), C(2, 3, 2)), S(I(2, 2, 3), I(2, 3, 2))], np.matmul, tol=TOL,
        errors=[(pair((2, 3, 4), (2, 3, 4)), RuntimeError,
                 r"Expected size for first two dimensions of batch2 tensor to be: \[2, 4\] but got: \[2, 3\]"),
                (pair((2, 3), (2, 3, 4)), RuntimeError, "batch1 must be a 3D tensor")]),
    Row("matmul", [pair(*s) for s in SIZES[:3] + STACKS] +
        [pair((3,), (3,)), pair((2, 3), (3,)), pair((3,), (3, 2)), pair((2, 4, 3), (3,)), pair((3,), (2, 3, 4)),
         pair((2, 2, 3), (3, 2)), pair((4, 3), (2, 3, 2)), pair((2, 1, 2, 3), (3, 3, 2)), pair((2, 1, 2, 3), (1, 3, 3, 1)),
         pair((0, 2, 3), (3,)), pair((2, 2, 0), (0, 3)), S(C(2, 2, 3), C(3, 2)), S(I(2, 2, 3), I(3)), S(C(3), C(2, 3, 2))],
        np.matmul, tol=TOL,
        errors=[(pair((), (3,)), RuntimeError, "both arguments to matmul need to be at least 1D, but they are 0D and 1D"),
                (pair((2,), (4, 4)), RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(1x2 and 4x4\)"),
                (pair((2, 3, 4), (5, 4)), RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(6x4 and 5x4\)"),
                (pair((2, 3, 4), (3, 4, 4)), RuntimeError, r"The size of tensor a \(2\) must match the size of tensor b \(3\)"),
                (pair((2, 3, 4), (2, 3, 4)), RuntimeError, "Expected size for first two dimensions of batch2 tensor"),
                (pair((2, 3), (4,)), RuntimeError, r"size mismatch, got input \(2\), mat \(2x3\), vec \(4\)")]),
    Row("linalg.matmul", [pair((2, 3), (3, 4)), pair((2, 2, 3), (3,))], np.matmul, tol=TOL),
    Row("mv", [pair((2, 3), (3,)), pair((2, 0), (0,)), pair((0, 2), (2,)), S(C(2, 3), C(3)), S(I(2, 3), I(3))], np.matmul,
        tol=TOL, errors=[(pair((2,), (4,)), RuntimeError, "expected, got 1, 1, 1"),
                         (pair((2, 3), (4,)), RuntimeError, "size mismatch")]),
    Row("dot", [pair((3,), (3,)), pair((0,), (0,)), S(C(3), C(3)), S(I(4), I(4))], np.dot, tol=TOL,
        errors=[(pair((2,), (3,)), RuntimeError, r"inconsistent tensor size, expected tensor \[2\] and src \[3\]"),
                (pair((2, 2), (3,)), RuntimeError, "1D tensors expected, but got 2D and 1D tensors")]),
    Row("vdot", [pair((3,), (3,)), S(C(3), C(3))], np.vdot, tol=TOL),
    Row("outer", [pair((3,), (2,)), pair((0,), (2,)), S(C(2), C(2)), S(I(2), I(3))], np.outer,
        errors=[(pair((2, 2), (3,)), RuntimeError, "outer: Expected 1-D argument self, but got 2-D")]),
    Row("ger", [pair((3,), (2,))], np.outer),
    Row("nn.functional.linear",
        [pair((2, 3), (4, 3)), pair((2, 3), (4, 3), (4,)), pair((3,), (4, 3), (4,)), pair((3,), (4, 3)),
         pair((2, 2, 3), (4, 3), (4,)), pair((2, 2, 3), (4, 3)), pair((2, 3), (3,)), pair((0, 3), (2, 3), (2,)),
         pair((2, 0), (2, 0), (2,)), S(C(2, 3), C(2, 3), C(2))],
        lambda x, w, b=0: x @ w.T + b, tol=TOL, also=("bfloat16",),
        errors=[(pair((2, 3), (4, 5)), RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 5x4\)"),
                (pair((2, 5, 3), (4, 5), (4,)), RuntimeError, r"cannot be multiplied \(10x3 and 5x4\)"),
                (pair((2, 3), (4, 3), (5,)), RuntimeError, "The expanded size of the tensor"),
                (pair((2, 3), (3,), (1,)), RuntimeError, "mat2 must be a matrix, got 1-D tensor")]),
    Row("nn.functional.bilinear",
        [pair((2, 3), (2, 4), (5, 3, 4), (5,)), pair((2, 3), (2, 2), (2, 3, 2)), pair((2, 2, 3), (2, 2, 2), (1, 3, 2), (1,)),
         pair((3,), (2,), (2, 3, 2))],
        lambda x, y, w, b=0: np.einsum("...i,oij,...j->...o", x, w, y) + b, tol=TOL,
        errors=[(pair((2, 3), (2, 4), (5, 4, 4)), RuntimeError, "input1 size does not match weight size: got 3 but expected 4"),
                (pair((3, 3), (2, 4), (5, 3, 4)), RuntimeError, "input batch dimensions do not match at dim 0: got 3 and 2")]),
    Row("addmm", [pair((2, 4), (2, 3), (3, 4), **e) for e in EXTRA] +
        [pair((4,), (2, 3), (3, 4)), pair((), (2, 3), (3, 4)), pair((2, 1), (2, 0), (0, 4)), S(I(2, 2), I(2, 3), I(3, 2), beta=2),
         S(C(2, 2), C(2, 3), C(3, 2), alpha=2.0)], affine(np.matmul), tol=TOL,
        errors=[(pair((5,), (2, 3), (3, 4)), RuntimeError, r"The expanded size of the tensor \(4\) must match the existing size"),
                (pair((2, 4), (2, 3), (2, 4)), RuntimeError, "mat1 and mat2 shapes cannot be multiplied"),
                (pair((2, 4), (2, 3), (4,)), RuntimeError, "mat2 must be a matrix, got 1-D tensor")]),
    Row("addmv", [pair((2,), (2, 3), (3,), **e) for e in EXTRA] + [pair((1,), (2, 3), (3,))], affine(np.matmul), tol=TOL,
        errors=[(pair((5,), (3, 4), (4,)), RuntimeError, r"size mismatch, got input \(5\), mat \(3x4\), vec \(4\)")]),
    Row("addr", [pair((2, 3), (2,), (3,), **e) for e in EXTRA] + [pair((3,), (2,), (3,))], affine(np.outer), tol=TOL),
    Row("baddbmm", [pair((2, 3, 2), (2, 3, 4), (2, 4, 2), **e) for e in EXTRA] + [pair((2,), (2, 3, 1), (2, 1, 2))],
        affine(np.matmul), tol=TOL,
        errors=[(pair((2, 3, 4), (2, 3, 5), (2, 4, 4)), RuntimeError, "Expected size for first two dimensions of batch2")]),
    Row("addbmm", [pair((3, 2), (2, 3, 4), (2, 4, 2), **e) for e in EXTRA] + [pair((2,), (2, 3, 1), (2, 1, 2))],
        affine(lambda a, b: np.matmul(a, b).sum(0)), tol=TOL),
    Row("linalg.multi_dot", [S([T(2, 3), T(3, 4), T(4, 2)]), S([T(3), T(3, 2), T(2)]), S([T(2, 2), T(2, 2)]),
                             S([T(2, 5), T(5, 1), T(1, 6), T(6, 2), T(2)])],
        lambda ts: np.linalg.multi_dot(ts), tol=TOL,
        errors=[(S([T(2, 3)]), RuntimeError, r"multi_dot\(\): expected at least 2 tensors but got 1"),
                (S([T(2, 3), T(2, 3)]), RuntimeError, r"tensors 0 and 1 with shapes \[2, 3\] and \[2, 3\] cannot be multiplied")]),
    Row("chain_matmul", [pair((2, 3), (3, 4), (4, 2)), pair((2, 3))],
        lambda *ts: ts[0] if len(ts) == 1 else np.linalg.multi_dot(ts), tol=TOL),
    Row("einsum",
        [S("ij,jk->ik", T(2, 3), T(3, 4)), S("ij,jk", T(2, 3), T(3, 4)), S("bij,bjk->bik", T(2, 3, 2), T(2, 2, 3)),
         S("ii->i", T(3, 3)), S("ii", T(3, 3)), S("iij->ji", T(2, 2, 3)), S("ij->", T(2, 3)), S("ij->ji", T(2, 3)),
         S("i,j->ij", T(2), T(3)), S("i,i->", T(3), T(3)), S("ij,ij->ij", T(2, 3), T(2, 3)), S("ij,j->i", T(2, 3), T(3)),
         S("...ij,...jk->...ik", T(2, 3, 2), T(2, 2, 3)), S("i...j,jk->i...k", T(2, 2, 3), T(3, 2)),
         S("...ij,...jk->...ik", T(2, 1, 3, 2), T(4, 2, 3)), S("...", T(2, 3)),
         S("bn,anm,bm->ba", T(2, 3), T(4, 3, 2), T(2, 2)), S("i,j,k->kji", T(2), T(3), T(2)), S("ij,kl,m->m", T(2, 3), T(3, 1), T(2)),
         S("ba,Ab", T(2, 3), T(2, 2)), S(" i j , j k -> i k ", T(2, 3), T(3, 2)), S("ijk,ilm,njm,nlk,abc->", T(2, 2, 2),
                                                                                    T(2, 2, 2), T(2, 2, 2), T(2, 2, 2), T(1, 2, 2)),
         S("ij,jk->ik", [T(2, 3), T(3, 4)])],
        lambda eq, *ts: np.einsum(eq, *(ts[0] if isinstance(ts[0], list) else ts)), tol={"float32": (1e-4, 2e-5)},
        errors=[(S("ij,jk", T(2, 3), T(4, 4)), RuntimeError, "subscript j has size 4 for operand 1 which does not broadcast with "),
                (S("ij,jk->ikz", T(2, 3), T(3, 4)), RuntimeError, "output subscript z does not appear in the equation"),
                (S("ij,jk->iik", T(2, 3), T(3, 4)), RuntimeError, "output subscript i appears more than once in the output"),
                (S("ijk,jk", T(2, 3), T(3, 4)), RuntimeError, r"the number of subscripts in the equation \(3\) does not match"),
                (S("ij", T(2, 3), T(3, 4)), RuntimeError, "more operands were provided than specified in the equation"),
                (S("ij,jk", T(2, 3)), RuntimeError, "fewer operands were provided than specified in the equation"),
                (S("i1->i", T(2, 3)), RuntimeError, "invalid subscript given at index 1 in the equation string"),
                (S("ii", T(2, 3)), RuntimeError, "subscript i is repeated for operand 0 but the sizes don't match, 3 != 2"),
                (S("ij..,jk->", T(2, 3), T(2, 3)), RuntimeError, "found '.' for operand 0 that is not part of any ellipsis")]),
    Row("einsum", [S("ij...,jk...->ik", T(2, 3, 2), T(3, 2, 2)), S(T(2, 3), [0, 1], T(3, 4), [1, 2], [0, 2]),
                   S(T(2, 3, 3), [..., 1, 1])], None, tol={"float32": (1e-4, 2e-5)},
        note="NumPy wants the output to name an ellipsis that the operands have"),
    Row("tensordot", [S(T(2, 3, 4), T(3, 4, 5)), S(T(2, 3), T(3, 2), dims=1), S(T(2), T(3), dims=0),
                      S(T(2, 3, 4), T(4, 2, 2), dims=([0, 2], [1, 0])), S(T(2, 3), T(2, 3), dims=([-1], [-1]))],
        lambda a, b, dims=2: np.tensordot(a, b, dims), tol=TOL,
        errors=[(S(T(2, 3, 4), T(3, 4, 5), 1), RuntimeError, "contracted dimensions need to match, but first has size 4 in dim -1"),
                (S(T(2, 3), T(2, 3), -1), RuntimeError, "tensordot expects dims >= 0"),
                (S(T(2, 3), T(2, 3), ([0], [0, 1])), RuntimeError, "both dimension lists should have same length")]),
    Row("inner", [pair((3,), (3,)), pair((2, 3), (4, 3)), pair((), (2, 3)), pair((2, 2, 3), (3,))], np.inner, tol=TOL,
        errors=[(pair((2, 3), (4, 5)), RuntimeError, r"inner\(\) the last dimension must match on both input tensors")]),
    Row("kron", [pair((2, 3), (2, 2)), pair((3,), (2, 2)), pair((), (2,)), pair((2, 2), (3,)), S(I(2), I(2, 2))], np.kron),
    Row("linalg.vecdot", [pair((2, 3), (2, 3)), pair((2, 3), (3,)), pair((2, 3), (2, 3), dim=0), S(C(2, 3), C(2, 3))],
        lambda x, y, dim=-1: (np.conj(x) * y).sum(dim), tol=TOL),
]
