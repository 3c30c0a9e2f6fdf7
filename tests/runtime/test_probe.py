"""Shapes of inner tensors: inferred where that can be, the same as a run shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt import ir, runtime
from graphopt.errors import ModelError
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import probe, tensor_shapes
from tests.corpus import NUMERIC, Case
from tests.corpus._net import Net


def names_of(model: ir.Model) -> list[str]:
    """What is computed, without sequences, which have no shape."""
    nodes = [node for node in model.graph.nodes if not node.op.startswith("Sequence")]
    return [tensor.name for node in nodes for tensor in node.outputs if tensor.name]


def first_feeds(model: ir.Model) -> dict[str, np.ndarray]:
    return dict(next(iter(Inputs(model).check)).feeds)


@pytest.mark.parametrize("case", [case for case in NUMERIC if case.runs], ids=lambda case: case.name)
def test_what_is_inferred_is_what_a_run_shows(case: Case) -> None:
    model = ir.from_bytes(case.build().SerializeToString())
    feeds = case.feeds(np.random.default_rng(0))
    measured = probe._measured(model, set(names_of(model)), feeds, ())
    assert tensor_shapes(model, names_of(model), feeds) == measured


def filtered() -> ir.Model:
    """A convolution, and behind it the indices of what is not zero: as many as the data have it."""
    net = Net(0)
    x = net.conv(net.input(), (4, 3, 3, 3), name="conv")
    model = ir.from_bytes(net.model(net.op("Relu", x)).SerializeToString())
    made = model.graph.add_node("NonZero", [model.graph.outputs[0]])
    model.graph.add_node("Transpose", [made.output], {"perm": [1, 0]}, name="after")
    return model


def test_only_what_inference_leaves_open_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    session = runtime.Session.__init__

    def spy(self: Any, *args: Any, outputs: Any = None, **options: Any) -> None:
        opened.append(outputs)
        session(self, *args, outputs=outputs, **options)

    model = filtered()
    feeds = first_feeds(model)
    monkeypatch.setattr(runtime.Session, "__init__", spy)
    conv = model.graph.nodes[0].output.name
    after = next(node for node in model.graph.nodes if node.name == "after").output.name
    assert tensor_shapes(model, [conv, "no tensor", *feeds], feeds) == {conv: (1, 4, 6, 6)} and not opened
    shapes = tensor_shapes(model, [conv, after], feeds)
    assert shapes[conv] == (1, 4, 6, 6) and shapes[after][1] == 4 and 0 < shapes[after][0] <= 4 * 36
    assert [len(outputs) for outputs in opened] == [1]


def test_a_model_that_does_not_run_says_so_when_it_has_to_be_run() -> None:
    model = filtered()
    feeds = first_feeds(model)
    after = next(node for node in model.graph.nodes if node.name == "after").output.name
    with pytest.raises(ModelError):
        next(model.graph.find("NonZero")).domain = "nobody"
        tensor_shapes(model, [after], feeds)
