"""Sums of products over named dimensions: einsum, tensordot, inner, kron, vecdot, bilinear; all end in ``bmm`` or ``mm``."""
import string

from .. import shape as shapes
from ..op import op, type_name
from ..tensor import Tensor
from . import pointwise
from .matmul import bmm, conj, matmul, mm, must_be_tensors
from .reduce import sum as sum_
from .view import diagonal, permute, reshape, unsqueeze

ELLIPSIS = "."      # stands, in a parsed term, for the dimensions that "..." covers


@op()
def einsum(equation, *operands):
    """Sums of products of operands, their dimensions named by letters in ``equation`` (Einstein's notation).

    A letter that the output does not name is summed over; a letter twice in one operand takes its diagonal; "..." stands for
    dimensions without a name, which broadcast. Without "->", the output has the letters that occur once, in the order of the
    alphabet, after those of "...".

    Args:
        equation (str): such as "ij,jk->ik"; or operands alternating with lists of ints, then the output's list.
        operands (Tensors): one for each term, or one list of them.

    Raises:
        RuntimeError: the equation is malformed or does not fit the operands' shapes.

    >>> import numtorch as torch
    >>> torch.einsum("ii", torch.eye(3))
    tensor(3.)
    """
    if isinstance(equation, Tensor):
        equation, operands = _from_lists((equation, *operands))
    if not operands:
        raise ValueError("einsum(): must specify the equation string and at least one operand, or at least one operand and its "
                         "subscripts list")
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = operands[0]
    terms, output = _parse(equation, operands)
    sizes, hidden = _sizes(terms, operands)
    if output is None:
        once = [c for c in string.ascii_letters if sum(term.count(c) for term in terms) == 1]
        output = ([ELLIPSIS] if hidden else []) + sorted(once)
    _check_output(output, sizes)
    labels = list(dict.fromkeys(c for term in terms for c in term if c != ELLIPSIS))
    summed = [c for c in labels if c not in output]
    if hidden and ELLIPSIS not in output:
        summed.append(ELLIPSIS)
    order = []
    for c in output + summed:
        order += [(ELLIPSIS, i) for i in range(hidden)] if c == ELLIPSIS else [c]
    kept = len(order) - sum(hidden if c == ELLIPSIS else 1 for c in summed)
    aligned = [_aligned(operand, term, order, hidden) for operand, term in zip(operands, terms)]
    result = aligned[0]
    for i, other in enumerate(aligned[1:], 1):
        later = [{d for d in range(len(order)) if t._a.shape[d] != 1} for t in aligned[i + 1:]]
        result = _contract(result, other, {d for d in range(kept, len(order)) if not any(d in used for used in later)})
    rest = tuple(range(kept, len(order)))
    if rest:
        result = sum_(result, rest) if len(aligned) == 1 or any(result._a.shape[d] != 1 for d in rest) else \
            reshape(result, result._a.shape[:kept])
    return permute(result, range(kept)) if result is operands[0] else result


def _from_lists(arguments):
    """The equation and operands of the form einsum(x, [0, 1], y, [1, 2], [0, 2])."""
    def term(labels):
        word = ""
        for label in labels:
            if label is not Ellipsis and not 0 <= label < 52:
                raise ValueError(f"einsum(): subscript {label} is not in the range of [0, 52)")
            word += "..." if label is Ellipsis else string.ascii_letters[label - 26 if label > 25 else label + 26]
        return word
    pairs = len(arguments) // 2
    equation = ",".join(term(labels) for labels in arguments[1:2 * pairs:2])
    if len(arguments) % 2:
        equation += "->" + term(arguments[-1])
    return equation, arguments[:2 * pairs:2]


def _parse(equation, operands):
    """The terms and the output (None if it is implied) as lists of letters, ELLIPSIS among them."""
    inputs, arrow, output = equation.partition("->")
    words = inputs.split(",")
    offset, terms = 0, []
    for i, word in enumerate(words):
        terms.append(_letters(word, offset, f"operand {i}", f"for operand {i} for which an ellipsis was already found"))
        offset += len(word) + 1
    found = _letters(output, len(inputs) + 2, "output", "for output for which an ellipsis (...) was already found") \
        if arrow else None
    if len(words) > len(operands):
        raise RuntimeError("einsum(): fewer operands were provided than specified in the equation")
    if len(words) < len(operands):
        raise RuntimeError("einsum(): more operands were provided than specified in the equation")
    return terms, found


def _letters(word, offset, what, twice):
    found, i = [], 0
    while i < len(word):
        c = word[i]
        if c == ".":
            if word[i:i + 3] != "...":
                raise RuntimeError(f"einsum(): found '.' for {what} that is not part of any ellipsis"
                                   + (" (...)" if what == "output" else ""))
            if ELLIPSIS in found:
                raise RuntimeError(f"einsum(): found '.' {twice}")
            found.append(ELLIPSIS)
            i += 2
        elif c != " ":
            if c not in string.ascii_letters:
                raise RuntimeError(f"einsum(): invalid subscript given at index {offset + i} in the equation string, subscripts "
                                   "must be in [a-zA-Z]")
            found.append(c)
        i += 1
    return found


def _sizes(terms, operands):
    """The size of every letter, and how many dimensions "..." covers at most."""
    sizes, hidden = {}, 0
    for i, (term, operand) in enumerate(zip(terms, operands)):
        if not isinstance(operand, Tensor):
            raise TypeError(f"einsum(): argument 'operands' must be tuple of Tensors, but found element of type "
                            f"{type(operand).__name__} at pos {i}")
        shape = operand._a.shape
        named = len(term) - (ELLIPSIS in term)
        if ELLIPSIS in term:
            if named > len(shape):
                raise RuntimeError(f"einsum(): the number of subscripts in the equation ({named}) is more than the number of "
                                   f"dimensions ({len(shape)}) for operand {i}")
            hidden = max(hidden, len(shape) - named)
        elif named != len(shape):
            raise RuntimeError(f"einsum(): the number of subscripts in the equation ({named}) does not match the number of "
                               f"dimensions ({len(shape)}) for operand {i} and no ellipsis was given")
        mine = {}
        for c, size in zip(_spread(term, len(shape) - named), shape):
            if type(c) is tuple:
                continue
            if mine.setdefault(c, size) != size:
                raise RuntimeError(f"einsum(): subscript {c} is repeated for operand {i} but the sizes don't match, {size} != "
                                   f"{mine[c]}")
            seen = sizes.get(c, 1)
            if size != 1 and seen not in (1, size):
                raise RuntimeError(f"einsum(): subscript {c} has size {size} for operand {i} which does not broadcast with "
                                   f"previously seen size {seen}")
            sizes[c] = max(seen, size) if size else 0
    return sizes, hidden


def _spread(term, covered):
    """The term with (ELLIPSIS, place) for each covered dimension in place of ELLIPSIS."""
    found = []
    for c in term:
        found += [(ELLIPSIS, i) for i in range(covered)] if c == ELLIPSIS else [c]
    return found


def _check_output(output, sizes):
    for i, c in enumerate(output):
        if c == ELLIPSIS:
            continue
        if c in output[:i]:
            raise RuntimeError(f"einsum(): output subscript {c} appears more than once in the output")
        if c not in sizes:
            raise RuntimeError(f"einsum(): output subscript {c} does not appear in the equation for any input operand")


def _aligned(operand, term, order, hidden):
    """The operand with its dimensions in ``order``, of size 1 where it lacks one; repeated letters become diagonals."""
    covered = operand._a.ndim - (len(term) - 1) if ELLIPSIS in term else 0
    # the covered dimensions are aligned at their end, as in broadcasting
    names = [(ELLIPSIS, c[1] + hidden - covered) if type(c) is tuple else c for c in _spread(term, covered)]
    i = 0
    while i < len(names):
        c = names[i]
        if c in names[i + 1:]:
            j = names.index(c, i + 1)
            operand = diagonal(operand, 0, i, j)        # the diagonal comes last
            names = [n for k, n in enumerate(names) if k not in (i, j)] + [c]
        else:
            i += 1
    places = [names.index(c) for c in order if c in names]
    if places != list(range(len(places))):
        operand = permute(operand, places)
    if len(places) != len(order):
        sizes = iter(operand._a.shape)
        operand = reshape(operand, [next(sizes) if c in names else 1 for c in order])
    return operand


def _contract(a, b, summed):
    """The product of two aligned tensors, added up over the dimensions in ``summed``, which keep size 1."""
    n = a._a.ndim
    shape_a, shape_b = a._a.shape, b._a.shape
    groups = {"both": [], "left": [], "right": [], "sum": []}
    for d in range(n):
        if d in summed:
            if shape_a[d] != 1 and shape_b[d] != 1:
                groups["sum"].append(d)
                continue
            # only one factor has this dimension: it is added up before the product
            if shape_a[d] != 1:
                a = sum_(a, d, keepdim=True)
            elif shape_b[d] != 1:
                b = sum_(b, d, keepdim=True)
            groups["both"].append(d)
        elif shape_b[d] == 1 and shape_a[d] != 1:
            groups["left"].append(d)
        elif shape_a[d] == 1 and shape_b[d] != 1:
            groups["right"].append(d)
        else:
            groups["both"].append(d)
    if not groups["sum"]:
        return pointwise.mul(a, b)
    shape_a, shape_b = a._a.shape, b._a.shape

    def size(shape, group):
        return shapes.numel([shape[d] for d in groups[group]])

    def stack(t, order, sizes):
        places = [d for group in order for d in groups[group]]
        return reshape(t if places == list(range(n)) else permute(t, places), sizes)
    lead, inner = size(shape_a, "both"), size(shape_a, "sum")
    left, right = size(shape_a, "left"), size(shape_b, "right")
    x = stack(a, ("both", "left", "sum", "right"), (lead, left, inner))
    y = stack(b, ("both", "sum", "right", "left"), (lead, inner, right))
    z = bmm(x, y)
    order = groups["both"] + groups["left"] + groups["right"] + groups["sum"]
    z = reshape(z, [shape_a[d] for d in groups["both"] + groups["left"]] + [shape_b[d] for d in groups["right"]]
                + [1] * len(groups["sum"]))
    return z if order == list(range(n)) else permute(z, [order.index(d) for d in range(n)])


# ---- with dimensions by number -----------------------------------------------------------------------------------------

@op(out=True)
def tensordot(a, b, dims=2):
    """The products of ``a`` and ``b`` added up over pairs of dimensions.

    Args:
        a, b (Tensor): of any shapes.
        dims (int or two lists of ints): the last ``dims`` dimensions of a against the first of b, or which against which.

    Returns:
        Tensor of a's other dimensions, then b's.

    >>> import numtorch as torch
    >>> torch.tensordot(torch.ones(2, 3, 4), torch.ones(3, 4, 5)).shape
    torch.Size([2, 5])
    """
    must_be_tensors("tensordot", a=a, b=b)
    x, y = a._a.shape, b._a.shape
    if isinstance(dims, Tensor):
        dims = dims.tolist() if dims._a.ndim else int(dims)
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(len(x), len(y)):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        dims_a, dims_b = list(range(-dims, 0)), list(range(dims))
    else:
        dims_a, dims_b = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(dims_a) != len(dims_b):
        raise RuntimeError("both dimension lists should have same length")
    over_a, over_b = [shapes.wrap_dim(d, len(x)) for d in dims_a], [shapes.wrap_dim(d, len(y)) for d in dims_b]
    for i, (p, q) in enumerate(zip(over_a, over_b)):
        if x[p] != y[q]:
            if x[p] == 1:
                b = sum_(b, q, keepdim=True)
            elif y[q] == 1:
                a = sum_(a, p, keepdim=True)
            else:
                raise RuntimeError(f"contracted dimensions need to match, but first has size {x[p]} in dim {dims_a[i]} and "
                                   f"second has size {y[q]} in dim {dims_b[i]}")
    free_a, free_b = ([d for d in range(len(s)) if d not in over] for s, over in ((x, over_a), (y, over_b)))
    inner = shapes.numel([a._a.shape[d] for d in over_a])
    left = reshape(permute(a, free_a + over_a), (shapes.numel([x[d] for d in free_a]), inner))
    right = reshape(permute(b, over_b + free_b), (inner, shapes.numel([y[d] for d in free_b])))
    return reshape(mm(left, right), [x[d] for d in free_a] + [y[d] for d in free_b])


@op(method=True, out=True)
def inner(input, other):
    """The products of ``input`` and ``other`` added up over the last dimension of both; with a 0-dim tensor, the product.

    >>> import numtorch as torch
    >>> torch.inner(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor(11)
    """
    must_be_tensors("inner", input=input, other=other)
    x, y = input._a.shape, other._a.shape
    if not x or not y:
        return pointwise.mul(input, other)
    if x[-1] != y[-1]:
        raise RuntimeError(f"inner() the last dimension must match on both input tensors but got shapes {list(x)} and {list(y)}")
    return tensordot(input, other, ([-1], [-1]))


@op(method=True, out=True)
def kron(input, other):
    """The Kronecker product: every element of ``input`` times all of ``other``, laid out in blocks.

    >>> import numtorch as torch
    >>> torch.kron(torch.tensor([1, 2]), torch.tensor([1, 10]))
    tensor([ 1, 10,  2, 20])
    """
    must_be_tensors("kron", input=input, other=other)
    n = max(input._a.ndim, other._a.ndim)
    x, y = ((1,) * (n - t._a.ndim) + t._a.shape for t in (input, other))
    a = reshape(input, [size for s in x for size in (s, 1)])
    b = reshape(other, [size for s in y for size in (1, s)])
    return reshape(pointwise.mul(a, b), [s * t for s, t in zip(x, y)])


@op(namespace="linalg", out=True)
def vecdot(x, y, *, dim=-1):
    """The dot products of the vectors along ``dim``, those of ``x`` conjugated; the other dimensions broadcast.

    >>> import numtorch as torch
    >>> torch.linalg.vecdot(torch.ones(2, 3), torch.ones(3))
    tensor([3., 3.])
    """
    must_be_tensors("linalg_vecdot", x=x, y=y)
    return sum_(pointwise.mul(conj(x), y), dim)


@op(namespace="nn.functional")
def bilinear(input1, input2, weight, bias=None):
    """``y[..., o] = sum over i, j of input1[..., i] * weight[o, i, j] * input2[..., j] + bias[o]``.

    Args:
        input1, input2 (Tensor): (..., i) and (..., j) with equal leading dimensions.
        weight (Tensor): (o, i, j).
        bias (Tensor): (o), or None.

    >>> import numtorch as torch
    >>> torch.nn.functional.bilinear(torch.ones(1, 2), torch.ones(1, 3), torch.ones(1, 2, 3))
    tensor([[6.]])
    """
    must_be_tensors("bilinear", input1=input1, input2=input2, weight=weight)
    x, y, w = input1._a.shape, input2._a.shape, weight._a.shape
    if len(x) != len(y):
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {len(x)} and {len(y)}")
    for d in range(len(x) - 1):
        if x[d] != y[d]:
            raise RuntimeError(f"bilinear(): input batch dimensions do not match at dim {d}: got {x[d]} and {y[d]}")
    for i, (size, have) in enumerate(((x[-1], w[1]), (y[-1], w[2])), 1):
        if size != have:
            raise RuntimeError(f"bilinear(): input{i} size does not match weight size: got {size} but expected {have}")
    if bias is not None and bias._a.shape[0] != w[0]:
        raise RuntimeError(f"bilinear(): bias size does not match weight size: got {bias._a.shape[0]} but expected {w[0]}")
    if input1._a.dtype != weight._a.dtype:
        raise RuntimeError(f"expected scalar type {type_name(input1.dtype)} but found {type_name(weight.dtype)}")
    rows = shapes.numel(x[:-1])
    partial = matmul(reshape(input1, (1, rows, x[-1])), weight)                         # (o, rows, j)
    y_ = sum_(pointwise.mul(partial, unsqueeze(reshape(input2, (rows, y[-1])), 0)), -1)  # (o, rows)
    out = reshape(permute(y_, (1, 0)), (*x[:-1], w[0]))
    return out if bias is None else pointwise.add(out, bias)
