"""Pruning with its default options, fitting and careful search included: valid, same signature, finite."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.passes.prune import Prune
from graphopt.runtime import Session
from tests.passes.prune.oracle import context, copy, load
from tests.passes.prune.wide_networks import plant, wide_network

FAST, ALL, BLOCK = 12, 30, 6

OPTIONS: tuple[dict[str, object], ...] = (
    {"ratio": 0.5},
    {"macs": 0.6},
    {},
    {"params": 0.5, "steps": 2},
    {"ratio": 0.3, "allow_inexact": True},
    {"bytes": 0.7, "ranking": "layer", "min_channels": 2},
)


def feeds_of(model: ir.Model, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    shapes = {
        port.name: [size if isinstance(size, int) else batch for size in port.shape]
        for port in model.signature.inputs
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def check(seed: int) -> bool:
    """Prune one network; return whether channels went."""
    proto = wide_network(seed)
    before = load(plant(proto, seed) if seed % 3 == 0 else proto)
    after = copy(before)
    options = OPTIONS[seed % len(OPTIONS)]
    if seed % 2 or not options:
        samples = data.synthetic(before.signature.inputs, dict(context(before).shapes), 12, seed)
        ctx = context(after, calibration=samples)
    else:
        ctx = context(after)
    Prune(round_to=1, **options).run(after, ctx)  # type: ignore[arg-type]
    after.check()
    assert after.signature == before.signature
    for batch in (1, 3):  # planned on one size, run on others
        feeds = feeds_of(before, batch)
        reference = Session(before, optimization="disabled").run(feeds)
        results = Session(after, optimization=("disabled", "all")[seed % 2]).run(feeds)
        for name, value in results.items():
            assert value.shape == reference[name].shape
            assert np.isfinite(value).all() or not np.isfinite(reference[name]).all()
    return bool(ctx.changes)


@pytest.mark.parametrize("first", range(0, FAST, BLOCK))
def test_defaults(first: int) -> None:
    assert sum(check(seed) for seed in range(first, first + BLOCK)) >= BLOCK // 3


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FAST, ALL, BLOCK))
def test_defaults_at_length(first: int) -> None:
    assert sum(check(seed) for seed in range(first, first + BLOCK)) >= BLOCK // 3
