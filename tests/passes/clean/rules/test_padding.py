"""A Pad goes into a pool only where the pool may take it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import ir
from graphopt.passes.clean import Clean
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus import count_ops
from tests.corpus._net import Net, ints
from tests.passes.clean.fusions import cleaned


@pytest.mark.parametrize(("op", "value"), [("AveragePool", 0.0), ("MaxPool", -np.inf)])
@pytest.mark.parametrize(("pad", "kernel", "stays"), [(2, 2, 1), (3, 2, 1), (1, 2, 0), (2, 3, 0)])
def test_pads_as_wide_as_the_window_stay(op: str, value: float, pad: int, kernel: int, stays: int) -> None:
    net = Net()
    pads = ints(0, 0, pad, 0, 0, 0, 0, pad)
    padded = net.op("Pad", net.input(), pads, np.array(value, np.float32))
    y = net.op(op, padded, kernel_shape=[kernel, kernel])
    assert count_ops(cleaned(net.model(net.op("Clip", y, np.float32(-9)))))["Pad"] == stays


def test_before_opset_7_no_average_counts_what_it_pads() -> None:
    net = Net()
    padded = net.op("Pad", net.input(), pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant")
    y = net.op("AveragePool", padded, kernel_shape=[3, 3])
    model = ir.from_bytes(net.model(net.tell(y, (1, 3, 8, 8)), opset=6, ir=3).SerializeToString())
    Clean().run(model, Context(Inputs(model)))
    onnx.checker.check_model(model.to_bytes(), full_check=True)
    assert [node.op for node in model.graph.nodes] == ["Pad", "AveragePool"]
