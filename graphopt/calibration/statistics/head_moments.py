"""Second moments of the channels of each head of attention."""

from __future__ import annotations

import math
import zlib

import numpy as np

from graphopt.calibration.statistics.base import State
from graphopt.errors import DataError


class HeadMoments:
    """Sums and sums of products of the channels of each head over all tokens; float64.

    ``columns`` are the places of a head's channels along ``axis``, as text: "0 1 2;3 4 5" are two heads of
    three; without any, all channels are one head.  With ``centred`` the mean over the tokens of a sequence is
    taken off first: what is the same for all keys changes no Softmax.  ``products`` is (heads, size, size),
    ``sums`` (heads, size), ``count`` the number of tokens.
    """

    def __init__(self, columns: str = "", axis: int = -1, centred: bool = False) -> None:
        self.columns = columns
        self.axis = axis
        self.centred = centred
        self.count = 0
        self.nonfinite = 0
        self.sums = self.products = np.zeros(0)

    @property
    def key(self) -> str:
        return f"HeadMoments({zlib.crc32(self.columns.encode())}, {self.axis}, {self.centred})"

    @staticmethod
    def text_of(columns: np.ndarray) -> str:
        """What says these columns, (heads, size)."""
        return ";".join(" ".join(map(str, head)) for head in np.asarray(columns).tolist())

    @property
    def second(self) -> np.ndarray:
        """E[x x^T] of each head, (heads, size, size)."""
        mean: np.ndarray = self.products / max(self.count, 1)
        return mean

    @property
    def covariance(self) -> np.ndarray:
        """E[x x^T] - E[x] E[x]^T of each head, (heads, size, size)."""
        mean = self.sums / max(self.count, 1)
        covariance: np.ndarray = self.second - mean[:, :, None] * mean[:, None, :]
        return covariance

    def update(self, values: np.ndarray) -> None:
        """Take in one sample's tensor, (sequences, ..., channels) with the channels on ``axis``."""
        if not -values.ndim <= self.axis < values.ndim:
            raise DataError(f"of shape {values.shape} has no axis {self.axis}")
        tokens = tokens_of(values, self.axis)
        columns = self._places(tokens.shape[2])
        if columns.max(initial=-1) >= tokens.shape[2] or self.sums.shape not in ((0,), columns.shape):
            raise DataError(f"has {tokens.shape[2]} channels where another number was seen")
        finite = np.isfinite(tokens).all(axis=(1, 2))
        self.nonfinite += int((~np.isfinite(tokens)).sum())
        heads = tokens[finite][:, :, columns].astype(np.float64)  # (sequences, tokens, heads, size)
        if self.centred and heads.size:
            heads = heads - heads.mean(axis=1, keepdims=True)
        rows = heads.reshape(heads.shape[0] * heads.shape[1], *columns.shape).transpose(1, 0, 2)
        sums, products = rows.sum(axis=1), rows.transpose(0, 2, 1) @ rows
        self.count += rows.shape[1]
        self.sums, self.products = _plus(self.sums, sums), _plus(self.products, products)

    def _places(self, channels: int) -> np.ndarray:
        """The columns, (heads, size)."""
        if not self.columns:
            return np.arange(channels)[None]
        return np.asarray([head.split() for head in self.columns.split(";")], np.int64)

    def merge(self, other: HeadMoments) -> HeadMoments:
        """The sums over both sets of samples."""
        if self.key != other.key:
            raise ValueError(f"{self.key} and {other.key} do not add up")
        merged = HeadMoments(self.columns, self.axis, self.centred)
        first, second = self.state(), other.state()
        merged.restore({name: _plus(first[name], second[name]) for name in first})
        return merged

    def state(self) -> State:
        seen = np.array([self.count, self.nonfinite], np.int64)
        return {"seen": seen, "sums": self.sums, "products": self.products}

    def restore(self, state: State) -> None:
        self.count, self.nonfinite = (int(number) for number in state["seen"])
        self.sums, self.products = np.array(state["sums"]), np.array(state["products"])


def _plus(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The sum, where an empty array stands for nothing seen yet."""
    if not (first.size and second.size):
        return np.array(first if first.size else second)
    total: np.ndarray = first + second
    return total


def tokens_of(values: np.ndarray, axis: int) -> np.ndarray:
    """Return a tensor as (sequences, tokens, channels), given the axis of its channels."""
    last = np.moveaxis(values, axis, -1)
    sequences = last.shape[0] if last.ndim > 2 else 1
    inner = last.shape[1:-1] if last.ndim > 2 else last.shape[:-1]
    return last.reshape(sequences, math.prod(inner), last.shape[-1])
