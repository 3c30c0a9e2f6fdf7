"""Random small networks of valid shapes, to meet passes with what nobody thought of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import onnx

from tests.corpus._net import Net

SIZE = 12  # height and width of the image
LIMIT = 24  # channels


@dataclass(frozen=True)
class Feature:
    """A tensor (batch, channels, size, size) of the growing network."""

    name: str
    channels: int
    size: int


Step = Callable[[Net, Feature], Feature]


def random_cnn(seed: int, steps: int | None = None) -> onnx.ModelProto:
    """Draw a network of `steps` random steps (3 to 12 when None); the same seed gives the same network.

    Its input ``x`` is (N, channels, 12, 12) with N symbolic or 1; it has one to three outputs,
    finite for inputs of usual size.
    """
    net = Net(seed)
    rng = net.rng
    channels = int(rng.choice([1, 3, 4]))
    x = Feature(net.input(shape=("N" if rng.random() < 0.5 else 1, channels, SIZE, SIZE)), channels, SIZE)
    features = [_conv(net, x)]
    for _ in range(steps or int(rng.integers(3, 13))):
        features.append(_step(net, features))
    outputs = [_head(net, features[-1])]
    for feature in features[1:-1]:
        if rng.random() < 0.15 and len(outputs) < 3:
            outputs.append(feature.name if rng.random() < 0.5 else _head(net, feature))
    return net.model(*dict.fromkeys(outputs), opset=int(rng.choice([13, 15, 17])))


def _step(net: Net, features: list[Feature]) -> Feature:
    """Grow by one step, mostly from the newest feature."""
    x = features[-1] if net.rng.random() < 0.85 else features[net.rng.integers(len(features))]
    if net.rng.random() < 0.25:
        joined = _join(net, x, features)
        if joined is not None:
            return joined
    step: Step = STEPS[net.rng.choice(len(STEPS), p=ODDS)]
    return step(net, x)


def _normalised(net: Net, y: str, channels: int) -> str:
    """Follow a layer by what usually follows: a BatchNormalization, an affine pair, or nothing."""
    choice = net.rng.random()
    if choice < 0.6:
        return net.bn(y, channels)
    if choice < 0.75:
        y = net.op("Mul", y, net.random(channels, 1, 1, low=0.5, high=1.5))
        return net.op("Add", y, net.random(1, channels, 1, 1))
    return y


def _activated(net: Net, y: str) -> str:
    match net.rng.integers(8):
        case 0 | 1 | 2:
            return net.op("Relu", y)
        case 3:
            return net.op("Clip", y, net.array(0), net.array(6))
        case 4:
            return net.op("LeakyRelu", y, alpha=0.1)
        case 5:
            return net.op("Mul", y, net.op("Sigmoid", y))
        case 6:
            return net.op("Mul", y, net.op("HardSigmoid", y, alpha=1 / 6, beta=0.5))
    return y


def _tamed(net: Net, y: str) -> str:
    """Keep deep random networks from growing without bound."""
    return net.op("Mul", y, net.array(0.3))


def _conv(net: Net, x: Feature) -> Feature:
    outputs = int(net.rng.choice([4, 6, 8, 12]))
    kernel = int(net.rng.choice([1, 3])) if x.size >= 3 else 1
    dilation = 2 if kernel == 3 and x.size >= 5 and net.rng.random() < 0.2 else 1
    stride = 2 if x.size >= 6 and net.rng.random() < 0.25 else 1
    groups = [g for g in (1, 2, 3, 4) if x.channels % g == 0 and outputs % g == 0]
    return _window(net, x, outputs, kernel, stride, dilation, int(net.rng.choice(groups)))


def _depthwise(net: Net, x: Feature) -> Feature:
    multiplier = 2 if x.channels * 2 <= LIMIT and net.rng.random() < 0.3 else 1
    return _window(net, x, x.channels * multiplier, 3 if x.size >= 3 else 1, 1, 1, x.channels)


def _window(
    net: Net, x: Feature, outputs: int, kernel: int, stride: int, dilation: int, group: int
) -> Feature:
    pad = int(net.rng.integers(0, 2)) * dilation * (kernel // 2)
    y = net.conv(
        x.name,
        (outputs, x.channels // group, kernel, kernel),
        bias=bool(net.rng.random() < 0.5),
        group=group,
        pads=[pad] * 4,
        strides=[stride] * 2,
        dilations=[dilation] * 2,
    )
    size = (x.size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
    y = _activated(net, _normalised(net, _tamed(net, y) if net.rng.random() < 0.3 else y, outputs))
    return Feature(y, outputs, size)


def _transposed(net: Net, x: Feature) -> Feature:
    if x.size > SIZE // 2:
        return _conv(net, x)
    group = 2 if x.channels % 2 == 0 and net.rng.random() < 0.5 else 1
    y = net.conv(x.name, (x.channels, 4 // group, 2, 2), op="ConvTranspose", group=group, strides=[2, 2])
    return Feature(_activated(net, _normalised(net, y, 4)), 4, 2 * x.size)


def _residual(net: Net, x: Feature) -> Feature:
    y = net.conv(x.name, (x.channels, x.channels, 3, 3), pads=[1] * 4)
    y = net.op("Add", x.name, _tamed(net, net.bn(y, x.channels)))
    return replace(x, name=_activated(net, y))


def _squeeze_and_excite(net: Net, x: Feature) -> Feature:
    gate = net.conv(net.op("GlobalAveragePool", x.name), (2, x.channels, 1, 1), bias=True)
    gate = net.op("Sigmoid", net.conv(net.op("Relu", gate), (x.channels, 2, 1, 1), bias=True))
    return replace(x, name=net.op("Mul", x.name, gate))


def _pool(net: Net, x: Feature) -> Feature:
    if x.size < 4:
        return replace(x, name=_activated(net, x.name))
    op = str(net.rng.choice(["MaxPool", "AveragePool"]))
    pad = int(net.rng.integers(0, 2))
    y = net.op(op, x.name, kernel_shape=[3, 3], strides=[2, 2], pads=[pad] * 4)
    return replace(x, name=y, size=(x.size + 2 * pad - 3) // 2 + 1)


def _pad(net: Net, x: Feature) -> Feature:
    """Pad, and let a Conv follow without padding of its own."""
    mode = str(net.rng.choice(["constant", "constant", "edge"]))
    y = net.op("Pad", x.name, np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode=mode)
    y = net.conv(y, (4, x.channels, 3, 3))
    return Feature(_activated(net, _normalised(net, y, 4)), 4, x.size)


def _split(net: Net, x: Feature) -> Feature:
    """Work on one part of the channels, swap the parts."""
    cut = int(net.rng.integers(1, x.channels)) if x.channels > 1 else 0
    if not cut:
        return _residual(net, x)
    sizes = np.array([cut, x.channels - cut])
    if net.rng.random() < 0.5:
        first, second = net.many(2, "Split", x.name, sizes, axis=1)
    else:
        bounds = [np.array([v]) for v in (0, cut, x.channels)]
        first, second = (net.op("Slice", x.name, a, b, np.array([1])) for a, b in pairwise(bounds))
    worked = net.op("Relu", net.bn(net.conv(first, (cut, cut, 1, 1)), cut))
    return replace(x, name=net.op("Concat", second, worked, axis=1))


def _shuffle(net: Net, x: Feature) -> Feature:
    groups = next((g for g in (2, 3) if x.channels % g == 0), 1)
    y = net.op("Reshape", x.name, np.array([-1, groups, x.channels // groups, x.size, x.size]))
    y = net.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    return replace(x, name=net.op("Reshape", y, np.array([-1, x.channels, x.size, x.size])))


def _idle(net: Net, x: Feature) -> Feature:
    """Steps a cleaner should see through."""
    match net.rng.integers(4):
        case 0:
            return replace(x, name=net.op("Identity", x.name))
        case 1:
            return replace(x, name=net.op("Dropout", x.name, net.array(0.2)))
        case 2:
            y = net.op("Transpose", x.name, perm=[0, 2, 3, 1])
            return replace(x, name=net.op("Transpose", y, perm=[0, 3, 1, 2]))
    return replace(x, name=net.op("Reshape", x.name, np.array([0, x.channels, x.size, -1])))


def _join(net: Net, x: Feature, features: list[Feature]) -> Feature | None:
    """Concatenate or add another feature of fitting shape; None when there is none."""
    fitting = [f for f in features if f.size == x.size and f.name != x.name]
    if not fitting:
        return None
    other = fitting[net.rng.integers(len(fitting))]
    if other.channels == x.channels and net.rng.random() < 0.6:
        return replace(x, name=net.op("Add", other.name, x.name))
    if other.channels + x.channels > LIMIT:
        return None
    return Feature(net.op("Concat", x.name, other.name, axis=1), x.channels + other.channels, x.size)


def _head(net: Net, x: Feature) -> str:
    """End in a classifier, or in a map of scores."""
    if net.rng.random() < 0.3:
        return net.conv(x.name, (2, x.channels, 1, 1), bias=True)
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x.name))
    if net.rng.random() < 0.5:
        return net.gemm(pooled, (5, x.channels), bias=(5,), transB=1)
    return net.bn(net.gemm(pooled, (x.channels, 5), bias=(5,)), 5)


STEPS: tuple[Step, ...] = (
    _conv,
    _depthwise,
    _transposed,
    _residual,
    _squeeze_and_excite,
    _pool,
    _pad,
    _split,
    _shuffle,
    _idle,
)
ODDS = (0.24, 0.12, 0.07, 0.12, 0.06, 0.1, 0.08, 0.08, 0.05, 0.08)
