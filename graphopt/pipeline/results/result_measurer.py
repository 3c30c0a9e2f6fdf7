"""What a run achieved: the model as written is measured against the input, and the goals are judged."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.errors import DataError, GraphoptError, ModelError, UsageError, VerificationError
from graphopt.metrics import Judge, Paired, Verdict
from graphopt.pipeline.results import measure
from graphopt.pipeline.results.divergent_inputs import DivergentInputs
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.run.output import write_draft
from graphopt.pipeline.spec.request import Request
from graphopt.pipeline.verify.discontinuities import find_walls
from graphopt.record.divergent_inputs import DivergentInput
from graphopt.record.record import JudgedOn, Measures, PassRecord
from graphopt.runtime import Session
from graphopt.runtime.timing import FASTER

if TYPE_CHECKING:
    from graphopt.cost import Device
    from graphopt.data import Samples
    from graphopt.ir import Model
    from graphopt.metrics.judge import Looks
    from graphopt.runtime import PairedLatency


CHECKED = 2  # time: samples on which it is tried whether a goal can be judged
# noise: times the input's latency, and ms; less is what measurements differ by
SLOWER, NOTICEABLE = 1.05, 0.05

TIMING = "timing both models"


@dataclass(frozen=True)
class Assessment:
    """A model before and after a run, and how far both agree."""

    before: Measures
    after: Measures
    agreement: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()  # the draft: the model, then its data file if there is one
    judged_on: JudgedOn | None = None
    paired: Mapping[str, Paired] = field(default_factory=dict)  # the change of each metric
    drop: float | None = None  # points lost; None where that was not measured
    divergent: tuple[DivergentInput, ...] = ()  # for report files alone
    speed: PairedLatency | None = None  # of both in turn; None where that was not measured


@dataclass(frozen=True)
class Result:
    """The session of a result: where it fails although its input ran, passes are to blame."""

    session: Session
    is_input: bool = False  # whether its file is the input's, byte for byte

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs; raises VerificationError."""
        try:
            return self.session.run(feeds)
        except (ModelError, DataError) as error:
            raise _does_not_run(error) from error


class ResultMeasurer:
    """Measures the result of a run against its input, the model file or bytes ``original``."""

    def __init__(
        self,
        request: Request,
        original: Path | bytes,
        inputs: Inputs,
        warn: Callable[[str], None],
        device: Device | None = None,
    ) -> None:
        self._ask = request
        self._original = original
        self._inputs = inputs
        self._warn = warn
        self._device = device
        self._outputs = inputs.output_ports

    def assess(
        self, model: Model, draft: Path, before: Measures, shapes: Mapping[str, tuple[int, ...]]
    ) -> Assessment:
        """Write ``model`` to ``draft`` and measure that file.

        Raises VerificationError when it does not run although the input did, OutputError for a full disk.
        """
        files = write_draft(model, draft)
        after = measure.contents(model, shapes, measure.files_bytes(files))
        if after.bytes > before.bytes:
            self._warn(_growth(before, after))
        return dataclasses.replace(self._compare(model, draft, before, after), files=tuple(files))

    def _compare(self, model: Model, draft: Path, before: Measures, after: Measures) -> Assessment:
        if not self._ask.runs_models:
            return Assessment(before, after)
        if not self._has_same_ports(model):
            self._warn("inputs or outputs were changed on purpose: agreement was not measured")
            return Assessment(before, after)
        try:
            reference = Session(self._original, self._ask.session)
            samples = self._samples()
            reference.run(measure.first_feeds(samples))
        except (ModelError, DataError) as error:
            if isinstance(error, DataError) and self._inputs.given is not None:
                raise  # the user's own samples do not fit
            self._warn(f"latency and agreement were not measured: {error}")
            self._check_loads(draft)
            return Assessment(before, after)
        return self._run(model, reference, self._opened(draft), draft, samples, before, after)

    def _opened(self, draft: Path) -> Result:
        """The result in a session, whose failures are the passes' and not the samples'."""
        try:
            return Result(Session(draft, self._ask.session), _same_bytes(self._original, draft))
        except ModelError as error:
            raise _does_not_run(error) from error

    def _check_loads(self, draft: Path) -> None:
        """Raise VerificationError when onnxruntime loads the input and not the result."""
        try:
            Session(self._original, self._ask.session)
        except ModelError:
            return
        self._opened(draft)

    def _run(
        self,
        model: Model,
        reference: Session,
        candidate: Result,
        draft: Path,
        samples: Samples,
        before: Measures,
        after: Measures,
    ) -> Assessment:
        divergent = DivergentInputs(samples.feeder.names)
        also = [divergent] if self._ask.report else []
        verdict = self._judged(reference, candidate, samples, find_walls(model).random, also)
        if text := verdict.count.left_out("the input"):
            self._warn(text)
        times: tuple[float | None, float | None] = (None, None)
        speed: PairedLatency | None = None
        if self._ask.times_models:
            with self._ask.busy(TIMING):
                if self._device is not None and (there := self._on_device(self._device, draft, samples)):
                    times = there
                elif candidate.is_input:  # a result with the bytes of the input is as fast, and timed once
                    times = (self._latency(samples),) * 2
                else:
                    speed = self._speed(draft, samples)
                    times = speed.a.median_ms, speed.b.median_ms
        outcome = verdict.outcome
        return Assessment(
            dataclasses.replace(before, latency_ms=times[0], metrics=outcome.reference_metrics),
            dataclasses.replace(after, latency_ms=times[1], metrics=outcome.metrics),
            {**verdict.agreement, "samples": verdict.count.samples},
            judged_on=judged_on(samples),
            paired=outcome.paired,
            drop=verdict.drop,
            divergent=divergent.inputs(),
            speed=speed,
        )

    def _judged(
        self,
        reference: Session,
        candidate: Result,
        samples: Samples,
        random: Collection[str],
        also: Sequence[Looks],
    ) -> Verdict:
        """Judge the result; labels count on evaluation samples alone: passes have looked at the others."""
        watched = self._ask.progress("comparing with the original", samples, len(samples))
        judge = judge_of(self._ask, self._inputs, samples)
        return judge.judge(
            candidate,
            reference,
            watched=watched,
            without=random,
            seed=self._ask.seed,
            at_once=self._ask.session.samples_at_once,
            also=also,
        )

    def _latency(self, samples: Samples) -> float:
        """Milliseconds that the input takes."""
        return measure.latency(self._timed(self._original), samples)

    def speed(self, model: Model) -> PairedLatency:
        """Time a model against the input, in turn, in new sessions."""
        return self._speed(model, self._samples())

    def _speed(self, result: Model | Path, samples: Samples) -> PairedLatency:
        return measure.paired_latency(self._timed(self._original), self._timed(result), samples)

    def _timed(self, model: Model | Path | bytes) -> Session:
        return Session(model, self._ask.session, timed=True)

    def _on_device(self, device: Device, draft: Path, samples: Samples) -> tuple[float, float] | None:
        """Milliseconds on the device; None, which is said, where the target's own runtime does not run them.

        Raises ModelError when the user's command fails.
        """
        from graphopt import ir

        original = self._original
        before = ir.load(original) if isinstance(original, Path) else ir.from_bytes(original)
        feeds = measure.first_feeds(samples)
        try:
            times = device.milliseconds([before, ir.load(draft)], [feeds, feeds])
        except ModelError as error:
            if self._ask.measure_command is not None:
                raise
            self._warn(f"latency is that of onnxruntime here: {error}")
            return None
        self._ask.announce(f"latency is that of {device.key}")
        return times[0], times[1]

    def warn_if_slower(self, assessment: Assessment) -> None:
        """Say that the result is slower than the input, where it is."""
        before, after = assessment.before.latency_ms, assessment.after.latency_ms
        if before is None or after is None:
            return
        slower = after > SLOWER * before and after - before > NOTICEABLE
        if slower if assessment.speed is None else is_clearly_slower(assessment.speed):
            self._warn(f"the result is slower here than the input: {after:.3g} ms instead of {before:.3g} ms")

    def _has_same_ports(self, model: Model) -> bool:
        """Whether the samples of the input model fit the result, and the results can be compared."""
        now = model.signature
        return self._ask.fix_shape or (now.inputs, now.outputs) == (self._inputs.ports, self._outputs)

    def _samples(self) -> Samples:
        return self._inputs.check if self._inputs.given is None else self._inputs.given


def judge_of(request: Request, inputs: Inputs, samples: Samples) -> Judge:
    """What judges models on samples as the run was asked to."""
    is_evaluation = inputs.evaluation is not None
    spec = request.judged_by
    truth = spec.truth(samples) if is_evaluation else None
    return Judge(samples, spec.make(), truth, labelled=is_evaluation)


def check_goal(request: Request, original: Path | bytes, inputs: Inputs) -> None:
    """Raise UsageError when the model has no answers that could be judged as the run was asked to."""
    samples = inputs.evaluation
    if samples is None or not (request.chooses_metric or request.max_drop is not None):
        return
    what = "--max-drop" if request.task is None else f"--task {request.task}"
    try:
        session = Session(original, request.session)
        verdict = judge_of(request, inputs, samples).judge(session, session, watched=samples.take(CHECKED))
        verdict.count.left_out("the input")
    except ModelError as error:
        raise UsageError(f"{what} cannot be judged: {error}", hint=error.hint) from error
    if request.max_drop is not None and not verdict.metric.can_judge:
        raise UsageError(
            "--max-drop cannot be judged: the model has no output of class scores",
            hint="say what it is for with --task, or how to judge it with --metric FILE.py:FUNCTION",
        )


def is_clearly_slower(speed: PairedLatency) -> bool:
    """Whether the second model takes longer than the first beyond what measurements differ by."""
    slower = speed.b.median_ms - speed.a.median_ms > NOTICEABLE
    return slower and speed.ratio * (1 - speed.spread) > SLOWER


def _same_bytes(original: Path | bytes, draft: Path) -> bool:
    size = len(original) if isinstance(original, bytes) else original.stat().st_size
    if size != draft.stat().st_size:
        return False
    return draft.read_bytes() == (original if isinstance(original, bytes) else original.read_bytes())


def judged_on(samples: Samples) -> JudgedOn:
    """The samples by their content: runs judged on others say nothing about each other."""
    digest = hashlib.sha256()
    for key in sorted(samples.content_keys()):
        digest.update(f"{key}\n".encode())
    return JudgedOn(samples.source, len(samples), digest.hexdigest())


def _growth(before: Measures, after: Measures) -> str:
    """Say that the result is larger than the input, and what of it grew."""
    grown = [
        f"{count} {what} more"
        for what in ("parameters", "constants", "nodes")
        if (count := getattr(after, what) - getattr(before, what)) > 0
    ]
    why = f": it holds {' and '.join(grown)}" if grown else ": names and notes take more than was saved"
    return f"the result is larger than the input, {after.bytes} bytes instead of {before.bytes}{why}"


def _does_not_run(error: GraphoptError) -> VerificationError:
    return VerificationError(f"the optimized model does not run: {error}", hint=error.hint)


def missed_goals(request: Request, records: Sequence[PassRecord], assessment: Assessment) -> list[str]:
    """The goals of the request that were not reached, in words."""
    missed = []
    if request.max_drop is not None:
        drop = assessment.drop
        if drop is None:
            missed.append("the drop in accuracy could not be measured")
        elif drop > request.max_drop:
            missed.append(f"the accuracy dropped by {drop:.2f} points, more than {request.max_drop:g}")
    if request.require_speedup:
        missed += _slowness(assessment)
    if request.strict and not any(record.changes for record in records):
        missed.append("no pass changed anything")
    return missed


def _slowness(assessment: Assessment) -> list[str]:
    """What --require-speedup misses: nothing when the result is faster beyond what measurements differ by."""
    before, after = assessment.before.latency_ms, assessment.after.latency_ms
    if before is None or after is None:
        return ["whether the result is faster could not be measured"]
    speed, spread = assessment.speed, ""
    if speed is None:
        is_faster = after < FASTER * before
    else:  # both were run in turn: the whole interval has to lie below
        is_faster = speed.ratio * (1 + speed.spread) < FASTER
        spread = f", {100 * speed.ratio:.1f} ± {100 * speed.ratio * speed.spread:.1f} % of its time"
    if is_faster:
        return []
    times = f"{after:.3g} ms against {before:.3g} ms{spread}"
    return [f"the result is not faster than the input beyond noise: {times}"]
