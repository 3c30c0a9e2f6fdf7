"""The learning rate of each update: a linear warm-up, then constant, linear or cosine down to zero."""

from __future__ import annotations

import math

from .events import Job


def learning_rate(job: Job, update: int, updates: int) -> float:
    """The rate of ``update`` (from 0) of ``updates``.

    Cosine: I. Loshchilov, F. Hutter: SGDR, 2017, one cycle.
    """
    peak, warmup = float(job["lr"]), min(int(job["warmup"]), max(updates - 1, 0))
    if update < warmup:
        return peak * (update + 1) / (warmup + 1)
    if job["schedule"] == "constant":
        return peak
    done = (update - warmup) / max(updates - warmup, 1)
    if job["schedule"] == "linear":
        return peak * (1.0 - done)
    return peak * 0.5 * (1.0 + math.cos(math.pi * done))
