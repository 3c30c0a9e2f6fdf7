"""Pruning whatever network comes: the masked twin holds, inside too, and a planted error is noticed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from graphopt import ir
from graphopt.passes.fold_bn import FoldBN
from graphopt.passes.prune import Prune
from graphopt.passes.prune.coupling.coupling import couple
from graphopt.passes.prune.surgery.cut import remove_channels
from graphopt.pipeline import Plan
from graphopt.runtime import Session
from tests.corpus import NUMERIC, Case, random_cnn
from tests.passes.prune.oracle import (
    assert_twin,
    context,
    copy,
    feeds_of,
    largest_difference,
    load,
    masked_twin,
    prune,
)

SEEDS = range(60)
RUNNABLE = [case for case in NUMERIC if case.runs and case.valid and case.finite and not case.random]


@pytest.mark.parametrize("seed", SEEDS)
def test_masked_twin(seed: int) -> None:
    model = load(random_cnn(seed))
    if seed % 2:
        FoldBN(lone=True).run(model, context(model))
    ratio, round_to = (0.25, 0.5, 0.75)[seed % 3], (1, 2)[seed % 2]
    assert_twin(prune(model, Prune(ratio=ratio, round_to=round_to)))


@pytest.mark.parametrize("case", RUNNABLE, ids=str)
def test_awkward_models(case: Case) -> None:
    feeds = case.feeds(np.random.default_rng(1))
    model = load(case.build())
    sizes = {name: feed.shape for name, feed in feeds.items()}
    pruned = prune(model, Prune(ratio=0.5, round_to=1), sizes)
    tolerance = 2e-2 if "half" in case.name or "fp16" in case.name else 1e-4
    assert largest_difference(masked_twin(pruned), pruned.after, feeds, "disabled") <= tolerance


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_every_inner_tensor_equals_the_twins_without_the_removed_channels(seed: int) -> None:
    """Each tensor along whose axes channels lie, cut by the coupling's own account, is the pruned one."""
    pruned = prune(load(random_cnn(seed)), Prune(ratio=0.5, round_to=1))
    twin = masked_twin(pruned)
    names = [layer.node.output.name for layer in pruned.coupling.layers if layer.ids is not None]
    feeds = feeds_of(pruned)
    whole = Session(twin, outputs=names, optimization="disabled").run(feeds)
    cut = Session(pruned.after, outputs=names, optimization="disabled").run(feeds)
    for layer in pruned.coupling.layers:
        name, axis = layer.node.output.name, 1  # random networks have no MatMul
        kept = whole[name].compress(pruned.coupling.kept(layer.ids, pruned.keep), axis)
        np.testing.assert_allclose(cut[name], kept, rtol=0, atol=1e-4 * max(np.abs(whole[name]).max(), 1e-2))


@pytest.mark.parametrize("seed", range(8))
def test_planted_error_is_noticed(seed: int) -> None:
    """One consumer keeps one wrong channel: valid shapes, wrong numbers."""
    model = load(random_cnn(seed, steps=4))
    model.graph.remove_dead()
    pruned = prune(model, Prune(ratio=0.5, round_to=1))
    spoilt = copy(pruned.before)
    coupling = couple(spoilt, pruned.facts)
    slots = list(coupling.slots)
    candidates = [number for number, slot in enumerate(slots) if _can_be_wrong(pruned, slot)]
    if not candidates:
        pytest.skip("nothing was pruned in front of a weight")
    wrong = candidates[-1]  # close to the output, where no dead activation hides the error
    slots[wrong] = dataclasses.replace(slots[wrong], ids=_rolled(slots[wrong], slots[wrong].ids))
    remove_channels(spoilt, dataclasses.replace(coupling, slots=tuple(slots)), pruned.keep)
    assert largest_difference(masked_twin(pruned), pruned.after, feeds_of(pruned), "disabled") <= 1e-4
    assert largest_difference(masked_twin(pruned), spoilt, feeds_of(pruned), "disabled") > 1e-3


def _can_be_wrong(pruned, slot) -> bool:  # type: ignore[no-untyped-def]
    kept = pruned.coupling.kept(slot.ids, pruned.keep)
    return slot.role == "in" and bool((kept != _rolled(slot, kept)).any())


def _rolled(slot, entries: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Shift by one channel within each group."""
    return np.roll(entries.reshape(slot.groups, -1), 1, axis=1).ravel()


@pytest.mark.parametrize("seed", range(10))
def test_identity_plan_changes_no_bit(seed: int) -> None:
    model = load(random_cnn(seed))
    pruned = prune(model, Prune(ratio=0.0, round_to=1))
    assert not any(item["remove"] for item in pruned.plan.items)
    assert pruned.after.to_bytes() == model.to_bytes()


@pytest.mark.parametrize("seed", range(10))
def test_plan_replays_after_a_round_trip(seed: int) -> None:
    model = load(random_cnn(seed))
    pruned = prune(model, Prune(ratio=0.5, round_to=1))
    again = copy(model)
    items = json.loads(json.dumps([dict(item) for item in pruned.plan.items]))
    Prune().apply(again, Plan(tuple(items)), context(again))
    assert again.to_bytes() == pruned.after.to_bytes()


@pytest.mark.parametrize("seed", range(6))
def test_disjoint_plans_commute(seed: int) -> None:
    """Pruning group by group, in any order, gives the same network as pruning all groups at once."""
    model = load(random_cnn(seed))
    pruned = prune(model, Prune(ratio=0.5, round_to=1))
    one_by_one = copy(model)
    for item in reversed(pruned.plan.items):
        Prune().apply(one_by_one, Plan((item,)), context(one_by_one))
    feeds = feeds_of(pruned)
    assert largest_difference(pruned.after, one_by_one, feeds, "disabled") == 0.0


def test_planning_leaves_the_model_alone() -> None:
    model = load(random_cnn(3))
    before = model.to_bytes()
    Prune(ratio=0.5).plan(model, context(model))
    assert model.to_bytes() == before
    assert isinstance(model, ir.Model)
