"""Plans the passes of several runs over one model: the first sweeps, each carries out one choice."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphopt.errors import UsageError
from graphopt.pipeline.contract.context import Context
from graphopt.pipeline.run.budget_planner import FEWEST, BudgetPlanner, Stakes, shares_budget
from graphopt.pipeline.search.attempts import Attempts
from graphopt.pipeline.search.budget import Goals
from graphopt.pipeline.search.sweep import Sweep, Sweeper, Swept
from graphopt.pipeline.spec.arrange import PipelineEntry

if TYPE_CHECKING:
    from graphopt.ir import Model

SEARCHED = 0.5  # time: share of a time limit for the trials of a front; the rest is for the files


def plan_front(
    stages: Sequence[PipelineEntry],
    samples: int | None,
    saves: str,
    points: int,
    most: float,
    minutes: float | None,
) -> FrontPlanner:
    """What sweeps the passes of a run; ``samples`` are the calibration samples, ``minutes`` the time limit.

    Raises UsageError where no pass can be carried out more or less far, or nothing can judge it.
    """
    if not any(shares_budget(stage.step) for stage in stages):
        raise UsageError(
            "nothing can be explored: no pass is without a goal of its own",
            hint="--passes prune,quant, or --passes auto",
        )
    if (samples or 0) < FEWEST:
        raise UsageError(
            f"a front takes calibration samples to judge by, at least {FEWEST}, and there are {samples or 0}",
            hint="give --calibration with 256 or more",
        )
    deadline = None if minutes is None else time.monotonic() + SEARCHED * 60.0 * minutes
    return FrontPlanner(stages, Goals(saves, risk=True), points, most, deadline)


class FrontPlanner(BudgetPlanner):
    """Sweeps once; from then on ``choose`` says which choice the next run carries out.

    The run that sweeps carries out the choice that leaves least.
    """

    def __init__(
        self,
        stages: Sequence[PipelineEntry],
        goals: Goals,
        points: int,
        most: float,
        deadline: float | None = None,
    ) -> None:
        super().__init__(stages, goals, deadline)
        self._points, self._most = points, most
        self._stakes_made: Stakes | None = None
        self._attempts: Attempts | None = None
        self.sweep = Sweep((), {})

    def choose(self, swept: Swept) -> None:
        """Let the next run carry out a choice."""
        assert self._stakes_made is not None  # whoever has a choice has swept
        self._take(self._stakes_made, swept.choice)

    def moved(self, swept: Swept) -> dict[str, int]:
        """How many items of each pass a choice moves."""
        assert self._attempts is not None
        return dict(zip(self._attempts.passes, self._attempts.moved(swept.choice), strict=True))

    @property
    def judged_by(self) -> str:
        """How the trials were judged, in few words."""
        return "" if self._stakes_made is None else self._stakes_made.judge.kind

    @property
    def samples(self) -> int:
        """On how many held-out samples the trials were judged."""
        return 0 if self._stakes_made is None else self._stakes_made.judge.samples

    def _settle(self, first: int, model: Model, ctx: Context) -> None:
        stakes = self._stakes(first, model, ctx)
        if stakes is None:
            raise UsageError(
                "no pass has a move to explore: all are too small to change, or excluded",
                hint="graphopt optimize carries the passes out as they are",
            )
        self._stakes_made = stakes
        self._attempts = Attempts(
            stakes.market,
            stakes.trials,
            stakes.judge,
            stakes.names,
            lambda tried: tried.loss.points,
            self._deadline,
        )
        self.sweep = Sweeper(self._attempts, self._points, self._most).sweep()
        if self.sweep.front:
            self.choose(self.sweep.front[0])
