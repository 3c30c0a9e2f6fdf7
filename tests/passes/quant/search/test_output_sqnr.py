"""What closeness is measured at: float outputs, else the float tensors before what makes integers of them."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from graphopt import data, ir
from graphopt.passes.quant.search.output_sqnr import Deviation
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus._net import Net
from tests.passes.quant.small import first_conv, quantized


def segmentation(scale: float = 1.0) -> ir.Model:
    """A map of classes: no float output."""
    net = Net(3)
    x = net.op("Relu", first_conv(net))
    scores = net.conv(x, (4, 8, 1, 1), name="scores")
    proto = net.model(net.op("ArgMax", scores, axis=1, keepdims=0))
    model = ir.from_bytes(proto.SerializeToString())
    last = list(model.graph.find("Conv"))[-1]
    model.graph.set_constant(last, 1, (last.inputs[1].constant * scale).astype(np.float32))
    return model


def deviation(model: ir.Model) -> Deviation:
    samples = data.synthetic(model.signature.inputs, {}, 4, 0)
    return Deviation(model, samples, Context(Inputs(model)))


def test_a_map_of_classes_is_judged_by_its_scores() -> None:
    judge = deviation(segmentation())
    assert judge.can_judge
    assert judge.of(segmentation()) < -100
    assert judge.of(segmentation(1.01)) == pytest.approx(-40.0, abs=0.01)  # 20 log10(0.01)


@pytest.mark.parametrize("target", ["ort-cpu", "qnn", "openvino"])
def test_scores_that_are_stored_are_judged_as_they_are_read_back(target: str) -> None:
    made, _ = quantized(segmentation(), target)
    assert -60 < deviation(segmentation()).of(made) < -15


def test_care_is_kept_for_a_map_of_classes_too() -> None:
    """At 3 bits careful rounding brings the scores closer, and is not thrown away."""
    judge = deviation(segmentation())
    nearest, _ = quantized(segmentation(), weight_bits=3, refit=False)
    careful, ctx = quantized(segmentation(), weight_bits=3, rounding="second-order", bias_correction=True)
    assert judge.of(careful) < judge.of(nearest) - 1.0
    assert ctx.details["layers"]


def test_a_model_without_floats_is_not_judged() -> None:
    net = Net(1)
    x = net.input("x", (2, 3), np.int64)
    judge = deviation(ir.from_bytes(net.model(net.op("Add", x, np.array(1))).SerializeToString()))
    assert not judge.can_judge
    net = Net(1)
    zeros = net.op("Mul", net.input(), net.array(0.0))
    assert not deviation(ir.from_bytes(net.model(zeros).SerializeToString())).can_judge


def test_what_is_not_finite_counts_only_where_it_was_finite() -> None:
    def root(factor: float) -> ir.Model:
        net = Net(1)
        x = net.op("Mul", net.input(), net.array(factor))  # images between 0 and 1
        proto: onnx.ModelProto = net.model(net.op("Sqrt", net.op("Sub", x, net.array(0.5))))
        return ir.from_bytes(proto.SerializeToString())

    judge = deviation(root(1.0))  # some roots of negative numbers
    assert judge.can_judge
    assert judge.of(root(1.0)) < -100
    assert judge.of(root(0.5)) == math.inf
