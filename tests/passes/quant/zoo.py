"""Small networks of the kinds that people quantize, with random weights."""

from __future__ import annotations

from collections.abc import Callable

from graphopt import ir
from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, first_conv

PAD = {"pads": [1, 1, 1, 1]}


def _plain(net: Net, x: str) -> str:
    for name in ("a", "b"):
        x = net.op("Relu", net.conv(x, (8, 8, 3, 3), bias=True, name=name, **PAD))
    return net.op("MaxPool", x, kernel_shape=[2, 2])


def _residual(net: Net, x: str) -> str:
    x = net.op("Relu", x)
    y = net.op("Relu", net.conv(x, (8, 8, 3, 3), bias=True, name="a", **PAD))
    return net.op("Relu", net.op("Add", x, net.conv(y, (8, 8, 3, 3), bias=True, name="b", **PAD)))


def _inverted(net: Net, x: str) -> str:
    def clip(y: str) -> str:
        return net.op("Clip", y, net.array(0.0), net.array(6.0))

    y = clip(net.conv(clip(x), (16, 8, 1, 1), bias=True, name="wide"))
    y = clip(net.conv(y, (16, 1, 3, 3), group=16, bias=True, name="depthwise", **PAD))
    return net.op("Add", clip(x), net.conv(y, (8, 16, 1, 1), bias=True, name="narrow"))


def _gated(net: Net, x: str) -> str:
    x = net.op("HardSwish", net.conv(x, (8, 8, 3, 3), bias=True, name="a", **PAD))
    gate = net.conv(net.op("GlobalAveragePool", x), (8, 8, 1, 1), bias=True, name="squeeze")
    return net.op("Mul", x, net.op("HardSigmoid", gate))


def _dense(net: Net, x: str) -> str:
    x = net.op("Relu", x)
    y = net.op("Relu", net.conv(x, (8, 8, 3, 3), bias=True, name="a", **PAD))
    return net.op("Relu", net.conv(net.op("Concat", x, y, axis=1), (8, 16, 1, 1), bias=True, name="b"))


def _leaky(net: Net, x: str) -> str:
    x = net.op("LeakyRelu", net.conv(x, (8, 8, 3, 3), bias=True, name="a", **PAD), alpha=0.1)
    return net.op("AveragePool", x, kernel_shape=[2, 2])


def _smooth(net: Net, x: str) -> str:
    y = net.conv(x, (8, 8, 3, 3), bias=True, name="a", **PAD)
    return net.op("Mul", y, net.op("Sigmoid", y))


def _fire(net: Net, x: str) -> str:
    """Squeeze, expand by two kernels, join (SqueezeNet), with pools between and no normalisation."""
    x = net.op("MaxPool", net.op("Relu", x), kernel_shape=[2, 2])
    for name in ("a", "b"):
        y = net.op("Relu", net.conv(x, (4, 8, 1, 1), bias=True, name=f"{name}_squeeze"))
        one = net.op("Relu", net.conv(y, (4, 4, 1, 1), bias=True, name=f"{name}_one"))
        three = net.op("Relu", net.conv(y, (4, 4, 3, 3), bias=True, name=f"{name}_three", **PAD))
        x = net.op("MaxPool", net.op("Concat", one, three, axis=1), kernel_shape=[2, 2], strides=[1, 1])
    return x


BODIES: dict[str, Callable[[Net, str], str]] = {
    "plain": _plain,
    "residual": _residual,
    "inverted": _inverted,
    "gated": _gated,
    "dense": _dense,
    "leaky": _leaky,
    "smooth": _smooth,
    "fire": _fire,
}


def network(name: str, seed: int = 3) -> ir.Model:
    """A convolution, the body of this name, and a classifier."""
    net = Net(seed)
    return ir.from_bytes(between_convs(net, BODIES[name](net, first_conv(net))).SerializeToString())
