"""BatchNormalization after a linear layer: what folds, in all its spellings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.corpus._case import Catalogue, folds, left
from tests.corpus._net import Net

cases = Catalogue()


def _conv_bn(
    weight: tuple[int, ...] = (4, 3, 3, 3),
    shape: tuple[Any, ...] = (1, 3, 8, 8),
    channels: int = 4,
    opset: int = 17,
    dtype: Any = np.float32,
    bn: dict[str, Any] | None = None,
    **layer: Any,
) -> onnx.ModelProto:
    net = Net(dtype=dtype)
    y = net.conv(net.input(shape=shape), weight, **layer)
    return net.model(net.bn(y, channels, **(bn or {})), opset=opset)


def _family(op: str, build: Callable[..., onnx.ModelProto], members: dict[str, dict[str, Any]]) -> None:
    for name, settings in members.items():
        cases.put(name, partial(build, **settings), folds(**{op: 1}))


_family(
    "Conv",
    _conv_bn,
    {
        "conv_bn": {},
        "conv_bias_bn": {"bias": True},
        "conv_padded_strided_bn": {"pads": [1, 1, 1, 1], "strides": [2, 2], "dilations": [2, 2]},
        "conv_dynamic_bn": {"shape": ("N", 3, "H", "W")},
        "conv_unknown_rank_bn": {"shape": ("N", None, None, None), "weight": (4, 2, 1, 1)},
        "grouped_conv_bn": {
            "weight": (6, 2, 3, 3),
            "shape": (1, 4, 8, 8),
            "channels": 6,
            "group": 2,
            "bias": True,
        },
        "depthwise_conv_bn": {"weight": (3, 1, 3, 3), "channels": 3, "group": 3},
        "depthwise_multiplier_conv_bn": {"weight": (6, 1, 3, 3), "channels": 6, "group": 3, "bias": True},
        "conv1d_bn": {"weight": (4, 3, 3), "shape": (2, 3, 8), "bias": True},
        "conv3d_bn": {"weight": (4, 3, 2, 2, 2), "shape": (1, 3, 4, 4, 4)},
        "conv_bn_large_epsilon": {"bn": {"epsilon": 0.1, "momentum": 0.5}},
        "conv_bn_fp16": {"dtype": np.float16, "bias": True},
        "conv_bn_opset7": {"opset": 7, "bias": True},
        "conv_bn_opset8_spatial": {"opset": 8, "bn": {"spatial": 1}},
        "conv_bn_opset9": {"opset": 9},
        "conv_bn_opset14": {"opset": 14, "bn": {"training_mode": 0}},
        "conv_bn_opset15": {"opset": 15},
        "conv_bn_opset22": {"opset": 22},
    },
)
cases.put("conv_bn_double", partial(_conv_bn, dtype=np.float64), folds(Conv=1), runs=False)
_family(
    "ConvTranspose",
    partial(_conv_bn, op="ConvTranspose"),
    {
        "conv_transpose_bn": {"weight": (3, 4, 3, 3)},
        "conv_transpose_bias_bn": {"weight": (3, 4, 2, 2), "bias": True, "strides": [2, 2]},
        "conv_transpose_output_padding_bn": {
            "weight": (3, 4, 3, 3),
            "strides": [2, 2],
            "pads": [1, 1, 1, 1],
            "output_padding": [1, 1],
        },
        "conv_transpose_square_bn": {"weight": (4, 4, 3, 3), "shape": (1, 4, 8, 8), "bias": True},
        "grouped_conv_transpose_bn": {
            "weight": (4, 3, 3, 3),
            "shape": (1, 4, 8, 8),
            "channels": 6,
            "group": 2,
            "bias": True,
        },
        "depthwise_conv_transpose_bn": {"weight": (3, 1, 2, 2), "channels": 3, "group": 3},
    },
)


def _gemm_bn(
    weight: tuple[int, int] = (5, 4), shape: tuple[int, int] = (3, 5), **layer: Any
) -> onnx.ModelProto:
    net = Net()
    return net.model(net.bn(net.gemm(net.input(shape=shape), weight, **layer), 4))


_family(
    "Gemm",
    _gemm_bn,
    {
        "gemm_bn": {"bias": (4,)},
        "gemm_no_bias_bn": {},
        "gemm_no_bias_beta_bn": {"beta": 0.5, "alpha": 2.0},
        "gemm_alpha_beta_bn": {"bias": (4,), "alpha": 0.5, "beta": 2.0},
        "gemm_beta_zero_bn": {"bias": (4,), "beta": 0.0},
        "gemm_trans_b_bn": {"weight": (4, 5), "bias": (4,), "transB": 1},
        "gemm_trans_b_square_bn": {
            "weight": (4, 4),
            "shape": (3, 4),
            "bias": (4,),
            "transB": 1,
            "alpha": 0.5,
        },
        "gemm_trans_a_bn": {"shape": (5, 3), "bias": (4,), "transA": 1},
        "gemm_scalar_bias_bn": {"bias": (), "beta": 0.5},
        "gemm_one_bias_bn": {"bias": (1,)},
        "gemm_one_by_one_bias_bn": {"bias": (1, 1)},
        "gemm_bias_row_vector_bn": {"bias": (1, 4)},
    },
)
# A bias that differs from row to row may be absorbed or refused: only the numbers are beyond doubt.
cases.put("gemm_bias_per_row_bn", partial(_gemm_bn, bias=(3, 1)))
cases.put("gemm_bias_per_element_bn", partial(_gemm_bn, bias=(3, 4)))
cases.put("gemm_square_bias_per_row_bn", partial(_gemm_bn, shape=(4, 5), bias=(4, 1)))


@cases.add(folds())
def matmul_add_bn() -> onnx.ModelProto:
    net = Net()
    y = net.op("MatMul", net.input(shape=(3, 5)), net.random(5, 4))
    return net.model(net.bn(net.op("Add", y, net.random(4)), 4))


@cases.add(folds())
def add_matmul_bn() -> onnx.ModelProto:
    """The bias is the first operand of the Add."""
    net = Net()
    y = net.op("MatMul", net.input(shape=("N", 5)), net.random(5, 4))
    return net.model(net.bn(net.op("Add", net.random(1, 4), y), 4))


@cases.add(left(Conv=1, BatchNormalization=0))
def conv_bn_bn() -> onnx.ModelProto:
    net = Net()
    return net.model(net.bn(net.bn(net.conv(net.input(), (4, 3, 3, 3)), 4), 4))


@cases.add(folds(Conv=2))
def shared_weight_conv_bn() -> onnx.ModelProto:
    net = Net()
    x, weight = net.input(), net.random(4, 3, 3, 3)
    ys = [net.bn(net.conv(x, (4, 3, 3, 3), weight=weight), 4) for _ in range(2)]
    return net.model(*ys)


@cases.add(folds(Conv=2))
def shared_weight_one_without_bn() -> onnx.ModelProto:
    net = Net()
    x, weight = net.input(), net.random(4, 3, 3, 3)
    plain = net.conv(x, (4, 3, 3, 3), weight=weight)
    return net.model(plain, net.bn(net.conv(x, (4, 3, 3, 3), weight=weight, pads=[1] * 4), 4))


@cases.add(folds(Conv=2))
def shared_bias_and_statistics_conv_bn() -> onnx.ModelProto:
    net = Net()
    x, bias, parameters = net.input(), net.random(4), net.bn_parameters(4, "bn")
    layers = [net.op("Conv", x, net.random(4, 3, 3, 3), bias) for _ in range(2)]
    return net.model(*(net.op("BatchNormalization", y, *parameters) for y in layers))


@cases.add(folds(Conv=1))
def one_tensor_for_all_parameters() -> onnx.ModelProto:
    """Scale, bias, mean, variance and the bias of the Conv are one initializer."""
    net = Net()
    values = net.random(4, low=0.5, high=2.0)
    y = net.op("Conv", net.input(), net.random(4, 3, 1, 1), values)
    return net.model(net.op("BatchNormalization", y, values, values, values, values))


@cases.add(folds(Conv=1))
def weight_is_also_an_output() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3), name="conv")
    return net.model(net.bn(y, 4), "conv.weight")


@cases.add(folds(Conv=1))
def constant_node_parameters() -> onnx.ModelProto:
    net = Net()
    arrays = [net.rng.uniform(0.5, 2, shape).astype(np.float32) for shape in [(4, 3, 3, 3), *[(4,)] * 4]]
    weight, *parameters = (net.op("Constant", value=array) for array in arrays)
    return net.model(net.op("BatchNormalization", net.op("Conv", net.input(), weight), *parameters))


@cases.add(folds(Conv=1, Identity=0))
def identity_of_weights() -> onnx.ModelProto:
    net = Net()
    weight = net.op("Identity", net.op("Identity", net.random(4, 3, 3, 3)))
    parameters = [net.op("Identity", p) for p in net.bn_parameters(4, "bn")]
    return net.model(net.op("BatchNormalization", net.op("Conv", net.input(), weight), *parameters))


@cases.add(folds(Conv=1, Cast=0, Transpose=0))
def weights_stored_in_fp16_and_transposed() -> onnx.ModelProto:
    """The weight is Transpose(Cast(fp16 initializer)): constant only once that is folded."""
    net = Net()
    half = net.const(net.rng.uniform(-1, 1, (3, 3, 3, 4)).astype(np.float16))
    weight = net.op("Transpose", net.op("Cast", half, to=onnx.TensorProto.FLOAT), perm=[3, 2, 0, 1])
    return net.model(net.bn(net.op("Conv", net.input(), weight), 4))


@cases.add(folds(Conv=1, Identity=0, Dropout=0))
def conv_identity_dropout_bn() -> onnx.ModelProto:
    net = Net()
    y = net.op("Dropout", net.op("Identity", net.conv(net.input(), (4, 3, 3, 3))))
    return net.model(net.bn(y, 4))


@cases.add(folds(Conv=1))
def degenerate_statistics() -> onnx.ModelProto:
    """Dead channels: scale 0, variance 0, and a variance far below epsilon."""
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3), bias=True)
    scale, bias, mean, var = ([0, 1, 1, -2], [0.5, 0, 1, 0], [3, 0.25, 0, 0], [1, 0, 1e-12, 4])
    parameters = (np.array(values, np.float32) for values in (scale, bias, mean, var))
    return net.model(net.op("BatchNormalization", y, *parameters))


@cases.add(folds(Conv=1))
def bn_absent_bias_input() -> onnx.ModelProto:
    """The Conv names its absent bias with an empty string."""
    net = Net()
    y = net.op("Conv", net.input(), net.random(4, 3, 3, 3), None)
    return net.model(net.bn(y, 4))


@cases.add(folds(Conv=1))
def ir3_listed_initializers() -> onnx.ModelProto:
    """IR 3 wants every initializer among the inputs: they are constants all the same."""
    net = Net()
    y = net.bn(net.conv(net.input(), (4, 3, 3, 3), bias=True), 4)
    return net.model(y, opset=9, ir=3, listed=net.initializers)


@cases.add(folds(Conv=1), runs=False)
def bn_unnamed_optional_outputs() -> onnx.ModelProto:
    """Outputs two to five, here absent under empty names: valid, and onnxruntime 1.31 crashes on it."""
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    net.node("BatchNormalization", [y, *net.bn_parameters(4, "bn")], ["y", "", "", "", ""], name="bn")
    return net.model("y", opset=9)


@cases.add(left(BatchNormalization=1, Conv=2))
def one_of_two_bn_folds() -> onnx.ModelProto:
    """The second BatchNormalization reads a Relu."""
    net = Net()
    y = net.bn(net.conv(net.input(), (4, 3, 3, 3)), 4)
    y = net.bn(net.op("Relu", y), 4)
    return net.model(net.conv(net.op("Relu", y), (2, 4, 1, 1)))
