"""Settings of CUDA's matrix products, which programs write before they know whether there is a GPU."""
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
