"""numtorch's version, and the release of PyTorch whose names and behaviour it follows."""
numtorch = "0.1.0"
torch = "2.13.0"
# programs compare torch.__version__ to learn what they may use: PyTorch's number leads, numtorch's is the local part
__version__ = f"{torch}+numtorch.{numtorch}"
cuda = hip = xpu = git_version = None
debug = False
