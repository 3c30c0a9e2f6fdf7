"""Goals of the run with passes as they are, and what a metric that cannot judge does to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.errors import UsageError

MODELS = Path(__file__).parents[3] / "models"
DATA = f"{MODELS / 'fashion_samples.npz'}#images,labels"


def optimize(**goals: Any) -> graphopt.Result:
    return graphopt.optimize(
        MODELS / "fashion_residual.onnx",
        "prune:repair=false",
        calibration=f"{DATA}::24",
        evaluation=f"{DATA}::24:48",
        threads=1,
        latency=False,
        **goals,
    )


def raises(outputs: Any, labels: Any) -> Any:
    raise ValueError("boom")


def answers_nan(outputs: Any, labels: Any) -> Any:
    return np.full(len(labels), np.nan)


@pytest.mark.parametrize(
    ("metric", "says"), [(raises, "the metric raises failed: ValueError: boom"), (answers_nan, "nan")]
)
def test_a_metric_that_cannot_judge_is_refused_before_the_work(metric: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        optimize(metric=metric, max_drop=5.0)


def test_a_counted_goal_of_the_run_is_kept_and_said() -> None:
    result = optimize(goal="macs=0.8")
    assert result.report.after.macs is not None and result.report.before.macs is not None
    assert 0.7 < result.report.after.macs / result.report.before.macs <= 0.8
    assert result.missed == ()
    budget = result.report.budget
    assert budget is not None
    assert budget.goal == 0.8
    assert "of the macs left after" in budget.said[-1]
    assert result.report.to_json()["budget"]["saves"] == "macs"


def test_a_goal_out_of_reach_is_missed_with_how_far_it_got() -> None:
    (missed,) = optimize(goal="macs=0.0001").missed
    assert "macs=0.0001 is out of reach: with every move taken" in missed


@pytest.mark.parametrize("flags", [{}, {"target": "tensorrt"}, {"goal": "macs=0.9"}])
def test_integers_are_stored_where_time_does_not_count(flags: dict[str, Any]) -> None:
    result = graphopt.optimize(
        MODELS / "fashion_residual.onnx",
        "prune:repair=false,quant:rounding=nearest:bias_correction=false:equalise=none:absorb=false",
        calibration=f"{DATA}::24",
        max_drop=None if "goal" in flags else 8,
        risk=True,
        threads=1,
        latency=False,
        **flags,
    )
    stored = [
        node
        for node in result.model.graph.nodes
        if node.op in ("Conv", "Gemm") and node.inputs[1].producer is not None
    ]
    assert len(stored) >= 4
    assert result.report.after.bytes < 0.6 * result.report.before.bytes
