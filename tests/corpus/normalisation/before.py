"""BatchNormalization before a linear layer: exact without padding, and only there."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.corpus._case import Catalogue, folds, stays
from tests.corpus._net import Net

cases = Catalogue()
PADDED = "pad"
READ_ELSEWHERE = "read|reader|output|consumer|use"


def _bn_conv(
    weight: tuple[int, ...] = (4, 3, 3, 3),
    shape: tuple[Any, ...] = (1, 3, 8, 8),
    dtype: Any = np.float32,
    shift: bool = True,
    **layer: Any,
) -> onnx.ModelProto:
    net = Net(dtype=dtype)
    y = net.bn(net.input(shape=shape), int(shape[1]), shift=shift)
    return net.model(net.conv(y, weight, **layer))


PADS = [1, 1, 1, 1]
CONVS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("bn_conv", folds(Conv=1), {}),
    ("bn_conv_bias", folds(Conv=1), {"bias": True, "strides": [2, 2]}),
    ("bn_conv_dynamic", folds(Conv=1), {"shape": ("N", 3, "H", "W")}),
    ("bn_conv_fp16", folds(Conv=1), {"dtype": np.float16}),
    (
        "bn_grouped_conv",
        folds(Conv=1),
        {"weight": (6, 2, 3, 3), "shape": (1, 4, 8, 8), "group": 2, "bias": True},
    ),
    ("bn_depthwise_conv", folds(Conv=1), {"weight": (6, 1, 3, 3), "group": 3}),
    ("bn_conv1d", folds(Conv=1), {"weight": (4, 3, 3), "shape": (1, 3, 8)}),
    ("bn_conv_explicit_zero_pads", folds(Conv=1), {"pads": [0, 0, 0, 0]}),
    ("bn_conv_auto_pad_valid", folds(Conv=1), {"auto_pad": "VALID"}),
    ("bn_conv_padded", stays(PADDED, Conv=1), {"pads": PADS}),
    ("bn_conv_padded_one_side", stays(PADDED, Conv=1), {"pads": [0, 0, 0, 1], "bias": True}),
    ("bn_conv_auto_pad_same", stays(PADDED, Conv=1), {"auto_pad": "SAME_UPPER"}),
    ("bn_conv_auto_pad_same_lower", stays(PADDED, Conv=1), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("bn_conv_padded_zero_shift", folds(Conv=1), {"pads": PADS, "shift": False}),
    # Each output pixel of a ConvTranspose sees other taps, so a shift is no constant per channel.
    ("bn_conv_transpose", stays(ConvTranspose=1), {"op": "ConvTranspose", "weight": (3, 4, 3, 3)}),
]
for name, expect, settings in CONVS:
    cases.put(name, partial(_bn_conv, **settings), expect)


def _bn_gemm(
    weight: tuple[int, int] = (5, 4), shape: tuple[int, int] = (3, 5), **layer: Any
) -> onnx.ModelProto:
    net = Net()
    return net.model(net.gemm(net.bn(net.input(shape=shape), shape[1]), weight, **layer))


GEMMS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("bn_gemm", folds(Gemm=1), {"bias": (4,)}),
    ("bn_gemm_no_bias", folds(Gemm=1), {"alpha": 2.0, "beta": 0.5}),
    ("bn_gemm_scalar_bias", folds(Gemm=1), {"bias": ()}),
    ("bn_gemm_trans_b", folds(Gemm=1), {"weight": (4, 5), "transB": 1, "bias": (4,)}),
    ("bn_gemm_square", folds(Gemm=1), {"weight": (5, 5), "bias": (5,), "alpha": 0.5, "beta": 2.0}),
    ("bn_gemm_square_trans_b", folds(Gemm=1), {"weight": (5, 5), "bias": (5,), "transB": 1}),
    # With transA the channels are the rows of the product: no weight can absorb their scale.
    ("bn_gemm_trans_a", stays("transA|transposed", Gemm=1), {"shape": (5, 3), "transA": 1}),
    ("bn_gemm_trans_a_square", stays("transA|transposed", Gemm=1), {"shape": (5, 5), "transA": 1}),
]
for name, expect, settings in GEMMS:
    cases.put(name, partial(_bn_gemm, **settings), expect)
cases.put("bn_gemm_bias_per_row", partial(_bn_gemm, bias=(3, 1)))


@cases.add(folds())
def bn_matmul() -> onnx.ModelProto:
    net = Net()
    return net.model(net.op("MatMul", net.bn(net.input(shape=(3, 5)), 5), net.random(5, 4)))


@cases.add(folds())
def bn_matmul_add() -> onnx.ModelProto:
    net = Net()
    y = net.op("MatMul", net.bn(net.input(shape=("N", 5)), 5), net.random(5, 4))
    return net.model(net.op("Add", y, net.random(4)))


@cases.add(stays(MatMul=1))
def bn_matmul_rank3() -> onnx.ModelProto:
    """The channels are axis 1, the contraction runs over axis 2; the sizes agree by chance."""
    net = Net()
    return net.model(net.op("MatMul", net.bn(net.input(shape=(2, 5, 5)), 5), net.random(5, 4)))


@cases.add(folds(Conv=2))
def conv_bn_conv() -> onnx.ModelProto:
    net = Net()
    y = net.bn(net.conv(net.input(), (4, 3, 3, 3)), 4)
    return net.model(net.conv(y, (2, 4, 3, 3), pads=PADS))


@cases.add(folds(Conv=1))
def bn_conv_bn() -> onnx.ModelProto:
    net = Net()
    return net.model(net.bn(net.conv(net.bn(net.input(), 3), (4, 3, 3, 3)), 4))


@cases.add(stays(READ_ELSEWHERE, Conv=1, Relu=1))
def bn_conv_second_reader() -> onnx.ModelProto:
    net = Net()
    y = net.bn(net.input(), 3)
    return net.model(net.conv(y, (4, 3, 3, 3)), net.op("Relu", y))


@cases.add(stays(READ_ELSEWHERE, Conv=1))
def bn_conv_bn_is_output() -> onnx.ModelProto:
    net = Net()
    y = net.bn(net.input(), 3)
    return net.model(net.conv(y, (4, 3, 3, 3)), y)


@cases.add()
def bn_two_convs() -> onnx.ModelProto:
    """Folding into both readers is exact; leaving it is allowed."""
    net = Net()
    y = net.bn(net.input(), 3)
    return net.model(net.conv(y, (4, 3, 3, 3)), net.conv(y, (2, 3, 1, 1), bias=True))


@cases.add()
def bn_shared_weight_conv() -> onnx.ModelProto:
    """One weight, scaled over its inputs for one Conv and used as it is by another."""
    net = Net()
    x, weight = net.input(), net.random(4, 3, 3, 3)
    plain = net.conv(x, (4, 3, 3, 3), weight=weight)
    return net.model(net.conv(net.bn(x, 3), (4, 3, 3, 3), weight=weight), plain)


@cases.add(stays(Conv=1))
def bn_reshaped_conv() -> onnx.ModelProto:
    """Between the two the channels move: (1, 4, 8, 8) becomes (1, 2, 16, 8)."""
    net = Net()
    y = net.op("Reshape", net.bn(net.input(shape=(1, 4, 8, 8)), 4), np.array([1, 2, 16, 8]))
    return net.model(net.conv(y, (4, 2, 3, 3)))


@cases.add(stays(Conv=1))
def bn_is_the_weight() -> onnx.ModelProto:
    """The Conv reads the BatchNormalization as its weight, not as its input."""
    net = Net()
    kernel = net.bn(net.input("kernel", (4, 3, 3, 3)), 3)
    return net.model(net.op("Conv", net.input(), kernel))


@cases.add()
def bn_pool_flatten_gemm() -> onnx.ModelProto:
    net = Net()
    y = net.bn(net.op("Relu", net.conv(net.input(), (4, 3, 3, 3))), 4)
    y = net.op("Flatten", net.op("GlobalAveragePool", y))
    return net.model(net.gemm(y, (4, 5), bias=(5,)))


@cases.add()
def bn_flatten_gemm() -> onnx.ModelProto:
    """Each channel becomes 4 columns of the Gemm."""
    net = Net()
    y = net.op("Flatten", net.bn(net.input(shape=(2, 3, 2, 2)), 3))
    return net.model(net.gemm(y, (12, 5), bias=(5,)))
