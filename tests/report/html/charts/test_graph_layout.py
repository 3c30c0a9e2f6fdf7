"""A layout keeps its promises on any graph: edges go down, neighbours do not touch, nothing is lost."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from graphopt.report.html.charts.graph_layout import DISTANCE, condense, lay_out


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    count = draw(st.integers(1, 40))
    return [draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True)) if i else [] for i in range(count)]


@given(graphs())
def test_edges_go_down_and_neighbours_do_not_touch(reads: list[list[int]]) -> None:
    found = lay_out(reads)
    assert set(found.routes) == {(j, i) for i, sees in enumerate(reads) for j in sees}
    rows = defaultdict(list)
    for x, rank in zip(found.x, found.rank, strict=True):
        rows[rank].append(x)
    for xs in rows.values():
        ordered = sorted(xs)
        assert all(b - a >= DISTANCE - 1e-6 for a, b in pairwise(ordered))
    for (j, i), route in found.routes.items():
        assert route[0] == (found.x[j], found.rank[j]) and route[-1] == (found.x[i], found.rank[i])
        assert [rank for _, rank in route] == list(range(found.rank[j], found.rank[i] + 1))


def test_a_chain_is_straight_beside_its_skips() -> None:
    reads = [[], [0], [1], [2, 0], [3], [4], [5, 3], [6]]
    assert max(lay_out(reads).x) - min(lay_out(reads).x) < 0.3


def test_what_is_read_late_stands_late() -> None:
    reads: list[list[int]] = [[], [], [0], [2], [3], [4, 1]]  # node 1 is a constant of the last one
    assert lay_out(reads).rank[1] == lay_out(reads).rank[4]


def test_long_edges_of_huge_graphs_are_drawn_straight() -> None:
    count = 600
    reads = [[i - 1, *range(0, i - 1, 3)] if i else [] for i in range(count)]
    assert {len(route) for route in lay_out(reads).routes.values()} == {2}


@given(graphs(), st.data())
def test_condensing_keeps_paths(reads: list[list[int]], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(reads), max_size=len(reads)))
    found = condense(reads, kept, most=1000)
    numbers = [i for i, keep in enumerate(kept) if keep]
    assert len(found) == len(numbers)
    for i, sources in zip(numbers, found, strict=True):
        assert {numbers[s] for s in sources} == _through(reads, kept, i)


def _through(reads: list[list[int]], kept: list[bool], node: int) -> set[int]:
    """Kept nodes from which a path of left-out nodes leads to a node: by search."""
    found, todo, seen = set(), list(reads[node]), set()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        if kept[one]:
            found.add(one)
        else:
            todo += reads[one]
    return found
