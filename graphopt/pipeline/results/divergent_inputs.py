"""Finds the inputs to which a result answers least like its original, while both are judged."""

from __future__ import annotations

import base64
import heapq
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.data.element_types import is_float
from graphopt.data.ports import IMAGE_CHANNELS
from graphopt.metrics.outputs import SNR_LIMIT
from graphopt.record.divergent_inputs import DivergentInput
from graphopt.runtime import classifier_output

MOST = 8  # shown: inputs
SIDE = 72  # shown: pixels of a thumbnail

Outputs = Mapping[str, Any]


@dataclass(frozen=True)
class _Answer:
    """How one row of a sample was answered: ``changed`` is whether the class is another."""

    changed: bool
    snr_db: float
    before: int | None
    after: int | None


class DivergentInputs:
    """Looks at answers beside a metric (``metrics.judge.Looks``) and keeps the few rows that moved most.

    Rows whose class changed come first, then those with the lowest SQNR.  ``names`` are those of the rows.
    """

    def __init__(self, names: Sequence[str] | range, most: int = MOST) -> None:
        self._names, self._most = names, most
        self._kept: list[tuple[bool, float, int, DivergentInput]] = []  # a heap, the least divergent first
        self._count = 0

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Any, truth: Any) -> None:
        """Take the answers to one sample."""
        for place, answer in enumerate(_answers(outputs, reference or {}, len(sample.rows))):
            if answer is None:
                continue
            self._count += 1
            order = (answer.changed, -answer.snr_db, -self._count)
            if len(self._kept) < self._most or order > self._kept[0][:3]:
                heapq.heappush(self._kept, (*order, self._described(answer, sample, place, truth)))
                if len(self._kept) > self._most:
                    heapq.heappop(self._kept)

    def inputs(self) -> tuple[DivergentInput, ...]:
        """The rows that moved at all, the most divergent first."""
        ordered = sorted(self._kept, key=lambda entry: entry[:3], reverse=True)
        return tuple(entry[3] for entry in ordered if entry[3].snr_db < SNR_LIMIT or entry[0])

    def _described(self, answer: _Answer, sample: Any, place: int, truth: Any) -> DivergentInput:
        row = sample.rows[place] if place < len(sample.rows) else place
        name = self._names[row] if row < len(self._names) else str(row)
        label = truth[place] if truth is not None and len(truth) > place else None
        return DivergentInput(
            str(name),
            answer.snr_db,
            answer.before,
            answer.after,
            int(label) if isinstance(label, (int, np.integer)) else None,
            _thumbnail(sample.feeds, place),
        )


def _answers(outputs: Outputs, reference: Outputs, rows: int) -> list[_Answer | None]:
    """An answer a row where every output has the rows on its first axis, else one for all together."""
    pairs = {
        name: (reference[name], value)
        for name, value in outputs.items()
        if isinstance(value, np.ndarray) and _are_alike(reference.get(name), value)
    }
    if not pairs:
        return []
    if rows > 1 and all(value.ndim and len(value) == rows for _, value in pairs.values()):
        return [
            _answer({name: (a[i : i + 1], b[i : i + 1]) for name, (a, b) in pairs.items()})
            for i in range(rows)
        ]
    return [_answer(pairs)]


def _are_alike(reference: Any, value: np.ndarray) -> bool:
    return isinstance(reference, np.ndarray) and reference.shape == value.shape and is_float(value.dtype)


def _answer(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> _Answer | None:
    """None where the original's own answer is no number."""
    ratios = [_sqnr(before, after) for before, after in pairs.values()]
    if any(ratio is None for ratio in ratios):
        return None
    worst = min(ratio for ratio in ratios if ratio is not None)
    name = classifier_output({name: after for name, (_, after) in pairs.items()})
    if name is None:
        return _Answer(False, worst, None, None)
    old, new = (int(np.argmax(side.astype(np.float64))) for side in pairs[name])
    return _Answer(old != new, worst, old, new)


def _sqnr(before: np.ndarray, after: np.ndarray) -> float | None:
    signal, noisy = before.astype(np.float64).reshape(-1), after.astype(np.float64).reshape(-1)
    if not np.isfinite(signal).all():
        return None
    noise = signal - noisy
    power = float(noise @ noise)
    if not math.isfinite(power):
        return -SNR_LIMIT
    if power == 0.0:
        return SNR_LIMIT
    return max(10 * math.log10(max(float(signal @ signal), 1e-300) / power), -SNR_LIMIT)


def _thumbnail(feeds: Mapping[str, np.ndarray], place: int) -> str:
    """A PNG in base64 of the first feed that is an image, its values stretched to what a screen shows."""
    for feed in feeds.values():
        pixels = _pixels(feed[place]) if feed.ndim == 4 and place < len(feed) else None
        if pixels is not None:
            return _png(pixels)
    return ""


def _pixels(image: np.ndarray) -> np.ndarray | None:
    """HxWxC (1 or 3 channels) of an image laid out either way; None for what is none."""
    if image.shape[0] in IMAGE_CHANNELS and min(image.shape[1:]) > 4:
        image = np.moveaxis(image, 0, -1)
    elif image.shape[-1] not in IMAGE_CHANNELS or min(image.shape[:2]) <= 4:
        return None
    return image[..., :3] if image.shape[-1] >= 3 else image[..., :1]


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    values = np.nan_to_num(pixels.astype(np.float32))
    low, high = float(values.min()), float(values.max())
    scaled = ((values - low) * (255 / (high - low) if high > low else 0.0)).astype(np.uint8)
    image = Image.fromarray(scaled[..., 0] if scaled.shape[-1] == 1 else scaled)
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()
