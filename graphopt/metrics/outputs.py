"""Any model: how far each output is from the reference's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from graphopt.metrics.base import Metric, Outcome, Outputs
from graphopt.runtime import Comparison, Difference

if TYPE_CHECKING:
    from graphopt.data import Sample

SNR_LIMIT = 300.0  # fixed: dB; stands for "equal", which has no number in JSON; a float64 rounds at 313


class Generic(Metric):
    """Signal-to-noise ratio, cosine similarity and largest difference of each output."""

    name: ClassVar[str] = "generic"

    def __init__(self) -> None:
        self._comparison = Comparison()

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Sample, truth: Any) -> None:
        """There is no truth: without a reference nothing is counted."""
        if reference is not None:
            self._comparison.update(reference, outputs)

    @property
    def differences(self) -> dict[str, Difference]:
        """The difference of each output so far."""
        return self._comparison.result()

    def outcome(self, seed: int | None = 0) -> Outcome:
        """The details have ``cosine``, ``max_abs``, ``relative`` and ``mismatch`` of each output."""
        details = {
            name: {
                "snr_db": difference.snr_db,
                "cosine": difference.cosine,
                "max_abs": difference.max_abs,
                "relative": difference.relative,
                "unequal": difference.unequal,
                "mismatch": difference.mismatch,
            }
            for name, difference in self.differences.items()
        }
        return Outcome(details={"outputs": details} if details else {})


def decibels(differences: Mapping[str, Difference]) -> dict[str, float]:
    """SQNR in dB of each float output that can be judged, kept within +-300 dB."""
    return {
        name: max(-SNR_LIMIT, min(SNR_LIMIT, difference.snr_db))
        for name, difference in differences.items()
        if difference.is_float and not difference.nonfinite and not difference.mismatch
    }
