"""Cuts equal their definition, and what is computed from a cut equals a run of the whole model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.calibration import ActivationCheckpoint, cuts
from graphopt.calibration import checkpoint as module
from graphopt.ir.transform.linear import LAYERS
from graphopt.runtime import Session, trial_shapes
from tests.corpus import random_cnn
from tests.corpus._net import Net, ints


def load(seed: int) -> ir.Model:
    model = ir.from_bytes(random_cnn(seed).SerializeToString())
    model.sort()
    return model


def synthetic(model: ir.Model, count: int = 3) -> data.Samples:
    inputs = model.signature.inputs
    return data.synthetic(inputs, trial_shapes(model, {}, None).shapes, count, 3)


def open_session(model: ir.Model, outputs: Sequence[str]) -> Session:
    return Session(model, outputs=outputs, optimization="disabled")


def layers_of(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph.nodes if node.op in LAYERS]


def cut_by_definition(graph: ir.Graph, waiting: set[ir.Node]) -> set[str]:
    """What none of ``waiting`` leads to, and is read by one of them or by what one of them leads to."""
    reached: set[ir.Tensor] = set()
    cut = set()
    for node in graph.nodes:
        if node in waiting or any(tensor in reached for tensor in node.inputs):
            reached.update(node.outputs)
            cut |= {t.name for t in node.inputs if t.name and t not in reached and t.constant is None}
    return cut


@pytest.mark.parametrize("seed", range(20))
def test_cuts_equal_their_definition(seed: int) -> None:
    model = load(seed)
    layers = layers_of(model)
    found = [set(cut) for cut in cuts(model.graph, layers)]
    assert found == [cut_by_definition(model.graph, set(layers[n:])) for n in range(len(layers))]


@pytest.mark.parametrize("cache", [0, 2**28])
@pytest.mark.parametrize("seed", range(12))
def test_every_cut_gives_the_values_of_a_whole_run(
    seed: int, cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE_BYTES", cache)
    model = load(seed)
    samples = synthetic(model)
    layers = layers_of(model)
    names = [node.output.name for node in layers]
    whole = [open_session(model, names).run(sample.feeds) for sample in samples]
    walk = ActivationCheckpoint(model, samples, open_session)
    for node, cut in zip(layers, cuts(model.graph, layers), strict=True):
        walk.advance(cut)
        for found, wanted in zip(walk.stream([node.output.name]), whole, strict=True):
            np.testing.assert_array_equal(found[node.output.name], wanted[node.output.name])


def test_a_changed_layer_is_seen_behind_the_cut() -> None:
    net = Net(0)
    first = net.conv(net.input(), (4, 3, 3, 3), name="first")
    model = ir.from_bytes(net.model(net.conv(first, (4, 4, 1, 1), name="second")).SerializeToString())
    one, two = layers_of(model)
    walk = ActivationCheckpoint(model, synthetic(model), open_session)
    for cut in list(cuts(model.graph, [one, two]))[1:]:
        walk.advance(cut)
    model.graph.set_constant(two, 1, np.zeros((4, 4, 1, 1), np.float32))
    assert all(not found[two.output.name].any() for found in walk.stream([two.output.name]))
    assert all(found[one.output.name].any() for found in walk.stream([one.output.name]))


def test_nothing_but_what_is_needed_is_run() -> None:
    net = Net(0)
    x = net.op("Relu", net.conv(net.input(), (4, 3, 3, 3), name="first"))
    middle = net.op("Relu", net.conv(x, (4, 4, 1, 1), name="second"))
    model = ir.from_bytes(net.model(net.conv(middle, (4, 4, 1, 1), name="third")).SerializeToString())
    value = np.ones((1, 4, 6, 6), np.float32)
    made = model.part({middle: value}, [layers_of(model)[2].output.name])
    assert [node.name for node in made.graph.nodes] == ["third"]
    assert [tensor.name for tensor in made.graph.inputs] == [middle]
    assert {"first", "second"} <= {node.name for node in model.graph.nodes}


def test_a_node_may_make_what_is_known_and_what_is_wanted() -> None:
    net = Net(0)
    x = net.input("x", (1, 6, 2, 2))
    left, right = net.many(2, "Split", x, ints(3, 3), axis=1)
    total = net.op("Add", left, right)
    split = ir.from_bytes(net.model(total).SerializeToString())
    feeds = {"x": np.arange(24, dtype=np.float32).reshape(1, 6, 2, 2)}
    known = {**feeds, left: np.full((1, 3, 2, 2), 100, np.float32)}
    made = split.part(known, [total])
    found = open_session(made, [total]).run({t.name: known[t.name] for t in made.graph.inputs})[total]
    np.testing.assert_array_equal(found, 100 + feeds["x"][:, 3:])


def test_a_copy_is_apart_from_its_model() -> None:
    model = load(0)
    before = model.to_bytes()
    other = model.copy()
    assert other.to_bytes() == before
    node = next(other.graph.find("Conv"))
    other.graph.set_constant(node, 1, np.zeros_like(node.inputs[1].constant))
    assert model.to_bytes() == before
    assert other.to_bytes() != before
