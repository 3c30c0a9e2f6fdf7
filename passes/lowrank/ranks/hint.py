"""A lower bound of ranks from the weights alone: what variational Bayes takes for signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from graphopt.passes.lowrank.solve.vbmf import signal_rank

from ..layers.layer import Layer
from .candidates import Offer

SIDES = {  # the axes that stand in rows, for each rank of a way: channels 0, kernel 1, 2, outputs -1
    "in": ((0,),),
    "vertical": ((0, 1),),
    "horizontal": ((0, 2),),
    "tucker": ((0,), (-1,)),
}


def hinted(offer: Offer, weights: np.ndarray) -> Offer:
    """Return the offer without the candidates of a rank below what is signal in the weights.

    ``weights`` are (groups, n, outputs).  The hint knows nothing of the data: it may well ask for more than
    the outputs need.
    """
    tensor = weights.reshape(len(weights), *offer.layer.axes, -1)
    bounds: dict[str, tuple[int, ...]] = {}
    for one in offer.candidates:
        if one.kind not in bounds:
            bounds[one.kind] = _bounds(tensor, one.kind, offer.layer, len(one.ranks))
    kept = tuple(
        one
        for one in offer.candidates
        if all(rank >= least for rank, least in zip(one.ranks, bounds[one.kind], strict=True))
    )
    return replace(offer, candidates=kept)


def _bounds(tensor: np.ndarray, kind: str, layer: Layer, count: int) -> tuple[int, ...]:
    sides = SIDES.get(kind, (tuple(range(len(layer.axes))),) * count)
    return tuple(max(signal_rank(_unfolded(group, side)) for group in tensor) for side in sides)


def _unfolded(tensor: np.ndarray, side: Sequence[int]) -> np.ndarray:
    front = [axis % tensor.ndim for axis in side]
    others = [axis for axis in range(tensor.ndim) if axis not in front]
    rows = int(np.prod([tensor.shape[axis] for axis in front]))
    return tensor.transpose(*front, *others).reshape(rows, -1)
