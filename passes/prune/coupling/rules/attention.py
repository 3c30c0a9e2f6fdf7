"""Products of two computed tensors: the scores of attention, and what they make of the values."""

from __future__ import annotations

from graphopt import ir
from graphopt.cost.static.macs import macs

from ..builder import Channels, CouplingBuilder, Layer, Settled, describe
from ..heads import rank_refusal
from ..ids import Ids

BOTH: Settled = (0, 1)  # fixed: the operands of a product
NARROWER = "it has no weights of its own and gets narrower with what it multiplies"


def product(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """MatMul of (..., N, C) with (..., C, M), both computed.

    Channels on axes that both operands share, such as heads, are tied and stay there; those of rows and
    columns pass; those that are summed up are tied, and vanish.
    """
    left, right = (walk.channels(tensor) for tensor in node.inputs)
    shapes = [walk.shape(tensor) for tensor in (*node.inputs, node.output)]
    if left is None and right is None:
        walk.layers.append(Layer(node, None, refusal=NARROWER, fixed=macs(node, walk.shape) or 0))
        return BOTH
    if walk.facts.unit == "none":
        return _refuse(walk, node, "is part of attention, which is to stay whole")
    if any(shape is None or len(shape) < 2 for shape in shapes):
        return _refuse(walk, node, "multiplies tensors of unknown size")
    ranks = [len(shape or ()) for shape in shapes]
    places = [
        None if channels is None else channels.axis - rank
        for channels, rank in zip((left, right), ranks[:2], strict=True)
    ]
    if places == [-1, -2]:
        return _summed(walk, node, left, right)
    if places[0] == -1 or places[1] == -2:
        return _refuse(walk, node, "sums up channels that the other operand does not have")
    return _outer(walk, node, (left, right), places)


def _summed(walk: CouplingBuilder, node: ir.Node, left: Channels | None, right: Channels | None) -> Settled:
    """The channels of queries and keys: any may go; what that costs is known in a basis of their own."""
    assert left is not None and right is not None
    attention = walk.heads.of_scores.get(node)
    if attention is None:
        return _refuse(walk, node, "is a product of two computed tensors outside of any attention")
    why = rank_refusal(attention)
    if why:
        return _refuse(walk, node, f"is attention without ranks to lower: {why}")
    walk.tie(left.ids, right.ids, f"{describe(node)} multiplies them with channels that stay")
    walk.summed.append(left.ids)
    _cost(walk, node, left.ids)
    return BOTH


def _outer(
    walk: CouplingBuilder,
    node: ir.Node,
    operands: tuple[Channels | None, Channels | None],
    places: list[int | None],
) -> Settled:
    """Channels that stay on an axis of the result: of all sequences and heads, of rows, or of columns."""
    result = walk.shape(node.output) or ()
    carried: Channels | None = None
    for index, (channels, place) in enumerate(zip(operands, places, strict=True)):
        if channels is None or place is None:
            continue
        if carried is not None and carried.axis != place + len(result):
            return _one_axis(walk, node, operands, places)
        other = walk.shape(node.inputs[1 - index]) or ()
        shared = place < -2 and len(other) >= -place and other[place] != 1
        if shared and operands[1 - index] is None:
            return _refuse(
                walk, node, f"combines them with '{node.inputs[1 - index].name}', which stays whole"
            )
        if len(channels.ids) != result[place]:
            return _refuse(walk, node, "spreads a single channel over many")
        if carried is not None:
            walk.tie(carried.ids, channels.ids, f"{describe(node)} multiplies them with channels that stay")
        carried = carried or Channels(place + len(result), channels.ids)
        walk.handled.append(channels.ids)
    assert carried is not None
    _cost(walk, node, carried.ids)
    walk.carry(node.output, carried.axis, carried.ids)
    return BOTH


def _one_axis(
    walk: CouplingBuilder,
    node: ir.Node,
    operands: tuple[Channels | None, Channels | None],
    places: list[int | None],
) -> Settled:
    """Of channels on two axes only rectangles could go: those of heads that something mixes stay whole."""
    attention = walk.heads.of_scores.get(node)
    if attention is not None and attention.across:
        return _refuse(walk, node, f"is attention without ranks to lower: {rank_refusal(attention)}")
    first, second = places
    shared = [index for index, place in enumerate((first, second)) if place is not None and place < -2]
    if len(shared) != 1:
        return _refuse(walk, node, "multiplies channels that lie on different axes")
    stays = operands[shared[0]]
    assert stays is not None
    walk.pin(stays.ids, f"{describe(node)} multiplies them with channels that lie on another axis")
    left, right = (None if index == shared[0] else channels for index, channels in enumerate(operands))
    return _outer(walk, node, (left, right), places)


def _cost(walk: CouplingBuilder, node: ir.Node, ids: Ids) -> None:
    walk.layers.append(Layer(node, None, refusal=NARROWER, fixed=macs(node, walk.shape) or 0, follows=ids))


def _refuse(walk: CouplingBuilder, node: ir.Node, why: str) -> Settled:
    walk.layers.append(
        Layer(node, None, refusal=f"{describe(node)} {why}", fixed=macs(node, walk.shape) or 0)
    )
    return walk.pin_operands(node, why)
