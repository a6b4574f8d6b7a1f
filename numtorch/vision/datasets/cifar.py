"""CIFAR-10 and CIFAR-100: small photographs, in pickled batches."""
import os

import numpy as np
from PIL import Image

from ._pickles import load_dict
from .utils import check_integrity, download_and_extract_archive
from .vision import VisionDataset


class CIFAR10(VisionDataset):
    """Photographs of ten kinds of things, 32 x 32 pixels in colour: 50,000 to train and 10,000 to test.

    An item is ``(image, target)``: a PIL image of mode "RGB" and an int from 0 to 9.

    Args:
        root (str or Path): the folder with cifar-10-batches-py.
        train (bool): the training part, or the test part.
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.
        download (bool): download what is not there, and unpack it.

    Attributes:
        data (numpy.ndarray): the images, uint8 (n, 32, 32, 3).
        targets (list of int): the classes' numbers.
        classes (list of str): their names; ``class_to_idx`` maps them to the targets.

    Raises:
        RuntimeError: the files are not there or have other checksums, or could not be downloaded.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009;
    https://www.cs.toronto.edu/~kriz/cifar.html.
    """

    base_folder = "cifar-10-batches-py"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f30108f718f92721af3b95e74349a"
    train_list = [
        ["data_batch_1", "c99cafc152244af753f735de768cd75f"],
        ["data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"],
        ["data_batch_3", "54ebc095f3ab1f0389bbae665268c751"],
        ["data_batch_4", "634d18415352ddfa80567beed471001a"],
        ["data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"],
    ]
    test_list = [["test_batch", "40351d587109b95175f43aff81a1287e"]]
    meta = {"filename": "batches.meta", "key": "label_names", "md5": "5ff9c542aee3614f3951f8cda6e48888"}

    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        if not self._check_integrity():
            raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it "
                               f"(looked for in {os.path.abspath(self._folder)})")
        images, self.targets = [], []
        for name, _ in self.train_list if train else self.test_list:
            pixels, labels = self._load_batch(name)
            images.append(pixels)
            self.targets.extend(labels)
        # each image's pixels one after another, so that an item is made of one block of memory
        self.data = np.ascontiguousarray(np.vstack(images).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        self._load_meta()

    @property
    def _folder(self):
        return os.path.join(self.root, self.base_folder)

    def _load_batch(self, name):
        """The pixels, uint8 (n, 3072), and the n labels of one file."""
        path = os.path.join(self._folder, name)
        batch = load_dict(path)
        pixels, labels = batch.get("data"), batch["labels"] if "labels" in batch else batch.get("fine_labels")
        if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[1:] == (3072,)
                and isinstance(labels, list) and len(labels) == len(pixels)):
            raise RuntimeError(f"{type(self).__name__}: {path} does not hold what it should: data, uint8 (n, 3072), and a list "
                               "of n labels")
        return pixels, labels

    def _load_meta(self):
        path = os.path.join(self._folder, self.meta["filename"])
        if not check_integrity(path, self.meta["md5"]):
            raise RuntimeError("Dataset metadata file not found or corrupted. You can use download=True to download it "
                               f"(looked for {os.path.abspath(path)})")
        self.classes = load_dict(path)[self.meta["key"]]
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}

    def __getitem__(self, index):
        return self._apply_both(Image.fromarray(self.data[index]), self.targets[index])

    def __len__(self):
        return len(self.data)

    def _check_integrity(self):
        """Whether the files of both parts are there, with their checksums."""
        return all(check_integrity(os.path.join(self._folder, name), md5) for name, md5 in self.train_list + self.test_list)

    def download(self):
        """Downloads and unpacks the archive, unless what it holds is there, which it says: torchvision did so up to 0.20."""
        if self._check_integrity():
            print("Files already downloaded and verified")
        else:
            download_and_extract_archive(self.url, self.root, filename=self.filename, md5=self.tgz_md5)

    def extra_repr(self):
        return f"Split: {'Train' if self.train is True else 'Test'}"


class CIFAR100(CIFAR10):
    """Photographs of a hundred kinds of things, 32 x 32 pixels in colour: 50,000 to train and 10,000 to test.

    Arguments, items and source are those of CIFAR10; the files lie in root/cifar-100-python.
    """

    base_folder = "cifar-100-python"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    filename = "cifar-100-python.tar.gz"
    tgz_md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list = [["train", "16019d7e3df5f24257cddd939b257f8d"]]
    test_list = [["test", "f0ef6b0ae62326f3e7ffdfab6717acfc"]]
    meta = {"filename": "meta", "key": "fine_label_names", "md5": "7973b15100ade9c7d40fb424638fde48"}
