"""Pruning against a twin that knows nothing of it: masks behind the layers that the plan names.

The twin is the original with a Mul by zeros and ones behind each layer, made from the plan alone: the names
of tensors, the axis, the channels.  Where an operator right behind a layer makes something else of zeros, its
output is masked too; which ones do is a list of its own here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from graphopt import ir
from graphopt.passes.prune import Prune
from graphopt.pipeline import Plan
from graphopt.runtime import Session
from tests.corpus.networks.random_topology import random_topology
from tests.passes.prune.oracle import context, largest_difference, load
from tests.passes.prune.wide_networks import wide_network

FAST, ALL, BLOCK = 100, 1000, 20
TOLERANCE = 1e-4
# Element by element from one tensor: zeros become anything, channels keep their places.
REMASKED = {
    *("BatchNormalization", "Clip", "Cos", "Exp", "HardSigmoid", "InstanceNormalization", "Sigmoid"),
    *("LayerNormalization", "Softplus"),
}

Mask = tuple[int, np.ndarray]  # axis, ones and zeros
Shapes = Mapping[str, tuple[int, ...]]


def masks_of(items: Iterable[Mapping[str, Any]], shapes: Shapes) -> dict[str, Mask]:
    """What a plan says of each tensor."""
    masks: dict[str, Mask] = {}
    for item in items:
        for part in item.get("narrowed", ()):
            axis, name = int(part["axis"]), part["tensor"]
            _, ones = masks.setdefault(name, (axis, np.ones(shapes[name][axis], np.float32)))
            ones[part["remove"]] = 0
    return masks


def twin_of(proto: onnx.ModelProto, masks: Mapping[str, Mask], shapes: Shapes) -> bytes:
    """The original with a Mul behind each masked tensor, written on the file format alone."""
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    known = dict(masks)
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        source = known.get(node.input[0]) if node.input else None
        same = source is not None and shapes.get(node.input[0]) == shapes.get(node.output[0])
        if node.op_type in REMASKED and same and source is not None and np.any(source[1] == 0):
            known.setdefault(node.output[0], source)
        for name in node.output:
            if name in known:
                nodes += _masked(model.graph, node, name, known[name], len(shapes[name]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def _masked(
    graph: onnx.GraphProto, node: onnx.NodeProto, name: str, mask: Mask, rank: int
) -> list[onnx.NodeProto]:
    """Let a node write to another name, and the product with the mask to the old one."""
    axis, ones = mask
    whole, constant = f"{name}.whole", f"{name}.mask"
    node.output[list(node.output).index(name)] = whole
    shape = [-1 if at == axis else 1 for at in range(rank)]
    graph.initializer.append(numpy_helper.from_array(ones.reshape(shape), constant))
    return [helper.make_node("Mul", [whole, constant], [name])]


def shapes_of(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The shapes of all floating point tensors, by running the model."""
    names = [tensor.name for node in model.graph.nodes for tensor in node.outputs if tensor.name]
    values = Session(model, outputs=names, optimization="disabled").run(feeds)
    return {name: value.shape for name, value in values.items() if isinstance(value, np.ndarray)}


def feeds_of(model: ir.Model, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        port.name: rng.standard_normal([s if isinstance(s, int) else 2 for s in port.shape]).astype(
            np.float32
        )
        for port in model.signature.inputs
    }


def network(seed: int) -> onnx.ModelProto:
    return wide_network(seed, keeps_zeros=True) if seed % 4 else random_keeping(seed)


def random_keeping(seed: int) -> onnx.ModelProto:
    """A network of the plain generator whose operators all leave zeros as they are."""
    for number in range(seed * 1000, seed * 1000 + 1000):
        proto = random_topology(number, steps=3)
        if not {node.op_type for node in proto.graph.node} & BREAKING:
            return proto
    raise AssertionError("none of a thousand networks")


BREAKING = REMASKED | {
    *("Add", "Sub", "Div", "Max", "Min", "Where", "Pad", "Softmax", "GroupNormalization", "If", "LRN", "Mul"),
}


def difference(seed: int, spoil: int = 0) -> tuple[float, int]:
    """How far a pruned network is from its twin, and how many channels went; ``spoil`` moves the masks."""
    proto = network(seed)
    before = load(proto)
    feeds = feeds_of(before, seed)
    shapes = shapes_of(before, feeds)
    after, step = load(proto), Prune(ratio=0.5, round_to=1, repair=False, importance="l2")
    ctx = context(after)
    plan = step.plan(after, ctx)
    items = json.loads(json.dumps([dict(item) for item in plan.items]))
    step.apply(after, Plan(tuple(items)), ctx)
    after.check()
    assert after.signature == before.signature
    masks = masks_of(items, shapes)
    if spoil:
        masks = {name: (axis, np.roll(ones, spoil)) for name, (axis, ones) in masks.items()}
    twin = ir.from_bytes(twin_of(proto, masks, shapes))
    level = ("disabled", "all")[seed % 2]
    return largest_difference(twin, after, feeds, level), sum(len(item["remove"]) for item in items)


def block(first: int) -> int:
    """Check a block of seeds; return how many networks lost channels."""
    narrowed = 0
    for seed in range(first, first + BLOCK):
        moved, gone = difference(seed)
        assert moved <= TOLERANCE, seed
        narrowed += gone > 0
    return narrowed


@pytest.mark.parametrize("first", range(0, FAST, BLOCK))
def test_independent_twin(first: int) -> None:
    assert block(first) >= BLOCK // 2


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FAST, ALL, BLOCK))
def test_independent_twin_at_length(first: int) -> None:
    assert block(first) >= BLOCK // 2


def test_a_mask_at_the_wrong_place_is_noticed() -> None:
    noticed = [difference(seed, spoil=1)[0] > TOLERANCE for seed in range(8) if difference(seed)[1]]
    assert sum(noticed) >= len(noticed) - 1 > 2
