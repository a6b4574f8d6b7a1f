"""torch.special: special functions under their scipy names."""
from .op import OPS

_SAME = {"erf": "erf", "erfc": "erfc", "erfinv": "erfinv", "exp2": "exp2", "expit": "sigmoid", "expm1": "expm1",
         "gammaln": "lgamma", "digamma": "digamma", "psi": "digamma", "log1p": "log1p", "logit": "logit",
         "logsumexp": "logsumexp", "round": "round",
         "sinc": "sinc", "xlogy": "xlogy"}

globals().update({name: OPS[op].fn for name, op in _SAME.items()})
globals().update({o.name: o.fn for o in OPS.values() if o.namespace == "special"})
__all__ = sorted({*_SAME, *(o.name for o in OPS.values() if o.namespace == "special")})
