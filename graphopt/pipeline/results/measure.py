"""Measures a model file: what is in it, how fast it runs, and how its answers compare with another's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from graphopt import runtime
from graphopt.errors import ModelError
from graphopt.record.record import Measures
from graphopt.runtime import Accuracy, Agreement, Comparison, Difference, Session, classifier_output

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model

ALONE = 1.0  # time: seconds for timing a model that nothing is compared with
SNR_LIMIT = 300.0  # fixed: dB; stands for "equal", which has no number in JSON; a float64 rounds at 313


def contents(
    model: Model,
    shapes: Mapping[str, tuple[int, ...]],
    size: int,
    warn: Callable[[str], None] = lambda text: None,
) -> Measures:
    """Count what is in a model; ``size`` is that of its files in bytes."""
    from graphopt import cost

    found = cost.measure(model, shapes)
    if found.unknown:
        warn(f"the MACs of these operators are not known: {', '.join(found.unknown)}")
    return Measures(found.nodes, found.constants, found.parameters, found.macs, size)


def input_bytes(model: Model) -> int:
    """Size in bytes of the files a model was read from, external data included."""
    if model.path is None:
        return len(model.to_bytes())
    protos = (tensor.proto for graph in model.graphs() for tensor in graph.initializers)
    entries = (entry for proto in protos if proto is not None for entry in proto.external_data)
    outside = {model.path.parent / entry.value for entry in entries if entry.key == "location"}
    return files_bytes([model.path, *outside])


def files_bytes(files: Iterable[Path]) -> int:
    """Size in bytes of some files together."""
    return sum(file.stat().st_size for file in files)


@dataclass
class Scores:
    """How two models answer the same samples; the reference may be missing."""

    comparison: Comparison = field(default_factory=Comparison)
    agreement: Agreement = field(default_factory=Agreement)
    reference: Accuracy = field(default_factory=Accuracy)
    candidate: Accuracy = field(default_factory=Accuracy)
    samples: int = 0
    skipped: int = 0  # samples that the reference does not take, and why
    failure: str = ""

    @property
    def differences(self) -> dict[str, Difference]:
        """The difference of each output."""
        return self.comparison.result()

    def to_agreement(self) -> dict[str, Any]:
        """The ``agreement`` of the report: top-1 for classifiers, signal to noise of each output."""
        found: dict[str, Any] = {} if self.agreement.rate is None else {"top1": self.agreement.rate}
        return {**found, "snr_db": decibels(self.differences)}


class Runnable(Protocol):
    """What answers feeds."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name."""
        ...


def answer(
    candidate: Runnable,
    samples: Iterable[Any],
    reference: Runnable | None = None,
    *,
    labelled: Samples | None = None,
    without: Collection[str] = (),
) -> Scores:
    """Run one model, or two, on samples and count what can be counted.

    Nothing is kept but sums. Labels count where the model has one output of class scores; DataError when a
    label of ``labelled`` is none of its classes. A sample that the reference fails on judges nothing: it is
    counted in ``skipped``. Outputs named in ``without`` are not compared.
    """
    scores = Scores()
    for sample in samples:
        try:
            others = reference.run(sample.feeds) if reference is not None else None
        except ModelError as error:
            scores.skipped += 1
            scores.failure = scores.failure or str(error)
            continue
        outputs = _others(candidate.run(sample.feeds), without)
        others = None if others is None else _others(others, without)
        name = classifier_output(outputs)
        if labelled is not None and name is not None:
            labelled.check_labels(outputs[name].shape[1])
            labelled = None  # once is enough: every label was looked at
        _count(scores, outputs, others, sample.labels)
    return scores


def _others(outputs: Mapping[str, Any], without: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in outputs.items() if name not in without}


def metrics(accuracy: Accuracy) -> dict[str, float]:
    """The metrics of a report: top-1, and top-5 where there are more than five classes."""
    found = {"top1": accuracy.top1, "top5": accuracy.top5}
    return {name: value for name, value in found.items() if value is not None}


def decibels(differences: Mapping[str, Difference]) -> dict[str, float]:
    """Signal-to-noise ratio of each float output that can be judged, kept within +-300 dB."""
    return {
        name: max(-SNR_LIMIT, min(SNR_LIMIT, found.snr_db))
        for name, found in differences.items()
        if found.is_float and not found.nonfinite and not found.mismatch
    }


def first_feeds(samples: Samples) -> dict[str, np.ndarray]:
    """The inputs of the first sample, to time a model with."""
    return dict(next(iter(samples)).feeds)


def latency(session: Session, samples: Samples) -> float:
    """Milliseconds a run of one model takes, measured on the first sample."""
    return runtime.latency(session, first_feeds(samples), seconds=ALONE).median_ms


def paired_latency(before: Session, after: Session, samples: Samples) -> tuple[float, float]:
    """Milliseconds a run of both models takes, measured in turn on the first sample."""
    found = runtime.paired_latency(before, after, first_feeds(samples))
    return found.a.median_ms, found.b.median_ms


def _count(scores: Scores, outputs: Mapping[str, Any], others: Mapping[str, Any] | None, labels: Any) -> None:
    scores.samples += 1
    name = classifier_output(outputs)
    if others is not None:
        scores.comparison.update(others, outputs)
    if name is None:
        return
    other = None if others is None else others.get(name)
    if isinstance(other, np.ndarray) and other.shape == outputs[name].shape:
        scores.agreement.update(other, outputs[name])
    if labels is not None and len(labels) == len(outputs[name]):
        scores.candidate.update(outputs[name], np.asarray(labels))
        if isinstance(other, np.ndarray) and len(other) == len(labels):
            scores.reference.update(other, np.asarray(labels))
