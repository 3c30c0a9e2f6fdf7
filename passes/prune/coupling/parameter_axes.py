"""The axes of constants that follow channels, and how they are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from graphopt import ir

from .ids import Ids

# out: makes the channel; in: reads it; scale: keeps a zero channel zero; shift: adds to it
Role = Literal["out", "in", "scale", "shift"]


@dataclass(frozen=True, slots=True)
class ParameterAxis:
    """An axis of a constant input that has one entry for each channel.

    The weights of a grouped convolution have other channels along the same axis in every group: there axis 0
    falls into ``groups`` blocks, each block has its own channels along ``axis``, and ``ids`` holds those of
    the first block, then those of the second, and so on.
    """

    node: ir.Node
    index: int
    axis: int
    ids: Ids  # (groups * constant.shape[axis],)
    role: Role
    groups: int = 1

    @property
    def values(self) -> ir.Array:
        """The constant."""
        values = self.node.inputs[self.index].constant
        assert values is not None  # rules make slots for constants only
        return values

    def rows(self) -> ir.Array:
        """Return what belongs to each channel as rows, (ids, everything else)."""
        values = self.values
        if self.groups == 1:
            return np.moveaxis(values, self.axis, 0).reshape(len(self.ids), -1)
        return np.moveaxis(self._blocks(values), self.axis + 1, 1).reshape(len(self.ids), -1)

    def cut(self, values: ir.Array, kept: np.ndarray) -> ir.Array:
        """Return ``values``, whose other axes may be cut already, with the kept channels only.

        ``kept`` is a mask over ``ids``; of a grouped axis it keeps equally many in every block.
        """
        if self.groups == 1:
            return values.compress(kept, self.axis)
        masks = kept.reshape(self.groups, -1)
        blocks = zip(self._blocks(values), masks, strict=True)
        return np.concatenate([block.compress(mask, self.axis) for block, mask in blocks])

    def zeroed(self, values: ir.Array, removed: np.ndarray) -> ir.Array:
        """Return a copy with zeros in place of the removed channels; ``removed`` is a mask over ``ids``."""
        values = np.array(values)
        masks = removed.reshape(self.groups, -1)
        for block, mask in zip(self._blocks(values), masks, strict=True):
            np.moveaxis(block, self.axis, 0)[mask] = 0
        return values

    def width(self, kept: np.ndarray) -> int:
        """Return how long the axis is when these channels are kept."""
        return int(kept.sum()) // self.groups

    def _blocks(self, values: ir.Array) -> ir.Array:
        return values.reshape(self.groups, values.shape[0] // self.groups, *values.shape[1:])
