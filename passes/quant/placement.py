"""Which layers run on integers, and which tensors are stored in uint8 for them.

1. Layers are candidates unless their operator, weights or the user forbid it.
2. A Conv whose values reach an output without being summed again stays float: 8 bits would make ties there.
   (A Gemm or MatMul may read integers and write floats, so it need not.)
3. A carrier joins when integers come in and a later integer node wants them; else it would only move the
   border between integers and floats.
4. What is left float and reads integers is an island, and gets its reason told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from graphopt.ir import Graph, Model, Node, Tensor

from .parameters import Bounds
from .rules import (
    CARRIERS,
    GATES,
    LAYERS,
    MIXERS,
    clip_bounds,
    layer_bias,
    layer_refusal,
    own_bounds,
    scalar,
    weight_shape,
)

TAIL = "its values reach an output without being summed again: 8 bits would make ties there"

Refusal = Callable[[Node], "str | None"]


@dataclass(frozen=True)
class Stored:
    """A tensor stored in uint8.

    ``source`` is the tensor whose range decides its parameters.  ``readers`` read what was stored; None when
    all do, since the tensor is made by an integer node.
    """

    tensor: Tensor
    source: Tensor
    bounds: Bounds
    readers: tuple[Node, ...] | None


@dataclass
class Placement:
    """What runs on integers, and why the rest does not."""

    layers: list[Node] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    pads: list[Node] = field(default_factory=list)  # computed on the stored integers as they are
    scalars: list[Node] = field(default_factory=list)  # Add and Mul with a number, which is to be stored
    gates: list[Node] = field(
        default_factory=list
    )  # HardSigmoid and HardSwish, computed by integer additions
    walls: list[Node] = field(default_factory=list)  # float layers that read integers
    skips: list[tuple[Node, str]] = field(default_factory=list)


def place(model: Model, refused: Refusal) -> Placement:
    """Decide what runs on integers; ``refused`` gives the user's reason against a node, or None."""
    model.graph.sort()
    region = _Region(model.graph, refused)
    placement = Placement(
        layers=[n for n in region.integer if n.op in LAYERS],
        stored=list(_stored(region)),
        pads=[n for n in region.integer if n.op == "Pad"],
        scalars=[n for n in region.integer if scalar(n) is not None],
        gates=[n for n in region.integer if n.op in GATES],
        skips=list(region.skips),
    )
    placement.walls = [n for n in region.floats if _is_walled(n, placement.stored)]
    placement.skips += [(n, "it is inside the body of an If, Loop or Scan") for n in _inner_layers(model)]
    return placement


class _Region:
    """The integer part of a graph, and the reasons at its border."""

    def __init__(self, graph: Graph, refused: Refusal) -> None:
        self.graph = graph
        self.outputs = set(graph.outputs)
        self.reasons: dict[Node, str | None] = {
            n: refused(n) or _refusal(n, self.outputs) for n in graph.nodes if _is_known(n)
        }
        self.absorbed: dict[Tensor, tuple[Tensor, Bounds]] = {}
        self._refuse_tails()
        self._absorb()
        self._grow()

    def _refuse_tails(self) -> None:
        """Refuse each Conv whose values reach the outputs without being summed again."""
        mixed: set[Node] = set()
        for node in reversed(self.graph.nodes):
            readers = [reader for tensor in node.outputs for reader in tensor.consumers]
            if any(r in mixed or (r.op in MIXERS and r.is_standard) for r in readers):
                mixed.add(node)
            elif node.op == "Conv" and self._is_candidate(node):
                self.reasons[node] = TAIL

    def _absorb(self) -> None:
        """Let candidates take over the Relu and Clip behind them: storing their result clips it."""
        for node in list(self.graph.nodes):
            if self._is_candidate(node) and not _shares(node) and node.output not in self.absorbed:
                result, bounds = self._result(node)
                self.absorbed[node.output] = (result, bounds)

    def _result(self, node: Node) -> tuple[Tensor, Bounds]:
        tensor, bounds = node.output, own_bounds(node)
        bias = layer_bias(node) if node.op == "MatMul" else None
        if bias is not None:
            tensor, self.reasons[bias.node] = bias.node.output, "absorbed"
        while tensor.is_private and node.op not in GATES:
            reader = tensor.consumers[0]
            limits = clip_bounds(reader)
            if limits is None or not self._is_candidate(reader):
                break
            tensor, bounds = reader.output, bounds.within(limits)
            self.reasons[reader] = "absorbed"
        return tensor, bounds

    def _grow(self) -> None:
        candidates = [n for n in self.graph.nodes if self._is_candidate(n)]
        made: set[Tensor] = set()  # by integer nodes
        supplied = []
        for node in candidates:
            if node.op in LAYERS or any(t in made for t in activations(node)):
                supplied.append(node)
                made.update(self.results(node))
        wanted: set[Tensor] = set()  # by integer nodes
        integer: list[Node] = []
        for node in reversed(supplied):
            if node.op in LAYERS or any(t in wanted for t in self.results(node)):
                integer.append(node)
                wanted.update(activations(node))
        self.integer = integer[::-1]
        self.wanted = wanted

    def results(self, node: Node) -> list[Tensor]:
        """What the following nodes read of ``node``: its outputs, behind what it absorbs."""
        return [self.absorbed[t][0] if t in self.absorbed else t for t in node.outputs if t.name]

    def is_written(self, node: Node) -> bool:
        """Whether an integer node writes integers: a Gemm or MatMul does so only when they are wanted."""
        if node.op in ("Gemm", "MatMul"):
            return any(t in self.wanted and t not in self.outputs for t in self.results(node))
        return True

    @property
    def floats(self) -> list[Node]:
        """What stays float."""
        integer = set(self.integer)
        return [n for n in self.graph.nodes if n not in integer and self.reasons.get(n) != "absorbed"]

    @property
    def skips(self) -> Iterator[tuple[Node, str]]:
        """Layers that stay float, and islands between integers, with their reasons."""
        islands = self._islands()
        for node in self.floats:
            reason = self.reasons.get(node)
            if node.op in LAYERS and node.is_standard:
                yield node, reason or "it is not part of the main graph"
            elif node in islands and (reason or node not in self.reasons):
                yield node, reason or f"onnxruntime has no integer kernel for {node.op}"

    def _islands(self) -> set[Node]:
        """Float nodes that integer nodes lead to and that lead to integer nodes."""
        after = {t for n in self.integer for t in self.results(n) if self.is_written(n)}
        before = set(self.wanted)
        floats = self.floats
        for node in floats:
            if any(t in after for t in node.inputs):
                after.update(node.outputs)
        for node in reversed(floats):
            if any(t in before for t in node.outputs):
                before.update(node.inputs)
        return {n for n in floats if after.intersection(n.inputs) and before.intersection(n.outputs)}

    def _is_candidate(self, node: Node) -> bool:
        return node in self.reasons and self.reasons[node] is None


def activations(node: Node) -> list[Tensor]:
    """The inputs of a candidate that are not parameters."""
    if node.op in CARRIERS and CARRIERS[node.op].reads_all:
        return [tensor for tensor in node.inputs if tensor.constant is None]
    return [node.inputs[0]]


def _stored(region: _Region) -> Iterator[Stored]:
    """Every tensor that integer nodes read or write, producers before consumers."""
    sources: dict[Tensor, tuple[Tensor, Bounds]] = {}
    readers: dict[Tensor, list[Node]] = {}
    for node in region.integer:
        for tensor in dict.fromkeys(activations(node)):
            readers.setdefault(tensor, []).append(node)
    seen: set[Tensor] = set()
    for node in region.integer:
        for tensor in dict.fromkeys(activations(node)):
            if tensor not in seen:  # made by a float node or fed in
                seen.add(tensor)
                yield Stored(tensor, tensor, Bounds(), tuple(readers[tensor]))
        if not region.is_written(node):
            continue
        for output, tensor in zip(node.outputs, region.results(node), strict=False):
            if _shares(node):
                sources[tensor] = sources.get(node.inputs[0], (node.inputs[0], Bounds()))
            else:
                sources[tensor] = (tensor, region.absorbed.get(output, (tensor, Bounds()))[1])
            seen.add(tensor)
            yield Stored(tensor, *sources[tensor], readers=None)


def _is_walled(node: Node, stored: list[Stored]) -> bool:
    """Whether onnxruntime would quantize a float layer by itself, since it stands between integers."""
    if node.op not in ("Conv", "ConvTranspose", "Gemm") or not node.is_standard or not weight_shape(node):
        return False
    tensors = {s.tensor: s.readers for s in stored}
    if tensors.get(node.inputs[0], ()) is not None:
        return False
    result = node.output
    while result not in tensors and len(result.consumers) == 1 and result.consumers[0].op in ("Relu", "Clip"):
        result = result.consumers[0].output
    return result in tensors


def _is_known(node: Node) -> bool:
    return node.is_standard and (node.op in LAYERS or node.op in CARRIERS)


def _shares(node: Node) -> bool:
    return node.op in CARRIERS and CARRIERS[node.op].shares


def _refusal(node: Node, outputs: set[Tensor]) -> str | None:
    if node.op in LAYERS:
        reason = layer_refusal(node)
        handed_out = node.op == "Conv" and node.output in outputs
    else:
        reason = CARRIERS[node.op].refusal(node)
        handed_out = any(t in outputs for t in node.outputs)
    return reason or ("its result is an output of the model, which stays float" if handed_out else None)


def _inner_layers(model: Model) -> Iterator[Node]:
    for graph in model.graphs():
        if graph is not model.graph:
            yield from graph.find(*LAYERS)
