"""Which layers are drawn of a model that is too large to be drawn whole."""

from __future__ import annotations

from collections.abc import Sequence


def telling(prices: Sequence[float], reads: Sequence[Sequence[int]], most: int) -> set[int]:
    """The most expensive layers and those where paths from them meet, at most so many together.

    Without the meeting points every layer behind a chain of additions would read all that was ever added.
    """
    ordered = sorted((i for i, price in enumerate(prices) if price), key=lambda i: -prices[i])
    count = min(len(ordered), most)
    while len(layers := _with_joins(set(ordered[:count]), reads)) > most:
        count = count * 7 // 8
    return layers


def _with_joins(dear: set[int], reads: Sequence[Sequence[int]]) -> set[int]:
    layers = set(dear)
    nearest: list[int | None] = []  # the one found layer that each reads from, through others
    for i, sees in enumerate(reads):
        sources = {source for j in sees if (source := nearest[j]) is not None}
        if len(sources) > 1:
            layers.add(i)
        nearest.append(i if i in layers else next(iter(sources), None))
    return layers
