"""The guard of placement: what no rule accounts for stays float, and the report says why."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphopt import ir, runtime, targets
from graphopt.passes.quant.placement import placement
from graphopt.passes.quant.placement.claims import unclaimed
from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, first_conv


def forgetful(target: str, op: str) -> targets.Target:
    """A profile that lists an operator for which no rule claims the second operand."""
    made = targets.load(target)
    operators = dataclasses.replace(made.operators, integer=(*made.operators.integer, op))
    return dataclasses.replace(made, operators=operators)


def with_max() -> ir.Model:
    net = Net(3)
    x = net.op("Relu", first_conv(net, channels=16))
    other = net.conv(x, (16, 16, 1, 1), name="other")
    y = net.op("Max", net.conv(x, (16, 16, 1, 1), name="one"), other, name="max")
    return ir.from_bytes(between_convs(net, y, channels=16).SerializeToString())


@pytest.mark.parametrize("target", ["ort-cpu", "generic", "qnn", "tensorrt", "openvino"])
def test_a_planted_forgetful_rule_is_caught(target: str) -> None:
    made = placement.place(with_max(), lambda node: None, forgetful(target, "Max"))
    assert "max" not in {node.name for node in made.integer}
    assert "no rule says how its input other.out is stored" in {
        reason for node, reason in made.skips if node.name == "max"
    }


def test_indices_sizes_and_constants_need_no_rule() -> None:
    net = Net(1)
    x = net.input(shape=(1, 4, 6, 6))
    sizes = net.input("sizes", (4,), np.int64)
    y = net.op("Reshape", net.op("Relu", x), sizes)
    y = net.op("Resize", y, None, net.const(np.ones(4, np.float32)))
    y = net.op("Slice", y, np.array([0]), net.input("end", (1,), np.int64), np.array([1]))
    model = ir.from_bytes(net.model(net.tell(y, None)).SerializeToString())
    nodes = [node for node in model.graph.nodes if node.op != "Constant"]
    assert len(nodes) == 4
    assert all(unclaimed(node, [node.inputs[0]]) is None for node in nodes)


def test_other_types_and_other_outputs_are_not_claimed() -> None:
    net = Net(1, np.float16)
    y, indices = net.many(2, "MaxPool", net.input(), kernel_shape=[2, 2])
    model = ir.from_bytes(net.model(y, net.tell(indices, None, np.int64)).SerializeToString())
    (pool,) = model.graph.find("MaxPool")
    assert "float16" in (unclaimed(pool, [pool.inputs[0]]) or "")
    pool.inputs[0].dtype = np.dtype(np.float32)
    assert indices in (unclaimed(pool, [pool.inputs[0]]) or "")


def test_nothing_is_run_that_the_guard_let_through_wrongly() -> None:
    """The slope of a PRelu that another branch computes: the answer stays what it was."""
    net = Net(4)
    x = first_conv(net)
    y = net.op("PRelu", x, net.conv(x, (8, 8, 1, 1), name="slope"), name="bent")
    model = ir.from_bytes(between_convs(net, y).SerializeToString())
    made = placement.place(model, lambda node: None, forgetful("ort-cpu", "PRelu"))
    assert {node.name for node in made.layers} >= {"first", "slope"}
    assert "bent" not in {node.name for node in made.integer}
    runtime.Session(model)
