"""Classification: top-1 and top-5 with labels, and which answers changed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphopt.metrics.base import Outcome, Outputs, Task
from graphopt.metrics.significance import Paired, paired_rates
from graphopt.runtime import classifier_output, ranks

if TYPE_CHECKING:
    from graphopt.data import Sample

SHOWN = 10  # shown: pairs of classes in the table of changed answers
TOP = 5  # fixed: the metric is top-5
HELD = 256  # time: samples ranked at a time: one by one it takes longer than a small network


class Classification(Task):
    """Counts right answers, and answers that differ from the reference's."""

    name: ClassVar[str] = "classification"

    def __init__(self) -> None:
        self._classes = 0
        self._held: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []  # scores, labels, reference
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
        self._classes = scores.shape[1]
        other = None if reference is None else reference.get(name)
        if not isinstance(other, np.ndarray) or other.shape != scores.shape:
            other = None
        if other is not None:
            self._compare(_rows(other), _rows(scores))
        if truth is not None and len(truth) == len(scores):
            if self._held and self._held[0][0].shape[1:] != scores.shape[1:]:
                self._rank()
            self._held.append((scores, np.asarray(truth), other))
            if len(self._held) >= HELD:
                self._rank()

    def _rank(self) -> None:
        """Find out where the labels of the samples that are held stand among their scores."""
        for held, found in ((self._held, self._ranks), (self._compared(), self._reference_ranks)):
            if held:
                labels = np.concatenate([label.reshape(-1) for _, label, _ in held])
                found.append(ranks(np.concatenate([scores for scores, _, _ in held]), labels))
        self._held = []

    def _compared(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """The samples held that have a reference, with its scores."""
        return [(other, labels, None) for _, labels, other in self._held if other is not None]

    def _compare(self, before: np.ndarray, after: np.ndarray) -> None:
        for old, new in zip(before, after, strict=True):
            if not np.isfinite(old).all():
                self._unjudged += 1
                continue
            self._judged += 1
            # NaN wins argmax, so an answer that is not finite must not agree by chance
            if np.isfinite(new).all() and old.argmax() == new.argmax():
                self._same += 1
            else:
                self._changes[int(old.argmax()), int(new.argmax())] += 1

    @property
    def is_classifier(self) -> bool:
        """Whether the model has shown class scores."""
        return self._classes > 0

    def outcome(self, seed: int = 0) -> Outcome:
        """Rates are 0..1; the details are the pairs of answers that changed most often."""
        self._rank()
        after, before = _joined(self._ranks), _joined(self._reference_ranks)
        paired: dict[str, Paired] = {}
        if before is not None and after is not None and len(before) == len(after):
            for limit, metric in self._limits():
                paired[metric] = paired_rates(before < limit, after < limit, seed)
        agreement = {"top1": self._same / self._judged} if self._judged else {}
        changed = [
            {"reference": old, "model": new, "samples": count}
            for (old, new), count in self._changes.most_common(SHOWN)
        ]
        details = {"changed": changed} if changed else {}
        return Outcome(self._rates(after), self._rates(before), agreement, paired, details)

    def _limits(self) -> list[tuple[int, str]]:
        return [(1, "top1")] + ([(TOP, "top5")] if self._classes > TOP else [])

    def _rates(self, found: np.ndarray | None) -> dict[str, float]:
        if found is None:
            return {}
        return {metric: float((found < limit).mean()) for limit, metric in self._limits()}


def _joined(found: list[np.ndarray]) -> np.ndarray | None:
    return np.concatenate(found) if found else None


def _rows(scores: np.ndarray) -> np.ndarray:
    return scores.reshape(len(scores), -1)
