"""One projection for queries, keys and values taken apart, so that each may have its own rank.

What exporters cut out of one Reshape, with an axis for the three, is a rectangle: all of its heads have
equally many channels.  Three layers over the same input compute the same in as many multiplications.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.attention import Attention, Projection, find_attention, is_product
from graphopt.ir.analysis.movement import moved
from graphopt.ir.transform.layer_bias import vector_bias

from ..coupling.facts import Facts

ROLES = ("query", "key", "value")


def has_products(graph: ir.Graph) -> bool:
    """Whether a graph multiplies computed tensors at all."""
    return any(is_product(node) for node in graph.find("MatMul"))


def separate(model: ir.Model, facts: Facts) -> list[Attention]:
    """Take projections apart in place, and return the attentions that there are then.

    The facts learn the shapes of the new tensors.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for attention in find_attention(model.graph, facts.shape, facts.value):
        _settle_sizes(model.graph, attention, facts)
        shared = _shared(attention)
        if shared:
            _take_apart(model.graph, shared, facts, shapes)
    if shapes:
        model.graph.remove_dead()
        model.graph.remove_unused_initializers()
        model.sort()
        facts.shapes.update(shapes)
    return find_attention(model.graph, facts.shape, facts.value)


def _shared(attention: Attention) -> list[tuple[str, Projection]]:
    """The projections that share their layer, where all that it makes is only moved and scaled."""
    given = zip(ROLES, (attention.query, attention.key, attention.value), strict=True)
    projections = [(role, one) for role, one in given if one is not None]
    shared = [
        (role, one) for role, one in projections if sum(o.source is one.source for _, o in projections) > 1
    ]
    weight = shared[0][1].layer.inputs[1].constant if shared else None
    if weight is None or any(one.refusal for _, one in shared):
        return []
    columns = np.concatenate([one.columns.ravel() for _, one in shared])
    return shared if len(np.unique(columns)) == len(columns) == weight.shape[-1] else []


def _take_apart(
    graph: ir.Graph,
    shared: Sequence[tuple[str, Projection]],
    facts: Facts,
    shapes: dict[str, tuple[int, ...]],
) -> None:
    plans = [(role, one, _place(one, facts)) for role, one in shared]
    if any(place is None for _, _, place in plans):
        return
    for role, one, place in plans:
        assert place is not None
        _project(graph, role, one, *place, facts, shapes)


def _place(projection: Projection, facts: Facts) -> tuple[ir.Tensor, tuple[int, ...]] | None:
    """The tensor on the way that holds these channels alone, as some order of (batch, tokens, heads, size).

    Found by the numbers of all entries, so it does not matter by which nodes they got there.
    """
    sizes, layer = facts.shape(projection.source), projection.layer
    if layer.op != "MatMul" or sizes is None or len(sizes) != 3:
        return None
    batch, tokens, channels = sizes
    heads, size = projection.columns.shape
    wanted = np.arange(batch * tokens)[:, None] * channels + projection.columns.reshape(1, -1)
    wanted = wanted.reshape(batch, tokens, heads, size)
    entries = np.arange(batch * tokens * channels).reshape(sizes)
    for tensor, numbers in _followed(projection.source, entries, facts):
        if numbers.size != wanted.size or numbers.ndim != 4:
            continue
        for order in permutations(range(4)):
            if order.index(0) < order.index(2) and np.array_equal(wanted.transpose(order), numbers):
                return tensor, order
    return None


def _followed(source: ir.Tensor, entries: ir.Array, facts: Facts) -> list[tuple[ir.Tensor, ir.Array]]:
    """The tensors that hold moved entries of ``source``, the nearest first, with these."""
    sources = [(source, entries)]
    for tensor, numbers in sources:
        for node in dict.fromkeys(tensor.consumers):
            outputs = moved(node, numbers, facts.shape, facts.value) if node.inputs[0] is tensor else None
            if outputs is not None:
                sources.extend(zip(node.outputs, outputs, strict=False))
    return sources


def _project(
    graph: ir.Graph,
    role: str,
    projection: Projection,
    end: ir.Tensor,
    order: tuple[int, ...],
    facts: Facts,
    shapes: dict[str, tuple[int, ...]],
) -> None:
    """A layer for these channels alone, and what sorts them into heads, in place of ``end``."""
    layer, columns = projection.layer, projection.columns
    name = f"{layer.name or layer.output.name}.{role}"
    weight, bias = layer.inputs[1].constant, vector_bias(layer)
    assert weight is not None
    batch, tokens, _ = facts.shape(projection.source) or ()
    part = graph.add_constant(f"{name}.weight", np.ascontiguousarray(weight[:, columns.ravel()]))
    made = graph.add_node("MatMul", [layer.inputs[0], part], name=name, like=layer).output
    made.name = graph.names.unique(f"{projection.source.name}.{role}")
    shapes[made.name] = (batch, tokens, columns.size)
    if bias is not None:
        own = graph.add_constant(f"{name}.bias", bias.values.reshape(-1)[columns.ravel()].copy())
        made = graph.add_node("Add", [made, own], name=f"{name}.add").output
        shapes[made.name] = (batch, tokens, columns.size)
    sizes = graph.add_constant(f"{name}.sizes", np.asarray([0, 0, *columns.shape], np.int64))
    made = graph.add_node("Reshape", [made, sizes], name=f"{name}.heads").output
    shapes[made.name] = (batch, tokens, *columns.shape)
    made = graph.add_node("Transpose", [made], {"perm": list(order)}, name=f"{name}.order").output
    whole = (batch, tokens, *columns.shape)
    shapes[made.name] = tuple(whole[axis] for axis in order)
    graph.replace_uses(end, made)


def _settle_sizes(graph: ir.Graph, attention: Attention, facts: Facts) -> None:
    """Write the sizes of the Reshapes around heads as constants that hold for any width of the heads.

    (batch, tokens, heads x size) to (batch, tokens, heads, size) and back: the first two are copied.
    """
    nodes = [
        node for one in attention.projections for tensor in one.flow.numbers for node in tensor.consumers
    ]
    tensor = attention.mix.output
    while tensor.consumers and (
        attention.output is None or tensor.consumers[0] is not attention.output.layer
    ):
        node = tensor.consumers[0]
        if node.op not in ("Reshape", "Transpose", "Mul", "Div", "Identity"):
            break
        nodes.append(node)
        tensor = node.output
    for node in dict.fromkeys(nodes):
        if node.op != "Reshape" or node.inputs[1].constant is not None or node.attr("allowzero", 0):
            continue
        old, new = facts.shape(node.inputs[0]), facts.shape(node.output)
        if old is None or new is None or old[:2] != new[:2]:
            continue
        if len(old) == 3 and len(new) == 4:
            sizes = [0, 0, *new[2:]]
        elif len(old) == 4 and len(new) == 3:
            sizes = [0, 0, -1]
        else:
            continue
        node.inputs[1] = graph.add_constant(
            f"{node.name or node.output.name}.sizes", np.asarray(sizes, np.int64)
        )
