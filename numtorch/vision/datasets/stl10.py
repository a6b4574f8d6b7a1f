"""STL-10: photographs with few labels, in raw binary files."""
import os

import numpy as np
from PIL import Image

from .utils import check_integrity, download_and_extract_archive, verify_str_arg
from .vision import VisionDataset


class STL10(VisionDataset):
    """Photographs of ten kinds of things, 96 x 96 pixels in colour: 5,000 to train, 8,000 to test, 100,000 unlabeled.

    An item is ``(image, target)``: a PIL image of mode "RGB" and an int from 0 to 9, or -1 where there is no label.

    Args:
        root (str or Path): the folder with stl10_binary.
        split (str): "train", "test", "unlabeled" or "train+unlabeled".
        folds (int, optional): 0 to 9: one of ten prescribed thousands of the training images.
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.
        download (bool): download what is not there, and unpack it.

    Attributes:
        data (numpy.ndarray): the images, uint8 (n, 3, 96, 96).
        labels (numpy.ndarray): (n,).
        classes (list of str): the classes' names, where their file is there.

    Raises:
        RuntimeError: the files are not there or have other checksums, or could not be downloaded.
        ValueError: another ``split`` or ``folds``.

    Source: A. Coates, H. Lee and A. Ng, "An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011;
    https://cs.stanford.edu/~acoates/stl10/.
    """

    base_folder = "stl10_binary"
    url = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
    filename = "stl10_binary.tar.gz"
    tgz_md5 = "91f7769df0f17e558f3565bffb0c7dfb"
    class_names_file = "class_names.txt"
    folds_list_file = "fold_indices.txt"
    train_list = [
        ["train_X.bin", "918c2871b30a85fa023e0c44e0bee87f"],
        ["train_y.bin", "5a34089d4802c674881badbb80307741"],
        ["unlabeled_X.bin", "5242ba1fed5e4be9e1e742405eb56ca4"],
    ]
    test_list = [["test_X.bin", "7f263ba9f9e0b06b93213547f721ac82"], ["test_y.bin", "36f9794fa4beb8a2c72628de14fa638e"]]
    splits = ("train", "train+unlabeled", "unlabeled", "test")

    def __init__(self, root, split="train", folds=None, transform=None, target_transform=None, download=False):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.split = verify_str_arg(split, "split", self.splits)
        self.folds = self._verify_folds(folds)
        if download:
            self.download()
        if not self._check_integrity():
            raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it "
                               f"(looked for in {os.path.abspath(self._folder)})")
        parts = [self._load_part(part) for part in self.split.split("+")]
        self.data, self.labels = (arrays[0] if len(arrays) == 1 else np.concatenate(arrays) for arrays in zip(*parts))
        names = os.path.join(self._folder, self.class_names_file)
        if os.path.isfile(names):
            with open(names) as file:
                self.classes = file.read().splitlines()

    @property
    def _folder(self):
        return os.path.join(self.root, self.base_folder)

    def _verify_folds(self, folds):
        if folds is not None and not isinstance(folds, int):
            raise ValueError(f"Expected type None or int for argument folds, but got type {type(folds)}.")
        if folds is not None and not 0 <= folds < 10:
            raise ValueError(f"Value for argument folds should be in the range [0, 10), but got {folds}.")
        return folds

    def _load_part(self, part):
        """The images (n, 3, 96, 96) and labels (n,) of "train", "test" or "unlabeled"."""
        # the files have a channel's pixels column after column
        images = np.fromfile(os.path.join(self._folder, f"{part}_X.bin"), np.uint8).reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2)
        if part == "unlabeled":
            return images, np.full(len(images), -1)
        labels = np.fromfile(os.path.join(self._folder, f"{part}_y.bin"), np.uint8) - 1      # from 1 in the file
        if part == "train" and self.folds is not None:
            with open(os.path.join(self._folder, self.folds_list_file)) as file:
                chosen = np.array(file.read().splitlines()[self.folds].split(), np.int64)
            images, labels = images[chosen], labels[chosen]
        return images, labels

    def __getitem__(self, index):
        return self._apply_both(Image.fromarray(self.data[index].transpose(1, 2, 0)), int(self.labels[index]))

    def __len__(self):
        return len(self.data)

    def _check_integrity(self):
        """Whether the files of all parts are there, with their checksums."""
        return all(check_integrity(os.path.join(self._folder, name), md5) for name, md5 in self.train_list + self.test_list)

    def download(self):
        """Downloads and unpacks the archive, unless what it holds is there."""
        if not self._check_integrity():
            download_and_extract_archive(self.url, self.root, filename=self.filename, md5=self.tgz_md5)

    def extra_repr(self):
        return f"Split: {self.split}"
