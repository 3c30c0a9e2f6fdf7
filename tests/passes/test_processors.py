"""What the processor of this machine decides about widths and ranks, where it will run them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt import data, ir, targets
from graphopt.passes.lowrank import LowRank
from graphopt.passes.prune import Prune
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus._net import Net
from tests.machines import ELSEWHERE, MACHINES, pretend

WIDE = 48
STEPS: dict[str, Prune | LowRank] = {
    "prune by samples": Prune(ratio=0.5),
    "prune by norms": Prune(macs=0.5, importance="l2", repair=False),
    "lowrank": LowRank(macs=0.5),
}
ISA = pytest.mark.parametrize("isa", MACHINES)
STEP = pytest.mark.parametrize("name", STEPS)


def network() -> ir.Model:
    """Two layers of 48 channels whose singular values fall, as those of trained ones do."""
    net = Net(5)
    x, inputs = net.input(shape=(1, 3, 8, 8)), 3
    for number in range(2):
        left = net.rng.standard_normal((WIDE, WIDE)) * np.geomspace(1, 0.02, WIDE)
        weight = left @ net.rng.standard_normal((WIDE, inputs * 9)) / 8
        constant = net.const(weight.reshape(WIDE, inputs, 3, 3).astype(np.float32), f"weight{number}")
        x = net.op("Relu", net.op("Conv", x, constant, pads=[1] * 4, name=f"conv{number}"))
        inputs = WIDE
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x))
    proto = net.model(net.gemm(pooled, (5, WIDE), bias=(5,), transB=1, name="fc"))
    return ir.from_bytes(proto.SerializeToString())


def carried_out(step: Prune | LowRank, target: str) -> tuple[bytes, Any, Context]:
    """The file, the items of its plan, and what was said."""
    model = network()
    samples = data.synthetic(model.signature.inputs, Inputs(model).shapes, 8, 0)
    ctx = Context(Inputs(model, calibration=samples), target=targets.load(target))
    plan = step.plan(model, ctx)
    step.apply(model, plan, ctx)
    return model.to_bytes(), plan.items, ctx


WANTED: dict[tuple[str, str], tuple[bytes, Any]] = {}  # what the first machine made


@ISA
@STEP
@pytest.mark.parametrize("target", ELSEWHERE)
def test_plans_and_files_for_other_targets_are_the_same_everywhere(
    target: str, name: str, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(isa, monkeypatch)
    made, items, ctx = carried_out(STEPS[name], target)
    assert WANTED.setdefault((target, name), (made, items)) == (made, items)
    assert "assumed" not in ctx.details and "as for this" not in ctx.summary
    assert ctx.changes  # something was cut or split


@ISA
@STEP
def test_the_report_says_which_blocks_were_assumed(
    name: str, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(isa, monkeypatch)
    block = MACHINES[isa][1]
    made, _, ctx = carried_out(STEPS[name], "ort-cpu")
    assert ctx.details["assumed"] == {"isa": isa, "channel_block": block}
    assert (f"multiples of 16 channels, as for this {isa}" in ctx.summary) == (block == 16)
    widths = {node.inputs[1].constant.shape[0] for node in ir.from_bytes(made).graph.find("Conv")}
    assert all(width % block == 0 for width in widths)


@STEP
def test_widths_of_the_users_own_assume_nothing(name: str) -> None:
    step = {"prune": Prune(ratio=0.5, round_to=4), "lowrank": LowRank(macs=0.5, round_to=4)}[name.split()[0]]
    _, _, ctx = carried_out(step, "ort-cpu")
    assert "assumed" not in ctx.details and "as for this" not in ctx.summary
