"""``torch.fft``: discrete Fourier transforms, their frequencies and orders. The functions are declared in numtorch/ops/fft.py."""
from .op import OPS

__all__ = [o.name for o in OPS.values() if o.namespace == "fft"]

globals().update({name: OPS[f"fft.{name}"].fn for name in __all__})
