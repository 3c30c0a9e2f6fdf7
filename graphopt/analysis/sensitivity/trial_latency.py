"""Predict how long the models of trials take, from the layers that went and came."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from graphopt.analysis.sensitivity.trial_evaluator import Layers, TrialResult
from graphopt.cost import LatencyTable, predict
from graphopt.record.sensitivity import Point


def with_latency(
    tried: Sequence[TrialResult], before: Layers, whole: float, table: LatencyTable
) -> tuple[Point, ...]:
    """The points of trials with their latency in milliseconds; all new layers are timed in one sitting.

    ``before`` are the layers of the untouched model, which takes ``whole`` milliseconds.  Where layers
    compute on integers, nothing is predicted.
    """
    new = (layer for result in tried if result.is_timed for layer in result.come)
    layers = list(dict.fromkeys([*before, *new]))
    times = dict(zip(layers, table.milliseconds(layers).tolist(), strict=True))
    base = [times[layer] for layer in before.elements()]
    points = []
    for result in tried:
        latency = None
        if result.is_timed and not result.point.error:
            after = before - Counter(result.gone) + Counter(result.come)
            latency = predict(whole, base, [times[layer] for layer in after.elements()])
        points.append(dataclasses.replace(result.point, latency_ms=latency))
    return tuple(points)
