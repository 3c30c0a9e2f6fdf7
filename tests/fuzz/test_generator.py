"""The generator: every block makes graphs that run, a seed is one graph, the draws cover what they should."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from tests.fuzz.graphs.blocks import BLOCKS
from tests.fuzz.graphs.quirks import QUIRKS
from tests.fuzz.graphs.recipe import INPUTS, Graph, Recipe, build, draw, settle

PLAIN = Recipe(0, (3, 6, 6), 1, False, 17, 8, "float32", (), "plain", ())
ROWS = {2: (6,), 3: (5, 6), 4: (4, 6, 6), 5: (2, 3, 4, 4)}


def alone(name: str, seed: int) -> Graph | None:
    """A graph of one block on an input of a rank that it takes."""
    block = BLOCKS[name]
    ranks = sorted(block.ranks)
    row = ROWS[ranks[seed % len(ranks)]]
    opset = max(block.since, (12, 17, 21, 23)[seed % 4])
    recipe = dataclasses.replace(PLAIN, seed=seed, row=row, opset=opset, steps=((0, name),))
    graph = settle(recipe)
    return graph if graph is not None and graph.recipe.steps else None


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_makes_graphs_that_run(name: str) -> None:
    made = [alone(name, seed) for seed in range(8)]
    assert sum(graph is not None for graph in made) >= 4


@pytest.mark.parametrize("name", QUIRKS)
def test_every_quirk_leaves_graphs_that_run(name: str) -> None:
    recipe = dataclasses.replace(
        PLAIN, steps=((0, "conv"), (1, "residual"), (2, "perceptron")), quirks=(name,)
    )
    graph = settle(recipe)
    assert graph is not None
    assert graph.recipe.quirks == (name,)
    plain = build(dataclasses.replace(graph.recipe, quirks=()))
    assert graph.model != plain.model or name in ("tied_weights", "local_function")


def test_a_seed_is_one_graph() -> None:
    first, second = settle(draw(3)), settle(draw(3))
    assert first is not None and second is not None
    assert first.model.SerializeToString() == second.model.SerializeToString()
    assert Recipe.read(str(first.recipe)) == first.recipe
    assert build(Recipe.read(str(first.recipe))).model == first.model


def test_draws_cover_opsets_versions_types_and_blocks() -> None:
    recipes = [draw(seed) for seed in range(400)]
    assert {recipe.opset for recipe in recipes} == set(range(9, 24))
    assert {3, 4, 11} <= {recipe.ir for recipe in recipes}
    assert {recipe.dtype for recipe in recipes} == {"float32", "float16", "double"}
    assert {recipe.row for recipe in recipes} == set(INPUTS)
    blocks = Counter(name for recipe in recipes for _, name in recipe.steps)
    assert set(blocks) == set(BLOCKS)
    quirks = Counter(name for recipe in recipes for name in recipe.quirks)
    assert set(quirks) == set(QUIRKS)


def test_most_of_what_is_drawn_stays() -> None:
    made = [settle(draw(seed)) for seed in range(40)]
    graphs = [graph for graph in made if graph is not None]
    assert len(graphs) >= 38
    assert sum(len(graph.recipe.steps) for graph in graphs) >= 4 * len(graphs)
    assert max(len(graph.model.SerializeToString()) for graph in graphs) < 200_000
