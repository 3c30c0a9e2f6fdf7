"""One multiplier over the moves of all passes: each item takes the move where degradation and use are least.

The method is H. Everett's (1963), as in ``graphopt.solve.allocation``, with what moves do to the same layer
priced together: items are settled in turn, given the others, until none changes.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from graphopt.pipeline.contract.base import Offer
from graphopt.pipeline.contract.moves import Effect, Move
from graphopt.pipeline.search.consumption import Consumption, State, crossings
from graphopt.pipeline.search.weighted_macs import WEIGHTED_MACS

ROUNDS = 3  # time: each item's decision moves the use of those it meets
BISECTIONS = 40  # theory: halvings of the multiplier's logarithm; the last ones move no item
NOTICED = 1e-6  # noise: of what is there; smaller savings are rounding
WIDEST = 1e9  # fixed: the multiplier is looked for between its inverse and this


@dataclass(frozen=True)
class Item:
    """What can be moved in one pass: ``moves`` exclude each other, the first leaves it as it is."""

    owner: int  # which offer
    moves: tuple[Move, ...]


Choice = tuple[int, ...]
"""For each item the number of the move that is taken; 0 leaves it as it is."""


class Market:
    """The moves of several offers, priced by what they take of one goal."""

    def __init__(self, offers: Sequence[Offer], use: Consumption) -> None:
        self._use = use
        self._offers = len(offers)
        self.items: list[Item] = []
        for owner, offer in enumerate(offers):
            by_item: dict[str, list[Move]] = defaultdict(list)
            for move in offer.moves:
                by_item[move.item].append(move)
            stay = (Move(name, moves[0].unit, 1.0, 0.0) for name, moves in by_item.items())
            pairs = zip(stay, by_item.values(), strict=True)
            self.items += [Item(owner, (first, *moves)) for first, moves in pairs]

    def only(self, owner: int) -> Market:
        """The same items, of which those of one offer alone can be moved."""
        other = copy.copy(self)
        vars(other).pop("_touching", None)  # which other moves touch a layer
        other.items = [
            item if item.owner == owner else Item(item.owner, item.moves[:1]) for item in self.items
        ]
        return other

    @property
    def nothing(self) -> Choice:
        """Every item as it is."""
        return (0,) * len(self.items)

    def taken(self, choice: Choice, owner: int) -> tuple[Move, ...]:
        """The moves that a choice takes of one offer."""
        pairs = zip(self.items, choice, strict=True)
        return tuple(item.moves[at] for item, at in pairs if at and item.owner == owner)

    def degradation(self, choice: Choice) -> np.ndarray:
        """The predicted degradation by offer, (offers,)."""
        found = np.zeros(self._offers)
        for item, at in zip(self.items, choice, strict=True):
            found[item.owner] += item.moves[at].degradation
        return found

    def left(self, choice: Choice) -> float:
        """The fraction of the goal that a choice is predicted to leave."""
        moves = [item.moves[at] for item, at in zip(self.items, choice, strict=True)]
        saved = self._use.saved([effect for move in moves for effect in move.effects])
        stated = sum(self._stated(move) for move in moves)
        return max(1.0 - saved / (self._use.total or 1.0) - stated, 0.0)

    def within_degradation(self, limit: float, weights: np.ndarray) -> Choice:
        """The choice of least use whose weighted degradation is at most ``limit``."""
        low, high, best = -math.log(WIDEST), math.log(WIDEST), self.nothing
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            choice = self.at(math.exp(middle), weights)
            if float(weights @ self.degradation(choice)) <= limit:
                low, best = middle, choice
            else:
                high = middle
        return self._filled(best, limit, weights)

    def _filled(self, choice: Choice, limit: float, weights: np.ndarray) -> Choice:
        """A choice with single moves more, as far as the limit has room: what lies between two multipliers.

        Each time the move that leaves least is taken, of those that leave less than now.
        """
        while True:
            room = limit - float(weights @ self.degradation(choice))
            least, best = self.left(choice), choice
            for number, item in enumerate(self.items):
                now = weights[item.owner] * item.moves[choice[number]].degradation
                for at, move in enumerate(item.moves):
                    if at != choice[number] and weights[item.owner] * move.degradation - now <= room:
                        changed = (*choice[:number], at, *choice[number + 1 :])
                        if (left := self.left(changed)) < least - NOTICED:
                            least, best = left, changed
            if best == choice:
                return choice
            choice = best

    def within_use(self, budget: float, weights: np.ndarray) -> tuple[Choice, bool]:
        """The choice of least degradation that leaves at most ``budget``, and whether there is any."""
        least = self.at(WIDEST, weights)
        if self.left(least) > budget:
            return least, False
        low, high, best = -math.log(WIDEST), math.log(WIDEST), least
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            choice = self.at(math.exp(middle), weights)
            if self.left(choice) <= budget:
                high, best = middle, choice
            else:
                low = middle
        return best, True

    def at(self, multiplier: float, weights: np.ndarray) -> Choice:
        """The choice where every item pays the same for the last unit saved."""
        # From the least use on: a single layer in another kernel than its neighbours never pays.
        choice = [len(item.moves) - 1 for item in self.items]
        touching = self._touching
        for _ in range(ROUNDS):
            before = tuple(choice)
            for number in range(len(self.items)):
                choice[number] = self._best(number, choice, touching, multiplier, weights)
            if tuple(choice) == before:
                break
        return tuple(choice)

    def _best(
        self,
        number: int,
        choice: Sequence[int],
        touching: dict[str, list[int]],
        multiplier: float,
        weights: np.ndarray,
    ) -> int:
        """The move of one item that costs least, given those of the others."""
        item = self.items[number]
        states: dict[str, State] = {}
        for name in {effect.layer for move in item.moves for effect in move.effects}:
            layer = self._use.layers.get(name)
            if layer is not None:
                states[name] = layer.whole
                for other in touching[name]:
                    if other != number:
                        for effect in self.items[other].moves[choice[other]].effects:
                            if effect.layer == name:
                                states[name] = states[name].after(effect)
        around = self._kernels_around(states, choice, number)
        costs = [
            weights[item.owner] * move.degradation - multiplier * self._saved(move, states, around)
            for move in item.moves
        ]
        return int(np.argmin(costs))

    def _kernels_around(self, states: dict[str, State], choice: Sequence[int], number: int) -> dict[str, str]:
        """The kernels of the layers next to some, as other items have chosen them."""
        if not self._use.every_edge:
            return {}
        around = {
            side for name in states for edge in self._use.edges[name] for side in (edge.maker, edge.reader)
        }
        return {name: self._kernel(name, choice, number) for name in around if name}

    def _kernel(self, name: str, choice: Sequence[int], without: int) -> str:
        for other in self._touching.get(name, ()):
            if other != without:
                for effect in self.items[other].moves[choice[other]].effects:
                    if effect.layer == name and effect.kernel:
                        return effect.kernel
        return ""

    def _saved(self, move: Move, states: dict[str, State], around: dict[str, str]) -> float:
        """The fraction of the goal that a move saves in layers that are as ``states`` say."""
        saved, now = 0.0, dict(states)
        for effect in move.effects:
            if effect.layer in now:
                now[effect.layer] = now[effect.layer].after(effect)
        for name, state in now.items():
            if state != states[name]:
                layer = self._use.layers[name]
                saved += layer.takes(self._use.goal, states[name]) - layer.takes(self._use.goal, state)
        if around:
            kernels = {name: state.kernel for name, state in now.items()}
            edges = dict.fromkeys(edge for name in now for edge in self._use.edges[name])
            saved -= crossings(edges, {**around, **kernels})
        return saved / (self._use.total or 1.0) + self._stated(move)

    def _stated(self, move: Move) -> float:
        return 0.0 if move.effects else stated_saving(move, self._use.goal)

    @cached_property
    def _touching(self) -> dict[str, list[int]]:
        """The items that have a move with an effect on a layer, by layer."""
        found: dict[str, list[int]] = defaultdict(list)
        for number, item in enumerate(self.items):
            for name in {effect.layer for move in item.moves for effect in move.effects}:
                found[name].append(number)
        return found


def stated_saving(move: Move, goal: str) -> float:
    """The fraction of a goal that a move says it saves."""
    return float(getattr(move.saving, "macs" if goal == WEIGHTED_MACS else goal) or 0.0)


def can_save(offer: Offer, goal: str) -> bool:
    """Whether some move of an offer saves what the run saves: integers, for one, leave all MACs."""
    counts_bits = goal in ("latency", "bytes", WEIGHTED_MACS)
    return any(
        stated_saving(move, goal) > 0
        or any(
            e.inputs or e.outputs or min(e.share, e.integer_share or 1.0) < 1.0 or (e.kernel and counts_bits)
            for e in move.effects
        )
        for move in offer.moves
    )


def kernels_of(offers: Sequence[Offer]) -> tuple[str, ...]:
    """The kernels that moves lead to."""
    effects: list[Effect] = [effect for offer in offers for move in offer.moves for effect in move.effects]
    return tuple(dict.fromkeys(effect.kernel for effect in effects if effect.kernel))
