"""ImageNet: the photographs of the challenge of 2012, from archives that one has to fetch oneself."""
import contextlib
import os
import tempfile

from . import _matfile
from .folder import ImageFolder
from .utils import check_integrity, extract_archive, verify_str_arg

ARCHIVE_META = {
    "train": ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
    "val": ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
    "devkit": ("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf"),
}
META_FILE = "meta.bin"


class ImageNet(ImageFolder):
    """Photographs of a thousand kinds of things: 1,281,167 to train and 50,000 to validate.

    An item is ``(image, target)``: a PIL image of mode "RGB" and the class's number. The archives are given out at
    https://image-net.org/challenges/LSVRC/2012/2012-downloads.php to who has registered; put the development kit's and the
    split's into ``root``. They are unpacked at the first use, into root/train or root/val, a folder for each class.

    Args:
        root (str or Path): the folder of the archives, or of what was made of them.
        split (str): "train" or "val".
        kwargs: ``transform``, ``target_transform``, ``loader``, ``is_valid_file``, ``allow_empty``, as for ImageFolder.

    Attributes:
        classes (list of tuple of str): each class's names; ``class_to_idx`` maps each of them to the target.
        wnids (list of str): the classes' WordNet ids; ``wnid_to_idx`` maps them to the targets.
        imgs (list of (str, int)): the paths and targets; also ``samples``.
        targets (list of int): the targets.

    Raises:
        RuntimeError: an archive is not there or has another checksum.

    Source: O. Russakovsky et al., "ImageNet large scale visual recognition challenge", IJCV 115, 2015.
    """

    def __init__(self, root, split="train", **kwargs):
        root = self.root = os.path.expanduser(root)
        self.split = verify_str_arg(split, "split", ("train", "val"))
        self.parse_archives()
        wnid_to_classes = load_meta_file(self.root)[0]
        super().__init__(self.split_folder, **kwargs)
        self.root = root
        self.wnids, self.wnid_to_idx = self.classes, self.class_to_idx
        self.classes = [wnid_to_classes[wnid] for wnid in self.wnids]
        self.class_to_idx = {name: number for number, names in enumerate(self.classes) for name in names}

    def parse_archives(self):
        """Unpacks the archives, unless what is made of them is there."""
        if not check_integrity(os.path.join(self.root, META_FILE)):
            parse_devkit_archive(self.root)
        if not os.path.isdir(self.split_folder):
            (parse_train_archive if self.split == "train" else parse_val_archive)(self.root)

    @property
    def split_folder(self):
        """The folder of the split's class folders."""
        return os.path.join(self.root, self.split)

    def extra_repr(self):
        return f"Split: {self.split}"


def load_meta_file(root, file=None):
    """What parse_devkit_archive saved in ``root``: a dict from WordNet id to names, and the validation images' WordNet ids.

    Raises:
        RuntimeError: there is no such file.
    """
    path = os.path.join(root, file or META_FILE)
    if not check_integrity(path):
        raise RuntimeError(f"The meta file {file or META_FILE} is not present in the root directory or is corrupted. "
                           f"This file is automatically created by the ImageNet dataset. (Looked for {os.path.abspath(path)})")
    from ... import load

    return load(path, weights_only=True)


def _archive(root, kind, file):
    """The path of an archive, whose checksum is right."""
    name, md5 = ARCHIVE_META[kind]
    path = os.path.join(root, file or name)
    if not check_integrity(path, md5):
        raise RuntimeError(f"The archive {file or name} is not present in the root directory or is corrupted. "
                           f"You need to download it externally and place it in {root}.")
    return path


def parse_devkit_archive(root, file=None):
    """Saves the classes' names and the validation images' classes, from the development kit, in root/meta.bin.

    Args:
        root (str or Path): the archive's folder.
        file (str, optional): its name there.
    """
    archive = _archive(root, "devkit", file)
    from ... import save

    with tempfile.TemporaryDirectory() as folder:
        extract_archive(archive, folder)
        data = os.path.join(folder, "ILSVRC2012_devkit_t12", "data")
        synsets = _matfile.load(os.path.join(data, "meta.mat"))["synsets"]
        with open(os.path.join(data, "ILSVRC2012_validation_ground_truth.txt")) as lines:
            numbers = [int(line) for line in lines]
    rows = zip(synsets["ILSVRC2012_ID"], synsets["WNID"], synsets["words"], synsets["num_children"])
    leaves = [(int(number.item()), wnid, words) for number, wnid, words, children in rows if children.item() == 0]
    wnids = {number: wnid for number, wnid, _ in leaves}
    save(({wnid: tuple(words.split(", ")) for _, wnid, words in leaves}, [wnids[number] for number in numbers]),
         os.path.join(root, META_FILE))


def parse_train_archive(root, file=None, folder="train"):
    """Unpacks the training images, an archive of one archive for each class, into root/train.

    Args:
        root (str or Path): the archive's folder.
        file (str, optional): its name there.
        folder (str): the name of the folder to make.
    """
    archive = _archive(root, "train", file)
    with _folder_made_at_once(os.path.join(root, folder)) as unpacking:
        extract_archive(archive, unpacking)
        for name in sorted(os.listdir(unpacking)):
            path = os.path.join(unpacking, name)
            extract_archive(path, os.path.splitext(path)[0], remove_finished=True)


def parse_val_archive(root, file=None, wnids=None, folder="val"):
    """Unpacks the validation images into root/val, each into its class's folder.

    Args:
        root (str or Path): the archive's folder.
        file (str, optional): its name there.
        wnids (list of str, optional): the images' WordNet ids, in the images' order; None: those of the meta file.
        folder (str): the name of the folder to make.
    """
    if wnids is None:
        wnids = load_meta_file(root)[1]
    archive = _archive(root, "val", file)
    with _folder_made_at_once(os.path.join(root, folder)) as unpacking:
        extract_archive(archive, unpacking)
        images = sorted(os.listdir(unpacking))
        for wnid in set(wnids):
            os.mkdir(os.path.join(unpacking, wnid))
        for wnid, image in zip(wnids, images):
            os.replace(os.path.join(unpacking, image), os.path.join(unpacking, wnid, image))


@contextlib.contextmanager
def _folder_made_at_once(path):
    """A folder to fill, that gets its name when it is full: ImageNet takes a folder of that name for complete."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(path), prefix=".unpacking-") as temporary:
        folder = os.path.join(temporary, "content")
        os.mkdir(folder)
        yield folder
        os.rename(folder, path)
