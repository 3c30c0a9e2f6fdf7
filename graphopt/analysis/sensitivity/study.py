"""What each item of a pass's plan costs: every one is carried out alone and measured on held-out samples."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt import cost, ir, runtime
from graphopt.analysis.sensitivity.trial_evaluator import (
    Layers,
    TrialResult,
    metric_value,
    timed_layers,
)
from graphopt.analysis.sensitivity.trial_latency import with_latency
from graphopt.analysis.sensitivity.trial_log import TrialLog
from graphopt.analysis.sensitivity.workers import Given, Setup, Subject, by_item, carry_out, split
from graphopt.cost import LatencyTable
from graphopt.errors import UsageError
from graphopt.execution import Workers, WorkersLike, check_workers, open_workers
from graphopt.metrics import MetricSpec, Verdict
from graphopt.pipeline.contract.base import PlannedPass, Trial
from graphopt.pipeline.contract.context import Context, RunSettings
from graphopt.pipeline.results import measure
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.run.manager import Manager
from graphopt.pipeline.spec.arrange import PipelineEntry, arrange, as_step
from graphopt.pipeline.spec.registry import passes
from graphopt.pipeline.spec.run_flags import usable_processors
from graphopt.pipeline.spec.shapes import parse_shapes
from graphopt.pipeline.spec.written import scheduled
from graphopt.record.sensitivity import Point, Sensitivity
from graphopt.runtime import SessionOptions, machine
from graphopt.util.files import cache_folder
from graphopt.util.progress import Progress, silent

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.runtime.session import Provider

SAMPLES = 128  # measured on, when there are twice as many


def sensitivity(
    model: Any,
    step: Any,
    calibration: Any,
    *,
    evaluation: Any = None,
    task: str | None = None,
    metric: str | Callable[..., Any] | None = None,
    labels: Any = None,
    decode: str | None = None,
    confidence: float | None = None,
    threshold: float | None = None,
    preprocess: str | None = None,
    transform: Callable[[Any], Any] | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    samples: int = SAMPLES,
    target: str = "ort-cpu",
    latency: bool = False,
    workers: WorkersLike | None = None,
    heterogeneous: bool = False,
    seed: int = 0,
    threads: int | None = None,
    provider: Provider = "cpu",
    custom_ops: Sequence[str] = (),
    cache: str | Path | None = None,
    progress: Progress = silent,
    announce: Callable[[str], None] = lambda text: None,
) -> Sensitivity:
    """Carry out each thing a pass can do alone, at several levels, and measure what it does to the outputs.

    Args:
        model: a model, given as in ``optimize``.
        step: a pass that plans, with options if need be, such as ``"prune:round_to=1"``, or a Pass; passes
            before it, separated by commas, and those it needs are applied first.
        calibration: samples to plan with, given as in ``optimize``; unless there is ``evaluation``, the last
        ``samples`` of them (at
            most half) are held out and measured on.
        task, metric, labels, decode, confidence, threshold: how the outputs are judged, as in ``evaluate``;
            ``labels`` are those of the samples to measure on.
        samples: how many samples to measure on at most.
        latency: also predict the latency of every trial from the measured times of its layers.
        workers, heterogeneous: who carries out the trials, as in ``optimize``; processes of this machine
            share its ``threads``.
        cache: folder for results, so that a run that was stopped goes on where it was, and for layer times;
            the user's cache folder when None, nothing is kept for ``"off"``.

    Raises:
        UsageError: an unknown pass, or one that makes no plans.
        GraphoptError: the model or the data cannot be read, or a pass before ``step`` failed.
    """
    request = _Request(
        ir.accept(model),
        _stages(step),
        str(step),
        samples,
        workers,
        heterogeneous,
        cache_folder(cache),
        latency,
        target,
        MetricSpec(task, metric, labels, decode, confidence, threshold),
    )
    if samples < 1:
        raise UsageError("sensitivity takes at least one sample")
    if workers is not None:
        check_workers(workers)
    options = SessionOptions(threads or usable_processors(), provider, tuple(custom_ops))
    settings = RunSettings(seed, options, request.cache, progress, times=request.cache)
    given = Given(calibration, evaluation, preprocess, transform)
    return _Study(request, settings, given, shape, announce).carry_out()


@dataclass(frozen=True)
class _Request:
    model: Path | Model
    stages: tuple[PipelineEntry, ...]
    text: str
    samples: int
    workers: WorkersLike | None
    heterogeneous: bool
    cache: Path | None
    latency: bool
    target: str
    judged_by: MetricSpec

    @property
    def step(self) -> PlannedPass:
        """The pass that is looked at."""
        step = self.stages[-1].step
        assert isinstance(step, PlannedPass)
        return step


def _stages(step: Any) -> tuple[PipelineEntry, ...]:
    stages = arrange(scheduled(step), passes())
    if not stages:
        raise UsageError("no pass is named", hint="graphopt passes lists them all")
    last = stages[-1].step
    if not isinstance(last, PlannedPass):
        able = ", ".join(_planned())
        raise UsageError(f"{last.name} makes no plans whose items could be tried", hint=f"these do: {able}")
    return stages


def _planned() -> list[str]:
    """The names of installed passes that make plans."""
    classes = ((name, passes().find(name)) for name in passes().names)
    return [name for name, made in classes if isinstance(made, type) and issubclass(made, PlannedPass)]


class _Study:
    """One run of ``sensitivity``; made for it and used once."""

    def __init__(
        self,
        request: _Request,
        settings: RunSettings,
        samples: Given,
        shape: Mapping[str, Sequence[int]] | None,
        announce: Callable[[str], None],
    ) -> None:
        from graphopt import targets

        self._ask, self._settings, self._announce = request, settings, announce
        self._target = targets.load(request.target)
        runtime.check_session(settings.session)
        self._model: Model = (
            ir.load(request.model) if isinstance(request.model, Path) else request.model.copy()
        )
        given = Inputs(
            self._model,
            calibration=samples.calibration,
            evaluation=samples.evaluation,
            preprocess=samples.preprocess,
            transform=samples.transform,
            shapes=parse_shapes(shape or {}),
            seed=settings.seed,
            session=settings.session,
        )
        self._warnings: list[str] = []
        for text in given.warnings:
            self._warn(text)
        self._planning, self._held_out = split(given, request.samples)
        self._recipe = given.preprocess
        self._inputs = Inputs(
            self._model,
            calibration=self._planning,
            shapes=given.shapes,
            seed=settings.seed,
            session=settings.session,
        )

    def carry_out(self) -> Sensitivity:
        """Prepare the model, plan the trials, carry out those that are not known and put them together."""
        ask, model = self._ask, self._model
        model.check()
        self._prepare()
        context = Context(self._inputs, self._settings, self._target)
        trials = list(ask.step.trials(model, context))
        for text in context.warnings:
            self._warn(text)
        if not trials:
            self._warn(f"{ask.step.name} finds nothing to try in this model")
        before = timed_layers(model, self._inputs.shapes)
        with self._open_workers() as workers:
            tried = self._try(trials, workers)
        whole = self._latency() if ask.latency else None
        original = self._original()
        costs = cost.measure(model, self._inputs.shapes, custom_ops=self._settings.session.custom_ops)
        return Sensitivity(
            model=str(ask.model if isinstance(ask.model, Path) else ask.model.path or "a model in memory"),
            step=str(as_step(ask.step)),
            samples=len(self._held_out),
            source=self._held_out.source,
            points=self._points(tried, before, whole),
            macs=costs.macs,
            parameters=costs.parameters,
            top1=None if original is None else original.outcome.metrics.get("top1"),
            metric=None if original is None else metric_value(original),
            metric_name="" if original is None else original.metric.main,
            latency_ms=whole,
            machine=dict(machine(self._settings.session.threads)),
            warnings=tuple(self._warnings),
        )

    def _prepare(self) -> None:
        """Apply the passes before the one that is looked at."""
        for stage in (stages := self._ask.stages[:-1]):
            if stage.added:
                self._announce(f"{stage.step.name} is added, because {self._ask.step.name} needs it")
        if stages:
            manager = Manager(stages, self._inputs, self._settings, target=self._target, verify="structure")
            for text in manager.run(self._model).warnings:
                self._warn(text)

    def _open_workers(self) -> AbstractContextManager[Workers]:
        """The workers asked for; this process when the metric is a function that cannot travel."""
        try:
            pickle.dumps(self._ask.judged_by)
        except (pickle.PicklingError, AttributeError, TypeError):
            if self._ask.workers not in (None, 1):
                self._warn("the metric is a function that cannot travel: trials run in this process")
            return open_workers()
        return open_workers(self._ask.workers, heterogeneous=self._ask.heterogeneous, announce=self._announce)

    def _setup(self, sharing: int) -> Setup:
        """What trials need; so many processes share the threads of this machine."""
        threads = max(1, self._settings.session.threads // sharing)
        session = dataclasses.replace(self._settings.session, threads=threads)
        settings = dataclasses.replace(self._settings, session=session, progress=silent, workers=None)
        return Setup(self._ask.step, dict(self._inputs.shapes), settings, self._target, self._ask.judged_by)

    def _try(self, trials: Sequence[Trial], workers: Workers) -> list[TrialResult]:
        """The results of all trials, in their order; those of an earlier run are read back."""
        kept = None if callable(self._ask.judged_by.metric) else self._ask.cache
        log = TrialLog.open(kept, self._identity())
        results: dict[int, TrialResult] = {}
        places = {id(trial): number for number, trial in enumerate(trials)}
        for number, trial in enumerate(trials):
            if (logged := log.find(trial)) is not None:
                results[number] = logged
        if results:
            self._announce(f"{len(results)} of {len(trials)} trials were carried out before: {log.path}")
        todo = by_item(trial for number, trial in enumerate(trials) if number not in results)
        if workers.is_here:
            todo = [[trial] for group in todo for trial in group]
        subject = Subject(self._model, self._planning, self._held_out)
        setup = self._setup(workers.count if workers.is_local else 1)
        work = carry_out(subject, setup, todo, workers) if todo else iter(())
        doing = f"trying {self._ask.step.name}" + ("" if workers.is_here else f" on {workers.description}")
        try:
            for group, done in self._settings.progress(doing, work, len(todo)):
                for trial, tried in zip(group, done, strict=True):
                    log.keep(trial, tried)
                    results[places[id(trial)]] = tried
        except KeyboardInterrupt:
            if log.path is not None:
                self._announce(f"{len(results)} of {len(trials)} trials are kept: the same command continues")
            raise
        return [results[number] for number in range(len(trials))]

    def _identity(self) -> dict[str, Any]:
        """What results depend on, as plain values."""
        from graphopt import __version__

        host = machine(self._settings.session.threads)
        return {
            "graphopt": __version__,
            "model": runtime.fingerprint(self._model),
            "step": str(as_step(self._ask.step)),
            "target": self._ask.target,
            "seed": self._settings.seed,
            "shapes": {name: list(dims) for name, dims in self._inputs.shapes.items()},
            "preprocess": self._recipe,
            "planning": list(self._planning.content_keys()),
            "held_out": list(self._held_out.content_keys()),
            "onnxruntime": host["onnxruntime"],
            "isa": host["isa"],
            "judged_by": self._ask.judged_by.identity(),
        }

    def _original(self) -> Verdict | None:
        """What the model is worth before any trial, where there is truth to judge it by."""
        if not self._held_out.labelled and self._ask.judged_by == MetricSpec():
            return None
        return self._setup(1).evaluator(self._model, self._planning, self._held_out).original()

    def _latency(self) -> float:
        session = runtime.Session(self._model, self._settings.session, timed=True)
        return runtime.latency(session, measure.first_feeds(self._held_out)).minimum_ms

    def _points(self, tried: Sequence[TrialResult], before: Layers, whole: float | None) -> tuple[Point, ...]:
        if whole is None:
            return tuple(result.point for result in tried)
        settings = self._settings
        table = LatencyTable.open(self._ask.cache, settings.session.threads, progress=settings.progress)
        if not all(result.is_timed for result in tried):
            self._warn("latency is not predicted where layers compute on integers")
        return with_latency(tried, before, whole, table)

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)
            self._announce(f"warning: {text}")
