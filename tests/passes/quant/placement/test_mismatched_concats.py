"""What joins boxes in pixels and scores keeps both: its tail stays float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt import data, ir, runtime, targets
from graphopt.passes.quant import Quant
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus._net import Net
from tests.passes.quant.small import PLAIN, feeds, ops, prepared, quantized, snr

MODELS = Path(__file__).parents[4] / "models"
RECIPE = "scale=0.00392156862745098;mean=0.2860;std=0.3530"


def head(scale: float) -> onnx.ModelProto:
    """Boxes, ``scale`` times as large as what a Conv makes, and scores beside them, behind a Transpose."""
    net = Net(2)
    x = net.op("Relu", net.conv(net.input(shape=(1, 3, 8, 8)), (8, 3, 3, 3), bias=True, name="first"))
    boxes = net.op("Mul", net.conv(x, (4, 8, 1, 1), name="boxes"), net.array(scale))
    scores = net.op("Sigmoid", net.conv(x, (5, 8, 1, 1), name="scores"), name="gate")
    joined = net.op("Concat", boxes, scores, axis=1, name="join")
    return net.model(net.op("Transpose", joined, perm=[0, 2, 3, 1]))


@pytest.mark.parametrize(("scale", "is_mixed"), [(200.0, True), (0.25, False)])
def test_a_join_of_unlike_ranges_stays_float(scale: float, is_mixed: bool) -> None:
    proto = head(scale)
    model, ctx = quantized(proto, "qnn")
    reasons = [s.reason for s in ctx.skips if s.node == "join"]
    assert bool(reasons) is is_mixed
    assert all("one scale does not fit both" in reason for reason in reasons)
    (before,) = runtime.Session(proto.SerializeToString()).run(feeds(ctx)).values()
    (after,) = runtime.Session(model).run(feeds(ctx)).values()
    assert snr(before[..., 4:], after[..., 4:]) > 25
    assert snr(before[..., :4], after[..., :4]) > 25


@pytest.mark.parametrize("target", ["ort-cpu", "qnn", "openvino"])
def test_the_scores_of_a_detector_survive(target: str) -> None:
    model = ir.load(MODELS / "fashion_detector.onnx")
    ir_shapes = Inputs(model).shapes
    for tensor in model.graph.inputs:
        tensor.shape = ir_shapes[tensor.name]
    model = prepared(model)
    recipe = data.parse_preprocess(RECIPE)
    scenes = str(MODELS / "fashion_scenes.npz#calibration")
    samples = data.load(scenes, model.signature.inputs, recipe).take(8)
    before = runtime.Session(model.to_bytes())
    Quant(**PLAIN).run(model, Context(Inputs(model, calibration=samples), target=targets.load(target)))
    after = runtime.Session(model)
    assert ops(model)["QuantizeLinear"] > 10
    outputs = [[next(iter(s.run(one.feeds).values())) for s in (before, after)] for one in samples]
    exact, made = (np.concatenate(values) for values in zip(*outputs, strict=True))
    assert snr(exact[:, 4:], made[:, 4:]) > 25, "scores"
    assert snr(exact[:, :4], made[:, :4]) > 35, "boxes"
