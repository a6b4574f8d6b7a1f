"""What ``import torchvision`` finds in a process that was spawned by one in which torch means numtorch; see numtorch/shim.py."""
from numtorch.shim import install_as_torch

install_as_torch()
