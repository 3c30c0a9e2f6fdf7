"""Work counts by the bits that it is done in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from graphopt import ir
from graphopt.pipeline.search.weighted_macs import weighted_macs

MACS = 6 * 4 * 3 * 9  # of a convolution of 2 x 3 outputs


def convolution(folder: Path, *, weights: str, activations: bool, kind: type = np.float32) -> ir.Model:
    """A convolution from 3 to 4 channels, its operands read from integers or not."""
    values = np.ones((4, 3, 3, 3))
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    nodes, initializers = [], [scale]
    if weights == "int8":
        initializers.append(numpy_helper.from_array(values.astype(np.int8), "stored"))
        nodes.append(helper.make_node("DequantizeLinear", ["stored", "scale"], ["w"]))
    else:
        initializers.append(numpy_helper.from_array(values.astype(kind), "w"))
    if activations:
        initializers.append(numpy_helper.from_array(np.int8(0), "zero"))
        nodes.append(helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]))
        nodes.append(helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["xd"]))
    nodes.append(helper.make_node("Conv", ["xd" if activations else "x", "w"], ["y"], "conv"))
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", element, (1, 3, 4, 5))],
        [helper.make_tensor_value_info("y", element, (1, 4, 2, 3))],
        initializers,
    )
    path = folder / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    return ir.load(path)


@pytest.mark.parametrize(
    ("weights", "activations", "kind", "share"),
    [
        ("float", False, np.float32, 1.0),
        ("int8", True, np.float32, 0.25),
        ("int8", False, np.float32, 1.0),  # stored small, computed in floats
        ("float", True, np.float32, 1.0),
        ("float", False, np.float16, 0.5),
    ],
)
def test_fewer_bits_count_as_less(
    tmp_path: Path, weights: str, activations: bool, kind: type, share: float
) -> None:
    model = convolution(tmp_path, weights=weights, activations=activations, kind=kind)
    assert weighted_macs(model, {}) == pytest.approx(share * MACS)
