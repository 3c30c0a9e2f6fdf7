"""The loop of a run: each pass is planned, applied, checked and recorded; a failure leaves a reproducer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from graphopt.errors import GraphoptError, PassError, VerificationError
from graphopt.pipeline.contract.base import Plan, PlannedPass
from graphopt.pipeline.contract.context import Context, RunSettings
from graphopt.pipeline.contract.options import deprecation, present_name
from graphopt.pipeline.contract.plan_files import Plans
from graphopt.pipeline.run.instruments import Instrument, size
from graphopt.pipeline.spec.arrange import PipelineEntry
from graphopt.pipeline.verify.verifier import Check, Mode, Verifier
from graphopt.record.record import PassRecord
from graphopt.util.progress import Busy, unwatched

if TYPE_CHECKING:
    from graphopt.ir import Model, Snapshot
    from graphopt.pipeline.run.budget_planner import BudgetPlanner
    from graphopt.pipeline.run.inputs import Inputs
    from graphopt.pipeline.run.reproducer import Reproducer
    from graphopt.targets import Target


@dataclass
class Outcome:
    """What the passes of a run did, said and missed."""

    records: list[PassRecord] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    # checked states, each with the number of the pass that it stands before
    states: list[tuple[int, Snapshot]] = field(default_factory=list)


class Manager:
    """Runs passes over a model, one after the other.

    ``announce`` receives what the user should see at once, such as a warning; ``busy`` wraps work that may
    take long.
    """

    def __init__(
        self,
        stages: Sequence[PipelineEntry],
        inputs: Inputs,
        settings: RunSettings | None = None,
        *,
        target: Target | None = None,
        verify: Mode = "auto",
        tolerance: float | None = None,
        plans: Plans | None = None,
        instruments: Sequence[Instrument] = (),
        reproducer: Reproducer | None = None,
        announce: Callable[[str], None] = lambda text: None,
        busy: Busy = unwatched,
        budget: BudgetPlanner | None = None,
        keep_states: bool = False,
    ) -> None:
        self._keep_states = keep_states
        self._stages = stages
        self._inputs, self._settings, self._target = inputs, settings, target
        self._verify = verify
        self._tolerance = tolerance
        self._plans = plans or Plans()
        self._plans.check(stages)
        self._instruments = instruments
        self._reproducer = reproducer
        self._announce = announce
        self._busy = busy
        self._budget = budget
        self._safe: tuple[int, Snapshot] | None = (
            None  # the last checked state and the stage it stands before
        )

    def run(self, model: Model) -> Outcome:
        """Run all passes on ``model`` in place.

        Raises:
            PassError: a pass failed; ``hint`` names the reproducer.
            VerificationError: the model is not what a pass promised.
        """
        outcome = Outcome()
        self._inputs.remember()
        shared = self._context()
        verifier = Verifier(model, shared, self._verify, self._tolerance)
        try:
            for index, stage in enumerate(self._stages):
                if not verifier.pending:
                    self._safe = (index, model.snapshot())
                self._run_stage(index, stage, model, verifier, outcome)
                self._hear(shared.warnings, outcome)
            verifier.finish(model)
        except (PassError, VerificationError) as error:
            self._explain(error, model)
            raise
        self._hear(shared.warnings, outcome)
        return outcome

    def _context(self) -> Context:
        return Context(self._inputs, self._settings, self._target)

    def _run_stage(
        self, index: int, stage: PipelineEntry, model: Model, verifier: Verifier, outcome: Outcome
    ) -> None:
        step, ctx = stage.step, self._context()
        for name, _ in stage.written.options:
            if (new := present_name(step.describe(), name)) != name:
                ctx.warn(deprecation(step.name, name, new))
        verifier.before(step, model)
        if self._keep_states and not verifier.pending:
            outcome.states.append((index, model.snapshot()))
        start = perf_counter()
        with self._busy(step.name):
            plan = self._execute(index, stage, model, ctx)
        seconds = perf_counter() - start
        check = verifier.after(step, model)
        record = _record(stage, ctx, plan, check, seconds, model)
        for instrument in self._instruments:
            instrument.after(index, record, model)
        outcome.records.append(record)
        outcome.missed += ctx.missed
        self._hear(ctx.warnings, outcome)

    def _execute(self, index: int, stage: PipelineEntry, model: Model, ctx: Context) -> Plan | None:
        step = stage.step
        try:
            if not isinstance(step, PlannedPass):
                step.run(model, ctx)
                return None
            replayed = self._plans.find(index)
            plan = self._plan(index, step, model, ctx) if replayed is None else replayed
            for text in plan.missed:
                ctx.goal_missed(text)
            step.apply(model, plan, ctx)
            return plan
        except PassError as error:
            error.pass_name = error.pass_name or step.name
            raise
        except GraphoptError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if self._plans.find(index) is not None:
                message = f"the plan that was given for {step.name} cannot be carried out: {reason}"
                raise PassError(
                    message, pass_name=step.name, hint="check the items that were edited"
                ) from error
            raise PassError(f"the pass {step.name} failed: {reason}", pass_name=step.name) from error

    def _plan(self, index: int, step: PlannedPass, model: Model, ctx: Context) -> Plan:
        """The plan of a pass: from the budget that it shares with others, else its own."""
        shared = None if self._budget is None else self._budget.plan(index, model, ctx)
        return step.plan(model, ctx) if shared is None else shared

    def _explain(self, error: GraphoptError, model: Model) -> None:
        if self._reproducer is not None and self._safe is not None:
            index, before = self._safe
            where = self._reproducer.write(model, before, self._stages[index:], error)
            error.hint = "; ".join(filter(None, (error.hint, where)))

    def _hear(self, warnings: list[str], outcome: Outcome) -> None:
        for text in warnings:
            if text not in outcome.warnings:
                outcome.warnings.append(text)
                self._announce(f"warning: {text}")


def _record(
    stage: PipelineEntry, ctx: Context, plan: Plan | None, check: Check, seconds: float, model: Model
) -> PassRecord:
    after = size(model)
    return PassRecord(
        name=stage.step.name,
        options=stage.step.options,
        added=stage.added,
        seconds=seconds,
        changes=tuple(ctx.changes),
        skips=tuple(ctx.skips),
        nodes=after.nodes,
        parameters=after.parameters,
        bytes=after.bytes,
        max_abs_diff=check.max_abs_diff,
        snr_db=check.snr_db,
        summary=ctx.summary,
        details=ctx.details,
        plan=plan.items if plan is not None else None,
        figures=tuple(ctx.figures),
        missed=tuple(ctx.missed) if plan is not None else (),
        chosen=tuple(o.name for o in stage.step.describe() if stage.step.options[o.name] != o.default),
    )
