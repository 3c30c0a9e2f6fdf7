"""Without goal and data pruning is exact: random networks with channels that are zero, constant or unread."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import ir
from graphopt.errors import GraphoptError
from graphopt.passes.prune import Prune
from graphopt.passes.prune.coupling import operators, step
from graphopt.passes.prune.coupling.builder import Travel
from tests.corpus import random_cnn
from tests.corpus.networks.random_topology import random_topology
from tests.passes.prune.oracle import context, copy, largest_difference, load
from tests.passes.prune.wide_networks import plant, wide_network

FAST, ALL, BLOCK = 90, 1200, 30
TOLERANCE = 1e-4


def network(seed: int) -> onnx.ModelProto:
    """Mostly the wide kind; every third of the plain generators."""
    if seed % 3:
        return plant(wide_network(seed), seed)
    return plant((random_topology, random_cnn)[seed // 3 % 2](seed), seed)


def feeds_of(model: ir.Model, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {
        port.name: [size if isinstance(size, int) else 2 for size in port.shape]
        for port in model.signature.inputs
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def difference(seed: int) -> tuple[float, int]:
    """How far pruning moves a planted network on two samples, and how many channels went."""
    before = load(network(seed))
    after = copy(before)
    ctx = context(after)
    plan = Prune(round_to=1).plan(after, ctx)
    Prune(round_to=1).apply(after, plan, ctx)
    after.check()
    assert after.signature == before.signature
    level = ("disabled", "all")[seed % 2]
    moved = [largest_difference(before, after, feeds_of(before, number), level) for number in (1, 2)]
    return max(moved), sum(len(item["remove"]) for item in plan.items)


def block(first: int) -> int:
    """Check a block of seeds; return how many networks lost channels."""
    narrowed = 0
    for seed in range(first, first + BLOCK):
        moved, gone = difference(seed)
        assert moved <= TOLERANCE, seed
        narrowed += gone > 0
    return narrowed


@pytest.mark.parametrize("first", range(0, FAST, BLOCK))
def test_dead_only_equals_the_original(first: int) -> None:
    assert block(first) >= BLOCK // 3


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FAST, ALL, BLOCK))
def test_dead_only_equals_the_original_at_length(first: int) -> None:
    assert block(first) >= BLOCK // 3


# -- the oracle notices what is wrong -----------------------------------------------------------------------


def is_noticed() -> bool:
    """Whether any network of the slice comes out invalid or with other numbers."""
    for seed in range(FAST):
        try:
            if difference(seed)[0] > TOLERANCE:
                return True
        except (GraphoptError, AssertionError, ValueError):
            return True
    return False


def test_a_wrong_claim_about_zeros_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer normalisation over another axis said to keep zeros, as it was for long."""
    operator = operators.OPERATORS["LayerNormalization"]
    planted = step.Operator(operator.rule, Travel.KEEPS, operator.outputs)
    monkeypatch.setitem(operators.OPERATORS, "LayerNormalization", planted)
    assert is_noticed()


def test_a_wrong_claim_about_constants_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sigmoid said to keep zeros."""
    planted = step.Operator(operators.OPERATORS["Sigmoid"].rule, Travel.KEEPS)
    for op in ("Sigmoid", "Softplus", "HardSigmoid", "Cos", "Exp"):
        monkeypatch.setitem(operators.OPERATORS, op, planted)
    assert is_noticed()
