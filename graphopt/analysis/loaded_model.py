"""A model opened to be looked at, with the samples and sizes to run it with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt import ir, runtime
from graphopt.errors import ModelError
from graphopt.pipeline.results import measure
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime.session import SessionOptions

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.record.record import Measures
    from graphopt.runtime import Session

COMPARED = 8  # time: synthetic samples that two models are compared on


class LoadedModel:
    """A model, given as ``ir.accept`` takes it, with the samples and sizes to look at it with.

    They are found as in a run of passes, by its ``Inputs``.
    """

    def __init__(
        self,
        given: Any,
        spec: Any,
        preprocess: str | None,
        shape: Mapping[str, Sequence[int]] | None,
        session: SessionOptions | None,
        announce: Callable[[str], None] | None = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self._announce = announce or (lambda text: None)
        self.session = session or SessionOptions()
        runtime.check_session(self.session)
        accepted = ir.accept(given)
        self.content: Path | bytes = accepted if isinstance(accepted, Path) else accepted.to_bytes()
        self.name = str(accepted) if isinstance(accepted, Path) else str(accepted.path or "a model in memory")
        self.model = ir.load(self.content) if isinstance(self.content, Path) else ir.from_bytes(self.content)
        self._inputs = Inputs(
            self.model,
            calibration=spec,
            preprocess=preprocess,
            transform=transform,
            shapes={name: tuple(sizes) for name, sizes in (shape or {}).items()},
            session=self.session,
        )
        self.warnings: list[str] = []
        self.samples: Samples | None = self._inputs.calibration_given
        for text in self._inputs.warnings:
            self.warn(text)
        self.source = self._inputs.source
        self.shapes = self._find_shapes()

    @property
    def recipe(self) -> dict[str, Any]:
        """The preprocessing of the samples, resolved."""
        return self._inputs.preprocess

    def synthetic(self) -> Samples:
        """A few synthetic samples that the model takes; DataError when none fit."""
        return self._inputs.calibration.take(COMPARED)

    def first_feeds(self) -> dict[str, Any]:
        """Inputs to time the model with."""
        return measure.first_feeds(self.samples if self.samples is not None else self.synthetic())

    def open(self, *, timed: bool = False) -> Session:
        """A session of the file."""
        return runtime.Session(self.content, self.session, timed=timed)

    def latency(self) -> float:
        """Milliseconds one run takes."""
        return runtime.latency(self.open(timed=True), self.first_feeds()).median_ms

    def measures(self, latency_ms: float | None) -> Measures:
        """Everything countable of the model."""
        measures = measure.contents(self.model, self.shapes, measure.input_bytes(self.model), self.warn)
        return dataclasses.replace(measures, latency_ms=latency_ms)

    def _find_shapes(self) -> Mapping[str, tuple[int, ...]]:
        try:
            shapes = self._inputs.shapes
        except ModelError as error:
            self.warn(f"sizes to run at were not found: {error}")
            return {}
        if self._inputs.announcement:
            self._announce(self._inputs.announcement)
        return shapes

    def warn(self, text: str) -> None:
        """Tell the user something, and keep it for the record."""
        self.warnings.append(text)
        self._announce(f"warning: {text}")
