"""Pad before windowed layers: only zeros around the pixels go into a Conv; pools have rules of their own."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.corpus._case import Catalogue, Feeds, could, left
from tests.corpus._net import Net, ints

cases = Catalogue()
FOLDED, STAYS = left(Pad=0, Conv=1), left(Pad=1, Conv=1)
AROUND = (0, 0, 1, 2, 0, 0, 1, 0)  # one row above and below, two columns on the left
LOWEST = float(np.finfo(np.float32).min)


def _pad(net: Net, x: str, pads: tuple[int, ...], value: float | None = None, **attrs: Any) -> str:
    return net.op("Pad", x, ints(*pads), None if value is None else net.array(value), name="pad", **attrs)


def _pad_conv(
    pads: tuple[int, ...] = AROUND,
    value: float | None = None,
    mode: str = "constant",
    *,
    weight: tuple[int, ...] = (4, 3, 3, 3),
    shape: tuple[Any, ...] = (1, 3, 8, 8),
    opset: int = 17,
    dtype: Any = np.float32,
    **layer: Any,
) -> onnx.ModelProto:
    net = Net(dtype=dtype)
    y = _pad(net, net.input(shape=shape), pads, value, mode=mode)
    return net.model(net.conv(y, weight, **layer), opset=opset)


CONVS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("pad_conv", FOLDED, {}),
    ("pad_conv_bias", FOLDED, {"bias": True, "value": 0.0}),
    ("pad_conv_dynamic", FOLDED, {"shape": ("N", 3, "H", "W")}),
    ("pad_conv_fp16", FOLDED, {"dtype": np.float16, "value": 0.0}),
    ("pad_conv_auto_pad_valid", FOLDED, {"auto_pad": "VALID"}),
    ("pad_depthwise_conv", FOLDED, {"weight": (3, 1, 3, 3), "group": 3}),
    ("pad_conv1d", FOLDED, {"pads": (0, 0, 1, 0, 0, 2), "weight": (4, 3, 3), "shape": (1, 3, 8)}),
    (
        "pad_conv3d",
        FOLDED,
        {"pads": (0, 0, 1, 2, 3) * 2, "weight": (2, 1, 3, 3, 3), "shape": (1, 1, 4, 4, 4)},
    ),
    ("pad_conv_opset11", FOLDED, {"opset": 11}),
    ("pad_conv_auto_pad_same", {}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("pad_conv_value", STAYS, {"value": 1.5}),
    ("pad_conv_tiny_value", STAYS, {"value": 1e-3}),
    ("pad_conv_reflect", STAYS, {"mode": "reflect"}),
    ("pad_conv_edge", STAYS, {"mode": "edge"}),
    ("pad_conv_wrap", STAYS, {"mode": "wrap", "opset": 19}),
    ("pad_conv_negative", {}, {"pads": (0, 0, -1, 0, 0, 0, 0, -1)}),
    ("pad_conv_one_negative", {}, {"pads": (0, 0, -1, 2, 0, 0, 1, 1)}),
    ("pad_conv_batch", STAYS, {"pads": (1, 0, 1, 1, 0, 0, 1, 1)}),
    ("pad_conv_channel", STAYS, {"pads": (0, 0, 1, 1, 0, 1, 1, 1), "weight": (4, 4, 3, 3)}),
    ("pad_conv_infinity", STAYS, {"value": np.inf}),
    ("pad_conv_transpose", left(Pad=1, ConvTranspose=1), {"op": "ConvTranspose", "weight": (3, 4, 3, 3)}),
]
for name, expect, settings in CONVS:
    finite = settings.get("value") != np.inf
    cases.put(name, partial(_pad_conv, **settings), expect, finite=finite)


@cases.add(FOLDED)
def pad_conv_that_pads() -> onnx.ModelProto:
    net = Net()
    y = _pad(net, net.input(), AROUND)
    return net.model(net.conv(y, (4, 3, 3, 3), pads=[2, 0, 1, 1], strides=[2, 2], dilations=[2, 1]))


@cases.add(FOLDED)
def pad_pad_conv() -> onnx.ModelProto:
    net = Net()
    y = _pad(net, net.input(), AROUND)
    y = net.op("Pad", net.op("Identity", y), ints(0, 0, 0, 1, 0, 0, 2, 0))
    return net.model(net.conv(y, (4, 3, 3, 3)))


@cases.add(FOLDED)
def pad_conv_weight_at_run_time() -> onnx.ModelProto:
    """Padding concerns the input alone: the weights may be anything."""
    net = Net()
    y = _pad(net, net.input(), AROUND)
    return net.model(net.op("Conv", y, net.input("kernel", (4, 3, 3, 3))))


def _pad_axes(*axes: int) -> onnx.ModelProto:
    net = Net()
    y = net.op("Pad", net.input(), ints(1, 2, 0, 1), None, ints(*axes))
    return net.model(net.conv(y, (4, 3, 3, 3)), opset=18)


cases.put("pad_axes_conv", partial(_pad_axes, 2, 3), FOLDED)
cases.put("pad_negative_axes_conv", partial(_pad_axes, -1, -2), FOLDED)


@cases.add(STAYS)
def pad_channel_axes_conv() -> onnx.ModelProto:
    net = Net()
    y = net.op("Pad", net.input(), ints(1, 2, 0, 0), net.array(0), ints(1, 3))
    return net.model(net.conv(y, (4, 4, 3, 3)), opset=18)


@cases.add(FOLDED)
def pad_attribute_conv() -> onnx.ModelProto:
    """Before opset 11 the pads are an attribute."""
    net = Net()
    y = net.op("Pad", net.input(), pads=list(AROUND), mode="constant", value=0.0)
    return net.model(net.conv(y, (4, 3, 3, 3), bias=True), opset=10)


@cases.add(STAYS)
def pad_attribute_value_conv() -> onnx.ModelProto:
    net = Net()
    y = net.op("Pad", net.input(), pads=list(AROUND), value=2.0)
    return net.model(net.conv(y, (4, 3, 3, 3), bias=True), opset=9)


def _run_time_feeds(rng: np.random.Generator) -> Feeds:
    x = rng.standard_normal((1, 3, 8, 8)).astype(np.float32)
    return {"x": x, "pads": ints(*AROUND), "value": np.array(0.5, np.float32)}


def _without(name: str, rng: np.random.Generator) -> Feeds:
    return {key: value for key, value in _run_time_feeds(rng).items() if key != name}


@cases.add(STAYS, make_feeds=partial(_without, "value"))
def pads_at_run_time() -> onnx.ModelProto:
    net = Net()
    y = net.op("Pad", net.input(), net.input("pads", (8,), np.int64))
    return net.model(net.tell(net.conv(y, (4, 3, 3, 3)), (None, 4, None, None)))


@cases.add(STAYS, make_feeds=partial(_without, "pads"))
def pad_value_at_run_time() -> onnx.ModelProto:
    net = Net()
    y = net.op("Pad", net.input(), ints(*AROUND), net.input("value", ()))
    return net.model(net.conv(y, (4, 3, 3, 3)))


@cases.add(STAYS)
def pads_overridable() -> onnx.ModelProto:
    net = Net()
    y = net.op("Pad", net.input(shape=("N", 3, "H", "W")), net.const(ints(*AROUND), "pads"))
    y = net.conv(y, (4, 3, 3, 3))
    return net.model(net.tell(y, ("N", 4, None, None)), ir=9, listed=["pads"])


@cases.add(STAYS)
def pad_is_the_weight() -> onnx.ModelProto:
    net = Net()
    return net.model(net.op("Conv", net.input(), _pad(net, net.input("kernel", (4, 3, 1, 1)), AROUND)))


@cases.add(STAYS)
def pad_is_output() -> onnx.ModelProto:
    net = Net()
    y = _pad(net, net.input(), AROUND)
    return net.model(net.conv(y, (4, 3, 3, 3)), y)


@cases.add(could(Pad=0))
def pad_two_convs() -> onnx.ModelProto:
    net = Net()
    y = _pad(net, net.input(), AROUND)
    return net.model(net.conv(y, (4, 3, 3, 3)), net.conv(y, (2, 3, 1, 1)))


@cases.add(left(Pad=1, Conv=1, Relu=1))
def pad_conv_second_reader() -> onnx.ModelProto:
    net = Net()
    y = _pad(net, net.input(), AROUND)
    return net.model(net.conv(y, (4, 3, 3, 3)), net.op("Relu", y))


def _pad_pool(op: str, value: float | None = None, relu: bool = False, **attrs: Any) -> onnx.ModelProto:
    net = Net()
    x = net.op("Relu", net.input()) if relu else net.input()
    y = _pad(net, x, (0, 0, 1, 1, 0, 0, 1, 1), value)
    return net.model(net.op(op, y, kernel_shape=[3, 3], strides=[2, 2], **attrs))


WITH_PADS: dict[str, Any] = {"count_include_pad": 1}
for name, expect, build in [
    ("pad_max_pool_zero", left(Pad=1, MaxPool=1), partial(_pad_pool, "MaxPool")),
    ("pad_max_pool_infinity", could(Pad=0), partial(_pad_pool, "MaxPool", -np.inf)),
    ("pad_max_pool_lowest", could(Pad=0), partial(_pad_pool, "MaxPool", LOWEST)),
    ("pad_max_pool_of_relu", could(Pad=0), partial(_pad_pool, "MaxPool", relu=True)),
    ("pad_max_pool_ceil", left(Pad=1), partial(_pad_pool, "MaxPool", ceil_mode=1)),
    ("pad_average_pool", could(Pad=0), partial(_pad_pool, "AveragePool")),
    ("pad_average_pool_counted", could(Pad=0), partial(_pad_pool, "AveragePool", **WITH_PADS)),
    ("pad_average_pool_value", left(Pad=1), partial(_pad_pool, "AveragePool", 1.0, **WITH_PADS)),
    ("pad_average_pool_padded", left(Pad=1), partial(_pad_pool, "AveragePool", pads=[1] * 4)),
    ("pad_average_pool_padded_counted", {}, partial(_pad_pool, "AveragePool", pads=[1] * 4, **WITH_PADS)),
    ("pad_average_pool_ceil", {}, partial(_pad_pool, "AveragePool", ceil_mode=1, **WITH_PADS)),
    ("pad_average_pool_auto_pad", {}, partial(_pad_pool, "AveragePool", auto_pad="SAME_UPPER")),
]:
    cases.put(name, build, expect)


def _auto_pad(auto_pad: str, op: str = "Conv", shape: tuple[Any, ...] = (1, 3, 7, 8)) -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(shape=shape), (3, 3, 3, 2), op=op, auto_pad=auto_pad, strides=[2, 2])
    return net.model(net.op("Relu", y))


cases.put("conv_same_upper", partial(_auto_pad, "SAME_UPPER"))
cases.put("conv_same_lower", partial(_auto_pad, "SAME_LOWER"))
cases.put("conv_same_upper_dynamic", partial(_auto_pad, "SAME_UPPER", shape=("N", 3, "H", "W")))
cases.put("conv_transpose_same_upper", partial(_auto_pad, "SAME_UPPER", "ConvTranspose"))
