"""The residual net once more, written by PaddlePaddle: the same numbers in a graph of another dialect."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import paddle
import paddle2onnx
from onnx import numpy_helper
from paddle import nn

from make_models_parts.metadata import INPUT, describe

OPSET = 13
# PaddlePaddle's names for what PyTorch calls running_mean and running_var.
STATISTICS = {"_mean": "running_mean", "_variance": "running_var"}


def make(source: Path, path: Path) -> None:
    """Copy the weights of the PyTorch export `source` into PaddlePaddle and export that to `path`."""
    network = residual()
    copy_weights(source, network)
    network.eval()
    export(network, path)
    describe(path)


def export(network: nn.Layer, path: Path) -> None:
    """Write `network` to `path` as the converter makes it, with a dynamic batch dimension.

    `paddle.onnx.export` would go on to fold constants with Polygraphy, which installs packages by itself and
    turns weights into initializers. Without that step each weight is a Constant node.
    """
    images = paddle.static.InputSpec([None, 1, 28, 28], "float32", INPUT)
    with tempfile.TemporaryDirectory() as folder:
        paddle.jit.save(network, f"{folder}/model", input_spec=[images])
        paddle2onnx.export(
            f"{folder}/model.json",
            f"{folder}/model.pdiparams",
            str(path),
            opset_version=OPSET,
            auto_upgrade_opset=False,
            optimize_tool=None,
        )


def copy_weights(source: Path, network: nn.Layer) -> None:
    """Set every parameter and statistic of `network` from the tensor of that name in `source`."""
    tensors = _tensors(source)
    for name, parameter in network.state_dict().items():
        module, _, leaf = name.rpartition(".")
        values = tensors[f"{module}.{STATISTICS.get(leaf, leaf)}"]
        is_linear = leaf == "weight" and values.ndim == 2
        parameter.set_value(np.ascontiguousarray(values.T) if is_linear else values)


def _tensors(source: Path) -> dict[str, np.ndarray]:
    """Initializers by name; the exporter writes equal ones once and names the others by Identity nodes."""
    graph = onnx.load(source).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    return tensors


class ConvBN(nn.Sequential):
    """A convolution without bias and its batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        conv = nn.Conv2D(inputs, outputs, kernel, stride, kernel // 2, bias_attr=False)
        super().__init__(("conv", conv), ("bn", nn.BatchNorm2D(outputs)))


class ResidualBlock(nn.Layer):
    """The block of the same name in `networks.py`."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvBN(inputs, outputs, stride=stride)
        self.second = ConvBN(outputs, outputs)
        keeps_shape = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if keeps_shape else ConvBN(inputs, outputs, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.relu(self.second(self.relu(self.first(x))) + self.shortcut(x))


def residual() -> nn.Layer:
    """The net of the same name in `networks.py`, layer for layer."""
    return nn.Sequential(
        ("stem", ConvBN(1, 32, 5, 2)),
        ("relu", nn.ReLU()),
        ("block1", ResidualBlock(32, 32)),
        ("block2", ResidualBlock(32, 64)),
        ("block3", ResidualBlock(64, 96, 2)),
        ("pool", nn.AdaptiveAvgPool2D(1)),
        ("flatten", nn.Flatten()),
        ("classifier", nn.Linear(96, 10)),
    )
