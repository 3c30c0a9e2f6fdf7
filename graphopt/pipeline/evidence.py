"""What a report shows besides totals: the size after each pass, and what became of each layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt import cost
from graphopt.errors import GraphoptError
from graphopt.pipeline.instruments import size
from graphopt.report.kept import twins
from graphopt.report.layers import LayerRecord, Seen, layer_records, survey
from graphopt.report.record import PassRecord, Stage
from graphopt.report.signal import signals

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model

SAMPLES = 4  # that the signals of layers are measured on


class Evidence:
    """Watches a run for its report; an instrument.  Made before the passes, of the model as it came."""

    def __init__(
        self, model: Model, shapes: Mapping[str, tuple[int, ...]], warn: Callable[[str], None]
    ) -> None:
        self._shapes = shapes
        self._warn = warn
        self._before = survey(model, shapes)
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

    def layers(
        self,
        model: Model,
        original: Path | bytes,
        samples: Samples | None,
        session: Mapping[str, Any],
    ) -> tuple[LayerRecord, ...]:
        """Every layer before and after; with ``samples``, how far the outputs of the layers moved."""
        now = survey(model, self._shapes)
        if not now:
            return ()
        return layer_records(self._before, now, self._signals(model, now, original, samples, session))

    def _signals(
        self,
        model: Model,
        now: Sequence[Seen],
        original: Path | bytes,
        samples: Samples | None,
        session: Mapping[str, Any],
    ) -> dict[str, float]:
        if samples is None:
            return {}
        pairs = twins([item for record in self._records for item in record.plan or ()], self._before, now)
        try:
            return signals(original, model, pairs, samples.take(SAMPLES), **session)
        except GraphoptError as error:  # a model may not hand out its inner tensors and be fine all the same
            self._warn(f"how far each layer moved was not measured: {error}")
            return {}

    def _stage(self, name: str, model: Model) -> Stage:
        found = size(model)
        macs = cost.measure(model, self._shapes).macs
        return Stage(name, found.nodes, found.parameters, found.bytes, macs)
