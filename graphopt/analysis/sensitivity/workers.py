"""Carry out trials in several processes; the results come as they are ready."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.analysis.sensitivity.trial_evaluator import TrialEvaluator, TrialResult
from graphopt.data import Samples
from graphopt.errors import DataError
from graphopt.metrics import MetricSpec
from graphopt.pipeline.contract.base import PlannedPass, Trial
from graphopt.pipeline.contract.context import RunSettings
from graphopt.pipeline.run.inputs import Inputs

if TYPE_CHECKING:
    from graphopt.ir import Model


NOT_CHOSEN = MetricSpec()


@dataclass(frozen=True)
class Source:
    """Samples as another process can load them: DATA text with its preprocessing, and the rows that count.

    ``given`` may be samples that are loaded already, for this process alone.
    """

    given: str | Samples
    rows: np.ndarray
    preprocess: str | None = None
    seed: int = 0

    def load(self, model: Model, shapes: Mapping[str, tuple[int, ...]]) -> Samples:
        """The samples; DataError when the data is gone."""
        found = Inputs(
            model, calibration=self.given, preprocess=self.preprocess, shapes=shapes, seed=self.seed
        ).calibration
        return dataclasses.replace(found, rows=self.rows)


@dataclass(frozen=True)
class Given:
    """The samples of a study as they were given, each as ``data.open_samples`` takes it."""

    calibration: Any
    evaluation: Any
    preprocess: str | None
    transform: Callable[[Any], Any] | None

    @property
    def is_text(self) -> bool:
        """Whether other processes can read the samples."""
        return all(isinstance(given, (str, Path)) for given in self._both)

    def sources(self, planning: Samples, held_out: Samples, seed: int) -> tuple[Source, Source]:
        """What to plan with and what to measure on: text, else the samples themselves."""
        first, second = (
            Source(
                str(given) if isinstance(given, (str, Path)) else samples, samples.rows, self.preprocess, seed
            )
            for given, samples in zip(self._both, (planning, held_out), strict=True)
        )
        return first, second

    @property
    def _both(self) -> tuple[Any, Any]:
        return self.calibration, self.calibration if self.evaluation is None else self.evaluation


@dataclass(frozen=True)
class Task:
    """Everything a process needs to carry out trials; ``model`` is a file."""

    model: Path
    step: PlannedPass
    calibration: Source
    samples: Source
    shapes: dict[str, tuple[int, ...]]
    settings: RunSettings
    target: str
    judged_by: MetricSpec = NOT_CHOSEN

    def bench(self) -> TrialEvaluator:
        """The bench of this process."""
        from graphopt import ir, targets

        model = ir.load(self.model)
        inputs = Inputs(
            model,
            calibration=self.calibration.load(model, self.shapes),
            shapes=self.shapes,
            seed=self.settings.seed,
            session=self.settings.session,
        )
        target = targets.load(self.target)
        samples = self.samples.load(model, self.shapes)
        return TrialEvaluator(model, self.step, inputs, self.settings, target, samples, self.judged_by)


def carry_out(
    task: Task, groups: Sequence[Sequence[Trial]], jobs: int
) -> Iterator[tuple[Sequence[Trial], Sequence[TrialResult]]]:
    """Yield each group of trials with its results, in ``jobs`` processes; one works in this process.

    Trials of one group share what is kept of the model before them.  When the caller stops, so do the
    processes.
    """
    if jobs == 1:
        bench = task.bench()
        for group in groups:
            for trial in group:
                yield [trial], [bench.carry_out(trial)]
        return
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(task,)
    )
    try:
        futures = {pool.submit(_work, group): group for group in groups}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        _stop(pool, set(multiprocessing.active_children()) - before)
        raise
    pool.shutdown()


def by_item(trials: Iterable[Trial]) -> list[list[Trial]]:
    """The trials of each item together, in the order the items first come."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.item, []).append(trial)
    return list(groups.values())


def split(given: Inputs, wanted: int) -> tuple[Samples, Samples]:
    """Samples to plan with and samples to measure on, which overlap only where there is a single one."""
    calibration, evaluation = given.calibration, given.evaluation
    if len(calibration) == 0 or (evaluation is not None and len(evaluation) == 0):
        raise DataError(f"{(evaluation or calibration).source} holds no samples")
    if evaluation is not None:
        return calibration, evaluation.take(wanted)
    if len(calibration) == 1:
        return calibration, calibration
    held = min(wanted, len(calibration) // 2)
    return calibration.take(len(calibration) - held), calibration.skip(len(calibration) - held)


_bench: TrialEvaluator | None = None  # of this process, made when its work begins


def _prepare(task: Task) -> None:
    global _bench
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it and ends the others
    _bench = task.bench()


def _end_with_parent() -> None:
    """Leave when the first process was killed and could end nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(trials: Sequence[Trial]) -> list[TrialResult]:
    assert _bench is not None
    return [_bench.carry_out(trial) for trial in trials]


def _stop(pool: ProcessPoolExecutor, children: Iterable[Any]) -> None:
    pool.shutdown(wait=False, cancel_futures=True)
    for child in children:
        child.terminate()
