"""Rows of the embeddings."""

from . import I, Row, S, T, V

F = "nn.functional."
INDICES = V([[0, 2, 2], [5, 0, 1]])

ROWS = [
    Row("embedding", [S(T(7, 3), INDICES), S(T(7, 3), I()), S(T(7, 3), I(0))], lambda w, i: w[i],
        errors=[(S(T(3, 2), V([3])), IndexError, "index out of range in self"), (S(T(3, 2), T(2)), RuntimeError, "Long, Int; but got")]),
    Row(F + "embedding", [S(INDICES, T(7, 3)), S(I(4, high=7), T(7, 70)), S(INDICES, T(7, 3), scale_grad_by_freq=True)],
        lambda i, w, **k: w[i], skip={"gradcheck": "scale_grad_by_freq is no derivative", "gradgradcheck": "scale_grad_by_freq"},
        errors=[(S(V([9]), T(7, 3)), IndexError, "index out of range in self")]),
    Row(F + "embedding", [S(INDICES, T(7, 3))], lambda i, w: w[i]),
    Row(F + "embedding_bag", [S(INDICES, T(7, 3), mode=m) for m in ("sum", "mean", "max")]
        + [S(V([0, 2, 5, 1]), T(7, 3), V([0, 3]), mode="mean")], None,
        errors=[(S(V([1, 2]), T(7, 3)), ValueError, "offsets has to be a 1D Tensor but got None"),
                (S(INDICES, T(7, 3), mode="min"), ValueError, "mode has to be one of sum, mean or max")]),
]
