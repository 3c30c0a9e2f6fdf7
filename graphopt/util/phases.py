"""How far a whole run is: its phases, how much of each is done, and the time left from measured times."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

from graphopt.util.files import user_cache

UNMEASURED = 5.0  # time: seconds counted for a phase that never ran here; only their ratios matter
LEAST_SHARE = 0.05  # noise: of the run; before that much is done nothing is said of the time left
FILE = "phases.json"


class Overall:
    """The phases of one run in order; what they take is kept for the next run.

    The share done weighs each phase by the seconds it took when it last ran here; the time left is the
    expected time of what remains, stretched by how this run compares with what was expected so far.
    """

    def __init__(
        self,
        phases: Sequence[str],
        expected: Mapping[str, float],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._phases, self._clock = list(phases), clock
        self._expected = [max(expected.get(name, UNMEASURED), 1e-3) for name in phases]
        self._start = self._since = clock()
        self._index, self._loops, self._within = -1, 0, 0.0
        self.doing = "reading"
        self.measured: dict[str, float] = {}

    def enter(self, name: str) -> bool:
        """Begin the next phase of this name; False when there is none, and the name is only what is done."""
        self.doing = name
        if name not in self._phases[self._index + 1 :]:
            return False
        self._index = self._phases.index(name, self._index + 1)
        self._since, self._loops, self._within = self._clock(), 0, 0.0
        return True

    def leave(self, name: str) -> None:
        """End a phase, and remember what it took."""
        self.measured[name] = self.measured.get(name, 0.0) + self._clock() - self._since
        self._within = 1.0

    def loop(self, description: str) -> None:
        """A loop of the phase begins: it is taken to do half of what the phase has left."""
        self.doing, self._loops = description, self._loops + 1

    def step(self, description: str, done: int, total: int | None) -> None:
        """So much of the loop is done."""
        self.doing = f"{description} ({done + 1} of {total})" if total else description
        if total:
            self._within = max(self._within, 1 - 0.5 ** (self._loops - 1) * (1 - 0.5 * done / total))

    @property
    def share(self) -> float:
        """How much of the run is done, from 0 to 1."""
        done = sum(self._expected[: max(self._index, 0)])
        if self._index >= 0:
            done += self._expected[self._index] * min(self._within, 1.0)
        return done / (sum(self._expected) or 1.0)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._start

    @property
    def left(self) -> float | None:
        """Seconds that remain; None while too little is done to say."""
        share = self.share
        return None if share < LEAST_SHARE else self.elapsed * (1 - share) / share

    @property
    def place(self) -> str:
        """Which phase of how many it is."""
        return f"{max(self._index, 0) + 1}/{len(self._phases)}"

    def line(self) -> str:
        """The state of the run in one line."""
        left = "" if self.left is None else f", about {duration(self.left)} left"
        return f"{100 * self.share:.0f} % after {duration(self.elapsed)}{left}: {self.doing}"


def duration(seconds: float) -> str:
    """``40 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def expected_seconds(folder: Path | None = None) -> dict[str, float]:
    """What the phases of earlier runs took, by name; nothing where that was never kept or cannot be read."""
    with suppress(OSError, ValueError, AttributeError):
        document = json.loads(((folder or user_cache()) / FILE).read_text(encoding="utf-8"))
        return {str(k): float(v) for k, v in document.items() if isinstance(v, (int, float)) and 0 <= v < 1e7}
    return {}


def keep_seconds(measured: Mapping[str, float], folder: Path | None = None) -> None:
    """Keep what phases took; whoever cannot write there does without."""
    path = (folder or user_cache()) / FILE
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**expected_seconds(folder), **measured})
        draft = path.with_suffix(".tmp")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
