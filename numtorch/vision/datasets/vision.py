"""What data sets of images have in common."""
import os
from typing import TypeVar

from ...utils.data import Dataset

_T_co = TypeVar("_T_co", covariant=True)


class VisionDataset(Dataset[_T_co]):
    """Base of data sets of images: keeps ``root`` and the transforms, and prints itself.

    Args:
        root (str or Path, optional): the folder of the data, for data sets that have files; a "~" in a str is the home folder.
        transforms (callable, optional): ``transforms(image, target)`` returns both; instead of the other two.
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.

    Attributes:
        transforms: what was given, or the two single ones as a StandardTransform, or None.

    Raises:
        ValueError: ``transforms`` beside one of the other two.
    """

    _repr_indent = 4

    def __init__(self, root=None, transforms=None, transform=None, target_transform=None):
        single = transform is not None or target_transform is not None
        if transforms is not None and single:
            raise ValueError("Only transforms or transform/target_transform can be passed as argument")
        self.root = os.path.expanduser(root) if isinstance(root, str) else root
        self.transform, self.target_transform = transform, target_transform
        self.transforms = StandardTransform(transform, target_transform) if single else transforms

    def _apply_both(self, image, target):
        """The item as ``transform`` and ``target_transform`` leave it: those set now, not those of ``__init__``."""
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} has no __getitem__")

    def __len__(self):
        raise NotImplementedError(f"{type(self).__name__} has no __len__")

    def extra_repr(self):
        """Further lines of the printed form, without indentation."""
        return ""

    def __repr__(self):
        body = [f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            body.append(f"Root location: {self.root}")
        body += self.extra_repr().splitlines()
        if getattr(self, "transforms", None) is not None:
            body.append(repr(self.transforms))      # its own further lines are not indented, as in torchvision
        return "\n".join([f"Dataset {type(self).__name__}", *[" " * self._repr_indent + line for line in body]])


class StandardTransform:
    """One function of (image, target) made of one for each: ``StandardTransform(f, g)(x, y)`` is ``(f(x), g(y))``.

    Args:
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.

    >>> from numtorch.vision.datasets.vision import StandardTransform
    >>> StandardTransform(str, None)(1, 2)
    ('1', 2)
    """

    def __init__(self, transform=None, target_transform=None):
        self.transform, self.target_transform = transform, target_transform

    def __call__(self, input, target):
        if self.transform is not None:
            input = self.transform(input)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return input, target

    def __repr__(self):
        lines = [type(self).__name__]
        for head, function in (("Transform: ", self.transform), ("Target transform: ", self.target_transform)):
            if function is not None:
                first, *rest = repr(function).splitlines()
                lines += [head + first, *[" " * len(head) + line for line in rest]]
        return "\n".join(lines)
