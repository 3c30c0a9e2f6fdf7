"""A GELU that is spelled out stays one float kernel, however its factors are ordered."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

import graphopt

SAMPLES = np.random.default_rng(0).standard_normal((24, 6, 16)).astype(np.float32)


def network(path: Path, spelling: str) -> None:
    """Two products with a GELU between them, spelled as exporters do."""
    rng = np.random.default_rng(1)
    constants = {
        "w1": rng.standard_normal((16, 32)).astype(np.float32) / 4,
        "b1": rng.standard_normal(32).astype(np.float32),
        "w2": rng.standard_normal((32, 16)).astype(np.float32) / 4,
        "root": np.float32(math.sqrt(2)),
        "one": np.float32(1),
        "half": np.float32(0.5),
    }
    make = helper.make_node
    gelu = {
        "half behind": [make("Mul", ["h", "gate"], ["p"]), make("Mul", ["p", "half"], ["g"])],
        "half before": [make("Mul", ["h", "half"], ["p"]), make("Mul", ["p", "gate"], ["g"])],
    }[spelling]
    nodes = [
        make("MatMul", ["x", "w1"], ["m"], "first"),
        make("Add", ["m", "b1"], ["h"]),
        make("Div", ["h", "root"], ["d"]),
        make("Erf", ["d"], ["e"]),
        make("Add", ["e", "one"], ["gate"]),
        *gelu,
        make("MatMul", ["g", "w2"], ["y"], "second"),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("n", 6, 16))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ("n", 6, 16))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def kernels(path: Path) -> Counter[str]:
    """The operators that onnxruntime runs."""
    optimized = path.with_suffix(".optimized.onnx")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(optimized)
    options.log_severity_level = 4
    ort.InferenceSession(str(path), options)
    return Counter(node.op_type for node in onnx.load(optimized).graph.node)


@pytest.mark.parametrize("spelling", ["half behind", "half before"])
def test_it_stays_one_kernel_between_integer_products(spelling: str, tmp_path: Path) -> None:
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    network(before, spelling)
    fused = kernels(before)
    assert fused["BiasGelu"] + fused["Gelu"] == 1  # or the test says nothing
    graphopt.optimize(
        before, "quant:measure=false", calibration={"x": SAMPLES}, output=after, latency=False, threads=1
    )
    stored = kernels(after)
    assert stored["BiasGelu"] + stored["Gelu"] == 1
    assert stored["MatMulIntegerToFloat"] + stored["QLinearMatMul"] == 2
    assert stored["QLinearMul"] == 0
