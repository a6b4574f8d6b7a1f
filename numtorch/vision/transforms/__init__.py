"""Transforms of images, on Pillow images and on tensors (..., c, h, w): torchvision's names, numbers and random draws.

Tensors hold floats from 0 to 1, or integers from 0 to the largest of their type. ``functional`` has the functions without
their random parts.
"""
from . import autoaugment, functional, transforms
from .autoaugment import *
from .transforms import *

__all__ = [*transforms.__all__, *autoaugment.__all__, "autoaugment", "functional", "transforms"]
