"""The oracle of pruning: the pruned model equals the original whose removed channels nobody reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from graphopt import ir
from graphopt.passes.prune import Prune
from graphopt.passes.prune.attention.separate import separate
from graphopt.passes.prune.coupling.coupling import Coupling, couple, with_bundles
from graphopt.passes.prune.coupling.facts import Facts, gather_facts
from graphopt.passes.prune.plan import read_items
from graphopt.passes.prune.repair.constant_channels import absorb_constants
from graphopt.passes.prune.selection.predict import Keep
from graphopt.pipeline import Context, Plan
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import Session

TOLERANCE = 1e-4  # of the largest value
NOISE = 1e-6  # absolute; a sigmoid of a large negative number has no digits


def load(proto: onnx.ModelProto) -> ir.Model:
    return ir.from_bytes(proto.SerializeToString())


def copy(model: ir.Model) -> ir.Model:
    return ir.from_bytes(model.to_bytes())


def context(model: ir.Model, **inputs: object) -> Context:
    return Context(Inputs(model, **inputs))


@dataclass
class Pruned:
    """A model before and after pruning by a plan, and what was said about it."""

    before: ir.Model
    after: ir.Model
    plan: Plan
    ctx: Context
    coupling: Coupling
    keep: Keep
    facts: Facts

    @property
    def changed(self) -> dict[str, str]:
        return {change.node: change.what for change in self.ctx.changes}

    @property
    def skipped(self) -> dict[str, str]:
        return {skip.node: skip.reason for skip in self.ctx.skips}


def prune(
    model: ir.Model, step: Prune, sizes: Mapping[str, tuple[int, ...]] | None = None, **inputs: object
) -> Pruned:
    """Plan and apply on a copy of ``model``; the result is checked and keeps the signature.

    Weights are cut and not fitted anew, so that the twin can tell; without data the norm decides.
    """
    step = replace(step, repair=False, importance=step.importance if "calibration" in inputs else "l2")
    after = copy(model)
    ctx = context(after, shapes=sizes, **inputs)
    plan = step.plan(after, ctx)
    facts = gather_facts(after, ctx, step.allow_inexact, step.attention)
    if step.attention == "ranks":  # what that leaves as it was is shown by attention/test_change.py
        separate(after, facts)
        model = copy(after)
    facts = with_bundles(after, facts)
    coupling = couple(after, facts)
    keep = read_items(coupling, plan.items)
    step.apply(after, plan, ctx)
    after.check()
    assert after.signature == model.signature
    return Pruned(model, after, plan, ctx, coupling, keep, facts)


def masked_twin(pruned: Pruned) -> ir.Model:
    """The original with zeros wherever a weight reads a removed channel: exact, whatever lies in between.

    No weight reads queries and keys: there what makes removed channels is zero.  What a constant channel gave
    is in the biases first, as it is in the pruned model.
    """
    twin = copy(pruned.before)
    if not pruned.keep.all():
        absorb_constants(twin, pruned.facts, pruned.ctx)
    summed = list(pruned.coupling.summed)
    for slot in couple(twin, pruned.facts).slots:
        removed = ~pruned.coupling.kept(slot.ids, pruned.keep)
        if slot.role in ("out", "shift"):
            removed &= np.isin(pruned.coupling.on(slot.ids), summed)
        if slot.role != "scale" and removed.any():
            values = slot.zeroed(slot.values, removed)
            slot.node.inputs[slot.index] = twin.graph.add_constant("masked", values)
    return twin


def feeds_of(pruned: Pruned, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of unit variance at the sizes of the run; integer inputs as the run has them."""
    rng = np.random.default_rng(seed)
    sample = next(iter(pruned.ctx.inputs.check)).feeds
    return {
        name: rng.standard_normal(feed.shape).astype(feed.dtype) if feed.dtype.kind == "f" else feed
        for name, feed in sample.items()
    }


def largest_difference(first: ir.Model, second: ir.Model, feeds: dict[str, np.ndarray], level: str) -> float:
    """The largest difference of any output relative to its largest value; 0 below the noise."""
    left = Session(first, optimization="disabled").run(feeds)
    right = Session(second, optimization=level).run(feeds)
    return max((_difference(left[name], right[name]) for name in left), default=0.0)


def _difference(left: object, right: object) -> float:
    if not isinstance(left, np.ndarray) or not isinstance(right, np.ndarray):
        return 0.0 if str(left) == str(right) else np.inf
    assert left.shape == right.shape and left.dtype == right.dtype
    if left.dtype.kind != "f":
        return float(not np.array_equal(left, right))
    distance = float(np.abs(left.astype(np.float64) - right).max(initial=0))
    return 0.0 if distance <= NOISE else distance / max(float(np.abs(left).max(initial=0)), 1e-12)


def assert_twin(
    pruned: Pruned, levels: tuple[str, ...] = ("disabled", "all"), tolerance: float = TOLERANCE
) -> None:
    """The pruned model gives what its masked twin gives."""
    twin, feeds = masked_twin(pruned), feeds_of(pruned)
    for level in levels:
        assert largest_difference(twin, pruned.after, feeds, level) <= tolerance
