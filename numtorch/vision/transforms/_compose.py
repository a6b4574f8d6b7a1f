"""Transforms of transforms, and those that change what an image is made of."""
import random
from collections.abc import Sequence

from ... import mm
from ...nn import Module
from . import functional as F
from ._draws import chance

__all__ = ["Compose", "ConvertImageDtype", "Lambda", "LinearTransformation", "Normalize", "PILToTensor", "RandomApply",
           "RandomChoice", "RandomOrder", "RandomTransforms", "ToPILImage", "ToTensor"]


def _listed(name, lines):
    return "\n".join([f"{name}(", *(f"    {line}" for line in lines), ")"])


class Compose:
    """Applies transforms one after the other.

    Args:
        transforms (sequence of callables): the first gets the image.

    >>> print(Compose([ToTensor(), Normalize(0.5, 0.5)]))
    Compose(
        ToTensor()
        Normalize(mean=0.5, std=0.5)
    )
    """

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, img):
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self):
        return _listed(type(self).__name__, self.transforms)


class Lambda:
    """Applies a function.

    Args:
        lambd (callable): gets the image.
    """

    def __init__(self, lambd):
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, img):
        return self.lambd(img)

    def __repr__(self):
        return f"{type(self).__name__}()"


class RandomTransforms:
    """Base of what chooses among transforms with Python's ``random``.

    Args:
        transforms (sequence of callables): what there is to choose from.
    """

    def __init__(self, transforms):
        if not isinstance(transforms, Sequence):
            raise TypeError("Argument transforms should be a sequence")
        self.transforms = transforms

    def __call__(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} has no __call__: a subclass of RandomTransforms defines it")

    def __repr__(self):
        return _listed(type(self).__name__, self.transforms)


class RandomOrder(RandomTransforms):
    """Applies transforms in an order that Python's ``random`` makes anew for each image."""

    def __call__(self, img):
        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for i in order:
            img = self.transforms[i](img)
        return img


class RandomChoice(RandomTransforms):
    """Applies one transform, which Python's ``random`` picks.

    Args:
        transforms (sequence of callables): what there is to choose from.
        p (sequence of numbers, optional): how often each is chosen; default all alike.
    """

    def __init__(self, transforms, p=None):
        super().__init__(transforms)
        if p is not None and not isinstance(p, Sequence):
            raise TypeError("Argument p should be a sequence")
        self.p = p

    def __call__(self, *args):
        return random.choices(self.transforms, weights=self.p)[0](*args)

    def __repr__(self):
        return f"{super().__repr__()}(p={self.p})"


class RandomApply(Module):
    """Applies all the transforms, or none.

    Args:
        transforms (sequence of callables, or ModuleList): the first gets the image.
        p (float): how often.
    """

    def __init__(self, transforms, p=0.5):
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img):
        if self.p < chance():
            return img
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self):
        return _listed(type(self).__name__, [f"p={self.p}", *self.transforms])


class ToTensor:
    """Makes a tensor (c, h, w) of a PIL image or ndarray (h, w, c); bytes become floats from 0 to 1."""

    def __call__(self, pic):
        return F.to_tensor(pic)

    def __repr__(self):
        return f"{type(self).__name__}()"


class PILToTensor:
    """Makes a tensor (c, h, w) of a PIL image, its values as they are."""

    def __call__(self, pic):
        return F.pil_to_tensor(pic)

    def __repr__(self):
        return f"{type(self).__name__}()"


class ToPILImage:
    """Makes a PIL image of a tensor (c, h, w) or an ndarray (h, w, c).

    Args:
        mode (str, optional): Pillow's name of what the channels mean; default by their number and type.
    """

    def __init__(self, mode=None):
        self.mode = mode

    def __call__(self, pic):
        return F.to_pil_image(pic, self.mode)

    def __repr__(self):
        return f"{type(self).__name__}({'' if self.mode is None else f'mode={self.mode}'})"


class ConvertImageDtype(Module):
    """Converts tensor images, their values scaled: floats go from 0 to 1, integers to the largest of their type.

    Args:
        dtype (dtype): the new one.
    """

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, image):
        return F.convert_image_dtype(image, self.dtype)


class Normalize(Module):
    """(x - mean) / std for each channel of a float tensor (..., c, h, w).

    Args:
        mean, std (sequences of numbers): one for each channel.
        inplace (bool): write into the image.
    """

    def __init__(self, mean, std, inplace=False):
        super().__init__()
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, tensor):
        return F.normalize(tensor, self.mean, self.std, self.inplace)

    def __repr__(self):
        return f"{type(self).__name__}(mean={self.mean}, std={self.std})"


class LinearTransformation(Module):
    """(x - mean_vector) @ transformation_matrix of an image's values in one row, as for whitening.

    Args:
        transformation_matrix (Tensor): (d, d) with d = c * h * w.
        mean_vector (Tensor): (d,).
    """

    def __init__(self, transformation_matrix, mean_vector):
        super().__init__()
        if transformation_matrix.size(0) != transformation_matrix.size(1):
            raise ValueError("transformation_matrix should be square. Got "
                             f"{tuple(transformation_matrix.size())} rectangular matrix.")
        if mean_vector.size(0) != transformation_matrix.size(0):
            raise ValueError(f"mean_vector should have the same length {mean_vector.size(0)} as any one of the dimensions of the "
                             f"transformation_matrix [{tuple(transformation_matrix.size())}]")
        if transformation_matrix.device != mean_vector.device:
            raise ValueError("Input tensors should be on the same device. Got "
                             f"{transformation_matrix.device} and {mean_vector.device}")
        if transformation_matrix.dtype != mean_vector.dtype:
            raise ValueError("Input tensors should have the same dtype. Got "
                             f"{transformation_matrix.dtype} and {mean_vector.dtype}")
        self.transformation_matrix, self.mean_vector = transformation_matrix, mean_vector

    def forward(self, tensor):
        c, h, w = tensor.shape[-3:]
        n = len(self.transformation_matrix)
        if c * h * w != n:
            raise ValueError(f"Input tensor and transformation matrix have incompatible shape.[{c} x {h} x {w}] != {n}")
        if tensor.device != self.mean_vector.device:
            raise ValueError("Input tensor should be on the same device as transformation matrix and mean vector. Got "
                             f"{tensor.device} vs {self.mean_vector.device}")
        centred = tensor.reshape(-1, n) - self.mean_vector
        return mm(centred, self.transformation_matrix.to(centred.dtype)).view(tensor.shape)

    def __repr__(self):
        return (f"{type(self).__name__}(transformation_matrix={self.transformation_matrix.tolist()}, "
                f"mean_vector={self.mean_vector.tolist()})")
