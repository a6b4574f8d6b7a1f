"""``torch.linalg``: decompositions, systems of equations, norms. The functions are declared in numtorch/ops/linalg*.py."""
from .op import OPS
from .ops import linalg as _linalg

LinAlgError = _linalg.LinAlgError

globals().update({o.name: o.fn for o in OPS.values() if o.namespace == "linalg"})

_NOT_BUILT = {"lu": "use linalg.qr or linalg.solve", "lu_factor": "use linalg.solve, which factors A itself",
              "lu_solve": "use linalg.solve", "ldl_factor": "use linalg.cholesky or linalg.eigh",
              "ldl_solve": "use linalg.solve", "householder_product": "use linalg.qr"}


def _absent(name, instead):
    def fn(*args, **kwargs):
        raise NotImplementedError(f"linalg.{name} is not built; {instead}")
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"Not built: {instead}."
    return fn


globals().update({name: _absent(name, instead) for name, instead in _NOT_BUILT.items()})
