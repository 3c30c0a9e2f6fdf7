"""Any model: how far each output is from the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from graphopt.metrics.base import Outcome, Outputs, Task
from graphopt.runtime import Comparison

if TYPE_CHECKING:
    from graphopt.data import Sample


class Generic(Task):
    """Signal-to-noise ratio, cosine similarity and largest difference of each output."""

    name: ClassVar[str] = "generic"

    def __init__(self) -> None:
        self._comparison = Comparison()

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Sample, truth: Any) -> None:
        """There is no truth: without a reference nothing is counted."""
        if reference is not None:
            self._comparison.update(reference, outputs)

    def outcome(self, seed: int = 0) -> Outcome:
        """The details have ``cosine``, ``max_abs``, ``relative`` and ``mismatch`` of each output."""
        details = {
            name: {
                "snr_db": found.snr_db,
                "cosine": found.cosine,
                "max_abs": found.max_abs,
                "relative": found.relative,
                "unequal": found.unequal,
                "mismatch": found.mismatch,
            }
            for name, found in self._comparison.result().items()
        }
        return Outcome(details={"outputs": details} if details else {})
