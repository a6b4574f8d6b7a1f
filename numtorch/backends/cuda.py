"""Settings of CUDA's matrix products and attention, which programs write before they know whether there is a GPU."""
from .._attention_ways import allowed, only
from .._legacy import legacy
from ..kernels import _driver


class _Matmul:
    """allow_tf32: products of float32 on a GPU may cut factors to TF32; the others are written and read, without effect."""

    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True

    @property
    def allow_tf32(self):
        """Whether the precision of float32 products is less than "highest"."""
        from ..ops.matmul import get_float32_matmul_precision

        return get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed):
        from ..ops.matmul import set_float32_matmul_precision

        set_float32_matmul_precision("high" if allowed else "highest")


matmul = _Matmul()


def is_built():
    """Whether the packages that CUDA needs are installed: numba-cuda's bindings, and a driver with a device."""
    return _driver.available()


def math_sdp_enabled():
    """Whether attention may be computed by operations, with a matrix of scores."""
    return allowed["math"]


def flash_sdp_enabled():
    """Whether attention may be one fused kernel under torch's name "flash"."""
    return allowed["flash"]


def mem_efficient_sdp_enabled():
    """Whether attention may be one fused kernel under torch's name "memory efficient"."""
    return allowed["mem_efficient"]


def cudnn_sdp_enabled():
    """Whether attention may be one fused kernel under torch's name "cuDNN"."""
    return allowed["cudnn"]


def enable_math_sdp(enabled):
    """Allows attention by operations, or forbids it."""
    allowed["math"] = bool(enabled)


def enable_flash_sdp(enabled):
    """Allows the fused kernel under the name "flash", or forbids it."""
    allowed["flash"] = bool(enabled)


def enable_mem_efficient_sdp(enabled):
    """Allows the fused kernel under the name "memory efficient", or forbids it."""
    allowed["mem_efficient"] = bool(enabled)


def enable_cudnn_sdp(enabled):
    """Allows the fused kernel under the name "cuDNN", or forbids it."""
    allowed["cudnn"] = bool(enabled)


def sdp_kernel(enable_flash=True, enable_math=True, enable_mem_efficient=True, enable_cudnn=True):
    """The old spelling of ``nn.attention.sdpa_kernel``: a with-block in which attention may go these ways only."""
    legacy("torch.backends.cuda.sdp_kernel() is deprecated: use torch.nn.attention.sdpa_kernel()")
    return only(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
