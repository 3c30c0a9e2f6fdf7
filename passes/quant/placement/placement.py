"""Which layers run on integers, and which tensors are stored in uint8 for them.

1. Layers are candidates unless their operator, weights or the user forbid it.
2. A Conv whose values reach an output without being summed again stays float: 8 bits would make ties there.
   (A Gemm or MatMul may read integers and write floats, so it need not.)
3. A carrier joins when integers come in and a later integer node wants them; else it would only move the
   border between integers and floats.
4. What is left float and reads integers is an island, and its reason is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from graphopt.ir import Graph, Model, Node, Tensor
from graphopt.ir.transform.layer_bias import layer_bias
from graphopt.ir.transform.linear import LAYERS
from graphopt.targets import Target

from ..calibration.parameters import Bounds
from .claims import activations, unclaimed
from .expectations import is_expectation
from .rules import (
    GATES,
    MIXERS,
    factor,
    is_known,
    own_bounds,
    refusal,
    scalar,
    shares,
    stored_bounds,
    weight_shape,
)
from .spelled_gelu import REASON, spelled_gelus

UNBOUNDED = Bounds()
TAIL = "its values reach an output without being summed again: 8 bits would make ties there"

Refusal = Callable[[Node], "str | None"]


@dataclass(frozen=True)
class Stored:
    """A tensor stored in uint8.

    ``source`` is the tensor whose range decides its parameters, ``factor`` times its scale.  ``readers`` read
    what was stored; None when all do, since the tensor is made by an integer node.  ``absorbed`` are the
    Relu and Clip nodes whose work the storing does.
    """

    tensor: Tensor
    source: Tensor
    bounds: Bounds = UNBOUNDED
    readers: tuple[Node, ...] | None = None
    factor: float = 1.0
    absorbed: tuple[Node, ...] = ()


@dataclass
class Placement:
    """What runs on integers, and why the rest does not."""

    layers: list[Node] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    pads: list[Node] = field(default_factory=list)  # computed on the stored integers as they are
    scalars: list[Node] = field(default_factory=list)  # Add and Mul with a number, which is to be stored
    rescaled: list[Node] = field(default_factory=list)  # Mul with a number, by reading with another scale
    gates: list[Node] = field(default_factory=list)  # HardSigmoid and HardSwish by integer additions
    walls: list[Node] = field(default_factory=list)  # float layers that read integers
    skips: list[tuple[Node, str]] = field(default_factory=list)
    integer: list[Node] = field(default_factory=list)  # all nodes that run on integers

    @property
    def absorbed(self) -> list[Node]:
        """The Relu and Clip nodes whose work storing does."""
        return [node for stored in self.stored for node in stored.absorbed]


def place(model: Model, refused: Refusal, target: Target) -> Placement:
    """Decide what a target runs on integers; ``refused`` gives the user's reason against a node, or None."""
    from .wrong_fusions import wrong_fusions

    model.graph.sort()
    left: dict[Node, str] = {}

    def refused_or_left(node: Node) -> str | None:
        return refused(node) or left.get(node)

    while True:  # ends, since each round leaves more nodes float
        placement = _placed(model.graph, refused_or_left, target)
        wrong = wrong_fusions(placement, target)
        if not wrong.keys() - left.keys():
            break
        left |= wrong
    placement.skips += [(n, "it is inside the body of an If, Loop or Scan") for n in _inner_layers(model)]
    return placement


def _placed(graph: Graph, refused: Refusal, target: Target) -> Placement:
    if target.placement == "inputs":
        from .input_placement import place_entries

        return place_entries(graph, refused, target)
    return _place_regions(graph, refused, target)


def _place_regions(graph: Graph, refused: Refusal, target: Target) -> Placement:
    region = _Region(graph, refused, target)
    rewrites, integer = target.rewrites, region.integer
    scalars = [n for n in integer if scalar(n) is not None]
    placement = Placement(
        layers=[n for n in integer if n.op in LAYERS],
        stored=list(_stored(region)),
        pads=[n for n in integer if n.op == "Pad" and "integer-pad" in rewrites],
        scalars=[n for n in scalars if not region.is_rescaled(n)],
        rescaled=[n for n in scalars if region.is_rescaled(n)],
        gates=[n for n in integer if n.op in GATES and "integer-gate" in rewrites],
        skips=list(region.skips),
        integer=integer,
    )
    if target.walls:
        placement.walls = [n for n in region.floats if _is_walled(n, placement.stored)]
    return placement


class _Region:
    """The integer part of a graph, and the reasons at its border."""

    def __init__(self, graph: Graph, refused: Refusal, target: Target) -> None:
        self.graph = graph
        self.target = target
        self.outputs = set(graph.outputs)
        self.reasons: dict[Node, str | None] = {
            n: refused(n) or refusal(n, target) or self._handed_out(n) or unclaimed(n, activations(n))
            for n in graph.nodes
            if is_known(n, target)
        }
        if not target.whole:
            self._keep_gelus()
        self.absorbed: dict[Tensor, tuple[Tensor, Bounds, tuple[Node, ...]]] = {}
        if target.tails == "float":
            self._refuse_tails()
        self._absorb()
        self._grow()

    def _keep_gelus(self) -> None:
        """Refuse the parts of each GELU that is spelled out."""
        for node in spelled_gelus(self.graph):
            if self._is_candidate(node):
                self.reasons[node] = REASON.format(self.target.runtime)

    def _handed_out(self, node: Node) -> str | None:
        """Why a node that makes an output stays float; a Gemm or MatMul may read integers all the same."""
        if self.target.whole or node.op in ("Gemm", "MatMul"):
            return None
        found = any(t in self.outputs for t in node.outputs)
        return "its result is an output of the model, which stays float" if found else None

    def _refuse_tails(self) -> None:
        """Refuse each Conv whose values reach the outputs without being summed again."""
        mixed: set[Node] = set()
        for node in reversed(self.graph.nodes):
            readers = [reader for tensor in node.outputs for reader in tensor.consumers]
            if any(r in mixed or _mixes(r) for r in readers):
                mixed.add(node)
            elif node.op in ("Conv", "ConvTranspose") and self._is_candidate(node):
                self.reasons[node] = TAIL

    def _absorb(self) -> None:
        """Let candidates take over the Relu and Clip behind them: storing their result clips it."""
        for node in list(self.graph.nodes):
            is_last = node.output in self.absorbed or shares(node, self.target)
            if self._is_candidate(node) and not is_last:
                self.absorbed[node.output] = self._result(node)

    def _result(self, node: Node) -> tuple[Tensor, Bounds, tuple[Node, ...]]:
        tensor, bounds, absorbed = node.output, own_bounds(node), []
        bias = layer_bias(node) if node.op == "MatMul" else None
        if bias is not None:
            tensor, self.reasons[bias.node] = bias.node.output, "absorbed"
        while tensor.is_private and node.op not in GATES:
            reader = tensor.consumers[0]
            limits = stored_bounds(reader)
            if limits is None or not self._is_candidate(reader):
                break
            tensor, bounds = reader.output, bounds.within(limits)
            self.reasons[reader] = "absorbed"
            absorbed.append(reader)
        return tensor, bounds, tuple(absorbed)

    def _grow(self) -> None:
        candidates = [n for n in self.graph.nodes if self._is_candidate(n)]
        whole = self.target.whole
        fed = (t for t in self.graph.inputs if t.dtype == np.float32)
        made: set[Tensor] = set(fed) if whole else set()  # by integer nodes
        supplied = []
        for node in candidates:
            if node.op in LAYERS or any(t in made for t in activations(node)):
                supplied.append(node)
                made.update(self.results(node))
        wanted: set[Tensor] = set()  # by integer nodes
        integer: list[Node] = []
        for node in reversed(supplied):
            if whole or node.op in LAYERS or any(t in wanted for t in self.results(node)):
                integer.append(node)
                wanted.update(activations(node))
        self.integer = integer[::-1]
        self.wanted = wanted

    def is_rescaled(self, node: Node) -> bool:
        """Whether a Mul with a number only changes how integers are read; nothing may clip its result."""
        is_plain = self.results(node) == [node.output] and node.output not in self.outputs
        return "rescale" in self.target.rewrites and factor(node) is not None and is_plain

    def results(self, node: Node) -> list[Tensor]:
        """What the following nodes read of ``node``: its outputs, behind what it absorbs."""
        return [self.absorbed[t][0] if t in self.absorbed else t for t in node.outputs if t.name]

    def is_written(self, node: Node) -> bool:
        """Whether an integer node writes integers: a Gemm or MatMul does so only when they are wanted."""
        if node.op in ("Gemm", "MatMul") and not self.target.whole:
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
                yield node, reason or f"{self.target.runtime} has no integer kernel for {node.op}"

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


def _mixes(node: Node) -> bool:
    """Whether a node sums over many inputs, whose ties it undoes."""
    return node.op in MIXERS and node.is_standard and not is_expectation(node)


def _stored(region: _Region) -> Iterator[Stored]:
    """Every tensor that integer nodes read or write, producers before consumers."""
    made: dict[Tensor, Stored] = {}
    readers: dict[Tensor, list[Node]] = {}
    for node in region.integer:
        for tensor in dict.fromkeys(activations(node)):
            readers.setdefault(tensor, []).append(node)
    for node in region.integer:
        for tensor in dict.fromkeys(activations(node)):
            if tensor not in made:  # made by a float node or fed in
                made[tensor] = Stored(tensor, tensor, readers=tuple(readers[tensor]))
                yield made[tensor]
        if region.is_written(node):
            for output, tensor in zip(node.outputs, region.results(node), strict=False):
                made[tensor] = _result(region, node, output, made)
                yield made[tensor]


def _result(region: _Region, node: Node, output: Tensor, made: dict[Tensor, Stored]) -> Stored:
    """How the result of an integer node is stored: as what it reads, or for its own range."""
    read = made.get(activations(node)[0])
    if read is not None and shares(node, region.target):
        return Stored(output, read.source, read.bounds, factor=read.factor)
    if read is not None and region.is_rescaled(node):
        return Stored(output, read.source, read.bounds, factor=read.factor * (factor(node) or 1.0))
    tensor, bounds, absorbed = region.absorbed.get(output, (output, Bounds(), ()))
    return Stored(tensor, tensor, bounds, absorbed=absorbed)


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


def _inner_layers(model: Model) -> Iterator[Node]:
    for graph in model.graphs():
        if graph is not model.graph:
            yield from graph.find(*LAYERS)
