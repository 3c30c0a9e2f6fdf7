"""What a metric is: something that looks at a model's answers sample by sample and says how good they are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from graphopt.errors import UsageError
from graphopt.metrics.significance import Paired

if TYPE_CHECKING:
    from graphopt.data import Sample, Samples
    from graphopt.data.ground_truth.truth import Truth

Outputs = Mapping[str, Any]
"""What one run gives: arrays by output name."""


@dataclass(frozen=True)
class Outcome:
    """How a model did: ``metrics`` where the truth is known, ``agreement`` where there is a reference.

    ``paired`` has the change of each metric from the reference to the model on the same samples, with its
    standard error and the interval that says whether it is more than noise.  ``details`` are plain values for
    the reader.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    reference_metrics: Mapping[str, float] = field(default_factory=dict)
    agreement: Mapping[str, Any] = field(default_factory=dict)
    paired: Mapping[str, Paired] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Metric(ABC):
    """Collects what the answers of a model, and of a reference, are worth.

    ``main`` and ``main_agreement`` name the entries of ``Outcome.metrics`` and ``Outcome.agreement``, from 0
    to 1 and higher is better, whose hundredth is a point; none where the answers have no such score.
    ``labels`` says what ``--labels`` has to hold; nothing where labels come with the data. ``options`` are
    the arguments of the constructor that a user may give, ``takes_class_labels`` says whether class labels of
    the data are truth.
    """

    name: ClassVar[str]
    main: str = ""
    main_agreement: str = ""
    labels: ClassVar[str] = ""
    options: ClassVar[tuple[str, ...]] = ()
    takes_class_labels: ClassVar[bool] = False

    @abstractmethod
    def update(self, outputs: Outputs, reference: Outputs | None, sample: Sample, truth: Any) -> None:
        """Take the answers to one sample; ``truth`` has an entry for each of its rows, None if unknown.

        Raises ModelError when the outputs are not those of this metric.
        """

    @abstractmethod
    def outcome(self, seed: int | None = 0) -> Outcome:
        """What was found; ``seed`` is for the resampling of intervals, None leaves them out."""

    @property
    def can_judge(self) -> bool:
        """Whether the answers seen so far have a score in points."""
        return bool(self.main)

    def truth(self, spec: Any, samples: Samples) -> Truth:
        """Open the labels that ``spec`` names for ``samples``.

        Raises UsageError when labels come with the data, DataError for what cannot be read or does not fit.
        """
        raise UsageError(
            f"--labels belongs to tasks with labels of their own, not to {self.name}",
            hint="class labels come with the data: data.npz#images,labels",
        )

    def drop(self, outcome: Outcome) -> float | None:
        """Points lost from the reference to the model; infinite where the model's answers are no numbers.

        Without labels it is the share of the reference's answers that changed. None where neither is known.
        """
        before = outcome.reference_metrics.get(self.main)
        if before is not None and math.isfinite(before):
            after = outcome.metrics.get(self.main, math.nan)
            return math.inf if math.isnan(after) else 100 * (before - after)
        if self.main_agreement in outcome.agreement:
            return 100 * (1 - float(outcome.agreement[self.main_agreement]))
        return None
