"""Write a choice down so that it can be read, edited and replayed; and read it back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphopt.errors import PassError

from .fit.fitting import Task
from .layers.layer import Layer
from .ranks.candidates import Candidate, Offer
from .ways import KINDS


def write_item(offer: Offer, one: Candidate, rule: str) -> dict[str, Any]:
    """Write one candidate as a plan item.

    The layer is found by the name of the ``tensor`` it makes.  ``ranks`` are the channels between the new
    layers, of one group each, ``full`` the ranks at which nothing is lost; ``error`` is the predicted share
    of the output's variance that is lost before anything is fitted anew.
    """
    layer = offer.layer
    return {
        "layer": layer.name,
        "tensor": layer.output,
        "kind": one.kind,
        "ranks": list(one.ranks),
        "full": list(KINDS[one.kind].full(layer)),
        "macs": [offer.macs, one.macs],
        "params": [offer.params, one.params],
        "error": one.error / (offer.energy or 1.0),
        "rule": rule,
    }


def write_items(
    offers: Sequence[Offer], chosen: Sequence[Candidate | None], rule: str
) -> tuple[Mapping[str, Any], ...]:
    """Write a choice as plan items, one for each layer that is split."""
    pairs = zip(offers, chosen, strict=True)
    return tuple(write_item(offer, one, rule) for offer, one in pairs if one is not None)


def read_items(items: Iterable[Mapping[str, Any]], layers: Mapping[str, Layer | str]) -> dict[str, Task]:
    """Return what plan items ask for, by the tensor that the layer makes.

    ``layers`` has for every weighted node of the model a layer, or the reason why it cannot be split.

    Raises:
        PassError: an item names a layer that cannot be split, or a way or a rank that it does not have.
    """
    tasks: dict[str, Task] = {}
    for item in items:
        layer = layers.get(str(item["tensor"]), "this model does not have it")
        if isinstance(layer, str):
            raise _unfit(item, f"which cannot be: {layer}")
        kind = KINDS.get(str(item["kind"]))
        if kind is None or not kind.fits(layer):
            raise _unfit(item, f"in the way '{item['kind']}', which does not fit it")
        ranks, full = tuple(int(rank) for rank in item["ranks"]), kind.full(layer)
        if len(ranks) != len(full):
            raise _unfit(item, f"with {len(ranks)} ranks, but '{kind.name}' has {len(full)}")
        for rank, most in zip(ranks, full, strict=True):
            if not 1 <= rank <= most:
                raise _unfit(item, f"with rank {rank}, but its full rank is {most}")
        if kind.name == "tucker" and ranks[1] > ranks[0] * (layer.rows // layer.inputs):
            raise _unfit(item, f"with rank {ranks[1]} behind rank {ranks[0]}, which cannot fill it")
        tasks[layer.output] = Task(layer, kind, ranks)
    return tasks


def _unfit(item: Mapping[str, Any], why: str) -> PassError:
    return PassError(
        f"the plan splits '{item['layer']}' {why}",
        pass_name="lowrank",
        node=str(item["layer"]),
        hint="fix the item, or make a new plan for this model",
    )
