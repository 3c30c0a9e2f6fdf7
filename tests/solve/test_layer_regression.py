"""Fitting one layer: what is aimed at, and that the fit is the least-squares answer."""

from __future__ import annotations

import numpy as np

from graphopt import data, ir
from graphopt.calibration import ActivationCheckpoint
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.solve import LayerRegression
from tests.corpus._net import Net


def block() -> ir.Model:
    """A convolution, and one whose output goes into a sum with the first's."""
    net = Net(0)
    x = net.op("Relu", net.conv(net.input(), (6, 3, 3, 3), bias=True, pads=[1] * 4, name="one"))
    y = net.op("Add", x, net.conv(x, (6, 6, 1, 1), bias=True, name="two"), name="sum")
    return ir.from_bytes(net.model(y).SerializeToString())


def aim_at(model: ir.Model, name: str, final: tuple[str, ...]) -> LayerRegression:
    found = LayerRegression.of(next(node for node in model.graph.nodes if node.name == name), final)
    assert isinstance(found, LayerRegression)
    return found


def test_a_residual_sum_is_the_target_once_its_other_side_is_final() -> None:
    model = block()
    branch = model.graph.nodes[1].output.name
    assert aim_at(model, "two", (branch,)).target == "sum.out"
    assert aim_at(model, "two", (branch,)).branch == branch
    assert aim_at(model, "two", ()).target == "two.out" and aim_at(model, "two", ()).branch is None


def test_weights_are_read_and_stored_alike() -> None:
    model = block()
    aim = aim_at(model, "one", ())
    weights = aim.matrix()
    before = [np.array(tensor.constant) for tensor in aim.node.inputs[1:]]
    aim.store(weights)
    for tensor, values in zip(aim.node.inputs[1:], before, strict=True):
        np.testing.assert_array_equal(tensor.constant, values)


def test_a_spoilt_layer_is_mended_by_the_fit() -> None:
    """The first layer is scaled and shifted, so the second can make up for it but for the sum's own side."""
    original, model = block(), block()
    spoilt = model.graph.nodes[0]
    model.graph.set_constant(spoilt, 1, np.array(spoilt.inputs[1].constant) * np.float32(1.5))
    model.graph.set_constant(spoilt, 2, np.array(spoilt.inputs[2].constant) * np.float32(1.5))
    samples = data.synthetic(model.signature.inputs, {}, 16, 0)
    ctx = Context(Inputs(model, calibration=samples))
    old, new = (ActivationCheckpoint(one, samples, ctx.session) for one in (original, model))
    aim = aim_at(model, "two", (model.graph.nodes[1].output.name,))
    fitted, judged = aim.collect(old, new, 0)
    assert fitted.count == 7 * judged.count
    current = aim.matrix()
    best = aim.solve(fitted, current)
    assert aim.error(judged, current) > 0.05
    assert aim.error(judged, best) < 1e-4


def test_why_a_layer_cannot_be_fitted() -> None:
    net = Net(0)
    x = net.input()
    shared = net.random(4, 3, 1, 1)
    y = net.op("Add", net.op("Conv", x, shared, name="a"), net.op("Conv", x, shared, name="b"))
    y = net.op("Conv", y, net.input("w", (2, 4, 1, 1)), name="c")
    model = ir.from_bytes(net.model(y).SerializeToString())
    nodes = {node.name: node for node in model.graph.nodes}
    assert LayerRegression.of(nodes["a"], ()) == "another layer shares its weights"
    assert LayerRegression.of(nodes["c"], ()) == "its weights are not constant"
