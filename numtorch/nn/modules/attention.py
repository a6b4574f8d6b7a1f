"""MultiheadAttention."""
from .. import functional as F
from .. import init
from .linear import Linear
from .module import Module
from .utils import parameter

__all__ = ["MultiheadAttention", "NonDynamicallyQuantizableLinear"]


class NonDynamicallyQuantizableLinear(Linear):
    """Linear, under the name that torch prints for the output projection of attention."""


class MultiheadAttention(Module):
    """``concat(head_1 ... head_h) W^O`` with ``head_i = attention(query W_i^Q, key W_i^K, value W_i^V)``.

    Args:
        embed_dim (int): size of the model, E.
        num_heads (int): divides ``embed_dim``.
        dropout (float): of the attention weights.
        bias (bool): whether the projections have one.
        add_bias_kv (bool): learn a further key and value. add_zero_attn (bool): add a key and value of zeros.
        kdim, vdim (int): sizes of key and value; default ``embed_dim``.
        batch_first (bool): inputs are (N, L, E) instead of (L, N, E).
        device, dtype: of the parameters.

    Source: Vaswani et al., 2017.
    """

    __constants__ = ["batch_first"]

    def __init__(self, embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False, add_zero_attn=False, kdim=None,
                 vdim=None, batch_first=False, device=None, dtype=None):
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
                             f"num_heads={num_heads} instead")
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim, self.vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads, self.dropout, self.batch_first = num_heads, dropout, batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        if self._qkv_same_embed_dim:
            self.in_proj_weight = parameter((3 * embed_dim, embed_dim), device, dtype)
        for name, size in (("q_proj_weight", embed_dim), ("k_proj_weight", self.kdim), ("v_proj_weight", self.vdim)):
            there = not self._qkv_same_embed_dim
            self.register_parameter(name, parameter((embed_dim, size), device, dtype) if there else None)
        if not self._qkv_same_embed_dim:
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", parameter((3 * embed_dim,), device, dtype) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.bias_k = parameter((1, 1, embed_dim), device, dtype) if add_bias_kv else None
        self.bias_v = parameter((1, 1, embed_dim), device, dtype) if add_bias_kv else None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self):
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None, average_attn_weights=True,
                is_causal=False):
        """(L, N, E), (S, N, kdim), (S, N, vdim), or with ``batch_first`` (N, L, E) ..., or all without N.

        Args:
            key_padding_mask (Tensor): (N, S), bool: True hides a key; floating: added to the scores.
            need_weights (bool): also return the attention weights.
            attn_mask (Tensor): (L, S) or (N heads, L, S), bool: True hides; floating: added.
            average_attn_weights (bool): the weights' mean over heads.
            is_causal (bool): a hint that ``attn_mask`` is the causal mask.

        Returns:
            The output, shaped as query; and the weights (N, L, S), (N, heads, L, S), or None.
        """
        transposed = self.batch_first and query.dim() == 3
        if transposed:
            same_qk, same_kv = query is key, key is value
            query = query.transpose(1, 0)
            key = query if same_qk else key.transpose(1, 0)
            value = key if same_kv else value.transpose(1, 0)
        found, weights = F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k, self.bias_v,
            self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, self.training, key_padding_mask,
            need_weights, attn_mask, not self._qkv_same_embed_dim, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight,
            average_attn_weights=average_attn_weights, is_causal=is_causal)
        return found.transpose(1, 0) if transposed else found, weights
