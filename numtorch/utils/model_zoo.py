"""``load_url``, as programs older than ``numtorch.hub`` know it."""
from ..hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]
