"""Ranges that no kernel would take."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from graphopt import data, ir, targets
from graphopt.passes.quant import Quant
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import Session
from tests.passes.quant.small import fused


def vanishing() -> ir.Model:
    """Two convolutions that leave next to nothing before the pool, and a classifier."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(8, 3, 3, 3)) * 1e-8,
        "v": rng.normal(size=(8, 8, 3, 3)) * 3e-7,  # the second yields some 1e-12, its means less
        "m": rng.normal(size=(8, 5)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "v"], ["b"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["b"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["y"], "head"),
    ]
    value = helper.make_tensor_value_info
    ports = [value("x", TensorProto.FLOAT, [1, 3, 16, 16])], [value("y", TensorProto.FLOAT, [1, 5])]
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    made = helper.make_model(helper.make_graph(nodes, "g", *ports, constants), ir_version=9)
    made.opset_import[0].version = 17
    return ir.from_bytes(made.SerializeToString())


def test_a_mean_that_vanishes_beside_its_input_still_runs() -> None:
    """The integer pool runs, and the means are right to the step that they are stored in."""
    model = vanishing()
    samples = data.synthetic(model.signature.inputs, {}, 8, 0)
    exact = Session(model.to_bytes(), outputs=["y"])
    head = next(model.graph.find("Gemm")).inputs[1].constant
    ctx = Context(Inputs(model, calibration=samples), target=targets.load("ort-cpu"))
    Quant(measure=False, equalise="none").run(model, ctx)  # evened out, channels would be larger than that
    assert fused(model)["QLinearGlobalAveragePool"] == 1
    steps = {n.inputs[0].name: float(n.inputs[1].constant) for n in model.graph.find("QuantizeLinear")}
    allowed = (steps["b"] + steps["p"]) * np.abs(head).sum(axis=0)  # of what is pooled, and of the means
    assert allowed.max() < 1e-11, "all there is in this network is as small"
    made = Session(model, optimization="all")
    for sample in samples:
        wanted = exact.run(sample.feeds)
        assert (np.abs(made.run(sample.feeds)["y"] - wanted["y"]) <= allowed).all()
