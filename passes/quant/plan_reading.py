"""The items of a plan, read back from values that somebody may have edited."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from graphopt.errors import PassError
from graphopt.pipeline import Plan

from .calibration.parameters import Parameters, scaled
from .items import (
    AbsorbItem,
    BlockItem,
    DynamicItem,
    EqualiseItem,
    GateItem,
    Item,
    NormItem,
    PadItem,
    PerChannelReadItem,
    RescaleItem,
    RewriteItem,
    ScalarItem,
    TensorItem,
    TuneItem,
    WeightItem,
)


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
        return EqualiseItem(item["equalise"], _factors(item))
    if "shift_and_scale" in item:
        middles = tuple(float(middle) for middle in item["middles"])
        _expect(all(map(math.isfinite, middles)), "middles must be finite")
        return NormItem(item["shift_and_scale"], _factors(item), middles)
    if "absorb" in item:
        return AbsorbItem(item["absorb"], tuple(float(amount) for amount in item["amounts"]))
    if "tune" in item:
        return TuneItem(bool(item["rounding"]), bool(item["bias"]), bool(item["refit"]))
    for key, kind in _BY_NODE.items():
        if key in item:
            return kind(item[key])
    return PerChannelReadItem(item["float_layer"], int(item["channels"]))


def _factors(item: Mapping[str, Any]) -> tuple[float, ...]:
    factors = tuple(float(factor) for factor in item["factors"])
    _expect(all(0 < factor < math.inf for factor in factors), "factors must be positive")
    return factors


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
