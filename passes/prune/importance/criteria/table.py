"""The criteria by name, and what each has to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt import ir

from ...coupling.coupling import Coupling
from . import activations, chance, filters, normalised
from .grouping import Member

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

BN_NOTE = "batch_norm"  # where fold-bn leaves gamma and beta


@dataclass(frozen=True)
class Known:
    """What a criterion may go by."""

    model: ir.Model
    coupling: Coupling
    given: Samples | None
    ctx: Context

    @property
    def samples(self) -> Samples:
        """The samples; only criteria that go by them may ask."""
        assert self.given is not None
        return self.given


CRITERIA: dict[str, Callable[[Known], Iterator[Member]]] = {
    "l1": lambda known: filters.l1(known.coupling),
    "l2": lambda known: filters.l2(known.coupling),
    "fpgm": lambda known: filters.fpgm(known.coupling),
    "bn": lambda known: normalised.scale(known.coupling, known.ctx.notes.get(BN_NOTE, {})),
    "random": lambda known: chance.chance(known.coupling, known.ctx.rng("prune")),
    "energy": lambda known: activations.energy(known.model, known.coupling, known.samples, known.ctx),
    "variance": lambda known: activations.variance(known.model, known.coupling, known.samples, known.ctx),
}


def members(name: str, known: Known) -> Iterator[Member]:
    """Return the members that a criterion scores."""
    return CRITERIA[name](known)
