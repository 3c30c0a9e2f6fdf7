"""Carry out trials on a model, each on the model as it was, and measure what they do to its outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt import cost
from graphopt.calibration import ActivationCheckpoint
from graphopt.cost import LayerShape
from graphopt.errors import GraphoptError
from graphopt.ir.analysis.diff import unchanged
from graphopt.ir.traversal import reads
from graphopt.metrics import Judge, Verdict
from graphopt.metrics.outputs import decibels
from graphopt.pipeline.contract.context import Context
from graphopt.record.sensitivity import Point

if TYPE_CHECKING:
    from graphopt import ir
    from graphopt.data import Sample, Samples
    from graphopt.metrics import MetricSpec
    from graphopt.metrics.base import Outputs
    from graphopt.pipeline.contract.base import PlannedPass, Trial
    from graphopt.pipeline.contract.context import RunSettings
    from graphopt.pipeline.run.inputs import Inputs
    from graphopt.targets import Target

Layers = Counter[LayerShape]


@dataclass(frozen=True)
class TrialResult:
    """A trial that was carried out: what was measured, and the layers that went and came.

    ``is_timed`` tells whether the time of the changed model follows from those layers: not where layers
    compute on integers now.
    """

    point: Point
    gone: tuple[LayerShape, ...] = ()
    come: tuple[LayerShape, ...] = ()
    is_timed: bool = True


class TrialEvaluator:
    """A model, the samples it is measured on, and what of it trials do not change.

    What the original answers is computed once.  Of each changed model only what lies behind the change runs,
    on activations kept at the cut before it; neighbouring trials share them.
    """

    def __init__(
        self,
        model: ir.Model,
        step: PlannedPass,
        inputs: Inputs,
        settings: RunSettings,
        target: Target,
        samples: Samples,
        judged_by: MetricSpec,
    ) -> None:
        self._model, self._step = model, step.for_trials()
        self._inputs, self._settings, self._target = inputs, settings, target
        self._samples = samples
        self._open = Context(inputs, settings, target).session
        self._outputs = tuple(port.name for port in model.signature.outputs)
        self._answers = ActivationCheckpoint(model, samples, self._open)
        self._answers.advance(self._outputs)
        self._frontier = self._at_inputs()
        self._judged_by, self._truth = judged_by, judged_by.truth(samples)
        self._shown = [_without_pixels(sample) for sample in samples]
        self._layers = timed_layers(model, inputs.shapes)

    def carry_out(self, trial: Trial) -> TrialResult:
        """Apply one trial to a copy of the model and measure it; a failure is kept in ``point.error``."""
        changed = self._model.copy()
        try:
            self._step.apply(changed, trial.plan, Context(self._inputs, self._settings, self._target))
            scores = self._compare(changed)
        except GraphoptError as error:
            return TrialResult(Point(trial.item, trial.level, error=str(error)))
        costs = cost.measure(changed, self._inputs.shapes, custom_ops=self._settings.session.custom_ops)
        layers = timed_layers(changed, self._inputs.shapes)
        return TrialResult(
            Point(trial.item, trial.level, **scores, macs=costs.macs, parameters=costs.parameters),
            gone=tuple((self._layers - layers).elements()),
            come=tuple((layers - self._layers).elements()),
            is_timed=not any(_is_on_integers(node) for node in changed.graph.nodes),
        )

    def original(self) -> Verdict:
        """What the untouched model is worth."""
        return self._judge(self._answers.stream(self._outputs), None)

    def _compare(self, changed: ir.Model) -> dict[str, Any]:
        verdict = self._judge(self._run(changed), self._answers.stream(self._outputs))
        outcome, metric = verdict.outcome, verdict.metric
        agreement = outcome.agreement.get(metric.main_agreement)
        return {
            "snr_db": min(decibels(verdict.differences).values(), default=None),
            "disagreement": None if agreement is None else 100 * (1 - agreement),
            "top1": outcome.metrics.get("top1"),
            "metric": metric_value(verdict),
        }

    def _judge(self, outputs: Iterator[Outputs], reference: Iterator[Outputs] | None) -> Verdict:
        judge = Judge(self._samples, self._judged_by.make(), self._truth)
        return judge.judge(
            lambda _: next(outputs),
            None if reference is None else lambda _: next(reference),
            watched=self._shown,
            seed=None,
        )

    def _run(self, changed: ir.Model) -> Iterator[dict[str, Any]]:
        """Outputs of the changed model for each sample."""
        same = unchanged(self._model, changed)
        wanted = [name for name in self._outputs if name not in same]
        kept = [name for name in self._outputs if name in same]
        if not wanted:
            yield from self._answers.stream(self._outputs)
            return
        cut = cut_of(changed.graph, same)
        if not self._reaches(cut):
            self._frontier = self._at_inputs()
        self._frontier.advance(cut)
        session = None
        for values, answer in zip(
            self._frontier.stream(cut), self._answers.stream(self._outputs), strict=True
        ):
            if session is None:
                session = self._open(changed.part(values, wanted), wanted)
            made = session.run({name: values[name] for name in session.input_names})
            yield {**{name: answer[name] for name in kept}, **made}

    def _at_inputs(self) -> ActivationCheckpoint:
        """A walk that stands at the model's inputs, with the samples decoded once."""
        made = ActivationCheckpoint(self._model, self._samples, self._open)
        made.advance([port.name for port in self._model.signature.inputs])
        return made

    def _reaches(self, names: Sequence[str]) -> bool:
        """Whether tensors follow from where the frontier stands."""
        tensors = set(self._frontier.known)
        makers = {t.name: node for node in self._model.graph.nodes for t in node.outputs}
        ports = {port.name for port in self._model.signature.inputs}
        waiting, seen = [name for name in names if name not in tensors], set(tensors)
        while waiting:
            name = waiting.pop()
            if name in ports:
                return not tensors
            for tensor in reads(makers[name]) if name in makers else ():
                if tensor.name not in seen:
                    seen.add(tensor.name)
                    waiting.append(tensor.name)
        return True


def cut_of(graph: ir.Graph, same: set[str]) -> list[str]:
    """The unchanged tensors that changed nodes read."""
    tensors: dict[str, None] = {}
    for node in graph.nodes:
        if not all(tensor.name in same for tensor in node.outputs if tensor.name):
            names = (t.name for t in reads(node) if t.constant is None)
            tensors.update((name, None) for name in names if name in same)
    return list(tensors)


def timed_layers(model: ir.Model, shapes: Any) -> Layers:
    """The layers of a model whose times a table knows, with how often each stands there."""
    from graphopt import ir

    inferred = ir.infer_shapes(model, dict(shapes))
    layers = (LayerShape.of(node, inferred) for node in model.graph.nodes)
    return Counter(layer for layer in layers if layer is not None)


def metric_value(verdict: Verdict) -> float | None:
    """What the metric gives, where it is another than top-1."""
    main = verdict.metric.main
    return None if main == "top1" else verdict.outcome.metrics.get(main)


def _without_pixels(sample: Sample) -> Sample:
    """A sample to judge answers to, whose feeds keep their shapes and hold one number each."""
    feeds = {
        name: np.broadcast_to(np.zeros((), feed.dtype), feed.shape) for name, feed in sample.feeds.items()
    }
    return replace(sample, feeds=feeds)


def _is_on_integers(node: ir.Node) -> bool:
    return node.op in ("QuantizeLinear", "DequantizeLinear") or node.op.startswith("QLinear")
