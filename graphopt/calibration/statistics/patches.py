"""What each output position of a linear layer reads (im2col): activations as rows, weights as matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.operators import same_padding

TABLE = 2**20  # memory: taps of one sample whose places are kept for the next, 9 MB


@dataclass(frozen=True)
class Patches:
    """Which inputs each output position of a Conv, ConvTranspose, Gemm or MatMul reads.

    Rows are ordered like the layer's weights: input channel, then kernel position.
    """

    op: str
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()  # beginnings, then ends
    auto_pad: str = "NOTSET"
    extra: tuple[int, ...] = ()  # output_padding of a ConvTranspose
    groups: int = 1
    flipped: bool = False  # Gemm with transB

    @classmethod
    def of(cls, node: ir.Node) -> Patches | str:
        """Return how ``node`` reads its first input, or a sentence that says why that is unknown."""
        weight = node.inputs[1].constant
        if weight is None:
            return "its weights are not constant"
        if node.op == "Gemm":
            if node.attr("transA", 0):
                return "it transposes its input"
            return cls("Gemm", flipped=bool(node.attr("transB", 0)))
        if node.op == "MatMul":
            return cls("MatMul") if weight.ndim == 2 else "its weights are not a matrix"
        auto_pad = str(node.attr("auto_pad", "NOTSET"))
        if node.op == "ConvTranspose" and (auto_pad != "NOTSET" or node.attr("output_shape") is not None):
            return "its padding follows from its output's size"
        rank = weight.ndim - 2
        return cls(
            node.op,
            tuple(weight.shape[2:]),
            _numbers(node, "strides", 1, rank),
            _numbers(node, "dilations", 1, rank),
            _numbers(node, "pads", 0, 2 * rank) if auto_pad == "NOTSET" else (0,) * 2 * rank,
            auto_pad,
            _numbers(node, "output_padding", 0, rank),
            int(node.attr("group", 1)),
        )

    # -- weights as matrices ------------------------------------------------------------------------------

    def shape(self, weight: Sequence[int]) -> tuple[int, int, int]:
        """Return (groups, inputs x kernel, outputs) for weights of this shape."""
        if not self.op.startswith("Conv"):
            return (1, weight[1], weight[0]) if self.flipped else (1, weight[0], weight[1])
        taps = math.prod(self.kernel)
        if self.op == "Conv":
            return self.groups, weight[1] * taps, weight[0] // self.groups
        return self.groups, weight[0] // self.groups * taps, weight[1]

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """Return weights as (groups, inputs x kernel, outputs), float64: what rows are multiplied with."""
        if not self.op.startswith("Conv"):
            return (weight.T if self.flipped else weight)[None].astype(np.float64)
        taps, wide = math.prod(self.kernel), weight.astype(np.float64)
        if self.op == "Conv":  # (out, in / group, *kernel)
            return wide.reshape(self.groups, weight.shape[0] // self.groups, -1).transpose(0, 2, 1)
        inside = weight.shape[0] // self.groups  # (in, out / group, *kernel)
        split = wide.reshape(self.groups, inside, weight.shape[1], taps)
        return split.transpose(0, 1, 3, 2).reshape(self.groups, inside * taps, weight.shape[1])

    def weight(self, matrix: np.ndarray) -> np.ndarray:
        """Return the weights that ``matrix`` makes a matrix of, float64."""
        if not self.op.startswith("Conv"):
            return np.ascontiguousarray(matrix[0].T if self.flipped else matrix[0])
        taps = math.prod(self.kernel)
        groups, rows, outputs = matrix.shape
        if self.op == "Conv":
            return matrix.transpose(0, 2, 1).reshape(groups * outputs, rows // taps, *self.kernel)
        split = matrix.reshape(groups, rows // taps, taps, outputs).transpose(0, 1, 3, 2)
        return split.reshape(groups * (rows // taps), outputs, *self.kernel)

    # -- activations as rows ------------------------------------------------------------------------------

    def result(self, shape: Sequence[int], weight: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of what the layer makes of an input of this shape, with weights of that shape."""
        groups, _, outputs = self.shape(weight)
        if not self.op.startswith("Conv"):
            return (*shape[:-1], outputs)
        return (shape[0], groups * outputs, *self._output_sizes(tuple(shape[2:])))

    def places(self, values: np.ndarray) -> int:
        """Return how many output positions there are for an input."""
        if not self.op.startswith("Conv"):
            return math.prod(values.shape[:-1])
        return int(values.shape[0] * math.prod(self._output_sizes(values.shape[2:])))

    def rows(self, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return what the ``chosen`` output positions read, (groups, chosen, inputs x kernel)."""
        if not self.op.startswith("Conv"):
            return values.reshape(-1, values.shape[-1])[chosen][None]
        _, channels, *sizes = values.shape
        index, inside = self._taps(tuple(sizes), chosen)
        flat = np.moveaxis(values, 1, 0).reshape(channels, -1)
        read = flat.take(index.ravel(), axis=1).reshape(channels, *index.shape)
        if not inside.all():
            read[:, ~inside] = 0
        split = read.reshape(self.groups, channels // self.groups, *index.shape).transpose(0, 2, 1, 3)
        return split.reshape(self.groups, len(chosen), -1)

    def means(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of the rows of all output positions, (groups, inputs x kernel), float64."""
        if not self.op.startswith("Conv"):
            return values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64)[None]
        if self.op == "ConvTranspose":
            every = self.rows(values, np.arange(self.places(values)))
            return np.asarray(every.mean(axis=1, dtype=np.float64))
        sums = values.sum(axis=0)[None] if len(values) > 1 else values
        for axis in range(len(self.kernel)):  # one axis of taps after the other: (taps so far, C, sizes left)
            taps = self._windows(axis, values.shape[2:])
            sums = np.concatenate([sums[:, :, of].sum(axis=2) for of in taps])
        # the taps of the last axis vary slowest
        ordered = sums.reshape(*self.kernel[::-1], values.shape[1]).transpose()
        return ordered.reshape(self.groups, -1).astype(np.float64) / self.places(values)

    def _windows(self, axis: int, sizes: tuple[int, ...]) -> list[slice]:
        """What each tap of a Conv reads along an axis, over all output positions."""
        start, step = self._starts(sizes)[axis], self.strides[axis]
        count = self._output_sizes(sizes)[axis]
        windows = []
        for tap in range(self.kernel[axis]):
            offset = tap * self.dilations[axis] - start
            first = max(0, -(offset // step))
            last = min(count - 1, (sizes[axis] - 1 - offset) // step)
            stop = max(last * step + offset + 1, 0)
            windows.append(slice(first * step + offset, stop, step))
        return windows

    def outputs(self, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return the layer's outputs at the ``chosen`` positions, (groups, chosen, outputs)."""
        if not self.op.startswith("Conv"):
            return values.reshape(-1, values.shape[-1])[chosen][None]
        flat = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)[:, chosen]
        return flat.reshape(self.groups, -1, len(chosen)).transpose(0, 2, 1)

    def _taps(self, sizes: tuple[int, ...], chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each tap of each chosen position lies in the flat input, and whether it lies inside."""
        outer = math.prod(self._output_sizes(sizes))
        if outer * math.prod(self.kernel) > TABLE:
            return self._find_taps(sizes, chosen)
        index, inside = _tap_table(self, sizes)
        sample, place = np.divmod(chosen, outer)
        return index[place] + sample[:, None] * math.prod(sizes), inside[place]

    def _find_taps(self, sizes: tuple[int, ...], chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        outer = self._output_sizes(sizes)
        sample, *at = np.unravel_index(chosen, (int(chosen.max(initial=0)) // math.prod(outer) + 1, *outer))
        index = sample.reshape(-1, 1)
        inside = np.ones((len(chosen), 1), bool)
        starts = self._starts(sizes)
        for axis, size in enumerate(sizes):
            taps = np.arange(self.kernel[axis]) * self.dilations[axis]
            if self.op == "Conv":
                place = at[axis][:, None] * self.strides[axis] - starts[axis] + taps
                good = (place >= 0) & (place < size)
            else:
                ahead = at[axis][:, None] + starts[axis] - taps
                place = ahead // self.strides[axis]
                good = (ahead % self.strides[axis] == 0) & (place >= 0) & (place < size)
            place = np.where(good, place, 0)
            index = (index[:, :, None] * size + place[:, None, :]).reshape(len(chosen), -1)
            inside = (inside[:, :, None] & good[:, None, :]).reshape(len(chosen), -1)
        return index, inside

    def _starts(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The padding before each axis."""
        if not self.auto_pad.startswith("SAME"):
            return self.pads[: len(sizes)]
        pads = same_padding(sizes, self.kernel, self.strides, self.dilations, self.auto_pad)
        return pads[: len(sizes)]

    def _reach(self, axis: int) -> int:
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def _output_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        lengths = []
        for axis, size in enumerate(sizes):
            step, padding = self.strides[axis], self.pads[axis] + self.pads[axis + len(sizes)]
            if self.op == "ConvTranspose":
                lengths.append(step * (size - 1) + self.extra[axis] + self._reach(axis) - padding)
            elif self.auto_pad.startswith("SAME"):
                lengths.append(-(-size // step))
            else:
                lengths.append((size + padding - self._reach(axis)) // step + 1)
        return tuple(lengths)


def _numbers(node: ir.Node, name: str, default: int, count: int) -> tuple[int, ...]:
    given = node.attr(name)
    return tuple(int(number) for number in given) if given is not None else (default,) * count


@lru_cache(maxsize=4)
def _tap_table(patches: Patches, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What every output position of one sample reads; the samples that follow are of the same size."""
    places = np.arange(math.prod(patches._output_sizes(sizes)))
    return patches._find_taps(sizes, places)
