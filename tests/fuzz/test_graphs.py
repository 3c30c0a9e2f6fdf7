"""Random graphs through every pass with its defaults, and through pairs of passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.campaign import FAILURES, campaign, summary
from tests.fuzz.graphs.recipe import draw, settle
from tests.fuzz.oracle import judge
from tests.fuzz.specs import SPECS, by_seed, read

QUICK = len(SPECS)  # seeds of the default suite: each spec once
MANY = 2000


@pytest.mark.parametrize("seed", range(QUICK))
def test_a_random_graph(seed: int, tmp_path: Path) -> None:
    graph = settle(draw(seed))
    assert graph is not None
    verdict = judge(graph, by_seed(seed), tmp_path, replay=seed % 5 == 0)
    assert not verdict.failed, f"{verdict.kind} {verdict.key}: {verdict.text}\n{graph.recipe}"


@pytest.mark.parametrize(("seed", "spec"), [(10_448, "prune"), (11_200, "prune,quant")])
def test_a_plan_replays_what_a_run_fits_after_trials_on_fewer_samples(
    seed: int, spec: str, tmp_path: Path
) -> None:
    graph = settle(draw(seed))
    assert graph is not None
    verdict = judge(graph, read(spec), tmp_path, replay=True)
    assert not verdict.failed, f"{verdict.kind} {verdict.key}: {verdict.text}"


@pytest.mark.slow
def test_many_random_graphs() -> None:
    results = campaign(10_000, 10_000 + MANY, [])
    assert len(results) == MANY
    assert not [result for result in results if result.kind in FAILURES], summary(results)
