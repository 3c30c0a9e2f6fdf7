"""What rules say of single nodes."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import ir, targets
from graphopt.passes.quant.calibration.parameters import Bounds
from graphopt.passes.quant.placement.rules import layer_bias, refusal, stored_bounds
from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, first_conv, quantized


def clip(*limits: np.ndarray | None) -> ir.Node:
    net = Net(0)
    model = ir.from_bytes(net.model(net.op("Clip", net.input(), *limits)).SerializeToString())
    return next(model.graph.find("Clip"))


@pytest.mark.parametrize("shape", [(), (1,)])
def test_limits_of_a_clip_are_scalars_or_one_number(shape: tuple[int, ...]) -> None:
    low, high = np.zeros(shape, np.float32), np.full(shape, 6, np.float32)
    assert stored_bounds(clip(low, high)) == Bounds(0.0, 6.0)
    assert stored_bounds(clip(low)) == Bounds(0.0, np.inf)
    assert stored_bounds(clip(None, high)) == Bounds(-np.inf, 6.0)


def test_limits_that_are_no_number_are_no_bounds() -> None:
    assert stored_bounds(clip(np.zeros((0,), np.float32), np.ones((), np.float32))) is None
    assert stored_bounds(clip(np.array(np.nan, np.float32), np.ones((), np.float32))) is None
    assert stored_bounds(clip(np.ones((), np.float32), np.full((), 6, np.float32))) is None


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_model_with_such_a_clip_is_stored(shape: tuple[int, ...]) -> None:
    net = Net(1)
    limits = np.zeros(shape, np.float32), np.full(shape, 6, np.float32)
    _, ctx = quantized(between_convs(net, net.op("Clip", first_conv(net), *limits)))
    assert len(ctx.changes) == 3


def test_a_weight_that_callers_may_override_leaves_no_bias_to_look_at() -> None:
    net = Net(2)
    product = net.op("MatMul", net.input(shape=(2, 8)), net.random(8, 4, name="weight"))
    proto = net.model(net.op("Add", product, net.random(4)), listed=["weight"])
    assert layer_bias(next(ir.from_bytes(proto.SerializeToString()).graph.find("MatMul"))) is None


def test_a_pad_whose_sizes_are_an_attribute_stays_float() -> None:
    net = Net(3)
    proto = net.model(net.op("Pad", net.input(), pads=[0, 0, 1, 1, 0, 0, 1, 1]), opset=10)
    pad = next(ir.from_bytes(proto.SerializeToString()).graph.find("Pad"))
    assert refusal(pad, targets.load("ort-cpu")) == "it pads integers from opset 11 on"
