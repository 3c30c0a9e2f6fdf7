"""Which layers the user wants pruned, and how far: names, patterns, operator types, places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from graphopt.errors import UsageError
from graphopt.pipeline.contract.patterns import matches_layer, refuse_unmatched_layers

from .coupling.builder import Layer, label
from .coupling.coupling import Coupling
from .coupling.groups import Group


@dataclass(frozen=True)
class Scope:
    """What the options say about layers.

    A pattern stands for the layers whose name it matches (``*`` and ``?`` as in a shell) or whose operator
    type it is.
    """

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    ratios: tuple[tuple[str, float], ...] = ()
    first: int = 0
    last: int = 0
    most: float = 1.0  # fraction of its channels that a group may lose

    @classmethod
    def parse(
        cls,
        exclude: tuple[str, ...],
        include: tuple[str, ...],
        ratios: Iterable[str],
        first: int,
        last: int,
        most: float,
    ) -> Scope:
        """Read the options; UsageError where a ratio is none."""
        return cls(exclude, include, tuple(map(_ratio, ratios)), first, last, most)

    def check(self, layers: Sequence[Layer]) -> None:
        """Raise UsageError for a pattern that stands for no layer."""
        given = {"exclude": self.exclude, "include": self.include, "ratios": [p for p, _ in self.ratios]}
        refuse_unmatched_layers("prune", given, [layer.node for layer in layers])

    def walled(self, coupling: Coupling) -> Coupling:
        """Put up walls around the channels that the user wants left alone."""
        self.check(coupling.layers)
        walls = dict(coupling.walls)
        for number, layer in enumerate(coupling.layers):
            why = self._refusal(layer, number, len(coupling.layers))
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
            if any(matches_layer(layer.node, pattern) for layer in layers):
                return ratio
        return None

    def _refusal(self, layer: Layer, number: int, count: int) -> str:
        name = label(layer.node)
        if any(matches_layer(layer.node, pattern) for pattern in self.exclude):
            return f"the option exclude leaves '{name}' alone"
        if layer.own and self.include and not any(matches_layer(layer.node, p) for p in self.include):
            return f"the option include leaves '{name}' alone"
        if number < self.first:
            return f"the option skip_first leaves '{name}' alone"
        if number >= count - self.last:
            return f"the option skip_last leaves '{name}' alone"
        return ""


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
