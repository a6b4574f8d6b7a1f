"""ResNet, ResNeXt and Wide ResNet: convolutions that learn what to add to their input."""
from ... import flatten, nn
from ._api import WeightsEnum
from ._meta import CLASSIFICATION, TORCHVISION, imagenet
from ._utils import _ovewrite_named_param, builder

__all__ = ["ResNet", "ResNet18_Weights", "ResNet34_Weights", "ResNet50_Weights", "ResNet101_Weights", "ResNet152_Weights",
           "ResNeXt50_32X4D_Weights", "ResNeXt101_32X8D_Weights", "ResNeXt101_64X4D_Weights", "Wide_ResNet50_2_Weights",
           "Wide_ResNet101_2_Weights", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d",
           "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"]


def conv3x3(in_planes, out_planes, stride=1, groups=1, dilation=1):
    """A 3 x 3 convolution without bias that keeps the size, up to the stride."""
    return nn.Conv2d(in_planes, out_planes, 3, stride=stride, padding=dilation, groups=groups, bias=False, dilation=dilation)


def conv1x1(in_planes, out_planes, stride=1):
    """A 1 x 1 convolution without bias."""
    return nn.Conv2d(in_planes, out_planes, 1, stride=stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and the way around them.

    Args:
        inplanes, planes (int): channels of the input and the output.
        stride (int): of the first convolution.
        downsample (Module, optional): brings the input to the output's shape.
        groups, base_width, dilation (int): for ``Bottleneck``'s signature: only 1, 64 and 1.
        norm_layer (callable, optional): makes a normalisation from a number of channels; default BatchNorm2d.

    Raises:
        ValueError: ``groups`` or ``base_width`` is another.
        NotImplementedError: ``dilation`` is another.
    """

    expansion = 1

    def __init__(self, inplanes, planes, stride=1, downsample=None, groups=1, base_width=64, dilation=1, norm_layer=None):
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        if groups != 1 or base_width != 64:
            raise ValueError("BasicBlock only supports groups=1 and base_width=64")
        if dilation > 1:
            raise NotImplementedError("Dilation > 1 not supported in BasicBlock")
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions, the middle one narrower, and the way around them.

    The stride is the 3 x 3 convolution's; in the first paper it was the first one's ("ResNet v1.5").

    Args:
        inplanes, planes (int): channels of the input, and a quarter of the output's.
        stride (int): of the 3 x 3 convolution.
        downsample (Module, optional): brings the input to the output's shape.
        groups (int): of the 3 x 3 convolution.
        base_width (int): its channels a group, of every 64 planes.
        dilation (int): of the 3 x 3 convolution.
        norm_layer (callable, optional): makes a normalisation from a number of channels; default BatchNorm2d.
    """

    expansion = 4

    def __init__(self, inplanes, planes, stride=1, downsample=None, groups=1, base_width=64, dilation=1, norm_layer=None):
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64)) * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    """A residual network: one 7 x 7 convolution, four stages of blocks, the mean over all places, one linear layer.

    Args:
        block (type): BasicBlock or Bottleneck, or a class of the same signature.
        layers (sequence of 4 int): the number of blocks in each stage.
        num_classes (int): outputs.
        zero_init_residual (bool): each block's last normalisation begins at 0, so that the block begins as the identity.
        groups, width_per_group (int): the blocks' ``groups`` and ``base_width``.
        replace_stride_with_dilation (sequence of 3 bool, optional): stages 2 to 4 with dilation in place of their stride.
        norm_layer (callable, optional): makes a normalisation from a number of channels; default BatchNorm2d.

    Takes (N, 3, H, W) and returns (N, num_classes). Sources: K. He et al., "Deep residual learning for image recognition",
    CVPR 2016, https://arxiv.org/abs/1512.03385; S. Xie et al., "Aggregated residual transformations for deep neural
    networks", CVPR 2017, https://arxiv.org/abs/1611.05431; S. Zagoruyko and N. Komodakis, "Wide residual networks", 2016,
    https://arxiv.org/abs/1605.07146.
    """

    def __init__(self, block, layers, num_classes=1000, zero_init_residual=False, groups=1, width_per_group=64,
                 replace_stride_with_dilation=None, norm_layer=None):
        super().__init__()
        if replace_stride_with_dilation is None:
            replace_stride_with_dilation = (False, False, False)
        if len(replace_stride_with_dilation) != 3:
            raise ValueError("replace_stride_with_dilation should be None or a 3-element tuple, got "
                             f"{replace_stride_with_dilation}")
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.inplanes, self.dilation = 64, 1        # of the next block; _make_layer moves them on
        self.groups, self.base_width = groups, width_per_group
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, replace_stride_with_dilation[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, replace_stride_with_dilation[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, replace_stride_with_dilation[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        if zero_init_residual:
            for module in self.modules():
                last = module.bn3 if isinstance(module, Bottleneck) else module.bn2 if isinstance(module, BasicBlock) else None
                if last is not None and last.weight is not None:
                    nn.init.zeros_(last.weight)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        """A stage: the first of its blocks has the stride (or, with ``dilate``, the dilation before) and adapts its input."""
        first_dilation = self.dilation
        if dilate:
            self.dilation *= stride
            stride = 1
        downsample, width = None, planes * block.expansion
        if stride != 1 or self.inplanes != width:
            downsample = nn.Sequential(conv1x1(self.inplanes, width, stride), self._norm_layer(width))
        stage = [block(self.inplanes, planes, stride, downsample, self.groups, self.base_width, first_dilation, self._norm_layer)]
        self.inplanes = width
        stage += [block(width, planes, groups=self.groups, base_width=self.base_width, dilation=self.dilation,
                        norm_layer=self._norm_layer) for _ in range(1, blocks)]
        return nn.Sequential(*stage)

    def _forward_impl(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(flatten(self.avgpool(x), 1))

    def forward(self, x):
        return self._forward_impl(x)


FIRST_RECIPE, NEXT_RECIPE = CLASSIFICATION + "resnet", CLASSIFICATION + "resnext"
NEW_RECIPE = TORCHVISION + "issues/3995#new-recipe"
WIDE_RECIPE = TORCHVISION + "pull/912#issue-445437439"


class ResNet18_Weights(WeightsEnum):
    """Weights of ResNet-18."""

    IMAGENET1K_V1 = imagenet("resnet18-f37072fd", 11689512, 69.758, 89.078, 1.814, 44.661, FIRST_RECIPE)
    DEFAULT = IMAGENET1K_V1


class ResNet34_Weights(WeightsEnum):
    """Weights of ResNet-34."""

    IMAGENET1K_V1 = imagenet("resnet34-b627a593", 21797672, 73.314, 91.42, 3.664, 83.275, FIRST_RECIPE)
    DEFAULT = IMAGENET1K_V1


class ResNet50_Weights(WeightsEnum):
    """Weights of ResNet-50."""

    IMAGENET1K_V1 = imagenet("resnet50-0676ba61", 25557032, 76.13, 92.862, 4.089, 97.781, FIRST_RECIPE)
    IMAGENET1K_V2 = imagenet("resnet50-11ad3fa6", 25557032, 80.858, 95.434, 4.089, 97.79,
                             TORCHVISION + "issues/3995#issuecomment-1013906621", resize_size=232)
    DEFAULT = IMAGENET1K_V2


class ResNet101_Weights(WeightsEnum):
    """Weights of ResNet-101."""

    IMAGENET1K_V1 = imagenet("resnet101-63fe2227", 44549160, 77.374, 93.546, 7.801, 170.511, FIRST_RECIPE)
    IMAGENET1K_V2 = imagenet("resnet101-cd907fc2", 44549160, 81.886, 95.78, 7.801, 170.53, NEW_RECIPE, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class ResNet152_Weights(WeightsEnum):
    """Weights of ResNet-152."""

    IMAGENET1K_V1 = imagenet("resnet152-394f9c45", 60192808, 78.312, 94.046, 11.514, 230.434, FIRST_RECIPE)
    IMAGENET1K_V2 = imagenet("resnet152-f82ba261", 60192808, 82.284, 96.002, 11.514, 230.474, NEW_RECIPE, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt50_32X4D_Weights(WeightsEnum):
    """Weights of ResNeXt-50, 32 groups of width 4."""

    IMAGENET1K_V1 = imagenet("resnext50_32x4d-7cdf4587", 25028904, 77.618, 93.698, 4.23, 95.789, NEXT_RECIPE)
    IMAGENET1K_V2 = imagenet("resnext50_32x4d-1a0047aa", 25028904, 81.198, 95.34, 4.23, 95.833, NEW_RECIPE, resize_size=232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_32X8D_Weights(WeightsEnum):
    """Weights of ResNeXt-101, 32 groups of width 8."""

    IMAGENET1K_V1 = imagenet("resnext101_32x8d-8ba56ff5", 88791336, 79.312, 94.526, 16.414, 339.586, NEXT_RECIPE)
    IMAGENET1K_V2 = imagenet("resnext101_32x8d-110c445d", 88791336, 82.834, 96.228, 16.414, 339.673,
                             NEW_RECIPE + "-with-fixres", resize_size=232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_64X4D_Weights(WeightsEnum):
    """Weights of ResNeXt-101, 64 groups of width 4."""

    IMAGENET1K_V1 = imagenet("resnext101_64x4d-173b62eb", 83455272, 83.246, 96.454, 15.46, 319.318, TORCHVISION + "pull/5935",
                             resize_size=232)
    DEFAULT = IMAGENET1K_V1


class Wide_ResNet50_2_Weights(WeightsEnum):
    """Weights of Wide ResNet-50-2."""

    IMAGENET1K_V1 = imagenet("wide_resnet50_2-95faca4d", 68883240, 78.468, 94.086, 11.398, 131.82, WIDE_RECIPE)
    IMAGENET1K_V2 = imagenet("wide_resnet50_2-9ba9bcbe", 68883240, 81.602, 95.758, 11.398, 263.124,
                             NEW_RECIPE + "-with-fixres", resize_size=232)
    DEFAULT = IMAGENET1K_V2


class Wide_ResNet101_2_Weights(WeightsEnum):
    """Weights of Wide ResNet-101-2."""

    IMAGENET1K_V1 = imagenet("wide_resnet101_2-32ee1156", 126886696, 78.848, 94.284, 22.753, 242.896, WIDE_RECIPE)
    IMAGENET1K_V2 = imagenet("wide_resnet101_2-d733dc28", 126886696, 82.51, 96.02, 22.753, 484.747, NEW_RECIPE, resize_size=232)
    DEFAULT = IMAGENET1K_V2


@builder(ResNet18_Weights)
def resnet18(**kwargs):
    """ResNet-18; see ``ResNet`` for the arguments."""
    return ResNet(BasicBlock, [2, 2, 2, 2], **kwargs)


@builder(ResNet34_Weights)
def resnet34(**kwargs):
    """ResNet-34; see ``ResNet`` for the arguments."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **kwargs)


@builder(ResNet50_Weights)
def resnet50(**kwargs):
    """ResNet-50; see ``ResNet`` for the arguments."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **kwargs)


@builder(ResNet101_Weights)
def resnet101(**kwargs):
    """ResNet-101; see ``ResNet`` for the arguments."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **kwargs)


@builder(ResNet152_Weights)
def resnet152(**kwargs):
    """ResNet-152; see ``ResNet`` for the arguments."""
    return ResNet(Bottleneck, [3, 8, 36, 3], **kwargs)


def _with_width(layers, kwargs, **fixed):
    for name, value in fixed.items():
        _ovewrite_named_param(kwargs, name, value)
    return ResNet(Bottleneck, layers, **kwargs)


@builder(ResNeXt50_32X4D_Weights)
def resnext50_32x4d(**kwargs):
    """ResNeXt-50 with 32 groups of width 4; see ``ResNet`` for the arguments."""
    return _with_width([3, 4, 6, 3], kwargs, groups=32, width_per_group=4)


@builder(ResNeXt101_32X8D_Weights)
def resnext101_32x8d(**kwargs):
    """ResNeXt-101 with 32 groups of width 8; see ``ResNet`` for the arguments."""
    return _with_width([3, 4, 23, 3], kwargs, groups=32, width_per_group=8)


@builder(ResNeXt101_64X4D_Weights)
def resnext101_64x4d(**kwargs):
    """ResNeXt-101 with 64 groups of width 4; see ``ResNet`` for the arguments."""
    return _with_width([3, 4, 23, 3], kwargs, groups=64, width_per_group=4)


@builder(Wide_ResNet50_2_Weights)
def wide_resnet50_2(**kwargs):
    """ResNet-50 with twice as many channels in the blocks' 3 x 3 convolutions; see ``ResNet`` for the arguments."""
    return _with_width([3, 4, 6, 3], kwargs, width_per_group=128)


@builder(Wide_ResNet101_2_Weights)
def wide_resnet101_2(**kwargs):
    """ResNet-101 with twice as many channels in the blocks' 3 x 3 convolutions; see ``ResNet`` for the arguments."""
    return _with_width([3, 4, 23, 3], kwargs, width_per_group=128)
