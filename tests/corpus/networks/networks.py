"""Small networks as whole: the situations that surgery on channels, types and signatures has to survive."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.corpus._case import Catalogue, Feeds, could, folds, left
from tests.corpus._net import Net, floats, ints

cases = Catalogue()
PADS: dict[str, Any] = {"pads": [1, 1, 1, 1]}


def block(net: Net, x: str, inputs: int, outputs: int, **attrs: Any) -> str:
    """Conv 3x3, BatchNormalization, Relu; the size of the image stays."""
    y = net.conv(x, (outputs, inputs // attrs.get("group", 1), 3, 3), **{**PADS, **attrs})
    return net.op("Relu", net.bn(y, outputs))


def head(net: Net, x: str, channels: int, classes: int = 5) -> str:
    """Global pooling and a classifier."""
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.gemm(pooled, (classes, channels), bias=(classes,), transB=1)


@cases.add(folds(Conv=3, Add=1))
def residual() -> onnx.ModelProto:
    net = Net()
    x = block(net, net.input(shape=("N", 3, 8, 8)), 3, 4)
    y = net.bn(net.conv(block(net, x, 4, 4), (4, 4, 3, 3), **PADS), 4)
    return net.model(head(net, net.op("Relu", net.op("Add", y, x)), 4))


@cases.add(folds(Conv=3))
def residual_projection() -> onnx.ModelProto:
    """The shortcut has a strided 1x1 Conv and BatchNormalization of its own."""
    net = Net()
    x = block(net, net.input(), 3, 4)
    y = net.bn(net.conv(x, (6, 4, 3, 3), strides=[2, 2], **PADS), 6)
    shortcut = net.bn(net.conv(x, (6, 4, 1, 1), strides=[2, 2]), 6)
    return net.model(head(net, net.op("Add", shortcut, y), 6))


@cases.add(folds(Conv=3, Concat=1))
def concat() -> onnx.ModelProto:
    net = Net()
    x = block(net, net.input(), 3, 4)
    return net.model(head(net, block(net, net.op("Concat", x, block(net, x, 4, 2), axis=1), 6, 4), 4))


@cases.add(left(BatchNormalization=1))
def dense_concat() -> onnx.ModelProto:
    """The BatchNormalization reads a Concat, as in a densely connected block."""
    net = Net()
    x = net.input()
    joined = net.op("Concat", x, net.conv(x, (4, 3, 3, 3), **PADS), axis=1)
    return net.model(net.conv(net.op("Relu", net.bn(joined, 7)), (4, 7, 1, 1)))


@cases.add(folds(Conv=2, Transpose=1, Reshape=2))
def channel_shuffle() -> onnx.ModelProto:
    net = Net()
    y = block(net, net.input(shape=(1, 4, 8, 8)), 4, 4, group=2)
    y = net.op("Transpose", net.op("Reshape", y, ints(1, 2, 2, 8, 8)), perm=[0, 2, 1, 3, 4])
    return net.model(block(net, net.op("Reshape", y, ints(1, 4, 8, 8)), 4, 4, group=2))


@cases.add(left(Split=1, Concat=1))
def split_and_concat() -> onnx.ModelProto:
    """One half of the channels goes past the Conv."""
    net = Net()
    kept, worked = net.many(2, "Split", block(net, net.input(), 3, 6), ints(2, 4), axis=1)
    return net.model(head(net, net.op("Concat", block(net, worked, 4, 4), kept, axis=1), 6))


@cases.add(folds(Conv=3, Mul=1, Sigmoid=1))
def squeeze_and_excite() -> onnx.ModelProto:
    net = Net()
    y = block(net, net.input(), 3, 8)
    gate = net.op("Relu", net.conv(net.op("GlobalAveragePool", y), (2, 8, 1, 1), bias=True))
    gate = net.op("Sigmoid", net.conv(gate, (8, 2, 1, 1), bias=True))
    return net.model(head(net, net.op("Mul", y, gate), 8))


@cases.add(folds(Conv=4))
def inverted_residual() -> onnx.ModelProto:
    """Expand 1x1, depthwise 3x3, project 1x1, with Relu6 by Clip."""
    net = Net()
    x = block(net, net.input(), 3, 4)
    y = net.op("Clip", net.bn(net.conv(x, (8, 4, 1, 1)), 8), net.array(0), net.array(6))
    y = net.op("Clip", net.bn(net.conv(y, (8, 1, 3, 3), group=8, **PADS), 8), net.array(0), net.array(6))
    return net.model(net.op("Add", x, net.bn(net.conv(y, (4, 8, 1, 1)), 4)))


def _depth_to_space(mode: str) -> onnx.ModelProto:
    net = Net()
    y = net.op("DepthToSpace", block(net, net.input(), 3, 12), blocksize=2, mode=mode)
    return net.model(net.conv(y, (2, 3, 3, 3)))


cases.put("depth_to_space", partial(_depth_to_space, "DCR"), folds(DepthToSpace=1))
cases.put("depth_to_space_column_first", partial(_depth_to_space, "CRD"), folds(DepthToSpace=1))


@cases.add(folds(SpaceToDepth=1))
def space_to_depth() -> onnx.ModelProto:
    net = Net()
    return net.model(block(net, net.op("SpaceToDepth", net.input(), blocksize=2), 12, 4))


@cases.add(folds(Conv=3))
def encoder_decoder() -> onnx.ModelProto:
    """Pooling, upsampling by ConvTranspose and by Resize, a skip connection by Concat."""
    net = Net()
    x = block(net, net.input(), 3, 4)
    low = block(net, net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), 4, 6)
    up = net.bn(net.conv(low, (6, 4, 2, 2), op="ConvTranspose", strides=[2, 2]), 4)
    wide = net.op("Resize", low, None, net.array(1, 1, 2, 2), mode="nearest")
    return net.model(net.conv(net.op("Concat", x, up, wide, axis=1), (2, 14, 1, 1)))


@cases.add(folds(Conv=2))
def two_inputs() -> onnx.ModelProto:
    net = Net()
    left_eye, right_eye = (block(net, net.input(name, (1, 3, 8, 8)), 3, 4) for name in ("left", "right"))
    return net.model(head(net, net.op("Sub", left_eye, right_eye), 4))


@cases.add(folds(Conv=4))
def three_outputs() -> onnx.ModelProto:
    net = Net()
    x = block(net, net.input(shape=("N", 3, "H", "W")), 3, 4)
    y = block(net, x, 4, 6, strides=[2, 2])
    return net.model(net.conv(x, (2, 4, 1, 1)), net.conv(y, (2, 6, 1, 1)), head(net, y, 6))


@cases.add(folds(Conv=1, Gemm=1, Reshape=1))
def batch_one_fixed() -> onnx.ModelProto:
    """The batch size is written into the Reshape before the classifier."""
    net = Net()
    y = net.op("MaxPool", block(net, net.input(), 3, 4), kernel_shape=[2, 2], strides=[2, 2])
    return net.model(net.gemm(net.op("Reshape", y, ints(1, 64)), (64, 5), bias=(5,)))


@cases.add(folds(Conv=1, Transpose=1))
def channels_last_input() -> onnx.ModelProto:
    net = Net()
    x = net.op("Transpose", net.input(shape=("N", 8, 8, 3)), perm=[0, 3, 1, 2])
    return net.model(head(net, block(net, x, 3, 4), 4))


@cases.add(folds(Conv=1, Cast=1))
def byte_input() -> onnx.ModelProto:
    net = Net()
    x = net.op("Cast", net.input(shape=(1, 3, 8, 8), dtype=np.uint8), to=onnx.TensorProto.FLOAT)
    x = net.op("Div", net.op("Sub", x, floats(128, 120, 110).reshape(3, 1, 1)), net.array(64))
    return net.model(block(net, x, 3, 4))


@cases.add(folds(Conv=1))
def classes_as_output() -> onnx.ModelProto:
    """Half precision inside, float at the border, the best class as an integer."""
    net = Net(dtype=np.float16)
    x = net.op("Cast", net.input(dtype=np.float32), to=onnx.TensorProto.FLOAT16)
    y = net.op("Cast", head(net, block(net, x, 3, 4), 4), to=onnx.TensorProto.FLOAT)
    return net.model(net.op("Softmax", y, axis=1), net.op("ArgMax", y, axis=1, keepdims=0))


@cases.add(folds(Conv=1, TopK=1))
def top_k() -> onnx.ModelProto:
    net = Net()
    scores = head(net, block(net, net.input(), 3, 4), 4)
    return net.model(*net.many(2, "TopK", scores, ints(3), axis=-1))


@cases.add(folds(Conv=2, NonMaxSuppression=1))
def detector() -> onnx.ModelProto:
    """Boxes and scores from two heads; the number of boxes left is known at run time only."""
    net = Net()
    x = block(net, net.input(), 3, 4, strides=[2, 2])
    y = net.conv(x, (5, 4, 1, 1), bias=True)
    rows = net.op("Transpose", net.op("Reshape", y, ints(1, 5, 16)), perm=[0, 2, 1])
    boxes = net.op("Slice", rows, ints(0), ints(4), ints(2))
    scores = net.op(
        "Sigmoid", net.op("Slice", net.op("Reshape", y, ints(1, 5, 16)), ints(4), ints(5), ints(1))
    )
    keep = net.op("NonMaxSuppression", boxes, scores, ints(4), net.array(0.5), net.array(0.1))
    return net.model(keep, scores, net.op("NonZero", net.op("Greater", scores, net.array(0.5))))


@cases.add(folds(Conv=1, LSTM=1))
def convolutional_recurrent() -> onnx.ModelProto:
    net = Net()
    y = block(net, net.input(shape=(1, 3, 8, 6)), 3, 4)
    y = net.op("Transpose", net.op("ReduceMean", y, axes=[2], keepdims=0), perm=[2, 0, 1])
    parameters = [net.random(1, 20, 4), net.random(1, 20, 5), net.random(1, 40)]
    return net.model(net.many(3, "LSTM", y, *parameters, hidden_size=5)[0])


@cases.add(folds(Conv=1))
def attention() -> onnx.ModelProto:
    net = Net()
    y = net.op("Reshape", block(net, net.input(shape=("N", 3, 4, 4)), 3, 8), ints(0, 8, -1))
    y = net.op("Transpose", y, perm=[0, 2, 1])
    q, k, v = (net.op("Add", net.op("MatMul", y, net.random(8, 8)), net.random(8)) for _ in range(3))
    weights = net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1])), axis=-1)
    return net.model(net.op("MatMul", weights, v))


def _quantize(net: Net, x: str, scale: float, zero: np.ndarray) -> str:
    q = net.op("QuantizeLinear", x, net.array(scale), net.const(zero))
    return net.op("DequantizeLinear", q, net.array(scale), net.const(zero))


@cases.add(left(QuantizeLinear=3, DequantizeLinear=5, Conv=2) | {"max_bytes": 8_000})
def quantized_by_qdq() -> onnx.ModelProto:
    """Weights int8 per channel, activations uint8: nothing here is a plain constant."""
    net = Net()
    zero, y, channels = np.array(128, np.uint8), net.input(), 3
    for outputs in (4, 6):
        integers = net.const(net.rng.integers(-127, 128, (outputs, channels, 3, 3)).astype(np.int8))
        weight = net.op("DequantizeLinear", integers, net.random(outputs, low=0.01, high=0.02), axis=0)
        y = net.op("Relu", net.op("Conv", _quantize(net, y, 0.05, zero), weight, net.random(outputs)))
        channels = outputs
    return net.model(_quantize(net, y, 0.1, zero))


@cases.add(left(DynamicQuantizeLinear=1, ConvInteger=1))
def quantized_dynamically() -> onnx.ModelProto:
    net = Net()
    quantized, scale, zero = net.many(3, "DynamicQuantizeLinear", net.input())
    weight = net.const(net.rng.integers(0, 256, (4, 3, 3, 3)).astype(np.uint8))
    y = net.op("ConvInteger", quantized, weight, zero, np.array(128, np.uint8))
    y = net.op("Cast", y, to=onnx.TensorProto.FLOAT)
    return net.model(net.op("Mul", y, net.op("Mul", scale, net.array(0.01))))


@cases.add(folds(Conv=3, Scramble=1), runs=False)
def custom_op_between_convs() -> onnx.ModelProto:
    net = Net()
    y = net.op("Scramble", block(net, net.input(), 3, 4), domain="corpus.custom", strength=0.5)
    y = net.conv(net.conv(net.op("Relu", y), (4, 4, 1, 1)), (2, 4, 1, 1))
    return net.model(net.tell(y, (1, 2, 8, 8)), domains=["corpus.custom"])


@cases.add(left(Relu=1))
def input_is_output() -> onnx.ModelProto:
    net = Net()
    x = net.input()
    return net.model(x, net.op("Relu", x))


@cases.add()
def no_nodes() -> onnx.ModelProto:
    net = Net()
    return net.model(net.input(shape=("N", 3)))


def _text_feeds(rng: np.random.Generator) -> Feeds:
    return {"x": rng.standard_normal((2, 3)).astype(np.float32), "text": np.array(["a", "b", "a"], object)}


@cases.add(left(Equal=1, Add=1), make_feeds=_text_feeds)
def text_input() -> onnx.ModelProto:
    net = Net()
    matches = net.op("Equal", net.input("text", (3,), object), np.array(["a"], object))
    y = net.op("Add", net.input("x", ("N", 3)), net.op("Cast", matches, to=onnx.TensorProto.FLOAT))
    return net.model(y, opset=19)


@cases.add(could(Conv=1))
def empty_batch() -> onnx.ModelProto:
    """Zero images in, zero images out."""
    net = Net()
    return net.model(net.conv(net.input(shape=(0, 3, 8, 8)), (4, 3, 3, 3)))
