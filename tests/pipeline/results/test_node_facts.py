"""What nodes are made of, against numpy on the weights as they are stored."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from graphopt import ir
from graphopt.pipeline.results.layers import computing_nodes
from graphopt.pipeline.results.node_facts import LONGEST_VALUE, node_facts
from graphopt.record.layers import NodeFacts


def facts_of(weight: np.ndarray, *, constant_node: bool = False, **attributes: object) -> NodeFacts:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", **attributes)
    stored = numpy_helper.from_array(weight, "w")
    nodes = [helper.make_node("Constant", [], ["w"], value=stored), node] if constant_node else [node]
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [] if constant_node else [stored])
    model = ir.from_bytes(helper.make_model(graph).SerializeToString())
    (facts,) = node_facts(computing_nodes(model))
    return facts


@pytest.mark.parametrize("constant_node", [False, True])
@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8])
def test_the_statistics_are_those_of_numpy(kind: type, constant_node: bool) -> None:
    weight = (np.random.default_rng(0).standard_normal((3, 5, 3, 3)) * 20).astype(kind)
    weight[0] = 0
    facts = facts_of(weight, constant_node=constant_node)
    (stored,) = facts.weights
    exact = weight.astype(np.float64)
    assert (stored.shape, stored.dtype) == ((3, 5, 3, 3), str(np.dtype(kind)))
    assert (stored.least, stored.most) == (exact.min(), exact.max())
    assert stored.mean == pytest.approx(exact.mean()) and stored.std == pytest.approx(exact.std())
    assert stored.zeros == pytest.approx((exact == 0).mean())


def test_weights_that_are_no_numbers_have_no_range() -> None:
    weight = np.ones((1, 1, 1, 2), np.float32)
    weight[..., 0] = np.nan
    (stored,) = facts_of(weight).weights
    assert (stored.least, stored.most, stored.mean, stored.std, stored.zeros) == (None, None, None, None, 0.0)


def test_names_and_attributes_are_texts() -> None:
    facts = facts_of(np.zeros((1, 1, 1, 1), np.float32), pads=[0, 1, 0, 1], auto_pad="a" * 500)
    assert (facts.inputs, facts.outputs) == (("x", "w"), ("y",))
    assert facts.attributes["pads"] == "0, 1, 0, 1"
    assert len(facts.attributes["auto_pad"]) == LONGEST_VALUE and facts.attributes["auto_pad"].endswith("…")
