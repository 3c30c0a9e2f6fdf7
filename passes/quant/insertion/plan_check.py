"""Hold a plan, made for another model or edited, against the model it is to be carried out on."""

from __future__ import annotations

from collections.abc import Mapping

from graphopt.errors import PassError
from graphopt.ir import Node

from ..items import Item, TensorItem, TuneItem, WeightItem


def refuse_unknown(nodes: Mapping[str, Node], items: list[Item]) -> None:
    """Raise PassError for what a plan, made for another model or edited, misses in this one."""
    tensors = {t.name for node in nodes.values() for t in (*node.inputs, *node.outputs)}
    stored = {item.tensor for item in items if isinstance(item, TensorItem)}
    if unknown := sorted(stored - tensors):
        raise _plan_error(f"the plan speaks of the tensor {unknown[0]}, which the model does not have")
    for item in items:
        if isinstance(item, TuneItem):
            continue  # it speaks of the model as a whole
        wanted = item.readers or () if isinstance(item, TensorItem) else [item.node]
        missing = [name for name in wanted if name not in nodes]
        if missing:
            raise _plan_error(f"the plan speaks of a node that makes {missing[0]}, and the model has none")
        if isinstance(item, WeightItem) and nodes[item.node].inputs[0].name not in stored:
            raise _plan_error(f"the plan stores {item.weight}, but not what its layer {item.node} reads")


def _plan_error(message: str) -> PassError:
    return PassError(message, hint="make a new plan for this model", pass_name="quant")
