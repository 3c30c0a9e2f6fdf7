"""Ratio, MACs, parameters, bytes, and the careful default: what is asked for is what the file has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphopt import cost, data, ir
from graphopt.errors import PassError, UsageError
from graphopt.passes.prune import Prune
from graphopt.passes.prune.coupling.coupling import couple
from graphopt.passes.prune.selection.predict import Predictor
from graphopt.pipeline import Plan
from graphopt.runtime import Session
from tests.corpus._net import Net
from tests.passes.prune.oracle import assert_twin, context, copy, feeds_of, largest_difference, load, prune


def chain(*widths: int, seed: int = 0) -> Net:
    """Conv 3x3 and Relu for each width, on x[1,3,8,8]; the net's last output is pooled into 5 classes."""
    net = Net(seed)
    y, inputs = net.input(), 3
    for number, width in enumerate(widths):
        y = net.op("Relu", net.conv(y, (width, inputs, 3, 3), bias=True, pads=[1] * 4, name=f"conv{number}"))
        inputs = width
    pooled = net.op("Flatten", net.op("GlobalAveragePool", y))
    net.last = net.gemm(pooled, (5, inputs), bias=(5,), transB=1, name="fc")
    return net


def chained(*widths: int, seed: int = 0) -> ir.Model:
    net = chain(*widths, seed=seed)
    return load(net.model(net.last))


def widths(model: ir.Model) -> dict[str, int]:
    return {node.name: node.inputs[1].constant.shape[0] for node in model.graph.find("Conv", "Gemm")}


@pytest.mark.parametrize(
    ("ratio", "round_to", "expected"),
    [
        (0.25, 1, (24, 12, 7)),
        (0.25, 4, (24, 12, 8)),
        (0.25, 8, (24, 16, 8)),  # 12 lies between 8 and 16: the larger stays
        (0.5, 16, (16, 16, 9)),
        (0.9, 16, (16, 16, 9)),  # never below one block
        (0.99, 1, (1, 1, 1)),
    ],
)
def test_ratio_keeps_the_nearest_multiple(ratio: float, round_to: int, expected: tuple[int, ...]) -> None:
    pruned = prune(chained(32, 16, 9), Prune(ratio=ratio, round_to=round_to))
    assert widths(pruned.after) == {f"conv{n}": width for n, width in enumerate(expected)} | {"fc": 5}
    assert_twin(pruned)


def test_the_least_norm_goes_first() -> None:
    model = chained(8, 8)
    weak = next(model.graph.find("Conv"))
    values = np.array(weak.inputs[1].constant)
    values[[1, 6]] *= 0.01
    weak.inputs[1] = model.graph.add_constant("weak", values)
    pruned = prune(model, Prune(ratio=0.25, round_to=1))
    assert pruned.plan.items[0]["group"] == "conv0"
    assert pruned.plan.items[0]["remove"] == [1, 6]


@pytest.mark.parametrize("goal", ["macs", "params", "bytes"])
@pytest.mark.parametrize("fraction", [0.8, 0.5, 0.3])
def test_goal_is_reached_in_the_written_model(goal: str, fraction: float) -> None:
    model = chained(64, 48, 32)
    pruned = prune(model, Prune(**{goal: fraction, "round_to": 2}))
    before, after = cost.measure(model), cost.measure(pruned.after)
    left = {
        "macs": after.macs / before.macs,
        "params": after.parameters / before.parameters,
        "bytes": pruned.after.weight_bytes / model.weight_bytes,
    }[goal]
    assert fraction - 0.08 <= left <= fraction
    assert not pruned.ctx.missed
    assert_twin(pruned)


def test_prediction_is_what_the_written_model_costs() -> None:
    model = chained(24, 40, 16)
    pruned = prune(model, Prune(ratio=0.4, round_to=1))
    predicted = Predictor(model, couple(model, pruned.facts)).size(pruned.keep)
    measured = cost.measure(pruned.after)
    assert (predicted.macs, predicted.params) == (measured.macs, measured.parameters)
    assert predicted.bytes == 4 * measured.parameters  # float32


def with_products() -> ir.Model:
    """Layers that can be pruned, and a product of activations that takes more than both."""
    net = chain(32)
    many = net.op("Expand", "x", net.const(np.array([64, 3, 8, 8])))
    return load(net.model(net.last, net.op("MatMul", many, many)))


def test_what_cannot_be_pruned_counts_as_well() -> None:
    model = with_products()
    whole = cost.measure(model).macs
    pruned = prune(model, Prune(macs=0.7, round_to=1))
    assert whole and pruned.ctx.details["predicted_macs"] == (cost.measure(pruned.after).macs or 0) / whole
    assert pruned.ctx.details["predicted_macs"] <= 0.7 or pruned.ctx.missed


def test_unreachable_goal_is_said_and_gone_as_far_as_possible() -> None:
    pruned = prune(chained(16, 16), Prune(macs=0.01, round_to=8))
    assert len(pruned.ctx.missed) == 1 and "macs" in pruned.ctx.missed[0]
    assert widths(pruned.after) == {"conv0": 8, "conv1": 8, "fc": 5}


def test_min_channels() -> None:
    assert widths(prune(chained(16, 16), Prune(ratio=0.9, round_to=1, min_channels=6)).after)["conv0"] == 6


def test_two_goals_are_refused() -> None:
    with pytest.raises(UsageError, match="one goal"):
        Prune(ratio=0.5, macs=0.5)


def test_exclude_and_include() -> None:
    without = prune(chained(16, 16, 16), Prune(ratio=0.5, round_to=1, exclude=("conv1",)))
    assert widths(without.after) == {"conv0": 8, "conv1": 16, "conv2": 8, "fc": 5}
    assert "exclude" in without.skipped["conv1"]
    only = prune(chained(16, 16, 16), Prune(ratio=0.5, round_to=1, include=("conv[12]",)))
    assert widths(only.after) == {"conv0": 16, "conv1": 8, "conv2": 8, "fc": 5}
    assert_twin(without)
    assert_twin(only)


def with_dead(model: ir.Model, conv: str, channels: list[int], *, bias: float = 0.0) -> ir.Model:
    node = next(node for node in model.graph.find("Conv") if node.name == conv)
    for index, value in ((1, 0.0), (2, bias)):
        values = np.array(node.inputs[index].constant)
        values[channels] = value
        node.inputs[index] = model.graph.add_constant("dead", values)
    return model


def nothing_in(plan: Plan) -> bool:
    return not any(item["remove"] for item in plan.items)


def test_without_data_only_dead_channels_go() -> None:
    model = with_dead(chained(16, 12), "conv0", [2, 3, 11])
    pruned = prune(model, Prune(round_to=1))
    assert widths(pruned.after) == {"conv0": 13, "conv1": 12, "fc": 5}
    assert pruned.plan.items[0]["remove"] == [2, 3, 11]
    assert "no data" in pruned.plan.items[0]["rule"]
    assert largest_difference(model, pruned.after, feeds_of(pruned), "disabled") <= 1e-6


def test_dead_channels_go_only_as_far_as_alignment_allows() -> None:
    model = with_dead(chained(16, 12), "conv0", [0, 1, 2, 3, 4, 5])
    assert widths(prune(model, Prune(round_to=4)).after)["conv0"] == 12


def test_a_constant_channel_is_not_dead() -> None:
    """No filter, but a bias that is not zero: the next layer reads it."""
    model = with_dead(chained(16, 12), "conv0", [2, 3], bias=0.5)
    pruned = prune(model, Prune(round_to=1))
    assert nothing_in(pruned.plan)
    assert any("removed nothing" in text for text in pruned.ctx.warnings)


def test_a_dead_channel_behind_a_sigmoid_is_a_constant_that_biases_take_over() -> None:
    net = Net()
    y = net.op("Sigmoid", net.conv(net.input(), (4, 3, 1, 1), bias=True, name="conv0"))
    model = with_dead(load(net.model(net.conv(y, (2, 4, 1, 1), name="last"))), "conv0", [1])
    pruned = prune(model, Prune(round_to=1))
    assert pruned.changed["conv0"] == "4 -> 3 output channels"
    assert largest_difference(model, pruned.after, feeds_of(pruned), "disabled") <= 1e-5


def test_a_channel_that_nobody_reads_is_dead() -> None:
    model = chained(8, 8)
    second = next(node for node in model.graph.find("Conv") if node.name == "conv1")
    values = np.array(second.inputs[1].constant)
    values[:, [0, 5]] = 0
    second.inputs[1] = model.graph.add_constant("deaf", values)
    pruned = prune(model, Prune(round_to=1))
    assert pruned.plan.items[0]["remove"] == [0, 5]
    assert largest_difference(model, pruned.after, feeds_of(pruned), "disabled") <= 1e-6


def redundant() -> ir.Model:
    """A net of which half the channels contribute next to nothing."""
    model = chained(32, 32)
    for node in model.graph.find("Conv"):
        for index in (1, 2):
            values = np.array(node.inputs[index].constant)
            values[::2] *= 1e-4
            node.inputs[index] = model.graph.add_constant("weak", values)
    return model


def scores(model: ir.Model, images: np.ndarray) -> np.ndarray:
    session = Session(model)
    return np.concatenate([next(iter(session.run({"x": image[None]}).values())) for image in images])


def balanced(model: ir.Model, images: np.ndarray) -> ir.Model:
    """Let every class win now and then, so that disagreement can be seen."""
    head = next(model.graph.find("Gemm"))
    head.inputs[2] = model.graph.add_constant(
        "bias", head.inputs[2].constant - scores(model, images).mean(axis=0)
    )
    return model


def calibration(folder: Path, model: ir.Model, count: int, labels: bool) -> data.Samples:
    images = np.random.default_rng(5).standard_normal((count, 3, 8, 8)).astype(np.float32)
    balanced(model, images)
    arrays = {"x": images}
    if labels:
        arrays["labels"] = scores(model, images).argmax(axis=1)
    np.savez(folder / "data.npz", **arrays)
    return data.load(str(folder / "data.npz"), model.signature.inputs, None)


@pytest.mark.parametrize("labels", [False, True])
def test_with_data_the_default_prunes_until_it_hurts(tmp_path: Path, labels: bool) -> None:
    model = redundant()
    samples = calibration(tmp_path, model, 60, labels)
    pruned = prune(model, Prune(round_to=1, repair=False), calibration=samples)
    after = widths(pruned.after)
    assert 5 <= after["conv0"] <= 17 and 5 <= after["conv1"] <= 17  # the weak half is gone, in steps
    rule = pruned.plan.items[0]["rule"]
    assert "30 held-out samples" in rule and ("top-1" if labels else "disagreement") in rule
    assert pruned.ctx.inputs.labels_used == labels
    assert_twin(pruned)


def test_no_drop_allowed_removes_less_than_some_drop(tmp_path: Path) -> None:
    model = chained(32, 32)
    samples = calibration(tmp_path, model, 60, False)
    strict = prune(model, Prune(round_to=1, max_drop=0.0), calibration=samples)
    loose = prune(model, Prune(round_to=1, max_drop=95.0), calibration=samples)
    assert widths(loose.after)["conv0"] < widths(strict.after)["conv0"]


def test_careful_planning_puts_the_model_back(tmp_path: Path) -> None:
    model = redundant()
    samples = calibration(tmp_path, model, 20, False)
    before = model.to_bytes()
    Prune(round_to=1).plan(model, context(model, calibration=samples))
    assert model.to_bytes() == before


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"group": "conv9", "tensor": "conv9.out", "remove": [0]}, "does not have"),
        ({"group": "conv0", "tensor": "conv0.out", "remove": [8]}, "only 8 channels"),
        ({"group": "fc", "tensor": "fc.out", "remove": [0]}, "exposes its channels"),
        ({"group": "conv0", "tensor": "conv0.out", "remove": list(range(8))}, "without any channel"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(item: dict[str, object], message: str) -> None:
    model = chained(8, 8)
    before = model.to_bytes()
    with pytest.raises(PassError, match=message):
        Prune().apply(model, Plan((item,)), context(model))
    assert model.to_bytes() == before


def test_an_edited_plan_is_carried_out() -> None:
    model = chained(8, 8)
    pruned = copy(model)
    Prune().apply(
        pruned, Plan(({"group": "conv1", "tensor": "conv1.out", "remove": [0, 7]},)), context(pruned)
    )
    assert widths(pruned) == {"conv0": 8, "conv1": 6, "fc": 5}
    assert isinstance(onnx.load_from_string(pruned.to_bytes()), onnx.ModelProto)


def test_a_goal_for_a_model_without_layers_is_missed() -> None:
    net = Net(0)
    model = load(net.model(net.op("Relu", net.input())))
    ctx = context(model)
    Prune(macs=0.5).plan(model, ctx)
    assert "prune can leave 1 of the macs at best" in ctx.missed[0]


@pytest.mark.parametrize(
    "options, what",
    [
        ({"macs": 0.5, "max_drop": 2.0}, "max_drop"),
        ({"steps": 3}, "steps needs a goal"),
        ({"macs": 0.5, "steps": 3, "repair": False}, "steps needs repair"),
        ({"macs": 0.5, "importance": "obs", "reduction": "max"}, "reduction"),
        ({"macs": 0.5, "importance": "obs", "normaliser": "none"}, "normaliser"),
    ],
)
def test_options_that_would_not_be_heard_are_refused(options: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Prune(**options)  # type: ignore[arg-type]
    assert Prune(macs=0.5, steps=3).for_trials().steps == 1
