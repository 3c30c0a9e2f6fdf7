"""Importance by the dice: what every criterion has to beat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...coupling.coupling import Coupling
from .grouping import Member


def chance(coupling: Coupling, rng: np.random.Generator) -> Iterator[Member]:
    """A number between 0 and 1 for each class, from a seeded generator."""
    yield np.arange(len(coupling.classes)), rng.random(len(coupling.classes))
