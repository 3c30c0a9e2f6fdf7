"""One optimize run, from the request to the written and measured file."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.data.remote_path import without_secrets
from graphopt.errors import GoalError, ModelError, OutputError, VerificationError
from graphopt.execution import Workers, open_workers
from graphopt.ir import CheckerError
from graphopt.ir.transform.shortcut import write_as_convs
from graphopt.pipeline.contract.base import PlannedPass
from graphopt.pipeline.contract.context import RunSettings
from graphopt.pipeline.contract.plan_files import Plans, read_plans, write_plans
from graphopt.pipeline.deploy.companions import check_companions
from graphopt.pipeline.deploy.verification import require_backends
from graphopt.pipeline.results import measure
from graphopt.pipeline.results.report_collector import ReportCollector
from graphopt.pipeline.results.result_measurer import (
    TIMING,
    Assessment,
    ResultMeasurer,
    check_goal,
    is_clearly_slower,
    missed_goals,
)
from graphopt.pipeline.run.device import device_of
from graphopt.pipeline.run.fix_shape import fix_shapes
from graphopt.pipeline.run.handover import HandedOver, hand_over
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.run.instruments import Dump, Instrument
from graphopt.pipeline.run.lock import Lock
from graphopt.pipeline.run.manager import Manager, Outcome
from graphopt.pipeline.run.output import (
    check_cache,
    check_output,
    check_text,
    draft_folder,
    publish,
    write_draft,
)
from graphopt.pipeline.run.reproducer import Reproducer, failure_flags
from graphopt.pipeline.run.undo import Undone, undo_slow
from graphopt.pipeline.spec.arrange import arrange
from graphopt.pipeline.spec.registry import Registry, passes
from graphopt.pipeline.spec.request import Request
from graphopt.record.record import Calibration, Record
from graphopt.runtime import Session, check_session, machine
from graphopt.targets import misfits
from graphopt.targets.host import runs_here
from graphopt.util.files import sha256

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline.run.budget_planner import BudgetPlanner
    from graphopt.pipeline.run.front_planner import FrontPlanner
    from graphopt.targets import Target


GOALS = ("max_drop", "require_speedup")  # of the request
CAREFUL = 1.0  # fixed: points that all passes together may lose when nobody says
CALIBRATION = "graphopt.calibration"  # the key under which a file says that its samples were synthetic
EVIDENCE = "measuring how far each layer moved"
_SPARED = (
    "comparing numbers and timing are skipped, because the weights take {:.1f} GB and running both models "
    "several times that: --verify full and --latency do it anyway"
)


@dataclass(frozen=True)
class Finished:
    """A run that came to its end: the model, what it wrote and what there is to report."""

    model: Model
    record: Record
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Source:
    """The input as sessions open it, and its hash."""

    name: str
    path: Path | None
    content: Path | bytes
    sha256: str


class Run:
    """Carries out one request; made for it and used once."""

    def __init__(self, request: Request, registry: Registry | None = None) -> None:
        from graphopt import targets

        self._stages = arrange(request.turns, registry or passes(), as_written=request.as_written)
        self._target: Target = targets.load(request.target)
        self._device = device_of(request, self._target)
        self._source, self._model = _open(request)
        self._ask = request.within_memory(self._model.weight_bytes)
        self._is_spared = self._ask != request
        check_session(request.session)
        _check_writable(request, self._source.path)
        if request.output is not None and not request.dry_run:
            check_companions(self._target, request.output, force=request.force)
        if request.verify_backend:
            require_backends(self._target)
        self._inputs = Inputs(
            self._model,
            calibration=request.calibration,
            evaluation=request.evaluation,
            preprocess=request.preprocess,
            transform=request.transform,
            shapes=request.shape,
            seed=request.seed,
            session=request.session,
            try_sizes=self._ask.runs_models,
        )
        self._warnings: list[str] = []
        self._complaint = ""  # of ONNX's checker about the input, which onnxruntime loads all the same
        self._front: FrontPlanner | None = None

    def explore(self, points: int, most: float) -> FrontPlanner:
        """What plans the points of a front; ``at`` carries each out.

        Raises UsageError where no pass can be carried out more or less far, or nothing can judge it.
        """
        from graphopt.pipeline.run.front_planner import plan_front

        limit = self._ask.time_limit
        return plan_front(self._stages, self._inputs.given_count, self.saves, points, most, limit)

    def at(self, front: FrontPlanner, output: Path | None, plan_out: Path | None) -> Run:
        """A run of its own over a copy of the model, which carries out what ``front`` has chosen."""
        other = copy.copy(self)
        other._model = self._model.copy()
        other._inputs = self._inputs.of_copy(other._model)
        other._ask = dataclasses.replace(self._ask, output=output, plan_out=plan_out)
        other._warnings, other._front = [], front
        return other

    def execute(self) -> Finished:
        """Run the passes, write the output unless it is a dry run, and measure it."""
        ask = self._ask
        with open_workers(ask.workers, heterogeneous=ask.heterogeneous, announce=ask.announce) as workers:
            return self._execute(workers)

    def _execute(self, workers: Workers) -> Finished:
        start = time.monotonic()
        ask, model = self._ask, self._model
        plans = Plans() if ask.plan is None else read_plans(ask.plan, self._source.sha256)
        self._announce_stages()
        ask.phases(self._phases())
        self._check_input()
        if self._is_spared:
            self._warn(_SPARED.format(self._model.weight_bytes / 1e9))
        shapes = self._settle_shapes()
        check_goal(ask, self._source.content, self._inputs)
        lock = Lock.of(ask, self._source.sha256, self._stages, self._inputs, shapes)
        before = measure.contents(model, shapes, measure.input_bytes(model), self._warn)
        evidence = ReportCollector(model, shapes, self._warn) if ask.report else None
        budget = self._budget(start)
        outcome = self._manager(plans, evidence, workers, budget).run(model)
        lock.check(outcome.records)
        self._finish_model(plans)
        with draft_folder(None if ask.dry_run else ask.output) as folder:
            assessor = ResultMeasurer(ask, self._source.content, self._inputs, self._warn, self._device)
            draft = folder / _name(ask.output)
            assessment = assessor.assess(model, draft, before, shapes)
            if (undone := self._undo_slow(outcome, assessment, assessor)) is not None:
                if evidence is not None:
                    evidence.undone(undone.first, outcome.records)
                self._finish_model(plans)
                assessment = assessor.assess(model, draft, before, shapes)
            assessor.warn_if_slower(assessment)
            self._settle_goals(outcome, assessment)
            handed = self._handed_over(assessment.files)
            files = self._publish(outcome, handed)
        record = self._record(outcome, assessment, shapes, files, workers)
        if budget is not None and budget.settled is not None:
            record = dataclasses.replace(record, budget=budget.settled.record)
        if evidence is not None:
            record = self._with_evidence(record, evidence)
        self._write_json(record)
        lock.write(record)
        return Finished(handed.model, record, files)

    def _phases(self) -> list[str]:
        """What takes time, in order, each as it is called while it lasts."""
        timing = [TIMING] if self._ask.times_models else []
        return [
            *(stage.step.name for stage in self._stages),
            *timing,
            *([EVIDENCE] if self._ask.report else []),
        ]

    def _undo_slow(self, outcome: Outcome, assessment: Assessment, assessor: ResultMeasurer) -> Undone | None:
        """Take passes back that make the result slower here; a plan is carried out as it is."""
        may = self._may_undo and assessment.speed is not None and is_clearly_slower(assessment.speed)
        if not may:
            return None
        with self._ask.busy("timing the result again, which looks slower than the input"):
            return undo_slow(self._model, self._stages, outcome, assessor.speed, self._warn)

    @property
    def _may_undo(self) -> bool:
        """Whether the result's speed here decides: no plan, goal or point of a front says otherwise."""
        ask = self._ask
        is_free = ask.plan is None and ask.goal is None and self._front is None
        return ask.times_models and is_free and runs_here(self._target)

    # -- before the passes --------------------------------------------------------------------------------

    def _check_input(self) -> None:
        """Refuse a model that is broken; one that only the checker dislikes is for onnxruntime to judge."""
        from graphopt import ir

        for text in ir.lapses(self._model):
            self._warn(f"{text}; the model is used nevertheless")
        try:
            self._model.check()
        except ir.CheckerError as error:
            if not self._loads():
                raise
            self._complaint = str(error)
            self._warn(f"{error}; onnxruntime loads it, so what it complains of is left as it is")
        self._warn_of_nan()

    def _warn_of_nan(self) -> None:
        from graphopt import ir

        for name, count in ir.nan_weights(self._model).items() if not self._is_spared else ():
            self._warn(
                f"the weight '{name}' holds {count} NaN: what depends on it cannot be judged; export it again"
            )

    def _loads(self) -> bool:
        """Whether onnxruntime opens the input."""
        try:
            Session(self._source.content, self._ask.session, optimization="disabled")
        except ModelError:
            return False
        return True

    def _announce_stages(self) -> None:
        for stage in self._stages:
            if stage.added:
                self._ask.announce(f"{stage.step.name} is added, because a later pass needs it")

    def _settle_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Load the data and find sizes to run at; a model that runs at none is still worth a try."""
        inputs = self._inputs
        _ = inputs.given, inputs.source  # unreadable data is said before the work
        for text in inputs.warnings:
            self._warn(text)
        inputs.check_labels()
        try:
            shapes = inputs.shapes
        except ModelError as error:
            if self._ask.fix_shape:
                raise
            self._warn(
                f"sizes to run at were not found: {error}" + (f" ({error.hint})" if error.hint else "")
            )
            return {}
        if inputs.announcement:
            self._ask.announce(inputs.announcement)
        if self._ask.fix_shape:
            fix_shapes(self._model, shapes)
        return shapes

    def _budget(self, start: float) -> BudgetPlanner | None:
        """What plans the passes that share the goals of the run; None where none does."""
        ask = self._ask
        if ask.plan is not None or self._front is not None:
            return self._front
        if ask.goal is None and not any(isinstance(stage.step, PlannedPass) for stage in self._stages):
            return None
        from graphopt.pipeline.run.budget_planner import BudgetPlanner, goals_of

        saves, amount = ask.goal or (self.saves, None)
        goals = goals_of(
            self._stages,
            saves=saves,
            max_drop=ask.max_drop,
            amount=amount,
            samples=self._inputs.given_count,
            careful=CAREFUL,
            risk=ask.risk,
        )
        if goals is None:
            return None
        deadline = None if ask.time_limit is None else start + 60.0 * ask.time_limit
        return BudgetPlanner(self._stages, goals, deadline)

    @property
    def saves(self) -> str:
        """What passes save where nobody says: time, where it can be measured."""
        from graphopt.pipeline.search.weighted_macs import WEIGHTED_MACS

        return "latency" if self._ask.times_models and runs_here(self._target) else WEIGHTED_MACS

    def _manager(
        self,
        plans: Plans,
        evidence: ReportCollector | None,
        workers: Workers,
        budget: BudgetPlanner | None,
    ) -> Manager:
        ask = self._ask
        instruments: list[Instrument] = [] if evidence is None else [evidence]
        if ask.dump is not None:
            instruments.append(Dump(ask.dump))
        output = None if ask.dry_run else ask.output
        settings = RunSettings(
            ask.seed,
            ask.session,
            cache=ask.cache,
            times=ask.times,
            progress=ask.progress,
            judged_by=ask.judged_by,
            workers=workers,
            device=self._device,
        )
        return Manager(
            self._stages,
            self._inputs,
            settings,
            target=self._target,
            verify=ask.verify,
            tolerance=ask.tolerance,
            plans=plans,
            instruments=instruments,
            reproducer=Reproducer(output, failure_flags(ask)) if output is not None else None,
            announce=ask.announce,
            busy=ask.busy,
            budget=budget,
            keep_states=self._may_undo,
        )

    # -- after the passes ---------------------------------------------------------------------------------

    def _finish_model(self, plans: Plans) -> None:
        """Say in the file what its user must know, and check it as a whole."""
        inputs, model = self._inputs, self._model
        if not self._target.slice_steps:
            write_as_convs(model)
        calibration = plans.calibration
        if inputs.calibration_used and inputs.is_synthetic:
            calibration = f"synthetic, {inputs.count()} samples, seed {inputs.seed}"
        if calibration:
            model.metadata[CALIBRATION] = calibration
            self._warn("calibration used synthetic samples: give --calibration for reliable numbers")
        goes_along = "litert-calibration" in self._target.companions
        if not inputs.calibration_used and not inputs.is_synthetic and not goes_along:
            self._warn("no pass used the calibration samples")
        for text in misfits(model, self._target):
            self._warn(text)
        if self._ask.verify == "off":
            return
        try:
            model.check()
        except ModelError as error:
            if isinstance(error, CheckerError) and self._complaint:
                return  # as it did before; that the result loads is seen when it is measured
            raise VerificationError(f"the optimized model is not valid: {error}") from error

    def _settle_goals(self, outcome: Outcome, assessment: Assessment) -> None:
        """Raise GoalError with --strict; otherwise say in the file what was missed."""
        ask = self._ask
        outcome.missed += missed_goals(ask, outcome.records, assessment)
        if outcome.missed and ask.strict:
            raise GoalError(f"{'; '.join(outcome.missed)}; nothing was written")
        if outcome.missed:
            self._model.metadata["graphopt.missed"] = "; ".join(outcome.missed)

    def _handed_over(self, draft: Sequence[Path]) -> HandedOver:
        """The measured draft in the form of the target."""
        ask = self._ask
        return hand_over(
            ask, self._target, self._model, self._inputs, draft, self._source.content, ask.announce
        )

    def _publish(self, outcome: Outcome, handed: HandedOver) -> tuple[Path, ...]:
        """Put the draft in its place, and what goes beside it."""
        ask, draft = self._ask, handed.draft
        if ask.dry_run or ask.output is None:
            return ()
        if outcome.missed:  # the file says so, which the draft did not yet
            handed.model.metadata["graphopt.missed"] = "; ".join(outcome.missed)
            draft = write_draft(handed.model, draft[0])
        files = publish(draft, ask.output, force=ask.force, used=self._model.weights.paths)
        for path in handed.deployed.publish(ask.output):
            ask.announce(f"{path} goes with it")
        return tuple(files)

    def _write_json(self, record: Record) -> None:
        """Write the plans and the reports that were asked for."""
        ask = self._ask
        try:
            if ask.plan_out is not None:
                write_plans(
                    ask.plan_out,
                    self._source.sha256,
                    record.passes,
                    self._model.metadata.get(CALIBRATION, ""),
                )
            for path in ask.report:
                record.write(path)
        except OutputError as error:
            error.hint = f"the model was written to {record.output} nevertheless" if record.output else ""
            raise

    def _record(
        self,
        outcome: Outcome,
        assessment: Assessment,
        shapes: Mapping[str, tuple[int, ...]],
        files: tuple[Path, ...],
        workers: Workers,
    ) -> Record:
        from graphopt import __version__

        ask, inputs, after = self._ask, self._inputs, assessment.after
        if files:
            after = dataclasses.replace(after, bytes=measure.files_bytes(files))
        return Record(
            graphopt=__version__,
            command=tuple(map(without_secrets, ask.command)),
            input=self._source.name,
            output=str(files[0]) if files else None,
            model_sha256=self._source.sha256,
            output_sha256=sha256(files[0]) if files else None,
            target=ask.target,
            seed=ask.seed,
            shapes=dict(shapes),
            preprocess=inputs.preprocess,
            machine={**machine(ask.threads), **workers.record()},
            calibration=Calibration(
                source=inputs.source,
                samples=inputs.count(),
                labels_used=inputs.labels_used,
                training_used=inputs.training_used,
                shared_with_evaluation=inputs.shared(),
            ),
            before=assessment.before,
            after=after,
            agreement=assessment.agreement,
            passes=tuple(outcome.records),
            warnings=tuple(dict.fromkeys([*self._warnings, *outcome.warnings])),
            missed=tuple(outcome.missed),
            judged_on=assessment.judged_on,
            paired=assessment.paired,
            goals={name: value for name in GOALS if (value := getattr(ask, name)) not in (None, False)},
            divergent=assessment.divergent,
            speed=assessment.speed.to_json() if assessment.speed is not None else {},
        )

    def _with_evidence(self, record: Record, evidence: ReportCollector) -> Record:
        """The record with what only report files show."""
        ask = self._ask
        samples = self._inputs.check if ask.runs_models and record.shapes else None
        with ask.busy(EVIDENCE):
            layers = evidence.layers(
                self._model, self._source.content, samples, ask.session, timed=ask.times_models
            )
        warnings = tuple(dict.fromkeys([*record.warnings, *self._warnings]))
        return dataclasses.replace(record, stages=evidence.stages, layers=layers, warnings=warnings)

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)
            self._ask.announce(f"warning: {text}")


def _open(request: Request) -> tuple[_Source, Model]:
    """Read the model; a Model given by a caller is copied, so that the caller's stays as it is."""
    from graphopt import ir

    if isinstance(request.model, Path):
        path = request.model
        model = ir.load(path)
        return _Source(str(path), path, path, sha256(path)), model
    content = request.model.to_bytes()
    name = str(request.model.path or "a model in memory")
    return _Source(name, None, content, hashlib.sha256(content).hexdigest()), ir.from_bytes(content)


def _check_writable(request: Request, source: Path | None) -> None:
    if request.output is not None and not request.dry_run:
        check_output(request.output, source, force=request.force)
    others: dict[str, Path | None] = {"MODEL": source, "-o": request.output, "--plan": request.plan}
    if request.plan_out is not None:
        check_text("--plan-out", request.plan_out, others)
    if request.lock is not None and not request.locked:
        check_text("--lock", request.lock, {**others, "--plan-out": request.plan_out}, (".lock",))
    for path in request.report:
        check_text("--report", path, {**others, "--plan-out": request.plan_out}, (".json", ".html"))
    if request.cache is not None:
        check_cache(request.cache)


def _name(output: Path | None) -> str:
    return output.name if output is not None else "model.onnx"
