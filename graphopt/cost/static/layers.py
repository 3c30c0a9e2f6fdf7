"""What each node of a model costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt import ir
from graphopt.cost.static.macs import Dims, ShapeOf, counts_macs, macs
from graphopt.cost.static.parameters import dequantised, node_parameters
from graphopt.cost.static.shapes import known_shapes

if TYPE_CHECKING:
    from graphopt.ir import Model, Node, Tensor


@dataclass(frozen=True)
class Layer:
    """One computing node: its shapes (None where they are unknown), parameters and multiply-accumulates.

    ``macs`` is 0 for operators without any and None when they cannot be determined.
    """

    name: str
    op: str
    inputs: tuple[Dims | None, ...]
    outputs: tuple[Dims | None, ...]
    parameters: int
    macs: int | None


def layers(
    model: Model, shapes: Mapping[str, Dims] | None = None, *, custom_ops: Sequence[str] = ()
) -> tuple[Layer, ...]:
    """The computing nodes of a model in order, those of subgraphs after the main graph.

    ``shapes`` are the input dims to count at, by input name.  Where inference cannot tell the shapes around a
    layer (sizes computed in the graph), the model runs once on synthetic input.  How often a subgraph runs is
    not known, so the layers inside have no multiply-accumulates to tell.
    """
    shape = _shape_finder(known_shapes(model, shapes or {}, custom_ops))
    return tuple(
        _layer(node, shape, inner=graph is not model.graph)
        for graph in model.graphs()
        for node in graph.nodes
        if computes(node)
    )


def counted_macs(
    model: Model, shapes: Mapping[str, Dims] | None = None, *, custom_ops: Sequence[str] = ()
) -> list[tuple[str, int | None]]:
    """(operator, multiply-accumulates) of every node that has any, as ``layers`` would tell them."""
    shape = _shape_finder(known_shapes(model, shapes or {}, custom_ops))
    return [
        (label(node), macs(node, shape) if graph is model.graph else None)
        for graph in model.graphs()
        for node in graph.nodes
        if counts_macs(node)
    ]


def computes(node: Node) -> bool:
    """Whether a node does something at run time: Constant nodes do not."""
    return not (node.op == "Constant" and node.is_standard)


def label(node: Node) -> str:
    """The operator as messages call it, with its domain when that is not ONNX itself."""
    return node.op if node.is_standard else f"{node.domain}:{node.op}"


def _layer(node: Node, shape: ShapeOf, inner: bool) -> Layer:
    outputs = [tensor for tensor in node.outputs if tensor.name]
    return Layer(
        name=node.name or (outputs[0].name if outputs else ""),
        op=label(node),
        inputs=tuple(shape(tensor) for tensor in node.inputs if tensor.name),
        outputs=tuple(shape(tensor) for tensor in outputs),
        parameters=node_parameters(node),
        macs=None if inner and counts_macs(node) else macs(node, shape),
    )


def _shape_finder(inferred: Mapping[str, ir.Shape]) -> ShapeOf:
    def shape(tensor: Tensor | None) -> Dims | None:
        if tensor is None:
            return None
        dims = tensor.shape if isinstance(tensor, ir.Constant) else inferred.get(tensor.name)
        if dims is None and (value := tensor.constant) is not None:
            dims = value.shape
        if dims is None and (source := dequantised(tensor)) is not tensor:
            return shape(source)
        return ir.static_shape(dims)

    return shape
