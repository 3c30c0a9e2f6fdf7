"""Times of models and their kernels, measured once: what is decided by them is the same in every run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from graphopt import runtime
from graphopt.cost.latency.storage import Kept, file_in
from graphopt.ir import Model

SCHEMA = 1  # fixed: raise it when models are timed in another way


class Clock(Protocol):
    """Times models, in milliseconds."""

    def milliseconds(self, models: Sequence[Model]) -> list[float]: ...

    def kernels(self, model: Model) -> dict[str, float]: ...


class KeptClock:
    """A clock that remembers what it measured, in a file for one processor, runtime version and threads.

    ``about`` is what else the times depend on, such as the sizes of the inputs.
    """

    def __init__(self, clock: Clock, kept: Kept, about: str = "") -> None:
        self._clock = clock
        self._kept = kept
        self._about = about
        self._known = kept.read()

    @classmethod
    def open(cls, clock: Clock, folder: Path | None, threads: int, about: str) -> KeptClock:
        """A clock with its file in ``folder``; None keeps nothing beyond this run."""
        host = runtime.machine(threads)
        kept = Kept(file_in(folder, "quant", SCHEMA, host), "milliseconds", SCHEMA, host)
        return cls(clock, kept, about)

    def milliseconds(self, models: Sequence[Model]) -> list[float]:
        """Milliseconds of models, measured in turn; raises OutputError for a file not to be written."""

        def measure() -> dict[str, float]:
            return {str(number): time for number, time in enumerate(self._clock.milliseconds(models))}

        times = self._remember("models", models, measure)
        return [times[str(number)] for number in range(len(models))]

    def kernels(self, model: Model) -> dict[str, float]:
        """Milliseconds of every kernel by its name; raises OutputError for a file not to be written."""
        return self._remember("kernels", [model], lambda: self._clock.kernels(model))

    def _remember(
        self, kind: str, models: Sequence[Model], measure: Callable[[], Mapping[str, float]]
    ) -> dict[str, float]:
        """The times under the names that ``measure`` gives them; all of a measurement is kept or none."""
        key = json.dumps([kind, self._about, *(runtime.fingerprint(model) for model in models)])
        start = f"{hashlib.sha256(key.encode()).hexdigest()} "
        if not any(key.startswith(start) for key in self._known):
            measured = {start + name: round(time, 6) for name, time in measure().items()}
            self._known = self._kept.add({**self._known, **measured})
        return {key.removeprefix(start): t for key, t in self._known.items() if key.startswith(start)}
