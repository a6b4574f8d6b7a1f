"""SVHN: digits of house numbers, in MATLAB files."""
import os

import numpy as np
from PIL import Image

from . import _matfile
from .utils import check_integrity, download_url, verify_str_arg
from .vision import VisionDataset

_SITE = "http://ufldl.stanford.edu/housenumbers/"


class SVHN(VisionDataset):
    """Digits cut from photographs of house numbers, 32 x 32 pixels in colour: 73,257 to train, 26,032 to test, 531,131 more.

    An item is ``(image, target)``: a PIL image of mode "RGB" and an int from 0 to 9. (The file's label of a zero is 10.)

    Args:
        root (str or Path): the folder with train_32x32.mat and the like. Where that file is missing, a train_32x32.npz with the
            same arrays X, uint8 (32, 32, 3, n), and y, the labels, will do; its checksum is not looked at.
        split (str): "train", "test" or "extra".
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.
        download (bool): download the file, if it is not there.

    Attributes:
        data (numpy.ndarray): the images, uint8 (n, 3, 32, 32).
        labels (numpy.ndarray): int64 (n,).

    Raises:
        RuntimeError: the file is not there or has another checksum, or could not be downloaded.

    Source: Y. Netzer et al., "Reading digits in natural images with unsupervised feature learning", 2011;
    http://ufldl.stanford.edu/housenumbers/.
    """

    split_list = {
        "train": [_SITE + "train_32x32.mat", "train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"],
        "test": [_SITE + "test_32x32.mat", "test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"],
        "extra": [_SITE + "extra_32x32.mat", "extra_32x32.mat", "a93ce644f1a588dc4d68dda5feec44a7"],
    }

    def __init__(self, root, split="train", transform=None, target_transform=None, download=False):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = verify_str_arg(split, "split", tuple(self.split_list))
        self.url, self.filename, self.file_md5 = self.split_list[split]
        if download:
            self.download()
        if not self._check_integrity():
            raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it "
                               f"(looked for {os.path.abspath(self._path)})")
        images, labels = self._load()
        self.labels = labels.astype(np.int64).reshape(-1)
        self.labels[self.labels == 10] = 0
        self.data = images.transpose(3, 2, 0, 1)

    @property
    def _path(self):
        return os.path.join(self.root, self.filename)

    @property
    def _npz(self):
        """The .npz file that stands in for a missing .mat file, or None."""
        path = os.path.splitext(self._path)[0] + ".npz"
        return path if os.path.isfile(path) and not os.path.isfile(self._path) else None

    def _load(self):
        path = self._npz or self._path
        if path == self._npz:
            with np.load(path) as arrays:
                content = {name: arrays[name] for name in arrays.files}
        else:
            content = _matfile.load(path)
        images, labels = content.get("X"), content.get("y")
        if (not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[:-1] != (32, 32, 3)
                or not isinstance(labels, np.ndarray) or labels.size != images.shape[3]):
            raise RuntimeError(f"SVHN: {path} does not hold what it should: X, uint8 (32, 32, 3, n), and y, n labels")
        return images, labels

    def __getitem__(self, index):
        return self._apply_both(Image.fromarray(self.data[index].transpose(1, 2, 0)), int(self.labels[index]))

    def __len__(self):
        return len(self.data)

    def _check_integrity(self):
        """Whether the .mat file is there with its checksum; without it, whether the .npz file is there."""
        return self._npz is not None or check_integrity(self._path, self.file_md5)

    def download(self):
        """Downloads the .mat file, unless it or the .npz file is there."""
        if not self._check_integrity():
            download_url(self.url, self.root, self.filename, self.file_md5)

    def extra_repr(self):
        return f"Split: {self.split}"
