"""MobileNet V2: blocks that widen with 1 x 1 convolutions, work channel by channel, and narrow again."""
from collections.abc import Sequence

from ... import flatten, nn
from ...nn import functional as F
from ._api import WeightsEnum
from ._meta import CLASSIFICATION, TORCHVISION, imagenet
from ._utils import _make_divisible, builder

__all__ = ["MobileNetV2", "MobileNet_V2_Weights", "mobilenet_v2"]


class Conv2dNormActivation(nn.Sequential):
    """A convolution, a normalisation and an activation.

    Args:
        in_channels, out_channels (int): of the convolution.
        kernel_size, stride, dilation (int or pair of int), groups (int): of the convolution.
        padding (int, pair of int or str, optional): of the convolution; default the one that keeps the size at stride 1.
        norm_layer (callable, optional): makes the normalisation from the number of channels; None: none.
        activation_layer (callable, optional): makes the activation; None: none.
        inplace (bool, optional): given to it; None: not given.
        bias (bool, optional): of the convolution; default only without a normalisation.
    """

    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=None, groups=1, norm_layer=nn.BatchNorm2d,
                 activation_layer=nn.ReLU, dilation=1, inplace=True, bias=None):
        if padding is None:
            padding = _same_size(kernel_size, dilation)
        if bias is None:
            bias = norm_layer is None
        layers = [nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation=dilation, groups=groups, bias=bias)]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer() if inplace is None else activation_layer(inplace=inplace))
        super().__init__(*layers)
        self.out_channels = out_channels


def _same_size(kernel_size, dilation):
    """The padding with which a convolution of stride 1 keeps the size, for odd kernels."""
    if not isinstance(kernel_size, Sequence) and not isinstance(dilation, Sequence):
        return (kernel_size - 1) // 2 * dilation
    kernels, dilations = (tuple(x) if isinstance(x, Sequence) else (x, x) for x in (kernel_size, dilation))
    return tuple((k - 1) // 2 * d for k, d in zip(kernels, dilations))


class InvertedResidual(nn.Module):
    """1 x 1 (to the wider inside), 3 x 3 channel by channel, 1 x 1 without activation; the input is added where it fits.

    Args:
        inp, oup (int): channels of the input and the output.
        stride (int): 1 or 2, of the 3 x 3 convolution.
        expand_ratio (int or float): how many times as wide the inside is.
        norm_layer (callable, optional): makes a normalisation from a number of channels; default BatchNorm2d.

    Raises:
        ValueError: another stride.
    """

    def __init__(self, inp, oup, stride, expand_ratio, norm_layer=None):
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {stride}")
        norm_layer = norm_layer or nn.BatchNorm2d
        inside = int(round(inp * expand_ratio))
        layers = []
        if expand_ratio != 1:
            layers.append(Conv2dNormActivation(inp, inside, 1, norm_layer=norm_layer, activation_layer=nn.ReLU6))
        layers.append(Conv2dNormActivation(inside, inside, stride=stride, groups=inside, norm_layer=norm_layer,
                                           activation_layer=nn.ReLU6))
        self.conv = nn.Sequential(*layers, nn.Conv2d(inside, oup, 1, bias=False), norm_layer(oup))
        self.stride, self.out_channels = stride, oup
        self.use_res_connect = stride == 1 and inp == oup

    def forward(self, x):
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


# expansion, channels, blocks and stride of each stage: Table 2 of the paper
STAGES = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]


class MobileNetV2(nn.Module):
    """MobileNet V2.

    Args:
        num_classes (int): outputs.
        width_mult (float): multiplies the number of channels of every layer (of the last one only above 1).
        inverted_residual_setting (list of lists of 4 numbers, optional): expansion, channels, number of blocks and stride of
            each stage.
        round_nearest (int): numbers of channels are rounded to multiples of it.
        block (callable, optional): makes a block; default ``InvertedResidual``.
        norm_layer (callable, optional): makes a normalisation from a number of channels; default BatchNorm2d.
        dropout (float): probability of an element to be zeroed in front of the linear layer.

    Takes (N, 3, H, W) and returns (N, num_classes). Source: M. Sandler et al., "MobileNetV2: Inverted residuals and linear
    bottlenecks", CVPR 2018, https://arxiv.org/abs/1801.04381.

    Raises:
        ValueError: the setting is empty, or its first stage is not of 4 numbers.
    """

    def __init__(self, num_classes=1000, width_mult=1.0, inverted_residual_setting=None, round_nearest=8, block=None,
                 norm_layer=None, dropout=0.2):
        super().__init__()
        block, norm_layer = block or InvertedResidual, norm_layer or nn.BatchNorm2d
        stages = STAGES if inverted_residual_setting is None else inverted_residual_setting
        if len(stages) == 0 or len(stages[0]) != 4:
            raise ValueError(f"inverted_residual_setting should be non-empty or a 4-element list, got {stages}")
        width = _make_divisible(32 * width_mult, round_nearest)
        self.last_channel = _make_divisible(1280 * max(1.0, width_mult), round_nearest)
        features = [Conv2dNormActivation(3, width, stride=2, norm_layer=norm_layer, activation_layer=nn.ReLU6)]
        for expansion, channels, blocks, stride in stages:
            out = _make_divisible(channels * width_mult, round_nearest)
            for k in range(blocks):
                features.append(block(width, out, 1 if k else stride, expand_ratio=expansion, norm_layer=norm_layer))
                width = out
        features.append(Conv2dNormActivation(width, self.last_channel, 1, norm_layer=norm_layer, activation_layer=nn.ReLU6))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))
        for module in self.modules():
            _initialise(module)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(flatten(x, 1))


def _initialise(module):
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
        nn.init.ones_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


class MobileNet_V2_Weights(WeightsEnum):
    """Weights of MobileNet V2."""

    IMAGENET1K_V1 = imagenet("mobilenet_v2-b0353104", 3504872, 71.878, 90.286, 0.301, 13.555, CLASSIFICATION + "mobilenetv2")
    IMAGENET1K_V2 = imagenet("mobilenet_v2-7ebf99e0", 3504872, 72.154, 90.822, 0.301, 13.598,
                             TORCHVISION + "issues/3995#new-recipe-with-reg-tuning", resize_size=232)
    DEFAULT = IMAGENET1K_V2


@builder(MobileNet_V2_Weights)
def mobilenet_v2(**kwargs):
    """MobileNet V2; see the class for the arguments and the source."""
    return MobileNetV2(**kwargs)
