"""Classification: top-1 and top-5 with labels, and which answers changed."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphopt.metrics.base import Metric, Outcome, Outputs
from graphopt.metrics.significance import Paired, paired_rates
from graphopt.runtime import classifier_output, ranks

if TYPE_CHECKING:
    from graphopt.data import Sample

SHOWN = 10  # shown: pairs of classes in the table of changed answers
TOP = 5  # fixed: the metric is top-5
HELD = 256  # time: samples ranked at a time: one by one it takes longer than a small network


class Classification(Metric):
    """Counts right answers, and answers that differ from the reference's."""

    name: ClassVar[str] = "classification"
    takes_class_labels: ClassVar[bool] = True
    main, main_agreement = "top1", "top1"

    def __init__(self) -> None:
        self._classes = 0
        self._held: list[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]] = []
        self._ranks: list[np.ndarray] = []  # of labels among the scores
        self._reference_ranks: list[np.ndarray] = []
        self._changes: Counter[tuple[int, int]] = Counter()
        self._same = self._judged = self._unjudged = 0

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Sample, truth: Any) -> None:
        """``truth`` are the labels of the sample's rows; outputs without class scores count nowhere."""
        name = classifier_output(outputs)
        if name is None:
            return
        scores = outputs[name]
        other = None if reference is None else reference.get(name)
        if not isinstance(other, np.ndarray) or other.shape != scores.shape:
            other = None
        labels = np.asarray(truth) if truth is not None and len(truth) == len(scores) else None
        if self._held and not _joins(self._held[0], (scores, other, labels)):
            self._count()
        self._classes = scores.shape[1]
        self._held.append((scores, other, labels))
        if len(self._held) >= HELD:
            self._count()

    def _count(self) -> None:
        """Count the samples that are held: scores, those of the reference, labels."""
        if not self._held:
            return
        scores = np.concatenate([held[0] for held in self._held])
        other, labels = (_stacked([held[part] for held in self._held]) for part in (1, 2))
        self._held = []
        if other is not None:
            self._compare(_rows(other), _rows(scores))
        if labels is not None:
            self._ranks.append(ranks(scores, labels))
        if labels is not None and other is not None:
            self._reference_ranks.append(ranks(other, labels))

    def _compare(self, before: np.ndarray, after: np.ndarray) -> None:
        judged = np.isfinite(before).all(axis=1)
        old, new = before[judged].argmax(axis=1), after[judged].argmax(axis=1)
        # NaN wins argmax, so an answer that is not finite must not agree by chance
        same = (old == new) & np.isfinite(after[judged]).all(axis=1)
        self._judged += len(same)
        self._unjudged += len(judged) - len(same)
        self._same += int(np.count_nonzero(same))
        self._changes.update(zip(old[~same].tolist(), new[~same].tolist(), strict=True))

    @property
    def can_judge(self) -> bool:
        """Whether the model has shown class scores."""
        return self._classes > 0

    def outcome(self, seed: int | None = 0) -> Outcome:
        """Rates are 0..1; the details are the pairs of answers that changed most often."""
        self._count()
        after, before = _joined(self._ranks), _joined(self._reference_ranks)
        paired: dict[str, Paired] = {}
        if seed is not None and before is not None and after is not None and len(before) == len(after):
            for limit, metric in self._limits():
                paired[metric] = paired_rates(before < limit, after < limit, seed)
        agreement = {"top1": self._same / self._judged} if self._judged else {}
        changed = [
            {"reference": old, "model": new, "samples": count}
            for (old, new), count in self._changes.most_common(SHOWN)
        ]
        details: dict[str, Any] = {"changed": changed} if changed else {}
        if self._unjudged:
            details["unjudged"] = self._unjudged  # the reference's own scores are no numbers there
        return Outcome(self._rates(after), self._rates(before), agreement, paired, details)

    def _limits(self) -> list[tuple[int, str]]:
        return [(1, "top1")] + ([(TOP, "top5")] if self._classes > TOP else [])

    def _rates(self, differences: np.ndarray | None) -> dict[str, float]:
        if differences is None:
            return {}
        return {metric: float((differences < limit).mean()) for limit, metric in self._limits()}


def _joined(parts: list[np.ndarray]) -> np.ndarray | None:
    return np.concatenate(parts) if parts else None


def _joins(first: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether the parts of two samples are of a kind, so that they can be stacked."""
    return all(
        (a is None) == (b is None) and (a is None or a.shape[1:] == b.shape[1:])
        for a, b in zip(first, other, strict=True)
    )


def _stacked(parts: list[np.ndarray | None]) -> np.ndarray | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else None


def _rows(scores: np.ndarray) -> np.ndarray:
    """[N, K, 1, ...] as [N, K], in float64 so that float16 compares like the rest."""
    return scores.reshape(len(scores), math.prod(scores.shape[1:])).astype(np.float64)
