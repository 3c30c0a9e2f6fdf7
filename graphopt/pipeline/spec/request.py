"""Everything one optimize run was asked for, checked for contradictions before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.errors import UsageError
from graphopt.pipeline.spec.automatic import EXACT, expanded
from graphopt.pipeline.spec.flag import flags_of
from graphopt.pipeline.spec.recipe import Recipe, ScheduledPass, turns_of
from graphopt.pipeline.spec.run_flags import JUDGED_BY, RunFlags, cache_of
from graphopt.util.files import user_cache
from graphopt.util.progress import Busy, Progress, silent, unwatched
from graphopt.util.text import described

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.metrics import MetricSpec
    from graphopt.runtime import SessionOptions

TALK = ("quiet", "verbose")  # they concern what the command line shows, and nothing else
# memory: weight bytes up to which models are run for checks and latency without being asked to
LARGEST_RUN = 2**31


@dataclass(kw_only=True)
class Request(RunFlags):
    """One optimize run as asked for: its flags, and what surrounds it."""

    model: Path | Model
    turns: tuple[ScheduledPass, ...]
    times: Path | None = field(default_factory=user_cache)  # where the times of layers are kept
    command: tuple[str, ...] = ()
    transform: Callable[[Any], Any] | None = None  # makes feeds of what data in Python yields
    progress: Progress = silent
    busy: Busy = unwatched
    phases: Callable[[Sequence[str]], None] = lambda names: None  # hears what the run will do, in order
    announce: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        if self.transform is not None and not callable(self.transform):
            raise UsageError(f"transform takes a function, not {described(self.transform)}")
        _check_together(self)

    @property
    def judged_by(self) -> MetricSpec:
        """How models are judged."""
        from graphopt.metrics import MetricSpec

        return MetricSpec(**{name: getattr(self, name) for name in JUDGED_BY})

    @property
    def chooses_metric(self) -> bool:
        """Whether it was said how models are judged."""
        return any(getattr(self, name) is not None for name in JUDGED_BY)

    @property
    def runs_models(self) -> bool:
        """Whether models are executed for the run's own sake; passes may need to all the same."""
        has_data = self.calibration is not None or self.evaluation is not None
        return self.times_models or has_data or self.verify in ("auto", "full")

    @property
    def times_models(self) -> bool:
        """Whether latency is measured."""
        return self.latency is not False

    def within_memory(self, weight_bytes: int) -> Request:
        """The same run without what nobody asked for that would take the memory of a very large model."""
        if weight_bytes <= LARGEST_RUN:
            return self
        wants_checks = self.verify != "auto" or self.tolerance is not None
        verify = self.verify if wants_checks else "structure"
        return dataclasses.replace(self, verify=verify, latency=bool(self.latency) or self.require_speedup)

    @property
    def session(self) -> SessionOptions:
        """What every session of the run is opened with."""
        from graphopt.runtime import SessionOptions

        return SessionOptions(self.threads, self.provider, self.custom_ops)


def make_request(
    model: Any, turns: tuple[ScheduledPass, ...], recipe: Recipe, given: Mapping[str, Any]
) -> Request:
    """Make a request; what is None in ``given`` comes from the recipe, else from the defaults."""
    if turns and recipe.turns:
        raise UsageError("the passes are given twice, by --passes and in the recipe", hint="keep one of them")
    flags = {key.replace("-", "_"): value for key, value in recipe.flags.items() if key not in TALK}
    values = {**flags, **{key: value for key, value in given.items() if value is not None}}
    from graphopt import ir

    if "cache" in values:
        values["times"] = cache_of(values["cache"])
    written = turns or recipe.turns or turns_of(EXACT)
    target = values.get("target", flags_of(RunFlags)["target"].default)
    scheduled = expanded(written, str(target), has_data=values.get("calibration") is not None)
    return Request(**values, model=ir.accept(model), turns=scheduled)


def recipe_flags() -> tuple[str, ...]:
    """The flags a recipe may set, as they are written on the command line."""
    return (*(flag.key for name, flag in flags_of(RunFlags).items() if name != "recipe"), *TALK)


def _check_together(request: Request) -> None:
    has_data = request.calibration is not None or request.evaluation is not None
    if request.max_drop is not None and not has_data:
        raise UsageError(
            "--max-drop needs --calibration or --evaluation: without samples no drop can be measured"
        )
    if request.goal is not None and request.goal[0] == "latency" and request.latency is False:
        raise UsageError("--goal latency needs the latency that --no-latency leaves out")
    if request.chooses_metric:
        request.judged_by.make()
        if request.evaluation is None:
            raise UsageError("--task and --metric need --evaluation: there are no samples to judge by them")
    if request.locked and request.lock is None:
        raise UsageError("--locked needs --lock FILE.lock, which holds the run to keep to")
    if request.require_speedup and request.latency is False:
        raise UsageError("--require-speedup needs the latency that --no-latency leaves out")
    if request.preprocess is not None and not has_data:
        raise UsageError("--preprocess has no effect without --calibration or --evaluation")
    if request.tolerance is not None and request.verify in ("structure", "off"):
        raise UsageError(
            f"--tolerance has no meaning with --verify {request.verify}, which compares no numbers"
        )
