"""Shortcuts of strided slices become Convs where that is the same function, and stay where it is not."""

from __future__ import annotations

import numpy as np
import pytest

import graphopt
from graphopt import ir, runtime, targets
from graphopt.ir.transform.shortcut import takes_steps, write_as_convs
from tests.corpus._net import Net, ints

LAST = 2**63 - 1


def net(*, step: int = 2, start: int = 0, value: float = 0.0, dtype: type = np.float32) -> ir.Model:
    """A Conv, every ``step``-th position of what it makes with two channels around, and a Relu."""
    made = Net(dtype=dtype)
    x = made.conv(made.input(shape=(1, 3, 8, 10)), (4, 3, 3, 3), pads=[1] * 4)
    x = made.op("Slice", x, ints(start, 0), ints(LAST, LAST), ints(2, 3), ints(step, step))
    x = made.op("Pad", x, ints(0, 1, 0, 0, 0, 1, 0, 0), np.array(value, dtype))
    return ir.from_bytes(made.model(made.op("Relu", x)).SerializeToString())


def test_a_shortcut_is_a_conv_with_the_same_answers_bit_for_bit() -> None:
    model = net()
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 3, 8, 10)).astype(np.float32)}
    before = runtime.Session(model, optimization="disabled").run(feeds)
    assert write_as_convs(model) == 1
    assert [node.op for node in model.graph.nodes] == ["Conv", "Conv", "Relu"]
    model.check()
    after = runtime.Session(model, optimization="disabled").run(feeds)
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)


@pytest.mark.parametrize("other", [{"start": 1}, {"value": 1.0}, {"step": 1}, {"dtype": np.float16}], ids=str)
def test_what_is_another_function_stays(other: dict[str, object]) -> None:
    model = net(**other)  # type: ignore[arg-type]
    operators = [node.op for node in model.graph.nodes]
    assert write_as_convs(model) == 0
    assert [node.op for node in model.graph.nodes] == operators


@pytest.mark.parametrize(("target", "is_written"), [("litert", True), ("ncnn", True), ("ort-cpu", False)])
def test_a_run_writes_them_where_the_target_asks_for_it(target: str, is_written: bool) -> None:
    result = graphopt.optimize(net(), "clean", target=target, latency=False, threads=1)
    operators = [node.op for node in result.model.graph.nodes]
    assert ("Slice" not in operators) == is_written
    assert min(result.report.agreement["snr_db"].values()) > 100.0


def test_a_slice_with_steps_that_stays_is_named_with_the_runtime() -> None:
    model, litert = net(start=1), targets.load("litert")
    assert [takes_steps(node) for node in model.graph.nodes] == [False, True, False, False]
    (said,) = targets.misfits(model, litert)
    assert said.startswith("LiteRT") and "Slice" in said
    assert targets.misfits(net(step=1), litert) == []
    assert targets.misfits(model, targets.load("openvino")) == []
