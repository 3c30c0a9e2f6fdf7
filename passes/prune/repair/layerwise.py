"""Fit what is left anew: every layer of the pruned network, in order, to what the original computed.

For each layer the rows it reads come from the pruned network, whose layers before it are already fitted, and
the targets from the original; so each layer undoes what it can of all errors before it (asymmetric
reconstruction: X. Zhang et al., 2015).  Where a residual addition follows, the target is the original sum
minus the pruned network's other branch (Y. He et al., 2017).  The fit is damped towards the present weights,
and kept only when it lowers the error on samples that were not fitted to.

Nothing is cut on the way: channels that go are read with weight zero, which comes to the same, so channels
can still be chosen when their reader's turn comes (see ``selection.consumer_selection``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.ir.transform.layer_bias import biased_output
from graphopt.solve import SAMPLES, Judged, LayerwiseFit
from graphopt.solve.limits import NOTHING

from ..coupling.builder import label
from ..coupling.coupling import Coupling
from ..coupling.parameter_axes import ParameterAxis
from ..selection.consumer_selection import DeferredGroup, choose
from ..selection.predict import Keep
from .fitting import ROUNDS, fitted, relative_error
from .layer_task import Task, task_of
from .rows import Rows, Targets, collect_rows, reading

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

CACHE_BYTES = 96 * 2**20  # memory: of activations kept of each network


@dataclass(frozen=True)
class Repaired:
    """The error of one layer on samples not fitted to, relative to its output's variance."""

    layer: str
    before: float
    after: float

    @property
    def what(self) -> str:
        """The change in words."""
        return f"weights refitted: output error {self.before:.1%} -> {self.after:.1%} of its variance"


def repair(
    model: ir.Model,
    coupling: Coupling,
    keep: Keep,
    samples: Samples,
    ctx: Context,
    openings: Mapping[str, Sequence[DeferredGroup]] | None = None,
    targets: Targets | None = None,
) -> list[Repaired]:
    """Fit the layers of ``model`` to what it computes now, without the classes outside ``keep``.

    The layers stay as wide as they are, with zeros where channels that go are read.  ``openings`` are cells
    whose channels are yet to be chosen, by the output of the layer that reads them; what is chosen is taken
    out of ``keep``.  ``targets`` keeps what the original comes to for further walks over the same samples.
    Returns the errors of the layers that changed.
    """
    samples = samples.take(SAMPLES)
    model.sort()
    walk = _Walk(model, coupling, keep, samples, ctx, targets)
    layers = _layers(model, coupling)
    loses = [node.output.name in (openings or {}) or walk.changes(node) for node in layers]
    nodes = layers[loses.index(True) :] if any(loses) else []  # nothing has changed before
    done: list[Repaired] = []
    for node, cut, then in walk.fit.walk(nodes, nodes):
        done += walk.step(node, cut, then, (openings or {}).get(node.output.name, ()))
        walk.truncate(node)
    walk.unmask()
    return done


def _layers(model: ir.Model, coupling: Coupling) -> list[ir.Node]:
    """The layers whose channels are known, in the order of the graph."""
    names = {layer.node.output.name for layer in coupling.layers if layer.ids is not None}
    return [node for node in model.graph.nodes if node.outputs and node.output.name in names]


class _Walk:
    """The state of one walk: both networks at the cut before the present layer."""

    def __init__(
        self,
        model: ir.Model,
        coupling: Coupling,
        keep: Keep,
        samples: Samples,
        ctx: Context,
        targets: Targets | None,
    ) -> None:
        self._coupling, self._keep, self._seed = coupling, keep, ctx.seed
        self._targets = targets
        self.fit = LayerwiseFit("prune", model.copy(), model, samples, ctx, limit=CACHE_BYTES)
        self._masked: list[tuple[ir.Node, ir.Tensor]] = []
        self._slots: dict[str, list[ParameterAxis]] = defaultdict(list)
        self._ends: dict[str, list[ParameterAxis]] = defaultdict(list)
        for slot in coupling.slots:
            if slot.index == 1 and slot.role == "in":
                self._slots[slot.node.output.name].append(slot)
            elif slot.role in ("out", "shift") and self._goes_unread(slot):
                self._ends[slot.node.output.name].append(slot)

    def loses(self, node: ir.Node) -> bool:
        """Whether channels go that a layer reads."""
        return any(not self._kept(slot).all() for slot in self._slots.get(node.output.name, ()))

    def changes(self, node: ir.Node) -> bool:
        """Whether a layer loses inputs, or outputs that no layer reads."""
        return self.loses(node) or bool(self._ends.get(node.output.name))

    def _goes_unread(self, slot: ParameterAxis) -> bool:
        """Whether channels go that only a product of activations sees: no weight reads them as zeros."""
        classes = self._coupling.on(slot.ids)
        return any(one in self._coupling.summed for one in classes[~self._kept(slot)].tolist())

    def truncate(self, node: ir.Node) -> None:
        """Make zeros of the channels that go without any layer that reads them."""
        for name in dict.fromkeys((node.output.name, biased_output(node).name)):
            for slot in self._ends.get(name, ()):
                assert slot.node.graph is not None
                slot.node.graph.set_constant(
                    slot.node, slot.index, slot.zeroed(slot.values, ~self._kept(slot))
                )

    def step(
        self, node: ir.Node, cut: list[str], then: list[str], openings: Sequence[DeferredGroup]
    ) -> Iterator[Repaired]:
        """Choose what one layer reads, and fit it; ``then`` is the cut of the layer after it."""
        task = task_of(node, tuple(self._slots.get(node.output.name, ())), set(cut))
        if isinstance(task, str):
            self._mask(node)
            return
        self.fit.changed.advance(cut)
        task = task.settled(self.fit.changed)
        if self._targets is None or self._targets.find(task) is None:
            self.fit.original.advance(cut)
        rows = collect_rows(task, self.fit.original, self.fit.changed, self._seed, then, self._targets)
        if rows is None:
            self.fit.cannot_judge(label(node))
            self._mask(node)
            return
        gram = rows.gram(task.biased)
        if openings:
            choose(task, rows, gram, self._alive(task), openings, self._coupling, self._keep)
        yield from self._fit(task, rows, gram)

    def _fit(self, task: Task, rows: Rows, gram: np.ndarray) -> Iterator[Repaired]:
        alive, current = self._alive(task), task.matrix()
        current[:, : alive.shape[1]][~alive] = 0.0
        rows, gram = rows.reading(alive), reading(gram, alive)
        judge = rows.part(rows.judge)
        may_judge = 0 < judge.count < rows.count
        if not may_judge:
            self.fit.cannot_judge(label(task.node))
        if may_judge and relative_error(task, judge, current) > NOTHING:
            part = rows.part(~rows.judge), gram - judge.gram(task.biased)
            sums = Judged(part, (judge, gram), lambda *_: (rows, gram), partial(_error, task))
            best = sums.choose((lambda part, _: current, partial(_fitted, task, current, alive)), np.asarray)
            if best.way == 1:
                task.store(best.made)
                yield Repaired(label(task.node), *best.errors)
                return
        if not alive.all():
            task.store(current)

    def _alive(self, task: Task) -> np.ndarray:
        """Which inputs of a layer's matrix are still read, (groups, n)."""
        left = self._without(task.slots, np.ones(task.weight.shape, bool))
        return np.asarray(task.patches.matrix(left).any(axis=2), bool)

    def _mask(self, node: ir.Node) -> None:
        """Read what goes with weight zero in a layer that cannot be fitted, until the walk ends."""
        if self.loses(node):
            slots = self._slots[node.output.name]
            weight = node.inputs[1].constant
            assert weight is not None and node.graph is not None
            self._masked.append((node, node.inputs[1]))
            node.inputs[1] = node.graph.add_constant(node.inputs[1].name, self._without(slots, weight))

    def unmask(self) -> None:
        """Give layers that were not fitted their own weights back, shared ones shared."""
        for node, weight in self._masked:
            graph, mask = node.graph, node.inputs[1]
            assert graph is not None
            node.inputs[1] = weight
            graph.initializers.remove(mask)

    def _without(self, slots: Sequence[ParameterAxis], values: np.ndarray) -> np.ndarray:
        for slot in slots:
            values = slot.zeroed(values, ~self._kept(slot))
        return values

    def _kept(self, slot: ParameterAxis) -> np.ndarray:
        return self._coupling.kept(slot.ids, self._keep)


Part = tuple[Rows, np.ndarray]  # rows of some samples, and their Gram matrix


def _error(task: Task, part: Part, weights: np.ndarray) -> float:
    return relative_error(task, part[0], weights)


def _fitted(
    task: Task, current: np.ndarray, alive: np.ndarray, part: Part, start: np.ndarray | None
) -> np.ndarray:
    """The fit to some rows; going on from ``start`` one round is enough."""
    rounds = ROUNDS if start is None else 1
    return fitted(task, *part, current, alive, start=start, rounds=rounds)
