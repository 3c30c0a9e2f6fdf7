"""How far each inner tensor of a model moved: the signal-to-noise ratio of original against result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.metrics.outputs import decibels
from graphopt.runtime import Comparison, Difference
from graphopt.runtime.session import DEFAULTS, Session, SessionOptions

if TYPE_CHECKING:
    from pathlib import Path

    from graphopt.ir import Model

BUDGET = 2**25  # memory: elements that one run returns; 128 MB in float32, for each of two models


@dataclass(frozen=True)
class Channels:
    """The entries of one axis that are left."""

    axis: int
    kept: tuple[int, ...]


@dataclass(frozen=True)
class TensorPair:
    """A tensor of the original and the one of the result that stands for it.

    ``size`` is the number of elements in the original; ``kept`` the channels that are left where some went.
    """

    original: str
    result: str
    size: int
    kept: Channels | None = None

    def narrowed(self, array: np.ndarray) -> np.ndarray:
        """The original's values in the channels that are left."""
        return array if self.kept is None else np.take(array, self.kept.kept, axis=self.kept.axis)


def signals(
    original: Model | str | Path | bytes,
    result: Model | str | Path | bytes,
    twins: Sequence[TensorPair],
    samples: Iterable[Any],
    options: SessionOptions = DEFAULTS,
) -> dict[str, float]:
    """Signal-to-noise ratio in dB (within +-300) of the result's tensors over some samples, by their names.

    Of several originals for one tensor the nearest counts.  The samples run as often as memory for the
    tensors asks for.  Pairs of other shapes or types are left out.  Raises ModelError when a model does not
    run.
    """
    ratios: dict[str, float] = {}
    for twin, difference in compared(original, result, twins, samples, options):
        for ratio in decibels({"": difference}).values():
            ratios[twin.result] = max(ratio, ratios.get(twin.result, ratio))
    return ratios


def compared(
    original: Model | str | Path | bytes,
    result: Model | str | Path | bytes,
    twins: Sequence[TensorPair],
    samples: Iterable[Any],
    options: SessionOptions = DEFAULTS,
) -> Iterator[tuple[TensorPair, Difference]]:
    """Yield how far each pair of tensors is apart over some samples, in their order.

    The samples run as often as memory for the tensors asks for.  Pairs whose original is a sequence or a
    map are left out.  Raises ModelError when a model does not run.
    """
    repeated = list(samples)
    for group in _groups(twins):
        a = Session(original, options, outputs=list(dict.fromkeys(t.original for t in group)))
        b = Session(result, options, outputs=list(dict.fromkeys(t.result for t in group)))
        sums = Comparison()
        originals, results = (session.answers(repeated, lambda sample: sample.feeds) for session in (a, b))
        for (_, reference), (_, candidate) in zip(originals, results, strict=True):
            comparable = [
                (str(i), t) for i, t in enumerate(group) if isinstance(reference[t.original], np.ndarray)
            ]
            sums.update(
                {key: twin.narrowed(reference[twin.original]) for key, twin in comparable},
                {key: candidate[twin.result] for key, twin in comparable},
            )
        yield from ((group[int(key)], difference) for key, difference in sums.result().items())


def _groups(twins: Sequence[TensorPair]) -> Iterator[list[TensorPair]]:
    """Pairs to look at together."""
    group: list[TensorPair] = []
    total = 0
    for twin in twins:
        if group and total + twin.size > BUDGET:
            yield group
            group, total = [], 0
        group.append(twin)
        total += twin.size
    if group:
        yield group
