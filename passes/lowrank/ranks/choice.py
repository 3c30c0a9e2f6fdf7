"""The rules that choose a candidate for each layer, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from graphopt.solve import STEPS, Curve, amount_at, spend

from .candidates import Candidate, Offer

Chosen: TypeAlias = "tuple[Candidate | None, ...]"  # one for each offer; None keeps the layer
Use: TypeAlias = "Callable[[Offer, Candidate | None], float]"  # what a layer takes of the budget


@dataclass(frozen=True)
class Chooser:
    """The offers of a model, and what the whole model takes, the layers that are not split included."""

    offers: Sequence[Offer]
    totals: dict[str, float]  # by goal: macs, params

    @property
    def counted(self) -> str:
        """What a search without a goal saves: macs, or params where none is known."""
        return "macs" if self.totals["macs"] else "params"

    def none(self) -> Chosen:
        """Keep every layer."""
        return (None,) * len(self.offers)

    def by_goal(self, goal: str, fraction: float) -> tuple[Chosen, bool]:
        """Leave ``fraction`` of all macs or params at the least total error; say whether that is possible."""
        return self.spend(lambda offer, one: getattr(one or offer, goal), self.totals[goal], fraction)

    def spend(self, use: Use, whole: float, fraction: float) -> tuple[Chosen, bool]:
        """Leave ``fraction`` of ``whole``, of which every layer takes its ``use``."""
        whole = whole or 1.0  # nothing is used: any share is left
        present = np.array([use(offer, None) for offer in self.offers])
        rest = whole - float(present.sum())
        menus = [
            [None, *offer.front(partial(use, offer), most)]
            for offer, most in zip(self.offers, present.tolist(), strict=True)
        ]
        table = _table(self.offers, menus, use) / whole  # (offers, sizes)
        rows = np.arange(len(menus))
        curves = [_curve(offer, menu) for offer, menu in zip(self.offers, menus, strict=True)]

        def at(sizes: np.ndarray) -> float:
            return rest / whole + float(table[rows, sizes].sum())

        def along(sizes: np.ndarray, number: int, candidates: np.ndarray) -> np.ndarray:
            others = at(sizes) - table[number, sizes[number]]
            return np.asarray(others + table[number, candidates])

        spent = spend(curves, at, along, fraction)
        chosen = (menu[len(menu) - 1 - int(size)] for menu, size in zip(menus, spent.sizes, strict=True))
        return tuple(chosen), spent.kept

    def by_energy(self, energy: float) -> Chosen:
        """Give each layer the candidate that takes least and keeps this share of its output's variance."""
        chosen: list[Candidate | None] = []
        for offer in self.offers:
            good = [one for one in offer.candidates if one.error <= (1.0 - energy) * offer.energy]
            good = [one for one in good if one.macs < offer.macs]
            chosen.append(min(good, key=lambda one: (one.macs, one.error), default=None))
        return tuple(chosen)

    def by_least_error(self) -> Chosen:
        """Give each layer the candidate of the least error that saves multiply-accumulates."""
        chosen = []
        for offer in self.offers:
            good = [one for one in offer.candidates if one.macs < offer.macs]
            chosen.append(min(good, key=lambda one: (one.error, one.macs), default=None))
        return tuple(chosen)

    def lossless(self, energy: float = 1e-9) -> Chosen:
        """Give each layer a candidate only if it loses nothing but rounding."""
        return self.by_energy(1.0 - energy)

    def steps(self) -> list[Chosen]:
        """Return ever smaller choices, from fine steps to coarse ones, for a search by trial."""
        goal = self.counted
        choices = [self.none()]
        for step in range(1, STEPS):
            chosen, met = self.by_goal(goal, 1.0 - amount_at(step))
            if chosen != choices[-1]:
                choices.append(chosen)
            if not met:
                break
        return choices

    def left(self, chosen: Chosen, goal: str) -> float:
        """Return the fraction of all macs or params that a choice leaves."""
        saved = sum(
            getattr(offer, goal) - getattr(one, goal)
            for offer, one in zip(self.offers, chosen, strict=True)
            if one is not None
        )
        return 1.0 - saved / self.totals[goal] if self.totals[goal] else 1.0

    def error(self, chosen: Chosen) -> float:
        """Return the sum of the layers' errors, each as a share of the variance that it goes into."""
        pairs = zip(self.offers, chosen, strict=True)
        return sum(offer.scale * one.error for offer, one in pairs if one is not None)


def _table(offers: Sequence[Offer], menus: Sequence[Sequence[Candidate | None]], use: Use) -> np.ndarray:
    """What each offer takes at each size, (offers, sizes); sizes count down along the menu to 0."""
    table = np.zeros((len(menus), max((len(menu) for menu in menus), default=1)))
    for row, offer, menu in zip(table, offers, menus, strict=True):
        row[: len(menu)] = [use(offer, one) for one in reversed(menu)]
    return table


def _curve(offer: Offer, menu: Sequence[Candidate | None]) -> Curve:
    """Sizes count down from keeping the layer, which costs nothing."""
    costs = [0.0 if one is None else offer.scale * one.error for one in menu]
    return Curve(np.arange(len(menu))[::-1].copy(), np.asarray(costs))
