"""What data sets of images have in common."""
from ...utils.data import Dataset


class VisionDataset(Dataset):
    """Base of data sets of images: keeps ``root`` and the transforms, and prints itself.

    Args:
        root (str or Path, optional): the folder of the data, for data sets that have files.
        transforms (callable, optional): ``transforms(image, target)`` returns both; instead of the other two.
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target.

    Raises:
        ValueError: ``transforms`` beside one of the other two.
    """

    _repr_indent = 4

    def __init__(self, root=None, transforms=None, transform=None, target_transform=None):
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ValueError("Only transforms or transform/target_transform can be passed as argument")
        self.root = root
        self.transform, self.target_transform, self._pair_transform = transform, target_transform, transforms

    @property
    def transforms(self):
        """The function that is applied to (image, target): what was given, or the two single ones together."""
        return self._pair_transform or self._apply_both

    def _apply_both(self, image, target):
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
        for name in ("transform", "target_transform"):
            if getattr(self, name) is not None:
                body.append(f"{name}: {getattr(self, name)!r}")
        return "\n".join([f"Dataset {type(self).__name__}", *[" " * self._repr_indent + line for line in body]])
