"""Attention as one operator: ONNX's Attention (opset 23) and onnxruntime's MultiHeadAttention."""

from __future__ import annotations

import numpy as np

from graphopt import ir

from ..builder import NONE, Channels, CouplingBuilder, Settled, describe
from ..ids import Ids

HEADS = ("q_num_heads", "num_heads")  # fixed: the attribute that counts heads, by operator
CACHED = {"Attention": (4, 5), "MultiHeadAttention": (6, 7)}  # fixed: inputs with keys and values from before
MASKS = {"Attention": 3, "MultiHeadAttention": 5}  # fixed: what is added to the scores, perhaps by head
BIAS = {"MultiHeadAttention": 3}  # fixed: of queries, keys and values, one behind the other


def attention(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Queries, keys and values of shape (batch, tokens, heads x size): heads, or channels of every head."""
    every = tuple(range(len(node.inputs)))
    projections = [walk.channels(node.input(index)) for index in range(3)]
    if not any(projections):
        return walk.pin_operands(node, "takes a mask from them") if _any(walk, node) else NONE
    why = _refusal(walk, node)
    if why:
        return walk.pin_operands(node, why)
    heads = _count(node)
    tables = [
        channels.ids.reshape(heads, -1)
        if channels is not None and channels.axis == 2 and len(channels.ids) % heads == 0
        else None
        for channels in projections
    ]
    query, key, value = tables
    if query is None or key is None or value is None:
        return walk.pin_operands(node, "combines them with a tensor that stays whole")
    if walk.facts.unit == "heads":
        _by_head(walk, node, query, key, value)
    else:
        _by_channel(walk, node, query, key, value)
    bias = node.input(BIAS.get(node.op, len(node.inputs)))
    if bias is not None:
        walk.slot(
            node, BIAS[node.op], 0, np.concatenate([table.ravel() for table in (query, key, value)]), "shift"
        )
    walk.carry(node.output, 2, value.ravel())
    return every


def _by_head(walk: CouplingBuilder, node: ir.Node, query: Ids, key: Ids, value: Ids) -> None:
    """All channels of a head go together."""
    reason = f"{describe(node)} ties them to channels that stay"
    first = query[:, 0]
    for table in (query, key, value):
        for column in table.T:
            walk.tie(first, column, reason)
    walk.edit("heads", node, Channels(2, first))
    index = MASKS[node.op]
    mask = node.input(index)
    shape = () if mask is None else walk.shape(mask)
    if mask is None or (shape is not None and (len(shape) < 3 or shape[-3] == 1)):
        return
    if mask.constant is not None and shape is not None:
        walk.slot(node, index, len(shape) - 3, first, "shift")
    else:
        walk.pin(first, f"{describe(node)} adds something computed to the scores of each head")


def _by_channel(walk: CouplingBuilder, node: ir.Node, query: Ids, key: Ids, value: Ids) -> None:
    """The same channels go in all heads: of queries and keys together, of values by themselves."""
    reason = f"{describe(node)} has heads that must stay equally wide"
    for tables in ((query, key), (value,)):
        first = tables[0][0]
        for row in np.concatenate(tables):
            walk.tie(first, row, reason)
    walk.summed.append(query.ravel())
    walk.edit("scale", node, Channels(2, query[0]))


def _refusal(walk: CouplingBuilder, node: ir.Node) -> str:
    """Why the channels of a node cannot be followed."""
    if walk.facts.unit == "none":
        return "is attention, which is to stay whole"
    shapes = [walk.shape(node.input(index)) for index in range(3)]
    if any(shape is None or len(shape) != 3 for shape in shapes):
        return "packs queries, keys or values, or has their heads on an axis of their own"
    if any(node.input(index) is not None for index in CACHED[node.op]) or any(
        t.name for t in node.outputs[1:]
    ):
        return "keeps keys and values from one run to the next"
    heads = _count(node)
    if int(node.attr("kv_num_heads", heads)) != heads:
        return "has fewer heads of keys than of queries"
    bias = node.input(BIAS.get(node.op, len(node.inputs)))
    if bias is not None and bias.constant is None:
        return "computes its bias in the graph"
    return "" if heads else "does not say how many heads it has"


def _count(node: ir.Node) -> int:
    return next((int(node.attr(name)) for name in HEADS if node.attr(name) is not None), 0)


def _any(walk: CouplingBuilder, node: ir.Node) -> bool:
    return any(walk.channels(tensor) is not None for tensor in node.inputs)
