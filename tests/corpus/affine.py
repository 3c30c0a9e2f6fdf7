"""Constant arithmetic around a linear layer: scales and shifts per channel fold, all other ones stay."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.corpus._case import Catalogue, could, left
from tests.corpus._net import Net

cases = Catalogue()
FOLDED = left(Conv=1, Mul=0, Add=0, Sub=0, Div=0)


def _conv_then(
    op: str,
    constant: tuple[int, ...],
    *,
    first: bool = False,
    weight: tuple[int, ...] = (4, 3, 3, 3),
    shape: tuple[Any, ...] = (1, 3, 8, 8),
    dtype: Any = np.float32,
    **layer: Any,
) -> onnx.ModelProto:
    """A Conv, by default (1, 3, 8, 8) -> (1, 4, 6, 6), then `op` with a constant of this shape."""
    net = Net(dtype=dtype)
    y = net.conv(net.input(shape=shape), weight, **layer)
    c = net.random(*constant, low=0.5, high=2.0)
    return net.model(net.op(op, c, y, name="after") if first else net.op(op, y, c, name="after"))


PER_CHANNEL: list[tuple[str, str, tuple[int, ...], dict[str, Any]]] = [
    ("conv_mul_scalar", "Mul", (), {}),
    ("conv_mul_one_element", "Mul", (1,), {"bias": True}),
    ("conv_mul_channel", "Mul", (4, 1, 1), {"bias": True}),
    ("conv_mul_channel_rank4", "Mul", (1, 4, 1, 1), {}),
    ("conv_mul_constant_first", "Mul", (4, 1, 1), {"first": True}),
    ("conv_mul_dynamic", "Mul", (1, 4, 1, 1), {"shape": ("N", 3, "H", "W")}),
    ("conv_mul_fp16", "Mul", (4, 1, 1), {"dtype": np.float16, "bias": True}),
    ("grouped_conv_mul", "Mul", (6, 1, 1), {"weight": (6, 1, 3, 3), "group": 3}),
    ("conv1d_mul", "Mul", (4, 1), {"weight": (4, 3, 3), "shape": (1, 3, 8)}),
    ("conv_add_scalar", "Add", (), {}),
    ("conv_add_scalar_bias", "Add", (1, 1, 1, 1), {"bias": True}),
    ("conv_add_channel", "Add", (4, 1, 1), {}),
    ("conv_add_channel_rank4", "Add", (1, 4, 1, 1), {"bias": True}),
    ("conv_add_constant_first", "Add", (4, 1, 1), {"first": True}),
    ("conv_sub_channel", "Sub", (4, 1, 1), {"bias": True}),
    ("conv_sub_from_constant", "Sub", (4, 1, 1), {"first": True, "bias": True}),
    ("conv_sub_from_scalar", "Sub", (), {"first": True}),
    ("conv_div_scalar", "Div", (), {"bias": True}),
    ("conv_div_channel", "Div", (1, 4, 1, 1), {}),
]
for name, op, constant, settings in PER_CHANNEL:
    cases.put(name, partial(_conv_then, op, constant, **settings), FOLDED)

NOT_PER_CHANNEL: list[tuple[str, str, tuple[int, ...], dict[str, Any]]] = [
    ("conv_mul_pixel", "Mul", (6, 6), {}),
    ("conv_mul_element", "Mul", (1, 4, 6, 6), {}),
    ("conv_mul_row", "Mul", (6, 1), {}),
    ("conv_mul_width", "Mul", (6,), {}),
    # The width happens to equal the number of channels.
    ("conv_mul_width_like_channels", "Mul", (4,), {"shape": (1, 3, 8, 6)}),
    ("conv_add_width_like_channels", "Add", (4,), {"shape": (1, 3, 6, 6)}),
    ("conv_add_pixel", "Add", (1, 1, 6, 6), {"bias": True}),
    ("conv_mul_grows_rank", "Mul", (1, 1, 4, 1, 1), {}),
    ("conv_mul_grows_rank_of_ones", "Mul", (1, 1, 1, 1, 1), {}),
    ("conv_add_grows_rank", "Add", (1, 1, 4, 1, 1), {"bias": True}),
    ("conv_mul_grows_channels", "Mul", (4, 1, 1), {"weight": (1, 3, 3, 3)}),
    ("conv_add_grows_channels", "Add", (4, 1, 1), {"weight": (1, 3, 3, 3)}),
    ("conv_mul_grows_batch", "Mul", (2, 1, 1, 1), {}),
    ("conv_add_grows_batch", "Add", (2, 4, 1, 1), {}),
    ("conv_add_grows_pixels", "Add", (4, 6, 6), {"shape": (1, 3, 3, 3)}),
    ("conv_mul_batch", "Mul", (2, 1, 1, 1), {"shape": (2, 3, 8, 8)}),
    ("constant_over_conv", "Div", (4, 1, 1), {"first": True}),
]
for name, op, constant, settings in NOT_PER_CHANNEL:
    cases.put(name, partial(_conv_then, op, constant, **settings), left(Conv=1, **{op: 1}))


@cases.add(FOLDED)
def conv_affine_chain() -> onnx.ModelProto:
    """(2 - ((conv * a + b) / c - d)) per channel and by scalar in turn."""
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3), pads=[1, 1, 1, 1])
    y = net.op("Add", net.op("Mul", y, net.random(4, 1, 1)), net.random(1, 4, 1, 1))
    y = net.op("Sub", net.op("Div", y, net.array(3)), net.random(4, 1, 1))
    return net.model(net.op("Sub", net.array(2), y))


@cases.add(left(Conv=1, Mul=0, Add=0, BatchNormalization=0))
def conv_mul_bn_add() -> onnx.ModelProto:
    net = Net()
    y = net.op("Mul", net.conv(net.input(), (4, 3, 3, 3)), net.random(4, 1, 1))
    return net.model(net.op("Add", net.bn(y, 4), net.random(1, 4, 1, 1)))


@cases.add(left(ConvTranspose=1, Mul=0, Add=0))
def grouped_conv_transpose_mul_add() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(shape=(1, 4, 5, 5)), (4, 3, 2, 2), op="ConvTranspose", group=2, strides=[2, 2])
    return net.model(net.op("Add", net.op("Mul", y, net.random(6, 1, 1)), net.random(6, 1, 1)))


@cases.add(left(Conv=2, Mul=0))
def shared_weight_conv_mul() -> onnx.ModelProto:
    net = Net()
    x, weight = net.input(), net.random(4, 3, 3, 3)
    plain = net.conv(x, (4, 3, 3, 3), weight=weight)
    return net.model(plain, net.op("Mul", net.conv(x, (4, 3, 3, 3), weight=weight), net.random(4, 1, 1)))


def _conv_with(finish: Callable[[Net, str, str], list[str]]) -> onnx.ModelProto:
    net = Net()
    x = net.input()
    return net.model(*finish(net, x, net.conv(x, (4, 3, 3, 3), name="conv")), ir=9)


STAYS = left(Conv=1, Mul=1)
for name, finish in {
    "conv_mul_itself": lambda net, x, y: [net.op("Mul", y, y)],
    "conv_mul_second_reader": lambda net, x, y: [net.op("Mul", y, net.array(2)), net.op("Relu", y)],
    "conv_mul_conv_is_output": lambda net, x, y: [net.op("Mul", y, net.array(2)), y],
    "conv_mul_input": lambda net, x, y: [net.op("Mul", y, net.input("gain", (4, 1, 1)))],
    "conv_mul_computed": lambda net, x, y: [net.op("Mul", y, net.op("ReduceMax", x, axes=[1, 2, 3]))],
}.items():
    cases.put(name, partial(_conv_with, finish), STAYS)


@cases.add(STAYS)
def conv_mul_overridable() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    gain = net.random(4, 1, 1, name="gain")
    return net.model(net.op("Mul", y, gain), ir=9, listed=["gain"])


def _gemm_then(op: str, constant: tuple[int, ...], **layer: Any) -> onnx.ModelProto:
    net = Net()
    y = net.gemm(net.input(shape=(3, 5)), (5, 4), **layer)
    return net.model(net.op(op, y, net.random(*constant, low=0.5)))


FOLDABLE = could(Gemm=1, Mul=0, Add=0)
cases.put("gemm_mul_columns", partial(_gemm_then, "Mul", (4,), bias=(4,), alpha=0.5), FOLDABLE)
cases.put("gemm_add_columns", partial(_gemm_then, "Add", (4,), bias=(4,), beta=0.5), FOLDABLE)
cases.put("gemm_add_no_bias", partial(_gemm_then, "Add", (1, 4), beta=0.5), FOLDABLE)
cases.put("gemm_mul_rows", partial(_gemm_then, "Mul", (3, 1), bias=(4,)), could(Gemm=1, Mul=1))
cases.put("gemm_add_rows", partial(_gemm_then, "Add", (3, 1), bias=(4,)), could(Gemm=1))
cases.put("gemm_mul_grows_rank", partial(_gemm_then, "Mul", (1, 1, 4), bias=(4,)), left(Gemm=1, Mul=1))


@cases.add(could(Gemm=1))
def matmul_add() -> onnx.ModelProto:
    net = Net()
    return net.model(
        net.op("Add", net.op("MatMul", net.input(shape=("N", 5)), net.random(5, 4)), net.random(4))
    )


@cases.add(left(MatMul=1, Add=1))
def matmul_rank3_add() -> onnx.ModelProto:
    """A Gemm takes matrices only."""
    net = Net()
    y = net.op("MatMul", net.input(shape=(2, "L", 5)), net.random(5, 4))
    return net.model(net.op("Add", y, net.random(4)))


def _normalised_input(pads: list[int]) -> onnx.ModelProto:
    """(x / 255 - mean) / std per colour before the first Conv."""
    net = Net()
    y = net.op("Sub", net.op("Div", net.input(), net.array(255)), net.random(1, 3, 1, 1))
    y = net.op("Div", y, net.random(1, 3, 1, 1, low=0.2, high=0.3))
    return net.model(net.conv(y, (4, 3, 3, 3), bias=True, pads=pads))


cases.put("normalised_input", partial(_normalised_input, [0, 0, 0, 0]), could(Conv=1, Sub=0, Div=0))
cases.put("normalised_input_padded", partial(_normalised_input, [1, 1, 1, 1]))
