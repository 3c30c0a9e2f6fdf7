"""What a pass may use besides the model, and where it says what it did."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from graphopt.record.plots import Figure, make_figure
from graphopt.record.record import Change, Skip
from graphopt.util.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np

    from graphopt.cost import Device
    from graphopt.data import Samples
    from graphopt.execution import Workers
    from graphopt.ir import Model, Node
    from graphopt.metrics import MetricSpec
    from graphopt.pipeline.run.inputs import Inputs
    from graphopt.runtime.session import Optimization, Session, SessionOptions
    from graphopt.targets import Target

T = TypeVar("T")


@dataclass(frozen=True)
class RunSettings:
    """What holds for a whole run."""

    seed: int = 0
    session: SessionOptions = field(default_factory=lambda: _one_thread())
    cache: Path | None = None
    progress: Progress = silent
    notes: dict[str, Any] = field(default_factory=dict)
    judged_by: MetricSpec = field(default_factory=lambda: _not_chosen())  # how the run's results are judged
    times: Path | None = None  # the folder that keeps how long layers take on this machine
    device: Device | None = None  # where time counts; None: in onnxruntime here
    workers: Workers | None = None  # who carries out what can be spread; this process when None


def _one_thread() -> SessionOptions:
    from graphopt.runtime import SessionOptions

    return SessionOptions()


class Context:
    """The run as one pass sees it. A test makes one from a model: ``Context(Inputs(model))``."""

    def __init__(
        self, inputs: Inputs, settings: RunSettings | None = None, target: Target | None = None
    ) -> None:
        self.inputs = inputs
        self.settings = settings or RunSettings()
        self._target = target
        self.changes: list[Change] = []
        self.skips: list[Skip] = []
        self.warnings: list[str] = []
        self.missed: list[str] = []
        self.summary = ""
        self.details: dict[str, Any] = {}
        self.figures: list[Figure] = []

    # -- what the pass says -------------------------------------------------------------------------------

    def changed(self, node: Node | str, what: str) -> None:
        """Record that ``node`` was changed, and how."""
        self.changes.append(Change(_name(node), what))

    def skipped(self, node: Node | str, reason: str) -> None:
        """Record that ``node`` stays as it is, and why, in words a user understands."""
        self.skips.append(Skip(_name(node), reason))

    def figure(self, kind: str, title: str, data: Mapping[str, Any], node: Node | str = "") -> None:
        """Leave a plot for the report; ``graphopt.record.plots.Figure`` tells the kinds and their data.

        Raises ValueError when ``data`` is not of the kind.
        """
        self.figures.append(make_figure(kind, title, data, node and _name(node)))

    def warn(self, text: str) -> None:
        """Tell the user something that is neither a change nor a skip; repeated texts are kept once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def reported(self, summary: str, **details: Any) -> None:
        """Put one line under the table of the run, and plain values behind it into the report."""
        self.summary = summary
        self.details |= details

    def goal_missed(self, text: str) -> None:
        """Say that a goal the user stated was not reached: exit code 6, and nothing written with --strict."""
        self.missed.append(text)

    def used_labels(self) -> None:
        """Record that labels of the calibration samples are used; DataError when they fit no class."""
        self.inputs.labels_used = True
        self.inputs.check_labels()

    def used_training(self) -> None:
        """Record that weights were trained on the calibration samples."""
        self.inputs.training_used = True

    # -- what the pass may use ----------------------------------------------------------------------------

    @property
    def original(self) -> Model:
        """A copy of the model as the run began with it: what later passes may draw their result to."""
        return self.inputs.original

    @property
    def calibration(self) -> Samples:
        """The calibration samples: the user's, else seeded synthetic ones."""
        return self.inputs.calibration

    @property
    def calibration_is_synthetic(self) -> bool:
        """Whether the calibration samples are synthetic."""
        return self.inputs.is_synthetic

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The size of each model input that runs use; dynamic dimensions filled in."""
        return self.inputs.shapes

    @property
    def target(self) -> Target:
        """The backend the result is meant for."""
        if self._target is None:
            from graphopt import targets

            self._target = targets.load("generic")
        return self._target

    @property
    def notes(self) -> dict[str, Any]:
        """Annotations that the passes of one run leave for later ones."""
        return self.settings.notes

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.settings.seed

    @property
    def threads(self) -> int:
        """How many threads a session may use."""
        return self.settings.session.threads

    @property
    def samples_at_once(self) -> int:
        """How many samples sessions answer at a time."""
        return self.settings.session.samples_at_once

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator that depends only on the run's seed and ``purpose``."""
        import numpy as np

        return np.random.default_rng([self.settings.seed, zlib.crc32(purpose.encode())])

    def progress(self, description: str, items: Iterable[T], total: int | None = None) -> Iterable[T]:
        """Iterate over ``items``, with a progress bar when it takes long."""
        return self.settings.progress(description, items, total)

    def session(
        self,
        model: Model,
        outputs: Sequence[str] | None = None,
        *,
        optimization: Optimization = "all",
        timed: bool = False,
    ) -> Session:
        """Open ``model`` in onnxruntime with the run's threads, provider and custom ops.

        The threads answer several samples at a time, unless the session is to be ``timed``.
        """
        from graphopt.runtime import Session

        settings = self.settings.session
        return Session(model, settings, outputs=outputs, optimization=optimization, timed=timed)

    def collect(
        self,
        model: Model,
        requests: Mapping[str, Sequence[Any]],
        samples: Samples | None = None,
        **options: Any,
    ) -> dict[str, list[Any]]:
        """Statistics of named tensors over the calibration samples; see ``graphopt.calibration.collect``."""
        from graphopt import calibration

        settings = self.settings
        defaults = {"progress": settings.progress, "cache": settings.cache, "workers": settings.workers}
        used = self.calibration if samples is None else samples
        return calibration.collect(model, requests, used, settings.session, **{**defaults, **options})


def _name(node: Node | str) -> str:
    if isinstance(node, str):
        return node
    return str(node.name or (node.outputs[0].name if node.outputs else node.op))


def _not_chosen() -> MetricSpec:
    from graphopt.metrics import MetricSpec

    return MetricSpec()
