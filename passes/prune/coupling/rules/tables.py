"""Where the channels of one axis come to lie when a tensor is given another shape.

Entries keep their order in memory, so the new axes that vary in channels are those that cut the old axis up
or merge it with its neighbours; the others repeat the same ids.  Only the former are written out, in units of
as many neighbouring entries as always belong to the same channel: a table is as long as the axes that it
describes, never as the tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..ids import Ids


@dataclass(frozen=True)
class Table:
    """The ids of a tensor: those of the new axes from ``first`` on; along all other axes they are the same.

    The last axis of ``ids`` counts in ``unit`` neighbouring entries of the tensor.
    """

    ids: Ids
    first: int
    unit: int = 1

    @property
    def varying(self) -> list[int]:
        """The axes of the tensor along which channels change."""
        return [
            self.first + axis for axis in range(self.ids.ndim) if np.any(self.ids != self.ids.take([0], axis))
        ]

    def width(self, axis: int) -> int:
        """Return the number of entries of the tensor along one of these axes."""
        return int(self.ids.shape[axis - self.first]) * self._unit(axis)

    def rows(self, axis: int) -> Ids:
        """Return the different ways in which channels lie along an axis, (ways, units)."""
        along = self.ids.shape[axis - self.first]
        rows: Ids = np.moveaxis(self.ids, axis - self.first, -1).reshape(-1, along)
        return np.unique(rows, axis=0) if len(self.varying) > 1 else rows[:1]

    def along(self, axis: int, units: Ids) -> Ids:
        """Return ids for every entry of the tensor along an axis, given those of its units."""
        return np.repeat(units, self._unit(axis))

    def _unit(self, axis: int) -> int:
        return self.unit if axis - self.first == self.ids.ndim - 1 else 1


def table_of(ids: Ids, axis: int, old: tuple[int, ...], new: tuple[int, ...]) -> Table:
    """Return where ``ids``, which lie along ``axis`` of a tensor of shape ``old``, lie in shape ``new``."""
    if 0 in old or len(ids) == 0:
        return Table(np.zeros(1, np.int64), 0)
    inner, span = math.prod(old[axis + 1 :]), math.prod(old[axis:])  # entries of one channel, of all channels
    last = _innermost(new, inner)
    first = _outermost(new, span)
    sizes, below = list(new[first:last]), math.prod(new[last:])
    inner //= below  # now in steps of the last of these axes
    unit = math.gcd(inner, sizes[-1]) if sizes else 1
    if sizes:
        sizes[-1] //= unit
    places = np.arange(math.prod(sizes), dtype=np.int64) // (inner // unit) % len(ids)
    return Table(ids[places].reshape(sizes or [1]), first, unit)


def _innermost(shape: tuple[int, ...], inner: int) -> int:
    """How many leading axes to look at: those behind them lie within the entries of one channel."""
    last = len(shape)
    while last and inner % math.prod(shape[last - 1 :]) == 0:
        last -= 1
    return last


def _outermost(shape: tuple[int, ...], span: int) -> int:
    """The first axis to look at: along those before it all channels repeat."""
    first = 0
    while first < len(shape) and math.prod(shape[first + 1 :]) % span == 0:
        first += 1
    return first
