"""Two models side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphopt import runtime
from graphopt.analysis.backend_comparison import BackendComparison, compare_in_backend
from graphopt.analysis.divergence import SAMPLES, Divergence, divergence
from graphopt.analysis.loaded_model import LoadedModel
from graphopt.errors import ModelError
from graphopt.metrics import Judge
from graphopt.pipeline.results import measure
from graphopt.runtime import Verdict
from graphopt.util.files import plain

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.record.record import Measures
    from graphopt.runtime import SessionOptions


@dataclass(frozen=True)
class Comparison:
    """Two models side by side; ``outputs`` has max_abs, relative and snr_db of each output of A against B.

    ``latency_ratio`` is the time of B divided by that of A; ``inner`` tells where inner tensors begin to
    differ, when that was asked for or outputs differ; ``backend`` what both files do in another runtime.
    """

    a: Measures
    b: Measures
    outputs: Mapping[str, Mapping[str, Any]]
    agreement: Mapping[str, Any]
    samples: int
    source: str
    latency_ratio: float | None = None
    inner: Divergence | None = None
    backend: BackendComparison | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain values."""
        document: dict[str, Any] = plain(vars(self))
        return document


def compare(
    a: Any,
    b: Any,
    *,
    data: Any = None,
    preprocess: str | None = None,
    transform: Callable[[Any], Any] | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    latency: bool = True,
    layers: bool = False,
    backend: str | None = None,
    session: SessionOptions | None = None,
    announce: Callable[[str], None] | None = None,
    progress: Any = None,
) -> Comparison:
    """Compare model B with model A: outputs on samples (synthetic without ``data``), size, MACs, speed.

    Where outputs differ by more than rounding, or with ``layers``, inner tensors are compared as well, on a
    few of the samples.  Models and ``data`` are given as in ``optimize``.
    With ``backend``, ``NAME`` or ``NAME=PYTHON``, both are run in that runtime as well.
    Raises ModelError when one of them does not run, or when they have no output in common.
    """

    first = LoadedModel(a, data, preprocess, shape, session, announce, transform)
    second = LoadedModel(b, None, None, shape, session)
    samples = first.samples if first.samples is not None else first.synthetic()
    sessions = first.open(), second.open()
    if set(sessions[0].input_names) != set(sessions[1].input_names):
        raise ModelError(
            f"{first.name} and {second.name} have different inputs and cannot be run on the same samples"
        )
    if not set(sessions[0].output_names) & set(sessions[1].output_names):
        raise ModelError(f"{first.name} and {second.name} have no output in common")
    watched = samples if progress is None else progress("comparing", samples, len(samples))
    judge, at_once = Judge(samples, labelled=False), first.session.samples_at_once
    verdict = judge.judge(sessions[1], sessions[0], watched=watched, at_once=at_once)
    if text := verdict.count.left_out(first.name):
        first.warn(text)
    differs = any(difference.verdict() is Verdict.DIFFERENT for difference in verdict.differences.values())
    inner = _inner(first, second, samples) if layers or differs else None
    there = None
    if backend is not None:
        there = compare_in_backend(backend, first, second, samples)
    paired = _timed(first, second, samples) if latency else None
    return Comparison(
        a=first.measures(paired.a.median_ms if paired else None),
        b=second.measures(paired.b.median_ms if paired else None),
        outputs={name: _difference(difference) for name, difference in verdict.differences.items()},
        agreement=verdict.agreement,
        samples=verdict.count.samples,
        source=first.source,
        latency_ratio=paired.ratio if paired else None,
        inner=inner,
        backend=there,
        warnings=tuple(dict.fromkeys([*first.warnings, *second.warnings])),
    )


def _timed(first: LoadedModel, second: LoadedModel, samples: Samples) -> runtime.PairedLatency:
    pair = first.open(timed=True), second.open(timed=True)
    return runtime.paired_latency(*pair, measure.first_feeds(samples))


def _inner(first: LoadedModel, second: LoadedModel, samples: Samples) -> Divergence | None:
    try:
        return divergence(first.model, second.model, samples.take(SAMPLES), first.shapes, first.session)
    except ModelError as error:  # a model may not hand out its inner tensors and be fine all the same
        first.warn(f"inner tensors were not compared: {error}")
        return None


def _difference(difference: Any) -> dict[str, Any]:
    keys = ("max_abs", "relative", "snr_db", "unequal", "elements", "nonfinite", "mismatch")
    return {key: getattr(difference, key) for key in keys}
