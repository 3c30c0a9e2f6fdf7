"""Operators that a backend gets wrong between a DequantizeLinear and a QuantizeLinear, as its profile says.

Whether the profile counts such an operator among the integer ones or not, the file would hold both pairs as
soon as its neighbours run on integers.  So either it or what reads its result stays float.
"""

from __future__ import annotations

from graphopt.ir import Node, Tensor
from graphopt.targets import Target

from .placement import Placement

REASON = "{} gets {} wrong between what is stored"


def wrong_fusions(placement: Placement, target: Target) -> dict[Node, str]:
    """The nodes to leave float, with the reason; empty when the placement holds no such pattern."""
    if not target.not_between_pairs:
        return {}
    stored = {entry.tensor: entry for entry in placement.stored}
    behind = {node: entry.tensor for entry in placement.stored for node in entry.absorbed}
    refused: dict[Node, str] = {}
    for tensor, entry in stored.items():
        readers = set(tensor.consumers) if entry.readers is None else set(entry.readers)
        node = next(iter(readers)) if len(readers) == 1 else None
        if node is None or not node.is_standard or node.op not in target.not_between_pairs:
            continue
        result = _result(node, behind)
        if result in stored:
            reason = REASON.format(target.runtime, node.op)
            blamed = (
                [node] if node in placement.integer else [n for n in placement.integer if result in n.inputs]
            )
            refused |= dict.fromkeys(blamed, reason)
    return refused


def _result(node: Node, behind: dict[Node, Tensor]) -> Tensor:
    """What a node's followers read: its result behind the nodes whose work storing does."""
    tensor: Tensor = node.output
    readers = tensor.consumers
    return behind[readers[0]] if len(readers) == 1 and readers[0] in behind else tensor
