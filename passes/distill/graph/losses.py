"""The losses as a piece of graph behind the student: scalars that a trainer follows back.

KL with temperature: G. Hinton, O. Vinyals, J. Dean: Distilling the knowledge in a neural network, 2015.
Attention: S. Zagoruyko, N. Komodakis: Paying more attention to attention, 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphopt import ir
from graphopt.ir import Tensor, Variable

from ..spec.settings import Settings, Term
from .builder import Builder

LABELS = "labels"
LOSS = "loss"
TINY = 1e-8  # fixed: keeps quotients finite in float32 where a teacher answers nothing but zeros


@dataclass(frozen=True)
class Target:
    """A term with what has to be known to write it: the axis of classes, and the teacher's usual size.

    ``size`` is the mean square of the teacher's values for ``mse``, their mean magnitude for ``l1``.
    """

    term: Term
    shape: tuple[int, ...]  # of the teacher's tensor, batch first
    axis: int = 1
    size: float = 1.0

    @property
    def is_hint(self) -> bool:
        """Whether the numbers of channels may differ."""
        return self.term.kind == "attention"

    @property
    def feed(self) -> str:
        """The name of the graph input that brings the teacher's values."""
        return f"teacher::{self.term.teacher}"


def add_losses(model: ir.Model, targets: Sequence[Target], settings: Settings, scores: str | None) -> None:
    """Let the model have one output, the weighted sum of all losses over the number of accumulated batches.

    New inputs bring the teacher's values and, with ``alpha``, the labels as probabilities (N, K) of the class
    scores ``scores``.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for node in graph.nodes for tensor in node.outputs}
    to = Builder(graph, LOSS)
    feeds: dict[str, Variable] = {}
    parts: list[Tensor] = []
    for target in targets:
        if target.feed not in feeds:
            shape: tuple[int | str, ...] = target.shape
            if target.is_hint:
                shape = (shape[0], "channels", *shape[2:])
            feeds[target.feed] = _input(graph, target.feed, shape)
        value = _term(tensors[target.term.student], feeds[target.feed], target, settings.temperature, to)
        parts.append(to.op("Mul", value, target.term.weight))
    if settings.alpha and scores is not None:
        parts.append(to.op("Mul", _cross_entropy(model, tensors[scores], to), settings.alpha))
    _finish(graph, parts, settings, to)


def _finish(graph: ir.Graph, parts: Sequence[Tensor], settings: Settings, to: Builder) -> None:
    total = parts[0]
    for part in parts[1:]:
        total = to.op("Add", total, part)
    loss = Variable(graph.names.unique(LOSS), np.float32, ())
    assert loss.name == LOSS
    scale = to.tensor(1.0 / settings.accumulate)
    graph.add_node("Mul", [total, scale], outputs=[loss], name="loss.total")
    graph.outputs = [loss]
    graph.remove_dead()
    graph.remove_unused_initializers()
    graph.sort()


def _input(graph: ir.Graph, name: str, shape: Sequence[int | str]) -> Variable:
    made = Variable(name, np.float32, tuple(shape))
    made.graph = graph
    graph.inputs.append(made)
    return made


def _term(student: Tensor, teacher: Tensor, target: Target, temperature: float, to: Builder) -> Tensor:
    kind = target.term.kind
    if kind == "kl":
        return _kl(student, teacher, target.axis, temperature, to)
    if kind == "attention":
        return _attention(student, teacher, len(target.shape), to)
    difference = to.op("Sub", student, teacher)
    error = to.op("Mul", difference, difference) if kind == "mse" else to.op("Abs", difference)
    return to.op("Mul", to.op("ReduceMean", error, keepdims=0), 1.0 / max(target.size, TINY))


def _kl(student: Tensor, teacher: Tensor, axis: int, temperature: float, to: Builder) -> Tensor:
    """T^2 times the mean over samples and positions of sum_k p (log p - log q) at temperature T."""
    cooler = 1.0 / temperature
    log_q = to.op("LogSoftmax", to.op("Mul", student, cooler), axis=axis)
    log_p = to.op("LogSoftmax", to.op("Mul", teacher, cooler), axis=axis)
    gap = to.op("Mul", to.op("Exp", log_p), to.op("Sub", log_p, log_q))
    each = to.op("ReduceSum", gap, to.ints([axis]), keepdims=0)
    return to.op("Mul", to.op("ReduceMean", each, keepdims=0), temperature**2)


def _attention(student: Tensor, teacher: Tensor, ndim: int, to: Builder) -> Tensor:
    """The squared distance of the maps mean_c x^2, each scaled to length one."""
    maps = [_attention_map(tensor, ndim, to) for tensor in (student, teacher)]
    difference = to.op("Sub", *maps)
    each = to.op("ReduceSum", to.op("Mul", difference, difference), to.ints([1]), keepdims=0)
    return to.op("ReduceMean", each, keepdims=0)


def _attention_map(tensor: Tensor, ndim: int, to: Builder) -> Tensor:
    energy = to.op("ReduceSum", to.op("Mul", tensor, tensor), to.ints([1]), keepdims=0)
    flat = to.op("Flatten", energy, axis=1) if ndim != 3 else energy
    length = to.op("ReduceSum", to.op("Mul", flat, flat), to.ints([1]), keepdims=1)
    return to.op("Div", flat, to.op("Sqrt", to.op("Add", length, TINY)))


def _cross_entropy(model: ir.Model, scores: Tensor, to: Builder) -> Tensor:
    """- the mean over samples of sum_k y log q, y being probabilities."""
    shape = scores.shape
    assert shape is not None
    classes = int(shape[1])  # type: ignore[arg-type]
    labels = _input(model.graph, LABELS, (int(shape[0]), classes))  # type: ignore[arg-type]
    flat = to.op("Flatten", scores, axis=1) if len(shape) > 2 else scores
    log_q = to.op("LogSoftmax", flat, axis=1)
    each = to.op("ReduceSum", to.op("Mul", labels, log_q), to.ints([1]), keepdims=0)
    return to.op("Neg", to.op("ReduceMean", each, keepdims=0))
