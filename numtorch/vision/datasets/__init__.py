"""Data sets of images."""
from .digits import Digits
from .vision import VisionDataset

__all__ = ["Digits", "VisionDataset"]
