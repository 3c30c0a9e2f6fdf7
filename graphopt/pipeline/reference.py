"""The model as it was before some passes, kept to compare what they leave with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphopt.pipeline.walls import find_walls
from graphopt.runtime import Comparison, Difference

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline.context import Context
    from graphopt.runtime import Session


class Reference:
    """A session of the model as it is now, which also returns the tensors entering its walls.

    ``outputs`` are the model outputs that can be compared; ``walls`` what stands before them.
    Raises ModelError when onnxruntime does not run the model.
    """

    def __init__(self, model: Model, ctx: Context) -> None:
        self._ctx = ctx
        self.walls = find_walls(model)
        self.outputs = tuple(p.name for p in model.signature.outputs if p.name not in self.walls.random)
        self.names = tuple(dict.fromkeys([*self.outputs, *self.walls.tensors]))
        self._session = ctx.session(model, outputs=self.names, optimization="disabled")
        for sample in ctx.inputs.check:
            self._session.run(sample.feeds)
        self._snapshot = model.snapshot()
        self._noise: dict[str, Difference] | None = None

    def compare(self, model: Model, names: Sequence[str], level: str = "disabled") -> dict[str, Difference]:
        """Run both models on the samples, one after the other, and sum up how far ``names`` are apart."""
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
        comparison = Comparison()
        samples = self._ctx.inputs.check
        for sample in self._ctx.progress("comparing with the model before", samples, len(samples)):
            was = self._session.run(sample.feeds)
            comparison.update({name: was[name] for name in names}, other.run(sample.feeds))
        return comparison.result()
