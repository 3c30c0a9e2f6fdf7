"""How far a network's outputs are from the float network's, on samples that nothing was fitted to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from graphopt import ir
    from graphopt.data import Samples
    from graphopt.pipeline import Context

LEAST = 1e-12  # relative noise power that counts as none


class Deviation:
    """Compares networks with ``original`` on ``samples``; the float outputs are computed once and kept."""

    def __init__(self, original: ir.Model, samples: Samples, ctx: Context) -> None:
        self._samples = samples
        self._ctx = ctx
        session = ctx.session(original)
        self._wanted = [session.run(sample.feeds) for sample in samples]

    def of(self, model: ir.Model) -> float:
        """Noise of the outputs in dB below their power, the mean over all float outputs; less is better.

        Infinite when an output has another size or is not finite; 0 when there is no float output.
        """
        session = self._ctx.session(model)
        noise: dict[str, float] = {}
        power: dict[str, float] = {}
        for sample, wanted in zip(self._samples, self._wanted, strict=True):
            found = session.run(sample.feeds)
            for name, value in wanted.items():
                if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
                    continue
                if found[name].shape != value.shape or not np.isfinite(found[name]).all():
                    return math.inf
                exact = value.astype(np.float64)
                noise[name] = noise.get(name, 0.0) + float(np.square(found[name] - exact).sum())
                power[name] = power.get(name, 0.0) + float(np.square(exact).sum())
        levels = [10 * math.log10(max(noise[name] / power[name], LEAST)) for name in noise if power[name] > 0]
        return sum(levels) / len(levels) if levels else 0.0
