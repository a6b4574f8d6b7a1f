"""The library's layers as scripts see them, where their own forward uses more of Python than scripts have."""

from .. import nn
from ..nn import functional as F
from ..tensor import Tensor
from ._natives import gru, gru_cell, lstm, lstm_cell, rnn_relu, rnn_relu_cell, rnn_tanh, rnn_tanh_cell


def sequential(self, input):
    for module in self:
        input = module(input)
    return input


def batch_norm(self, input: Tensor) -> Tensor:
    if input.dim() not in self._ndims:
        raise ValueError("expected " + " or ".join([f"{n}D" for n in self._ndims]) + f" input (got {input.dim()}D input)")
    momentum = 0.0 if self.momentum is None else self.momentum
    if self.training and self.track_running_stats:
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked)
    use_batch = self.training or (self.running_mean is None and self.running_var is None)
    mean = self.running_mean if not self.training or self.track_running_stats else None
    var = self.running_var if not self.training or self.track_running_stats else None
    return F.batch_norm(input, mean, var, self.weight, self.bias, use_batch, momentum, self.eps)


def instance_norm(self, input: Tensor) -> Tensor:
    if input.dim() not in self._ndims:
        raise ValueError("expected " + " or ".join([f"{n}D" for n in self._ndims]) + f" input (got {input.dim()}D input)")
    unbatched = input.dim() == self._ndims[0]
    if unbatched:
        input = input.unsqueeze(0)
    found = F.instance_norm(input, self.running_mean, self.running_var, self.weight, self.bias,
                            self.training or not self.track_running_stats,
                            0.0 if self.momentum is None else self.momentum, self.eps)
    return found.squeeze(0) if unbatched else found


def convolution(self, input: Tensor) -> Tensor:
    if self.padding_mode != "zeros":
        input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
        return self._convolve(input, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
    return self._convolve(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def conv_transpose(self, input: Tensor) -> Tensor:
    return self._convolve(input, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups,
                          self.dilation)


def max_unpool(self, input: Tensor, indices: Tensor, output_size: list[int] | None = None) -> Tensor:
    return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)


def pad(self, input: Tensor) -> Tensor:
    return F.pad(input, self.padding, self._mode)


def lstm_forward(self, input, hx: tuple[Tensor, Tensor] | None = None):      # a Tensor or a PackedSequence
    output, h, c = lstm(input, hx, self._flat_weights, self.bias, self.num_layers, self.dropout, self.training,
                        self.bidirectional, self.batch_first)
    return output, (h, c)


def gru_forward(self, input, hx: Tensor | None = None):
    return gru(input, hx, self._flat_weights, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional,
               self.batch_first)


def rnn_forward(self, input, hx: Tensor | None = None):
    if self.mode == "RNN_TANH":
        return rnn_tanh(input, hx, self._flat_weights, self.bias, self.num_layers, self.dropout, self.training,
                        self.bidirectional, self.batch_first)
    return rnn_relu(input, hx, self._flat_weights, self.bias, self.num_layers, self.dropout, self.training,
                    self.bidirectional, self.batch_first)


def lstm_cell_forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    return lstm_cell(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


def gru_cell_forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
    return gru_cell(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


def rnn_cell_forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
    if self.nonlinearity == "tanh":
        return rnn_tanh_cell(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
    return rnn_relu_cell(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


def attention(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, need_weights: bool = True,
              attn_mask: Tensor | None = None, average_attn_weights: bool = True,
              is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
    transposed = self.batch_first and query.dim() == 3
    if transposed:
        if query is key and key is value:
            query = query.transpose(1, 0)
            key = query
            value = query
        else:
            query, key, value = query.transpose(1, 0), key.transpose(1, 0), value.transpose(1, 0)
    found, weights = F.multi_head_attention_forward(
        query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k, self.bias_v,
        self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, self.training, key_padding_mask, need_weights,
        attn_mask, not self._qkv_same_embed_dim, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight,
        average_attn_weights=average_attn_weights, is_causal=is_causal)
    return (found.transpose(1, 0) if transposed else found), weights


def encoder_layer(self, src: Tensor, src_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
                  is_causal: bool = False) -> Tensor:
    attended = self.norm1(src) if self.norm_first else src
    attended = self.self_attn(attended, attended, attended, attn_mask=src_mask, key_padding_mask=src_key_padding_mask,
                              need_weights=False, is_causal=is_causal)[0]
    x = src + self.dropout1(attended)
    if not self.norm_first:
        x = self.norm1(x)
    inner = self.norm2(x) if self.norm_first else x
    x = x + self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(inner)))))
    return x if self.norm_first else self.norm2(x)


def decoder_layer(self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
                  tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
                  tgt_is_causal: bool = False, memory_is_causal: bool = False) -> Tensor:
    own = self.norm1(tgt) if self.norm_first else tgt
    own = self.self_attn(own, own, own, attn_mask=tgt_mask, key_padding_mask=tgt_key_padding_mask, need_weights=False,
                         is_causal=tgt_is_causal)[0]
    x = tgt + self.dropout1(own)
    if not self.norm_first:
        x = self.norm1(x)
    other = self.norm2(x) if self.norm_first else x
    other = self.multihead_attn(other, memory, memory, attn_mask=memory_mask, key_padding_mask=memory_key_padding_mask,
                                need_weights=False, is_causal=memory_is_causal)[0]
    x = x + self.dropout2(other)
    if not self.norm_first:
        x = self.norm2(x)
    inner = self.norm3(x) if self.norm_first else x
    x = x + self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(inner)))))
    return x if self.norm_first else self.norm3(x)


def encoder(self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
            is_causal: bool | None = None) -> Tensor:
    output = src
    for layer in self.layers:
        output = layer(output, src_mask=mask, src_key_padding_mask=src_key_padding_mask)
    if self.norm is not None:
        output = self.norm(output)
    return output


def decoder(self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
            tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
            tgt_is_causal: bool | None = None, memory_is_causal: bool = False) -> Tensor:
    output = tgt
    for layer in self.layers:
        output = layer(output, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                       memory_key_padding_mask=memory_key_padding_mask)
    if self.norm is not None:
        output = self.norm(output)
    return output


def transformer(self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None, tgt_mask: Tensor | None = None,
                memory_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
                tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
                src_is_causal: bool | None = None, tgt_is_causal: bool | None = None,
                memory_is_causal: bool = False) -> Tensor:
    batch = 0 if self.batch_first else 1
    if src.dim() == 3 and src.size(batch) != tgt.size(batch):
        raise RuntimeError("the batch number of src and tgt must be equal")
    if src.size(-1) != self.d_model or tgt.size(-1) != self.d_model:
        raise RuntimeError("the feature number of src and tgt must be equal to d_model")
    memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask)
    return self.decoder(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                        memory_key_padding_mask=memory_key_padding_mask)


def embedding_bag(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
    return F.embedding_bag(input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
                           self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx)


_FORWARD = {}


def _table():
    if not _FORWARD:
        from ..nn.modules import batchnorm, conv, instancenorm, padding, pooling

        _FORWARD.update({
            nn.Sequential: sequential, batchnorm._BatchNorm: batch_norm, instancenorm._InstanceNorm: instance_norm,
            conv._ConvNd: convolution, conv._ConvTransposeNd: conv_transpose, pooling._MaxUnpoolNd: max_unpool,
            padding._PadNd: pad, nn.LSTM: lstm_forward, nn.GRU: gru_forward, nn.RNN: rnn_forward,
            nn.LSTMCell: lstm_cell_forward, nn.GRUCell: gru_cell_forward, nn.RNNCell: rnn_cell_forward,
            nn.MultiheadAttention: attention, nn.TransformerEncoderLayer: encoder_layer,
            nn.TransformerDecoderLayer: decoder_layer, nn.TransformerEncoder: encoder, nn.TransformerDecoder: decoder,
            nn.Transformer: transformer, nn.EmbeddingBag: embedding_bag})
    return _FORWARD


def method(cls, name):
    """The function that is compiled in place of ``cls.forward``; None where that is compiled itself."""
    if name != "forward":
        return None
    for base in cls.__mro__:
        if "forward" in base.__dict__ or base in _table():
            return _table().get(base)
    return None


recurrent_classes = (nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)
