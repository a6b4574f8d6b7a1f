"""What autocast does with each operation: which of torch's policies it has on a device, and what the policies are.

The tables are torch's (``aten/src/ATen/autocast_mode``), by the names that users call. What torch composes of listed operations
and numtorch has whole is listed under what comes out of the composition.
"""
import threading

from .. import dtypes
from ..autograd.grad_mode import mode
from ..tensor import Tensor


class _State(threading.local):
    """The settings of a thread."""

    def __init__(self):
        self.active = False                     # some device's autocast is on, and no listed operation is running
        self.enabled = {"cpu": False, "cuda": False}
        self.dtypes = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16}
        self.cache_enabled, self.nesting, self.cache = True, 0, {}


state = _State()


# ---- casts -----------------------------------------------------------------------------------------------------------------

def kind_of(t):
    """The device type of a tensor, as the tables name it."""
    return "cuda" if t.is_cuda else "cpu"


def _eligible(t, kind):
    dtype = t.dtype
    return dtype.is_floating_point and dtype is not dtypes.float64 and kind_of(t) == kind


def _cast_tensor(t, dtype, kind):
    """``t`` as ``dtype``, if it is of a floating type but float64 and on that device. A float32 leaf that requires a gradient is
    cast once: the result is kept until the outermost context ends."""
    if t.dtype is dtype or not _eligible(t, kind):
        return t
    keep = (state.cache_enabled and dtype is state.dtypes[kind] and t.dtype is dtypes.float32 and t.requires_grad and t.is_leaf
            and t._base is None)
    if not keep:
        return t.to(dtype)
    key = id(t), dtype, mode.enabled            # a cast made under no_grad has no history
    found = state.cache.get(key)
    if found is None:
        found = state.cache[key] = t, t.to(dtype)
    return found[1]


def cast(tree, dtype, kind):
    """Nested arguments with their eligible tensors as ``dtype``."""
    if isinstance(tree, Tensor):
        return _cast_tensor(tree, dtype, kind)
    if type(tree) is tuple or type(tree) is list:
        return type(tree)([cast(part, dtype, kind) for part in tree])
    return tree


def _run(fn, args, kwargs, dtype, kind):
    return fn(*cast(args, dtype, kind), **{name: cast(value, dtype, kind) for name, value in kwargs.items()})


def _tensors(tree):
    for part in tree:
        if isinstance(part, Tensor):
            yield part
        elif type(part) is tuple or type(part) is list:
            yield from _tensors(part)


# ---- policies: what is called for fn(*args, **kwargs) -----------------------------------------------------------------------

def lower(fn, args, kwargs, kind):
    """In the lower precision."""
    return _run(fn, args, kwargs, state.dtypes[kind], kind)


def full(fn, args, kwargs, kind):
    """In float32."""
    return _run(fn, args, kwargs, dtypes.float32, kind)


def promote(fn, args, kwargs, kind):
    """In the widest type among the arguments.

    Raises:
        RuntimeError: a half type that is not the one of the context.
    """
    widest = low = state.dtypes[kind]
    for t in _tensors((*args, *kwargs.values())):
        if _eligible(t, kind):
            if t.dtype is dtypes.float32:
                widest = dtypes.float32
            elif widest is low and t.dtype is not low:
                raise RuntimeError("Unexpected floating ScalarType in at::autocast::prioritize")
    return _run(fn, args, kwargs, widest, kind)


def untouched(fn, args, kwargs, kind):
    """As it is, and so are the operations that it is made of."""
    return fn(*args, **kwargs)


def result_in_full(place):
    """With ``dtype=float32`` for a half type, unless a dtype is given.

    Args:
        place (int): the position of the function's parameter dtype.
    """
    def policy(fn, args, kwargs, kind):
        first = next(_tensors((*args, *kwargs.values())))
        if _eligible(first, kind) and first.dtype is not dtypes.float32 and kwargs.get("dtype") is None and (
                len(args) <= place or args[place] is None):
            if len(args) > place:
                args = (*args[:place], dtypes.float32, *args[place + 1:])
            else:
                kwargs = {**kwargs, "dtype": dtypes.float32}
        return fn(*args, **kwargs)
    return policy


def refuse(fn, args, kwargs, kind):
    """RuntimeError: its gradient does not fit into a half type."""
    raise RuntimeError("torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
                       "Many models use a sigmoid layer right before the binary cross entropy layer.\n"
                       "In this case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_logits\n"
                       "or torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits are\n"
                       "safe to autocast.")


def _einsum(fn, args, kwargs, kind):
    """On the CPU, products that sum over an index which two operands have are in the lower precision; others are left alone."""
    equation = args[0]
    if not isinstance(equation, str):           # operands and lists of their indices
        return lower(fn, args, kwargs, kind)
    given, arrow, kept = equation.replace(" ", "").replace(".", "").partition("->")
    parts = [set(part) for part in given.split(",")]
    shared = {label for part in parts for label in part if sum(label in other for other in parts) > 1}
    summed = shared - set(kept) if arrow else shared
    return (lower if summed else untouched)(fn, args, kwargs, kind)


def _tensordot(fn, args, kwargs, kind):
    """On the CPU, a product of matrices is in the lower precision; a sum over all indices is left alone."""
    sizes = [t.dim() for t in _tensors((*args, *kwargs.values()))][:2]
    dims = kwargs.get("dims", args[2] if len(args) > 2 else 2)
    summed = dims if isinstance(dims, int) else len(dims[0]) if isinstance(dims[0], (tuple, list)) else len(dims) // 2
    return (untouched if sizes == [summed, summed] else lower)(fn, args, kwargs, kind)


def _inner(fn, args, kwargs, kind):
    """On the CPU, a product of matrices is in the lower precision; one of vectors is left alone."""
    matrices = all(t.dim() > 1 for t in _tensors((*args, *kwargs.values())))
    return (lower if matrices else untouched)(fn, args, kwargs, kind)


def _recurrent(fn, args, kwargs, kind):
    """On the CPU, torch has a GRU's state in float32; other networks are in the lower precision."""
    return (untouched if args[0] == "GRU" else lower)(fn, args, kwargs, kind)


def _recurrent_cell(fn, args, kwargs, kind):
    """On the CPU, torch has the state of a cell with gates in float32."""
    return (untouched if args[0] in ("GRU", "LSTM") else lower)(fn, args, kwargs, kind)


def _pad(fn, args, kwargs, kind):
    """On the CPU, reflections of images and replications are in float32."""
    given = dict(zip(("input", "pad", "mode"), args), **kwargs)
    how = given.get("mode", "constant")
    listed = how == "replicate" or how == "reflect" and len(given["pad"]) <= 4
    return (full if listed else untouched)(fn, args, kwargs, kind)


def _interpolate(fn, args, kwargs, kind):
    """On CUDA in float32, but for the mode that is pooling."""
    given = dict(zip(("input", "size", "scale_factor", "mode"), args), **kwargs)
    return (untouched if given.get("mode") == "area" else full)(fn, args, kwargs, kind)


# ---- the tables: name -> policy ----------------------------------------------------------------------------------------------

_PRODUCTS = """mm bmm matmul linear addmm addbmm baddbmm linalg.vecdot linalg.multi_dot chain_matmul conv1d conv2d conv3d
conv_transpose1d conv_transpose2d conv_transpose3d prelu scaled_dot_product_attention cov"""

_LOSSES = """nll_loss cross_entropy l1_loss mse_loss smooth_l1_loss huber_loss kl_div poisson_nll_loss hinge_embedding_loss
cosine_embedding_loss margin_ranking_loss soft_margin_loss triplet_margin_loss multi_margin_loss multilabel_margin_loss
binary_cross_entropy_with_logits"""


def _table(**policies):
    """name -> policy, from lines of names by the policy's name."""
    known = globals()
    return {name: known[policy] for policy, names in policies.items() for name in names.split()}


TABLES = {
    "cuda": _table(
        lower=_PRODUCTS + " addmv addr mv einsum recurrent.run recurrent.cell",
        full=_LOSSES + """ acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow square softplus
            layer_norm rms_norm group_norm frobenius_norm nuclear_norm cosine_similarity dist pdist cdist renorm logsumexp
            gaussian_nll_loss multilabel_soft_margin_loss pairwise_distance triplet_margin_with_distance_loss normalize
            local_response_norm lp_pool1d lp_pool2d lp_pool3d""",
        _interpolate="interpolate",
        untouched="embedding_bag trace instance_norm logit",   # made of listed ones here, but not in torch
        promote="addcdiv addcmul atan2 bilinear cross linalg.cross dot vdot inner grid_sample index_put tensordot scatter_add "
                "cat stack",
        refuse="binary_cross_entropy"),
    "cpu": _table(
        lower=_PRODUCTS,
        full=_LOSSES + """ binary_cross_entropy adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d max_pool3d max_unpool2d
            max_unpool3d cdist grid_sample polar prod quantile nanquantile trace view_as_complex cholesky cholesky_inverse
            cholesky_solve inverse pinverse qr svd triangular_solve linalg.cholesky linalg.cholesky_ex linalg.cond linalg.eig
            linalg.eigh linalg.eigvals linalg.eigvalsh linalg.inv linalg.inv_ex linalg.lstsq linalg.matrix_rank linalg.qr
            linalg.solve linalg.svd linalg.svdvals linalg.tensorinv linalg.tensorsolve fft.fft fft.ifft fft.rfft fft.irfft
            fft.hfft fft.ihfft fft.fft2 fft.ifft2 fft.rfft2 fft.irfft2 fft.fftn fft.ifftn fft.rfftn fft.irfftn""",
        _pad="pad", _einsum="einsum", _tensordot="tensordot", _inner="inner", _recurrent="recurrent.run",
        _recurrent_cell="recurrent.cell",
        promote="stack cat index_copy"),
}

# on CUDA: their results are float32, or what their argument dtype says
WITH_DTYPE = frozenset("""prod softmax softmin log_softmax cumprod cumsum sum norm linalg.norm linalg.vector_norm
    linalg.matrix_norm""".split())
