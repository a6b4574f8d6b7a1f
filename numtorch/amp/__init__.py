"""torch.amp: automatic mixed precision. ``autocast`` picks the types of operations, ``GradScaler`` keeps small gradients in
float16's range."""
from .autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from .grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
