"""The two architectures; widths are multiples of 16, the block in which channels are pruned."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

CLASS_COUNT = 10


def conv_bn(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias and its batch normalisation; "same" padding for odd kernels."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016), projected when the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_bn(inputs, outputs, stride=stride)
        self.second = conv_bn(outputs, outputs)
        keeps_shape = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if keeps_shape else conv_bn(inputs, outputs, 1, stride=stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.relu(self.first(x)))
        return torch.relu(y + self.shortcut(x))


class InvertedResidual(nn.Module):
    """Expand, filter per channel, project (MobileNetV2, Sandler et al. 2018)."""

    def __init__(self, inputs: int, expanded: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.expand = conv_bn(inputs, expanded, 1)
        self.depthwise = conv_bn(expanded, expanded, stride=stride, groups=expanded)
        self.project = conv_bn(expanded, outputs, 1)
        self.relu = nn.ReLU6()
        self.keeps_shape = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.relu(self.depthwise(self.relu(self.expand(x)))))
        return x + y if self.keeps_shape else y


def residual() -> nn.Sequential:
    """A residual net of three blocks: (N, 1, 28, 28) to (N, 10)."""
    return nn.Sequential(
        OrderedDict(
            stem=conv_bn(1, 32, 5, stride=2),
            relu=nn.ReLU(),
            block1=ResidualBlock(32, 32),
            block2=ResidualBlock(32, 64),
            block3=ResidualBlock(64, 96, stride=2),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(96, CLASS_COUNT),
        )
    )


def depthwise() -> nn.Sequential:
    """A MobileNetV2-like net of five inverted residuals: (N, 1, 28, 28) to (N, 10)."""
    return nn.Sequential(
        OrderedDict(
            stem=conv_bn(1, 32, 5, stride=2),
            relu=nn.ReLU6(),
            block1=InvertedResidual(32, 96, 32),
            block2=InvertedResidual(32, 96, 32),
            block3=InvertedResidual(32, 128, 64, stride=2),
            block4=InvertedResidual(64, 192, 64),
            block5=InvertedResidual(64, 192, 64),
            last=conv_bn(64, 256, 1),
            last_relu=nn.ReLU6(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(256, CLASS_COUNT),
        )
    )
