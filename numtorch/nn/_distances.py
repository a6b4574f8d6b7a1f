"""Distances, normalisation to unit length, and the losses made of distances."""
from ..op import OPS, type_name
from ..ops._one_node import one_node
from ..ops.loss import reduce_loss, reduction_of


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """``|x1 - x2 + eps|_p`` along the last dimension.

    Args:
        x1, x2 (Tensor): (N, D) or (D), broadcast against each other.
        p (float): the norm.
        eps (float): added to the difference, against division by zero in the gradient.
        keepdim (bool): keep the last dimension, with size 1.
    """
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """``x1 . x2 / (max(|x1|, eps) max(|x2|, eps))`` along ``dim``.

    Args:
        x1, x2 (Tensor): broadcast against each other.
        dim (int): along which the vectors lie.
        eps (float): the smallest length.

    Raises:
        RuntimeError: the dtypes are not floating.

    >>> import numtorch as torch
    >>> torch.nn.functional.cosine_similarity(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
    tensor([0.9600])
    """
    for x in (x1, x2):
        if not x.is_floating_point():
            raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {type_name(x.dtype)}")
    return ((x1 / x1.norm(2, dim, True).clamp_min(eps)) * (x2 / x2.norm(2, dim, True).clamp_min(eps))).sum(dim)


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """``input / max(|input|_p, eps)`` along ``dim``.

    Args:
        input (Tensor): of any shape.
        p (float): the norm.
        dim (int or ints): along which it is taken.
        eps (float): the smallest divisor.
        out (Tensor): written to, if given.
    """
    found = input / input.norm(p, dim, True).clamp_min(eps)
    return found if out is None else out.copy_(found)


@one_node("PdistBackward0")
def pdist(input, p=2.0):
    """The distances of all pairs of rows.

    Args:
        input (Tensor): (N, M).
        p (float): the norm.

    Returns:
        Tensor: (N (N - 1) / 2), in the order (0, 1), (0, 2), ... (1, 2) ...
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    n = input.size(0)
    first, second = OPS["triu_indices"].fn(n, n, 1).unbind(0)
    return (input[first] - input[second]).norm(p, -1)


def _hinge(positive, negative, margin, reduction):
    return reduce_loss((margin + positive - negative).clamp_min(0), reduction)


def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, size_average=None, reduce=None,
                        reduction="mean"):
    """``max(0, margin + d(anchor, positive) - d(anchor, negative))``.

    Args:
        anchor, positive, negative (Tensor): (N, D) or (D).
        margin (float): by how much the negative is to be farther.
        p, eps: of ``pairwise_distance``.
        swap (bool): take the smaller of d(anchor, negative) and d(positive, negative) (Balntas et al., 2016).
        reduction (str): "none", "mean" or "sum"; ``size_average`` and ``reduce`` are its older form.

    Raises:
        ValueError: ``margin`` is not positive.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet(anchor, positive, negative)
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return _hinge(near, far, margin, reduction)


def _check_triplet(anchor, positive, negative):
    a, p, n = anchor.dim(), positive.dim(), negative.dim()
    if not a == p == n:
        raise RuntimeError("The anchor, positive, and negative tensors are expected to have the same number of dimensions, but "
                           f"got: anchor {a}D, positive {p}D, and negative {n}D inputs")


def triplet_margin_with_distance_loss(anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False,
                                      reduction="mean"):
    """``triplet_margin_loss`` with a distance of the caller's.

    Args:
        anchor, positive, negative (Tensor): what the distance takes.
        distance_function: of two Tensors; default ``pairwise_distance``.
        margin, swap, reduction: as in ``triplet_margin_loss``.
    """
    reduction = reduction_of(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet(anchor, positive, negative)
    distance = distance_function or pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return _hinge(near, far, margin, reduction)


@one_node("MultilabelMarginLossBackward0")
def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """``sum_ij max(0, 1 - (x[y_j] - x[i])) / C`` over the labels y_j and the classes i that are no label.

    Args:
        input (Tensor): (N, C) or (C).
        target (Tensor): int64, of the same shape: a row's labels, up to the first -1.
        reduction (str): "none", "mean" or "sum"; ``size_average`` and ``reduce`` are its older form.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if target.shape != input.shape or input.dim() not in (1, 2):
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    x, y = (t if t.dim() == 2 else t.unsqueeze(0) for t in (input, target))
    used = y.lt(0).cumsum(1).eq(0)
    if not y.is_cuda and y.ge(x.size(1)).logical_and(used).any():
        raise RuntimeError("argument #3 'target' is out of range")
    labels = y.masked_fill(used.logical_not(), 0)                           # places past the labels count 0
    is_label = y.new_zeros(tuple(x.shape)).scatter_add(1, labels, used.to(y.dtype)).gt(0)
    terms = (1 - x.gather(1, labels).unsqueeze(2) + x.unsqueeze(1)).clamp_min(0)        # (N, T, C)
    terms = terms.masked_fill(used.unsqueeze(2).logical_and(is_label.logical_not().unsqueeze(1)).logical_not(), 0)
    loss = terms.sum((1, 2)) / x.size(1)
    return reduce_loss(loss if input.dim() == 2 else loss.squeeze(0), reduction)
