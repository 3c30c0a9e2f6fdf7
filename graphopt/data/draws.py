"""How the values of synthetic inputs are drawn: several ways, because not every model takes every number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graphopt.data.element_types import is_float, is_integer, is_text

if TYPE_CHECKING:
    from graphopt.ir import InputRole

WORDS = ("alpha", "Beta", "gamma delta", "1", "Epsilon", "zeta, eta", "", "monday")


@dataclass(frozen=True)
class Style:
    """One way of drawing: normal or uniform floats, and whole numbers from ``low`` below ``high``."""

    name: str
    floats: Literal["normal", "positive", "ones", "zeros"] = "normal"
    low: int = 0
    high: int = 2
    images: bool = True  # whether inputs that look like images get images


PLAUSIBLE = Style("plausible")
POSITIVE = Style("positive", "positive", 1, 2, images=False)
STYLES = (
    PLAUSIBLE,
    POSITIVE,
    Style("ones", "ones", 1, 2, images=False),
    Style("small", "normal", 0, 4, images=False),
    Style("zeros", "zeros", 0, 1, images=False),
)


def can_draw(dtype: np.dtype[Any] | None) -> bool:
    """Whether values of this type can be drawn: numbers of any width, booleans and texts."""
    return dtype is not None and (dtype.kind == "b" or is_text(dtype) or is_float(dtype) or is_integer(dtype))


def draw(
    rng: np.random.Generator,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    style: Style = PLAUSIBLE,
    role: InputRole | None = None,
) -> np.ndarray:
    """Values of one input; ``role`` says what the model takes there, which goes before the style."""
    if role is not None and role.value is not None and len(role.value) == np.prod(shape, dtype=int):
        return np.array(role.value, np.float64).reshape(shape).astype(dtype)
    if is_text(dtype):
        return _texts(rng, shape)
    if dtype.kind == "b":
        return (
            np.asarray(rng.random(shape) < 0.5)
            if style.high - style.low > 1
            else np.full(shape, style.low > 0)
        )
    if is_integer(dtype):
        return _integers(rng, shape, style, role).astype(dtype)
    values = _floats(rng, shape, style)
    if role is not None and role.low > 0:
        values = np.abs(values) + 0.1  # a variance or a divisor
    return np.asarray(values).astype(dtype)


def _texts(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    picks = (rng.random(shape) * len(WORDS)).astype(np.int64)
    texts = np.empty(shape, object)
    texts[...] = np.array(WORDS, object)[picks]
    return texts


def _integers(
    rng: np.random.Generator, shape: tuple[int, ...], style: Style, role: InputRole | None
) -> np.ndarray:
    low, high = style.low, style.high
    if role is not None:
        low = max(low, int(role.low))
        high = max(high, low + 1)
        if role.high is not None:
            low, high = min(low, role.high - 1), role.high if style is PLAUSIBLE else min(high, role.high)
    if not shape:
        return np.array(min(max(1, low), high - 1))
    return low + np.floor(rng.random(shape) * (high - low)).astype(np.int64)


def _floats(rng: np.random.Generator, shape: tuple[int, ...], style: Style) -> Any:
    if style.floats == "zeros":
        return np.zeros(shape)
    if style.floats == "ones" or not shape:
        return np.ones(shape)
    return rng.standard_normal(shape) if style.floats == "normal" else 0.1 + 0.9 * rng.random(shape)
