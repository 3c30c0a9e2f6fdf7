"""What counts as harm when nobody says what is right."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.pipeline import Context
from graphopt.pipeline.harm import Harm, Variation
from graphopt.pipeline.inputs import Inputs


def test_variation_is_the_power_around_the_mean() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, (40, 3, 4))
    found = Variation()
    for value in values:
        found.add(value)
    assert found.power == pytest.approx(np.square(values - values.mean(axis=0)).sum())
    found.add(np.ones((2, 2)))
    assert found.power == pytest.approx(np.square(values).sum() + 4)


def test_a_classifier_that_always_answers_the_same_hides_no_harm(fakes: SimpleNamespace) -> None:
    """One bias dominates all scores: no class ever changes, however wrong the rest becomes."""
    proto = fakes.build()
    bias = next(t for t in proto.graph.initializer if t.name == "fc_bias")
    bias.raw_data = np.array([99, 0, 0, 0, 0, 0, 0], np.float32).tobytes()
    model = ir.from_bytes(proto.SerializeToString())
    samples = data.synthetic(model.signature.inputs, {}, 32, 0)
    harm = Harm(model, Context(Inputs(model, calibration=samples)))
    assert "noise" in harm.measure
    broken = ir.from_bytes(proto.SerializeToString())
    gemm = next(iter(broken.graph.find("Gemm")))
    broken.graph.set_constant(gemm, 1, np.zeros_like(gemm.inputs[1].constant))
    assert harm.of(model) == 0.0
    assert harm.of(broken) > 50.0
