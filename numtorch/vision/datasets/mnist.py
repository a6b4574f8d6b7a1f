"""MNIST and the data sets of its kind: images of single characters in idx files."""
import os
import shutil
import string
import warnings

from PIL import Image

from ... import dtypes
from ._idx import (  # noqa: F401 (programs know these from torchvision)
    SN3_PASCALVINCENT_TYPEMAP,
    get_int,
    read_image_file,
    read_label_file,
    read_sn3_pascalvincent_tensor,
)
from .utils import _download_and_extract, check_integrity, download_and_extract_archive, extract_archive, verify_str_arg
from .vision import VisionDataset

_DIGITS = ["0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine"]


def _renamed(old, new):
    def get(self):
        warnings.warn(f"{old} has been renamed {new}", stacklevel=2)
        return getattr(self, new)

    return property(get, doc=f"The old name of ``{new}``, with a warning.")


class MNIST(VisionDataset):
    """Handwritten digits, 28 x 28 pixels: 60,000 to train and 10,000 to test.

    An item is ``(image, target)``: a PIL image of mode "L" and an int from 0 to 9.

    Args:
        root (str or Path): the folder with MNIST/raw/train-images-idx3-ubyte and the three files beside it.
        train (bool): the training part, or the test part.
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.
        download (bool): download what is not there, and unpack it.

    Attributes:
        data (Tensor): the images, uint8 (n, 28, 28).
        targets (Tensor): int64 (n,).
        classes (list of str): the classes' names; ``class_to_idx`` maps them to the targets.

    Raises:
        RuntimeError: the files are not there, or could not be downloaded.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86, 1998; http://yann.lecun.com/exdb/mnist/.
    """

    mirrors = ["https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ]
    training_file = "training.pt"
    test_file = "test.pt"
    classes = _DIGITS

    train_labels = _renamed("train_labels", "targets")
    test_labels = _renamed("test_labels", "targets")
    train_data = _renamed("train_data", "data")
    test_data = _renamed("test_data", "data")

    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if self._check_legacy_exist():
            self.data, self.targets = self._load_legacy_data()
            return
        if download:
            self.download()
        if not self._check_exists():
            raise RuntimeError("Dataset not found. You can use download=True to download it "
                               f"(it is not in {os.path.abspath(self.raw_folder)})")
        self.data, self.targets = self._load_data()

    def _check_legacy_exist(self):
        """Whether the files are there that torchvision wrote before 0.9: both parts, as tensors in torch's format."""
        return all(check_integrity(os.path.join(self.processed_folder, file)) for file in (self.training_file, self.test_file))

    def _load_legacy_data(self):
        from ... import load

        return load(os.path.join(self.processed_folder, self.training_file if self.train else self.test_file), weights_only=True)

    def _load_data(self):
        part = os.path.join(self.raw_folder, "train" if self.train else "t10k")
        return read_image_file(f"{part}-images-idx3-ubyte"), read_label_file(f"{part}-labels-idx1-ubyte")

    def __getitem__(self, index):
        return self._apply_both(Image.fromarray(self.data[index].numpy()), int(self.targets[index]))

    def __len__(self):
        return len(self.data)

    @property
    def raw_folder(self):
        """The folder of the idx files: root/MNIST/raw, with the class's own name."""
        return os.path.join(self.root, type(self).__name__, "raw")

    @property
    def processed_folder(self):
        """The folder where torchvision before 0.9 kept the data: root/MNIST/processed, with the class's own name."""
        return os.path.join(self.root, type(self).__name__, "processed")

    @property
    def class_to_idx(self):
        """The classes' names and numbers."""
        return {name: number for number, name in enumerate(self.classes)}

    def _check_exists(self):
        """Whether the unpacked files are there; what is in them is not looked at."""
        names = [os.path.basename(name) for name, _ in self.resources]
        return all(check_integrity(os.path.join(self.raw_folder, os.path.splitext(name)[0])) for name in names)

    def download(self):
        """Downloads and unpacks the files, unless all are there; each mirror is tried in turn."""
        if self._check_exists():
            return
        for filename, md5 in self.resources:
            _download_and_extract([mirror + filename for mirror in self.mirrors], self.raw_folder, filename=filename, md5=md5)

    def extra_repr(self):
        return f"Split: {'Train' if self.train is True else 'Test'}"


class FashionMNIST(MNIST):
    """Pieces of clothing, 28 x 28 pixels: 60,000 to train and 10,000 to test; arguments and items are those of MNIST.

    The files lie in root/FashionMNIST/raw.

    Source: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", arXiv:1708.07747, 2017; https://github.com/zalandoresearch/fashion-mnist.
    """

    mirrors = ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ]
    classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


class KMNIST(MNIST):
    """Handwritten Kuzushiji (cursive Japanese), 28 x 28 pixels: 60,000 to train and 10,000 to test; arguments and items are those
    of MNIST.

    The files lie in root/KMNIST/raw.

    Source: T. Clanuwat et al., "Deep learning for classical Japanese literature", arXiv:1812.01718, 2018;
    https://github.com/rois-codh/kmnist.
    """

    mirrors = ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    ]
    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


class EMNIST(MNIST):
    """Handwritten letters and digits, 28 x 28 pixels, in six splits; items are those of MNIST. The images lie on their side.

    Args:
        root (str or Path): the folder with EMNIST/raw/emnist-letters-train-images-idx3-ubyte and the others.
        split (str): "byclass", "bymerge", "balanced", "letters", "digits" or "mnist".
        kwargs: ``train``, ``transform``, ``target_transform`` and ``download``, as for MNIST.

    Source: G. Cohen, S. Afshar, J. Tapson and A. van Schaik, "EMNIST: an extension of MNIST to handwritten letters",
    arXiv:1702.05373, 2017; https://www.nist.gov/itl/products-and-services/emnist-dataset.
    """

    url = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
    md5 = "58c8d27c78d21e728a6bc7b3cc06412e"
    splits = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
    _merged_classes = set("cijklmopsuvwxyz")        # lower-case letters that look like their capitals
    _all_classes = set(string.digits + string.ascii_letters)
    classes_split_dict = {
        "byclass": sorted(_all_classes),
        "bymerge": sorted(_all_classes - _merged_classes),
        "balanced": sorted(_all_classes - _merged_classes),
        "letters": ["N/A", *string.ascii_lowercase],
        "digits": list(string.digits),
        "mnist": list(string.digits),
    }

    def __init__(self, root, split, **kwargs):
        self.split = verify_str_arg(split, "split", self.splits)
        self.training_file, self.test_file = self._training_file(split), self._test_file(split)
        super().__init__(root, **kwargs)
        self.classes = self.classes_split_dict[self.split]

    @staticmethod
    def _training_file(split):
        return f"training_{split}.pt"

    @staticmethod
    def _test_file(split):
        return f"test_{split}.pt"

    @property
    def _file_prefix(self):
        return f"emnist-{self.split}-{'train' if self.train else 'test'}"

    @property
    def images_file(self):
        """The path of the images' idx file."""
        return os.path.join(self.raw_folder, f"{self._file_prefix}-images-idx3-ubyte")

    @property
    def labels_file(self):
        """The path of the labels' idx file."""
        return os.path.join(self.raw_folder, f"{self._file_prefix}-labels-idx1-ubyte")

    def _load_data(self):
        return read_image_file(self.images_file), read_label_file(self.labels_file)

    def _check_exists(self):
        return all(check_integrity(file) for file in (self.images_file, self.labels_file))

    def download(self):
        """Downloads and unpacks the files of all splits (536 MB), unless those of this one are there."""
        if self._check_exists():
            return
        download_and_extract_archive(self.url, download_root=self.raw_folder, md5=self.md5)
        folder = os.path.join(self.raw_folder, "gzip")
        for name in sorted(os.listdir(folder)):
            if name.endswith(".gz"):
                extract_archive(os.path.join(folder, name), self.raw_folder)
        shutil.rmtree(folder)


class QMNIST(MNIST):
    """MNIST made anew from its sources, with 60,000 test images and each image's writer; images are those of MNIST.

    Args:
        root (str or Path): the folder with QMNIST/raw.
        what (str, optional): "train", "test" (60,000), "test10k" (MNIST's own), "test50k" (the others) or "nist" (all of NIST's
            digits); None: "train" or "test" by ``train``.
        compat (bool): the target is the digit, an int; False: all that is known of the image, int64 (8,).
        train (bool): where ``what`` is None.
        kwargs: ``transform``, ``target_transform`` and ``download``, as for MNIST.

    Source: C. Yadav and L. Bottou, "Cold case: the lost MNIST digits", NeurIPS 2019; https://github.com/facebookresearch/qmnist.
    """

    subsets = {"train": "train", "test": "test", "test10k": "test", "test50k": "test", "nist": "nist"}
    resources = {
        "train": [
            ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/qmnist-train-images-idx3-ubyte.gz",
             "ed72d4157d28c017586c42bc6afe6370"),
            ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/qmnist-train-labels-idx2-int.gz",
             "0058f8dd561b90ffdd0f734c6a30e5e4"),
        ],
        "test": [
            ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/qmnist-test-images-idx3-ubyte.gz",
             "1394631089c404de565df7b7aeaf9412"),
            ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/qmnist-test-labels-idx2-int.gz",
             "5b5b05890a5e13444e108efe57b788aa"),
        ],
        "nist": [
            ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/xnist-images-idx3-ubyte.xz",
             "7f124b3b8ab81486c9d8c2749c17f834"),
            ("https://raw.githubusercontent.com/facebookresearch/qmnist/master/xnist-labels-idx2-int.xz",
             "5ed0e788978e45d4a8bd4b7caec3d79d"),
        ],
    }

    def __init__(self, root, what=None, compat=True, train=True, **kwargs):
        if what is None:
            what = "train" if train else "test"
        self.what = verify_str_arg(what, "what", tuple(self.subsets))
        self.compat = compat
        self.data_file = self.training_file = self.test_file = what + ".pt"
        super().__init__(root, train, **kwargs)

    @property
    def images_file(self):
        """The path of the images' idx file."""
        return self._unpacked(0)

    @property
    def labels_file(self):
        """The path of the labels' idx file."""
        return self._unpacked(1)

    def _unpacked(self, number):
        url, _ = self.resources[self.subsets[self.what]][number]
        return os.path.join(self.raw_folder, os.path.splitext(os.path.basename(url))[0])

    def _check_exists(self):
        return all(check_integrity(file) for file in (self.images_file, self.labels_file))

    def _load_data(self):
        data = read_image_file(self.images_file)
        targets = read_sn3_pascalvincent_tensor(self.labels_file)
        if targets.dtype != dtypes.int32 or targets.dim() != 2:
            raise ValueError(f"QMNIST: targets should be int32 of 2 dimensions instead of {targets.dtype} of {targets.dim()}")
        part = {"test10k": slice(10000), "test50k": slice(10000, None)}.get(self.what, slice(None))
        return data[part], targets[part].long()

    def download(self):
        """Downloads and unpacks the two files of ``what``, unless they are there."""
        if self._check_exists():
            return
        for url, md5 in self.resources[self.subsets[self.what]]:
            download_and_extract_archive(url, self.raw_folder, md5=md5)

    def __getitem__(self, index):
        target = self.targets[index]
        return self._apply_both(Image.fromarray(self.data[index].numpy()), int(target[0]) if self.compat else target)

    def extra_repr(self):
        return f"Split: {self.what}"
