"""The Pareto front of a model: one sweep over the moves of its passes, and a run for each point."""

from __future__ import annotations

import dataclasses
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.errors import OutputError, UsageError
from graphopt.pipeline.run.run import Finished, Run
from graphopt.pipeline.spec.flag import flags_of
from graphopt.pipeline.spec.recipe import Recipe, read
from graphopt.pipeline.spec.request import Request, make_request, recipe_flags
from graphopt.pipeline.spec.run_flags import NOT_EXPLORED, RunFlags
from graphopt.pipeline.spec.written import scheduled
from graphopt.record.front import Front, FrontPoint, FrontTrial, beats
from graphopt.util.progress import Progress, silent

if TYPE_CHECKING:
    from graphopt.pipeline.run.front_planner import FrontPlanner
    from graphopt.pipeline.search.sweep import Swept
    from graphopt.record.record import Record

POINTS = 8
MOST = 4.0  # points: about where a result is of no use to most
PLAN, PAGE, NUMBERS = "plan.json", "front.html", "front.json"


def explored_flags() -> tuple[str, ...]:
    """The flags of a run that ``explore`` takes."""
    return tuple(name for name in flags_of(RunFlags) if name not in NOT_EXPLORED)


def explore(
    model: Any,
    passes: Any = None,
    *,
    points: int = POINTS,
    output: str | Path | None = None,
    progress: Progress = silent,
    announce: Callable[[str], None] = lambda text: None,
    transform: Callable[[Any], Any] | None = None,
    **flags: Any,
) -> Front:
    """Find the Pareto front of speed, size and quality: runs of which none beats another.

    Channels, ranks and bits are chosen along the whole range from hardly a loss to ``max_drop`` points (4 by
    default), by trials on held-out calibration samples; each choice that no other beats becomes a run, whose
    file is measured. An interrupted search ends with what it has, and with ``cache`` goes on from there the
    next time.

    Args:
        model: as in ``optimize``.
        passes: as in ``optimize``; those without a goal of their own are gone through their range. Those of
            ``recipe``, else ``auto``, when None.
        points: how many points to look for; there may be fewer where moves are large.
        output: a folder for the files: each point's model and plan, ``front.json`` and the page
            ``front.html``. Without it nothing is written.
        progress, transform: as in ``optimize``.
        announce: hears messages.
        flags: those of ``optimize`` that are not one run's alone: calibration (needed), evaluation, target,
            task, metric, preprocess, shape, seed, threads, time_limit, max_drop, force and their like.

    Raises:
        GraphoptError: as ``optimize``. UsageError where no pass has moves, or nothing can judge them.
    """
    wrong = next((name for name in flags if name not in explored_flags()), None)
    if wrong is not None:
        raise TypeError(f"explore() got an unexpected keyword argument {wrong!r}")
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise UsageError(f"points is {points!r}", hint="give how many to look for, such as 8")
    given = {name: value for name, value in flags.items() if value is not None}
    recipe_path = given.pop("recipe", None)
    recipe = Recipe() if recipe_path is None else read(Path(recipe_path), recipe_flags())
    given = {**_of_front(recipe, announce), **given}
    folder = None if output is None else Path(output)
    if folder is not None:
        _check_folder(folder, force=bool(given.get("force")))
    most = given.pop("max_drop", None)
    turns = scheduled("auto" if passes is None and not recipe.turns else passes)
    once = _Once(announce)
    surroundings = {"progress": progress, "announce": once, "transform": transform}
    request = make_request(model, turns, Recipe(recipe.turns), {**given, **surroundings})
    most = MOST if most is None else flags_of(RunFlags)["max_drop"].kind.convert("--max-drop", most)
    if not most:
        raise UsageError("a front up to a loss of 0 points has no points", hint="--max-drop 4")
    spec = ",".join(str(turn.step) for turn in request.turns)
    return _Exploration(request, folder, spec, given, once).explore(points, most)


def _of_front(recipe: Recipe, announce: Callable[[str], None]) -> dict[str, Any]:
    """The flags of a recipe that a front goes by; those of a single run are left out, which is said."""
    written = {key.replace("-", "_"): value for key, value in recipe.flags.items()}
    if alone := [name for name in written if name in NOT_EXPLORED]:
        announce(f"a front leaves out what the recipe says for a single run: {', '.join(alone)}")
    return {name: value for name, value in written.items() if name in explored_flags()}


def spread(count: int) -> list[int]:
    """The numbers below ``count``, each as far as can be from those before: the first few show the whole."""
    order = [0]
    while len(order) < count:
        rest = (number for number in range(count) if number not in order)
        order.append(max(rest, key=lambda number: min(abs(number - other) for other in order)))
    return order


class _Once:
    """Says each sentence once: the runs of a front say much alike."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce, self._heard = announce, set[str]()

    def __call__(self, text: str) -> None:
        if text not in self._heard:
            self._heard.add(text)
            self._announce(text)


def _check_folder(folder: Path, *, force: bool) -> None:
    """Raise OutputError when the files cannot go there: before any work is done for them."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"the output {folder} is a file", hint="name a folder: it gets the points")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OutputError(f"the folder {folder} is not empty", hint="--force overwrites points in it")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made: {error.strerror or error}") from error


class _Exploration:
    """Carries out one exploration."""

    def __init__(
        self,
        request: Request,
        folder: Path | None,
        spec: str,
        given: Mapping[str, Any],
        announce: Callable[[str], None],
    ) -> None:
        self._request, self._folder, self._spec, self._given = request, folder, spec, given
        self._announce = announce
        self._run = Run(request)
        self._said: list[str] = []

    def explore(self, count: int, most: float) -> Front:
        """Sweep, then carry out each point of the front."""
        planner = self._run.explore(count, most)
        if self._folder is not None:
            _make_folder(self._folder)  # not before what was asked for is known to be right
        made: list[tuple[FrontPoint, Record]] = []
        for number, swept, finished in self._carried_out(planner):
            made.append((self._point(number, planner, swept, finished), finished.record))
        if planner.sweep.ended:
            self._said.append(f"{planner.sweep.ended}: these are the points that were tried by then")
        front = self._front(planner, made)
        if self._folder is not None:
            front.write(self._folder / NUMBERS)
            front.write(self._folder / PAGE)
        return front

    def _carried_out(self, planner: FrontPlanner) -> Iterator[tuple[int, Swept, Finished]]:
        """The runs of the front with their numbers; those that there was time for, spread along it."""
        limit = self._request.time_limit
        deadline = math.inf if limit is None else time.monotonic() + 60.0 * limit
        finished = self._at(planner, 1)
        front = planner.sweep.front
        if not front:
            tried = "no trial saves anything" if planner.sweep.all else "no move saves anything"
            why = planner.sweep.ended or tried
            raise UsageError(f"{why}: there is no point to show", hint="give more time, or other passes")
        yield 1, front[0], finished
        self._announce(f"{len(planner.sweep.all)} trials: {len(front)} that no other beats become files")
        longest = 0.0
        for done, index in enumerate(spread(len(front))[1:], start=1):
            start = time.monotonic()
            if start + longest > deadline:
                self._said.append(f"the time limit left {len(front) - done} trials without a file")
                return
            planner.choose(front[index])
            self._announce(f"point {done + 1} of {len(front)}")
            try:
                yield index + 1, front[index], self._at(planner, index + 1)
            except KeyboardInterrupt:
                self._said.append(f"interrupted: {len(front) - done} trials are left without a file")
                return
            longest = max(longest, time.monotonic() - start)

    def _at(self, planner: FrontPlanner, number: int) -> Finished:
        return self._run.at(planner, self._file(number, "onnx"), self._file(number, PLAN)).execute()

    def _file(self, number: int, suffix: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{number:02}.{suffix}"

    # -- what there is to say -----------------------------------------------------------------------------

    def _point(self, number: int, planner: FrontPlanner, swept: Swept, finished: Finished) -> FrontPoint:
        record = finished.record
        before, after = record.before, record.after
        main = next(iter(record.paired.items()), None) if self._request.evaluation is not None else None
        change = None if main is None else main[1]
        plan = self._file(number, PLAN)
        return FrontPoint(
            name=f"{number:02}",
            trial=_trial(planner, swept),
            latency=record.speed.get("ratio") or _ratio(after.latency_ms, before.latency_ms),
            latency_spread=record.speed.get("spread"),
            macs=_ratio(after.macs, before.macs),
            bytes=after.bytes / (before.bytes or 1),
            lost=None if change is None else -100.0 * change.difference,
            lost_low=None if change is None else -100.0 * change.high,
            lost_high=None if change is None else -100.0 * change.low,
            metrics={name: (value, after.metrics.get(name)) for name, value in before.metrics.items()},
            sqnr_db=min(record.agreement.get("snr_db", {}).values(), default=None),
            changes=tuple((step.name, c.node, c.what) for step in record.passes for c in step.changes),
            warnings=record.warnings,
            sha256=record.output_sha256,
            output=record.output,
            plan=None if plan is None else str(plan),
            command=self._command(number),
        )

    def _front(self, planner: FrontPlanner, made: Sequence[tuple[FrontPoint, Record]]) -> Front:
        points = [point for point, _ in made]
        record = made[0][1]
        marked = (dataclasses.replace(p, is_beaten=any(beats(o, p) for o in points)) for p in points)
        return Front(
            graphopt=record.graphopt,
            model=record.input,
            model_sha256=record.model_sha256,
            passes=self._spec,
            target=record.target,
            saves=self._run.saves,
            judged_by=planner.judged_by,
            samples=planner.samples,
            evaluation=None if self._request.evaluation is None else record.agreement.get("samples"),
            points=tuple(sorted(marked, key=lambda point: point.costs)),
            alone={
                name: tuple(_trial(planner, one) for one in swept)
                for name, swept in planner.sweep.alone.items()
            },
            trials=tuple(_trial(planner, one) for one in planner.sweep.all),
            bytes=record.before.bytes,
            latency_ms=record.before.latency_ms,
            machine=record.machine,
            said=tuple(self._said),
        )

    def _command(self, number: int) -> str:
        """The command line that replays a point; empty where it has no words for what Python was given."""
        if self._folder is None or not isinstance(self._request.model, Path):
            return ""
        words = ["graphopt", "optimize", str(self._request.model), "-o", f"{number:02}.onnx"]
        words += ["--passes", self._spec, "--plan", str(self._file(number, PLAN))]
        for name, value in self._given.items():
            flag = flags_of(RunFlags)[name]
            values = value if isinstance(value, (list, tuple)) else [value]
            if name in ("force", "time_limit", "passes"):
                continue
            if not all(isinstance(one, (str, Path, int, float)) for one in values):
                return ""
            for one in values:
                if one is True:
                    words.append(flag.spelled)
                elif one is False:
                    words += [f"--no-{flag.key}"] if flag.negative else []
                else:
                    words += [flag.spelled, str(one)]
        return shlex.join(words)


def _trial(planner: FrontPlanner, swept: Swept) -> FrontTrial:
    tried = swept.tried
    loss = tried.loss
    return FrontTrial(tried.left, loss.points, loss.upper, swept.expected, loss.noise, planner.moved(swept))


def _ratio(after: float | None, before: float | None) -> float | None:
    return None if after is None or not before else after / before
