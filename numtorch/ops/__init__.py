"""The differentiable operations, one family a file; importing a family declares its operations (``op.OPS``)."""
from . import view, copy, convert, create, legacy_types, pointwise, activation, reduce  # noqa: F401, I001
from . import random, random_fill, dropout  # noqa: F401, I001
from . import matmul, addmm, einsum  # noqa: F401, I001
from . import conv, pool, adaptive, pad, resample, grid_sample  # noqa: F401, I001
from . import indexing, index_dim, masked, getitem, setitem, join, rearrange, parts  # noqa: F401, I001
from . import sort, search, scan  # noqa: F401, I001
from . import linalg, linalg_solve, linalg_eig, linalg_norm, linalg_misc, statistics  # noqa: F401, I001
from . import fft, stft, windows  # noqa: F401, I001
from . import softmax, loss, pointwise_loss  # noqa: F401, I001
from . import norm, embedding  # noqa: F401, I001
