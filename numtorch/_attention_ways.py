"""Which ways scaled_dot_product_attention may go: settings that nn and backends.cuda share."""
from contextlib import contextmanager

allowed = {"math": True, "flash": True, "mem_efficient": True, "cudnn": True}       # all but "math" are the one fused kernel


@contextmanager
def only(**switches):
    """A with-block in which ``allowed`` has these values."""
    before = dict(allowed)
    allowed.update(switches)
    try:
        yield {}
    finally:
        allowed.update(before)
