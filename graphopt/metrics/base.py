"""What a task is: something that looks at a model's answers sample by sample and says how good they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from graphopt.metrics.significance import Paired

if TYPE_CHECKING:
    from graphopt.data import Sample

Outputs = Mapping[str, Any]
"""What one run gives: arrays by output name."""


@dataclass(frozen=True)
class Outcome:
    """How a model did: ``metrics`` where the truth is known, ``agreement`` where there is a reference.

    ``paired`` has the change of each metric from the reference to the model on the same samples, with the
    interval that says whether it is more than noise.  ``details`` are plain values for the reader.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    reference_metrics: Mapping[str, float] = field(default_factory=dict)
    agreement: Mapping[str, Any] = field(default_factory=dict)
    paired: Mapping[str, Paired] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Task(ABC):
    """Collects what the answers of a model, and of a reference, are worth."""

    name: ClassVar[str]
    labels: ClassVar[str] = ""  # what --labels has to hold; nothing where labels come with the data

    @abstractmethod
    def update(self, outputs: Outputs, reference: Outputs | None, sample: Sample, truth: Any) -> None:
        """Take the answers to one sample; ``truth`` has an entry for each of its rows, None if unknown.

        Raises ModelError when the outputs are not those of this task.
        """

    @abstractmethod
    def outcome(self, seed: int = 0) -> Outcome:
        """What was found; ``seed`` is for the resampling of intervals."""
