"""What a report shows besides totals: the size after each pass, and what became of each layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt import cost, ir
from graphopt.errors import GraphoptError
from graphopt.pipeline.results.kernel_matching import time_nodes
from graphopt.pipeline.results.layers import PAIRS, Seen, computing_nodes, layer_records, survey
from graphopt.pipeline.results.measure import first_feeds
from graphopt.pipeline.results.node_facts import node_facts
from graphopt.pipeline.results.tensor_matching import matched_tensors, read_back
from graphopt.pipeline.results.tensor_sqnr import signals
from graphopt.pipeline.run.instruments import size
from graphopt.record.layers import LayerRecord, NodeFacts
from graphopt.record.record import PassRecord, Stage

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model
    from graphopt.runtime import SessionOptions

SAMPLES = 4  # time: that the signals of layers in a report are measured on
SECONDS = 1.0  # time: for timing the layers of a model


class ReportCollector:
    """Watches a run for its report; an instrument.  Made before the passes, of the model as it came."""

    def __init__(
        self, model: Model, shapes: Mapping[str, tuple[int, ...]], warn: Callable[[str], None]
    ) -> None:
        self._shapes = shapes
        self._warn = warn
        self._before = survey(model, shapes)
        self._facts = _facts(model, self._before)
        self._records: list[PassRecord] = []
        self._stages = [self._stage("input", model)]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """How large the model was at first and after each pass."""
        return tuple(self._stages)

    def after(self, index: int, record: PassRecord, model: Model) -> None:
        """Note how large the model is after a pass."""
        self._records.append(record)
        self._stages.append(self._stage(record.name, model))

    def undone(self, first: int, records: Sequence[PassRecord]) -> None:
        """Take note that the passes from number ``first`` on were taken back; ``records`` are all now."""
        left = self._stages[first]
        self._records = list(records)
        self._stages[first + 1 :] = [dataclasses.replace(left, name=r.name) for r in records[first:]]

    def layers(
        self,
        model: Model,
        original: Path | bytes,
        samples: Samples | None,
        session: SessionOptions,
        *,
        timed: bool = False,
    ) -> tuple[LayerRecord, ...]:
        """Every layer before and after; with ``samples`` how far it moved, and ``timed`` what it takes."""
        now = survey(model, self._shapes)
        if not now:
            return ()
        facts = (self._facts, _facts(model, now))
        if samples is None:
            return layer_records(self._before, now, facts=facts)
        try:
            moved = self._signals(model, now, original, samples, session)
            times = self._times(model, now, original, samples, session) if timed else ({}, {})
        except GraphoptError as error:  # a model may not hand out its inner tensors and be fine all the same
            self._warn(f"what became of each layer was not measured: {error}")
            return layer_records(self._before, now, facts=facts)
        return layer_records(self._before, now, moved, times, facts)

    def _signals(
        self,
        model: Model,
        now: Sequence[Seen],
        original: Path | bytes,
        samples: Samples,
        session: SessionOptions,
    ) -> dict[str, float]:
        """Ratios by the name of the layer that makes the tensor."""
        items = [record.plan or () for record in self._records]
        rescaled = {name for record in self._records for name in record.details.get("rescaled", ())}
        pairs = matched_tensors(items, self._before, now, rescaled)
        ratios = signals(original, model, pairs, samples.take(SAMPLES), session)
        stored = read_back(now)
        own = (seen for seen in now if seen.layer.op not in PAIRS)
        makers = {stored.get(seen.tensor, seen.tensor): seen.layer.name for seen in own}
        return {makers[tensor]: ratio for tensor, ratio in ratios.items()}

    def _times(
        self,
        model: Model,
        now: Sequence[Seen],
        original: Path | bytes,
        samples: Samples,
        session: SessionOptions,
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Milliseconds by the name of a layer, in the original and in the result."""
        feeds = first_feeds(samples)
        source = ir.from_bytes(original) if isinstance(original, bytes) else ir.load(original)
        before = time_nodes(source, feeds, session, seconds=SECONDS).milliseconds
        after = time_nodes(model, feeds, session, seconds=SECONDS).milliseconds
        return (
            {seen.layer.name: before[i] for i, seen in enumerate(self._before) if i in before},
            {seen.layer.name: after[i] for i, seen in enumerate(now) if i in after},
        )

    def _stage(self, name: str, model: Model) -> Stage:
        counts = size(model)
        macs = cost.measure(model, self._shapes).macs
        return Stage(name, counts.nodes, counts.parameters, counts.bytes, macs)


def _facts(model: Model, nodes: Sequence[Seen]) -> dict[str, NodeFacts]:
    """What each node is made of, by the name of its layer; nothing for a model of too many."""
    if not nodes:
        return {}
    made_of = node_facts(computing_nodes(model))
    return {seen.layer.name: facts for seen, facts in zip(nodes, made_of, strict=True)}
