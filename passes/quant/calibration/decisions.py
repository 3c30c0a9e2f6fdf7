"""The parameters of every stored tensor, from its range and the scheme of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..items import TensorItem, node_id
from ..placement.placement import Placement, Stored
from ..scheme import Scheme
from .parameters import Parameters, activation_parameters, scaled


def tensor_items(
    placement: Placement, ranges: Mapping[str, tuple[float, float]], scheme: Scheme
) -> Iterator[TensorItem]:
    """How each tensor is stored; those that share their integers with another say so."""
    parameters: dict[str, Parameters] = {}
    first: dict[tuple[str, Parameters], str] = {}
    for stored in placement.stored:
        source = stored.source.name
        made = _parameters(stored, ranges[source], scheme)
        like = first.setdefault((source, made), stored.tensor.name)
        parameters[stored.tensor.name] = made
        readers = None if stored.readers is None else tuple(node_id(node) for node in stored.readers)
        yield TensorItem(
            stored.tensor.name,
            scaled(made, stored.factor),
            readers,
            None if like == stored.tensor.name else like,
            stored.factor,
            tuple(node_id(node) for node in stored.absorbed),
        )


def _parameters(stored: Stored, interval: tuple[float, float], scheme: Scheme) -> Parameters:
    maker = stored.source.producer
    fixed = scheme.fixed.get(maker.op) if maker is not None and maker.is_standard else None
    if fixed is not None:
        return Parameters(fixed[0], fixed[1], scheme.activation.dtype)
    return activation_parameters(*interval, stored.bounds, scheme.activation, scheme.target.min_range)
