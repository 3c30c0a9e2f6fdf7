"""How often a model is right about class 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphopt.metrics.base import Metric, Outcome, Outputs

if TYPE_CHECKING:
    from graphopt.data import Sample


class FirstClass(Metric):
    """The share of samples on which model and label agree whether the class is 0."""

    name: ClassVar[str] = "first-class"
    main = "first"
    takes_class_labels: ClassVar[bool] = True

    def __init__(self) -> None:
        self.right: list[bool] = []

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Sample, truth: Any) -> None:
        """Take the answers to one sample."""
        (scores,) = outputs.values()
        self.right += ((scores.argmax(axis=1) == 0) == (np.asarray(truth) == 0)).tolist()

    def outcome(self, seed: int | None = 0) -> Outcome:
        """The share over all samples."""
        return Outcome(metrics={"first": float(np.mean(self.right))})
