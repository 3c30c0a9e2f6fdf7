"""The criteria by name: ours, and those that other packages add.

To add one, write a function from ``Evidence`` to members (see grouping.py) and give it an entry in CRITERIA;
from a package of its own, name a ``Criterion`` in the entry-point group ``graphopt.prune.criteria``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt import ir
from graphopt.util.registry import Registry, added

from ...coupling.coupling import Coupling
from . import activations, chance, filters, normalised
from .grouping import Member

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

GROUP = "graphopt.prune.criteria"
BN_NOTE = "batch_norm"  # where fold-bn leaves gamma and beta


@dataclass(frozen=True)
class Evidence:
    """What a criterion may go by: the model, its coupled channels, samples if there are any, and the run."""

    model: ir.Model
    coupling: Coupling
    given: Samples | None
    ctx: Context

    @property
    def samples(self) -> Samples:
        """The samples; only criteria that need them may ask."""
        assert self.given is not None
        return self.given


@dataclass(frozen=True)
class Criterion:
    """A way to score channels: its function, and whether it cannot do without samples."""

    members: Callable[[Evidence], Iterator[Member]]
    needs_samples: bool = False


CRITERIA: dict[str, Criterion] = {
    "l1": Criterion(lambda evidence: filters.l1(evidence.coupling)),
    "l2": Criterion(lambda evidence: filters.l2(evidence.coupling)),
    "fpgm": Criterion(lambda evidence: filters.fpgm(evidence.coupling)),
    "bn": Criterion(
        lambda evidence: normalised.scale(evidence.coupling, evidence.ctx.notes.get(BN_NOTE, {}))
    ),
    "random": Criterion(lambda evidence: chance.chance(evidence.coupling, evidence.ctx.rng("prune"))),
    "energy": Criterion(
        lambda evidence: activations.energy(
            evidence.model, evidence.coupling, evidence.samples, evidence.ctx
        ),
        needs_samples=True,
    ),
    "variance": Criterion(
        lambda evidence: activations.variance(
            evidence.model, evidence.coupling, evidence.samples, evidence.ctx
        ),
        needs_samples=True,
    ),
}


@functools.cache
def criteria() -> Registry:
    """All criteria by name."""
    return Registry(added(GROUP), kind="importance criterion", built_in=CRITERIA, of=Criterion)


def criterion(name: str) -> Criterion:
    """The criterion of this name; UsageError when it cannot be imported."""
    entry: Criterion = criteria().load(name)
    return entry
