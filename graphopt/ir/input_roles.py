"""What a model does with its whole-number inputs: which values they may take.

A shape that Reshape reads, an index that Gather looks up, the count of TopK: numbers drawn at random make
such models fail, though nothing is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.ir.analysis.facts import Facts, gather_facts
from graphopt.ir.node import Node

if TYPE_CHECKING:
    from graphopt.ir.model import Model
    from graphopt.ir.tensor import Tensor

_PASSING = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten")
_LONGEST = 64  # elements of an input that can be a shape, a list of axes or of pads


@dataclass(frozen=True)
class InputRole:
    """The values an input may take: ``value`` flat and in order, or numbers from ``low`` below ``high``."""

    value: tuple[float, ...] | None = None
    low: float = 0
    high: int | None = None


def input_roles(model: Model, shapes: Mapping[str, Sequence[int]]) -> dict[str, InputRole]:
    """Roles by input name, for inputs whose consumers limit their values; ``shapes`` are what they run at."""
    facts = gather_facts(model, shapes)
    filled = set(model.graph.initializers)
    made: dict[str, InputRole] = {}
    for tensor in model.graph.inputs:
        if tensor in filled:
            continue
        roles = [role for node, place in _uses(tensor) if (role := _role(node, place, tensor, facts))]
        if roles:
            made[tensor.name] = _joined(roles)
    return made


def _uses(tensor: Tensor) -> Iterator[tuple[Node, int]]:
    """Nodes that read a tensor and at which input, also behind operators that pass its numbers on."""
    pending, seen = [tensor], {tensor}
    while pending:
        for node in dict.fromkeys(pending.pop().outputs):
            for place, read in enumerate(node.inputs):
                if read in seen:
                    yield node, place
            if node.is_standard and node.op in _PASSING and node.inputs[0] in seen and node.outputs:
                result = node.outputs[0]
                if result not in seen:
                    seen.add(result)
                    pending.append(result)


def _joined(roles: Sequence[InputRole]) -> InputRole:
    """One role for all uses: the first fixed value, else the narrowest bounds."""
    for role in roles:
        if role.value is not None:
            return role
    highs = [role.high for role in roles if role.high is not None]
    return InputRole(low=max(role.low for role in roles), high=min(highs, default=None))


def _role(node: Node, place: int, tensor: Tensor, facts: Facts) -> InputRole | None:
    if not node.is_standard:
        return _ROLES_ELSEWHERE.get((node.op, place), _nothing)(_Use(node, place, tensor, facts))
    return _ROLES.get((node.op, place), _nothing)(_Use(node, place, tensor, facts))


@dataclass(frozen=True)
class _Use:
    """One read of an input: what is known of the node around it."""

    node: Node
    place: int
    tensor: Tensor
    facts: Facts

    @property
    def count(self) -> int | None:
        """Elements of the input."""
        shape = self.facts.static_shape(self.tensor)
        if shape is None:
            return None
        count = 1
        for size in shape:
            count *= size
        return count if count <= _LONGEST else None

    @property
    def result(self) -> tuple[int, ...] | None:
        """Shape of what the node makes."""
        return self.facts.static_shape(self.node.outputs[0])

    def shape(self, place: int = 0) -> tuple[int, ...] | None:
        """Shape of what the node reads as input ``place``."""
        if place >= len(self.node.inputs) or not self.node.inputs[place].name:
            return None
        return self.facts.static_shape(self.node.inputs[place])

    def axes(self, place: int, rank: int, count: int) -> list[int]:
        """The axes that an input or attribute of the node names; the first ones when none are."""
        named = self.node.attr("axes")
        if named is None and place < len(self.node.inputs):
            value = self.facts.known_value(self.node.inputs[place])
            named = None if value is None else value.reshape(-1).tolist()
        return [int(axis) % max(rank, 1) for axis in named] if named is not None else list(range(count))


def _nothing(use: _Use) -> InputRole | None:
    return None


def _fixed(numbers: Sequence[float] | None) -> InputRole | None:
    return None if numbers is None else InputRole(tuple(numbers))


def _new_shape(use: _Use) -> InputRole | None:
    count, result, data = use.count, use.result, use.shape()
    if count is None:
        return None
    if result is not None and len(result) == count:
        return _fixed(result)
    if data is not None and len(data) == count:
        return _fixed(data)
    return _fixed([1] * (count - 1) + [-1] if count else [])


def _sizes_of_result(use: _Use) -> InputRole | None:
    count, result = use.count, use.result
    if count is None:
        return None
    return _fixed(result if result is not None and len(result) == count else [1] * count)


def _chosen_sizes(use: _Use) -> InputRole | None:
    """Sizes along some axes: those of the result, else those there are."""
    count, sizes = use.count, use.result or use.shape()
    if count is None or sizes is None:
        return None
    axes = use.axes(-1, len(sizes), count)
    return _fixed([sizes[axis] for axis in axes[:count]] if len(axes) >= count else None)


def _factors(use: _Use) -> InputRole | None:
    """How many times larger the result is along each axis."""
    count, result, data = use.count, use.result, use.shape()
    if count is None:
        return None
    if result is None or data is None or not len(result) == len(data) == count or 0 in data:
        return _fixed([1] * count)
    return _fixed([r / d for r, d in zip(result, data, strict=True)])


def _pads(use: _Use) -> InputRole | None:
    count, result, data = use.count, use.result, use.shape()
    if count is None:
        return None
    if result is None or data is None or len(result) != len(data) or count != 2 * len(data):
        return _fixed([0] * count)
    more = [r - d for r, d in zip(result, data, strict=True)]
    return _fixed([m // 2 for m in more] + [m - m // 2 for m in more])


def _ends(use: _Use) -> InputRole | None:
    count, data = use.count, use.shape()
    if count is None or data is None:
        return None
    axes = use.axes(3, len(data), count)
    return _fixed([data[axis] if axis < len(data) else 1 for axis in axes[:count]])


def _axes(use: _Use) -> InputRole | None:
    return _fixed(None if use.count is None else list(range(use.count)))


def _axes_of_one(use: _Use) -> InputRole | None:
    data = use.shape()
    if data is None or use.count is None:
        return None
    ones = [axis for axis, size in enumerate(data) if size == 1]
    return _fixed(ones[: use.count])


def _parts(use: _Use) -> InputRole | None:
    """Sizes of the parts that Split makes."""
    data, count = use.shape(), use.count
    if data is None or not count:
        return None
    whole = data[use.node.attr("axis", 0)]
    return _fixed([whole // count] * (count - 1) + [whole - whole // count * (count - 1)])


def _index(table: int = 0) -> Callable[[_Use], InputRole | None]:
    """Indices into input ``table`` along the node's axis."""

    def role(use: _Use) -> InputRole | None:
        data, axis = use.shape(table), use.node.attr("axis", 0)
        if not data or not -len(data) <= axis < len(data):
            return None
        return InputRole(high=max(data[axis], 1))

    return role


def _index_of_many_axes(use: _Use) -> InputRole | None:
    data = use.shape()
    return InputRole(high=max(min(data), 1)) if data else None


def _constant(value: float) -> Callable[[_Use], InputRole | None]:
    def role(use: _Use) -> InputRole | None:
        return _fixed(None if use.count is None else [value] * use.count)

    return role


def _at_least(low: float) -> Callable[[_Use], InputRole | None]:
    return lambda use: InputRole(low=low)


def _limit_of_range(use: _Use) -> InputRole | None:
    result = use.result
    return _fixed([result[0] if result else 4])


def _depth(use: _Use) -> InputRole | None:
    result = use.result
    axis = use.node.attr("axis", -1)
    return _fixed([result[axis] if result else 4])


def _sequence_lengths(use: _Use) -> InputRole | None:
    data, count = use.shape(), use.count
    return _fixed(None if data is None or count is None else [data[0]] * count)


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_ROLES: dict[tuple[str, int], Callable[[_Use], InputRole | None]] = {
    ("Reshape", 1): _new_shape,
    ("Expand", 1): _sizes_of_result,
    ("ConstantOfShape", 0): _sizes_of_result,
    ("Tile", 1): _factors,
    ("Upsample", 1): _factors,
    ("Resize", 2): _factors,
    ("Resize", 3): _chosen_sizes,
    ("CenterCropPad", 1): _chosen_sizes,
    ("MaxUnpool", 2): _sizes_of_result,
    ("Pad", 1): _pads,
    ("Pad", 3): _axes,
    ("Slice", 1): _constant(0),
    ("Slice", 2): _ends,
    ("Slice", 3): _axes,
    ("Slice", 4): _constant(1),
    ("Squeeze", 1): _axes_of_one,
    ("Unsqueeze", 1): _axes,
    ("Split", 1): _parts,
    ("SplitToSequence", 1): _constant(1),
    ("TopK", 1): _constant(1),
    ("CumSum", 1): _constant(0),
    ("Trilu", 1): _constant(0),
    ("SequenceAt", 1): _constant(0),
    ("SequenceErase", 1): _constant(0),
    ("SequenceInsert", 2): _constant(0),
    ("Range", 0): _constant(0),
    ("Range", 1): _limit_of_range,
    ("Range", 2): _constant(1),
    ("OneHot", 1): _depth,
    ("Mod", 1): _at_least(1),
    ("Div", 1): _at_least(1),
    ("DFT", 1): _constant(4),
    ("DFT", 2): _constant(1),
    ("STFT", 1): _constant(1),
    ("STFT", 3): _constant(4),
    **{(f"{name}Window", 0): _constant(8) for name in ("Hann", "Hamming", "Blackman")},
    ("MelWeightMatrix", 0): _constant(4),
    ("MelWeightMatrix", 1): _constant(64),
    ("MelWeightMatrix", 2): _constant(8000),
    ("MelWeightMatrix", 3): _constant(0),
    ("MelWeightMatrix", 4): _constant(4000),
    ("Gather", 1): _index(),
    ("GatherElements", 1): _index(),
    ("GatherND", 1): _index_of_many_axes,
    ("Scatter", 1): _index(),
    ("ScatterElements", 1): _index(),
    ("ScatterND", 1): _index_of_many_axes,
    ("TensorScatter", 2): _constant(0),
    ("NonMaxSuppression", 2): _constant(3),
    ("BatchNormalization", 4): _at_least(1),
    **{(f"Reduce{name}", 1): _axes for name in _REDUCTIONS},
    **{(op, 4): _sequence_lengths for op in ("RNN", "GRU", "LSTM")},
}
_ROLES_ELSEWHERE: dict[tuple[str, int], Callable[[_Use], InputRole | None]] = {
    ("EmbedLayerNormalization", 0): _index(table=2),
    ("EmbedLayerNormalization", 1): _index(table=4),
    ("GatherND", 1): _index_of_many_axes,
}
