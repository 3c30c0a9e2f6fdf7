"""Blocks of layers fold without circles, hold every layer once, and open between their neighbours."""

from __future__ import annotations

import random
from typing import Any

import pytest

from graphopt.report.html.charts.blocks import Folding, blocks
from graphopt.report.html.graph_views import graph_views, result_rows, with_blocks


def rows_of(names: list[str], reads: list[list[int]]) -> list[dict[str, Any]]:
    return [
        {
            "number": i,
            "name": name,
            "op": "Conv",
            "sub": "",
            "style": "plain",
            "error": "",
            "matters": True,
            "snr": None,
            "macs": (10, 10),
            "reads": sees,
        }
        for i, (name, sees) in enumerate(zip(names, reads, strict=True))
    ]


def chain(names: list[str]) -> list[dict[str, Any]]:
    return rows_of(names, [[i - 1] if i else [] for i in range(len(names))])


def test_names_are_cut_where_blocks_appear() -> None:
    rows = chain([f"/net/block{i // 3}/part/op{i}" for i in range(12)])
    assert [(b.name, b.members) for b in blocks(rows)] == [
        (f"net/block{i}", tuple(range(3 * i, 3 * i + 3))) for i in range(4)
    ]
    assert [b.name for b in blocks(chain([f"layer{i // 2}.conv.{i}" for i in range(8)]))][:2] == [
        "layer0",
        "layer1",
    ]
    assert blocks(chain([f"conv{i}" for i in range(12)])) == []  # no prefixes, no blocks


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_fold_without_circles(seed: int) -> None:
    """Names at random make blocks that read each other in circles: what is left must be a layered order."""
    rng = random.Random(seed)
    count = rng.randint(8, 60)
    names = [f"b{rng.randint(0, 5)}/op{i}" for i in range(count)]
    reads = [sorted(rng.sample(range(i), min(i, rng.randint(0, 3)))) for i in range(count)]
    rows = rows_of(names, reads)
    made = blocks(rows)
    if not made:
        return
    assert sorted(place for block in made for place in block.members) == list(range(count))
    folding = Folding(made, rows)
    assert all(source < number for number, row in enumerate(folding.folded) for source in row["reads"])
    for number, block in enumerate(made):
        opened = folding.opened(number)
        assert all(source < place for place, row in enumerate(opened) for source in row["reads"])
        assert {row["number"] for row in opened} >= set(block.members)


def test_a_block_opens_between_what_it_reads_and_what_reads_it() -> None:
    rows = chain([f"/net/block{i // 3}/op{i}" for i in range(12)])
    opened = Folding(blocks(rows), rows).opened(1)
    assert [row["number"] for row in opened] == ["b0", 3, 4, 5, "b2"]
    assert [row["reads"] for row in opened] == [[], [0], [1], [2], [3]]


def test_the_result_is_drawn_in_an_order_of_its_own() -> None:
    """An added layer stands last in the list of layers and first in the result."""
    rows = chain(["a", "gone", "b", "added"])
    for row, after in zip(rows, ([3], None, [0], []), strict=True):
        row["reads_after"] = after
    rows[1]["state"], rows[3]["state"] = "removed", "added"
    assert [(row["number"], row["reads"]) for row in result_rows(rows)] == [(3, []), (0, [0]), (2, [1])]
    views = graph_views(rows)
    assert views.sides == ["original", "result"] and not views.has_blocks
    assert [view.drawing.count('class="n ') for view in views.views] == [3, 3]


def test_many_nodes_show_their_blocks_first_and_rows_know_theirs() -> None:
    rows = chain([f"/net/block{i // 20}/op{i}" for i in range(100)])
    views = graph_views(rows)
    assert views.first.kind == "blocks" and views.first.drawing.count("block") >= 5
    assert {view.kind for view in views.views} == {"nodes", "blocks", "b0", "b1", "b2", "b3", "b4"}
    assert [row["block"] for row in with_blocks(rows)][::20] == ["b0", "b1", "b2", "b3", "b4"]
