"""A gate: whether a model keeps limits against a baseline, which is another model or the report of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from graphopt import runtime
from graphopt.analysis.evaluation import Evaluation, evaluate
from graphopt.analysis.loaded_model import LoadedModel
from graphopt.errors import DataError, UsageError
from graphopt.pipeline.results import measure
from graphopt.pipeline.results.result_measurer import judged_on
from graphopt.pipeline.spec.run_flags import usable_processors
from graphopt.record.record import SCHEMA
from graphopt.runtime import SessionOptions, machine
from graphopt.util.files import plain
from graphopt.util.progress import Progress


@dataclass(frozen=True)
class Criterion:
    """One limit: what was measured, what was allowed, and whether it holds; ``text`` says it in words."""

    name: str
    value: float | None
    limit: float | None
    passed: bool
    text: str


@dataclass(frozen=True)
class Check:
    """The outcome of ``check``: every limit with what was measured."""

    model: str
    baseline: str
    criteria: tuple[Criterion, ...]
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all limits hold."""
        return all(criterion.passed for criterion in self.criteria)

    def to_json(self) -> dict[str, Any]:
        """The check as plain values."""
        document: dict[str, Any] = plain({"passed": self.passed, **vars(self)})
        return document


@dataclass(frozen=True)
class Limits:
    """What a model must keep; None and empty are no limits.

    Raises UsageError where there is no limit at all, or one makes no sense.
    """

    max_drop: float | None = None
    max_latency_ratio: float | None = None
    max_bytes: int | None = None
    forbid: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not any(value not in (None, ()) for value in vars(self).values()):
            hint = "give --max-drop, --max-latency-ratio, --max-bytes or --forbid"
            raise UsageError("there is nothing to check: no limit is given", hint=hint)
        for name in ("max_drop", "max_latency_ratio", "max_bytes"):
            value = getattr(self, name)
            if value is None:
                continue
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not 0 <= value < math.inf:
                raise UsageError(f"--{name.replace('_', '-')} takes a number from 0, not {value!r}")
        if self.max_latency_ratio == 0:
            raise UsageError("--max-latency-ratio 0 can never hold", hint="1 means as fast as the baseline")


def check(
    model: Any,
    baseline: Any,
    *,
    max_drop: float | None = None,
    max_latency_ratio: float | None = None,
    max_bytes: int | None = None,
    forbid: Sequence[str] | str = (),
    data: Any = None,
    preprocess: str | None = None,
    transform: Callable[[Any], Any] | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    session: SessionOptions | None = None,
    announce: Callable[[str], None] | None = None,
    progress: Progress | None = None,
    **judged_by: Any,
) -> Check:
    """Hold a model to limits against a baseline: another model, or the JSON report of an earlier run.

    Args:
        model: the model to check, given as in ``optimize``.
        baseline: a model, or the path of a report (``.json``): then its ``after`` counts.
        max_drop: points (hundredths of the metric) that may be lost; needs ``data``. Against a report the
            data must be those that it was judged on, by their hash.
        max_latency_ratio: time of the model divided by that of the baseline; against a model both are timed
            in turn, against a report on the same processor with as many threads.
        max_bytes: size of the model's files.
        forbid: operators that must not occur, subgraphs included: ``Name`` of ONNX's own, else
            ``domain:Name``.
        judged_by: task, metric, labels, decode, confidence, threshold, as in ``evaluate``.

    Raises:
        UsageError: no limit, a limit that is no number or cannot be judged. ModelError and DataError for
            what cannot be read; DataError for a report that was judged on other samples.
    """
    operators = (forbid,) if isinstance(forbid, str) else tuple(forbid)
    limits = Limits(max_drop, max_latency_ratio, max_bytes, operators)
    if limits.max_drop is not None and data is None:
        raise UsageError("--max-drop needs --data: without samples no drop can be measured")
    session = session or SessionOptions(usable_processors())
    subject = LoadedModel(model, data, preprocess, shape, session, announce, transform)
    against: _Baseline = _Report.read(baseline) if _is_report(baseline) else _Model(baseline, shape, session)
    gate = _Gate(subject, limits, against, judged_by, progress)
    return Check(subject.name, against.name, tuple(gate.criteria()), tuple(dict.fromkeys(subject.warnings)))


class _Gate:
    def __init__(
        self,
        subject: LoadedModel,
        limits: Limits,
        against: _Baseline,
        judged_by: Mapping[str, Any],
        progress: Progress | None,
    ) -> None:
        self.subject, self._limits, self._against = subject, limits, against
        self._judged_by, self._progress = judged_by, progress

    def criteria(self) -> list[Criterion]:
        """Every limit that was given, in the order of the flags."""
        limits, judged = self._limits, []
        if limits.max_drop is not None:
            drop, metric = self._against.drop(self)
            text = f"{drop:+.2f} points of {metric} lost, {limits.max_drop:g} allowed"
            judged.append(Criterion("drop", drop, limits.max_drop, drop <= limits.max_drop, text))
        if limits.max_latency_ratio is not None:
            ratio = self._against.latency_ratio(self.subject)
            text = f"takes {ratio:.3f} of the baseline's time, {limits.max_latency_ratio:g} allowed"
            holds = ratio <= limits.max_latency_ratio
            judged.append(Criterion("latency", ratio, limits.max_latency_ratio, holds, text))
        if limits.max_bytes is not None:
            size = measure.input_bytes(self.subject.model)
            text = f"{size} bytes, {limits.max_bytes:.0f} allowed"
            judged.append(Criterion("bytes", size, limits.max_bytes, size <= limits.max_bytes, text))
        return [*judged, *self._operators()]

    def _operators(self) -> list[Criterion]:
        counts: dict[str, int] = {}
        for graph in self.subject.model.graphs():
            for node in graph.nodes:
                name = node.op if node.is_standard else f"{node.domain}:{node.op}"
                counts[name] = counts.get(name, 0) + 1
        return [
            Criterion(f"no {name}", counts.get(name, 0), 0, name not in counts, _occurs(name, counts))
            for name in self._limits.forbid
        ]

    def evaluation(self, reference: Any = None) -> Evaluation:
        """How the model does on the samples, beside a reference."""
        subject = self.subject
        return evaluate(
            subject.content,
            subject.samples,
            reference=reference,
            shape=subject.shapes or None,
            session=subject.session,
            progress=self._progress,
            **self._judged_by,
        )


class _Baseline(Protocol):
    name: str

    def drop(self, gate: _Gate) -> tuple[float, str]:
        """Points lost, and of what."""
        ...

    def latency_ratio(self, subject: LoadedModel) -> float:
        """The time of the model divided by that of the baseline."""
        ...


class _Model(_Baseline):
    """Another model, run beside the one that is checked."""

    def __init__(self, given: Any, shape: Any, session: SessionOptions | None) -> None:
        self._loaded = LoadedModel(given, None, None, shape, session)
        self.name = self._loaded.name

    def drop(self, gate: _Gate) -> tuple[float, str]:
        evaluation = gate.evaluation(self._loaded.content)
        if evaluation.drop is None:
            raise UsageError(f"no drop can be measured for the task {evaluation.task}", hint="give --metric")
        return evaluation.drop, next(iter(evaluation.metrics), "agreement")

    def latency_ratio(self, subject: LoadedModel) -> float:
        return runtime.paired_latency(self._loaded.open(), subject.open(), subject.first_feeds()).ratio


class _Report(_Baseline):
    """What the report of an earlier run says of its result."""

    def __init__(self, path: Path, document: Mapping[str, Any]) -> None:
        self.name, self._document = str(path), document

    @classmethod
    def read(cls, path: Any) -> _Report:
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            _ = document["after"]["bytes"], document["machine"]["cpu"]
        except OSError as error:
            raise UsageError(f"the baseline {path} cannot be read: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            hint = "make one with graphopt optimize --report FILE.json"
            raise UsageError(
                f"the baseline {path} is not a report of graphopt optimize", hint=hint
            ) from error
        if document.get("schema") != SCHEMA:
            raise UsageError(f"the baseline {path} has schema {document.get('schema')}, not {SCHEMA}")
        return cls(Path(path), document)

    def drop(self, gate: _Gate) -> tuple[float, str]:
        judged, samples = self._document.get("judged_on") or {}, gate.subject.samples
        assert samples is not None
        if judged.get("sha256") != judged_on(samples).sha256:
            raise DataError(
                f"the baseline {self.name} was judged on other samples than {samples.source}",
                hint=f"give the samples that it names: {judged.get('source', 'none')}",
            )
        now, before = gate.evaluation().metrics, self._document["after"].get("metrics", {})
        metric = next((name for name in before if name in now and before[name] is not None), None)
        if metric is None:
            raise UsageError(f"the baseline {self.name} holds no metric that is measured here")
        after = now[metric]
        return math.inf if math.isnan(after) else 100 * (before[metric] - after), metric

    def latency_ratio(self, subject: LoadedModel) -> float:
        before, made_on = self._document["after"].get("latency_ms"), self._document["machine"]
        here = machine(subject.session.threads)
        if not before:
            raise UsageError(f"the baseline {self.name} holds no latency", hint="give a model as baseline")
        if any(made_on.get(key) != here.get(key) for key in ("cpu", "threads")):
            raise UsageError(
                f"the latency in {self.name} was measured on {made_on.get('cpu')} with "
                f"{made_on.get('threads')} threads, this is {here['cpu']} with {here['threads']}",
                hint="give a model as baseline: then both are timed here",
            )
        return subject.latency() / float(before)


def _is_report(baseline: Any) -> bool:
    return isinstance(baseline, (str, Path)) and Path(baseline).suffix == ".json"


def _occurs(name: str, counts: Mapping[str, int]) -> str:
    return f"{name} occurs {counts[name]} times" if name in counts else f"{name} does not occur"
