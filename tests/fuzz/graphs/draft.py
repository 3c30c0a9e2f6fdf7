"""A graph in the making whose tensors carry their shapes; each operator is written as its opset wants it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.corpus._net import Net, Operand, ints

MOST = 160  # numbers in one row of a tensor: blocks that grow look at this before they do
FEW = 24  # channels


@dataclass(frozen=True)
class Feature:
    """A float tensor of the growing graph; the first dimension is the batch."""

    name: str
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def row(self) -> int:
        """The numbers in one sample."""
        return int(np.prod(self.shape[1:]))


@dataclass(frozen=True)
class Port:
    """A graph input: its shape at the batch the graph was drawn with, and what samples of it look like."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    kind: str = "normal"  # normal, ids, mask
    high: int = 0  # ids lie below it
    batched: bool = True


@dataclass
class Output:
    """A graph output and what is declared of it."""

    name: str
    shape: tuple[int, ...] | None
    dtype: np.dtype


@dataclass
class Side:
    """What the graph has besides its features."""

    ports: list[Port] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    domains: set[str] = field(default_factory=set)


class Draft(Net):
    """A net with the features that blocks can build on."""

    def __init__(self, seed: int, *, opset: int, dtype: Any, batch: int, dynamic: bool) -> None:
        super().__init__(seed, dtype)
        self.opset, self.batch, self.dynamic = opset, batch, dynamic
        self.features: list[Feature] = []
        self.side = Side()

    # -- draws --------------------------------------------------------------------------------------------

    def flip(self, chance: float = 0.5) -> bool:
        """True with this chance."""
        return bool(self.rng.random() < chance)

    def pick(self, *values: Any) -> Any:
        """One of the values."""
        return values[int(self.rng.integers(len(values)))]

    def divisor(self, number: int, *wanted: int) -> int:
        """One of the wanted numbers that divide ``number``; 1 when none does."""
        fitting = [value for value in wanted if number % value == 0] or [1]
        return int(self.pick(*fitting))

    def channels(self) -> int:
        """A number of channels."""
        return int(self.pick(1, 2, 3, 4, 4, 6, 8, 8, 12, 16))

    def like(self, x: Feature) -> Feature:
        """A feature of the same shape, an earlier one when there is one."""
        same = [other for other in self.features if other.shape == x.shape and other.name != x.name]
        return self.pick(*same) if same else x

    # -- constants ----------------------------------------------------------------------------------------

    def weight(self, *shape: int, fan: int, name: str = "") -> str:
        """A weight that keeps the size of what it multiplies; now and then some rows are zero."""
        values = self.rng.standard_normal(shape) / np.sqrt(max(fan, 1))
        if self.flip(0.15) and shape[0] > 1:
            values[self.rng.random(shape[0]) < 0.4] = 0.0
        return self.const(values.astype(self.dtype), name)

    def vector(self, *shape: int, scale: float = 0.3, middle: float = 0.0) -> str:
        """Small numbers about a middle: biases, shifts, scales."""
        return self.const((middle + scale * self.rng.standard_normal(shape)).astype(self.dtype))

    def number(self, value: float, *shape: int) -> str:
        """A constant of the graph's type."""
        return self.const(np.full(shape, value, self.dtype))

    # -- inputs and outputs -------------------------------------------------------------------------------

    def port(self, name: str, *row: int, kind: str = "normal", high: int = 0, batched: bool = True) -> str:
        """Add a graph input with rows of this shape."""
        dtype = {"ids": np.dtype(np.int64), "mask": np.dtype(bool)}.get(kind, self.dtype)
        shape = (self.batch, *row) if batched else row
        self.side.ports.append(Port(name, shape, dtype, kind, high, batched))
        return self.input(name, self.declared(shape, batched), dtype)

    def declared(self, shape: Sequence[int], batched: bool = True) -> list[int | str]:
        """The shape as declared: with a dynamic batch the first dimension is a symbol."""
        open_batch = self.dynamic and batched and len(shape) > 0 and shape[0] == self.batch
        return ["N", *shape[1:]] if open_batch else list(shape)

    def output(self, name: str, shape: tuple[int, ...] | None, dtype: Any = None) -> None:
        """Let a tensor be a graph output too; a second time changes nothing."""
        if all(other.name != name for other in self.side.outputs):
            kind = np.dtype(dtype if dtype is not None else self.dtype)
            self.side.outputs.append(Output(name, shape, kind))

    # -- operators whose form depends on the opset ----------------------------------------------------------

    def reshape(self, x: str, *sizes: int) -> str:
        """Reshape; 0 keeps a size, -1 takes what is left."""
        return self.op("Reshape", x, ints(*sizes))

    def squeeze(self, x: str, *axes: int) -> str:
        """Squeeze along axes."""
        return self.op("Squeeze", x, ints(*axes)) if self.opset >= 13 else self.op("Squeeze", x, axes=axes)

    def unsqueeze(self, x: str, *axes: int) -> str:
        """Unsqueeze at axes."""
        if self.opset >= 13:
            return self.op("Unsqueeze", x, ints(*axes))
        return self.op("Unsqueeze", x, axes=axes)

    def reduce(self, op: str, x: str, axes: Sequence[int] | None, keepdims: bool = True) -> str:
        """Reduce over axes, all when None."""
        since = 13 if op == "ReduceSum" else 18
        if axes is None:
            return self.op(op, x, keepdims=int(keepdims))
        if self.opset >= since:
            return self.op(op, x, ints(*axes), keepdims=int(keepdims))
        return self.op(op, x, axes=list(axes), keepdims=int(keepdims))

    def split(self, x: str, axis: int, *sizes: int) -> list[str]:
        """Split along an axis into parts of these sizes."""
        if self.opset >= 13:
            equal = len(set(sizes)) == 1 and self.flip()
            if equal and self.opset >= 18:
                return self.many(len(sizes), "Split", x, axis=axis, num_outputs=len(sizes))
            return self.many(len(sizes), "Split", x, *([] if equal else [ints(*sizes)]), axis=axis)
        return self.many(len(sizes), "Split", x, axis=axis, split=list(sizes))

    def slice(self, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
        """Slice one axis."""
        if self.opset >= 10:
            return self.op("Slice", x, ints(start), ints(end), ints(axis), ints(step))
        if step != 1:
            raise UnfitError("Slice has no steps below opset 10")
        return self.op("Slice", x, axes=[axis], starts=[start], ends=[end])

    def clip(self, x: str, low: float | None, high: float | None) -> str:
        """Clip between bounds that may be absent."""
        if self.opset >= 11:
            bounds: list[Operand] = [None if b is None else self.number(b) for b in (low, high)]
            while bounds and bounds[-1] is None:
                bounds.pop()
            return self.op("Clip", x, *bounds)
        given = {"min": low, "max": high}
        return self.op("Clip", x, **{key: value for key, value in given.items() if value is not None})

    def pad(self, x: str, pads: Sequence[int], mode: str = "constant", value: float = 0.0) -> str:
        """Pad all axes."""
        if self.opset >= 11:
            values = [self.number(value)] if value else []
            return self.op("Pad", x, ints(*pads), *values, mode=mode)
        return self.op("Pad", x, pads=list(pads), mode=mode, value=value)

    def softmax(self, x: str, rank: int, axis: int, op: str = "Softmax") -> str:
        """Softmax along one axis; below opset 13 only the last one means the same."""
        if self.opset < 13:
            axis = rank - 1
        return self.op(op, x, axis=axis)

    def dense(self, x: str, rows: int, columns: int, *, bias: bool = True) -> str:
        """MatMul with a constant and an Add behind it, on the last axis."""
        y = self.op("MatMul", x, self.weight(rows, columns, fan=rows))
        if not bias:
            return y
        operands = [y, self.vector(columns)]
        return self.op("Add", *(operands if self.flip(0.7) else reversed(operands)))


class UnfitError(Exception):
    """A block does not go with what it was asked to build on; the recipe leaves it out."""
