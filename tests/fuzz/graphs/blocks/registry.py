"""Which blocks there are, and what each can be built on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz.graphs.draft import Draft, Feature

Function = Callable[[Draft, Feature], Feature]
ANY = frozenset({2, 3, 4, 5})


@dataclass(frozen=True)
class Block:
    """A block, the ranks that it takes, the opset that it needs, and how often it is drawn."""

    name: str
    build: Function
    ranks: frozenset[int]
    since: int
    odds: float


BLOCKS: dict[str, Block] = {}


def block(*ranks: int, since: int = 9, odds: float = 1.0) -> Callable[[Function], Function]:
    """Register a function as a block for features of these ranks, all when none is named."""

    def register(build: Function) -> Function:
        name = build.__name__
        if name in BLOCKS:
            raise ValueError(f"two blocks are named {name}")
        BLOCKS[name] = Block(name, build, frozenset(ranks) or ANY, since, odds)
        return build

    return register
