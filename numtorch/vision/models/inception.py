"""Inception v3: GoogLeNet's modules with convolutions of one row and one column."""
from collections import namedtuple

from ... import cat, flatten, nn
from ...nn import functional as F
from ._api import WeightsEnum
from ._meta import CLASSIFICATION, imagenet
from ._utils import model_function, truncated_normal_weights
from .googlenet import BasicConv2d, from_weights, rescaled, warn_of_slow_start

__all__ = ["Inception3", "InceptionOutputs", "_InceptionOutputs", "Inception_V3_Weights", "inception_v3"]

InceptionOutputs = _InceptionOutputs = namedtuple("InceptionOutputs", ["logits", "aux_logits"])

ROW, COLUMN = {"kernel_size": (1, 7), "padding": (0, 3)}, {"kernel_size": (7, 1), "padding": (3, 0)}


class InceptionA(nn.Module):
    """On 35 x 35: 1 x 1; 5 x 5; two of 3 x 3; pooling with ``pool_features`` channels."""

    def __init__(self, in_channels, pool_features, conv_block=None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch1x1 = conv(in_channels, 64, kernel_size=1)
        self.branch5x5_1 = conv(in_channels, 48, kernel_size=1)
        self.branch5x5_2 = conv(48, 64, kernel_size=5, padding=2)
        self.branch3x3dbl_1 = conv(in_channels, 64, kernel_size=1)
        self.branch3x3dbl_2 = conv(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = conv(96, 96, kernel_size=3, padding=1)
        self.branch_pool = conv(in_channels, pool_features, kernel_size=1)

    def forward(self, x):
        return cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)),
                    self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                    self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))], 1)


class InceptionB(nn.Module):
    """From 35 x 35 to 17 x 17: 3 x 3; two of 3 x 3; pooling."""

    def __init__(self, in_channels, conv_block=None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch3x3 = conv(in_channels, 384, kernel_size=3, stride=2)
        self.branch3x3dbl_1 = conv(in_channels, 64, kernel_size=1)
        self.branch3x3dbl_2 = conv(64, 96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = conv(96, 96, kernel_size=3, stride=2)

    def forward(self, x):
        return cat([self.branch3x3(x), self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                    F.max_pool2d(x, 3, stride=2)], 1)


class InceptionC(nn.Module):
    """On 17 x 17: 1 x 1; 7 x 7 as a row and a column of ``channels_7x7`` channels; the same twice; pooling."""

    def __init__(self, in_channels, channels_7x7, conv_block=None):
        super().__init__()
        conv, inside = conv_block or BasicConv2d, channels_7x7
        self.branch1x1 = conv(in_channels, 192, kernel_size=1)
        self.branch7x7_1 = conv(in_channels, inside, kernel_size=1)
        self.branch7x7_2 = conv(inside, inside, **ROW)
        self.branch7x7_3 = conv(inside, 192, **COLUMN)
        self.branch7x7dbl_1 = conv(in_channels, inside, kernel_size=1)
        self.branch7x7dbl_2 = conv(inside, inside, **COLUMN)
        self.branch7x7dbl_3 = conv(inside, inside, **ROW)
        self.branch7x7dbl_4 = conv(inside, inside, **COLUMN)
        self.branch7x7dbl_5 = conv(inside, 192, **ROW)
        self.branch_pool = conv(in_channels, 192, kernel_size=1)

    def forward(self, x):
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return cat([self.branch1x1(x), self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
                    self.branch7x7dbl_5(self.branch7x7dbl_4(twice)),
                    self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))], 1)


class InceptionD(nn.Module):
    """From 17 x 17 to 8 x 8: 3 x 3; a row, a column and 3 x 3; pooling."""

    def __init__(self, in_channels, conv_block=None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch3x3_1 = conv(in_channels, 192, kernel_size=1)
        self.branch3x3_2 = conv(192, 320, kernel_size=3, stride=2)
        self.branch7x7x3_1 = conv(in_channels, 192, kernel_size=1)
        self.branch7x7x3_2 = conv(192, 192, **ROW)
        self.branch7x7x3_3 = conv(192, 192, **COLUMN)
        self.branch7x7x3_4 = conv(192, 192, kernel_size=3, stride=2)

    def forward(self, x):
        return cat([self.branch3x3_2(self.branch3x3_1(x)),
                    self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))),
                    F.max_pool2d(x, 3, stride=2)], 1)


class InceptionE(nn.Module):
    """On 8 x 8: 1 x 1; a row beside a column; 3 x 3 and a row beside a column; pooling."""

    def __init__(self, in_channels, conv_block=None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch1x1 = conv(in_channels, 320, kernel_size=1)
        self.branch3x3_1 = conv(in_channels, 384, kernel_size=1)
        self.branch3x3_2a = conv(384, 384, kernel_size=(1, 3), padding=(0, 1))
        self.branch3x3_2b = conv(384, 384, kernel_size=(3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = conv(in_channels, 448, kernel_size=1)
        self.branch3x3dbl_2 = conv(448, 384, kernel_size=3, padding=1)
        self.branch3x3dbl_3a = conv(384, 384, kernel_size=(1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = conv(384, 384, kernel_size=(3, 1), padding=(1, 0))
        self.branch_pool = conv(in_channels, 192, kernel_size=1)

    def forward(self, x):
        once, twice = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return cat([self.branch1x1(x), self.branch3x3_2a(once), self.branch3x3_2b(once), self.branch3x3dbl_3a(twice),
                    self.branch3x3dbl_3b(twice), self.branch_pool(F.avg_pool2d(x, 3, stride=1, padding=1))], 1)


class InceptionAux(nn.Module):
    """A classifier on the 17 x 17 features: (N, in_channels, 17, 17) to (N, num_classes)."""

    def __init__(self, in_channels, num_classes, conv_block=None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.conv0 = conv(in_channels, 128, kernel_size=1)
        self.conv1 = conv(128, 768, kernel_size=5)
        self.conv1.stddev = 0.01
        self.fc = nn.Linear(768, num_classes)
        self.fc.stddev = 0.001

    def forward(self, x):
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, stride=3)))
        return self.fc(flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class Inception3(nn.Module):
    """Inception v3.

    Args:
        num_classes (int): outputs.
        aux_logits (bool): with one more classifier in the middle, for training.
        transform_input (bool): the input is normalised with ImageNet's mean and deviation, and rescaled to 0.5 and 0.5.
        inception_blocks (list of 7 callables, optional): make convolutions, the modules A to E and the classifier in the
            middle.
        init_weights (bool, optional): normal numbers, cut at 2, of the deviation that a layer's ``stddev`` names (0.1);
            default True, with a warning.
        dropout (float): probability of an element to be zeroed in front of the last layer.

    Takes (N, 3, H, W), made for 299 x 299, at least 75 x 75. Returns (N, num_classes); in training with ``aux_logits`` an
    ``InceptionOutputs`` of two such tensors. Source: C. Szegedy et al., "Rethinking the Inception architecture for computer
    vision", CVPR 2016, https://arxiv.org/abs/1512.00567.

    Raises:
        ValueError: another number of ``inception_blocks``.
    """

    def __init__(self, num_classes=1000, aux_logits=True, transform_input=False, inception_blocks=None, init_weights=None,
                 dropout=0.5):
        super().__init__()
        if inception_blocks is None:
            inception_blocks = [BasicConv2d, InceptionA, InceptionB, InceptionC, InceptionD, InceptionE, InceptionAux]
        if init_weights is None:
            warn_of_slow_start("inception_v3")
        if len(inception_blocks) != 7:
            raise ValueError(f"length of inception_blocks should be 7 instead of {len(inception_blocks)}")
        conv, module_a, module_b, module_c, module_d, module_e, auxiliary = inception_blocks
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.Conv2d_1a_3x3 = conv(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = conv(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = conv(32, 64, kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = conv(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = conv(80, 192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = module_a(192, pool_features=32)
        self.Mixed_5c = module_a(256, pool_features=64)
        self.Mixed_5d = module_a(288, pool_features=64)
        self.Mixed_6a = module_b(288)
        self.Mixed_6b = module_c(768, channels_7x7=128)
        self.Mixed_6c = module_c(768, channels_7x7=160)
        self.Mixed_6d = module_c(768, channels_7x7=160)
        self.Mixed_6e = module_c(768, channels_7x7=192)
        self.AuxLogits = auxiliary(768, num_classes) if aux_logits else None
        self.Mixed_7a = module_d(768)
        self.Mixed_7b = module_e(1280)
        self.Mixed_7c = module_e(2048)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        if init_weights is None or init_weights:
            truncated_normal_weights(self, 0.1)

    def forward(self, x):
        if self.transform_input:
            x = rescaled(x)
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        aux = self.AuxLogits(x) if self.AuxLogits is not None and self.training else None
        x = self.avgpool(self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))))
        x = self.fc(flatten(self.dropout(x), 1))
        return InceptionOutputs(x, aux) if self.training and self.aux_logits else x


class Inception_V3_Weights(WeightsEnum):
    """Weights of Inception v3."""

    IMAGENET1K_V1 = imagenet("inception_v3_google-0cc3c7bd", 27161264, 77.294, 93.45, 5.713, 103.903,
                             CLASSIFICATION + "inception-v3", min_size=75, crop_size=299, resize_size=342)
    DEFAULT = IMAGENET1K_V1


@model_function(Inception_V3_Weights)
def inception_v3(weights, progress, **kwargs):
    """Inception v3; see ``Inception3`` for the arguments. With weights, ``transform_input`` is True unless given."""
    if weights is None:
        return Inception3(**kwargs)
    model = from_weights(Inception3, weights, progress, kwargs)
    if not kwargs.get("aux_logits", True):
        model.aux_logits, model.AuxLogits = False, None
    return model
