"""A model opened to be looked at, with the samples and sizes to run it with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt import data, ir, runtime
from graphopt.errors import ModelError
from graphopt.pipeline.results import measure
from graphopt.runtime.session import SessionOptions

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.record.record import Measures
    from graphopt.runtime import Session

SYNTHETIC_SAMPLES = 8  # for looking at a model without data


class LoadedModel:
    """A model, given as ``ir.accept`` takes it, with the samples and sizes to look at it with."""

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
        self._overrides = {name: tuple(sizes) for name, sizes in (shape or {}).items()}
        runtime.check_session(self.session)
        accepted = ir.accept(given)
        self.content: Path | bytes = accepted if isinstance(accepted, Path) else accepted.to_bytes()
        self.name = str(accepted) if isinstance(accepted, Path) else str(accepted.path or "a model in memory")
        self.model = ir.load(self.content) if isinstance(self.content, Path) else ir.from_bytes(self.content)
        self.warnings: list[str] = []
        self.samples: Samples | None = None if spec is None else self._load(spec, preprocess, transform)
        self.source = "synthetic" if self.samples is None else self.samples.source
        self.shapes = self._find_shapes()

    @property
    def recipe(self) -> dict[str, Any]:
        """The preprocessing of the samples, resolved."""
        found = None if self.samples is None else self.samples.preprocess
        return {} if found is None else found.as_dict()

    def synthetic(self) -> Samples:
        """A few synthetic samples that the model takes; DataError when none fit."""
        return self._synthetic

    @cached_property
    def _synthetic(self) -> Samples:
        session = runtime.Session(self.model, self.session, optimization="disabled")
        return runtime.fit_samples(self.model, self.shapes, session.run, count=SYNTHETIC_SAMPLES)

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
        found = measure.contents(self.model, self.shapes, measure.input_bytes(self.model), self.warn)
        return dataclasses.replace(found, latency_ms=latency_ms)

    def _load(self, spec: Any, preprocess: str | None, transform: Callable[[Any], Any] | None) -> Samples:
        recipe, warning = data.recipe_for(preprocess, self.model.metadata)
        ports = self.model.signature.inputs
        samples = data.open_samples(spec, ports, recipe, shapes=self._overrides, transform=transform)
        for text in (warning, *samples.warnings, *data.pixel_warnings(self.model, samples)):
            if text:
                self.warn(text)
        return samples

    def _find_shapes(self) -> Mapping[str, tuple[int, ...]]:
        try:
            found = runtime.trial_shapes(self.model, self._overrides, self.samples, options=self.session)
        except ModelError as error:
            self.warn(f"sizes to run at were not found: {error}")
            return {}
        if found.announcement:
            self._announce(found.announcement)
        return found.shapes

    def warn(self, text: str) -> None:
        """Tell the user something, and keep it for the record."""
        self.warnings.append(text)
        self._announce(f"warning: {text}")
