"""What every way to split a layer can do, and the list of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from graphopt.passes.lowrank.solve.whitening import Inputs, Responses

from ..layers.layer import Layer
from ..layers.stage import Stage

Ranks: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True)
class Factors:
    """The weights that a layer's become, and the matrix (groups, n, outputs) that they multiply to.

    ``values`` are the singular values (groups, full rank) that the first rank cuts; None for ways without.
    """

    weights: tuple[np.ndarray, ...]
    matrix: np.ndarray
    values: np.ndarray | None = None


class Prepared(Protocol):
    """One way to split one layer, with everything that does not depend on the rank done."""

    def errors(self, ranks: Iterable[Ranks]) -> list[float]:
        """Return the error of the layer's output for each of these ranks, in units of ``Inputs.energy``."""
        ...

    def factors(self, ranks: Ranks) -> Factors:
        """Return the weights for these ranks."""
        ...


class Kind(Protocol):
    """A way to split layers.  Ranks count the channels between the new layers, of one group each."""

    @property
    def name(self) -> str:
        """What options and plans call it."""
        ...

    @property
    def words(self) -> str:
        """The layers it makes, for people."""
        ...

    def fits(self, layer: Layer) -> bool:
        """Whether this layer can be split in this way."""
        ...

    def full(self, layer: Layer) -> Ranks:
        """Return the ranks at which nothing is lost."""
        ...

    def choices(self, layer: Layer, step: int) -> list[Ranks]:
        """Return the ranks worth trying, multiples of ``step`` below the full rank, the largest first."""
        ...

    def stages(self, layer: Layer, ranks: Ranks) -> tuple[Stage, ...]:
        """Return the layers for these ranks."""
        ...

    def prepare(
        self, layer: Layer, inputs: Inputs | Responses, weights: np.ndarray, ranks: Iterable[Ranks]
    ) -> Prepared:
        """Prepare to split ``weights`` (groups, n, outputs) at any of these ranks."""
        ...


def ladder(full: int, step: int, most: int) -> list[int]:
    """Return at most ``most`` multiples of ``step`` below ``full``, falling and evenly spread."""
    every = np.arange(step, full, step)
    if len(every) > most:
        every = every[np.unique(np.linspace(0, len(every) - 1, most).round().astype(int))]
    return every[::-1].tolist()
