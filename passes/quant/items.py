"""The items of a plan: plain values that print, can be edited, and say everything that surgery needs.

Nodes are named by their first output, since names of nodes may be missing; tensors keep their names when a
model moves to a newer opset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphopt.errors import PassError
from graphopt.ir import Graph, Node
from graphopt.pipeline import Plan

from .parameters import LEVELS, Parameters


@dataclass(frozen=True)
class TensorItem:
    """Store a tensor in uint8; ``readers`` read what was stored (None: all nodes that read the tensor)."""

    tensor: str
    parameters: Parameters
    readers: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        item: dict[str, Any] = {"tensor": self.tensor, "scale": self.parameters.scale}
        item |= {"zero_point": self.parameters.zero_point, "dtype": "uint8"}
        return item if self.readers is None else {**item, "readers": list(self.readers)}


@dataclass(frozen=True)
class WeightItem:
    """Store the weight and bias of a layer; ``axis`` None stands for one scale for all channels."""

    node: str
    weight: str
    axis: int | None
    limit: int

    def to_json(self) -> dict[str, Any]:
        item: dict[str, Any] = {"weight": self.weight, "node": self.node, "axis": self.axis}
        return {**item, "dtype": "int8", "limit": self.limit}


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
class WallItem:
    """Keep onnxruntime from quantizing a float layer: let it read its input by channels."""

    node: str
    channels: int

    def to_json(self) -> dict[str, Any]:
        return {"float_layer": self.node, "channels": self.channels}


Item = TensorItem | WeightItem | PadItem | ScalarItem | GateItem | WallItem


def to_plan(items: Iterable[Item]) -> Plan:
    """The items as a plan."""
    return Plan(tuple(item.to_json() for item in items))


def from_plan(plan: Plan) -> list[Item]:
    """The items of a plan, one made here or read from a file.  Raises PassError for items of another kind."""
    items = []
    for number, item in enumerate(plan.items):
        try:
            items.append(_item(item))
        except (KeyError, TypeError, ValueError) as error:
            raise PassError(
                f"item {number} of the plan is not one of quant's: {type(error).__name__} {error}",
                pass_name="quant",
            ) from error
    return items


def _item(item: Mapping[str, Any]) -> Item:
    if "tensor" in item:
        readers = item.get("readers")
        return TensorItem(item["tensor"], _parameters(item), None if readers is None else tuple(readers))
    if "weight" in item:
        _expect(item["dtype"] == "int8", "dtype must be int8")
        _expect(0 < item["limit"] <= 127, "limit must be from 1 to 127")
        return WeightItem(item["node"], item["weight"], item["axis"], int(item["limit"]))
    if "integer_pad" in item:
        return PadItem(item["integer_pad"])
    if "integer_scalar" in item:
        return ScalarItem(item["integer_scalar"])
    if "integer_gate" in item:
        return GateItem(item["integer_gate"])
    return WallItem(item["float_layer"], int(item["channels"]))


def _parameters(item: Mapping[str, Any]) -> Parameters:
    scale, zero_point = float(item["scale"]), int(item["zero_point"])
    _expect(item["dtype"] == "uint8", "dtype must be uint8")
    _expect(scale > 0 and 0 <= zero_point <= LEVELS, "scale must be positive, zero_point from 0 to 255")
    return Parameters(scale, zero_point)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def node_id(node: Node) -> str:
    """What a plan calls a node."""
    return str(node.output.name)


def nodes_by_id(graph: Graph) -> dict[str, Node]:
    """The nodes of a graph by what a plan calls them."""
    return {node_id(node): node for node in graph.nodes if node.outputs}
