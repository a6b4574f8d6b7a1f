"""Embedding and EmbeddingBag: tables of vectors."""
from ...autograd.grad_mode import no_grad
from ...ops import create
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    def _make_table(self, weight, trained, device, dtype):
        shape = (self.num_embeddings, self.embedding_dim)
        if weight is None:
            self.weight = Parameter(create.empty(shape, device=device, dtype=dtype), requires_grad=trained)
            self.reset_parameters()
            return
        if weight.shape != shape:
            raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
        self.weight = Parameter(weight, requires_grad=trained)

    def _own_padding(self, padding_idx, what):
        """``padding_idx`` counted from the start."""
        if padding_idx is None:
            return None
        if not -self.num_embeddings <= padding_idx < self.num_embeddings:
            raise AssertionError(f"{what} must be within num_embeddings")
        return padding_idx % self.num_embeddings

    def reset_parameters(self):
        """Draws the table from N(0, 1); the padding's row is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    def _shown(self, *names):
        defaults = {"padding_idx": None, "max_norm": None, "norm_type": 2, "scale_grad_by_freq": False, "sparse": False,
                    "mode": None}
        shown = [f"{n}={getattr(self, n)!r}" for n in names if getattr(self, n) != defaults[n]]
        return ", ".join([f"{self.num_embeddings}, {self.embedding_dim}", *shown])


class Embedding(_Table):
    """A table of vectors, looked up by index.

    Args:
        num_embeddings, embedding_dim (int): number and size of the vectors.
        padding_idx (int): an index whose vector is zero and gets no gradient.
        max_norm (float): vectors that are looked up are shortened to this ``norm_type``-norm, in place.
        scale_grad_by_freq (bool): divide gradients by how often an index is in the batch.
        sparse (bool): sparse gradients.
        device, dtype: of ``weight`` (num_embeddings, embedding_dim), which is drawn from N(0, 1).

    >>> import numtorch as torch
    >>> torch.nn.Embedding(10, 3)(torch.tensor([[1, 2, 4, 5]])).shape
    torch.Size([1, 4, 3])
    """

    __constants__ = ["num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"]

    def __init__(self, num_embeddings, embedding_dim, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False,
                 sparse=False, _weight=None, _freeze=False, device=None, dtype=None):
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = self._own_padding(padding_idx, "Padding_idx")
        self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = max_norm, norm_type, scale_grad_by_freq, sparse
        self._make_table(_weight, not _freeze, device, dtype)

    def forward(self, input):
        """int64 (...) -> (..., embedding_dim)."""
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq,
                           self.sparse)

    def extra_repr(self):
        """Sizes, and what differs from the defaults."""
        return self._shown("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")

    @classmethod
    def from_pretrained(cls, embeddings, freeze=True, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False,
                        sparse=False):
        """An Embedding with the vectors given.

        Args:
            embeddings (Tensor): (num_embeddings, embedding_dim).
            freeze (bool): do not train them.
            padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse: as those of Embedding.
        """
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.shape
        return cls(rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, freeze)


class EmbeddingBag(_Table):
    """Sums, means or maxima of bags of vectors of a table.

    Args:
        num_embeddings, embedding_dim (int): number and size of the vectors.
        max_norm (float), norm_type (float), scale_grad_by_freq (bool), sparse (bool): as those of Embedding.
        mode (str): "sum", "mean" or "max".
        include_last_offset (bool): the offsets end with the number of indices.
        padding_idx (int): an index that does not count.
        device, dtype: of ``weight`` (num_embeddings, embedding_dim), which is drawn from N(0, 1).
    """

    __constants__ = ["num_embeddings", "embedding_dim", "max_norm", "norm_type", "scale_grad_by_freq", "mode", "sparse",
                     "include_last_offset", "padding_idx"]

    def __init__(self, num_embeddings, embedding_dim, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, mode="mean",
                 sparse=False, _weight=None, include_last_offset=False, padding_idx=None, device=None, dtype=None):
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        self.padding_idx = self._own_padding(padding_idx, "padding_idx")
        self.mode, self.sparse, self.include_last_offset = mode, sparse, include_last_offset
        self._make_table(_weight, True, device, dtype)

    def forward(self, input, offsets=None, per_sample_weights=None):
        """int64 (B, N), or (N) with the bags' first positions ``offsets`` (B) -> (B, embedding_dim)."""
        return F.embedding_bag(input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
                               self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx)

    def extra_repr(self):
        """Sizes, mode, and what differs from the defaults."""
        return self._shown("max_norm", "norm_type", "scale_grad_by_freq", "mode", "padding_idx")

    @classmethod
    def from_pretrained(cls, embeddings, freeze=True, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, mode="mean",
                        sparse=False, include_last_offset=False, padding_idx=None):
        """An EmbeddingBag with the vectors given; arguments as those of Embedding.from_pretrained."""
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.shape
        found = cls(rows, columns, max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings, include_last_offset,
                    padding_idx)
        found.weight.requires_grad_(not freeze)
        return found
