"""The tree depends on the number of samples alone: who computes what, and when it comes, changes no bit."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.execution import Reduction, parts
from graphopt.execution.reduction import LEAF, leaves


@dataclass(frozen=True)
class Term:
    """A sum that remembers how it was made."""

    text: str

    def merge(self, other: Term) -> Term:
        return Term(f"({self.text}{other.text})")


def whole(first: int, size: int, level: int) -> str:
    """The node of the tree from its definition, by recursion."""
    if level == 0:
        return chr(0x100 + first)
    half = 1 << (level - 1)
    left = whole(first, min(half, size), level - 1)
    return f"({left}{whole(first + half, size - half, level - 1)})" if size > half else left


def node(first: int, size: int) -> Term:
    return Term(whole(first, size, max(size - 1, 0).bit_length()))


@given(st.integers(1, 200), st.integers(1, 9), st.booleans(), st.randoms())
def test_any_cut_in_any_order_gives_the_same_tree(
    count: int, workers: int, heavy: bool, random: Random
) -> None:
    cut = parts(count, workers, heavy=heavy)
    assert [leaf for first, size in cut for leaf in range(first, first + size)] == list(range(count))
    random.shuffle(cut)
    total: Reduction[Term] = Reduction(count)
    for first, size in cut:
        total.add(first, size, node(first, size))
    assert total.result() == node(0, count)


def test_a_leaf_counts_once() -> None:
    total: Reduction[Term] = Reduction(8)
    total.add(0, 4, node(0, 4))
    for first, size in ((0, 4), (2, 2), (3, 1)):
        with pytest.raises(ValueError, match="counted already"):
            total.add(first, size, node(first, size))
    with pytest.raises(ValueError, match="4 of 8 leaves are missing"):
        total.result()


def test_leaves_cover_the_samples() -> None:
    assert [leaves(count) for count in (1, LEAF, LEAF + 1)] == [1, 1, 2]


@pytest.mark.parametrize(("workers", "count"), list(itertools.product((1, 2, 4, 64), (64, 1024))))
def test_heavy_results_are_few_and_small_tasks_come_last(workers: int, count: int) -> None:
    heavy = parts(count, workers, heavy=True)
    assert len(heavy) == min(2 * workers, count)
    sizes = [size for _, size in parts(count, workers)]
    assert sizes[0] >= count / (4 * workers) and (workers == 1 or sizes[-1] == 1)
