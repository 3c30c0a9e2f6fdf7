"""Synthetic samples on which a model runs: drawn in several ways until one is found that it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.errors import DataError, ModelError

if TYPE_CHECKING:
    from graphopt.data import Samples, Style
    from graphopt.ir import InputRole, Model

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]
CHECKED = 4  # time: samples that must run
CHECKED_ELEMENTS = 2**24  # memory: of float32 that is 64 MB; of larger samples fewer are run


def fit_samples(
    model: Model, shapes: Mapping[str, Sequence[int]], run: Run, *, count: int, seed: int = 0
) -> Samples:
    """``count`` synthetic samples, the first of which ``run``, the original model, takes.

    Plausible values come first; values that make every output a number are preferred to those that make
    NaN, infinities or nothing at all.  Raises DataError when the model takes none of them: its message is
    what the first said.
    """
    from graphopt.data import STYLES

    make = partial(_samples, model, shapes, _roles_where_whole(model, shapes), count, seed)
    failure: DataError | ModelError | None = None
    running: Samples | None = None
    for style in STYLES:
        samples = make(style)
        try:
            is_telling = _tells(samples.take(checked(samples)), run)
        except (DataError, ModelError) as error:
            failure = failure or error
            continue
        if is_telling:
            return samples
        if running is not None:  # two ways end in NaN or nothing: so do the others
            break
        running = samples
    if running is not None:
        return running
    raise DataError(
        f"no synthetic samples fit the model: {failure}", hint="give real samples with --calibration"
    ) from failure


def plausible_samples(
    model: Model, shapes: Mapping[str, Sequence[int]], *, count: int, seed: int = 0
) -> Samples:
    """``count`` synthetic samples of plausible values, untried; raises DataError when none can be drawn."""
    from graphopt.data import STYLES

    return _samples(model, shapes, _roles_where_whole(model, shapes), count, seed, STYLES[0])


def checked(samples: Samples) -> int:
    """How many samples are run to compare models: fewer where they are very large."""
    sizes = (np.size(feed) for sample in samples.take(1) for feed in sample.feeds.values())
    return max(1, min(CHECKED, CHECKED_ELEMENTS // max(sum(sizes), 1)))


def first_feeds(
    model: Model, shapes: Mapping[str, Sequence[int]], style: Style, seed: int = 0
) -> dict[str, np.ndarray]:
    """One synthetic sample; raises DataError when none can be drawn."""
    samples = _samples(model, shapes, _roles_where_whole(model, shapes), 1, seed, style)
    return dict(next(iter(samples)).feeds)


def _samples(
    model: Model,
    shapes: Mapping[str, Sequence[int]],
    roles: Mapping[str, InputRole],
    count: int,
    seed: int,
    style: Style,
) -> Samples:
    from graphopt import data

    return data.synthetic(model.signature.inputs, shapes, count, seed, style=style, roles=roles)


def _roles_where_whole(model: Model, shapes: Mapping[str, Sequence[int]]) -> Mapping[str, InputRole]:
    """What the model takes where an input may be a shape, an index or a count; free for images alone."""
    from graphopt import data, ir

    ports = model.signature.inputs
    if not any(
        p.dtype is not None and (data.is_integer(p.dtype) or len(p.shape or (1, 1)) < 2) for p in ports
    ):
        return {}
    return ir.input_roles(model, shapes)


def _tells(samples: Samples, run: Run) -> bool:
    """Whether the outputs hold numbers, and nothing but numbers; raises what ``run`` raises."""
    return all(_is_telling(run(sample.feeds)) for sample in samples)


def _is_telling(outputs: Mapping[str, Any]) -> bool:
    from graphopt.data import is_float

    arrays = [value for value in outputs.values() if isinstance(value, np.ndarray)]
    if arrays and not any(math.prod(value.shape) for value in arrays):
        return False
    floats = (value for value in arrays if is_float(value.dtype))
    return all(bool(np.isfinite(value.astype(np.float32, copy=False)).all()) for value in floats)
