"""Judge a student by its answers on the validation set: the same losses in float64, without a trainer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.metrics.judge import look
from graphopt.runtime import Accuracy, Agreement

if TYPE_CHECKING:
    from ..graph.losses import Target


@dataclass(frozen=True)
class Verdict:
    """The mean loss over the validation set; for class scores, how often the student agrees and is right."""

    loss: float
    agreement: float | None = None
    top1: float | None = None

    def __str__(self) -> str:
        parts = [f"loss {self.loss:.4g}"]
        if self.agreement is not None:
            parts.append(f"agreement {self.agreement:.1%}")
        if self.top1 is not None:
            parts.append(f"top-1 {self.top1:.1%}")
        return ", ".join(parts)


Answers = Mapping[str, np.ndarray]
Pair = tuple[Answers, Answers, np.ndarray | None]


def judge(pairs: Iterable[Pair], targets: Sequence[Target], *, temperature: float, alpha: float) -> Verdict:
    """Compare batches of (student's answers, teacher's answers, labels) by the terms of ``targets``.

    Answers are by the name of the student's and of the teacher's tensor of each term.
    """
    losses = _Losses(targets, temperature, alpha)
    look(pairs, lambda pair: pair[0], lambda pair: pair[1], [losses], truth=lambda pair: pair[2])
    return losses.verdict()


class _Losses:
    """The terms of a loss over batches of answers, and what class scores say beside them."""

    def __init__(self, targets: Sequence[Target], temperature: float, alpha: float) -> None:
        self._targets, self._temperature, self._alpha = targets, temperature, alpha
        self._losses: list[float] = []
        self._sizes: list[int] = []
        self._agreement, self._accuracy = Agreement(), Accuracy()

    def update(self, outputs: Answers, reference: Answers | None, sample: Any, truth: Any) -> None:
        """Take the student's and the teacher's answers to one batch; ``truth`` are its labels."""
        assert reference is not None
        total = 0.0
        for target in self._targets:
            ours, theirs = outputs[target.term.student], reference[target.term.teacher]
            total += target.term.weight * _loss(ours, theirs, target, self._temperature)
            if target.term.kind == "kl" and ours.ndim == 2 + sum(size == 1 for size in ours.shape[2:]):
                self._agreement.update(theirs, ours)
                if truth is not None:
                    self._accuracy.update(ours, truth)
                    total += self._alpha * _cross_entropy(ours, truth) if self._alpha else 0.0
        self._losses.append(total)
        self._sizes.append(len(next(iter(outputs.values()))))

    def verdict(self) -> Verdict:
        """The mean over all samples."""
        mean = float(np.average(self._losses, weights=self._sizes))
        return Verdict(mean, self._agreement.rate, self._accuracy.top1)


def _loss(ours: np.ndarray, theirs: np.ndarray, target: Target, temperature: float) -> float:
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    if target.term.kind == "kl":
        log_q = log_softmax(ours / temperature, target.axis)
        log_p = log_softmax(theirs / temperature, target.axis)
        each = (np.exp(log_p) * (log_p - log_q)).sum(axis=target.axis)
        return float(each.mean() * temperature**2)
    difference = ours - theirs
    error = np.abs(difference) if target.term.kind == "l1" else np.square(difference)
    return float(error.mean() / max(target.size, 1e-8))


def _cross_entropy(scores: np.ndarray, labels: np.ndarray) -> float:
    log_q = log_softmax(scores.reshape(len(scores), -1).astype(np.float64), 1)
    return float(-log_q[np.arange(len(labels)), labels].mean())


def log_softmax(values: np.ndarray, axis: int) -> np.ndarray:
    """log softmax that does not overflow."""
    shifted = values - values.max(axis=axis, keepdims=True)
    made: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return made
