"""SqueezeNet: AlexNet's accuracy with 50 times fewer parameters, from 1 x 1 convolutions that squeeze the channels."""
from ... import cat, flatten, nn
from ._api import WeightsEnum
from ._meta import TORCHVISION, imagenet
from ._utils import builder

__all__ = ["SqueezeNet", "SqueezeNet1_0_Weights", "SqueezeNet1_1_Weights", "squeezenet1_0", "squeezenet1_1"]


class Fire(nn.Module):
    """A 1 x 1 convolution to few channels, then a 1 x 1 and a 3 x 3 convolution of these side by side.

    Args:
        inplanes, squeeze_planes, expand1x1_planes, expand3x3_planes (int): channels of the input and of the three results.
    """

    def __init__(self, inplanes, squeeze_planes, expand1x1_planes, expand3x3_planes):
        super().__init__()
        self.inplanes = inplanes
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.squeeze_activation(self.squeeze(x))
        return cat([self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1)


# of each version the first convolution, then squeezed and expanded channels of the Fire modules; None: a pooling
VERSIONS = {
    "1_0": ((96, 7), [None, (16, 64), (16, 64), (32, 128), None, (32, 128), (48, 192), (48, 192), (64, 256), None, (64, 256)]),
    "1_1": ((64, 3), [None, (16, 64), (16, 64), None, (32, 128), (32, 128), None, (48, 192), (48, 192), (64, 256), (64, 256)]),
}


class SqueezeNet(nn.Module):
    """SqueezeNet.

    Args:
        version (str): "1_0", the paper's; or "1_1", with 2.4 times less computation.
        num_classes (int): outputs.
        dropout (float): probability of an element to be zeroed in front of the last convolution.

    Takes (N, 3, H, W), H and W at least 21 (17 for 1_1), and returns (N, num_classes). Source: F. Iandola et al.,
    "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size", 2016,
    https://arxiv.org/abs/1602.07360.

    Raises:
        ValueError: another version.
    """

    def __init__(self, version="1_0", num_classes=1000, dropout=0.5):
        super().__init__()
        if version not in VERSIONS:
            raise ValueError(f"Unsupported SqueezeNet version {version}: 1_0 or 1_1 expected")
        self.num_classes = num_classes
        (width, kernel), modules = VERSIONS[version]
        features = [nn.Conv2d(3, width, kernel, stride=2), nn.ReLU(inplace=True)]
        for widths in modules:
            if widths is None:
                features.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
                continue
            squeezed, expanded = widths
            features.append(Fire(width, squeezed, expanded, expanded))
            width = 2 * expanded
        self.features = nn.Sequential(*features)
        last = nn.Conv2d(width, num_classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)))
        for module in self.modules():
            if not isinstance(module, nn.Conv2d):
                continue
            if module is last:
                nn.init.normal_(module.weight, mean=0.0, std=0.01)
            else:
                nn.init.kaiming_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, x):
        return flatten(self.classifier(self.features(x)), 1)


RECIPE = TORCHVISION + "pull/49#issuecomment-277560717"


class SqueezeNet1_0_Weights(WeightsEnum):
    """Weights of SqueezeNet 1.0."""

    IMAGENET1K_V1 = imagenet("squeezenet1_0-b66bff10", 1248424, 58.092, 80.42, 0.819, 4.778, RECIPE, min_size=21)
    DEFAULT = IMAGENET1K_V1


class SqueezeNet1_1_Weights(WeightsEnum):
    """Weights of SqueezeNet 1.1."""

    IMAGENET1K_V1 = imagenet("squeezenet1_1-b8a52dc0", 1235496, 58.178, 80.624, 0.349, 4.729, RECIPE, min_size=17)
    DEFAULT = IMAGENET1K_V1


@builder(SqueezeNet1_0_Weights)
def squeezenet1_0(**kwargs):
    """SqueezeNet 1.0, the paper's; see ``SqueezeNet`` for the arguments."""
    return SqueezeNet("1_0", **kwargs)


@builder(SqueezeNet1_1_Weights)
def squeezenet1_1(**kwargs):
    """SqueezeNet 1.1, with 2.4 times less computation; see ``SqueezeNet`` for the arguments."""
    return SqueezeNet("1_1", **kwargs)
