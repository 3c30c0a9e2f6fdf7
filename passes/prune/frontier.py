"""Walk through a network once while its layers are changed one by one: activations are kept at a cut."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

CACHE_BYTES = 256 * 2**20  # activations kept of all samples together; what exceeds it is computed again

Arrays = dict[str, np.ndarray]


class Frontier:
    """The activations of a model at a cut through its graph, for a fixed set of samples.

    Everything behind the cut can be computed from them without running what lies before it.  While no cut
    fits ``CACHE_BYTES``, the cut stays where it is, at first at the model's inputs.
    """

    def __init__(self, model: ir.Model, samples: Samples, ctx: Context) -> None:
        self._model = model
        self._samples = samples
        self._ctx = ctx
        self._kept: list[Arrays] | None = None

    def advance(self, names: Sequence[str]) -> None:
        """Move the cut to these tensors, if their values fit."""
        stream = self.stream(names)
        first = next(stream)
        if not all(isinstance(value, np.ndarray) for value in first.values()):
            return  # a sequence or a map: nothing a model can be given
        if sum(value.nbytes for value in first.values()) * len(self._samples) > CACHE_BYTES:
            return
        self._kept = [first, *stream]

    def stream(self, names: Sequence[str]) -> Iterator[Arrays]:
        """Yield the values of these tensors for each sample."""
        start = self._start()
        example = next(start)
        computed = [name for name in names if name not in example]
        session = None
        if computed:
            session = self._ctx.session(part(self._model, example, computed), outputs=computed)
        for known in (example, *start):
            made = {}
            if session is not None:
                made = session.run({name: known[name] for name in session.input_names})
            yield {name: made[name] if name in made else known[name] for name in names}

    def _start(self) -> Iterator[Arrays]:
        if self._kept is not None:
            yield from self._kept
        else:
            yield from (sample.feeds for sample in self._samples)


def twin(model: ir.Model) -> ir.Model:
    """Return a copy of a model that shares its weights."""
    made = copy.copy(model)
    made.restore(model.snapshot())
    return made


def part(model: ir.Model, known: Arrays, wanted: Sequence[str]) -> ir.Model:
    """Return the part of a model that computes ``wanted`` from ``known``, without declared outputs."""
    made = twin(model)
    graph = made.graph
    tensors = {tensor.name: tensor for node in graph.nodes for tensor in node.outputs}
    inputs = [tensor for tensor in graph.inputs if tensor.name in known or tensor in graph.initializers]
    for name, value in known.items():
        tensor = tensors.get(name)
        if tensor is None:
            continue
        tensor.producer.outputs = [
            ir.Variable(made.names.unique(name)) if output is tensor else output
            for output in tensor.producer.outputs
        ]
        tensor.dtype, tensor.shape = value.dtype, tuple(f"{name}.{axis}" for axis in range(value.ndim))
        inputs.append(tensor)
    graph.outputs = [tensors[name] for name in wanted]
    graph.remove_dead()
    graph.outputs = []  # the session asks for them by name, since their types need not be known
    graph.inputs = [tensor for tensor in inputs if tensor.consumers]
    return made


def reads(node: ir.Node) -> Iterator[ir.Tensor]:
    """Yield what a node reads, its subgraphs included."""
    yield from node.inputs
    for graph in node.subgraphs(recursive=True):
        for inner in graph.nodes:
            yield from inner.inputs


def cut_before(graph: ir.Graph, layers: Sequence[ir.Node]) -> list[str]:
    """Return the tensors that are known before the first of ``layers`` and its followers, and read after."""
    blocked: set[ir.Tensor] = set()
    waiting = set(layers)
    cut: dict[str, None] = {}
    for node in graph.nodes:  # in topological order
        inputs = list(reads(node))
        if node in waiting or any(tensor in blocked for tensor in inputs):
            blocked.update(node.outputs)
            for tensor in inputs:
                if tensor.name and tensor not in blocked and tensor.constant is None:
                    cut[tensor.name] = None
    made = {tensor.name for node in graph.nodes for tensor in node.outputs}
    made |= {tensor.name for tensor in graph.inputs if tensor not in graph.initializers}
    return [name for name in cut if name in made]
