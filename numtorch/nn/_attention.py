"""Attention: of one set of heads, and with the projections of nn.MultiheadAttention."""
import math
import warnings

import numpy as np

from .. import dtypes
from .. import shape as shapes
from .._attention_ways import allowed
from ..autograd.grad_mode import mode
from ..op import OPS, OUT, grad_name, record
from ..ops import create
from ..ops._one_node import gradients
from ..ops.join import cat
from ..tensor import wrap

linear, pad = OPS["nn.functional.linear"].fn, OPS["nn.functional.pad"].fn
dropout = OPS["dropout"].fn


def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
                                 enable_gqa=False):
    """``softmax(query key^T scale + mask) value`` (Vaswani et al., 2017).

    Args:
        query (Tensor): (..., L, E). key (Tensor): (..., S, E). value (Tensor): (..., S, Ev).
        attn_mask (Tensor): broadcast to (..., L, S); bool: True where a query may look; floating: added to the scores.
        dropout_p (float): the probability with which a weight is dropped.
        is_causal (bool): a query sees the keys up to its own position only.
        scale (float): default 1 / sqrt(E).
        enable_gqa (bool): query may have a multiple of key's and value's heads (dimension -3), which are repeated.

    Returns:
        Tensor: (..., L, Ev).

    Raises:
        RuntimeError: a mask and ``is_causal`` are both given, shapes or dtypes do not fit, or no way is allowed that serves
            these operands (``nn.attention.sdpa_kernel``).
    """
    if is_causal and attn_mask is not None:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError("Expected query, key, and value to have the same dtype, but got query.dtype: "
                           f"{_dtype(query)} key.dtype: {_dtype(key)} and value.dtype: {_dtype(value)} instead.")
    if query.dim() < 2 or key.dim() < 2 or value.dim() < 2:
        raise RuntimeError("Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
                           f"{query.dim()}, key.dim: {key.dim()} and value.dim: {value.dim()} instead.")
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    scale = 1 / math.sqrt(query.size(-1)) if scale is None else scale
    if query.is_cuda and dropout_p <= 0.0 and (allowed["flash"] or allowed["mem_efficient"] or allowed["cudnn"]):
        found = _on_device(query, key, value, attn_mask, is_causal, scale)
        if found is not None:
            return found
    if not (allowed["math"] or allowed["flash"] and not query.is_cuda):
        raise RuntimeError("No viable backend for scaled_dot_product_attention was found. This is likely due to turning off "
                           "both the math kernel and the fused kernels.")
    return _composed(query, key, value, attn_mask, dropout_p, is_causal, scale)


def _composed(query, key, value, attn_mask, dropout_p, is_causal, scale):
    """Attention by operations that are recorded, with a matrix of scores."""
    scores = (query * scale).matmul(key.transpose(-2, -1))
    if is_causal:
        attn_mask = create.ones(query.size(-2), key.size(-2), dtype=dtypes.bool, device=query.device).tril()
    hidden = None
    if attn_mask is not None:
        if attn_mask.dtype == dtypes.bool:
            scores = scores.masked_fill(attn_mask.logical_not(), -math.inf)
            hidden = attn_mask.any(-1, True).logical_not()
        else:
            scores = scores + attn_mask
            hidden = attn_mask.detach().eq(-math.inf).all(-1, True)
    if hidden is not None and (hidden.is_cuda or hidden._a.any()):      # on a GPU without waiting for the answer
        # a query that may look nowhere gets zeros, not nan, and so does its gradient
        weights = scores.masked_fill(hidden, 0.0).softmax(-1).masked_fill(hidden, 0.0)
    else:
        weights = scores.softmax(-1)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p, True)
    return weights.matmul(value)


# ---- on a device -------------------------------------------------------------------------------------------------------------

def _on_device(query, key, value, mask, causal, scale):
    """Attention by one kernel; None where there is none for these operands."""
    from ..kernels import attention_cuda

    (length, size), (keys, value_size) = query._a.shape[-2:], value._a.shape[-2:]
    lead = shapes.broadcast_shapes(*[t._a.shape[:-2] for t in (query, key, value)])
    if (not shapes.numel(lead) * length * keys or not attention_cuda.serves(query._a.dtype, size, value_size, query._a.device)
            or any([type(t._a) is not type(query._a) for t in (key, value) + (() if mask is None else (mask,))])):
        return None
    if mask is not None:
        scores = (*lead, length, keys)
        if (mask._rg or mask._a.dtype not in (np.dtype(bool), query._a.dtype)
                or shapes.broadcast_shapes(scores, mask._a.shape) != scores):
            return None
    arrays = [_by_heads(t._a, lead) for t in (query, key, value)]
    seen = None if mask is None else _by_heads(np.broadcast_to(mask._a, (*lead, length, keys)), lead)
    out, normalizer = attention_cuda.forward(*arrays, seen, causal, scale)
    return record(out.reshape(*lead, length, value_size), attention_backward, (query, key, value), (query, key, value, mask, OUT),
                  normalizer=normalizer, causal=causal, scale=scale)


def _by_heads(a, lead):
    """An array broadcast to the leading sizes ``lead``, which become two."""
    a = np.broadcast_to(a, (*lead, *a.shape[-2:]))
    if len(lead) == 2:
        return a
    return a.reshape(shapes.numel(lead[:-1]), lead[-1] if lead else 1, *a.shape[-2:])


@grad_name("ScaledDotProductEfficientAttentionBackward0")
def attention_backward(node, g):
    """The gradients of query, key and value, from scores that are computed again; by recorded operations where backward is."""
    query, key, value, mask, out = node.saved_tensors
    ctx = node.ctx
    if mode.enabled:
        inputs = [t.view_as(t) for t in (query, key, value)]       # each on its own, should they be the same tensor
        y = _composed(*inputs, mask, 0.0, ctx["causal"], ctx["scale"])
        return gradients((y,), inputs, (g,), node.needs, create_graph=True)
    from ..kernels import attention_cuda

    lead = out._a.shape[:-2]
    arrays = [_by_heads(t._a, lead) for t in (g, query, key, value, out)]
    seen = None if mask is None else _by_heads(np.broadcast_to(mask._a, (*lead, query.size(-2), key.size(-2))), lead)
    found = attention_cuda.backward(*arrays, ctx["normalizer"], seen, ctx["causal"], ctx["scale"])
    return tuple([wrap(a.reshape(*lead, *t._a.shape[-2:])) if needed else None
                  for a, t, needed in zip(found, (query, key, value), node.needs)])


def _dtype(t):
    return {"float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16"}.get(
        t.dtype._name, t.dtype._name)


# ---- with projections --------------------------------------------------------------------------------------------------

def _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads):
    """True for batched inputs; AssertionError where the numbers of dimensions do not fit."""
    n = query.dim()
    if n not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {n}-D query tensor")
    which = "batched (3-D)" if n == 3 else "unbatched (2-D)"
    if key.dim() != n or value.dim() != n:
        raise AssertionError(f"For {which} `query`, expected `key` and `value` to be {n}-D but found {key.dim()}-D and "
                             f"{value.dim()}-D tensors respectively")
    if key_padding_mask is not None and key_padding_mask.dim() != n - 1:
        raise AssertionError(f"For {which} `query`, expected `key_padding_mask` to be `None` or {n - 1}-D but found "
                             f"{key_padding_mask.dim()}-D tensor instead")
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(f"For {which} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
                                 f"{attn_mask.dim()}-D tensor instead")
        expected = (num_heads, query.shape[0], key.shape[0])
        if n == 2 and attn_mask.dim() == 3 and attn_mask.shape != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}")
    return n == 3


def _canonical_mask(mask, mask_name, other_type, other_name, target_type, check_other=True):
    """A mask as numbers that are added to the scores: a bool one gives -inf where it is True."""
    if mask is None:
        return None
    if mask.dtype != dtypes.bool and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if check_other and other_type is not None and mask.dtype != other_type:
        warnings.warn(f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for both instead.",
                      stacklevel=4)
    if mask.is_floating_point():
        return mask
    return create.zeros(tuple(mask.shape), dtype=target_type, device=mask.device).masked_fill_(mask, -math.inf)


def _project_packed(q, k, v, weight, bias):
    """The three projections by one weight (3 E, E): one product where the inputs are the same tensor."""
    size = q.size(-1)
    if q is k and k is v:
        return linear(q, weight, bias).chunk(3, -1)
    if k is v:
        w_q, w_kv = weight.split([size, size * 2])
        b_q, b_kv = (None, None) if bias is None else bias.split([size, size * 2])
        return (linear(q, w_q, b_q), *linear(k, w_kv, b_kv).chunk(2, -1))
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(linear(x, w, b) for x, w, b in zip((q, k, v), weight.chunk(3), biases))


def _project(q, k, v, weights, bias):
    """The three projections by weights of their own."""
    size = q.size(-1)
    for what, x, w in zip(("query", "key", "value"), (q, k, v), weights):
        if w is None:
            raise AssertionError(f"use_separate_proj_weight is True but {what[0]}_proj_weight is None")
        if w.shape != (size, x.size(-1)):
            raise AssertionError(f"expecting {what} weights shape of {(size, x.size(-1))}, but got {w.shape}")
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(linear(x, w, b) for x, w, b in zip((q, k, v), weights, biases))


def _check_mask_shape(mask, batch_heads, tgt_len, src_len):
    """The mask as (1 or N heads, L, S); RuntimeError if its shape is another."""
    expected = (tgt_len, src_len) if mask.dim() == 2 else (batch_heads, tgt_len, src_len)
    if mask.dim() not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {mask.dim()} is not supported")
    if mask.shape != expected:
        raise RuntimeError(f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}.")
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _static(given, projected, name, batch_heads, head_dim):
    """Keys or values by head: the projected ones, or those that the caller gave."""
    if given is None:
        return projected.reshape(projected.shape[0], batch_heads, head_dim).transpose(0, 1)
    for dim, expected in ((0, batch_heads), (2, head_dim)):
        if given.size(dim) != expected:
            raise AssertionError(f"expecting {name}.size({dim}) of {expected}, but got {given.size(dim)}")
    return given


def multi_head_attention_forward(query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k, bias_v,
                                 add_zero_attn, dropout_p, out_proj_weight, out_proj_bias, training=True, key_padding_mask=None,
                                 need_weights=True, attn_mask=None, use_separate_proj_weight=False, q_proj_weight=None,
                                 k_proj_weight=None, v_proj_weight=None, static_k=None, static_v=None,
                                 average_attn_weights=True, is_causal=False):
    """Multi-head attention on projected inputs (Vaswani et al., 2017); see ``nn.MultiheadAttention``.

    Args:
        query (Tensor): (L, N, E) or (L, E). key, value (Tensor): (S, N, Ek), (S, N, Ev), or without N.
        embed_dim_to_check (int): what E must be. num_heads (int): divides E.
        in_proj_weight (Tensor): (3 E, E); or None with ``use_separate_proj_weight`` and the three ``*_proj_weight``.
        in_proj_bias (Tensor): (3 E). bias_k, bias_v (Tensor): (1, 1, E), a further key and value.
        add_zero_attn (bool): a further key and value of zeros.
        dropout_p (float): of the attention weights, while ``training``.
        out_proj_weight (Tensor), out_proj_bias (Tensor): of the final projection.
        key_padding_mask (Tensor): (N, S), bool: True hides a key; floating: added to the scores.
        need_weights (bool): also return the attention weights, averaged over heads unless ``average_attn_weights`` is False.
        attn_mask (Tensor): (L, S) or (N heads, L, S), bool: True hides; floating: added.
        static_k, static_v (Tensor): (N heads, S, E / heads), instead of the projected ones.
        is_causal (bool): a hint that ``attn_mask`` is the causal mask.

    Returns:
        The output, shaped as query; and the weights (N, L, S), (N, heads, L, S), or None.
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same_qk, same_kv = query is key, key is value
        query = query.unsqueeze(1)
        key = query if same_qk else key.unsqueeze(1)
        value = key if same_kv else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    tgt_len, batch, size = query.shape
    src_len = key.shape[0]
    key_padding_mask = _canonical_mask(key_padding_mask, "key_padding_mask", None if attn_mask is None else attn_mask.dtype,
                                       "attn_mask", query.dtype)
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
                           "`generate_square_subsequent_mask` to create this mask.")
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None        # the hint says it all
    else:
        attn_mask = _canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, False)
        is_causal = is_causal and key_padding_mask is None
    if size != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {size}")
    head_dim, heads = size // num_heads, batch * num_heads
    if head_dim * num_heads != size:
        raise AssertionError(f"embed_dim {size} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}")
        q, k, v = _project(query, key, value, (q_proj_weight, k_proj_weight, v_proj_weight), in_proj_bias)
    else:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _project_packed(query, key, value, in_proj_weight, in_proj_bias)
    if attn_mask is not None:
        attn_mask = _check_mask_shape(attn_mask, heads, tgt_len, src_len)
    more = 0        # keys beyond those of the caller, which masks do not hide
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k is set but bias_v is None" if bias_v is None else "bias_v is set but bias_k is None")
    if bias_k is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError(f"bias cannot be added to static {'key' if static_k is not None else 'value'}.")
        k, v, more = cat([k, bias_k.repeat(1, batch, 1)]), cat([v, bias_v.repeat(1, batch, 1)]), 1
    q = q.reshape(tgt_len, heads, head_dim).transpose(0, 1)
    k = _static(static_k, k, "static_k", heads, head_dim)
    v = _static(static_v, v, "static_v", heads, head_dim)
    if add_zero_attn:
        zeros = create.zeros(heads, 1, head_dim, dtype=k.dtype, device=k.device)
        k, v, more = cat([k, zeros], 1), cat([v, zeros], 1), more + 1
    if more and attn_mask is not None:
        attn_mask = pad(attn_mask, (0, more))
    if more and key_padding_mask is not None:
        key_padding_mask = pad(key_padding_mask, (0, more))
    src_len = k.size(1)
    if key_padding_mask is not None:
        if key_padding_mask.shape != (batch, src_len):
            raise AssertionError(f"Expected key_padded_mask.shape[{0 if key_padding_mask.shape[0] != batch else 1}] to be "
                                 f"{batch if key_padding_mask.shape[0] != batch else src_len}, but got "
                                 f"{key_padding_mask.shape[0 if key_padding_mask.shape[0] != batch else 1]}")
        hidden = key_padding_mask.view(batch, 1, 1, src_len).expand(-1, num_heads, -1, -1).reshape(heads, 1, src_len)
        attn_mask = hidden if attn_mask is None else attn_mask + hidden
    dropout_p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        scores = (q * (1 / math.sqrt(head_dim))).bmm(k.transpose(-2, -1))
        weights = (scores if attn_mask is None else scores + attn_mask).softmax(-1)
        if dropout_p > 0.0:
            weights = dropout(weights, dropout_p, True)
        found = weights.bmm(v)
        weights = weights.view(batch, num_heads, tgt_len, src_len)
        if average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            weights = weights.squeeze(0)
    else:
        if attn_mask is not None:
            attn_mask = attn_mask.unsqueeze(0) if attn_mask.size(0) == 1 else attn_mask.view(batch, num_heads, -1, src_len)
        q, k, v = (x.reshape(batch, num_heads, -1, head_dim) for x in (q, k, v))
        found = scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal).reshape(heads, tgt_len, head_dim)
    found = linear(found.transpose(0, 1).reshape(tgt_len, batch, size), out_proj_weight, out_proj_bias)
    return (found if batched else found.squeeze(1)), weights
