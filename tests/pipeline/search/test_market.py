"""One multiplier over moves, against every choice there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from graphopt.cost import LayerShape
from graphopt.pipeline.contract.base import Offer, Plan
from graphopt.pipeline.contract.moves import Effect, Move, Saving
from graphopt.pipeline.search.consumption import Consumption, CostedLayer, Edge, crossings
from graphopt.pipeline.search.market import Choice, Market


def layer(inputs: int, outputs: int, positions: int) -> CostedLayer:
    shape = LayerShape("Conv", (1, inputs, 8, 8), (outputs, inputs, 3, 3))
    return CostedLayer(shape, positions, 4)


def chain(goal: str = "macs", edges: tuple[Edge, ...] = ()) -> Consumption:
    """Three convolutions behind each other."""
    layers = {"a": layer(3, 16, 64), "b": layer(16, 32, 64), "c": layer(32, 16, 64)}
    total = sum(one.takes(goal, one.whole) for one in layers.values())
    return Consumption(goal, layers, total, edges)


def offer(*moves: Move) -> Offer:
    return Offer(moves, lambda model, taken, ctx: Plan())


def group(item: str, gone: int, cost: float, maker: str, reader: str, of: int = 16) -> Move:
    effects = (Effect(maker, outputs=gone), Effect(reader, inputs=gone))
    return Move(item, "group", 1 - gone / of, cost, effects)


def narrow(rng: np.random.Generator) -> Offer:
    """Two groups, four widths each; costs rise ever faster."""
    costs = np.cumsum(np.cumsum(rng.uniform(0.01, 0.1, (2, 4)), axis=1), axis=1)
    first = [group("ab", 3 * (n + 1), float(costs[0, n]), "a", "b") for n in range(4)]
    second = [group("bc", 6 * (n + 1), float(costs[1, n]), "b", "c", 32) for n in range(4)]
    return offer(*first, *second)


def stored(rng: np.random.Generator) -> Offer:
    costs = dict(zip("abc", rng.uniform(0.01, 0.3, 3).tolist(), strict=True))
    moves = (Move(n, "layer", 0.25, cost, (Effect(n, kernel="int8"),)) for n, cost in costs.items())
    return offer(*moves)


def every(market: Market) -> list[Choice]:
    return list(itertools.product(*(range(len(item.moves)) for item in market.items)))


def test_widths_that_meet_in_a_layer_multiply() -> None:
    market = Market([narrow(np.random.default_rng(0))], chain())
    both = (4, 4)
    # a: 3 x 16 -> 3 x 4, b: 16 x 32 -> 4 x 8, c: 32 x 16 -> 8 x 16
    expected = (3 * 4 + 4 * 8 + 8 * 16) / (3 * 16 + 16 * 32 + 32 * 16)
    assert market.left(both) == pytest.approx(expected)
    assert market.left(market.nothing) == 1.0


def test_a_narrower_layer_saves_less_in_eight_bits() -> None:
    market = Market([narrow(np.random.default_rng(0)), stored(np.random.default_rng(0))], chain("bytes"))
    alone = 1.0 - market.left((0, 0, 0, 1, 0))
    behind = market.left((4, 4, 0, 0, 0)) - market.left((4, 4, 0, 1, 0))
    assert 0 < behind < 0.2 * alone  # 4 x 8 weights instead of 16 x 32


@pytest.mark.parametrize("seed", range(8))
def test_no_choice_of_equal_degradation_leaves_much_less(seed: int) -> None:
    """Everett: what a multiplier finds is best for what it comes to; the gap to a budget is one move."""
    rng = np.random.default_rng(seed)
    market, weights = Market([narrow(rng), stored(rng)], chain("bytes")), np.array([1.0, 0.5])
    for multiplier in (0.3, 1.0, 3.0):
        found = market.at(multiplier, weights)
        cost = [float(weights @ market.degradation(c)) + multiplier * market.left(c) for c in every(market)]
        own = float(weights @ market.degradation(found)) + multiplier * market.left(found)
        assert own <= min(cost) * 1.05 + 1e-9


@pytest.mark.parametrize("limit", [0.05, 0.2, 0.6, 5.0])
def test_a_limit_of_degradation_is_kept_and_used(limit: float) -> None:
    rng = np.random.default_rng(3)
    market, weights = Market([narrow(rng), stored(rng)], chain("bytes")), np.array([1.0, 1.0])
    found = market.within_degradation(limit, weights)
    assert float(weights @ market.degradation(found)) <= limit
    fits = [market.left(c) for c in every(market) if float(weights @ market.degradation(c)) <= limit]
    assert market.left(found) <= min(fits) + 0.15


@pytest.mark.parametrize("budget", [0.3, 0.5, 0.9])
def test_a_budget_of_use_is_kept(budget: float) -> None:
    rng = np.random.default_rng(4)
    market, weights = Market([narrow(rng), stored(rng)], chain("bytes")), np.array([1.0, 1.0])
    found, possible = market.within_use(budget, weights)
    assert possible
    assert market.left(found) <= budget
    assert not market.within_use(0.001, weights)[1]


def test_savings_that_a_pass_states_itself_add_up() -> None:
    moves = [Move(name, "table", 0.5, 0.1, saving=Saving(macs=0.2)) for name in ("x", "y")]
    market = Market([offer(*moves)], chain())
    assert market.left((1, 1)) == pytest.approx(0.6)
    assert market.left((1, 0)) == pytest.approx(0.8)


def test_crossings_count_where_neighbours_differ() -> None:
    edges = (Edge("", "a", 1.0), Edge("a", "b", 2.0), Edge("b", "c", 4.0), Edge("c", "", 8.0))
    assert crossings(edges, {}) == 0.0
    assert crossings(edges, dict.fromkeys("abc", "int8")) == 9.0
    assert crossings(edges, {"b": "int8"}) == 6.0


def test_a_layer_alone_in_floats_has_to_pay_for_its_crossings() -> None:
    """In bytes there are none; with dear ones all layers change together or none does."""
    rng = np.random.default_rng(5)
    edges = (Edge("a", "b", 1e9), Edge("b", "c", 1e9))
    market = Market([stored(rng)], chain("bytes", edges))
    for multiplier in (0.01, 0.1, 1.0, 10.0):
        assert len(set(market.at(multiplier, np.array([1.0])))) == 1
