"""Layer, group, RMS and local response normalisation."""
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module
from ...ops import create


class _ElementwiseAffine(Module):
    def _shape(self, normalized_shape):
        return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)

    def _own(self, names, wanted, shape, **options):
        for name, want in zip(names, wanted):
            if want:
                setattr(self, name, Parameter(create.empty(shape, **options)))
            else:
                self.register_parameter(name, None)
        self.reset_parameters()

    def reset_parameters(self):
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if getattr(self, "bias", None) is not None:
            init.zeros_(self.bias)


class LayerNorm(_ElementwiseAffine):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last dimensions, of sizes ``normalized_shape``."""

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None, dtype=None):
        super().__init__()
        self.normalized_shape, self.eps, self.elementwise_affine = self._shape(normalized_shape), eps, elementwise_affine
        self._own(("weight", "bias"), (elementwise_affine, elementwise_affine and bias), self.normalized_shape, device=device,
                  dtype=dtype)

    def forward(self, input):
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        bias = f", bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}{bias}"


class RMSNorm(_ElementwiseAffine):
    """``x / sqrt(mean(x^2) + eps) * weight`` over the last dimensions."""

    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None):
        super().__init__()
        self.normalized_shape, self.eps, self.elementwise_affine = self._shape(normalized_shape), eps, elementwise_affine
        self._own(("weight",), (elementwise_affine,), self.normalized_shape, device=device, dtype=dtype)

    def forward(self, input):
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_ElementwiseAffine):
    """Normalisation over ``num_groups`` groups of channels."""

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None, bias=True):
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._own(("weight", "bias"), (affine, affine and bias), (num_channels,), device=device, dtype=dtype)

    def forward(self, input):
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        bias = f", bias={self.bias is not None}"
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}{bias}"


class LocalResponseNorm(Module):
    """``x / (k + alpha mean(x^2 of size neighbouring channels))^beta``."""

    def __init__(self, size, alpha=0.0001, beta=0.75, k=1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input):
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self):
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
