"""The search without a goal: how many trials it takes, and where it ends."""

from __future__ import annotations

import pytest

import graphopt
from graphopt import ir
from graphopt.passes.lowrank.ranks.choice import Chosen
from graphopt.passes.lowrank.ranks.search import FURTHER, last_within_limit
from tests.corpus._net import Net
from tests.passes.lowrank.nets import load
from tests.passes.lowrank.test_lowrank import residual

STEPS: list[Chosen] = [(None,) * step for step in range(40)]  # told apart by their length


class Scale:
    """Harm is the step in points, a fraction of it after fitting; counts the trials."""

    def __init__(self, each: float, fitted: float) -> None:
        self.each, self.fitted = each, fitted
        self.now, self.quickly, self.thoroughly = 0.0, 0, 0

    def quick(self, chosen: Chosen) -> None:
        self.now, self.quickly = self.each * len(chosen), self.quickly + 1

    def thorough(self, chosen: Chosen) -> None:
        self.now, self.thoroughly = self.fitted * len(chosen), self.thoroughly + 1

    def of(self, model: ir.Model) -> float:
        return self.now


def found(scale: Scale) -> int:
    return len(last_within_limit(residual(), STEPS, scale.quick, scale.thorough, scale, 1.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(("each", "last"), [(0.05, 20), (0.3, 3), (1.0, 1), (0.001, 39)])
def test_it_goes_as_far_as_the_limit(each: float, last: int) -> None:
    scale = Scale(each, each)
    assert found(scale) == last
    assert scale.quickly <= 7 and scale.thoroughly <= 2


def test_fitting_takes_it_a_few_steps_further() -> None:
    assert found(Scale(0.1, 0.01)) == 10 + FURTHER - 1


def test_where_the_first_step_fails_no_other_is_tried() -> None:
    scale = Scale(30.0, 5.0)
    assert found(scale) == 0
    assert (scale.quickly, scale.thoroughly) == (1, 1)


def test_where_the_first_step_passes_only_after_fitting_it_is_taken() -> None:
    assert found(Scale(30.0, 0.9)) == 1


@pytest.mark.parametrize("spec", ["lowrank", "lowrank:macs=0.7", "lowrank:params=0.7"])
def test_a_model_without_layers_stays_as_it_is(spec: str) -> None:
    """There are no MACs and no parameters to take a share of."""
    net = Net()
    model = net.model(net.op("Relu", net.input()))
    result = graphopt.optimize(load(model), spec, latency=False)
    assert [node.op for node in result.model.graph.nodes] == ["Relu"]
