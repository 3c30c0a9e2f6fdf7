"""Attention as exporters write it: which products, which projections, how many heads.

An attention is found by its Softmax: before it, behind scales, biases and masks, lies a product of two
computed tensors, the queries with the keys; behind it lies the product with the values.  Each of the three is
followed back to the layer that makes it, and that layer's channels are numbered and followed forwards, so
that it does not matter by which Reshape, Transpose, Split, Slice, Gather or Squeeze an exporter sorts them
into heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt.ir.analysis.flow import WEIGHTED, Flow, flow_of, uniform_factor
from graphopt.ir.analysis.movement import MOVING, ShapeOf, ValueOf, moved

if TYPE_CHECKING:
    from graphopt.ir.graph import Graph, Node
    from graphopt.ir.io.weights import Array
    from graphopt.ir.tensor import Tensor

REACH = 12  # time: nodes between a product and its Softmax that are looked through
BETWEEN = frozenset(
    {
        "Add",
        "Cast",
        "Clip",
        "Conv",
        "Div",
        "Dropout",
        "Identity",
        "Mul",
        "Reshape",
        "Sub",
        "Transpose",
        "Where",
    }
)


@dataclass(frozen=True)
class Projection:
    """What makes the queries, the keys or the values: output channels of a layer, sorted by head.

    ``source`` is the layer's output, behind the Add of its bias where it has one.  ``columns`` (heads, size)
    are its channels; ``scale`` is by how much they are multiplied on the way to the product.  ``refusal``
    says what else happens to them, which only heads survive.
    """

    layer: Node
    source: Tensor
    bias: Node | None
    columns: Array
    scale: float
    flow: Flow
    refusal: str = ""

    @property
    def heads(self) -> int:
        """How many heads."""
        return int(self.columns.shape[0])

    @property
    def size(self) -> int:
        """How many channels of each head."""
        return int(self.columns.shape[1])


@dataclass(frozen=True)
class Reader:
    """The layer that reads what the heads come to: ``rows`` (heads, size) are its input channels."""

    layer: Node
    rows: Array


@dataclass(frozen=True)
class Attention:
    """One attention of a graph.

    ``scores`` is the product of queries and keys, ``mix`` that of their Softmax with the values.  ``mixed``
    is a node that mixes heads between the two products (talking heads).  ``across`` tells that channels
    attend to channels (XCiT) and not tokens to tokens.
    """

    softmax: Node
    scores: Node
    mix: Node
    query: Projection | None
    key: Projection | None
    value: Projection | None
    output: Reader | None
    between: tuple[Node, ...]  # nodes between the two products, but for the Softmax
    scale: float  # between the product of queries and keys, and the Softmax
    across: bool
    mixed: Node | None
    sequences: int  # windows, images: how many attend by themselves, in one run
    queries: int
    keys: int

    @property
    def is_plain(self) -> bool:
        """Whether the Softmax sees scaled scores plus something else, and the values exactly its result.

        Then what is the same for all keys does not matter, and the weights of the values add up to one.
        """
        return not self.across and all(_is_plain(node) for node in self.between)

    @property
    def projections(self) -> list[Projection]:
        """Those that were found."""
        return [one for one in (self.query, self.key, self.value) if one is not None]

    @property
    def heads(self) -> int:
        """How many heads; 0 where nobody knows."""
        return max((one.heads for one in self.projections), default=0)


def find_attention(graph: Graph, shape: ShapeOf, value: ValueOf) -> list[Attention]:
    """Return every attention of one graph, in the order of its nodes.

    ``shape`` and ``value`` say what is known of a tensor; where sizes are unknown nothing is found.
    """
    flows: dict[Tensor, Flow | None] = {}
    matches = (_attention(node, shape, value, flows) for node in graph.find("Softmax"))
    return [match for match in matches if match is not None]


def _attention(
    softmax: Node, shape: ShapeOf, value: ValueOf, flows: dict[Tensor, Flow | None]
) -> Attention | None:
    sizes = shape(softmax.output)
    if sizes is None or len(sizes) < 2 or int(softmax.attr("axis", -1)) % len(sizes) != len(sizes) - 1:
        return None
    before, after = _product_before(softmax), _product_behind(softmax)
    if before is None or after is None:
        return None
    scores, nodes_before, scale = before
    mix, at, nodes_behind = after
    product, result = shape(scores.output), shape(mix.output)
    if product is None or result is None:
        return None
    query, key = (_projection(scores, index, shape, value, flows) for index in (0, 1))
    values = _projection(mix, 1 - at, shape, value, flows)
    across = bool(query and _varies(query, scores.inputs[0], -2))
    heads = max((one.heads for one in (query, key, values) if one is not None), default=1)
    return Attention(
        softmax,
        scores,
        mix,
        query,
        key,
        values,
        None if values is None else _reader(mix, at, values, shape, value),
        (*nodes_before, *nodes_behind),
        scale,
        across,
        next((node for node in (*nodes_before, *nodes_behind) if node.op == "Conv"), None),
        max(int(np.prod(product[:-2])) // max(heads, 1), 1),
        product[-2],
        product[-1],
    )


def _is_plain(node: Node) -> bool:
    if node.op in ("Mul", "Div"):
        return any(uniform_factor(node, index) is not None for index in (0, 1))
    return node.op in ("Add", "Cast", "Identity", "Reshape", "Sub", "Dropout")


def _product_before(softmax: Node) -> tuple[Node, list[Node], float] | None:
    """The product of two computed tensors before a Softmax, the nodes between, and their scale."""
    pending: list[tuple[Tensor, list[Node], float]] = [(softmax.inputs[0], [], 1.0)]
    while pending:
        tensor, between, scale = pending.pop()
        node = tensor.producer
        if node is None or not node.is_standard or len(between) > REACH:
            continue
        if is_product(node):
            return node, between, scale
        if node.op in BETWEEN and (node.op != "Conv" or node.inputs[1].constant is not None):
            computed = [index for index, t in enumerate(node.inputs) if t.name and t.constant is None]
            for index in reversed(computed if node.op in ("Add", "Sub", "Where") else computed[:1]):
                factor = uniform_factor(node, index)
                pending.append(
                    (node.inputs[index], [*between, node], scale * (1.0 if factor is None else factor))
                )
    return None


def _product_behind(softmax: Node) -> tuple[Node, int, list[Node]] | None:
    """The product that reads a Softmax, as which input, and the nodes between."""
    tensor = softmax.output
    between: list[Node] = []
    for _ in range(REACH):
        readers = list(dict.fromkeys(tensor.consumers))
        product = next((node for node in readers if is_product(node)), None)
        if product is not None:
            return product, 0 if product.inputs[0] is tensor else 1, between
        if len(readers) != 1 or readers[0].op not in BETWEEN or readers[0].inputs[0] is not tensor:
            return None
        between.append(readers[0])
        tensor = readers[0].output
    return None


def is_product(node: Node) -> bool:
    """Whether a node multiplies two computed tensors."""
    return node.op == "MatMul" and node.is_standard and all(tensor.constant is None for tensor in node.inputs)


def _projection(
    product: Node, index: int, shape: ShapeOf, value: ValueOf, flows: dict[Tensor, Flow | None]
) -> Projection | None:
    """The layer behind one operand of a product, and its channels by head; None when there is none."""
    operand = product.inputs[index]
    for source, layer, bias in _layers_behind(operand):
        sizes = shape(source)
        if sizes is None:
            continue
        axis = 1 if layer.op.startswith("Conv") else len(sizes) - 1
        if source not in flows:
            flows[source] = flow_of(source, axis, shape, value)
        flow = flows[source]
        numbers = None if flow is None else flow.numbers.get(operand)
        columns = None if numbers is None else _columns(numbers)
        if flow is None or columns is None:
            continue
        return Projection(
            layer, source, bias, columns, flow.scale[operand], flow, _refusal(flow, operand, product, columns)
        )
    return None


def _layers_behind(operand: Tensor) -> Iterator[tuple[Tensor, Node, Node | None]]:
    """The nearest weighted layers behind a tensor, each with its output and the Add of its bias."""
    pending, seen = [operand], {operand}
    while pending:
        tensor = pending.pop(0)
        node = tensor.producer
        if node is None or len(seen) > REACH * 8:
            continue
        if _is_layer(node):
            yield tensor, node, None
            continue
        layer = _biased(node)
        if layer is not None:
            yield tensor, layer, node
            continue
        for given in node.inputs[:1] if node.op in MOVING else node.inputs:
            if given.name and given.constant is None and given not in seen:
                seen.add(given)
                pending.append(given)


def _biased(node: Node) -> Node | None:
    """The MatMul whose bias a node adds."""
    if node.op != "Add" or not any(t.constant is not None and t.constant.ndim <= 1 for t in node.inputs):
        return None
    made = next((t for t in node.inputs if t.constant is None), None)
    layer = None if made is None or not made.is_private else made.producer
    return layer if layer is not None and layer.op == "MatMul" and _is_layer(layer) else None


def _is_layer(node: Node) -> bool:
    return node.is_standard and node.op in WEIGHTED and node.inputs[1].constant is not None


def _columns(numbers: Array) -> Array | None:
    """Sort the channels at an operand (..., rows, columns) by head, (heads, size); None if it is no table."""
    for axis in (-1, -2):
        line = np.moveaxis(numbers, axis, -1)
        table = line[..., 0, :]
        if (line == table[..., None, :]).all() and (table[..., :1] != table).any():
            rows = table.reshape(-1, table.shape[-1])
            distinct = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
            return distinct.astype(np.int64) if np.unique(distinct).size == distinct.size else None
    return None


def _varies(projection: Projection, operand: Tensor, axis: int) -> bool:
    """Whether channels lie along one of the last two axes of an operand."""
    numbers = projection.flow.numbers[operand]
    return bool((numbers != numbers.take([0], axis)).any())


def _refusal(flow: Flow, operand: Tensor, product: Node, columns: Array) -> str:
    """What else than moving and scaling happens to these channels, between the layer and the product."""
    changed = flow.changed.get(operand)
    if changed is not None:
        return f"{changed.op} '{changed.name or changed.output.name}' stands between it and the product"
    wanted = set(columns.ravel().tolist())
    for tensor, numbers in flow.numbers.items():
        if _leaves(tensor) and wanted & set(np.unique(numbers).tolist()):
            return f"'{tensor.name}' is an output of the model"
    for node, index in flow.ends:
        tensor = node.inputs[index]
        if (node is not product or tensor is not operand) and wanted & set(
            np.unique(flow.numbers[tensor]).tolist()
        ):
            return f"{node.op} '{node.name or node.output.name}' reads it too"
    return ""


def _leaves(tensor: Tensor) -> bool:
    """Whether a tensor is an output of its graph."""
    node = tensor.producer
    return node is not None and node.graph is not None and node.graph.is_output(tensor)


def _reader(mix: Node, at: int, values: Projection, shape: ShapeOf, value: ValueOf) -> Reader | None:
    """The one layer that reads the heads' results, when they are only moved or scaled on the way."""
    sizes, operand = shape(mix.output), values.flow.numbers[mix.inputs[1 - at]]
    one_token = operand.take([0], operand.ndim - 2 if at == 0 else operand.ndim - 1)
    if sizes is None or operand.ndim != len(sizes):
        return None
    tensor, numbers = mix.output, np.broadcast_to(one_token, sizes)
    for _ in range(REACH):
        readers = [node for node in dict.fromkeys(tensor.consumers) if node.op != "Shape"]
        if len(readers) != 1 or readers[0].inputs[0] is not tensor or _leaves(tensor):
            return None
        node = readers[0]
        if _is_layer(node):
            return _rows(node, numbers, values.columns)
        outputs = [numbers] if uniform_factor(node, 0) is not None else moved(node, numbers, shape, value)
        if outputs is None or len(outputs) != 1:
            return None
        tensor, numbers = node.output, outputs[0]
    return None


def _rows(layer: Node, numbers: Array, columns: Array) -> Reader | None:
    """Which input channels of a layer hold which channels of the values, given those of its whole input."""
    lines = np.moveaxis(numbers, 1 if layer.op.startswith("Conv") else -1, -1)
    lines = lines.reshape(-1, lines.shape[-1])
    place = {number: row for row, number in enumerate(lines[0].tolist())}
    if len(place) != lines.shape[1] or not (lines == lines[:1]).all():
        return None
    wanted = columns.ravel().tolist()
    if any(number not in place for number in wanted):
        return None
    return Reader(layer, np.asarray([place[number] for number in wanted]).reshape(columns.shape))
