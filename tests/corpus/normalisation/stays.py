"""BatchNormalization that has to stay, or whose neighbours make folding it a trap."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx

from tests.corpus._case import Catalogue, folds, left, stays
from tests.corpus._net import Net

cases = Catalogue()
READ_ELSEWHERE = "read|reader|output|consumer|use"
RUN_TIME = "run time|runtime|constant|overrid|initiali|input"


@cases.add(stays("nothing|produc|absorb|input|before"))
def bn_lone() -> onnx.ModelProto:
    net = Net()
    return net.model(net.bn(net.input(), 3))


@cases.add(stays())
def bn_after_relu() -> onnx.ModelProto:
    net = Net()
    return net.model(net.bn(net.op("Relu", net.conv(net.input(), (4, 3, 3, 3))), 4))


@cases.add(stays())
def bn_after_residual_add() -> onnx.ModelProto:
    net = Net()
    x = net.input()
    y = net.op("Add", net.conv(x, (4, 3, 1, 1)), net.conv(x, (4, 3, 1, 1), bias=True))
    return net.model(net.bn(y, 4))


TRAINING: tuple[str, ...] = ("y", "running_mean", "running_var")
TRAINING_BEFORE_14: tuple[str, ...] = ("y", "mean", "var", "saved_mean", "saved_var")


def _training(opset: int, names: tuple[str, ...], used: int, **attrs: int) -> onnx.ModelProto:
    """Normalise by the statistics of the batch; of the outputs `names` the first `used` leave the graph."""
    net = Net()
    y = net.conv(net.input(shape=(4, 3, 8, 8)), (4, 3, 3, 3))
    net.node("BatchNormalization", [y, *net.bn_parameters(4, "bn")], names, name="bn", **attrs)
    shapes = [(4, 4, 6, 6), *[(4,)] * 4]
    return net.model(*map(net.tell, names[:used], shapes), opset=opset)


for name, settings in {
    "bn_training_mode_opset14": (14, TRAINING, 1),
    "bn_training_mode_opset15": (15, TRAINING, 1),
    "bn_training_mode_outputs_used": (15, TRAINING, 3),
}.items():
    cases.put(name, partial(_training, *settings, training_mode=1), stays("training", Conv=1))
# Before opset 14 five outputs select training, read or not: onnxruntime uses the statistics of the batch.
for name, settings in {
    "bn_opset7_training_outputs_unused": (7, TRAINING_BEFORE_14, 1),
    "bn_opset9_training_outputs_unused": (9, TRAINING_BEFORE_14, 1),
    "bn_opset9_training_outputs_used": (9, TRAINING_BEFORE_14, 5),
}.items():
    cases.put(name, partial(_training, *settings), stays("training|output|statistic", Conv=1))


@cases.add(stays("spatial", Conv=1))
def bn_not_spatial() -> onnx.ModelProto:
    """Opset 7 with spatial=0: one scale per element, here (4, 6, 6)."""
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    parameters = [net.random(4, 6, 6, low=0.5) for _ in range(4)]
    return net.model(net.op("BatchNormalization", y, *parameters, spatial=0), opset=7)


@cases.add(stays(RUN_TIME, Conv=1))
def bn_statistics_at_run_time() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    scale, bias, _, var = net.bn_parameters(4, "bn")
    mean = net.op("ReduceMean", y, axes=[0, 2, 3], keepdims=0)
    return net.model(net.op("BatchNormalization", y, scale, bias, mean, var))


@cases.add(stays(RUN_TIME, Conv=1))
def bn_scale_is_an_input() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    scale = net.input("scale", (4,))
    return net.model(net.op("BatchNormalization", y, scale, *net.bn_parameters(4, "bn")[1:]))


@cases.add(stays(RUN_TIME, Conv=1))
def conv_weight_is_an_input_bn() -> onnx.ModelProto:
    net = Net()
    y = net.op("Conv", net.input(), net.input("kernel", (4, 3, 3, 3)))
    return net.model(net.bn(y, 4))


def _overridable(*names: str) -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3), bias=True, name="conv")
    return net.model(net.bn(y, 4, name="bn"), ir=9, listed=names)


PARAMETERS = ("bn.scale", "bn.bias", "bn.mean", "bn.var", "conv.weight", "conv.bias")
for name in PARAMETERS:
    cases.put(f"overridable_{name.replace('.', '_')}", partial(_overridable, name), stays(RUN_TIME, Conv=1))
cases.put("overridable_all", partial(_overridable, *PARAMETERS), stays(RUN_TIME, Conv=1))


@cases.add(stays(RUN_TIME, Conv=1))
def identity_of_overridable() -> onnx.ModelProto:
    """The scale is an Identity of an initializer that the caller may replace."""
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    scale, *rest = net.bn_parameters(4, "bn")
    y = net.op("BatchNormalization", y, net.op("Identity", scale), *rest)
    return net.model(y, ir=9, listed=["bn.scale"])


@cases.add(stays(READ_ELSEWHERE, Conv=1))
def conv_second_reader_bn() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    return net.model(net.bn(y, 4), net.op("Relu", y))


@cases.add(stays(READ_ELSEWHERE, Conv=1))
def conv_is_output_before_bn() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    return net.model(net.bn(y, 4), y)


@cases.add(stays(READ_ELSEWHERE, Conv=1))
def identity_of_conv_is_output_before_bn() -> onnx.ModelProto:
    """The second reader hides behind an Identity that makes a graph output."""
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    return net.model(net.op("Identity", y), net.bn(net.op("Identity", y), 4))


@cases.add(stays(READ_ELSEWHERE, Conv=1, If=1))
def conv_read_by_a_branch_before_bn() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    z = net.bn(y, 4)
    then, other = net.body(), net.body()
    condition = net.input("condition", (), np.bool_)
    branches = {
        "then_branch": then.graph(then.op("Relu", y)),
        "else_branch": other.graph(other.op("Neg", z)),
    }
    return net.model(net.tell(net.op("If", condition, **branches), (1, 4, 6, 6)))


@cases.add(stays(Conv=1, If=1))
def conv_outside_bn_inside_a_branch() -> onnx.ModelProto:
    """Only one branch normalises what the Conv gives."""
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    then, other = net.body(), net.body()
    condition = net.input("condition", (), np.bool_)
    branches = {
        "then_branch": then.graph(then.bn(y, 4)),
        "else_branch": other.graph(other.op("Neg", y)),
    }
    return net.model(net.tell(net.op("If", condition, **branches), (1, 4, 6, 6)))


@cases.add(left(Conv=2, If=1))
def conv_bn_inside_a_branch() -> onnx.ModelProto:
    """Both branches use one outer weight; only one normalises."""
    net = Net()
    x, weight = net.input(), net.random(4, 3, 3, 3)
    condition = net.input("condition", (), np.bool_)
    then, other = net.body(), net.body()
    branches = {
        "then_branch": then.graph(then.bn(then.conv(x, (4, 3, 3, 3), weight=weight), 4)),
        "else_branch": other.graph(other.conv(x, (4, 3, 3, 3), weight=weight)),
    }
    return net.model(net.tell(net.op("If", condition, **branches), (1, 4, 6, 6)))


def _matmul_rank3(length: int) -> onnx.ModelProto:
    net = Net()
    y = net.op("MatMul", net.input(shape=(2, length, 5)), net.random(5, 4))
    return net.model(net.bn(net.op("Add", y, net.random(4)), length))


# BatchNormalization works on axis 1, the weight's columns are axis 2.
cases.put("matmul_rank3_bn", partial(_matmul_rank3, 3), stays())
cases.put("matmul_rank3_bn_sizes_agree", partial(_matmul_rank3, 4), stays())


@cases.add(stays(Conv=1, Transpose=1))
def conv_transposed_bn() -> onnx.ModelProto:
    """After the Transpose axis 1 is the height, of the same size as the channels."""
    net = Net()
    y = net.conv(net.input(shape=(1, 3, 4, 8)), (4, 3, 1, 1))
    return net.model(net.bn(net.op("Transpose", y, perm=[0, 2, 3, 1]), 4))


@cases.add(stays(Conv=1, DequantizeLinear=1))
def quantized_weight_conv_bn() -> onnx.ModelProto:
    """The weight is int8 behind a DequantizeLinear: folding would undo the quantization."""
    net = Net()
    integers = net.const(net.rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8))
    scale = net.const(np.full(4, 0.01, np.float32))
    weight = net.op("DequantizeLinear", integers, scale, net.const(np.zeros(4, np.int8)), axis=0)
    return net.model(net.bn(net.op("Conv", net.input(), weight), 4))


def _mixed(opset: int, data: type, affine: type, statistics: type) -> onnx.ModelProto:
    net = Net(dtype=data)
    y = net.conv(net.input(), (4, 3, 3, 3))
    parameters: list[np.ndarray] = [np.array([1.5, 0.5, -1, 2], affine)] * 2
    parameters += [np.array([0.5, 0.25, 1, 2], statistics)] * 2
    return net.model(net.op("BatchNormalization", y, *parameters), opset=opset)


for name, opset, types in [
    ("bn_mixed_opset14_fp16_fp32", 14, (np.float16, np.float16, np.float32)),
    ("bn_mixed_opset15_fp16_fp32", 15, (np.float16, np.float32, np.float32)),
    ("bn_mixed_opset15_fp16_fp16_fp32", 15, (np.float16, np.float16, np.float32)),
]:
    cases.put(name, partial(_mixed, opset, *types), folds(Conv=1))
# Valid, but onnxruntime has no kernel for it.
cases.put(
    "bn_mixed_opset15_fp32_double",
    partial(_mixed, 15, np.float32, np.float32, np.float64),
    folds(Conv=1),
    runs=False,
)


@cases.add(left(Conv=2, Scramble=1), runs=False)
def custom_op_between_conv_and_bn() -> onnx.ModelProto:
    net = Net()
    y = net.op("Scramble", net.conv(net.input(), (4, 3, 3, 3)), domain="corpus.custom", name="custom")
    y = net.conv(net.op("Relu", net.bn(y, 4)), (2, 4, 1, 1))
    return net.model(net.tell(y, (1, 2, 6, 6)), domains=["corpus.custom"])


@cases.add(left(BatchNormalization=1, Conv=1), runs=False)
def custom_op_of_the_same_name() -> onnx.ModelProto:
    """A BatchNormalization of another domain is not ours to fold."""
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    y = net.op("BatchNormalization", y, *net.bn_parameters(4, "bn"), domain="corpus.custom", name="custom")
    return net.model(net.tell(y, (1, 4, 6, 6)), domains=["corpus.custom"])
