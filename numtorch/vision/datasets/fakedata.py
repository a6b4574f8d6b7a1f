"""Random images, to try a program without any data."""
from ... import dtypes
from ...ops.random import randint, randn
from ...random import Generator
from .vision import VisionDataset


class FakeData(VisionDataset):
    """Random images with random classes; item i is the same each time, and the same as torchvision's.

    An item is ``(image, target)``: a PIL image and an int.

    Args:
        size (int): how many there are.
        image_size (tuple of int): channels (1 to 4), height and width.
        num_classes (int): targets are from 0 to one less.
        transform (callable, optional): applied to the image.
        target_transform (callable, optional): applied to the target, a tensor of no dimensions; its result has ``item()``.
        random_offset (int): item i is drawn from a generator with the seed i + ``random_offset``.

    >>> from numtorch.vision.datasets import FakeData
    >>> image, target = FakeData(size=5, image_size=(3, 16, 24))[0]
    >>> image.size, image.mode, len(FakeData(size=5))
    ((24, 16), 'RGB', 5)
    """

    def __init__(self, size=1000, image_size=(3, 224, 224), num_classes=10, transform=None, target_transform=None,
                 random_offset=0):
        super().__init__(transform=transform, target_transform=target_transform)
        self.size, self.image_size, self.num_classes, self.random_offset = size, image_size, num_classes, random_offset

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(f"{type(self).__name__} index out of range")
        from ..transforms.functional import to_pil_image

        generator = Generator().manual_seed(index + self.random_offset)
        image = randn(*self.image_size, generator=generator, dtype=dtypes.float32)
        target = randint(0, self.num_classes, (1,), generator=generator, dtype=dtypes.int64)[0]
        image, target = self._apply_both(to_pil_image(image), target)
        return image, target.item()

    def __len__(self):
        return self.size
