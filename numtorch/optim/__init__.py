"""Optimisers and learning rate schedules."""
from importlib import import_module

from . import lr_scheduler
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam
from .adamax import Adamax
from .adamw import AdamW
from .asgd import ASGD
from .lbfgs import LBFGS
from .nadam import NAdam
from .optimizer import Optimizer
from .radam import RAdam
from .rmsprop import RMSprop
from .rprop import Rprop
from .sgd import SGD

__all__ = ["ASGD", "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer",
           "RAdam", "RMSprop", "Rprop", "lr_scheduler", "swa_utils"]


def __getattr__(name):
    if name == "swa_utils":                 # needs nn, which a program without modules does not load
        return import_module(".swa_utils", __name__)
    if name in ("Adafactor", "Muon", "SparseAdam"):
        raise AttributeError(f"optim.{name} is not built; use optim.AdamW, or derive from optim.Optimizer")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
