"""Batch normalisation, and what it shares with instance normalisation."""
from ... import dtypes
from ...ops import create
from .. import functional as F
from .. import init
from ..parameter import UninitializedBuffer, UninitializedParameter
from .lazy import LazyModuleMixin
from .module import Module
from .utils import parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d",
           "SyncBatchNorm"]


class _NormBase(Module):
    """Scale and shift of each channel, and running statistics. ``_ndims`` are the input dimensions that are accepted."""

    _version = 2        # version 2 has num_batches_tracked
    __constants__ = ["track_running_stats", "momentum", "eps", "num_features", "affine"]
    _ndims = ()

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None, *,
                 bias=True):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.register_parameter("weight", parameter((num_features,), device, dtype) if affine else None)
        self.register_parameter("bias", parameter((num_features,), device, dtype) if affine and bias else None)
        mean = var = batches = None
        if track_running_stats:
            mean = create.zeros(num_features, device=device, dtype=dtype)
            var = create.ones(num_features, device=device, dtype=dtype)
            batches = create.tensor(0, dtype=dtypes.int64, device=device)
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", var)
        self.register_buffer("num_batches_tracked", batches)
        self.reset_parameters()

    def reset_running_stats(self):
        """Sets the running mean to 0, the running variance to 1 and the number of batches to 0."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self):
        """Sets the scale to 1, the shift to 0, and resets the statistics."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def _check_input_dim(self, input):
        if input.dim() not in self._ndims:
            raise ValueError(f"expected {' or '.join(f'{n}D' for n in self._ndims)} input (got {input.dim()}D input)")

    def extra_repr(self):
        """The settings."""
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        version = local_metadata.get("version")
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            found = self.num_batches_tracked
            state_dict[key] = create.tensor(0, dtype=dtypes.int64) if found is None else found
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)


class _BatchNorm(_NormBase):
    def forward(self, input):
        """The input, normalised; in training, the running statistics move."""
        self._check_input_dim(input)
        training, momentum = self.training, self.momentum
        mean, var = self.running_mean, self.running_var
        if training:
            if self.track_running_stats:
                batches = self.num_batches_tracked
                if batches is not None:
                    batches.add_(1)
                    if momentum is None:        # a plain mean over all batches
                        momentum = 1.0 / float(batches)
            else:
                mean = var = None
        return F.batch_norm(input, mean, var, self.weight, self.bias, training or mean is None and var is None,
                            0.0 if momentum is None else momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` of each channel of (N, C) or (N, C, L), over all else.

    Args:
        num_features (int): C.
        eps (float): added to the variance.
        momentum (float): the share of a new batch in the running statistics; None: all batches count alike.
        affine (bool): whether there is a weight; ``bias``: whether there is a bias too.
        track_running_stats (bool): keep running statistics, which are used in ``eval`` mode.
        device, dtype: of parameters and buffers.

    Source: Ioffe & Szegedy, 2015.
    """

    _ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W); arguments as those of BatchNorm1d."""

    _ndims = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); arguments as those of BatchNorm1d."""

    _ndims = (5,)


class SyncBatchNorm(_BatchNorm):
    """BatchNorm of any number of dimensions. There is one process, so that there is nothing to synchronise.

    Args:
        process_group: kept as an attribute.
        num_features, eps, momentum, affine, track_running_stats, device, dtype, bias: as those of BatchNorm1d.
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, process_group=None,
                 device=None, dtype=None, *, bias=True):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    @classmethod
    def convert_sync_batchnorm(cls, module, process_group=None):
        """``module`` with every batch normalisation in it replaced by a SyncBatchNorm with the same tensors."""
        found = module
        if isinstance(module, _BatchNorm):
            found = SyncBatchNorm(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats,
                                  process_group, bias=module.bias is not None)
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "training"):
                setattr(found, name, getattr(module, name))
        for name, child in module.named_children():
            found.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return found


class _LazyNormBase(LazyModuleMixin, _NormBase):
    def __init__(self, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None, *, bias=True):
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine, self.track_running_stats = affine, track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = create.tensor(0, dtype=dtypes.int64, device=device)

    def reset_parameters(self):
        """Sets the parameters, once their shape is known."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input):
        """Takes ``num_features`` from the input."""
        if not self.has_uninitialized_params():
            return
        self.num_features = input.shape[1]
        for value in (self.weight, self.bias, self.running_mean, self.running_var):
            if value is not None:
                value.materialize((self.num_features,))
        self.reset_parameters()


class LazyBatchNorm1d(_LazyNormBase, _BatchNorm):
    """BatchNorm1d whose ``num_features`` is that of its first input."""

    cls_to_become, _ndims = BatchNorm1d, (2, 3)


class LazyBatchNorm2d(_LazyNormBase, _BatchNorm):
    """BatchNorm2d whose ``num_features`` is that of its first input."""

    cls_to_become, _ndims = BatchNorm2d, (4,)


class LazyBatchNorm3d(_LazyNormBase, _BatchNorm):
    """BatchNorm3d whose ``num_features`` is that of its first input."""

    cls_to_become, _ndims = BatchNorm3d, (5,)
