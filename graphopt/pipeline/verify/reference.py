"""The model as it was before some passes, kept to compare what they leave with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphopt.errors import DataError, ModelError
from graphopt.metrics import Generic
from graphopt.metrics.judge import Remembered, look, runs
from graphopt.pipeline.verify.discontinuities import find_walls
from graphopt.runtime import Difference

if TYPE_CHECKING:
    from graphopt.data import Sample, Samples
    from graphopt.ir import Model
    from graphopt.metrics.base import Outputs
    from graphopt.pipeline.contract.context import Context
    from graphopt.runtime import Session
    from graphopt.runtime.session import Optimization


class Reference:
    """A session of the model as it is now, which also returns the tensors entering its walls.

    ``outputs`` are the model outputs that can be compared; ``walls`` what stands before them.
    Only samples that this model takes judge what it becomes. Raises ModelError when onnxruntime does not run
    the model on any, DataError when there are no samples for it.
    """

    def __init__(self, model: Model, ctx: Context) -> None:
        self._ctx = ctx
        self.walls = find_walls(model)
        self.outputs = tuple(p.name for p in model.signature.outputs if p.name not in self.walls.random)
        self.names = tuple(dict.fromkeys([*self.outputs, *self.walls.tensors]))
        self._level, self._session = self._opened(model)
        self._answers = Remembered(self._session)
        if ctx.inputs.given is None:
            ctx.inputs.fit(self._session.run)
        self._samples = self._running(ctx.inputs.check)
        self._snapshot = model.snapshot()
        self._noise: dict[str, Difference] | None = None

    def _opened(self, model: Model) -> tuple[Optimization, Session]:
        """A session without optimisations, or with them where onnxruntime has no kernels without."""
        try:
            return "disabled", self._ctx.session(model, outputs=self.names, optimization="disabled")
        except ModelError:
            return "all", self._ctx.session(model, outputs=self.names)

    def _running(self, samples: Samples) -> list[Sample]:
        """The samples that the model takes; a failure on all of them is raised."""
        taken: list[Sample] = []
        failure: ModelError | DataError | None = None
        for sample in samples:
            try:
                self._answers(sample)
            except (ModelError, DataError) as error:
                failure = failure or error
            else:
                taken.append(sample)
        if failure is not None and not taken:
            raise failure
        if failure is not None:
            left = len(samples) - len(taken)
            self._ctx.warn(
                f"{left} of {len(samples)} samples judge nothing, because the model before does not run on "
                f"them: {failure}"
            )
        return taken

    def compare(
        self, model: Model, names: Sequence[str], level: Optimization = "disabled"
    ) -> dict[str, Difference]:
        """Run both models on the samples, one after the other, and sum up how far ``names`` are apart."""
        level = self._level if level == "disabled" else level
        return self._run_with(self._ctx.session(model, outputs=names, optimization=level), names)

    def noise(self, model: Model) -> dict[str, Difference]:
        """How far onnxruntime's own optimisations move this reference: the least any comparison can resolve.

        ``model`` is what the reference has become; it is taken back to the reference for a moment.
        """
        if self._noise is None:
            present = model.snapshot()
            model.restore(self._snapshot)
            try:
                optimized = self._ctx.session(model, outputs=self.names, optimization="all")
            finally:
                model.restore(present)
            self._noise = self._run_with(optimized, self.names)
        return self._noise

    def _run_with(self, other: Session, names: Sequence[str]) -> dict[str, Difference]:
        outputs = Generic()
        watched = self._ctx.progress("comparing with the model before", self._samples, len(self._samples))
        look(
            watched,
            runs(other),
            lambda sample: _only(self._answers(sample), names),
            [outputs],
            at_once=self._ctx.samples_at_once,
        )
        return outputs.differences


def _only(outputs: Outputs, names: Sequence[str]) -> Outputs:
    return {name: outputs[name] for name in names}
