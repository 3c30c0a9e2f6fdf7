"""How far a network's outputs are from the float network's, on samples that nothing was fitted to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.metrics.judge import look
from graphopt.pipeline.verify.judged import Judged

from ..verify.sessions import run_in_parts

if TYPE_CHECKING:
    from graphopt import ir
    from graphopt.calibration.checkpoint import SampleSet
    from graphopt.ir import Array
    from graphopt.pipeline import Context

LEAST = 1e-12  # noise: relative noise power that counts as none; one rounding of float32 makes 1e-15


class Deviation:
    """Compares networks with ``original`` on ``samples``; the float outputs are computed once and kept.

    A network without float outputs is judged by the float tensors before what makes integers of them.
    """

    def __init__(self, original: ir.Model, samples: SampleSet, ctx: Context) -> None:
        self._samples = samples
        self._ctx = ctx
        self._judged = Judged(original)
        session = ctx.session(original, outputs=self._judged.names) if self._judged.names else None
        self._wanted = (
            [[] for _ in samples]
            if session is None
            else [list(made.values()) for _, made in session.answers(samples, lambda sample: sample.feeds)]
        )

    @property
    def can_judge(self) -> bool:
        """Whether there is a float tensor that is not zero everywhere."""
        return any(_power(value) > 0 for wanted in self._wanted for value in wanted)

    def of(self, model: ir.Model) -> float:
        """Noise of the outputs in dB below their power, the mean over all float outputs; less is better.

        Infinite when an output has another size or is not finite where it was; 0 when nothing can be judged.
        """
        if not self._judged.names:
            return 0.0
        names = self._judged.where(model)
        answers = run_in_parts(model, list(dict.fromkeys(names)), self._samples, self._ctx)
        noise = _Noise(names)
        look(
            zip(answers, self._wanted, strict=True),
            lambda pair: pair[0],
            lambda pair: {str(place): exact for place, exact in enumerate(pair[1])},
            [noise],
            truth=lambda pair: None,
            until=lambda: noise.is_infinite,
        )
        return noise.level


class _Noise:
    """The noise and the power of tensors, called ``names`` in the network and numbered in the reference."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._noise, self._power = np.zeros(len(names)), np.zeros(len(names))

    def update(self, outputs: Mapping[str, Array], reference: Any, sample: Any, truth: Any) -> None:
        """Take the tensors of one sample."""
        for index, exact in enumerate(reference.values()):
            if _is_float(exact):
                self._noise[index] += _error(exact, outputs[self._names[index]])
                self._power[index] += _power(exact)

    @property
    def is_infinite(self) -> bool:
        """Whether a tensor has another size, or is not finite where it was."""
        return not np.isfinite(self._noise).all()

    @property
    def level(self) -> float:
        """Noise in dB below the power, the mean over all tensors that are not zero everywhere."""
        if self.is_infinite:
            return math.inf
        counts = self._power > 0
        levels = 10 * np.log10(np.maximum(self._noise[counts] / self._power[counts], LEAST))
        return float(levels.mean()) if levels.size else 0.0


def _is_float(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _power(value: Array) -> float:
    """The sum of squares of what is finite."""
    if not _is_float(value):
        return 0.0
    exact = value.astype(np.float64)
    return float(np.square(exact[np.isfinite(exact)]).sum())


def _error(exact: Array, made: Array) -> float:
    """The sum of squared differences where the exact value is finite; infinite for another size."""
    if made.shape != exact.shape:
        return math.inf
    counts = np.isfinite(exact)
    difference = made[counts].astype(np.float64) - exact[counts]
    return float(np.square(difference).sum()) if np.isfinite(difference).all() else math.inf
