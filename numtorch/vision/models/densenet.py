"""DenseNet: in a block every layer sees the results of all layers before it."""
import re

from ... import Tensor, cat, flatten, nn
from ...nn import functional as F
from ._api import WeightsEnum
from ._meta import TORCHVISION, imagenet
from ._utils import builder

__all__ = ["DenseNet", "DenseNet121_Weights", "DenseNet161_Weights", "DenseNet169_Weights", "DenseNet201_Weights", "densenet121",
           "densenet161", "densenet169", "densenet201"]


class _DenseLayer(nn.Module):
    """Normalisation, ReLU and 1 x 1 convolution to ``bn_size * growth_rate`` channels; the same with 3 x 3 to ``growth_rate``."""

    def __init__(self, num_input_features, growth_rate, bn_size, drop_rate, memory_efficient=False):
        super().__init__()
        if memory_efficient:
            raise NotImplementedError("DenseNet(memory_efficient=True) needs utils.checkpoint, which numtorch does not have yet: "
                                      "memory_efficient=False gives the same numbers with more memory")
        self.norm1 = nn.BatchNorm2d(num_input_features)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(num_input_features, bn_size * growth_rate, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth_rate)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bn_size * growth_rate, growth_rate, 3, padding=1, bias=False)
        self.drop_rate, self.memory_efficient = float(drop_rate), memory_efficient

    def bn_function(self, inputs):
        return self.conv1(self.relu1(self.norm1(cat(inputs, 1))))

    def forward(self, input):
        inputs = [input] if isinstance(input, Tensor) else input
        new = self.conv2(self.relu2(self.norm2(self.bn_function(inputs))))
        return F.dropout(new, self.drop_rate, self.training) if self.drop_rate > 0 else new


class _DenseBlock(nn.ModuleDict):
    """Layers of which each gets the block's input and the results of all layers before it; returns all of these."""

    def __init__(self, num_layers, num_input_features, bn_size, growth_rate, drop_rate, memory_efficient=False):
        super().__init__({f"denselayer{k + 1}": _DenseLayer(num_input_features + k * growth_rate, growth_rate, bn_size, drop_rate,
                                                            memory_efficient) for k in range(num_layers)})

    def forward(self, init_features):
        features = [init_features]
        for layer in self.values():
            features.append(layer(features))
        return cat(features, 1)


class _Transition(nn.Sequential):
    """Between two blocks: fewer channels, half the height and width."""

    def __init__(self, num_input_features, num_output_features):
        super().__init__()
        self.norm = nn.BatchNorm2d(num_input_features)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(num_input_features, num_output_features, 1, bias=False)
        self.pool = nn.AvgPool2d(2, stride=2)


class DenseNet(nn.Module):
    """DenseNet-BC.

    Args:
        growth_rate (int): channels that each layer adds, k in the paper.
        block_config (sequence of int): the number of layers in each block.
        num_init_features (int): channels of the first convolution.
        bn_size (int): the inside of a layer has ``bn_size * growth_rate`` channels.
        drop_rate (float): probability of an element of a layer's result to be zeroed.
        num_classes (int): outputs.
        memory_efficient (bool): would compute the concatenations again in the backward pass.

    Takes (N, 3, H, W), H and W at least 29, and returns (N, num_classes). Source: G. Huang et al., "Densely connected
    convolutional networks", CVPR 2017, https://arxiv.org/abs/1608.06993.

    Raises:
        NotImplementedError: ``memory_efficient``.
    """

    def __init__(self, growth_rate=32, block_config=(6, 12, 24, 16), num_init_features=64, bn_size=4, drop_rate=0,
                 num_classes=1000, memory_efficient=False):
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, num_init_features, 7, stride=2, padding=3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(num_init_features))
        self.features.add_module("relu0", nn.ReLU(inplace=True))
        self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        width = num_init_features
        for k, layers in enumerate(block_config, 1):
            self.features.add_module(f"denseblock{k}", _DenseBlock(layers, width, bn_size, growth_rate, drop_rate,
                                                                   memory_efficient))
            width += layers * growth_rate
            if k < len(block_config):
                self.features.add_module(f"transition{k}", _Transition(width, width // 2))
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, x):
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


def _todays_names(state):
    """The published files are from a time when names of modules had dots: norm.1 is norm1 today."""
    return {re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name): x for name, x in state.items()}


def _weights(*described):
    return imagenet(*described, TORCHVISION + "pull/116", min_size=29)


class DenseNet121_Weights(WeightsEnum):
    """Weights of DenseNet-121."""

    IMAGENET1K_V1 = _weights("densenet121-a639ec97", 7978856, 74.434, 91.972, 2.834, 30.845)
    DEFAULT = IMAGENET1K_V1


class DenseNet161_Weights(WeightsEnum):
    """Weights of DenseNet-161."""

    IMAGENET1K_V1 = _weights("densenet161-8d451a50", 28681000, 77.138, 93.56, 7.728, 110.369)
    DEFAULT = IMAGENET1K_V1


class DenseNet169_Weights(WeightsEnum):
    """Weights of DenseNet-169."""

    IMAGENET1K_V1 = _weights("densenet169-b2777c0a", 14149480, 75.6, 92.806, 3.36, 54.708)
    DEFAULT = IMAGENET1K_V1


class DenseNet201_Weights(WeightsEnum):
    """Weights of DenseNet-201."""

    IMAGENET1K_V1 = _weights("densenet201-c1103571", 20013928, 76.896, 93.37, 4.291, 77.373)
    DEFAULT = IMAGENET1K_V1


@builder(DenseNet121_Weights, rename=_todays_names)
def densenet121(**kwargs):
    """DenseNet-121; see ``DenseNet`` for the arguments."""
    return DenseNet(32, (6, 12, 24, 16), 64, **kwargs)


@builder(DenseNet161_Weights, rename=_todays_names)
def densenet161(**kwargs):
    """DenseNet-161; see ``DenseNet`` for the arguments."""
    return DenseNet(48, (6, 12, 36, 24), 96, **kwargs)


@builder(DenseNet169_Weights, rename=_todays_names)
def densenet169(**kwargs):
    """DenseNet-169; see ``DenseNet`` for the arguments."""
    return DenseNet(32, (6, 12, 32, 32), 64, **kwargs)


@builder(DenseNet201_Weights, rename=_todays_names)
def densenet201(**kwargs):
    """DenseNet-201; see ``DenseNet`` for the arguments."""
    return DenseNet(32, (6, 12, 48, 32), 64, **kwargs)
