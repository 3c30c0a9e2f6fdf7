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

from .calibration.parameters import Parameters, scaled


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
    | TuneItem
)


def to_plan(items: Iterable[Item]) -> Plan:
    """The items as a plan."""
    return Plan(tuple(item.to_json() for item in items))


def from_plan(plan: Plan) -> list[Item]:
    """The items of a plan, one made here or read from a file.  Raises PassError for items of another kind."""
    items: list[Item] = []
    known: dict[str, Parameters] = {}
    for number, item in enumerate(plan.items):
        try:
            made = _item(item, known)
        except (KeyError, TypeError, ValueError) as error:
            raise PassError(
                f"item {number} of the plan is not one of quant's: {type(error).__name__} {error}",
                pass_name="quant",
            ) from error
        if isinstance(made, TensorItem):
            known.setdefault(made.tensor, made.parameters)
        items.append(made)
    return items


def _item(item: Mapping[str, Any], known: Mapping[str, Parameters]) -> Item:
    if "tensor" in item:
        return _tensor_item(item, known)
    if "weight" in item:
        _expect(item["dtype"] == "int8", "dtype must be int8")
        _expect(0 < item["limit"] <= 127, "limit must be from 1 to 127")
        bias = item.get("bias", "int32")
        _expect(bias in ("int32", "float32"), "bias must be int32 or float32")
        sums = item.get("sums", "int32")
        _expect(sums in ("int32", "int16"), "sums must be int32 or int16")
        return WeightItem(item["node"], item["weight"], item["axis"], int(item["limit"]), bias, sums)
    if "rewrite" in item:
        return RewriteItem(item["node"], item["rewrite"])
    if "dynamic" in item:
        return DynamicItem(item["dynamic"], item["weight_name"], item["axis"], int(item["limit"]))
    if "weight_only" in item:
        _expect(item["bits"] in (4, 8), "bits must be 4 or 8")
        return BlockItem(item["weight_only"], item["weight_name"], int(item["bits"]), int(item["block"]))
    if "equalise" in item:
        factors = tuple(float(factor) for factor in item["factors"])
        _expect(all(factor > 0 for factor in factors), "factors must be positive")
        return EqualiseItem(item["equalise"], factors)
    if "absorb" in item:
        return AbsorbItem(item["absorb"], tuple(float(amount) for amount in item["amounts"]))
    if "tune" in item:
        return TuneItem(bool(item["rounding"]), bool(item["bias"]), bool(item["refit"]))
    for key, kind in _BY_NODE.items():
        if key in item:
            return kind(item[key])
    return PerChannelReadItem(item["float_layer"], int(item["channels"]))


_BY_NODE: dict[str, type[PadItem] | type[ScalarItem] | type[GateItem] | type[RescaleItem]] = {
    "integer_pad": PadItem,
    "integer_scalar": ScalarItem,
    "integer_gate": GateItem,
    "rescale": RescaleItem,
}


def _tensor_item(item: Mapping[str, Any], known: Mapping[str, Parameters]) -> TensorItem:
    like, factor = item.get("like"), float(item.get("factor", 1.0))
    if like is None:
        parameters = _parameters(item)
    else:
        _expect(like in known, f"like names {like}, which no earlier item stores")
        _expect(factor > 0, "factor must be positive")
        parameters = scaled(known[like], factor)
    readers = item.get("readers")
    return TensorItem(
        item["tensor"],
        parameters,
        None if readers is None else tuple(readers),
        like,
        factor,
        tuple(item.get("absorbed", ())),
    )


def _parameters(item: Mapping[str, Any]) -> Parameters:
    scale, zero_point, dtype = float(item["scale"]), int(item["zero_point"]), str(item["dtype"])
    _expect(dtype in ("uint8", "int8", "uint16", "int16"), "dtype must be uint8, int8, uint16 or int16")
    made = Parameters(scale, zero_point, dtype)
    in_range = made.lowest <= zero_point <= made.highest
    _expect(
        scale > 0 and in_range, f"scale must be positive, zero_point from {made.lowest} to {made.highest}"
    )
    return made


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def node_id(node: Node) -> str:
    """What a plan calls a node."""
    return str(node.output.name)


def nodes_by_id(graph: Graph) -> dict[str, Node]:
    """The nodes of a graph by what a plan calls them."""
    return {node_id(node): node for node in graph.nodes if node.outputs}
