"""What a float graph is turned into so that more of it runs on integers.

A rewrite keeps the float function: exactly, or within the rounding of one float32 operation.  It is found
while planning, becomes an item of the plan, and is carried out before anything is stored.

- ``arithmetic``: Operators without integer kernels, as others that have one.
- ``blocks``: Channels of zeros, so that depthwise kernels find whole blocks.
- ``channels``: Constants by channel, as layers: a product or sum with one number a channel is a depthwise 1x1
  Conv.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from graphopt.errors import PassError, UsageError
from graphopt.ir import Graph, Model, Node, Shape, Tensor, infer_shapes
from graphopt.ir.analysis.facts import gather_facts
from graphopt.ir.transform.shortcut import shortcut
from graphopt.targets import Target
from graphopt.util.text import meant_or_known

from ..items import Item, RewriteItem, node_id
from .arithmetic import divide, mean, prelu, subtract
from .blocks import Widening
from .channels import affine

Shapes = Mapping[str, Shape]
Rewrite = Callable[[Node, Shapes], bool]

REWRITES: dict[str, Rewrite] = {
    "reduce-mean": mean,
    "subtraction": subtract,
    "division": divide,
    "prelu": prelu,
    "shortcut": shortcut,
    "channel-constant": affine,
}

# Rewrites that are carried out while the pairs of QuantizeLinear and DequantizeLinear are put in.
WHILE_INSERTING = ("integer-pad", "integer-gate", "rescale")
NAMES = (*REWRITES, "depthwise-block", *WHILE_INSERTING)


def find_rewrites(model: Model, target: Target, refused: Callable[[Node], str | None]) -> list[RewriteItem]:
    """Carry out every rewrite of the target that fits, and return what was done; not of refused nodes.

    Raises UsageError when the target names a rewrite that does not exist.
    """
    for kind in target.rewrites:
        if kind not in NAMES:
            raise UsageError(f"{target.name}: there is no rewrite {kind!r}{meant_or_known(kind, NAMES)}")
    done: list[RewriteItem] = []
    shapes = _known(model)
    for kind in target.rewrites:
        rewrite = _rewrite(kind, target)
        if rewrite is None:
            continue  # carried out while the pairs are put in
        for node in list(model.graph.nodes):
            if node.graph is not model.graph or not node.outputs or not node.is_standard or refused(node):
                continue
            name = node_id(node)
            if rewrite(node, shapes):
                done.append(RewriteItem(name, kind))
    tidy(model.graph)
    return done


def carry_out(model: Model, items: list[Item], target: Target) -> None:
    """Carry out the rewrites of a plan.  Raises PassError for one that does not fit the model."""
    wanted = [item for item in items if isinstance(item, RewriteItem)]
    if not wanted:
        return
    shapes, rewrites = _known(model), {item.kind: _rewrite(item.kind, target) for item in wanted}
    results: dict[str, Tensor] = {}  # rewrites keep the tensors that are there, and add others
    for item in wanted:
        if item.node not in results:
            results = {t.name: t for node in model.graph.nodes for t in node.outputs}
        rewrite, result = rewrites[item.kind], results.get(item.node)
        node = None if result is None else result.producer
        if rewrite is None or node is None or not rewrite(node, shapes):
            raise PassError(
                f"the plan asks for the rewrite {item.kind} of {item.node}, which the model does not allow",
                hint="make a new plan for this model",
                pass_name="quant",
            )
    tidy(model.graph)


def _known(model: Model) -> Shapes:
    """The shapes of tensors; on the way, those that are float32 learn it where the file does not say."""
    facts = gather_facts(model)
    for node in model.graph.nodes:
        for tensor in node.outputs:
            if tensor.name and tensor.dtype is None and facts.dtype(tensor) == np.float32:
                tensor.dtype = np.dtype(np.float32)
    return infer_shapes(model)


def tidy(graph: Graph) -> None:
    """Drop what rewrites left behind."""
    graph.remove_dead()
    graph.remove_unused_initializers()
    graph.sort()


def _rewrite(kind: str, target: Target) -> Rewrite | None:
    if kind == "depthwise-block":
        return Widening(target.depthwise_block)
    return REWRITES.get(kind)
