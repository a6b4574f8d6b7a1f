"""AlexNet: five convolutions and three linear layers."""
from ... import flatten, nn
from ._api import WeightsEnum
from ._meta import CLASSIFICATION, imagenet
from ._utils import builder

__all__ = ["AlexNet", "AlexNet_Weights", "alexnet"]


class AlexNet(nn.Module):
    """AlexNet in the form of its second paper: one column, no local response normalisation.

    Args:
        num_classes (int): outputs.
        dropout (float): probability of an element to be zeroed in front of the first two linear layers.

    Takes (N, 3, H, W), H and W at least 63, and returns (N, num_classes). Source: A. Krizhevsky, "One weird trick for
    parallelizing convolutional neural networks", 2014, https://arxiv.org/abs/1404.5997.
    """

    def __init__(self, num_classes=1000, dropout=0.5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2))
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes))

    def forward(self, x):
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


class AlexNet_Weights(WeightsEnum):
    """Weights of AlexNet."""

    IMAGENET1K_V1 = imagenet("alexnet-owt-7be5be79", 61100840, 56.522, 79.066, 0.714, 233.087, CLASSIFICATION + "alexnet-and-vgg",
                             min_size=63)
    DEFAULT = IMAGENET1K_V1


@builder(AlexNet_Weights)
def alexnet(**kwargs):
    """AlexNet; see the class for the arguments and the source."""
    return AlexNet(**kwargs)
