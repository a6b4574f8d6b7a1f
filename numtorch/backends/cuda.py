"""Settings of CUDA's matrix products, which programs write before they know whether there is a GPU."""


class _Matmul:
    """allow_tf32 and its kin: written and read, without effect on the CPU."""

    allow_tf32 = False
    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True


matmul = _Matmul()


def is_built():
    """False: there are no CUDA kernels yet."""
    return False
