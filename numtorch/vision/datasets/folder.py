"""Data sets of files in one folder for each class."""
import os

from PIL import Image

from .vision import VisionDataset

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def has_file_allowed_extension(filename, extensions):
    """Whether a file's name ends, in any case, with one of ``extensions`` (a str or a tuple of them, in lower case)."""
    return str(filename).lower().endswith(extensions if isinstance(extensions, str) else tuple(extensions))


def is_image_file(filename):
    """Whether a file's name ends as an image's does: with one of IMG_EXTENSIONS."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory):
    """The folders in ``directory``, sorted, as a list of names and as a dict from names to numbers.

    Raises:
        FileNotFoundError: there is none.
    """
    with os.scandir(directory) as entries:
        classes = sorted(entry.name for entry in entries if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
    return classes, {name: number for number, name in enumerate(classes)}


def make_dataset(directory, class_to_idx=None, extensions=None, is_valid_file=None, allow_empty=False):
    """The files below each class's folder, as ``(path, class number)``: classes, folders and files in sorted order.

    Args:
        directory (str or Path): the folder of the classes' folders.
        class_to_idx (dict, optional): the classes' names and numbers; None: those of find_classes.
        extensions (str or tuple of str, optional): endings, in lower case, of the files to take.
        is_valid_file (callable, optional): tells by its path whether to take a file; instead of ``extensions``.
        allow_empty (bool): classes may be without files.

    Returns:
        A list of (str, int).

    Raises:
        ValueError: no classes; both or neither of ``extensions`` and ``is_valid_file``.
        FileNotFoundError: a class is without files, and must not.
    """
    directory = os.path.expanduser(directory)
    if class_to_idx is None:
        _, class_to_idx = find_classes(directory)
    elif not class_to_idx:
        raise ValueError("'class_to_index' must have at least one entry to collect any samples.")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError("Both extensions and is_valid_file cannot be None or not None at the same time")
    wanted = is_valid_file or (lambda path: has_file_allowed_extension(path, extensions))

    samples, empty = [], []
    for name, number in sorted(class_to_idx.items()):
        walk = sorted(os.walk(os.path.join(directory, name), followlinks=True))
        paths = [os.path.join(folder, file) for folder, _, files in walk for file in sorted(files)]
        found = [(path, number) for path in paths if wanted(path)]
        samples += found
        if not found:
            empty.append(name)
    if empty and not allow_empty:
        message = f"Found no valid file for the classes {', '.join(empty)}. "
        if extensions is not None:
            message += f"Supported extensions are: {extensions if isinstance(extensions, str) else ', '.join(extensions)}"
        raise FileNotFoundError(message)
    return samples


def pil_loader(path):
    """The image in a file, as a PIL image of mode "RGB"."""
    with open(path, "rb") as file:      # opened here, so that it is closed here
        return Image.open(file).convert("RGB")


def accimage_loader(path):
    """The image in a file, read by the package accimage, or by Pillow where accimage cannot."""
    import accimage

    try:
        return accimage.Image(path)
    except OSError:
        return pil_loader(path)


def default_loader(path):
    """The image in a file, read by the package that set_image_backend chose."""
    from .. import get_image_backend

    return accimage_loader(path) if get_image_backend() == "accimage" else pil_loader(path)


class DatasetFolder(VisionDataset):
    """Files of any kind in one folder for each class: root/dog/xxx.ext, root/cat/a/b/123.ext.

    An item is ``(sample, target)``: what ``loader`` makes of the path, and the class's number. A subclass may have its own
    ``find_classes`` and ``make_dataset``.

    Args:
        root (str or Path): the folder of the classes' folders.
        loader (callable): makes a sample of a path.
        extensions (tuple of str, optional): endings, in lower case, of the files to take.
        transform (callable, optional): applied to the sample.
        target_transform (callable, optional): applied to the target.
        is_valid_file (callable, optional): tells by its path whether to take a file; instead of ``extensions``.
        allow_empty (bool): classes may be without files.

    Attributes:
        classes (list of str): the folders' names, sorted; ``class_to_idx`` maps them to the targets.
        samples (list of (str, int)): the paths and targets.
        targets (list of int): the targets.

    Raises:
        FileNotFoundError: there are no folders, or a class is without files, and must not.
        ValueError: both or neither of ``extensions`` and ``is_valid_file``.
    """

    def __init__(self, root, loader, extensions=None, transform=None, target_transform=None, is_valid_file=None,
                 allow_empty=False):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples = self.make_dataset(self.root, class_to_idx=self.class_to_idx, extensions=extensions,
                                         is_valid_file=is_valid_file, allow_empty=allow_empty)
        self.loader, self.extensions = loader, extensions
        self.targets = [target for _, target in self.samples]

    @staticmethod
    def make_dataset(directory, class_to_idx, extensions=None, is_valid_file=None, allow_empty=False):
        """The samples, as the function make_dataset finds them; ``class_to_idx`` must be given."""
        if class_to_idx is None:
            raise ValueError("The class_to_idx parameter cannot be None.")
        return make_dataset(directory, class_to_idx, extensions, is_valid_file, allow_empty)

    def find_classes(self, directory):
        """The classes' names, and a dict from names to numbers, as the function find_classes finds them."""
        return find_classes(directory)

    def __getitem__(self, index):
        path, target = self.samples[index]
        return self._apply_both(self.loader(path), target)

    def __len__(self):
        return len(self.samples)


class ImageFolder(DatasetFolder):
    """Images in one folder for each class: root/dog/xxx.png, root/cat/a/b/123.jpg.

    An item is ``(image, target)``: a PIL image of mode "RGB" and the class's number.

    Args:
        root (str or Path): the folder of the classes' folders.
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.
        loader (callable): makes an image of a path.
        is_valid_file (callable, optional): tells by its path whether to take a file; by default those that end as images do.
        allow_empty (bool): classes may be without files.

    Attributes:
        classes (list of str): the folders' names, sorted; ``class_to_idx`` maps them to the targets.
        imgs (list of (str, int)): the paths and targets; also ``samples``.
        targets (list of int): the targets.
    """

    def __init__(self, root, transform=None, target_transform=None, loader=default_loader, is_valid_file=None, allow_empty=False):
        super().__init__(root, loader, IMG_EXTENSIONS if is_valid_file is None else None, transform, target_transform,
                         is_valid_file, allow_empty)
        self.imgs = self.samples
