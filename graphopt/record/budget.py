"""What a search over the passes of a run tried, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BudgetTrial:
    """One choice that was carried out: what it leaves of the goal, and what it was seen to lose.

    ``points`` are lost as seen on the held-out samples, ``upper`` is their bound at 90 % confidence;
    ``noise`` and ``predicted`` are shares of the variance of what is judged by.  ``moves`` says how many
    items of each pass were moved.
    """

    left: float
    points: float
    upper: float
    noise: float
    predicted: float
    moves: tuple[int, ...]
    chosen: bool = False


@dataclass(frozen=True)
class BudgetRecord:
    """One search: what it saves, its limits, how and on how many samples it judged, and its trials."""

    saves: str
    limit: float | None  # points
    goal: float | None  # fraction left
    judged_by: str
    samples: int
    passes: tuple[str, ...]
    trials: tuple[BudgetTrial, ...]
    said: tuple[str, ...] = ()
