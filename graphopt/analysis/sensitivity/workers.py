"""Carry out trials on workers; the results come as they are ready."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphopt import ir
from graphopt.analysis.sensitivity.trial_evaluator import TrialEvaluator, TrialResult
from graphopt.errors import DataError
from graphopt.execution import Shared, Workers
from graphopt.metrics import MetricSpec
from graphopt.pipeline.contract.base import PlannedPass, Trial
from graphopt.pipeline.contract.context import RunSettings
from graphopt.pipeline.run.inputs import Inputs

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model
    from graphopt.targets import Target

NOT_CHOSEN = MetricSpec()


@dataclass(frozen=True)
class Setup:
    """Everything a worker needs to carry out trials, apart from the model and the samples."""

    step: PlannedPass
    shapes: Mapping[str, tuple[int, ...]]
    settings: RunSettings
    target: Target
    judged_by: MetricSpec = NOT_CHOSEN

    def evaluator(self, model: Model, planning: Samples, held_out: Samples) -> TrialEvaluator:
        """What carries out trials on ``model``."""
        inputs = Inputs(
            model,
            calibration=planning,
            shapes=self.shapes,
            seed=self.settings.seed,
            session=self.settings.session,
        )
        return TrialEvaluator(model, self.step, inputs, self.settings, self.target, held_out, self.judged_by)


@dataclass(frozen=True)
class Given:
    """The samples of a study as they were given, each as ``data.open_samples`` takes it."""

    calibration: Any
    evaluation: Any
    preprocess: str | None
    transform: Callable[[Any], Any] | None


@dataclass(frozen=True)
class Subject:
    """A model, the samples trials are planned with and those they are measured on."""

    model: Model
    planning: Samples
    held_out: Samples


def carry_out(
    subject: Subject, setup: Setup, groups: Sequence[Sequence[Trial]], workers: Workers
) -> Iterator[tuple[Sequence[Trial], Sequence[TrialResult]]]:
    """Yield each group of trials with its results, as they are ready.

    Trials of one group share what is kept of the model before them.
    """
    shared = (
        workers.share(subject.model, _model_bytes, ir.from_bytes),
        workers.share(subject.planning, pickle.dumps, pickle.loads),
        workers.share(subject.held_out, pickle.dumps, pickle.loads),
        workers.share(setup, pickle.dumps, pickle.loads),
    )
    for number, results in workers.map(try_group, [(*shared, group) for group in groups]):
        yield groups[number], results


def try_group(
    model: Shared[Model],
    planning: Shared[Samples],
    held_out: Shared[Samples],
    setup: Shared[Setup],
    trials: Sequence[Trial],
) -> list[TrialResult]:
    """The results of some trials; the work of one task."""

    def make(whole: Setup) -> TrialEvaluator:
        return whole.evaluator(model.get(), planning.get(), held_out.get())

    evaluator = setup.derive(threading.get_ident(), make)  # it holds a checkpoint that moves: one a thread
    return [evaluator.carry_out(trial) for trial in trials]


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


def _model_bytes(model: Model) -> bytes:
    return model.to_bytes()
