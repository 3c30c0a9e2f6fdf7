"""Which calibration samples only judge a fit, and what is said where none could."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.data.samples import Sample

# noise: one sample of so many judges; of 512 that is 64, by which a squared error is known to an eighth
EVERY = 8


def judges(number: int, samples: int) -> bool:
    """Whether sample ``number`` of ``samples``, in the order they are read, is not fitted to and only judges.

    That is every eighth, the last one where there are fewer than eight, and none where there is only one.
    """
    if samples < EVERY:
        return samples > 1 and number == samples - 1
    return number % EVERY == EVERY - 1


@dataclass(frozen=True)
class Judging:
    """The samples that only judge (see ``judges``), to run a whole network on; all where there is one."""

    samples: Samples

    def __iter__(self) -> Iterator[Sample]:
        count = len(self.samples)
        return (sample for n, sample in enumerate(self.samples) if count == 1 or judges(n, count))

    def __len__(self) -> int:
        count = len(self.samples)
        return max(1, sum(judges(number, count) for number in range(count)))


class Unjudged:
    """Collects the layers whose fit nothing could judge, so that they are left as they are."""

    def __init__(self, owner: str, samples: int) -> None:
        self._owner = owner
        self._samples = samples
        self._layers: list[str] = []

    def add(self, layer: str) -> None:
        """Note a layer."""
        self._layers.append(layer)

    @property
    def sentence(self) -> str:
        """What the user should know; empty when every fit was judged."""
        if not self._layers:
            return ""
        if self._samples < 2:
            return (
                f"{self._owner} fits no weights: with one calibration sample none is left to judge a fit by; "
                "give at least 2, better 64"
            )
        others = f" and {len(self._layers) - 1} more layers" if len(self._layers) > 1 else ""
        return (
            f"{self._owner} cannot fit '{self._layers[0]}'{others}: what they read or make is not finite on "
            "the calibration samples"
        )
