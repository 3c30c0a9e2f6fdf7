"""A ResNet-50 with random weights: a wide network on which low rank must save time, not only arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))  # blocks, inner channels, stride of the first
EXPANSION = 4
CLASSES = 1000


class _Builder:
    """Nodes and weights in the making; methods return the name of the tensor they make."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def op(self, kind: str, name: str, *inputs: str, **attrs: object) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{name}.out"], name, **attrs))
        return f"{name}.out"

    def conv(self, name: str, source: str, shape: tuple[int, ...], stride: int = 1) -> str:
        """He-initialised weights; padding keeps the size."""
        weights = self.rng.standard_normal(shape) * (2.0 / np.prod(shape[1:])) ** 0.5
        names = (self.constant(f"{name}.w", weights), self.constant(f"{name}.b", np.zeros(shape[0])))
        pads, strides = [shape[2] // 2] * 4, [stride] * 2
        return self.op("Conv", name, source, *names, kernel_shape=list(shape[2:]), strides=strides, pads=pads)

    def block(self, name: str, source: str, inputs: int, inner: int, stride: int) -> str:
        """1 x 1, 3 x 3 and 1 x 1, beside a shortcut."""
        outputs = inner * EXPANSION
        y = self.op("Relu", f"{name}.r1", self.conv(f"{name}.c1", source, (inner, inputs, 1, 1)))
        y = self.op("Relu", f"{name}.r2", self.conv(f"{name}.c2", y, (inner, inner, 3, 3), stride))
        y = self.conv(f"{name}.c3", y, (outputs, inner, 1, 1))
        if stride != 1 or inputs != outputs:
            source = self.conv(f"{name}.short", source, (outputs, inputs, 1, 1), stride)
        return self.op("Relu", f"{name}.r3", self.op("Add", f"{name}.add", y, source))


def resnet50(path: Path, seed: int = 0) -> Path:
    """Write a ResNet-50 for x[1,3,224,224], batch normalisations folded, weights random."""
    net = _Builder(seed)
    x = net.op("Relu", "stem.relu", net.conv("stem", "x", (64, 3, 7, 7), 2))
    x = net.op("MaxPool", "pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 64
    for stage, (blocks, inner, stride) in enumerate(STAGES, 1):
        for number in range(blocks):
            x = net.block(f"s{stage}.b{number}", x, inputs, inner, stride if number == 0 else 1)
            inputs = inner * EXPANSION
    x = net.op("Flatten", "flat", net.op("GlobalAveragePool", "mean", x))
    weights = net.rng.standard_normal((CLASSES, inputs)) / inputs**0.5
    names = (net.constant("fc.w", weights), net.constant("fc.b", np.zeros(CLASSES)))
    net.nodes.append(helper.make_node("Gemm", [x, *names], ["y"], "fc", transB=1))
    graph = helper.make_graph(
        net.nodes,
        "resnet50",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES])],
        net.weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
