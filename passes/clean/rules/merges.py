"""Two nodes in a row that one can do."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from graphopt.ir import Array, Node, Shape, Tensor
from graphopt.ir.analysis.constants import slice_bounds
from graphopt.passes.clean.rules.base import Rule, View

Bounds: TypeAlias = "dict[int, tuple[int, int, int]]"  # start, end and step by axis


def _before(node: Node, op: str) -> Node | None:
    """The producer of the first input, when it is of type ``op``."""
    producer = node.inputs[0].producer
    if producer is None or producer.op != op or not producer.is_standard or producer.graph is not node.graph:
        return None
    return producer


def _transposes(node: Node, view: View) -> str | None:
    first = _before(node, "Transpose")
    if first is None:
        return None
    inner, outer = _order(first, view), _order(node, view)
    if inner is None or outer is None or _is_part_of_matmul(node, outer):
        return None
    node.attrs["perm"] = [inner[axis] for axis in outer]
    node.inputs[0] = first.inputs[0]
    return "two transposes in a row are one"


def _is_part_of_matmul(node: Node, order: list[int]) -> bool:
    """Whether runtimes let the MatMul after a Transpose of the last two axes read them in that order."""
    axes = list(range(len(order)))
    swapped = axes[:-2] + axes[:-3:-1]
    return order == swapped and all(n.op == "MatMul" and n.is_standard for n in node.output.consumers)


def _order(node: Node, view: View) -> list[int] | None:
    """The axes of a Transpose; reversed when it names none."""
    rank = view.facts.rank(node.inputs[0])
    return node.attr("perm", None if rank is None else list(range(rank))[::-1])


def _reshapes(node: Node, view: View) -> str | None:
    """The first of two Reshapes only matters where the second copies a size (0) from it."""
    first = next(
        (n for op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze") if (n := _before(node, op))), None
    )
    shape = view.constant(node.input(1))
    if first is None or shape is None or (node.attr("allowzero", 0) and not np.all(shape)):
        return None
    literal = _without_copies(shape, view.facts.shape(node.inputs[0]) or ())
    if literal is None:
        return None
    if not np.array_equal(literal, shape):
        node.graph.set_constant(node, 1, literal)
    node.inputs[0] = first.inputs[0]
    return "only the last of two reshapes in a row counts"


def _without_copies(shape: Array, source: Shape) -> Array | None:
    """The sizes of a Reshape with every 0 (as in the input) spelled out; one unknown size may be -1."""
    sizes = [int(size) for size in shape]
    for index in [i for i, size in enumerate(sizes) if size == 0]:
        copied = source[index] if index < len(source) else None
        sizes[index] = copied if isinstance(copied, int) and copied > 0 else -1
    return np.array(sizes, shape.dtype) if sizes.count(-1) <= 1 else None


def _open_size(node: Node, view: View) -> str | None:
    """A Reshape to sizes computed at run time, all of which but one are known or copied from the input."""
    if view.constant(node.input(1)) is not None or view.model.opset < 5:
        return None
    sizes, source = view.facts.value(node.inputs[1]), view.facts.shape(node.inputs[0])
    if sizes is None or sizes.ndim != 1 or (node.attr("allowzero", 0) and any(size == 0 for size in sizes)):
        return None
    literal = [_literal(size, index, source) for index, size in enumerate(sizes)]
    if literal.count(None) + literal.count(-1) > 1:
        return None
    values = np.array([-1 if size is None else size for size in literal], np.int64)
    node.inputs[1] = node.graph.add_constant(f"{node.name or 'Reshape'}.shape", values)
    node.attrs.pop("allowzero", None)
    return "its sizes are known up to one"


def _literal(size: int | str | None, index: int, source: Shape | None) -> int | None:
    """How a Reshape writes a size: the number, 0 for "as in the input", None when it must be worked out."""
    if isinstance(size, str) and source is not None and index < len(source) and source[index] == size:
        return 0
    return int(size) if size is not None and not isinstance(size, str) else None


def _slices(node: Node, view: View) -> str | None:
    """Slices with constant bounds along different axes."""
    first = _before(node, "Slice")
    if first is None or not first.output.is_private or view.model.opset < 10:
        return None
    bounds = [_bounds(n, view) for n in (first, node)]
    rank = view.facts.rank(node.inputs[0])
    inner, outer = (None if part is None else _from_the_front(part, rank) for part in bounds)
    if inner is None or outer is None or inner.keys() & outer.keys():
        return None
    _write_slice(node, first.inputs[0], {**inner, **outer})
    return "two slices in a row are one"


def _from_the_front(bounds: Bounds, rank: int | None) -> Bounds | None:
    """Bounds with axes counted from the first one; None when the rank is needed and not known."""
    if rank is None:
        return None if any(axis < 0 for axis in bounds) else bounds
    return {axis % rank: bound for axis, bound in bounds.items()}


def _bounds(node: Node, view: View) -> Bounds | None:
    return slice_bounds(node, [view.constant(node.input(i)) for i in range(len(node.inputs))])


def _write_slice(node: Node, source: Tensor, bounds: Bounds) -> None:
    title = node.name or "Slice"
    starts, ends, steps = (np.array(column, np.int64) for column in zip(*bounds.values(), strict=True))
    columns = {"starts": starts, "ends": ends, "axes": np.array(list(bounds), np.int64), "steps": steps}
    constants = [node.graph.add_constant(f"{title}.{key}", values) for key, values in columns.items()]
    node.inputs = [source, *constants]


def _flat_gemm(node: Node, view: View) -> str | None:
    """MatMul of matrices and the Add of a constant row after it are a Gemm."""
    if view.model.opset < 7:
        return None
    for place, tensor in enumerate(node.inputs):
        product, row = tensor.producer, view.constant(node.inputs[1 - place])
        if product is None or product.op != "MatMul" or not product.is_standard or row is None:
            continue
        weight = view.constant(product.inputs[1])
        if (
            weight is None
            or weight.ndim != 2
            or weight.dtype.kind != "f"
            or view.facts.rank(product.inputs[0]) != 2
        ):
            continue
        if not tensor.is_private or np.atleast_2d(row).shape not in ((1, 1), (1, weight.shape[1])):
            continue
        bias = node.inputs[1 - place]
        graph, result = node.graph, node.output
        node.outputs.clear()
        graph.add_node(
            "Gemm", [*product.inputs, bias], outputs=[result], name=product.name or None, like=product
        )
        graph.remove(node)
        return "a MatMul with its bias is a Gemm"
    return None


def _range_bounds(node: Node, view: View) -> str | None:
    """Bounds of one element that are vectors, which no Range takes once they are constants."""
    vectors = {
        place: value
        for place, tensor in enumerate(node.inputs)
        if (value := view.constant(tensor)) is not None and value.size == 1 and value.ndim
    }
    for place, value in vectors.items():
        node.graph.set_constant(node, place, value.reshape(()))
    return "its bounds are numbers without axes" if vectors else None


MERGE_RULES: dict[str, list[Rule]] = {
    "Transpose": [_transposes],
    "Reshape": [_reshapes, _open_size],
    "Slice": [_slices],
    "Add": [_flat_gemm],
    "Range": [_range_bounds],
}
