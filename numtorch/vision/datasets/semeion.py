"""SEMEION: handwritten digits in black and white, in a text file."""
import os

import numpy as np
from PIL import Image

from .utils import check_integrity, download_url
from .vision import VisionDataset


class SEMEION(VisionDataset):
    """1,593 handwritten digits, 16 x 16 pixels, black or white.

    An item is ``(image, target)``: a PIL image of mode "L" and an int from 0 to 9.

    Args:
        root (str or Path): the folder with semeion.data.
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.
        download (bool): download the file, if it is not there; here this is the default, as in torchvision.

    Attributes:
        data (numpy.ndarray): the images, uint8 (n, 16, 16): 0 or 255.
        labels (numpy.ndarray): int64 (n,).

    Raises:
        RuntimeError: the file is not there or has another checksum, or could not be downloaded.

    Source: M. Buscema, "MetaNet: the theory of independent judges", 1998; https://archive.ics.uci.edu/dataset/178.
    """

    url = "http://archive.ics.uci.edu/ml/machine-learning-databases/semeion/semeion.data"
    filename = "semeion.data"
    md5_checksum = "cb545d371d2ce14ec121470795a77432"

    def __init__(self, root, transform=None, target_transform=None, download=True):
        super().__init__(root, transform=transform, target_transform=target_transform)
        if download:
            self.download()
        if not self._check_integrity():
            raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it "
                               f"(looked for {os.path.abspath(self._path)})")
        values = np.loadtxt(self._path)     # a line is 256 pixels, then a 1 at the digit's place among ten
        self.data = (values[:, :256] * 255).astype(np.uint8).reshape(-1, 16, 16)
        self.labels = np.nonzero(values[:, 256:])[1]

    @property
    def _path(self):
        return os.path.join(self.root, self.filename)

    def __getitem__(self, index):
        return self._apply_both(Image.fromarray(self.data[index]), int(self.labels[index]))

    def __len__(self):
        return len(self.data)

    def _check_integrity(self):
        """Whether the file is there, with its checksum."""
        return check_integrity(self._path, self.md5_checksum)

    def download(self):
        """Downloads the file, unless it is there."""
        if not self._check_integrity():
            download_url(self.url, self.root, self.filename, self.md5_checksum)
