"""What really runs on integers: the quantized model as the runtime sees it, operator by operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graphopt import runtime
from graphopt.ir import Model, Node, Tensor

INTEGER = frozenset(
    {"QGemm", "MatMulIntegerToFloat", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul"}
)
ABSORBED = ("Relu", "Clip")
LARGEST_LIST = 3  # shown: operators named in a sentence


@dataclass(frozen=True)
class Operator:
    """One operator that reads integers: what makes its result in the runtime, and why when in float."""

    node: str
    op: str
    kernel: str
    fused: bool
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        item = {"node": self.node, "op": self.op, "kernel": self.kernel, "fused": self.fused}
        return item if self.fused else {**item, "reason": self.reason}


def verify_fusion(model: Model, custom_ops: Sequence[str] = ()) -> list[Operator]:
    """Load a model with QuantizeLinear pairs in onnxruntime and tell what became of every planned operator.

    Planned is what reads stored tensors and writes one; a Gemm or MatMul may write floats.  Raises
    ModelError when onnxruntime refuses the model.
    """
    made = runtime.kernels(model, custom_ops=custom_ops)
    return [_operator(node, made) for node in _planned(model)]


def summary(operators: Iterable[Operator]) -> str:
    """One line: how many planned operators run on integers, and which do not."""
    operators = list(operators)
    floats = [operator for operator in operators if not operator.fused]
    text = f"{len(operators) - len(floats)} of {len(operators)} planned operators run on integers"
    if not floats:
        return text
    named = ", ".join(f"{o.node} ({o.op})" for o in floats[:LARGEST_LIST])
    more = f" and {len(floats) - LARGEST_LIST} more" if len(floats) > LARGEST_LIST else ""
    return f"{text}; in float: {named}{more}"


def unfused(operators: Iterable[Operator]) -> Counter[str]:
    """How many planned operators of each kind run in float."""
    return Counter(operator.op for operator in operators if not operator.fused)


def _planned(model: Model) -> Iterator[Node]:
    for node in model.graph.nodes:
        if node.op in ("QuantizeLinear", "DequantizeLinear", *ABSORBED) or not node.outputs:
            continue
        if not node.inputs or not _is_read(node.inputs[0]):
            continue
        if _store(node) is not None or node.op in ("Gemm", "MatMul"):
            yield node


def _is_read(tensor: Tensor) -> bool:
    maker = tensor.producer
    return maker is not None and maker.op == "DequantizeLinear" and len(maker.inputs[1].constant.ravel()) == 1


def _store(node: Node) -> Node | None:
    """The QuantizeLinear behind a node and the Relu, Clip or bias that its kernel takes over."""
    if node.op == "QuantizeLinear":
        return node
    tensor = node.output
    while tensor.consumers:
        reader = tensor.consumers[0]
        if reader.op == "QuantizeLinear":
            return reader
        is_bias = reader.op == "Add" and node.op == "MatMul"
        if not tensor.is_private or (reader.op not in ABSORBED and not is_bias):
            return None
        tensor = reader.output
    return None


def _operator(node: Node, made: dict[str, str]) -> Operator:
    name, store = node.name or node.output.name, _store(node)
    if store is None:
        kernel = next((made[t] for t in _results(node) if t in made), "")
        fused = kernel in INTEGER or kernel.startswith("QLinear")
        return Operator(name, node.op, kernel, fused, "" if fused else "the runtime computes it in float")
    kernel = made.get(store.output.name, "")
    if kernel == "QuantizeLinear":
        return Operator(
            name, node.op, node.op, False, f"the runtime has no integer kernel for this {node.op}"
        )
    return Operator(name, node.op, kernel or "removed", True)


def _results(node: Node) -> Iterator[str]:
    """The result of a node, and of the nodes that may be one with it."""
    yield node.output.name
    for reader in node.output.consumers:
        if reader.op in ("Add", *ABSORBED):
            yield from _results(reader)
