"""VGG: blocks of 3 x 3 convolutions, each followed by pooling, and three linear layers."""
from ... import flatten, nn
from ._api import WeightsEnum
from ._meta import CLASSIFICATION, imagenet
from ._utils import builder

__all__ = ["VGG", "VGG11_Weights", "VGG11_BN_Weights", "VGG13_Weights", "VGG13_BN_Weights", "VGG16_Weights", "VGG16_BN_Weights",
           "VGG19_Weights", "VGG19_BN_Weights", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19",
           "vgg19_bn"]


class VGG(nn.Module):
    """VGG on given features.

    Args:
        features (Module): gives (N, 512, h, w), such as ``make_layers`` makes it.
        num_classes (int): outputs.
        init_weights (bool): normal numbers for the weights (convolutions: He's, by the outputs; linear layers: 0.01) and
            zeros for the biases; otherwise as the layers begin.
        dropout (float): probability of an element to be zeroed behind the first two linear layers.

    Takes (N, 3, H, W), H and W at least 32, and returns (N, num_classes). Source: K. Simonyan and A. Zisserman, "Very deep
    convolutional networks for large-scale image recognition", ICLR 2015, https://arxiv.org/abs/1409.1556.
    """

    def __init__(self, features, num_classes=1000, init_weights=True, dropout=0.5):
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, num_classes))
        if init_weights:
            for module in self.modules():
                _initialise(module)

    def forward(self, x):
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def _initialise(module):
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def make_layers(cfg, batch_norm=False):
    """The features of a VGG: a Sequential of 3 x 3 convolutions with ReLU, and 2 x 2 poolings.

    Args:
        cfg (sequence): the widths of the convolutions (int), and "M" for a pooling.
        batch_norm (bool): a BatchNorm2d behind each convolution.
    """
    layers, width = [], 3
    for entry in cfg:
        if entry == "M":
            layers.append(nn.MaxPool2d(2, stride=2))
            continue
        layers.append(nn.Conv2d(width, entry, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(entry))
        layers.append(nn.ReLU(inplace=True))
        width = entry
    return nn.Sequential(*layers)


def _blocks(*depths):
    """The configuration with so many convolutions in each of the five blocks."""
    return [entry for depth, width in zip(depths, (64, 128, 256, 512, 512)) for entry in [width] * depth + ["M"]]


# the columns of the paper's Table 1
cfgs = {"A": _blocks(1, 1, 2, 2, 2), "B": _blocks(2, 2, 2, 2, 2), "D": _blocks(2, 2, 3, 3, 3), "E": _blocks(2, 2, 4, 4, 4)}


def _weights(*described):
    return imagenet(*described, CLASSIFICATION + "alexnet-and-vgg", min_size=32)


class VGG11_Weights(WeightsEnum):
    """Weights of VGG-11."""

    IMAGENET1K_V1 = _weights("vgg11-8a719046", 132863336, 69.02, 88.628, 7.609, 506.84)
    DEFAULT = IMAGENET1K_V1


class VGG11_BN_Weights(WeightsEnum):
    """Weights of VGG-11 with batch normalisation."""

    IMAGENET1K_V1 = _weights("vgg11_bn-6002323d", 132868840, 70.37, 89.81, 7.609, 506.881)
    DEFAULT = IMAGENET1K_V1


class VGG13_Weights(WeightsEnum):
    """Weights of VGG-13."""

    IMAGENET1K_V1 = _weights("vgg13-19584684", 133047848, 69.928, 89.246, 11.308, 507.545)
    DEFAULT = IMAGENET1K_V1


class VGG13_BN_Weights(WeightsEnum):
    """Weights of VGG-13 with batch normalisation."""

    IMAGENET1K_V1 = _weights("vgg13_bn-abd245e5", 133053736, 71.586, 90.374, 11.308, 507.59)
    DEFAULT = IMAGENET1K_V1


class VGG16_Weights(WeightsEnum):
    """Weights of VGG-16; those of IMAGENET1K_FEATURES are of the features alone (nan in the classifier), in Caffe's scale."""

    IMAGENET1K_V1 = _weights("vgg16-397923af", 138357544, 71.592, 90.382, 15.47, 527.796)
    IMAGENET1K_FEATURES = imagenet(
        "vgg16_features-amdegroot-88682ab5", 138357544, float("nan"), float("nan"), 15.47, 527.802,
        "https://github.com/amdegroot/ssd.pytorch#training-ssd", min_size=32, categories=None,
        mean=(0.48235, 0.45882, 0.40784), std=(1 / 255, 1 / 255, 1 / 255))
    DEFAULT = IMAGENET1K_V1


class VGG16_BN_Weights(WeightsEnum):
    """Weights of VGG-16 with batch normalisation."""

    IMAGENET1K_V1 = _weights("vgg16_bn-6c64b313", 138365992, 73.36, 91.516, 15.47, 527.866)
    DEFAULT = IMAGENET1K_V1


class VGG19_Weights(WeightsEnum):
    """Weights of VGG-19."""

    IMAGENET1K_V1 = _weights("vgg19-dcbb9e9d", 143667240, 72.376, 90.876, 19.632, 548.051)
    DEFAULT = IMAGENET1K_V1


class VGG19_BN_Weights(WeightsEnum):
    """Weights of VGG-19 with batch normalisation."""

    IMAGENET1K_V1 = _weights("vgg19_bn-c79401a0", 143678248, 74.218, 91.842, 19.632, 548.143)
    DEFAULT = IMAGENET1K_V1


@builder(VGG11_Weights, init_weights=False)
def vgg11(**kwargs):
    """VGG-11, the paper's configuration A; see ``VGG`` for the arguments."""
    return VGG(make_layers(cfgs["A"]), **kwargs)


@builder(VGG11_BN_Weights, init_weights=False)
def vgg11_bn(**kwargs):
    """VGG-11 with batch normalisation; see ``VGG`` for the arguments."""
    return VGG(make_layers(cfgs["A"], batch_norm=True), **kwargs)


@builder(VGG13_Weights, init_weights=False)
def vgg13(**kwargs):
    """VGG-13, the paper's configuration B; see ``VGG`` for the arguments."""
    return VGG(make_layers(cfgs["B"]), **kwargs)


@builder(VGG13_BN_Weights, init_weights=False)
def vgg13_bn(**kwargs):
    """VGG-13 with batch normalisation; see ``VGG`` for the arguments."""
    return VGG(make_layers(cfgs["B"], batch_norm=True), **kwargs)


@builder(VGG16_Weights, init_weights=False)
def vgg16(**kwargs):
    """VGG-16, the paper's configuration D; see ``VGG`` for the arguments."""
    return VGG(make_layers(cfgs["D"]), **kwargs)


@builder(VGG16_BN_Weights, init_weights=False)
def vgg16_bn(**kwargs):
    """VGG-16 with batch normalisation; see ``VGG`` for the arguments."""
    return VGG(make_layers(cfgs["D"], batch_norm=True), **kwargs)


@builder(VGG19_Weights, init_weights=False)
def vgg19(**kwargs):
    """VGG-19, the paper's configuration E; see ``VGG`` for the arguments."""
    return VGG(make_layers(cfgs["E"]), **kwargs)


@builder(VGG19_BN_Weights, init_weights=False)
def vgg19_bn(**kwargs):
    """VGG-19 with batch normalisation; see ``VGG`` for the arguments."""
    return VGG(make_layers(cfgs["E"], batch_norm=True), **kwargs)
