"""Who answers changes nothing of a judgement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphopt
from graphopt.execution import LEAF
from tests.calibration.test_workers import network

COUNT = 2 * LEAF + 5


def distance(outputs: dict[str, np.ndarray], labels: np.ndarray) -> np.ndarray:
    return -np.abs(outputs["r"]).mean(axis=(1, 2, 3)) - labels


@pytest.mark.parametrize("reference", [True, False])
def test_workers_give_the_same_evaluation(reference: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model, other, path = tmp_path / "m.onnx", tmp_path / "o.onnx", tmp_path / "data.npz"
    network().save(model)
    changed = network()
    weight = next(tensor for tensor in changed.graph.initializers if tensor.name == "w")
    weight.values = weight.values + np.float32(0.01)
    changed.save(other)
    np.savez(path, x=rng.normal(size=(COUNT, 3, 8, 8)).astype(np.float32), labels=np.arange(COUNT))
    given = {"metric": distance, "reference": other if reference else None}
    one, two = (graphopt.evaluate(model, str(path), workers=count, **given) for count in (1, 2))
    assert one == two and one.samples == COUNT
    assert bool(one.paired) == reference
