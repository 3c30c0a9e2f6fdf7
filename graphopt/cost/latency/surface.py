"""Time of a layer over its widths: a staircase with a step for every block of channels.

onnxruntime keeps activations in blocks of channels (16 with AVX-512, 8 with AVX2) and computes whole blocks,
so that 36 channels take as long as 48.  At whole blocks the time is close to a + b*i + c*o + d*i*o in
input blocks i and output blocks o, which a few measured widths and interpolation between them give.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt.cost.latency.layer_shape import LayerShape

if TYPE_CHECKING:
    from graphopt.cost.latency.table import LatencyTable

ALIGNMENT = 4  # fixed: channel counts that are no multiple of it leave onnxruntime's blocked kernels
# time: of the full width, measured besides a single block; widths between are interpolated
_FRACTIONS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class LatencySurface:
    """Time of one layer at any width up to its own.

    ``inputs`` [n] and ``outputs`` [m] are the measured steps in channels, ``milliseconds`` [n, m] the times
    there, which never fall with a width.  Where outputs follow inputs, as in depthwise convolutions,
    there is one column.  ``unaligned`` is how many times longer the layer takes with widths that are no
    multiples of four.
    """

    layer: LayerShape
    block: int
    inputs: np.ndarray
    outputs: np.ndarray
    milliseconds: np.ndarray
    unaligned: float = 1.0

    def __call__(self, inputs: np.ndarray | int, outputs: np.ndarray | int | None = None) -> np.ndarray:
        """Milliseconds at these widths, arrays of one shape or numbers; outputs as they are by default."""
        outputs = self.layer.outputs if outputs is None else outputs
        left, right = np.broadcast_arrays(np.asarray(inputs), np.asarray(outputs))
        rows, row = _between(self.inputs, self._step(left, self.layer.inputs))
        columns, column = _between(self.outputs, self._step(right, self.layer.outputs))
        grid = self.milliseconds
        if len(self.outputs) == 1:
            columns, column = np.zeros_like(rows), np.zeros_like(row)
        following = np.minimum(columns + 1, len(self.outputs) - 1)
        below = (1 - column) * grid[rows, columns] + column * grid[rows, following]
        rows = np.minimum(rows + 1, len(self.inputs) - 1)
        above = (1 - column) * grid[rows, columns] + column * grid[rows, following]
        return ((1 - row) * below + row * above) * np.where(
            self._leaves_blocks(left, right), self.unaligned, 1
        )

    def _step(self, widths: np.ndarray, full: int) -> np.ndarray:
        return np.minimum(-(-widths // self.block) * self.block, full)

    def _leaves_blocks(self, inputs: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Where a width is no multiple of four though the layer's own is one."""
        left = (inputs % ALIGNMENT != 0) & (self.layer.inputs % ALIGNMENT == 0)
        right = (outputs % ALIGNMENT != 0) & (self.layer.outputs % ALIGNMENT == 0)
        return left | right


def latency_surfaces(
    table: LatencyTable,
    layers: Sequence[LayerShape],
    *,
    block: int = 16,
    unaligned: bool = False,
    fractions: Sequence[float] = _FRACTIONS,
) -> list[LatencySurface]:
    """The staircase of each layer, all measured in one sitting.

    About 25 widths a layer are measured, 5 where outputs follow inputs: one block and ``fractions`` of the
    full width.  With ``unaligned`` one more tells what widths that are no multiples of four cost; without,
    they count as if they were.
    """
    distinct = dict.fromkeys(layers)
    wanted = {layer: [*_grid(layer, block, fractions), *_odd(layer, unaligned)] for layer in distinct}
    flat = list(dict.fromkeys(itertools.chain.from_iterable(wanted.values())))
    times = dict(zip(flat, table.milliseconds(flat).tolist(), strict=True))
    made = {layer: _staircase(layer, block, times, unaligned, fractions) for layer in distinct}
    return [made[layer] for layer in layers]


def steps(full: int, block: int, fractions: Sequence[float] = _FRACTIONS) -> list[int]:
    """The widths to measure up to ``full``: one block, and quarters of the width in whole blocks."""
    wanted = [block, *(block * max(1, round(full * part / block)) for part in fractions)]
    return sorted({min(width, full) for width in wanted} | {full})


def _widths(layer: LayerShape, block: int, fractions: Sequence[float]) -> tuple[list[int], list[int]]:
    """Input and output steps; widths that a grouped convolution cannot have are left out."""
    if layer.is_tied:
        return steps(layer.inputs, block, fractions), [layer.outputs]
    group = layer.group
    inputs, outputs = steps(layer.inputs, block, fractions), steps(layer.outputs, block, fractions)
    return [w for w in inputs if w % group == 0], [w for w in outputs if w % group == 0]


def _grid(layer: LayerShape, block: int, fractions: Sequence[float]) -> Iterable[LayerShape]:
    inputs, outputs = _widths(layer, block, fractions)
    if layer.is_tied:
        return [layer.with_widths(inputs=width) for width in inputs]
    return [layer.with_widths(*pair) for pair in itertools.product(inputs, outputs)]


def _odd(layer: LayerShape, unaligned: bool) -> list[LayerShape]:
    """The layer with one channel less on either side, where it may have that."""
    if not unaligned or layer.inputs % ALIGNMENT or min(layer.inputs, layer.outputs) <= ALIGNMENT:
        return []
    if layer.is_tied:
        return [layer.with_widths(inputs=layer.inputs - 1)]
    if layer.group > 1:
        return []
    return [layer.with_widths(layer.inputs - 1, layer.outputs - 1)]


def _staircase(
    layer: LayerShape,
    block: int,
    times: dict[LayerShape, float],
    unaligned: bool,
    fractions: Sequence[float],
) -> LatencySurface:
    inputs, outputs = _widths(layer, block, fractions)
    grid = np.array([times[one] for one in _grid(layer, block, fractions)]).reshape(len(inputs), len(outputs))
    odd = [times[one] / times[layer] for one in _odd(layer, unaligned) if times[layer] > 0]
    factor = max(1.0, *odd) if odd else 1.0
    return LatencySurface(layer, block, np.array(inputs), np.array(outputs), monotone(grid), factor)


def monotone(grid: np.ndarray) -> np.ndarray:
    """The middle between the lowest surface above ``grid`` and the highest below that never fall."""
    above = np.maximum.accumulate(np.maximum.accumulate(grid, 0), 1)
    flipped = np.minimum.accumulate(np.minimum.accumulate(grid[::-1, ::-1], 0), 1)
    return (above + flipped[::-1, ::-1]) / 2


def _between(steps: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the step at or below each width, and how far it is to the next, 0..1; below all: the first."""
    widths = np.clip(widths, steps[0], steps[-1])
    index = np.clip(np.searchsorted(steps, widths, "right") - 1, 0, len(steps) - 1)
    following = np.minimum(index + 1, len(steps) - 1)
    gap = np.maximum(steps[following] - steps[index], 1)
    return index, (widths - steps[index]) / gap
