"""Fit what is left anew: every layer of the pruned network, in order, to what the original computed.

For each layer the rows it reads come from the pruned network, whose layers before it are already fitted, and
the targets from the original, restricted to the channels that stay; so each layer undoes what it can of all
errors before it (asymmetric reconstruction: X. Zhang et al., 2015).  Where a residual addition follows, the
target is the original sum minus the pruned network's other branch (Y. He et al., 2017).  The fit is damped
towards the present weights, and kept only when it lowers the error on samples that were not fitted to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.solve import damping, fit, squared_error
from graphopt.stats import Frontier, Gram, Patches, cuts

from .coupling import Coupling
from .predict import Keep
from .walk import label

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

SAMPLES = 512  # at most; more changed nothing
HELD_OUT = 8  # every so manyth sample only judges
UNKNOWNS = 4608  # of one output channel; a larger Gram matrix takes too much memory
NOTHING = 1e-9  # relative squared error below which there is nothing to repair
DAMPING = 1e-3
DAMPING_DEPTHWISE = 1e-2  # few rows for each channel, and nothing to lend weight to each other


@dataclass(frozen=True)
class Task:
    """One layer to fit: what it reads, what it should come to, and which channels of that stay."""

    node: ir.Node
    patches: Patches
    target: ir.Tensor  # of the original: the layer's output, or the sum it goes into
    branch: ir.Tensor | None  # the other summand, in the pruned network
    kept: np.ndarray | None  # (channels,) bool

    @property
    def biased(self) -> bool:
        """Whether a constant is fitted too."""
        return self.node.op != "MatMul"

    @property
    def axis(self) -> int:
        """The channel axis of the output."""
        return -1 if self.node.op == "MatMul" else 1


@dataclass(frozen=True)
class Repaired:
    """The error of one layer on samples not fitted to, relative to its output's variance."""

    layer: str
    before: float
    after: float

    @property
    def what(self) -> str:
        """The change in words."""
        return f"weights fitted anew: output error {self.before:.1%} -> {self.after:.1%} of its variance"


def kept_outputs(coupling: Coupling, keep: Keep) -> dict[str, np.ndarray]:
    """Return for each layer, by the name of its output, which output channels stay."""
    return {
        layer.node.output.name: coupling.kept(layer.ids, keep)
        for layer in coupling.layers
        if layer.ids is not None
    }


def repair(
    original: ir.Model, pruned: ir.Model, kept: dict[str, np.ndarray], samples: Samples, ctx: Context
) -> list[Repaired]:
    """Fit the layers of ``pruned`` to ``original`` in place and return the errors of those that changed.

    ``kept`` says for each layer, by the name of its output, which of the original's channels are left.
    """
    samples = samples.take(SAMPLES)
    pruned.sort()
    nodes = [node for node in pruned.graph.nodes if node.output.name in kept]
    old, new = Frontier(original, samples, ctx.session), Frontier(pruned, samples, ctx.session)
    done = []
    steps = zip(nodes, cuts(pruned.graph, nodes), strict=True)
    for node, cut in ctx.progress("prune: fitting layers anew", steps, len(nodes)):
        task = _task(node, kept[node.output.name], set(cut))
        if isinstance(task, str):
            continue
        old.advance(cut)
        new.advance(cut)
        result = _fit(pruned.graph, task, old, new, ctx)
        if result is not None:
            done.append(result)
    return done


def _task(node: ir.Node, kept: np.ndarray, known: set[str]) -> Task | str:
    """Return how to fit a layer, or why it is left as it is."""
    patches = Patches.of(node)
    if isinstance(patches, str):
        return patches
    weight = node.inputs[1].constant
    assert weight is not None
    bias = node.input(2)
    if len(node.inputs[1].consumers) > 1:
        return "another layer shares its weights"
    if weight.dtype.kind != "f" or patches.shape(weight.shape)[1] > UNKNOWNS:
        return "it reads too much at a time"
    if bias is not None and (bias.constant is None or bias.constant.ndim > 1):
        return "its bias is computed or a matrix"
    target, branch = _wanted(node, known)
    return Task(node, patches, target, branch, None if kept.all() else kept)


def _wanted(node: ir.Node, known: set[str]) -> tuple[ir.Tensor, ir.Tensor | None]:
    """The tensor to aim at: a residual sum when its other summand is final, else the output itself."""
    output = node.output
    reader = output.consumers[0] if output.is_private else None
    if reader is not None and reader.op == "Add" and reader.is_standard:
        other = reader.inputs[1] if reader.inputs[0] is output else reader.inputs[0]
        if other.name in known:
            return reader.output, other
    return output, None


def _fit(graph: ir.Graph, task: Task, old: Frontier, new: Frontier, ctx: Context) -> Repaired | None:
    current = _weights(task)
    fitted, judged = _collect(task, old, new, ctx)
    if not fitted.count or not judged.count:
        return None
    before = _relative_error(judged, current, task.biased)
    if before <= NOTHING:
        return None
    after = _relative_error(judged, _solve(fitted, current, task), task.biased)
    if after >= before:
        return None
    _store(graph, task, _solve(fitted.merge(judged), current, task))
    return Repaired(label(task.node), before, after)


def _solve(sums: Gram, current: np.ndarray, task: Task) -> np.ndarray:
    depthwise = task.patches.groups > 1 and current.shape[2] == 1
    relative = DAMPING_DEPTHWISE if depthwise else DAMPING
    held = damping(sums.gram, relative, bias=task.biased, rows=sums.count)
    return fit(sums.gram, sums.cross, current, held)


def _collect(task: Task, old: Frontier, new: Frontier, ctx: Context) -> tuple[Gram, Gram]:
    """Sums over the samples to fit to, and over those that judge."""
    sums = tuple(Gram(task.patches, bias=task.biased, seed=ctx.seed) for _ in range(2))
    for number, (values, target) in enumerate(_pairs(task, old, new)):
        sums[number % HELD_OUT == HELD_OUT - 1].update(values, target)
    return sums[0], sums[1]


def _pairs(task: Task, old: Frontier, new: Frontier) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    source, target = task.node.inputs[0].name, task.target.name
    names = [source] if task.branch is None else [source, task.branch.name]
    for there, here in zip(old.stream([target]), new.stream(names), strict=True):
        wanted = there[target]
        if task.kept is not None:
            wanted = wanted.compress(task.kept, task.axis)
        if task.branch is not None:
            wanted = wanted - here[task.branch.name]
        yield here[source], wanted


def _relative_error(sums: Gram, weights: np.ndarray, biased: bool) -> float:
    energy = float(sums.energy.sum())
    if biased:
        energy -= float(np.square(sums.cross[:, -1]).sum()) / max(sums.count, 1)
    return squared_error(sums.gram, sums.cross, sums.energy, weights) / max(energy, 1e-30)


def _weights(task: Task) -> np.ndarray:
    """The layer's weights, with its bias as a last row, (groups, n, outputs)."""
    node = task.node
    weight = node.inputs[1].constant
    assert weight is not None
    matrix = task.patches.matrix(weight) * float(node.attr("alpha", 1.0))
    if not task.biased:
        return matrix
    bias = node.input(2)
    row = np.zeros(1) if bias is None else np.asarray(bias.constant, np.float64)
    row = np.broadcast_to(row * float(node.attr("beta", 1.0)), matrix.shape[0] * matrix.shape[2])
    return np.concatenate([matrix, row.reshape(matrix.shape[0], 1, -1)], axis=1)


def _store(graph: ir.Graph, task: Task, weights: np.ndarray) -> None:
    node = task.node
    dtype = node.inputs[1].constant.dtype
    matrix = weights[:, :-1] if task.biased else weights
    scale, shift = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
    graph.set_constant(node, 1, np.ascontiguousarray(task.patches.weight(matrix / scale).astype(dtype)))
    if task.biased:
        graph.set_constant(node, 2, (weights[:, -1].ravel() / shift).astype(dtype))
