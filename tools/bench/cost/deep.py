"""What pruning and low rank take on a deep narrow network: a ResNet-56 for 32 x 32 images, 512 samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tools.bench.support import subject
from tools.bench.support.measure import interleaved
from tools.bench.support.session import Session, cost_row
from tools.bench.support.tables import MEGA, Goal, Record, show, show_goals

BLOCKS = 9  # in each stage: 6 * 9 + 2 = 56 layers, 55 of them convolutions
WIDTHS = (16, 32, 64)
SIZE = 32
CLASSES = 10
DECAY = (
    0.05  # the least singular value of a kernel beside the largest: some directions matter less than others
)
SAMPLES = 512
SECONDS = 90.0  # CPU, for either pass with its default options
PASSES = ("prune", "lowrank")


def bench(session: Session, samples: int = SAMPLES) -> Record:
    """Measure both passes, print the table and the goals; the record of it all."""
    record = session.record("deep")
    model = resnet(session.scratch / "resnet56.onnx")
    data = images(session.scratch / "images.npz", samples)
    commands = {
        name: subject.optimize(
            session.start, model, _output(session, name), name, *subject.BARE, "--calibration", str(data)
        )
        for name in PASSES
    }
    costs = interleaved(commands, session.runs, session.scratch, session.limits)
    record.rows += [cost_row(name, subject.NAME, cost) for name, cost in costs.items()]
    rows = [
        (name, f"{cost.cpu:.0f}", f"{cost.wall:.0f}", f"{cost.peak / MEGA:.0f}", cost.failure)
        for name, cost in costs.items()
    ]
    show(f"ResNet-56, {samples} samples", ("pass", "CPU s", "wall s", "peak MB", "remark"), rows)
    record.goals += [
        Goal(name, "CPU s", None if cost.failure else cost.cpu, SECONDS) for name, cost in costs.items()
    ]
    show_goals(record.goals)
    return record


def _output(session: Session, name: str) -> Path:
    return session.scratch / f"resnet56.{name}.onnx"


def resnet(path: Path, blocks: int = BLOCKS, seed: int = 0) -> Path:
    """Write a ResNet of 6 ``blocks`` + 2 layers with random weights, norms folded, batch size free.

    Shortcuts between stages are a strided Slice and a Pad of the channels, without weights.  As in trained
    nets, singular values of kernels fall, and what a block adds is small beside what it is added to.
    """
    graph = _Resnet(np.random.default_rng(seed))
    tensor = graph.conv("stem", "input", 3, WIDTHS[0], 1, True)
    width = WIDTHS[0]
    for stage, wide in enumerate(WIDTHS):
        for block in range(blocks):
            tensor = graph.block(f"stage{stage}.{block}", tensor, width, wide)
            width = wide
    graph.head(tensor, width)
    onnx.save(graph.model(), path)
    return path


def images(path: Path, count: int, seed: int = 0) -> Path:
    """Write random images whose neighbouring pixels go together, (count, 3, 32, 32) float32."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (count, 3, SIZE // 4, SIZE // 4)).repeat(4, axis=2).repeat(4, axis=3)
    fine = rng.normal(0, 0.5, (count, 3, SIZE, SIZE))
    np.savez(path, input=(coarse + fine).astype(np.float32))
    return path


class _Resnet:
    """The nodes and weights so far."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def conv(self, name: str, source: str, inputs: int, outputs: int, stride: int, relu: bool) -> str:
        """Append a 3x3 convolution; without ``relu`` it is the small one at the end of a block."""
        gain = 2.0 if relu else 0.2
        parts = min(outputs, 9 * inputs)
        left = self._rng.normal(0, 1, (outputs, parts)) * np.geomspace(1, DECAY, parts)
        kernel = (left @ self._rng.normal(0, 1, (parts, 9 * inputs))).reshape(outputs, inputs, 3, 3)
        kernel *= np.sqrt(gain * outputs / np.square(kernel).sum())
        weight, bias = self._constant(name, kernel), self._constant(f"{name}.b", np.zeros(outputs))
        attributes = {"pads": [1, 1, 1, 1], "strides": [stride, stride]}
        made = f"{name}.conv"
        self._nodes.append(helper.make_node("Conv", [source, weight, bias], [made], name, **attributes))
        return self._op("Relu", [made], f"{name}.relu") if relu else made

    def block(self, name: str, source: str, inputs: int, outputs: int) -> str:
        """Append a residual block."""
        stride = outputs // inputs
        first = self.conv(f"{name}.a", source, inputs, outputs, stride, True)
        second = self.conv(f"{name}.b", first, outputs, outputs, 1, False)
        if stride > 1:
            source = self._shortcut(name, source, (outputs - inputs) // 2)
        return self._op("Relu", [self._op("Add", [second, source], f"{name}.sum")], f"{name}.out")

    def head(self, source: str, inputs: int) -> None:
        """Append the mean over positions and the classifier."""
        pooled = self._op("GlobalAveragePool", [source], "pooled")
        flat = self._op("Flatten", [pooled], "flat")
        weight = self._constant("classes", self._rng.normal(0, 1, (inputs, CLASSES)))
        bias = self._constant("classes.b", np.zeros(CLASSES))
        self._op("Gemm", [flat, weight, bias], "output")

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(
            self._nodes,
            "resnet",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", CLASSES])],
            self._weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _shortcut(self, name: str, source: str, pad: int) -> str:
        sizes = ([0, 0], [SIZE, SIZE], [2, 3], [2, 2])
        parts = [
            self._constant(f"{name}.{part}", np.asarray(values, np.int64))
            for part, values in zip(("starts", "ends", "axes", "steps"), sizes, strict=True)
        ]
        halved = self._op("Slice", [source, *parts], f"{name}.halved")
        pads = self._constant(f"{name}.pads", np.asarray([0, pad, 0, 0, 0, pad, 0, 0], np.int64))
        return self._op("Pad", [halved, pads], f"{name}.wide")

    def _op(self, op: str, inputs: list[str], output: str) -> str:
        self._nodes.append(helper.make_node(op, inputs, [output], output))
        return output

    def _constant(self, name: str, values: np.ndarray) -> str:
        kept = values if values.dtype == np.int64 else values.astype(np.float32)
        self._weights.append(numpy_helper.from_array(kept, f"{name}.w"))
        return f"{name}.w"
