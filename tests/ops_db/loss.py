"""Rows of the losses."""
import numpy as np

from . import I, Row, S, T, V
from .softmax import log_softmax

F = "nn.functional."
TOL = {"float32": (2e-5, 2e-6)}
REDUCTIONS = ("mean", "sum", "none")


def reduced(loss, reduction):
    return loss if reduction == "none" else (np.mean(loss) if reduction == "mean" else np.sum(loss))


def nll(x, t, weight=None, ignore_index=-100, reduction="mean"):
    x = np.moveaxis(x, 1, -1) if x.ndim > 1 else x[None]
    rows, targets = x.reshape(-1, x.shape[-1]), np.asarray(t).reshape(-1)
    w = np.ones(rows.shape[1]) if weight is None else weight
    live = targets != ignore_index
    safe = np.where(live, targets, 0)
    each = np.where(live, -w[safe] * rows[np.arange(len(rows)), safe], 0)
    if reduction == "mean":
        with np.errstate(all="ignore"):
            return each.sum() / (w[safe] * live).sum()
    return each.sum() if reduction == "sum" else each.reshape(np.shape(t))


def cross_entropy(x, t, weight=None, ignore_index=-100, reduction="mean"):
    return nll(log_softmax(x, 1 if x.ndim > 1 else 0), t, weight, ignore_index, reduction)


W = T(5, low=0.2, high=2, grad=False)
CLASS = [S(T(4, 5), I(4), reduction=r) for r in REDUCTIONS] + [
    S(T(4, 5), I(4), W), S(T(4, 5), V([0, 2, 2, 4]), ignore_index=2), S(T(5), I()), S(T(2, 5, 3), I(2, 3)),
    S(T(2, 5, 2, 2), I(2, 2, 2), W, reduction="none"), S(T(2, 5, 3), I(2, 3), reduction="sum")]
CLASS_ERRORS = [(S(T(4, 5), I(3)), ValueError, r"Expected input batch_size \(4\) to match target batch_size \(3\)"),
                (S(T(4, 5), V([0, 1, 2, 10])), IndexError, "Target 10 is out of bounds"),
                (S(T(4, 5), I(4), reduction="average"), ValueError, "average is not a valid value for reduction"),
                (S(T(4, 5), I(4), T(3, grad=False)), RuntimeError, "weight tensor should be defined either for all 5 classes or no classes")]


def pairs(*more, low=-2, high=2, second=None):
    s = second or T(3, 4, grad=True)
    return [S(T(3, 4, low=low, high=high), s, reduction=r) for r in REDUCTIONS] + list(more)


def both(name, fn, *more, low=-2, high=2, second=None, **options):
    def reference(x, y, reduction="mean", **kwargs):
        return reduced(fn(x, y, **kwargs), reduction)
    return Row(F + name, pairs(*more, low=low, high=high, second=second), reference, tol=TOL, **options)


def smooth_l1(x, y, beta=1.0):
    d = np.abs(x - y)
    return np.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta) if beta else d


def huber(x, y, delta=1.0):
    d = np.abs(x - y)
    return np.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta))


def bce(x, y):
    return -(y * np.log(x) + (1 - y) * np.log(1 - x))


def softplus(x):
    return np.logaddexp(0, x)


SIGNS = V(np.array([[1.0, -1.0, 1.0, -1.0]] * 3))
BITS = V(np.array([[1.0, 0.0, 1.0, 0.0]] * 3))
PROBABILITIES = T(3, 4, low=0.1, high=0.9, grad=False)

ROWS = [
    Row(F + "nll_loss", CLASS, nll, tol=TOL, errors=CLASS_ERRORS),
    Row(F + "cross_entropy", CLASS, cross_entropy, tol=TOL, errors=CLASS_ERRORS[:3]),
    Row(F + "cross_entropy", [S(T(4, 5), I(4), label_smoothing=0.2, reduction=r) for r in REDUCTIONS] + [
        S(T(4, 5), I(4), W, label_smoothing=0.1), S(T(4, 5), V([0, 2, 2, 4]), ignore_index=2, label_smoothing=0.1),
        S(T(4, 5), T(4, 5, low=0, high=1)), S(T(4, 5), T(4, 5, low=0, high=1), W, label_smoothing=0.1),
        S(T(2, 5, 3), I(2, 3), label_smoothing=0.1)], None, tol=TOL),
    both("mse_loss", lambda x, y: (x - y) ** 2, S(T(3), T(3)), S(T(), T())),
    both("l1_loss", lambda x, y: np.abs(x - y)), both("smooth_l1_loss", smooth_l1, S(T(3), T(3), beta=0.3), S(T(3), T(3), beta=0.0)),
    both("huber_loss", huber, S(T(3), T(3), delta=0.4)),
    both("binary_cross_entropy", bce, low=0.1, high=0.9, second=PROBABILITIES,
         errors=[(S(T(3, low=1.5, high=2), T(3)), RuntimeError, "all elements of input should be between 0 and 1"),
                 (S(T(3, low=0.1, high=0.9), T(4)), ValueError, r"Using a target size \(torch.Size\(\[4\]\)\)")]),
    both("binary_cross_entropy_with_logits", lambda x, y: softplus(x) - x * y, second=PROBABILITIES,
         errors=[(S(T(3), T(4)), ValueError, r"Target size \(torch.Size\(\[4\]\)\) must be the same as input size")]),
    Row(F + "binary_cross_entropy_with_logits", [S(T(3, 4), PROBABILITIES, T(4, low=0.5, high=2, grad=False)),
                                                 S(T(3, 4), PROBABILITIES, pos_weight=T(4, low=0.5, high=2, grad=False))], None, tol=TOL),
    Row(F + "kl_div", [S(T(3, 4), T(3, 4, low=0.1, high=1), reduction=r) for r in (*REDUCTIONS, "batchmean")]
        + [S(T(3, 4), T(3, 4), log_target=True, reduction="sum")], None, tol=TOL),
    both("soft_margin_loss", lambda x, y: np.log1p(np.exp(-y * x)), second=SIGNS),
    both("hinge_embedding_loss", lambda x, y: np.where(y == 1, x, np.maximum(0, 1 - x)), second=SIGNS),
    Row(F + "margin_ranking_loss", [S(T(3), T(3), V([1.0, -1.0, 1.0]), margin=0.3, reduction=r) for r in REDUCTIONS],
        lambda a, b, y, margin=0, reduction="mean": reduced(np.maximum(0, -y * (a - b) + margin), reduction), tol=TOL),
    Row(F + "cosine_embedding_loss", [S(T(3, 4), T(3, 4), V([1.0, -1.0, 1.0]), margin=0.1, reduction=r) for r in REDUCTIONS], None, tol=TOL),
    Row(F + "multilabel_soft_margin_loss", [S(T(3, 4), BITS, reduction=r) for r in REDUCTIONS], None, tol=TOL),
    Row(F + "multi_margin_loss", [S(T(3, 4), V([0, 3, 1])), S(T(3, 4), V([0, 3, 1]), p=2, margin=0.5, reduction="none")], None, tol=TOL,
        skip={"gradgradcheck": "a piecewise linear loss"}),
    Row(F + "poisson_nll_loss", [S(T(3, 4), T(3, 4, low=0.5, high=3, grad=False)), S(T(3, 4, low=0.5, high=2), T(3, 4, low=0.5, high=3, grad=False), False),
                                 S(T(3), T(3, low=0.5, high=3, grad=False), full=True)], None, tol=TOL),
    Row(F + "gaussian_nll_loss", [S(T(3, 4), T(3, 4), T(3, 4, low=0.5, high=2)), S(T(3, 4), T(3, 4), T(3, 4, low=0.5, high=2), full=True)], None, tol=TOL),
]
