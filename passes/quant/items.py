"""The items of a plan: plain values that print, can be edited, and say everything that surgery needs.

Nodes are named by their first output, since names of nodes may be missing; tensors keep their names when a
model moves to a newer opset.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from graphopt.ir import Graph, Node
from graphopt.pipeline import Plan

from .calibration.parameters import Parameters


@dataclass(frozen=True)
class TensorItem:
    """Store a tensor in integers; ``readers`` read what was stored (None: all nodes that read the tensor).

    ``like`` names the tensor whose parameters it shares, times ``factor``: edit those there.  ``absorbed``
    are the Relu and Clip nodes whose work the storing does.
    """

    tensor: str
    parameters: Parameters
    readers: tuple[str, ...] | None = None
    like: str | None = None
    factor: float = 1.0
    absorbed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        item: dict[str, Any] = {"tensor": self.tensor}
        if self.like is None:
            item |= {"scale": self.parameters.scale, "zero_point": self.parameters.zero_point}
            item["dtype"] = self.parameters.dtype
        else:
            item |= {"like": self.like} | ({} if self.factor == 1.0 else {"factor": self.factor})
        if self.readers is not None:
            item["readers"] = list(self.readers)
        return item | ({"absorbed": list(self.absorbed)} if self.absorbed else {})


@dataclass(frozen=True)
class WeightItem:
    """Store the weight and bias of a layer; ``axis`` None stands for one scale for all channels.

    With ``sums`` int16 channels get larger scales where pairs of products would not fit into 16 bits.
    """

    node: str
    weight: str
    axis: int | None
    limit: int
    bias: str = "int32"
    sums: str = "int32"

    def to_json(self) -> dict[str, Any]:
        item: dict[str, Any] = {"weight": self.weight, "node": self.node, "axis": self.axis}
        item |= {"dtype": "int8", "limit": self.limit, "bias": self.bias}
        return item if self.sums == "int32" else {**item, "sums": self.sums}


@dataclass(frozen=True)
class PadItem:
    """Let a Pad work on the stored integers."""

    node: str

    def to_json(self) -> dict[str, Any]:
        return {"integer_pad": self.node}


@dataclass(frozen=True)
class ScalarItem:
    """Store the number that an Add or Mul adds or multiplies with."""

    node: str

    def to_json(self) -> dict[str, Any]:
        return {"integer_scalar": self.node}


@dataclass(frozen=True)
class GateItem:
    """Compute a HardSigmoid or HardSwish by an integer addition that saturates."""

    node: str

    def to_json(self) -> dict[str, Any]:
        return {"integer_gate": self.node}


@dataclass(frozen=True)
class RescaleItem:
    """Multiply with a positive number by reading the stored integers with another scale."""

    node: str

    def to_json(self) -> dict[str, Any]:
        return {"rescale": self.node}


@dataclass(frozen=True)
class RewriteItem:
    """Replace a node by what the target computes on integers, before anything is stored."""

    node: str
    kind: str

    def to_json(self) -> dict[str, Any]:
        return {"rewrite": self.kind, "node": self.node}


@dataclass(frozen=True)
class DynamicItem:
    """Quantize what a layer reads while the model runs, and store its weight."""

    node: str
    weight: str
    axis: int | None
    limit: int

    def to_json(self) -> dict[str, Any]:
        return {"dynamic": self.node, "weight_name": self.weight, "axis": self.axis, "limit": self.limit}


@dataclass(frozen=True)
class BlockItem:
    """Store the weight of a layer alone, with a scale for every ``block`` inputs; 0: for each channel."""

    node: str
    weight: str
    bits: int
    block: int

    def to_json(self) -> dict[str, Any]:
        return {"weight_only": self.node, "weight_name": self.weight, "bits": self.bits, "block": self.block}


@dataclass(frozen=True)
class PerChannelReadItem:
    """Keep onnxruntime from quantizing a float layer: let it read its input by channels."""

    node: str
    channels: int

    def to_json(self) -> dict[str, Any]:
        return {"float_layer": self.node, "channels": self.channels}


@dataclass(frozen=True)
class EqualiseItem:
    """Multiply the output channels of a layer by ``factors``, and divide by them where they are read."""

    node: str
    factors: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {"equalise": self.node, "factors": list(self.factors)}


@dataclass(frozen=True)
class AbsorbItem:
    """Subtract ``amounts`` from the output channels of a layer; those who read them add what is missing."""

    node: str
    amounts: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {"absorb": self.node, "amounts": list(self.amounts)}


@dataclass(frozen=True)
class NormItem:
    """Subtract ``middles`` from the channels of a LayerNormalization and divide them by ``factors``."""

    node: str
    factors: tuple[float, ...]
    middles: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {"shift_and_scale": self.node, "factors": list(self.factors), "middles": list(self.middles)}


@dataclass(frozen=True)
class TuneItem:
    """Make up for storing, layer by layer, on the calibration samples."""

    rounding: bool
    bias: bool
    refit: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"tune": "layer by layer", "rounding": self.rounding, "bias": self.bias, "refit": self.refit}


Item = (
    TensorItem
    | WeightItem
    | PadItem
    | ScalarItem
    | GateItem
    | PerChannelReadItem
    | RescaleItem
    | RewriteItem
    | DynamicItem
    | BlockItem
    | EqualiseItem
    | AbsorbItem
    | NormItem
    | TuneItem
)


def to_plan(items: Iterable[Item]) -> Plan:
    """The items as a plan."""
    return Plan(tuple(item.to_json() for item in items))


def node_id(node: Node) -> str:
    """What a plan calls a node."""
    return str(node.output.name)


def nodes_by_id(graph: Graph) -> dict[str, Node]:
    """The nodes of a graph by what a plan calls them."""
    return {node_id(node): node for node in graph.nodes if node.outputs}
