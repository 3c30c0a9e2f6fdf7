"""Activations written out in arithmetic, as exporters do, and chains that only resemble them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.corpus._case import Catalogue, could, left
from tests.corpus._net import Net

cases = Catalogue()
Activation = Callable[[Net, str], str]


def _after_conv(activation: Activation, opset: int = 17, dtype: Any = np.float32) -> onnx.ModelProto:
    net = Net(dtype=dtype)
    y = net.conv(net.input(), (4, 3, 3, 3), bias=True)
    return net.model(net.op("Neg", activation(net, y)), opset=opset)


def clipped(net: Net, x: str, shift: Any = 3, top: Any = 6) -> str:
    """clip(x + shift, 0, top)"""
    return net.op("Clip", net.op("Add", x, net.array(shift)), net.array(0), net.array(top))


def mul(net: Net, *factors: Any) -> str:
    product: str = factors[0]
    for factor in factors[1:]:
        product = net.op("Mul", product, factor)
    return product


def div(net: Net, x: str, divisor: float) -> str:
    return net.op("Div", x, net.array(divisor))


def min_max(net: Net, x: str) -> str:
    shifted = net.op("Add", net.array(3), x)
    return net.op("Min", net.op("Max", shifted, net.array(0)), net.array(6))


def old_clip(net: Net, x: str) -> str:
    return net.op("Clip", net.op("Add", x, net.array(3)), min=0.0, max=6.0)


HARD_SWISH: dict[str, Activation] = {
    "hard_swish_divided_last": lambda net, x: div(net, mul(net, x, clipped(net, x)), 6),
    "hard_swish_divided_first": lambda net, x: mul(net, x, div(net, clipped(net, x), 6)),
    "hard_swish_reversed": lambda net, x: mul(net, clipped(net, x), x, net.array(1 / 6)),
    "hard_swish_scaled_input": lambda net, x: mul(net, mul(net, x, net.array(1 / 6)), clipped(net, x)),
    "hard_swish_min_max": lambda net, x: div(net, mul(net, x, min_max(net, x)), 6),
    "hard_swish_hard_sigmoid": lambda net, x: mul(net, x, net.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
    "hard_swish_constants_of_rank4": lambda net, x: mul(
        net,
        net.op("Clip", net.op("Add", x, np.full((1, 1, 1, 1), 3, np.float32)), net.array(0), net.array(6)),
        np.full((1,), 1 / 6, np.float32),
        x,
    ),
}
for name, activation in HARD_SWISH.items():
    cases.put(name, partial(_after_conv, activation), could(HardSwish=1, Clip=0, Add=0, Mul=0, Div=0))
cases.put(
    "hard_swish_opset10",
    partial(_after_conv, lambda net, x: div(net, mul(net, x, old_clip(net, x)), 6), 10),
    left(HardSwish=0),  # the operator came with opset 14
)
cases.put(
    "hard_swish_fp16",
    partial(_after_conv, HARD_SWISH["hard_swish_divided_last"], dtype=np.float16),
    could(HardSwish=1),
)

NOT_HARD_SWISH: dict[str, Activation] = {
    "not_hard_swish_top": lambda net, x: div(net, mul(net, x, clipped(net, x, top=6.5)), 6),
    "not_hard_swish_shift": lambda net, x: div(net, mul(net, x, clipped(net, x, shift=2.5)), 6),
    "not_hard_swish_divisor": lambda net, x: div(net, mul(net, x, clipped(net, x)), 5),
    "not_hard_swish_other_factor": lambda net, x: div(net, mul(net, net.op("Tanh", x), clipped(net, x)), 6),
    "not_hard_swish_per_channel": lambda net, x: mul(
        net, x, clipped(net, x), np.linspace(1 / 6, 1 / 5, 4).astype(np.float32).reshape(4, 1, 1)
    ),
    "not_hard_swish_alpha": lambda net, x: mul(net, x, net.op("HardSigmoid", x)),
    "not_hard_swish_live_shift": lambda net, x: div(
        net, mul(net, x, net.op("Clip", net.op("Add", x, x), net.array(0), net.array(6))), 6
    ),
}
for name, activation in NOT_HARD_SWISH.items():
    cases.put(name, partial(_after_conv, activation), left(HardSwish=0))


@cases.add({"keeps": ("Clip_seen",)})
def hard_swish_middle_is_output() -> onnx.ModelProto:
    net = Net()
    x = net.conv(net.input(), (4, 3, 3, 3))
    middle = net.op("Clip", net.op("Add", x, net.array(3)), net.array(0), net.array(6), name="Clip_seen")
    return net.model(div(net, mul(net, x, middle), 6), middle)


def erf_part(net: Net, x: str) -> str:
    """1 + erf(x / sqrt(2))"""
    return net.op("Add", net.op("Erf", div(net, x, 2**0.5)), net.array(1))


def tanh_part(net: Net, x: str) -> str:
    """1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3))"""
    cube = mul(net, net.op("Pow", x, net.array(3)), net.array(0.044715))
    inner = mul(net, net.op("Add", x, cube), net.array((2 / np.pi) ** 0.5))
    return net.op("Add", net.array(1), net.op("Tanh", inner))


OTHERS: dict[str, Activation] = {
    "hard_sigmoid_divided": lambda net, x: div(net, clipped(net, x), 6),
    "hard_sigmoid_scaled_first": lambda net, x: net.op(
        "Clip", net.op("Add", div(net, x, 6), net.array(0.5)), net.array(0), net.array(1)
    ),
    "silu": lambda net, x: mul(net, x, net.op("Sigmoid", x)),
    "silu_reversed": lambda net, x: mul(net, net.op("Sigmoid", x), x),
    "silu_divided": lambda net, x: net.op(
        "Div", x, net.op("Add", net.op("Exp", net.op("Neg", x)), net.array(1))
    ),
    "quick_gelu": lambda net, x: mul(net, x, net.op("Sigmoid", mul(net, x, net.array(1.702)))),
    "not_silu": lambda net, x: mul(net, net.op("Relu", x), net.op("Sigmoid", x)),
    "gelu_erf_half_last": lambda net, x: mul(net, x, erf_part(net, x), net.array(0.5)),
    "gelu_erf_half_first": lambda net, x: mul(net, mul(net, net.array(0.5), x), erf_part(net, x)),
    "gelu_erf_half_inside": lambda net, x: mul(net, x, mul(net, erf_part(net, x), net.array(0.5))),
    "gelu_tanh": lambda net, x: mul(net, mul(net, net.array(0.5), x), tanh_part(net, x)),
    "mish": lambda net, x: mul(net, x, net.op("Tanh", net.op("Softplus", x))),
    "softplus": lambda net, x: net.op("Log", net.op("Add", net.op("Exp", x), net.array(1))),
    "leaky_relu_of_relus": lambda net, x: net.op(
        "Sub", net.op("Relu", x), mul(net, net.op("Relu", net.op("Neg", x)), net.array(0.1))
    ),
    "leaky_relu_by_max": lambda net, x: net.op("Max", x, mul(net, x, net.array(0.1))),
    "prelu_per_channel": lambda net, x: net.op("PRelu", x, net.random(4, 1, 1)),
    "relu6_by_min": lambda net, x: net.op("Min", net.op("Relu", x), net.array(6)),
    "clip_without_top": lambda net, x: net.op("Clip", x, net.array(0)),
}
for name, activation in OTHERS.items():
    cases.put(name, partial(_after_conv, activation))


@cases.add(could(Gelu=1))
def gelu_opset20() -> onnx.ModelProto:
    """From opset 20 on there is an operator for it."""
    return _after_conv(OTHERS["gelu_erf_half_last"], 20)


@cases.add(could(LayerNormalization=1))
def layer_norm_written_out() -> onnx.ModelProto:
    net = Net()
    x = net.input(shape=("N", "L", 8))
    centred = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
    spread = net.op("ReduceMean", net.op("Pow", centred, net.array(2)), axes=[-1])
    y = net.op("Div", centred, net.op("Sqrt", net.op("Add", spread, net.array(1e-5))))
    return net.model(net.op("Add", net.op("Mul", y, net.random(8)), net.random(8)))


@cases.add(left(Clip=1))
def clip_bounds_at_run_time() -> onnx.ModelProto:
    net = Net()
    x = net.conv(net.input(), (4, 3, 3, 3))
    return net.model(net.op("Clip", x, None, net.op("ReduceMax", "x", keepdims=0)))
