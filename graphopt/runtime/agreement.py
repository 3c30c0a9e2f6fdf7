"""How often a classifier agrees with a reference or with labels, counted sample by sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.data.element_types import is_float

if TYPE_CHECKING:
    from graphopt.ir import Port


@dataclass
class Agreement:
    """Counts the samples for which two models name the same class.

    Rows whose reference scores hold NaN or infinity cannot be judged: they are counted in `unjudged` only.
    """

    same: int = 0
    judged: int = 0
    unjudged: int = 0

    def update(self, reference: np.ndarray, candidate: np.ndarray) -> None:
        """Add scores [N, K] of both models for the same N samples."""
        reference, candidate = _rows(reference), _rows(candidate)
        usable = np.isfinite(reference).all(axis=1)
        # NaN wins argmax, so a candidate that is not finite must not agree by chance
        agrees = (reference.argmax(axis=1) == candidate.argmax(axis=1)) & np.isfinite(candidate).all(axis=1)
        self.same += int(np.count_nonzero(agrees & usable))
        self.judged += int(np.count_nonzero(usable))
        self.unjudged += int(np.count_nonzero(~usable))

    @property
    def rate(self) -> float | None:
        """Share of judged samples that agree, 0..1; None before the first one."""
        return self.same / self.judged if self.judged else None


@dataclass
class Accuracy:
    """Counts the samples whose label is the best, or among the best five, of a model's scores."""

    first: int = 0
    fifth: int = 0
    count: int = 0
    classes: int = 0

    def update(self, scores: np.ndarray, labels: np.ndarray) -> None:
        """Add scores [N, K] and labels [N]; equal scores rank by class number, NaN is always wrong."""
        rank = ranks(scores, labels)
        self.first += int(np.count_nonzero(rank < 1))
        self.fifth += int(np.count_nonzero(rank < 5))
        self.count += len(rank)
        self.classes = scores.shape[1]

    @property
    def top1(self) -> float | None:
        """Share of samples whose label has the highest score, 0..1; None before the first one."""
        return self.first / self.count if self.count else None

    @property
    def top5(self) -> float | None:
        """Share of samples whose label is among the five highest; None with five classes or fewer."""
        return self.fifth / self.count if self.count and self.classes > 5 else None


def ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes score better than the label, (N,), from scores [N, K] and labels [N].

    Equal scores rank by class number; a label that is no class, or scores with NaN, give K.
    """
    scores = _rows(scores)
    labels = np.asarray(labels).reshape(-1).astype(np.int64)
    n, k = scores.shape
    valid = (labels >= 0) & (labels < k) & ~np.isnan(scores).any(axis=1)
    safe = np.where(valid, labels, 0)
    own = scores[np.arange(n), safe][:, None]
    before = (scores > own) | ((scores == own) & (np.arange(k) < safe[:, None]))
    return np.where(valid, before.sum(axis=1), k)


def classifier_output(outputs: Mapping[str, Any]) -> str | None:
    """The output that holds class scores: the only floating [N, K] or [N, K, 1, 1] with K > 1, if any."""
    names = [name for name, value in outputs.items() if _is_scores(value)]
    return names[0] if len(names) == 1 else None


def declared_classes(outputs: Iterable[Port]) -> int | None:
    """How many classes a model tells apart: K of its only floating output [N, K, 1, ...], if declared."""
    counts = [classes for port in outputs if (classes := _classes(port)) is not None]
    return counts[0] if len(counts) == 1 else None


def _classes(port: Port) -> int | None:
    """K of a port that holds class scores, None for any other."""
    if port.dtype is None or not is_float(port.dtype) or port.shape is None or len(port.shape) < 2:
        return None
    classes = port.shape[1]
    return classes if isinstance(classes, int) and classes > 1 and set(port.shape[2:]) <= {1} else None


def _is_scores(value: Any) -> bool:
    if not isinstance(value, np.ndarray) or not is_float(value.dtype):
        return False
    return value.ndim >= 2 and value.shape[1] > 1 and set(value.shape[2:]) <= {1}


def _rows(scores: np.ndarray) -> np.ndarray:
    """[N, K, 1, ...] as [N, K], in float64 so that float16 compares like the rest."""
    return scores.reshape(scores.shape[0], math.prod(scores.shape[1:])).astype(np.float64)
