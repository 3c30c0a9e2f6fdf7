"""Operators behind which small differences say nothing: random ones, and those that choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.data import is_float
from graphopt.ir.declared import as_dtype
from graphopt.ir.traversal import reads

if TYPE_CHECKING:
    from graphopt.ir import Graph, Model, Node, Tensor

RANDOM = frozenset(
    ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
)
# A difference in the last bit may flip what these choose, and then everything after them.
DISCRETE = frozenset(
    (
        *("TopK", "NonMaxSuppression", "ArgMax", "ArgMin", "Hardmax", "NonZero", "Unique"),
        *("Round", "Floor", "Ceil", "Sign", "QuantizeLinear", "DynamicQuantizeLinear"),
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
        *("Mod", "Shrink", "ThresholdedRelu"),
    )
)
FINE = ("float16", "bfloat16", "float32", "float64", "object")  # types that Cast rounds to in small steps


@dataclass(frozen=True)
class Discontinuities:
    """What stands between a model's inputs and its outputs.

    ``random`` are the outputs that a random operator reaches. ``entering`` gives, for an output that depends
    on choices, the float tensors that enter the first of these operators.
    """

    random: frozenset[str]
    entering: dict[str, tuple[str, ...]]

    @property
    def tensors(self) -> tuple[str, ...]:
        """All tensors of ``entering``, each once."""
        return tuple(dict.fromkeys(name for names in self.entering.values() for name in names))


def find_walls(model: Model) -> Discontinuities:
    """Walk the main graph once and note what each output depends on."""
    graph = model.graph
    random: set[int] = set()  # ids of tensors behind a random operator
    entering: dict[int, frozenset[str]] = {}  # tensor id -> what enters the first walls before it
    for node in _in_order(graph):
        sources = list(reads(node))
        is_random = _any(node, _is_random) or any(id(t) in random for t in sources)
        walls = frozenset().union(*(entering.get(id(t), frozenset()) for t in sources))
        if _any(node, _is_discrete):
            walls |= {
                t.name for t in sources if t.name and id(t) not in entering and _is_computed_float(t, graph)
            }
        for tensor in node.outputs:
            if is_random:
                random.add(id(tensor))
            if walls:
                entering[id(tensor)] = walls
    outputs = {t.name: id(t) for t in graph.outputs}
    return Discontinuities(
        frozenset(name for name, key in outputs.items() if key in random),
        {name: tuple(sorted(entering[key])) for name, key in outputs.items() if key in entering},
    )


def _in_order(graph: Graph) -> list[Node]:
    graph.sort()
    return list(graph.nodes)


def _any(node: Node, holds: Callable[[Node], bool]) -> bool:
    """Whether something holds for a node or one in its subgraphs."""
    return holds(node) or any(
        holds(inner) for graph in node.subgraphs(recursive=True) for inner in graph.nodes
    )


def _is_random(node: Node) -> bool:
    if node.op == "Dropout":
        return len(node.inputs) > 2 and bool(node.inputs[2].name)  # a training mode is given
    return node.op in RANDOM


def _is_discrete(node: Node) -> bool:
    if node.op == "Cast":
        return as_dtype(node.attr("to", 1)).name not in FINE
    return node.op in DISCRETE


def _is_computed_float(tensor: Tensor, graph: Graph) -> bool:
    """Whether a tensor holds numbers worth comparing: computed in ``graph``, not known to be integer."""
    if tensor.producer is None or tensor.producer.graph is not graph or tensor.constant is not None:
        return False
    return tensor.dtype is None or is_float(tensor.dtype)
