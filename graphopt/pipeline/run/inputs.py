"""The samples and sizes of one run, worked out when first asked for and then kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graphopt.errors import DataError, ModelError

if TYPE_CHECKING:
    from graphopt.data import Preprocess, Samples
    from graphopt.ir import Model, Snapshot
    from graphopt.runtime import SessionOptions, TrialShapes
    from graphopt.runtime.inputs.samples import Run

SYNTHETIC_SAMPLES = 64  # time: made where none are given


class Inputs:
    """What a model is fed with during a run.

    ``calibration`` and ``evaluation`` are whatever ``data.open_samples`` takes, read when first asked for;
    without calibration, seeded synthetic samples stand in. ``transform`` is called with each item of what is
    iterated. ``session`` is what sessions are opened with. Without ``try_sizes`` the first sizes that come
    into question are taken untried. Reading ``calibration`` or ``evaluation`` raises DataError when the data
    cannot be read or does not fit.
    """

    def __init__(
        self,
        model: Model,
        *,
        calibration: Any = None,
        evaluation: Any = None,
        preprocess: str | None = None,
        transform: Callable[[Any], Any] | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        seed: int = 0,
        session: SessionOptions | None = None,
        try_sizes: bool = True,
    ) -> None:
        from graphopt.runtime import SessionOptions

        self._model = model
        self.ports, self.output_ports = model.signature.inputs, model.signature.outputs
        self._calibration = calibration
        self._evaluation = evaluation
        self._preprocess = preprocess
        self._transform = transform
        self._overrides = dict(shapes or {})
        self._session = session or SessionOptions()
        self._try_sizes = try_sizes
        self.seed = seed
        self.calibration_used = False
        self.labels_used = False
        self.training_used = False
        self._original: Snapshot | None = None
        self._fitted: Samples | None = None  # synthetic samples on which the original runs
        self._misfit: DataError | None = None  # why there are none

    def fit(self, run: Run) -> None:
        """Draw the synthetic samples so that ``run``, the original, takes them; once.

        Raises DataError when it takes none.
        """
        if self._fitted is not None:
            return
        if self._misfit is not None:
            raise self._misfit
        from graphopt import runtime

        try:
            self._fitted = runtime.fit_samples(
                self._model, self.shapes, run, count=SYNTHETIC_SAMPLES, seed=self.seed
            )
        except DataError as error:
            self._misfit = error
            raise

    def fitting_to(self, samples: Samples) -> Inputs:
        """The same inputs with other calibration samples, such as those that trials are fitted to."""
        other = copy.copy(self)
        vars(other)["_given_calibration"] = samples  # in place of the cached property
        return other

    def of_copy(self, model: Model) -> Inputs:
        """The same inputs for a copy of the model, which other passes will change."""
        other = copy.copy(self)
        other._model, other._original = model, None
        return other

    def remember(self) -> None:
        """Keep the model as it is now: the original of the run, which passes may ask for."""
        self._original = self._model.snapshot()

    @property
    def original(self) -> Model:
        """A copy of the model as the run began with it."""
        model = self._model.copy()
        if self._original is not None:
            model.restore(self._original)
        return model

    @property
    def is_synthetic(self) -> bool:
        """Whether there are no real calibration samples."""
        return self._calibration is None

    @property
    def calibration(self) -> Samples:
        """The samples passes may look at: the user's, else seeded synthetic ones."""
        self.calibration_used = True
        return self._synthetic if self._given_calibration is None else self._given_calibration

    @property
    def calibration_given(self) -> Samples | None:
        """The user's samples to calibrate with; asking for them is no use of them."""
        return self._given_calibration

    @cached_property
    def evaluation(self) -> Samples | None:
        """The samples metrics are measured on; None when the user gave none."""
        return self._load(self._evaluation)

    @property
    def given(self) -> Samples | None:
        """The most telling samples the user gave: evaluation, else calibration, else None."""
        return self._given_calibration if self.evaluation is None else self.evaluation

    @cached_property
    def check(self) -> Samples:
        """A few samples for comparing models: real ones when there are any.

        Raises DataError when there are none and no synthetic ones fit the model.
        """
        from graphopt import runtime

        samples = self._synthetic if self.given is None else self.given
        return samples.take(runtime.checked(samples))

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Sizes to run at: from ``--shape``, else the samples, else the file, else the first that run.

        Raises ModelError when the model runs at none of the sizes that are tried.
        """
        return self._trial.shapes

    @property
    def announcement(self) -> str:
        """The sentence that says how the sizes were chosen; empty when nothing was open."""
        return self._trial.announcement

    @property
    def preprocess(self) -> dict[str, Any]:
        """The preprocessing that the samples go through, resolved."""
        recipe = None if self.given is None else self.given.preprocess
        return {} if recipe is None else recipe.as_dict()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the data has to say about itself."""
        from graphopt import data

        texts: list[str] = []
        for samples in (self._given_calibration, self.evaluation):
            if samples is not None:
                texts += [self._recipe[1], *samples.warnings, *data.pixel_warnings(self._model, samples)]
        return tuple(dict.fromkeys(filter(None, texts)))

    @property
    def source(self) -> str:
        """Where the calibration samples come from: a path, or ``synthetic``."""
        return "synthetic" if self._given_calibration is None else self._given_calibration.source

    @property
    def given_count(self) -> int | None:
        """How many calibration samples the user gave, whether a pass looks at them or not; None for none."""
        return None if self._given_calibration is None else len(self._given_calibration)

    def check_labels(self) -> None:
        """Raise DataError when a label that counts is none of the classes that the model declares."""
        from graphopt.runtime import declared_classes

        classes = declared_classes(self.output_ports)
        if classes is None:
            return
        if self.evaluation is not None:
            self.evaluation.check_labels(classes)
        if self.labels_used and self._given_calibration is not None:
            self._given_calibration.check_labels(classes)

    def count(self) -> int:
        """How many calibration samples the passes looked at."""
        return len(self.calibration) if self.calibration_used else 0

    def shared(self) -> int:
        """How many evaluation samples are calibration samples too, by content."""
        if self._given_calibration is None or self.evaluation is None:
            return 0
        from graphopt import data

        return data.shared(self.evaluation, self._given_calibration)

    @cached_property
    def _given_calibration(self) -> Samples | None:
        return self._load(self._calibration)

    @property
    def _synthetic(self) -> Samples:
        """Samples that the original takes, as far as it can be tried."""
        if self._fitted is None:
            run = self._original_run()
            if run is not None:
                self.fit(run)
        if self._fitted is None:
            from graphopt import runtime

            self._fitted = runtime.plausible_samples(
                self._model, self.shapes, count=SYNTHETIC_SAMPLES, seed=self.seed
            )
        return self._fitted

    def _original_run(self) -> Run | None:
        """What runs the original; None when models are not to be run, or it does not load."""
        from graphopt.runtime import Session

        if not self._try_sizes:
            return None
        try:
            original = self._model if self._original is None else self.original
            return Session(original, self._session, optimization="disabled").run
        except ModelError:  # whoever needs it to run will say so
            return None

    @cached_property
    def _trial(self) -> TrialShapes:
        from graphopt import runtime

        samples = self.evaluation if self._given_calibration is None else self._given_calibration
        return runtime.trial_shapes(
            self._model, self._overrides, samples, run=self._try_sizes, options=self._session
        )

    @cached_property
    def _recipe(self) -> tuple[Preprocess | None, str]:
        """What samples go through, the model's own word included, and a warning about that."""
        from graphopt import data

        return data.recipe_for(self._preprocess, self._model.metadata)

    def _load(self, given: Any) -> Samples | None:
        from graphopt import data

        if given is None:
            return None
        preprocess = self._recipe[0]
        iterates = not isinstance(given, (str, data.Samples, Mapping))
        return data.open_samples(
            given,
            self.ports,
            preprocess,
            shapes=self._overrides,
            transform=self._transform if iterates else None,  # the other data may need it
            seed=self.seed,
        )
