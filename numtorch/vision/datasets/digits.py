"""Digits: 1,797 handwritten digits that come with the package."""
from importlib import resources

import numpy as np

from ... import from_numpy
from .vision import VisionDataset

SIXTEENTH = np.float32(1 / 16)


class Digits(VisionDataset):
    """1,797 handwritten digits, 8 x 8 pixels; they are part of the package, so nothing is downloaded.

    An item is ``(image, target)``: a float32 tensor (1, 8, 8) from 0 (paper) to 1 (ink), and an int from 0 to 9. (torchvision's
    data sets give a PIL image here; a tensor keeps the 17 grades of grey exactly, so transforms get the tensor.) Each pixel
    counts the inked points of a 4 x 4 block of the scanned image: ``data`` holds these counts, 0 to 16.

    Of each digit's images, in their published order, every fifth is held out: 1,442 train and 355 test. The writers are the
    same in both. Images of unseen writers are harder; for that split, put both parts together and hold out the last 360.

    Args:
        root (str or Path, optional): for torchvision's signature; printed, and not used: there are no files.
        train (bool): the training part, or the held-out part.
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.
        download (bool): for torchvision's signature; there is nothing to download.

    Attributes:
        data (Tensor): the counts, uint8 (n, 8, 8).
        targets (Tensor): int64 (n,).
        classes (list of str): "0 - zero" to "9 - nine"; ``class_to_idx`` maps them to 0 to 9.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
    https://doi.org/10.24432/C50P49, the test file of the original; CC BY 4.0.

    >>> from numtorch.vision.datasets import Digits
    >>> digits = Digits(train=False)
    >>> image, target = digits[0]
    >>> len(digits), image.shape, target
    (355, torch.Size([1, 8, 8]), 5)
    """

    classes = ["0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six", "7 - seven", "8 - eight",
               "9 - nine"]

    def __init__(self, root=None, train=True, transform=None, target_transform=None, download=False):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        images, labels = _load()
        part = np.flatnonzero(_held_out(labels) != bool(train))
        self.data, self.targets = from_numpy(images[part]), from_numpy(labels[part].astype(np.int64))

    @property
    def class_to_idx(self):
        """The classes' names and numbers."""
        return {name: number for number, name in enumerate(self.classes)}

    def __getitem__(self, index):
        pixels = self.data.numpy()[index]
        if pixels.ndim != 2:
            raise TypeError(f"Digits: an index must be an int, not {type(index).__name__}")
        return self._apply_both(from_numpy((pixels * SIXTEENTH)[None]), int(self.targets.numpy()[index]))

    def __len__(self):
        return len(self.data)

    def extra_repr(self):
        return f"Split: {'Train' if self.train else 'Test'}"


def _load():
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        return arrays["images"], arrays["labels"]


def _held_out(labels):
    """True at every fifth image of each class."""
    held_out = np.zeros(len(labels), bool)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[4::5]] = True
    return held_out
