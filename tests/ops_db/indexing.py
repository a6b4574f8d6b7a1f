"""Rows of gather, scatter, selection by index and mask, joining and rearranging."""
import itertools

import numpy as np

from . import B, C, D, I, Row, S, T, V

GATHERED = [S(T(3, 4), 1, I(3, 2, high=4)), S(T(3, 4), 0, I(2, 3, high=3)), S(T(2, 3, 4), -2, I(2, 5, 4, high=3)),
            S(T(5), 0, I(7, high=5)), S(T(), 0, V([0, 0])), S(T(3, 4), 1, I(3, 0)), S(T(2, 3, 4), 1, I(1, 2, 2, high=3)),
            S(C(3, 4), 1, I(3, 2, high=4)), S(I(3, 4), 1, I(3, 2, high=4)), S(B(3, 4), 1, I(3, 2, high=4))]


def scattered(*more, unique=False):
    """Samples of scatter's form, ``more`` after (input, dim, index, src)."""
    return [S(T(3, 4), 0, I(2, 4, high=3, unique=unique), T(2, 4), *more),
            S(T(2, 3, 3), 0, I(2, 2, 3, high=2, unique=unique), T(2, 2, 3), *more),
            S(T(6), 0, I(4, high=6, unique=unique), T(4), *more), S(T(3, 2), 0, I(0, 2, high=3), T(0, 2), *more)]


def np_scatter(combine):
    def reference(input, dim, index, src):
        out = np.array(input)
        for place in np.ndindex(index.shape):
            at = list(place)
            at[dim] = index[place]
            out[tuple(at)] = combine(out[tuple(at)], src[place])
        return out
    return reference


def np_scatter_reduce(input, dim, index, src, reduce, include_self=True):
    groups = {}
    for place in np.ndindex(index.shape):
        at = list(place)
        at[dim] = index[place]
        groups.setdefault(tuple(at), []).append(src[place])
    combine = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    out = np.array(input)
    for at, values in groups.items():
        out[at] = combine([out[at], *values] if include_self else values)
    return out


def np_gather(input, dim, index):
    out = np.empty(index.shape, input.dtype)
    for place in np.ndindex(index.shape):
        at = list(place)
        at[dim] = index[place]
        out[place] = input[tuple(at)] if input.ndim else input
    return out


def along(dim, index):
    return (slice(None),) * dim + (index,)


def np_index_add(input, dim, index, source, alpha=1):
    out = np.moveaxis(np.array(input), dim, 0)
    for j, target in enumerate(index):
        out[target] += alpha * np.moveaxis(source, dim, 0)[j]
    return np.moveaxis(out, 0, dim)


def np_index_copy(input, dim, index, source):
    out = np.array(input)
    out[along(dim % input.ndim, index)] = source
    return out


def np_put(input, index, source, accumulate=False):
    out = np.array(input).reshape(-1)
    if accumulate:
        np.add.at(out, index.reshape(-1), source.reshape(-1))
    else:
        out[index.reshape(-1)] = source.reshape(-1)
    return out.reshape(input.shape)


def np_index_put(input, indices, values, accumulate=False):
    out, key = np.array(input), tuple(slice(None) if i is None else i for i in indices)
    if accumulate:
        np.add.at(out, key, values)
    else:
        out[key] = values
    return out


def np_masked_scatter(input, mask, source):
    shape = np.broadcast_shapes(input.shape, mask.shape)
    out, mask = np.broadcast_to(input, shape).copy(), np.broadcast_to(mask, shape)
    out[mask] = source.reshape(-1)[:mask.sum()]
    return out


def np_repeat_interleave(input, repeats=None, dim=None, output_size=None):
    if repeats is None:
        return np.repeat(np.arange(len(input)), input)
    return np.repeat(input, repeats, dim)


def np_diag_embed(input, offset=0, dim1=-2, dim2=-1):
    n = input.shape[-1] + abs(offset)
    out = np.zeros((*input.shape[:-1], n, n))
    i = np.arange(input.shape[-1])
    out[..., i + max(-offset, 0), i + max(offset, 0)] = input
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


def np_block_diag(*tensors):
    tensors = [np.atleast_2d(t) for t in tensors]
    out, r, c = np.zeros((sum(t.shape[0] for t in tensors), sum(t.shape[1] for t in tensors))), 0, 0
    for t in tensors:
        out[r:r + t.shape[0], c:c + t.shape[1]] = t
        r, c = r + t.shape[0], c + t.shape[1]
    return out


def np_meshgrid(*tensors, indexing="ij"):
    return np.meshgrid(*tensors, indexing=indexing)


JOINED = [S([T(2, 3), T(2, 3)]), S([T(2, 3), T(2, 1)], 1), S([T(2, 3), T(4, 3), T(1, 3)], dim=-2), S([T(0), T(2, 3)]),
    S([T(0), T(0)]),
          S([T(2, 3), I(2, 3)]), S([C(2), T(3)]), S([I(2), I(3)]), S([B(2), B(3)]), S([T(2, 0), T(2, 3)], 1)]
STACKED = [S([T(2, 3), T(2, 3)]), S([T(2, 3), T(2, 3), T(2, 3)], 1), S([T(2), T(2)], dim=-1), S([T(), T()]), S([T(0, 2), T(0,
    2)]),
           S([T(2), I(2)])]
SIDE = [S([T(2, 3), T(2, 3)]), S([T(3), T(3)]), S([T(), T()]), S([T(2, 3, 1), T(2, 3, 1)])]
SQUARES = [S(T(3, 3)), S(T(2, 4), 1), S(T(4, 2), diagonal=-1), S(T(2, 3, 3), -5), S(T(2, 3, 3), 7), S(T(0, 3)), S(I(3, 3)),
    S(B(3, 3))]

ROWS = [
    Row("gather", GATHERED, np_gather, also=("float16", "bfloat16"),
        errors=[(S(T(2, 3), 1, V([[5]])), RuntimeError, "index 5 is out of bounds for dimension 1 with size 3"),
                (S(T(2, 3), 1, V([0])), RuntimeError, "Index tensor must have the same number of dimensions as input tensor"),
                (S(T(2, 3), 1, T(2, 3)), RuntimeError, r"gather\(\): Expected dtype int32/int64 for index"),
                (S(T(2, 3), 1, I(3, 3, high=2)), RuntimeError, "Size does not match at dimension 0 expected index"),
                (S(T(2, 3), 2, I(2, 3)), IndexError, "Dimension out of range")]),
    Row("scatter", scattered(unique=True) + [S(T(3, 4), 1, I(3, 2, high=4), 2.5), S(T(3, 4), 0, I(2, 2, high=3), value=2),
                                             S(I(3, 4), 1, I(3, 2, high=4), 7), S(T(3, 4), -1, V([[0], [3], [1]]), T(3, 4))],
        also=("float16",),
        skip={"torch": "torch refuses the gradient of a source larger than the index; the row below compares"}),
    Row("scatter", scattered(unique=True) + [S(T(3, 4), 1, I(3, 2, high=4), 2.5), S(I(3, 4), 1, I(3, 2, high=4), value=7)],
        errors=[(S(T(2, 3), 1, V([[7]]), T(2, 3)), RuntimeError, "index 7 is out of bounds for dimension 1 with size 3"),
                (S(T(2, 3), 1, V([[0]]), I(2, 3)), RuntimeError, "Expected self.dtype to be equal to src.dtype"),
                (S(T(2, 3), 1, I(3, 3), T(2, 3)), RuntimeError, "to be no larger than self")]),
    Row("scatter", [S(T(3, 4), 0, I(2, 4, high=3), T(2, 4), reduce="add"), S(T(3), 0, V([1, 1]), value=2.0, reduce="multiply")],
        grad=False, skip={"gradcheck": "torch differentiates neither, numtorch the sum"}),
    Row("scatter_add", scattered() + [S(I(3, 4), 0, I(2, 4, high=3), I(2, 4)), S(C(3, 2), 1, I(3, 4, high=2), C(3, 4))],
        np_scatter(lambda a, b: a + b), also=("bfloat16",),
        errors=[(S(T(2, 3), 1, V([[7]]), T(2, 3)), RuntimeError, "index 7 is out of bounds for dimension 1 with size 3"),
                (S(T(2, 3), 1, V([[0]]), I(2, 3)), RuntimeError, "Expected self.dtype to be equal to src.dtype")]),
    Row("scatter_reduce", [s for reduce in ("sum", "prod", "mean", "amax", "amin") for s in scattered(reduce)] +
        [S(T(3, 4), 0, I(2, 4, high=3), T(2, 4), reduce, include_self=False) for reduce in ("sum", "prod", "mean", "amax",
            "amin")],
        np_scatter_reduce,
        errors=[(S(T(2, 3), 1, V([[0]]), T(2, 3), "foo"), RuntimeError,
                 "reduce argument must be either sum, prod, mean, amax or amin, got foo")]),
    Row("index_select", [S(T(3, 4), 1, V([2, 0, 0])), S(T(2, 3, 4), -3, V([1])), S(T(5), 0, V([4, 4])), S(T(3, 4), 0, V(1)),
                         S(T(3, 2), 0, I(0)), S(C(3, 2), 1, V([1, 1])), S(I(3, 2), 1, V([1, 1])), S(T(), 0, V([0]))],
        lambda x, dim, i: x if not x.ndim else np.take(x, np.atleast_1d(i), dim), also=("bfloat16", "float16"),
        errors=[(S(T(2, 3), 0, V([5])), IndexError, "index out of range in self"),
                (S(T(2, 3), 0, V([[1]])), IndexError, r"index_select\(\): Index is supposed to be a vector"),
                (S(T(2, 3), 0, T(1)), RuntimeError, r"index_select\(\): Expected dtype int32 or int64 for index")]),
    Row("index_add", [S(T(3, 4), 1, V([2, 0, 0]), T(3, 3)), S(T(2, 3, 4), 0, V([1]), T(1, 3, 4), alpha=2.5), S(T(5), 0, V([4,
        4]), T(2)),
                      S(I(3, 2), 0, V([1, 1]), I(2, 2), alpha=3), S(T(3, 2), 0, I(0), T(0, 2)), S(C(2, 2), 0, V([1, 1]), C(2,
                      2))],
        np_index_add, also=("float16",),
        errors=[(S(T(2, 3), 0, V([5]), T(1, 3)), (RuntimeError, IndexError), "out of"),
                (S(T(2, 3), 0, V([0]), T(2, 3)), RuntimeError,
                    r"Number of indices \(1\) should be equal to source.size\(dim\)")]),
    Row("index_copy", [S(T(3, 4), 1, V([2, 0]), T(3, 2)), S(T(2, 3, 4), 0, V([1]), T(1, 3, 4)), S(T(5), 0, V([4, 1]), T(2)),
                       S(I(3, 2), 0, V([1]), I(1, 2))], np_index_copy,
        errors=[(S(T(2, 3), 0, V([0]), T(2, 3)), IndexError,
            r"Number of indices \(1\) should be equal to source.size\(dim\)")]),
    Row("index_fill", [S(T(3, 4), 1, V([2, 0]), 1.5), S(T(2, 3, 4), 0, V([1]), -1), S(T(5), 0, V([4, 0]), T()), S(I(3, 2), 0,
        V([1]), 7)],
        lambda x, dim, i, value: np_index_copy(x, dim, i, value),
        errors=[(S(T(2, 3), 0, V([9]), 1.0), IndexError, "index 9 is out of bounds for dimension 0 with size 2"),
                (S(T(2, 3), 0, V([0]), T(2)), RuntimeError, "index_fill_ only supports a 0-dimensional value tensor")]),
    Row("index_put", [S(T(3, 4), (V([0, 2]), V([1, 1])), T(2)), S(T(3, 4), (V([0, 0]),), T(2, 4), True),
                      S(T(3, 4), (V([0, 0, 2]),), T(1), True),
                      S(T(4), (V([True, False, True, True]),), T(3)), S(T(2, 3), (V([[0], [1]]), V([[0, 2]])), T()),
                      S(I(3, 4), (V([0, 0]),), I(2, 4), True)], np_index_put,
        errors=[(S(T(2, 3), (V([5]),), T(1)), IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
                (S(T(2, 3), (V([0]),), I(1)), RuntimeError, "Index put requires the source and destination dtypes match"),
                (S(T(2, 3), (V([0, 1]), V([0, 1, 2])), T(1)), IndexError,
                    "shape mismatch: indexing tensors could not be broadcast"),
                (S(T(2, 3), (V([0, 1]),), T(2)), RuntimeError,
                    r"shape mismatch: value tensor of shape \[2\] cannot be broadcast")]),
    Row("index_put", [S(T(3, 4), (None, V([1, 1])), T(3, 2), True), S(T(2, 3, 4), (V([0, 1]), None, V([1, 1])), T(2, 3), True),
                      S(T(2, 3, 4), (V([0, 1]), None, V([1, 1])), T(2, 3))], np_index_put, torch=False,
                      note="torch's Python binding refuses None"),
    Row("take", [S(T(3, 4), V([[0, -1], [5, 5]])), S(T(), V([0])), S(T(3), I(0)), S(I(3, 4), V([3]))],
        lambda x, i: x.reshape(-1)[i],
        errors=[(S(T(2, 3), V([9])), IndexError, "out of range: tried to access index 9 on a tensor of 6 elements"),
                (S(T(2, 3), V([0], dtype="int32")), RuntimeError, "Expected a long tensor for index")]),
    Row("put", [S(T(3, 4), V([[0, -1], [5, 6]]), T(2, 2)), S(T(3, 4), V([0, 0, 3]), T(3), True), S(I(4), V([1]), I(1))], np_put,
        torch=lambda x, *args: x.put(*args),
        errors=[(S(T(2, 3), V([9]), T(1)), IndexError, "out of range: tried to access index 9 on a tensor of 6 elements"),
                (S(T(2, 3), V([1]), T(2)), IndexError, "same number of elements")]),
    Row("take_along_dim", [S(T(3, 4), I(3, 2, high=4), 1), S(T(3, 4), I(1, 4, high=3), 0), S(T(3, 4), I(2, 2, high=12)),
        S(T(1, 4), I(3, 2, high=4), -1)],
        lambda x, i, dim=None: np.take_along_axis(x, i, dim) if dim is not None else x.reshape(-1)[i.reshape(-1)],
        errors=[(S(T(2, 3), V([1]), 1), RuntimeError, "same number of dimensions"),
                (S(T(2, 3), T(2, 3), 1), RuntimeError, "dtype of indices should be Long")]),
    Row("nn.functional.one_hot", [S(V([[0, 2], [1, 1]])), S(I(3), 5), S(I(0), 4), S(V(2))], grad=False,
        reference=lambda x, n=-1: np.eye(max(n, x.max(initial=0) + 1 if n < 0 else n), dtype=np.int64)[x],
        errors=[(S(V([-1])), RuntimeError, "Class values must be non-negative"),
                (S(V([3]), 2), RuntimeError, "Class values must be smaller than num_classes"),
                (S(T(2)), RuntimeError, "one_hot is only applicable to index tensor of type LongTensor")]),
    Row("where", [S(B(3, 4), T(3, 4), T(3, 4)), S(B(4), T(3, 1), T()), S(B(3, 4), T(3, 4), 2.0), S(B(3), 1.5, T(3)), S(B(2,
        3), 1, 0), S(B(2), 1.0, 2),
                  S(B(), T(), T()), S(B(0, 3), T(0, 3), T(1)), S(B(3), I(3), T(3)), S(B(3), I(3), 0.5)],
        lambda c, x, y: np.where(c, x, y), also=("bfloat16", "float16"),
        errors=[(S(T(3), T(3), T(3)), RuntimeError, "where expected condition to be a boolean tensor"),
                (S(B(3), T(2), T(3)), RuntimeError, "must match the size of tensor b")]),
    Row("where", [S(B(3, 4)), S(B()), S(B(0, 3))], np.where, grad=False, skip={"forms": "returns a tuple",
        "values": "0-dim differs from NumPy"}),
    Row("masked_fill", [S(T(3, 4), B(3, 4), 1.5), S(T(3, 4), B(4), -1), S(T(3, 4), B(3, 1), T()), S(T(4), B(3, 4), 0.0),
        S(I(3, 4), B(3, 4), 7),
                        S(T(), B(), 2.0), S(T(0, 3), B(3), 1.0), S(T(2, 3), V(True), 3.0)],
        lambda x, m, v: np.where(m, np.asarray(v).astype(x.dtype), x), also=("bfloat16", "float16"),
        errors=[(S(T(2, 3), B(2), 0.0), RuntimeError, r"The size of tensor a \(2\) must match the size of tensor b \(3\)"),
                (S(T(3), I(3), 0.0), RuntimeError, "only supports boolean masks, but got mask with dtype long int"),
                (S(I(3), B(3), float("inf")), RuntimeError, "value cannot be converted to type int64_t without overflow"),
                (S(T(3), B(3), T(2)), RuntimeError, "only supports a 0-dimensional value tensor")]),
    Row("masked_fill", [S(T(2, 3, 20), B(20), float("-inf")), S(T(40), B(40), float("nan"))], lambda x, m, v: np.where(m, v, x),
        skip={"gradcheck": "no differences of inf"}),
    Row("masked_select", [S(T(3, 4), B(3, 4)), S(T(3, 4), B(4)), S(T(4), B(3, 4)), S(T(0, 3), B(3)), S(T(), V(True)), S(I(3,
        4), B(3, 1))],
        lambda x, m: np.broadcast_to(x, np.broadcast_shapes(x.shape, m.shape))[np.broadcast_to(m,
            np.broadcast_shapes(x.shape, m.shape))],
        errors=[(S(T(3), I(3)), RuntimeError, "masked_select: expected BoolTensor for mask")]),
    Row("masked_scatter", [S(T(3, 4), B(3, 4), T(12)), S(T(3, 4), B(4), T(3, 4)), S(T(2, 2), V([True, False]), T(2)), S(I(4),
        B(4), I(4))],
        np_masked_scatter,
        errors=[(S(T(3), B(3), I(3)), RuntimeError, "expected self and source to have same dtypes"),
                (S(T(3), V([True, True, False]), T(1)), RuntimeError,
                    "Number of elements of source < number of ones in mask")]),
    Row("nonzero", [S(B(3, 4)), S(V([0.0, 2.0, float("nan")])), S(I(2, 3, 2, high=2)), S(B(0, 3)), S(V(5)), S(B(40, 50),
        as_tuple=True)], grad=False,
        reference=lambda x, as_tuple=False: (np.nonzero(x) if as_tuple else np.argwhere(x))),
    Row("argwhere", [S(B(3, 4)), S(I(2, 3, high=2))], np.argwhere, grad=False),
    # joining
    Row("cat", JOINED, lambda tensors, dim=0: np.concatenate([t for t in tensors if t.shape != (0,)] or tensors, dim),
        also=("bfloat16",),
        errors=[(S([T(2, 3), T(3)]), RuntimeError, "Tensors must have same number of dimensions: got 2 and 1"),
                (S([T(2, 3), T(2, 2)]), RuntimeError, "Expected size 3 but got size 2 for tensor number 1 in the list"),
                (S([T()]), RuntimeError, r"zero-dimensional tensor \(at position 0\) cannot be concatenated"),
                (S([T(2), 1]), TypeError, "expected Tensor as element 1 in argument 0, but got int")]),
    Row("concat", JOINED[:2], np.concatenate),
    Row("concatenate", JOINED[:2], np.concatenate),
    Row("stack", STACKED, lambda tensors, dim=0: np.stack(tensors, dim),
        errors=[(S([T(2, 3), T(3)]), RuntimeError,
            r"stack expects each tensor to be equal size, but got \[2, 3\] at entry 0 and \[3\]"),
                (S([]), RuntimeError, "stack expects a non-empty TensorList")]),
    Row("hstack", SIDE, np.hstack), Row("vstack", SIDE, np.vstack), Row("row_stack", SIDE[:1], np.vstack), Row("dstack",
        SIDE, np.dstack),
    Row("column_stack", [S([T(3), T(3)]), S([T(3), T(3, 2)])], np.column_stack),
    Row("block_diag", [S(T(2, 3), T(), T(2)), S(T(1, 2))], np_block_diag,
        errors=[(S(T(2, 2, 2)), RuntimeError, "Input tensors must have 2 or fewer dimensions. Input 0 has 3 dimensions")]),
    Row("tile", [S(T(2, 3), (2,)), S(T(2, 3), (2, 1, 2)), S(T(), (2,)), S(I(2), (3, 2)), S(T(2, 3), (0, 1))], np.tile),
    Row("meshgrid", [S(T(2), T(3), indexing="ij"), S(T(2), T(3), indexing="xy"), S(T(2), T(), T(3), indexing="ij"), S(T(2),
        indexing="xy")],
        np_meshgrid, errors=[(S(T(2, 2), T(2), indexing="ij"), RuntimeError,
            "Expected 0D or 1D tensor in the tensor list but got"),
                             (S(T(2), T(2), indexing="yx"), RuntimeError,
                                 "indexing must be one of \"xy\" or \"ij\", but received: yx")]),
    Row("cartesian_prod", [S(T(2), T(3)), S(T(3)), S(I(2), I(2), I(2))],
        lambda *x: np.array(list(itertools.product(*x))) if len(x) > 1 else x[0]),
    Row("combinations", [S(T(4)), S(T(4), 3), S(T(3), 2, True), S(T(2), 5)],
        lambda x, r=2, w=False: np.array(list((itertools.combinations_with_replacement if w else itertools.combinations)(x,
            r))).reshape(-1, r)),
    # rearranging
    Row("flip", [S(T(2, 3), (0,)), S(T(2, 3), (0, -1)), S(T(3), (0,)), S(T(0, 2), (1,)), S(I(2, 3), (1,)), S(C(2, 3), (0,))],
        np.flip,
        errors=[(S(T(2, 3), (0, 0)), RuntimeError, "dim 0 appears multiple times in the list of dims"),
                (S(T(2, 3), (3,)), IndexError, "Dimension out of range")]),
    Row("fliplr", [S(T(2, 3))], np.fliplr, errors=[(S(T(3)), RuntimeError, "Input must be >= 2-d")]),
    Row("flipud", [S(T(2, 3))], np.flipud, errors=[(S(T()), RuntimeError, "Input must be >= 1-d")]),
    Row("roll", [S(T(2, 3), 1), S(T(2, 3), 1, 0), S(T(2, 3), (1, -2), (0, 1)), S(T(4), 9, 0), S(T(0, 2), 1, 1), S(T(), 1)],
        np.roll,
        errors=[(S(T(2, 3), 1, (0, 1)), RuntimeError, "shifts and dimensions must align. shifts: 1, dims:2")]),
    Row("rot90", [S(T(2, 3)), S(T(2, 3, 2), 2, (1, 2)), S(T(2, 3, 2), 3, (0, 2)), S(T(2, 3), -1), S(T(2, 3), 4)], np.rot90,
        errors=[(S(T(2, 3), 1, (0, 0)), RuntimeError, "expected rotation dims to be different, but got dim0 = 0 and dim1 = 0"),
                (S(T(3)), RuntimeError, "expected total dims >= 2, but got total dims = 1")]),
    Row("tril", SQUARES, lambda x, diagonal=0: np.tril(x, diagonal), also=("bfloat16",),
        errors=[(S(T(3)), RuntimeError, "tril: input tensor must have at least 2 dimensions")]),
    Row("triu", SQUARES, lambda x, diagonal=0: np.triu(x, diagonal),
        errors=[(S(T(3)), RuntimeError, "triu: input tensor must have at least 2 dimensions")]),
    Row("tril_indices", [S(3, 4), S(3, 4, 1), S(4, 2, -1), S(2, 2, dtype=D("int32"))], grad=False,
        reference=lambda r, c, offset=0, dtype=None: np.array(np.tril_indices(r, offset, c))),
    Row("triu_indices", [S(3, 4), S(3, 4, 1), S(4, 2, -1), S(0, 2)], grad=False,
        reference=lambda r, c, offset=0, dtype=None: np.array(np.triu_indices(r, offset, c))),
    Row("diag", [S(T(3)), S(T(3), 1), S(T(3), -2), S(T(3, 4)), S(T(3, 4), 2), S(T(3, 4), -1), S(T(0)), S(I(2, 2))], np.diag,
        errors=[(S(T(1, 1, 1)), RuntimeError, r"diag\(\): Supports 1D or 2D tensors. Got 3D")]),
    Row("diag_embed", [S(T(2, 3)), S(T(2, 3), 1, 0, 2), S(T(3), -2), S(T(2, 0))], np_diag_embed,
        errors=[(S(T(2), 0, 1, 1), RuntimeError, "diagonal dimensions cannot be identical 1, 1")]),
    Row("diagflat", [S(T(2, 2)), S(T(2), 1), S(T())], np.diagflat),
    Row("repeat_interleave", [S(T(2, 3), 2), S(T(2, 3), 2, dim=1), S(T(2, 3), V([1, 2]), dim=0), S(T(2, 3), V([2]), dim=-1),
        S(T(2), V([0, 3]), output_size=3),
                              S(V([1, 0, 2])), S(T(0, 2), 3, 0)], np_repeat_interleave,
        errors=[(S(T(2, 3), V([1, 2, 3]), 0), RuntimeError, "repeats must have the same size as input along dim"),
                (S(T(2, 3), V([-1, 2]), 0), RuntimeError, "repeats can not be negative")]),
    # parts
    Row("tensor_split", [S(T(5, 2), 2), S(T(5, 2), (1, 3)), S(T(2, 5), 7, dim=1), S(T(4), V(2)), S(T(4), V([1, 1]))],
        lambda x, cuts, dim=0: np.array_split(x, cuts if isinstance(cuts, int) or np.ndim(cuts) else int(cuts), dim),
        errors=[(S(T(4), 0), RuntimeError, "number of sections must be larger than 0, got 0"),
                (S(T(), 2), RuntimeError,
                    "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")]),
    Row("hsplit", [S(T(2, 4), 2), S(T(4), 2), S(T(2, 4), (1,))], np.hsplit,
        errors=[(S(T(2, 3), 2), RuntimeError,
            "torch.hsplit attempted to split along dimension 1, but the size of the dimension 3 is not")]),
    Row("vsplit", [S(T(4, 2), 2)], np.vsplit, errors=[(S(T(4), 2), RuntimeError,
        "requires a tensor with at least 2 dimension, but got")]),
    Row("dsplit", [S(T(2, 2, 4), 2)], np.dsplit, errors=[(S(T(4), 2), RuntimeError,
        "requires a tensor with at least 3 dimension, but got")]),
    Row("split_with_sizes", [S(T(4, 2), [1, 3]), S(T(2, 4), [2, 2], 1)], lambda x, sizes, dim=0: np.split(x,
        np.cumsum(sizes)[:-1], dim)),
    Row("select_scatter", [S(T(3, 2), T(2), 0, -1), S(T(3, 2), T(3), 1, 0)], lambda x, src, dim, i: np_index_copy(x, dim,
        [i], np.expand_dims(src, dim)),
        errors=[(S(T(3, 2), T(3), 0, 1), RuntimeError, r"src size = \[3\], slice size = \[2\]")]),
    Row("slice_scatter", [S(T(4, 2), T(2, 2), 0, 1, 3), S(T(2, 4), T(2, 2), 1, None, None, 2)],
        lambda x, src, dim=0, start=None, end=None, step=1: np_index_copy(x, dim, np.arange(x.shape[dim])[start:end:step], src),
        errors=[(S(T(4), T(3), 0, 1, 3), RuntimeError, r"src size = \[3\], slice size = \[2\]")]),
    Row("diagonal_scatter", [S(T(3, 3), T(3)), S(T(3, 4), T(2), 2), S(T(2, 3, 3), T(3, 2), 0, 0, 1)],
        errors=[(S(T(3, 3), T(2)), RuntimeError, r"src size = \[2\], slice size = \[3\]")]),
]
