"""What compressing each part is predicted to save and to cost, and the best sets of parts.

Each part of a model (a layer to quantize, a group of channels to prune) was tried alone at some levels.
Noise of different parts adds up, as a share of the output's variance; so do their savings.  One multiplier
weighs one against the other: for each value every part takes the level that is cheapest, which gives the
lower convex hull of all sets (H. Everett, "Generalized Lagrange multiplier method", Operations Research 11,
1963).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from graphopt.pipeline.spec.spec import PassSpec, Spec
from graphopt.record.sensitivity import Sensitivity

MOST_POINTS = 60  # shown: of a front
MOST_MULTIPLIERS = 240  # time: tried for a front; a thousand parts take 30 ms
LEFT_IN_INT8 = 0.25  # theory: bytes of an 8-bit weight over those of a float32

Choice = Literal["auto", "keep", "force"]


@dataclass(frozen=True)
class Level:
    """One thing that can be done to a part: the noise it makes, and what it saves.

    ``noise`` is a share of the output's variance, ``parameters`` and ``macs`` are shares of the whole model
    that go; ``stored`` is the share of the model's parameters that is stored in 8 bits.
    """

    level: float
    noise: float
    parameters: float = 0.0
    macs: float = 0.0
    stored: float = 0.0

    @property
    def value(self) -> float:
        """What one multiplier weighs against noise: work and storage saved, as shares of the model's."""
        return self.macs + self.parameters + (1 - LEFT_IN_INT8) * self.stored


@dataclass(frozen=True)
class Part:
    """A part of the model that a pass can change; ``name`` is what the pass calls it."""

    step: str
    name: str
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Point:
    """One set of changes: the level of each part (None: left as it is) and what is predicted."""

    levels: tuple[Level | None, ...]

    @property
    def noise(self) -> float:
        """The share of the output's variance that is noise."""
        return sum(level.noise for level in self.levels if level is not None)

    @property
    def sqnr_db(self) -> float | None:
        """SQNR of the worst output; None where nothing is changed."""
        return -10 * math.log10(self.noise) if self.noise > 0 else None

    @property
    def macs(self) -> float:
        """The share of the multiply-accumulates that is left."""
        return max(1 - sum(level.macs for level in self.levels if level is not None), 0.0)

    @property
    def bytes(self) -> float:
        """The share of the bytes of weights that is left."""
        kept = max(1 - sum(level.parameters for level in self.levels if level is not None), 0.0)
        stored = min(sum(level.stored for level in self.levels if level is not None), 1.0)
        return kept * (1 - (1 - LEFT_IN_INT8) * stored)

    @property
    def value(self) -> float:
        """What is saved, as ``Level.value``."""
        return sum(level.value for level in self.levels if level is not None)


def parts_of(
    study: Sensitivity, step: str, owners: Mapping[str, str], parameters: Mapping[str, int]
) -> list[Part]:
    """The parts that a study tried; a trial that failed or could not be judged is no level.

    ``owners`` are layers by the name of their output, ``parameters`` those of each layer.
    """
    whole, parts = max(study.parameters, 1), []
    for name, points in study.curves().items():
        levels = []
        for point in points:
            if point.error or point.snr_db is None or (step == "quant" and point.level != 8):
                continue
            own = parameters.get(owners.get(name, name), 0)
            levels.append(
                Level(
                    point.level,
                    10 ** (-point.snr_db / 10),
                    parameters=1 - (point.parameters or whole) / whole if step == "prune" else 0.0,
                    macs=1 - (point.macs or 0) / study.macs if step == "prune" and study.macs else 0.0,
                    stored=own / whole if step == "quant" else 0.0,
                )
            )
        if levels:
            parts.append(Part(step, name, tuple(levels)))
    return parts


def front(parts: Sequence[Part], choices: Mapping[tuple[str, str], Choice]) -> list[Point]:
    """The sets that no other beats, from the least change to the most; ``choices`` bind parts."""
    noise, value = _table(parts, choices)
    multipliers = _multipliers(noise, value)
    costs = noise[None] - multipliers[:, None, None] * value[None]  # [multipliers, parts, levels]
    picked = np.unique(np.argmin(costs, axis=2), axis=0)
    order = np.lexsort((_sums(noise, picked), _sums(value, picked)))
    last = len(order) - 1
    if last >= MOST_POINTS:
        order = order[[round(i * last / (MOST_POINTS - 1)) for i in range(MOST_POINTS)]]
    return [
        Point(tuple(None if k == 0 else part.levels[k - 1] for part, k in zip(parts, row, strict=True)))
        for row in picked[order].tolist()
    ]


def _table(parts: Sequence[Part], choices: Mapping[tuple[str, str], Choice]) -> tuple[np.ndarray, np.ndarray]:
    """Noise and value [parts, levels + 1] of each level, the first being no change; infinite if barred."""
    widest = max((len(part.levels) for part in parts), default=0) + 1
    noise, value = np.full((len(parts), widest), np.inf), np.zeros((len(parts), widest))
    for row, part in enumerate(parts):
        choice = choices.get((part.step, part.name), "auto")
        if choice != "force":
            noise[row, 0] = 0.0
        if choice != "keep":
            noise[row, 1 : len(part.levels) + 1] = [level.noise for level in part.levels]
        value[row, 1 : len(part.levels) + 1] = [level.value for level in part.levels]
    return noise, value


def _multipliers(noise: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Values at which some part may change its level, and a little more; of very many an even choice."""
    first, second = np.triu_indices(noise.shape[1], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        slopes = (noise[:, second] - noise[:, first]) / (value[:, second] - value[:, first])
    slopes = np.unique(np.append(slopes[np.isfinite(slopes) & (slopes > 0)], 0.0))
    if len(slopes) > MOST_MULTIPLIERS:
        slopes = slopes[np.linspace(0, len(slopes) - 1, MOST_MULTIPLIERS).round().astype(int)]
    return slopes * (1 + 1e-9) + 1e-300


def _sums(table: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """The sum over parts of the levels that each row picks."""
    sums: np.ndarray = table[np.arange(len(table)), picked].sum(axis=1)
    return sums


def spec_of(parts: Sequence[Part], point: Point, choices: Mapping[tuple[str, str], Choice]) -> str:
    """The passes that make a point, as ``--passes`` takes them."""
    steps = [PassSpec("clean"), PassSpec("fold-bn")]
    chosen = list(zip(parts, point.levels, strict=True))
    if any(part.step == "prune" and level is not None for part, level in chosen):
        steps.append(_prune(chosen, point, choices))
    if any(part.step == "quant" and level is not None for part, level in chosen):
        steps.append(_quant(chosen, choices))
    return str(Spec(tuple(steps)))


def _prune(
    chosen: Sequence[tuple[Part, Level | None]], point: Point, choices: Mapping[tuple[str, str], Choice]
) -> PassSpec:
    """The same multiply-accumulates left, and the channels kept that were asked for."""
    names = (part.name for part, _ in chosen if part.step == "prune")
    vetoed = tuple(_literal(name) for name in names if choices.get(("prune", name)) == "keep")
    exclude = (("exclude", vetoed),) if vetoed else ()
    return PassSpec("prune", (("macs", f"{min(max(point.macs, 0.05), 0.999):.3f}"), *exclude))


def _quant(
    chosen: Sequence[tuple[Part, Level | None]], choices: Mapping[tuple[str, str], Choice]
) -> PassSpec:
    names = (part.name for part, level in chosen if part.step == "quant" and level is None)
    float_parts = tuple(map(_literal, names))
    forced = any(step == "quant" and choice == "force" for (step, _), choice in choices.items())
    exclude = (("exclude", float_parts),) if float_parts else ()
    return PassSpec("quant", (*exclude, *((("keep_noisy_float", "false"),) if forced else ())))


def _literal(name: str) -> str:
    """A name as a pattern that means itself: ``*``, ``?`` and ``[`` stand in brackets."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
