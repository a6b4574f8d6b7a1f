"""Images for the demos: Fashion-MNIST and CIFAR-10, or drawings in their place where nothing is to be downloaded."""
import math
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import numtorch as torch
from numtorch.vision.datasets import CIFAR10, FashionMNIST, VisionDataset
from numtorch.vision.datasets.utils import extract_archive

# name -> outlines, each of corners (x, y) in a square from (0, 0), above and left, to (1, 1)
CLOTHES = {
    "T-shirt/top": [[(.3, .1), (.7, .1), (1, .3), (.9, .45), (.75, .35), (.75, .9), (.25, .9), (.25, .35), (.1, .45), (0, .3)]],
    "Trouser": [[(.3, 0), (.7, 0), (.75, 1), (.55, 1), (.5, .3), (.45, 1), (.25, 1)]],
    "Pullover": [[(.3, .1), (.7, .1), (.9, .3), (1, .85), (.85, .9), (.75, .4), (.75, .9), (.25, .9), (.25, .4), (.15, .9),
                  (0, .85), (.1, .3)]],
    "Dress": [[(.4, 0), (.6, 0), (.6, .35), (.75, 1), (.25, 1), (.4, .35)]],
    "Coat": [[(.3, 0), (.48, .1), (.48, 1), (.2, 1), (.22, .4), (.12, .85), (0, .8), (.1, .2)],
             [(.7, 0), (.52, .1), (.52, 1), (.8, 1), (.78, .4), (.88, .85), (1, .8), (.9, .2)]],
    "Sandal": [[(0, .75), (.5, .7), (1, .55), (1, .65), (.5, .8), (0, .85)], [(.1, .75), (.3, .5), (.4, .5), (.25, .75)],
               [(.6, .7), (.8, .3), (.9, .3), (.75, .7)]],
    "Shirt": [[(.3, .05), (.5, .25), (.7, .05), (1, .25), (.95, .6), (.82, .58), (.75, .4), (.75, .95), (.25, .95), (.25, .4),
               (.18, .58), (.05, .6), (0, .25)]],
    "Sneaker": [[(0, .6), (.4, .5), (.65, .3), (1, .35), (1, .8), (0, .8)]],
    "Bag": [[(0, .4), (.25, .4), (.35, .1), (.65, .1), (.75, .4), (1, .4), (.95, .95), (.05, .95)]],
    "Ankle boot": [[(0, .65), (.45, .5), (.5, .05), (.95, .05), (1, .95), (.75, .95), (.7, .85), (0, .9)]],
}


def _star(points, inner, turn=0.0):
    """Corners at a distance from the middle of 1/2 and of ``inner`` in turn."""
    corners = [(math.pi * (i + turn) / points, (0.5, inner)[i % 2]) for i in range(2 * points)]
    return [(0.5 + r * math.sin(angle), 0.5 - r * math.cos(angle)) for angle, r in corners]


SHAPES = {
    "disc": [_star(12, .5)],
    "square": [[(.1, .1), (.9, .1), (.9, .9), (.1, .9)]],
    "triangle": [[(.5, 0), (1, .9), (0, .9)]],
    "star": [_star(5, .2)],
    "cross": [[(.35, 0), (.65, 0), (.65, .35), (1, .35), (1, .65), (.65, .65), (.65, 1), (.35, 1), (.35, .65), (0, .65), (0, .35),
               (.35, .35)]],
    "bars": [[(0, .1), (1, .1), (1, .3), (0, .3)], [(0, .7), (1, .7), (1, .9), (0, .9)]],
    "arrow": [[(.5, 0), (.95, .45), (.65, .45), (.65, 1), (.35, 1), (.35, .45), (.05, .45)]],
    "hourglass": [[(.1, 0), (.9, 0), (.55, .5), (.9, 1), (.1, 1), (.45, .5)]],
    "moon": [[(.6, 0), (.25, .1), (.05, .4), (.05, .6), (.25, .9), (.6, 1), (.4, .75), (.35, .5), (.4, .25)]],
    "bolt": [[(.55, 0), (.2, .55), (.45, .55), (.35, 1), (.8, .4), (.52, .4), (.75, 0)]],
}


class Drawn(VisionDataset):
    """Generated images of ten kinds of things, each moved, stretched, leaning and in noise; used as FashionMNIST or CIFAR10 are.

    Args:
        outlines (dict): a name for each class, and what is drawn for it: CLOTHES or SHAPES.
        n (int): how many images.
        size (int): their width and height in pixels.
        mode (str): "L", light on black, or "RGB", two colours that come as they like.
        seed (int): another one gives other images.
        transform (callable, optional): applied to the PIL image of an item.
    """

    def __init__(self, outlines, n, size, mode="L", seed=0, transform=None):
        super().__init__(transform=transform)
        random = np.random.default_rng(seed)
        self.classes = [*outlines]
        self.targets = [i % len(outlines) for i in range(n)]
        self.data = np.stack([self._draw(outlines[self.classes[k]], size, mode, random) for k in self.targets])

    @staticmethod
    def _draw(outline, size, mode, random):
        grey = mode == "L"
        shade = random.integers(100, 256) if grey else random.integers(0, 256, (1, 3))
        ground = 0 if grey else (shade + random.integers(80, 177, (1, 3))) % 256        # at least 80 away in each colour
        width, height = size * random.uniform(0.6, 0.9, 2)
        lean = random.uniform(-0.15, 0.15)
        left, top = (size - width) * random.random(), (size - height) * random.random()
        mask = Image.new("L", (size, size))
        for corners in outline:
            places = [(left + width * (x + lean * (0.5 - y)), top + height * y) for x, y in corners]
            ImageDraw.Draw(mask).polygon(places, fill=255)
        inside = np.asarray(mask)[..., None] > 0
        pixels = np.where(inside, shade, ground) + random.normal(0, 25, (size, size, 1 if grey else 3)) * (inside | (not grey))
        return pixels.clip(0, 255).astype(np.uint8).squeeze()

    def __getitem__(self, index):
        return self._apply_both(Image.fromarray(self.data[index]), self.targets[index])

    def __len__(self):
        return len(self.data)


class UncheckedCIFAR10(CIFAR10):
    """CIFAR-10 without checksums, so that a shortened copy will do."""

    train_list, test_list = ([[name, None] for name, _ in files] for files in (CIFAR10.train_list, CIFAR10.test_list))
    meta = dict(CIFAR10.meta, md5=None)


def fashion_mnist(root, quick, transform=None, test_transform=None):
    """Fashion-MNIST's two parts, to train and to test; ``quick``: 2,000 and 500 images, drawn ones unless ``root`` has real ones.

    Whatever lies in root/FashionMNIST/raw is used, a shortened copy and packed files as well; otherwise it is downloaded.
    """
    raw = Path(root, FashionMNIST.__name__, "raw")
    if quick and not raw.exists():
        return _drawn(CLOTHES, 28, "L", transform, test_transform)
    packed = [raw / name for name, _ in FashionMNIST.resources]
    with tempfile.TemporaryDirectory() as folder:
        if all(file.exists() and not file.with_suffix("").exists() for file in packed):
            root = folder       # raw may lie where nothing can be written
            unpacked = Path(root, *raw.parts[-2:])
            unpacked.mkdir(parents=True)
            for file in packed:
                extract_archive(file, unpacked)
        return _cut(quick, FashionMNIST(root, train=True, transform=transform, download=True),
                    FashionMNIST(root, train=False, transform=test_transform, download=True))


def cifar10(root, quick, transform=None, test_transform=None):
    """The same for CIFAR-10; the drawn images are of coloured shapes. A shortened copy in root/cifar-10-batches-py will do."""
    there = Path(root, CIFAR10.base_folder).exists()
    if quick and not there:
        return _drawn(SHAPES, 32, "RGB", transform, test_transform)
    kind = UncheckedCIFAR10 if there else CIFAR10
    return _cut(quick, kind(root, train=True, transform=transform, download=not there),
                kind(root, train=False, transform=test_transform, download=not there))


def _drawn(outlines, size, mode, transform, test_transform):
    return Drawn(outlines, 2000, size, mode, 0, transform), Drawn(outlines, 500, size, mode, 1, test_transform)


def _cut(quick, *parts):
    for part, n in zip(parts, (2000, 500)) if quick else ():
        part.data, part.targets = part.data[:n], part.targets[:n]
    return parts


def show(places, images, names, wrong=()):
    """Draws uint8 images on matplotlib's ``places`` with their names above; those whose number is in ``wrong`` in red."""
    places = list(places)
    for i, (place, image, name) in enumerate(zip(places, images, names)):
        place.imshow(np.asarray(image), cmap="gray")
        place.set_title(name, fontsize=8, color="red" if i in wrong else "black")
    for place in places:
        place.set_axis_off()


def predict(net, loader, device):
    """What ``net`` takes each image of ``loader`` for: class numbers (n,), on the CPU."""
    was_training = net.training
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(images.to(device)).argmax(1) for images, _ in loader]).cpu()
    net.train(was_training)
    return found
