"""Rewrite what trainers lack a gradient for, and say what is left without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphopt import ir
from graphopt.ir import Node, Tensor
from graphopt.ir.traversal import reads

from ..graph.builder import Builder
from .activations import ACTIVATIONS
from .layers import LAYERS, batch_norm
from .reductions import SUMS
from .resampling import MOVES

Rewrite = Callable[[Node, Builder], "Tensor | None"]
REWRITES: dict[str, Rewrite] = {**ACTIVATIONS, **LAYERS, **MOVES, **SUMS}

DIFFERENTIABLE = frozenset(
    [
        "Abs",
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Conv",
        "Cos",
        "Div",
        "Dropout",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "Identity",
        "LeakyRelu",
        "Log",
        "LogSoftmax",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "Neg",
        "Pad",
        "Pow",
        "Reciprocal",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceMean",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Sin",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tanh",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)  # measured one by one: onnxruntime-training 1.19.2 on the CPU, against finite differences
FAKE_QUANT = "FakeQuant"
MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Problem:
    """An operator that has no gradient, at a node through which a gradient would have to go."""

    op: str
    node: str
    reads: str

    def __str__(self) -> str:
        return f"there is no gradient for {self.op} (node {self.node})"


def rewrite(model: ir.Model, shapes: dict[str, tuple[int, ...]], *, live_bn: bool) -> None:
    """Replace in the main graph every operator for which there is a rewrite."""
    graph = model.graph
    rules = dict(REWRITES) if live_bn else {**REWRITES, "BatchNormalization": batch_norm}
    for node in list(graph.find("Dropout")):
        if not _trains(node):
            graph.bypass(node)
    for node in list(graph.find(*rules)):
        to = Builder.of(node, shapes)
        result = rules[node.op](node, to)
        if result is not None:
            to.replace(node, result)
    graph.remove_dead()
    graph.sort()


def _trains(node: Node) -> bool:
    """Whether a Dropout may drop something even at inference."""
    return node.input(2) is not None


def problems(graph: ir.Graph, trained: set[Tensor], *, live_bn: bool) -> list[Problem]:
    """The nodes without a gradient between trained tensors and the outputs.

    Only floating-point results carry a gradient; what lies behind no trained tensor needs none.  A
    normalisation that could not be folded would be trained as a live one, silently.
    """
    graph.sort()
    moved = set(trained)
    listed = []
    for node in graph.nodes:
        reached = [tensor for tensor in reads(node) if tensor in moved]
        if not reached:
            continue
        if _has_gradient(node) and (live_bn or node.op != "BatchNormalization"):
            moved.update(node.outputs)
        elif not _ends_gradients(node):
            listed.append(Problem(node.op, node.name or node.output.name, reached[0].name))
            moved.update(node.outputs)
    return listed


def _has_gradient(node: Node) -> bool:
    if node.op == FAKE_QUANT and node.domain == MICROSOFT:
        return True
    return node.is_standard and node.op in DIFFERENTIABLE


def _ends_gradients(node: Node) -> bool:
    """Whether the results are no floating-point numbers: positions, comparisons, sizes."""
    return node.is_standard and node.op in _INTEGER_RESULTS


_INTEGER_RESULTS = frozenset(
    [
        "ArgMax",
        "ArgMin",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "And",
        "Or",
        "Not",
        "Xor",
        "IsInf",
        "IsNaN",
        "NonZero",
        "Shape",
        "Size",
        "NonMaxSuppression",
    ]
)
