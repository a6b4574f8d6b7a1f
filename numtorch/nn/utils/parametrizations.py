"""Ready parametrisations: weight_norm, spectral_norm, orthogonal."""
from ...autograd.grad_mode import no_grad
from ...op import OPS
from ...ops import create
from ...tensor import Tensor
from .. import functional as F
from ..modules.module import Module
from .parametrize import register_parametrization
from .spectral_norm import as_matrix, default_dim
from .weight_norm import norm_except_dim, normed

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


class _WeightNorm(Module):
    def __init__(self, dim=0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        return normed(weight_v, weight_g, self.dim)

    def right_inverse(self, weight):
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module, name="weight", dim=0):
    """Parametrises a weight by its magnitude and its direction (Salimans & Kingma, 2016); returns the module.

    Args:
        module (Module): whose parameter it is.
        name (str): of the parameter.
        dim (int): there is one magnitude for each index of this dimension; None: one in all.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def older_names(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        for i, suffix in enumerate("gv"):
            key = f"{prefix}{name}_{suffix}"
            if key in state_dict:
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)
    module._register_load_state_dict_pre_hook(older_names)
    return module


class _SpectralNorm(Module):
    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        n = weight.dim()
        if not -n <= dim < n:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{n}, {n - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError("Expected n_power_iterations to be positive, but got n_power_iterations="
                             f"{n_power_iterations}")
        self.dim, self.eps = dim % n, eps
        if n > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight, self.dim)
            u = matrix.new_empty(matrix.size(0)).normal_(0, 1)
            v = matrix.new_empty(matrix.size(1)).normal_(0, 1)
            self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
            self._power_method(matrix, 15)

    @no_grad()
    def _power_method(self, matrix, n):
        for _ in range(n):
            self._u = F.normalize(matrix.mv(self._v), dim=0, eps=self.eps, out=self._u)
            self._v = F.normalize(matrix.t().mv(self._u), dim=0, eps=self.eps, out=self._v)

    def forward(self, weight):
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        return weight / self._u.clone().dot(matrix.mv(self._v.clone()))

    def right_inverse(self, value):
        return value


def _tensor_of(module, name):
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Parametrises a weight as itself over its largest singular value (Miyato et al., 2018); returns the module.

    Args:
        module (Module): whose parameter it is.
        name (str): of the parameter.
        n_power_iterations (int): steps of the power method for each use in training.
        eps (float): the smallest length of a vector.
        dim (int): the dimension of the outputs; default 0, 1 for transposed convolutions.
    """
    weight = _tensor_of(module, name)
    dim = default_dim(module) if dim is None else dim
    register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module


class _Orthogonal(Module):
    """Q = base f(A - A^T) with f the matrix exponential or the Cayley map; A is the lower triangle of the original."""

    def __init__(self, weight, orthogonal_map, use_trivialization):
        super().__init__()
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X):
        wide = X.size(-2) < X.size(-1)
        if wide:
            X = X.mT
        n, k = X.shape[-2:]
        X = X.tril()
        if n != k:
            X = F.pad(X, (0, n - k))
        A = X - X.mT
        if self.orthogonal_map == "matrix_exp":
            Q = OPS["linalg.matrix_exp"].fn(A)
        else:
            eye = create.eye(n, dtype=A.dtype)
            Q = OPS["linalg.solve"].fn(eye - A * 0.5, eye + A * 0.5)
        Q = Q[..., :k]
        if hasattr(self, "base"):
            Q = self.base.matmul(Q)
        return Q.mT if wide else Q

    @no_grad()
    def right_inverse(self, Q):
        if Q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}.")
        if not hasattr(self, "base"):
            raise NotImplementedError("It is not possible to assign to the matrix exponential or the Cayley parametrizations "
                                      "when use_trivialization=False.")
        tall = Q.mT if Q.size(-2) < Q.size(-1) else Q
        q, r = OPS["linalg.qr"].fn(tall, "complete")
        k = tall.size(-1)
        signs = r.diagonal(0, -2, -1).sign()
        self.base = q.clone()
        self.base[..., :k] *= signs.unsqueeze(-2)
        # with a triangle of zeros, and -1 on the diagonal, A is zero and Q the base
        found = create.zeros(tuple(Q.shape), dtype=Q.dtype)
        found.diagonal(0, -2, -1).fill_(-1.0)
        return found


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """Parametrises a matrix as an orthogonal one; returns the module.

    Args:
        module (Module): whose parameter it is.
        name (str): of the parameter.
        orthogonal_map (str): "matrix_exp" or "cayley"; default "matrix_exp" for square matrices.
        use_trivialization (bool): start from the given matrix (made orthogonal), and allow assignments.

    Raises:
        NotImplementedError: "householder", torch's default for matrices that are not square.
    """
    weight = _tensor_of(module, name)
    if weight.dim() < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.size(-2) == weight.size(-1) else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}')
    if orthogonal_map == "householder":
        raise NotImplementedError("parametrizations.orthogonal: the householder map is not built; pass "
                                  'orthogonal_map="matrix_exp" or "cayley"')
    register_parametrization(module, name, _Orthogonal(weight, orthogonal_map, use_trivialization), unsafe=True)
    return module
