"""Which layers the user wants pruned, and how far: names, patterns, operator types, places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from graphopt.errors import UsageError
from graphopt.pipeline.contract.selection import Selection, matches, refuse_unmatched

from .coupling.builder import Layer
from .coupling.coupling import Coupling
from .coupling.groups import Group


@dataclass(frozen=True)
class Scope:
    """What the options say about layers: those that may be pruned, and how far."""

    selection: Selection
    ratios: tuple[tuple[str, float], ...]
    most: float  # fraction of its channels that a group may lose

    @classmethod
    def parse(cls, selection: Selection, ratios: Iterable[str], most: float) -> Scope:
        """Read the options; UsageError where a ratio is none."""
        return cls(selection, tuple(map(_ratio, ratios)), most)

    def check(self, layers: Sequence[Layer]) -> None:
        """Raise UsageError for a pattern that stands for no layer."""
        nodes = [layer.node for layer in layers]
        self.selection.check("prune", nodes)
        refuse_unmatched("prune", {"ratios": [pattern for pattern, _ in self.ratios]}, nodes)

    def walled(self, coupling: Coupling) -> Coupling:
        """Put up walls around the channels that the user wants left alone."""
        self.check(coupling.layers)
        walls = dict(coupling.walls)
        for number, layer in enumerate(coupling.layers):
            place = number, len(coupling.layers)
            why = self.selection.refusal(layer.node, is_layer=layer.own, place=place)
            if why and layer.ids is not None:
                for one in coupling.on(layer.ids).tolist():
                    walls.setdefault(one, why)
        return replace(coupling, walls=walls)

    def widths(self, coupling: Coupling, cells: Sequence[Group], least: int) -> list[list[int]]:
        """Return for each cell the widths it may take, the present one first; only one where it is set."""
        return [self._widths(coupling, cell, least) for cell in cells]

    def _widths(self, coupling: Coupling, cell: Group, least: int) -> list[int]:
        total = len(cell.classes)
        allowed = cell.widths(least)
        ratio = self._fixed([coupling.layers[number] for number in cell.layers])
        if ratio is not None:
            wanted = (1.0 - ratio) * total
            return [min(allowed, key=lambda width: (abs(width - wanted), -width))]
        return [total, *(width for width in allowed[1:] if width >= (1.0 - self.most) * total)]

    def _fixed(self, layers: Sequence[Layer]) -> float | None:
        """The ratio that is set for any of these layers: that of the first pattern that matches."""
        for pattern, ratio in self.ratios:
            if any(matches(layer.node, pattern) for layer in layers):
                return ratio
        return None


def _ratio(text: str) -> tuple[str, float]:
    """Read ``PATTERN@FRACTION``; ``=`` may stand for ``@``."""
    pattern, _, number = text.rpartition("@" if "@" in text else "=")
    try:
        ratio = float(number)
    except ValueError:
        ratio = -1.0
    if not pattern or not 0.0 <= ratio < 1.0:
        raise UsageError(
            f"prune: ratios takes PATTERN@FRACTION with a fraction from 0 to 0.99, not '{text}'",
            hint="for example ratios=conv1*@0.3",
        )
    return pattern, ratio
