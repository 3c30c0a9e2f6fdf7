"""Walk through a network once while its layers are changed one by one: activations are kept at a cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from graphopt import ir
from graphopt.ir.traversal import reads

if TYPE_CHECKING:
    from graphopt.data import Sample
    from graphopt.runtime import Session

CACHE_BYTES = (
    256 * 2**20
)  # memory: activations kept of all samples together; what exceeds it is computed again

Arrays: TypeAlias = "dict[str, np.ndarray]"
Open: TypeAlias = "Callable[[ir.Model, Sequence[str]], Session]"


class SampleSet(Protocol):
    """Samples that can be read again and again, always in the same order."""

    def __iter__(self) -> Iterator[Sample]: ...

    def __len__(self) -> int: ...


class ActivationCheckpoint:
    """The activations of a model at a cut through its graph, for a fixed set of samples.

    Everything behind the cut can be computed from them without running what lies before it, while layers
    behind it change.  As long as no cut fits ``limit`` bytes, the cut stays where it is, at first at the
    model's inputs; while it moves, the values at the old one and the new one are both held.
    ``open_session(model, outputs)`` opens a part of the model: ``Context.session`` does.
    """

    def __init__(
        self, model: ir.Model, samples: SampleSet, open_session: Open, *, limit: int = CACHE_BYTES
    ) -> None:
        self._model = model
        self._samples = samples
        self._open = open_session
        self._limit = limit
        self._kept: list[Arrays] | None = None
        self._tensors = {tensor.name: tensor for node in model.graph.nodes for tensor in node.outputs}

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self._samples)

    @property
    def known(self) -> tuple[str, ...]:
        """The tensors at the cut; empty while it stands at the model's inputs."""
        return tuple(self._kept[0]) if self._kept is not None else ()

    def advance(self, names: Sequence[str]) -> None:
        """Move the cut to these tensors, if their values fit."""
        for _ in self.stream((), then=names):
            pass

    def stream(self, names: Sequence[str], then: Sequence[str] = ()) -> Iterator[Arrays]:
        """Yield the values of these tensors for each sample, and move the cut to ``then`` with the same run.

        The cut has moved once the last sample was yielded; it stays when what is at ``then`` does not fit.
        """
        if not then:
            yield from self._values(names)
            return
        kept: list[Arrays] | None = []
        for values in self._values(list(dict.fromkeys([*names, *then]))):
            if kept is not None:
                kept.append({name: values[name] for name in then})
                kept = kept if len(kept) > 1 or self._fits(kept[0]) else None
            if kept is None and not names:
                return
            yield {name: values[name] for name in names}
        self._kept = self._kept if kept is None else kept

    def _fits(self, values: Arrays) -> bool:
        """Whether values such as these can be kept of all samples."""
        if not all(isinstance(value, np.ndarray) for value in values.values()):
            return False  # a sequence or a map: nothing a model can be given
        return sum(value.nbytes for value in values.values()) * len(self._samples) <= self._limit

    def _values(self, names: Sequence[str]) -> Iterator[Arrays]:
        start = self._start()
        example = next(start)
        computed = [name for name in names if name not in example]
        session = (
            self._open(self._model.part(example, computed, self._tensors), computed) if computed else None
        )
        every = chain((example,), start)
        if session is None:
            yield from ({name: values[name] for name in names} for values in every)
            return
        inputs = session.input_names
        for values, made in session.answers(every, lambda values: {name: values[name] for name in inputs}):
            yield {name: made[name] if name in made else values[name] for name in names}

    def _start(self) -> Iterator[Arrays]:
        if self._kept is not None:
            yield from self._kept
        else:
            yield from (sample.feeds for sample in self._samples)


def walk_cuts(graph: ir.Graph, layers: Sequence[ir.Node]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield for each layer its cut (see ``cuts``) and that of the layer after it, empty after the last."""
    following = cuts(graph, layers)
    present = next(following, [])
    for after in following:
        yield present, after
        present = after
    if layers:
        yield present, []


def cuts(graph: ir.Graph, layers: Sequence[ir.Node]) -> Iterator[list[str]]:
    """Yield for each layer the tensors that no layer from it on leads to, and that are read by what one does.

    So the cut of a layer holds all that is final once the layers before it are.  ``layers`` stand in the
    topological order of the sorted ``graph``.  The cost is linear in the nodes and in what is yielded.
    """
    order = {layer: number for number, layer in enumerate(layers, 1)}
    final: dict[ir.Tensor, int] = {}  # how many layers must be done until the tensor is final
    needed: dict[ir.Tensor, int] = {}  # how many must be done until all that reads it is
    for node in graph.nodes:
        inputs = [tensor for tensor in reads(node) if tensor.name and tensor.constant is None]
        stage = max([order.get(node, 0), *(final.get(tensor, 0) for tensor in inputs)])
        final.update((tensor, stage) for tensor in node.outputs)
        for tensor in inputs:
            needed[tensor] = max(needed.get(tensor, 0), stage)
    own = {tensor for node in graph.nodes for tensor in node.outputs}
    own |= {tensor for tensor in graph.inputs if tensor not in graph.initializers}
    starting: dict[int, list[ir.Tensor]] = {}
    for tensor, last in needed.items():
        if tensor in own and last > final.get(tensor, 0):
            starting.setdefault(final.get(tensor, 0), []).append(tensor)
    live: list[ir.Tensor] = []
    for number in range(len(layers)):
        live = [tensor for tensor in (*live, *starting.get(number, ())) if needed[tensor] > number]
        yield [tensor.name for tensor in live]
