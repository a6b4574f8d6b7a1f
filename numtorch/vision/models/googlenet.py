"""GoogLeNet (Inception v1): modules of four branches side by side."""
import warnings
from collections import namedtuple

from ... import cat, flatten, nn
from ...nn import functional as F
from ._api import WeightsEnum
from ._meta import CLASSIFICATION, imagenet
from ._utils import load_weights, model_function, truncated_normal_weights, with_classes

__all__ = ["GoogLeNet", "GoogLeNetOutputs", "_GoogLeNetOutputs", "GoogLeNet_Weights", "googlenet"]

GoogLeNetOutputs = _GoogLeNetOutputs = namedtuple("GoogLeNetOutputs", ["logits", "aux_logits2", "aux_logits1"])


class BasicConv2d(nn.Module):
    """A convolution without bias, batch normalisation and ReLU; ``kwargs`` are the convolution's."""

    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """1 x 1; 1 x 1 and 3 x 3; 1 x 1 and 3 x 3 (5 x 5 in the paper); pooling and 1 x 1: all side by side.

    Args:
        in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj (int): channels of the input and the convolutions.
        conv_block (callable, optional): makes a convolution; default ``BasicConv2d``.
    """

    def __init__(self, in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj, conv_block=None):
        super().__init__()
        conv = conv_block or BasicConv2d
        self.branch1 = conv(in_channels, ch1x1, kernel_size=1)
        self.branch2 = nn.Sequential(conv(in_channels, ch3x3red, kernel_size=1), conv(ch3x3red, ch3x3, kernel_size=3, padding=1))
        # 3 x 3 where the paper has 5 x 5: so are the published weights
        self.branch3 = nn.Sequential(conv(in_channels, ch5x5red, kernel_size=1), conv(ch5x5red, ch5x5, kernel_size=3, padding=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
                                     conv(in_channels, pool_proj, kernel_size=1))

    def forward(self, x):
        return cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """A classifier on features from the middle: (N, in_channels, h, w) to (N, num_classes)."""

    def __init__(self, in_channels, num_classes, conv_block=None, dropout=0.7):
        super().__init__()
        self.conv = (conv_block or BasicConv2d)(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        x = flatten(self.conv(F.adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


def rescaled(x):
    """Images normalised with ImageNet's mean and deviation, normalised with 0.5 and 0.5 instead, as the ported weights expect."""
    channels = [x[:, k:k + 1] * (deviation / 0.5) + (mean - 0.5) / 0.5
                for k, (mean, deviation) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))]
    return cat(channels, 1)


def warn_of_slow_start(model):
    """torchvision's warning to those who do not say how the weights begin."""
    warnings.warn(f"The default weight initialization of {model} will be changed in future releases of torchvision. If you wish "
                  "to keep the old behavior (which leads to long initialization times due to scipy/scipy#11299), please set "
                  "init_weights=True.", FutureWarning, stacklevel=3)


class GoogLeNet(nn.Module):
    """GoogLeNet with batch normalisation.

    Args:
        num_classes (int): outputs.
        aux_logits (bool): with two more classifiers in the middle, for training.
        transform_input (bool): the input is normalised with ImageNet's mean and deviation, and rescaled to 0.5 and 0.5.
        init_weights (bool, optional): normal numbers of deviation 0.01, cut at 2; default True, with a warning.
        blocks (list of 3 callables, optional): make convolutions, Inception modules and classifiers in the middle.
        dropout, dropout_aux (float): probabilities of an element to be zeroed in the classifiers.

    Takes (N, 3, H, W), H and W at least 15. Returns (N, num_classes); in training with ``aux_logits`` a ``GoogLeNetOutputs``
    of three such tensors. Source: C. Szegedy et al., "Going deeper with convolutions", CVPR 2015,
    https://arxiv.org/abs/1409.4842.

    Raises:
        ValueError: another number of ``blocks``.
    """

    def __init__(self, num_classes=1000, aux_logits=True, transform_input=False, init_weights=None, blocks=None, dropout=0.2,
                 dropout_aux=0.7):
        super().__init__()
        if init_weights is None:
            warn_of_slow_start("GoogleNet")
        if blocks is None:
            blocks = [BasicConv2d, Inception, InceptionAux]
        if len(blocks) != 3:
            raise ValueError(f"blocks length should be 3 instead of {len(blocks)}")
        conv, inception, auxiliary = blocks
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.conv1 = conv(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = conv(64, 64, kernel_size=1)
        self.conv3 = conv(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = auxiliary(512, num_classes, dropout=dropout_aux) if aux_logits else None
        self.aux2 = auxiliary(528, num_classes, dropout=dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        if init_weights is None or init_weights:
            truncated_normal_weights(self, 0.01)

    def forward(self, x):
        if self.transform_input:
            x = rescaled(x)
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        aux1 = self.aux1(x) if self.aux1 is not None and self.training else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        aux2 = self.aux2(x) if self.aux2 is not None and self.training else None
        x = self.inception5b(self.inception5a(self.maxpool4(self.inception4e(x))))
        x = self.fc(self.dropout(flatten(self.avgpool(x), 1)))
        return GoogLeNetOutputs(x, aux2, aux1) if self.training and self.aux_logits else x


class GoogLeNet_Weights(WeightsEnum):
    """Weights of GoogLeNet."""

    IMAGENET1K_V1 = imagenet("googlenet-1378be20", 6624904, 69.778, 89.53, 1.498, 49.731, CLASSIFICATION + "googlenet",
                             min_size=15)
    DEFAULT = IMAGENET1K_V1


def from_weights(model_class, weights, progress, kwargs):
    """The whole model, with the classifiers in the middle: the published files hold them."""
    kwargs = {"transform_input": True, **kwargs, "aux_logits": True, "init_weights": False}
    return load_weights(model_class(**with_classes(kwargs, weights)), weights, progress)


@model_function(GoogLeNet_Weights)
def googlenet(weights, progress, **kwargs):
    """GoogLeNet; see the class for the arguments. With weights, ``transform_input`` is True unless given, and the classifiers
    in the middle, whose weights were never trained, are there only where ``aux_logits=True`` asks for them."""
    if weights is None:
        return GoogLeNet(**kwargs)
    model = from_weights(GoogLeNet, weights, progress, kwargs)
    if kwargs.get("aux_logits", False):
        warnings.warn("auxiliary heads in the pretrained googlenet model are NOT pretrained, so make sure to train them",
                      stacklevel=4)
    else:
        model.aux_logits, model.aux1, model.aux2 = False, None, None
    return model
