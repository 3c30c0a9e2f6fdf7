"""The layer-wise fit of every pass: layer after layer of a changed network, to what the original computed.

Inputs come from the changed network, whose layers before are done, targets from the original.  Every eighth
sample is not fitted to and only judges (see ``holdout.judges``): of several ways to set a layer's weights the
one with the least error on those samples is taken, and then done once more with all.  A layer that nothing
can judge is left as it is, and one sentence says so in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from graphopt import ir
from graphopt.calibration import ActivationCheckpoint, Gram, walk_cuts
from graphopt.calibration.checkpoint import CACHE_BYTES, Open, SampleSet
from graphopt.solve.holdout import Unjudged
from graphopt.solve.layer_regression import LayerRegression

if TYPE_CHECKING:
    from graphopt.runtime import Session

Sums = TypeVar("Sums")  # what a fit needs of some samples, such as Gram matrices
Made = TypeVar("Made")  # what a way to set weights comes to
Layer = TypeVar("Layer")
Way: TypeAlias = Callable[[Sums, "Made | None"], Made]
"""A way to set weights, from sums and what it came to before, if it did."""


class Surroundings(Protocol):
    """What a walk needs of the context of a pass."""

    @property
    def seed(self) -> int: ...

    def session(self, model: ir.Model, outputs: Sequence[str] | None = None) -> Session: ...

    def progress(
        self, description: str, items: Iterable[Layer], total: int | None = None
    ) -> Iterable[Layer]: ...

    def warn(self, text: str) -> None: ...


@dataclass(frozen=True)
class Kept(Generic[Made]):
    """The way that was best: its number, what it comes to, and the errors of all on the judging samples."""

    way: int
    made: Made
    errors: tuple[float, ...]


@dataclass
class Judged(Generic[Sums]):
    """What a layer is fitted to and judged by, apart; ``whole`` puts them together when the choice is made.

    ``error`` is the squared error of weights on some sums, relative to the variance of the target.
    """

    fitted: Sums
    judged: Sums
    whole: Callable[[Sums, Sums], Sums]
    error: Callable[[Sums, np.ndarray], float]

    def choose(self, ways: Sequence[Way[Sums, Made]], weights: Callable[[Made], np.ndarray]) -> Kept[Made]:
        """Take the way, of equally good ones the first, whose ``weights`` err least on the judging samples.

        It is then done once more with all samples; what it came to before is given to it as a start.
        """
        kept = self._best(ways, weights, self.judged)
        whole = self.whole(self.fitted, self.judged)
        del self.fitted, self.judged  # Gram matrices may have 170 MB each
        return Kept(kept.way, ways[kept.way](whole, kept.made), kept.errors)

    def choose_by_all(
        self, ways: Sequence[Way[Sums, Made]], weights: Callable[[Made], np.ndarray]
    ) -> Kept[Made]:
        """The same where all samples judge and the way is not done again.

        For integers, whose rounding hardly follows the noise of few samples, while few samples cannot tell
        which of them are better; what all layers come to together is judged by held-out samples alone.
        """
        return self._best(ways, weights, self.whole(self.fitted, self.judged))

    def _best(
        self, ways: Sequence[Way[Sums, Made]], weights: Callable[[Made], np.ndarray], judging: Sums
    ) -> Kept[Made]:
        tries = [way(self.fitted, None) for way in ways]
        errors = tuple(self.error(judging, weights(made)) for made in tries)
        best = int(np.argmin(np.nan_to_num(errors, nan=np.inf)))
        return Kept(best, tries[best], errors)


class LayerwiseFit:
    """A walk through a changed network and its original, layer by layer."""

    def __init__(
        self,
        owner: str,
        original: ir.Model,
        changed: ir.Model,
        samples: SampleSet,
        ctx: Surroundings,
        *,
        open_changed: Open | None = None,
        limit: int = CACHE_BYTES,
    ) -> None:
        """``owner`` is the pass; ``open_changed`` opens the changed network, by default like the original."""
        self._owner, self._ctx, self._changed = owner, ctx, changed
        self._unjudged = Unjudged(owner, len(samples))
        self.original = ActivationCheckpoint(original, samples, ctx.session, limit=limit)
        self.changed = ActivationCheckpoint(changed, samples, open_changed or ctx.session, limit=limit)

    def walk(
        self, layers: Sequence[Layer], nodes: Sequence[ir.Node]
    ) -> Iterator[tuple[Layer, list[str], list[str]]]:
        """Yield each layer, its node in ``nodes``, with its cut and the next one (see ``walk_cuts``)."""
        following = zip(layers, walk_cuts(self._changed.graph, nodes), strict=True)
        for layer, (cut, then) in self._ctx.progress(
            f"{self._owner}: fitting layers", following, len(layers)
        ):
            yield layer, cut, then
        self.finish()

    def cannot_judge(self, layer: str) -> None:
        """Note a layer whose fit nothing can judge."""
        self._unjudged.add(layer)

    def finish(self) -> None:
        """Say where nothing could judge a fit."""
        if self._unjudged.sentence:
            self._ctx.warn(self._unjudged.sentence)

    def sums(
        self, regression: LayerRegression, cut: Sequence[str], then: Sequence[str], layer: str
    ) -> tuple[LayerRegression, Judged[Gram]]:
        """Move to a layer; return its regression, settled on its target, and the sums to fit to and judge by.

        Where one of them is empty, the layer is noted as one that nothing can judge.
        """
        self.original.advance(cut)
        self.changed.advance(cut)
        regression = regression.settled(self.changed)
        fitted, judged = regression.collect(self.original, self.changed, self._ctx.seed, then)
        if not (fitted.count and judged.count):
            self.cannot_judge(layer)
        return regression, Judged(fitted, judged, Gram.merge, regression.error)
