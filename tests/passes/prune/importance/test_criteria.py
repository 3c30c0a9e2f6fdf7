"""Importance: each criterion removes first what it was made to see."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import ir
from graphopt.errors import UsageError
from graphopt.passes.prune import Prune
from graphopt.passes.prune.importance.criteria import CRITERIA, REDUCTIONS, scores
from tests.passes.prune.oracle import assert_twin, context, copy, prune
from tests.passes.prune.repair.test_layerwise import samples_of
from tests.passes.prune.test_goals import chained


def edited(change: dict[int, float], layer: str = "conv0", seed: int = 0) -> ir.Model:
    """A chain whose channels of one layer are multiplied, filters and biases."""
    model = chained(8, 8, seed=seed)
    node = next(node for node in model.graph.find("Conv") if node.name == layer)
    for index in (1, 2):
        values = np.array(node.inputs[index].constant)
        for channel, factor in change.items():
            values[channel] *= factor
        node.inputs[index] = model.graph.add_constant("edited", values)
    return model


def removed(model: ir.Model, **options: object) -> dict[str, list[int]]:
    step = Prune(ratio=0.25, round_to=1, repair=False, **options)  # type: ignore[arg-type]
    found = prune(model, step, calibration=samples_of(model))
    assert_twin(found, ("disabled",))
    return {item["group"]: item["remove"] for item in found.plan.items if item["remove"]}


@pytest.mark.parametrize("importance", ["l1", "l2", "energy", "variance"])
def test_small_channels_go_first(importance: str) -> None:
    assert removed(edited({2: 1e-3, 5: 1e-3}), importance=importance)["conv0"] == [2, 5]


def test_fpgm_takes_what_lies_in_the_middle() -> None:
    """Two filters equal to the mean of the others go, though their norm is not the least."""
    model = chained(8, 8)
    node = next(model.graph.find("Conv"))
    values = np.array(node.inputs[1].constant) + 3.0
    values[1] *= 0.5  # small, but far from all others
    values[[3, 6]] = values[[0, 2, 4, 5, 7]].mean(axis=0)
    node.inputs[1] = model.graph.add_constant("middle", values)
    assert removed(model, importance="fpgm")["conv0"] == [3, 6]
    assert 1 in removed(model, importance="l2")["conv0"]


def test_bn_goes_by_the_notes_of_folded_normalisations() -> None:
    model = chained(8, 8)
    gamma = np.arange(8, 0, -1.0)
    ctx = context(model, calibration=samples_of(model))
    ctx.notes["batch_norm"] = {"conv0.out": {"gamma": gamma, "beta": np.zeros(8)}}
    plan = Prune(ratio=0.25, round_to=1, importance="bn").plan(model, ctx)
    assert next(item["remove"] for item in plan.items if item["group"] == "conv0") == [6, 7]


def test_random_depends_on_the_seed_alone() -> None:
    model = chained(16, 16)
    assert removed(copy(model), importance="random") == removed(copy(model), importance="random")


@pytest.mark.parametrize("importance", sorted(CRITERIA))
@pytest.mark.parametrize("ranking", ["global", "layer"])
def test_every_criterion_reaches_a_goal(importance: str, ranking: str) -> None:
    model = chained(24, 16, 24)
    step = Prune(macs=0.6, round_to=2, importance=importance, ranking=ranking, repair=False)
    found = prune(model, step, calibration=samples_of(model))
    assert not found.ctx.missed
    assert_twin(found, ("disabled",))
    if ranking == "layer":
        left = [item["left"] / item["channels"] for item in found.plan.items if "members" in item]
        assert max(left) - min(left) <= 2 / 16


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_reductions(reduction: str) -> None:
    members = [(np.array([1, 2]), np.array([1.0, 3.0])), (np.array([2, 3]), np.array([1.0, 1.0]))]
    found = scores(iter(members), 5, reduction, "none")
    middle = {"mean": 2.0, "sum": 4.0, "max": 3.0, "min": 1.0, "product": 3.0**0.5, "first": 3.0}
    np.testing.assert_allclose(found, [0.0, 1.0, middle[reduction], 1.0, 0.0])


@pytest.mark.parametrize(
    ("normaliser", "divisor"), [("mean", 2.0), ("sum", 4.0), ("max", 3.0), ("none", 1.0)]
)
def test_normalisers(normaliser: str, divisor: float) -> None:
    members = [(np.array([0, 1]), np.array([1.0, 3.0]))]
    np.testing.assert_allclose(scores(iter(members), 2, "sum", normaliser), [1.0 / divisor, 3.0 / divisor])


def test_what_goes_by_samples_needs_some() -> None:
    model = chained(8, 8)
    with pytest.raises(UsageError, match="goes by samples"):
        Prune(importance="energy").plan(model, context(model))
