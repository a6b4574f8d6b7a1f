"""The one module that reads the environment.

| variable            | meaning                                              | default                  |
|---------------------|------------------------------------------------------|--------------------------|
| NUMTORCH_CACHE      | folder of compiled kernels                           | ~/.cache/numtorch        |
| NUMTORCH_THREADS    | threads of a parallel kernel                         | the cores of the process |
| GOMP_SPINCOUNT      | turns an idle OpenMP thread spins before it sleeps   | 0                        |
| NUMTORCH_QUIET      | 1: no line on stderr while kernels are compiled      | 0                        |
| TORCH_HOME          | folder whose hub/ keeps downloaded weights, as torch | $XDG_CACHE_HOME/torch    |
| XDG_CACHE_HOME      | folder of all programs' caches                       | ~/.cache                 |
| GITHUB_TOKEN        | shown to GitHub's API by hub.load                    | none                     |
| MASTER_ADDR         | host of rank 0, for distributed's env://             | none                     |
| MASTER_PORT         | its port                                             | none                     |
| RANK, WORLD_SIZE    | number of a process among those of a program         | none                     |

From TORCH_HOME on, they are read at each use: programs set them themselves.
"""
import os
import sys


def _user_cache():
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA", os.path.expanduser("~"))
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches")
    return os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")


def _cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def torch_home():
    """The folder of torch's own files of the user."""
    return os.path.expanduser(os.environ.get("TORCH_HOME")
                              or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch"))


def github_token():
    """The user's key to GitHub's API, or None."""
    return os.environ.get("GITHUB_TOKEN")


def rendezvous_variable(name):
    """One of the variables through which the processes of a program find each other, or None."""
    return os.environ.get(name)


CACHE_ROOT = os.environ.get("NUMTORCH_CACHE") or os.path.join(_user_cache(), "numtorch")
THREADS = int(os.environ.get("NUMTORCH_THREADS") or _cores())
QUIET = os.environ.get("NUMTORCH_QUIET", "0") not in ("", "0")

# Read by libgomp when Numba loads it. Its own default, to spin for milliseconds, wastes the time slice of the thread that is
# waited for wherever cores are shared: on two busy cores a LeNet step at batch 64 took 470 ms with it and 5.7 ms with 0.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
