"""USPS: digits of envelopes, in a compressed text file."""
import bz2
import os

import numpy as np
from PIL import Image

from .utils import download_url
from .vision import VisionDataset


class USPS(VisionDataset):
    """Handwritten digits from envelopes, 16 x 16 pixels: 7,291 to train and 2,007 to test.

    An item is ``(image, target)``: a PIL image of mode "L" and an int from 0 to 9.

    Args:
        root (str or Path): the folder with usps.bz2 and usps.t.bz2.
        train (bool): the training part, or the test part.
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.
        download (bool): download the file, if it is not there.

    Attributes:
        data (numpy.ndarray): the images, uint8 (n, 16, 16).
        targets (list of int): the digits.

    Raises:
        FileNotFoundError: the file is not there.
        RuntimeError: it could not be downloaded.

    Source: J. Hull, "A database for handwritten text recognition research", IEEE TPAMI 16, 1994;
    https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps.
    """

    split_list = {
        "train": ["https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/usps.bz2", "usps.bz2",
                  "ec16c51db3855ca6c91edd34d0e9b197"],
        "test": ["https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/usps.t.bz2", "usps.t.bz2",
                 "8ea070ee2aca1ac39742fdd1ef5ed118"],
    }

    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        super().__init__(root, transform=transform, target_transform=target_transform)
        url, filename, md5 = self.split_list["train" if train else "test"]
        path = os.path.join(self.root, filename)
        if download and not os.path.exists(path):
            download_url(url, self.root, filename, md5=md5)
        with bz2.open(path, "rt") as file:
            lines = [line.split() for line in file]
        # a line is "label index:value index:value ...", labels from 1 to 10, values from -1 to 1
        values = np.array([[word.split(":")[1] for word in words[1:]] for words in lines], np.float32)
        self.data = ((values.reshape(-1, 16, 16) + 1) / 2 * 255).astype(np.uint8)
        self.targets = [int(words[0]) - 1 for words in lines]

    def __getitem__(self, index):
        return self._apply_both(Image.fromarray(self.data[index]), int(self.targets[index]))

    def __len__(self):
        return len(self.data)
