"""A front: runs of one model of which none beats another in speed, size and quality, each with its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphopt.util.files import plain, write_json, write_text
from graphopt.util.pages import rendered

SCHEMA = 1  # fixed: version of the file format of fronts


@dataclass(frozen=True)
class FrontTrial:
    """A trial on held-out samples, with weights fitted to the others.

    ``left`` is the fraction left of what the front ``saves``, ``points`` are lost as seen, ``upper`` is their
    bound at 90 % confidence, ``expected`` what was expected before, and ``noise`` the share of the variance
    of what is judged by that has become noise.  ``moves`` says how many items of each pass were moved.
    """

    left: float
    points: float
    upper: float
    expected: float
    noise: float
    moves: Mapping[str, int]


@dataclass(frozen=True)
class FrontPoint:
    """One run of the front: its trial, and what its file was measured to be, as fractions of the input.

    ``latency`` is None where nothing was timed, ``latency_spread`` its relative uncertainty; ``lost`` are
    points on the evaluation samples with their 95 % interval ``lost_low`` to ``lost_high``, None without such
    samples or a metric.  ``metrics`` holds each metric before and after, ``sqnr_db`` the least of the
    outputs.  ``changes`` are (pass, layer, what).  ``is_beaten`` says that some other run of the front is
    better in all.
    """

    name: str
    trial: FrontTrial
    latency: float | None
    latency_spread: float | None
    macs: float | None
    bytes: float
    lost: float | None
    lost_low: float | None
    lost_high: float | None
    metrics: Mapping[str, tuple[float, float | None]]
    sqnr_db: float | None
    changes: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]
    sha256: str | None
    output: str | None
    plan: str | None
    command: str
    is_beaten: bool = False

    @property
    def quality(self) -> float:
        """The points lost: on evaluation samples, else on held-out ones."""
        return self.trial.points if self.lost is None else self.lost

    @property
    def costs(self) -> tuple[float, ...]:
        """What is better when it is less: time (else MACs, else what the trial left), size, noise, points.

        The noise is that of the trial; points are those on evaluation samples, where there are any.
        """
        time = next((value for value in (self.latency, self.macs) if value is not None), self.trial.left)
        return time, self.bytes, self.trial.noise, *([] if self.lost is None else [self.lost])


@dataclass(frozen=True)
class Front:
    """What ``graphopt explore`` found; ``points`` begin with the fastest.

    ``saves`` is what trials were chosen by: latency, or macs.  ``alone`` are trials with the moves of one
    pass, by pass; ``trials`` are all.  ``samples`` judged the trials, by ``judged_by``.
    """

    graphopt: str
    model: str
    model_sha256: str
    passes: str
    target: str
    saves: str
    judged_by: str
    samples: int
    evaluation: int | None
    points: tuple[FrontPoint, ...]
    alone: Mapping[str, tuple[FrontTrial, ...]]
    trials: tuple[FrontTrial, ...]
    bytes: int
    latency_ms: float | None
    machine: Mapping[str, Any] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    @property
    def best(self) -> tuple[FrontPoint, ...]:
        """The points that no other beats."""
        return tuple(point for point in self.points if not point.is_beaten)

    def to_json(self) -> dict[str, Any]:
        """The front as plain values."""
        document: dict[str, Any] = plain({"schema": SCHEMA, **plain(self)})
        return document

    def write(self, path: str | Path) -> None:
        """Write the front, as a page when the name ends in .html; OutputError when that fails."""
        path = Path(path)
        if path.suffix == ".html":
            write_text(path, rendered("front", self))
        else:
            write_json(path, self.to_json())


def beats(one: FrontPoint, other: FrontPoint) -> bool:
    """Whether one point is nowhere worse than another, and somewhere better."""
    return one.costs != other.costs and all(a <= b for a, b in zip(one.costs, other.costs, strict=True))
