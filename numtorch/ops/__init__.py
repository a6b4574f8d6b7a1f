"""The differentiable operations, one family a file; importing a family declares its operations (``op.OPS``)."""
from . import view, copy, convert, create, pointwise, reduce  # noqa: F401, I001
