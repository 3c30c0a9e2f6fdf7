"""From a student to the graph that a trainer differentiates, and from trained parameters back.

Every parameter of the prepared graph is a tensor of the student under its own name, in its own layout: what
rewrites need of it (a folded normalisation, a mirrored kernel, a mask, a quantizer) they compute from it in
the graph.  So the way back is to store what was trained under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from graphopt import ir, runtime
from graphopt.errors import ModelError, PassError
from graphopt.ir import Constant
from graphopt.runtime.difference import HALF_TOLERANCE, TOLERANCE

from ..gradients.rewrites import Problem, problems, rewrite
from ..qat.fake_quant import Quantizer, find_quantizers, spelled_out
from ..qat.pairs import open_pairs
from .fixed import Shapes, fix_shapes, fold_sizes, lift_constants, set_versions, widen
from .masks import add_masks
from .select import Choice, trainable

# noise: relative root mean square; where one value in ten falls to the other of two steps, of 255 in a range
# of eight standard deviations, it is 8 / 255 * sqrt(0.1) = 1e-2
QUANTIZED_GATE = 1e-2


@dataclass
class Prepared:
    """A student ready for losses: the graph, what to train in it, and what stands in the way.

    ``quantizers`` say for parameters behind a DequantizeLinear how they are stored; ``statistics`` are the
    running means and variances of live normalisations, which training updates.
    """

    model: ir.Model
    shapes: Shapes
    parameters: tuple[str, ...]
    statistics: tuple[str, ...]
    quantizers: Mapping[str, Quantizer]
    problems: tuple[Problem, ...]
    nodes: Mapping[str, str]  # for each parameter a node that reads it
    masked: tuple[str, ...] = ()


def prepare(
    student: ir.Model,
    feeds: Mapping[str, np.ndarray],
    choice: Choice,
    *,
    live_bn: bool = False,
    sparse: str = "auto",
) -> Prepared:
    """Rewrite a copy of ``student`` for the sizes of ``feeds``, and compare it with the student.

    Raises PassError when nothing can be trained, or when the copy computes something else.
    """
    model = student.copy()
    set_versions(model)
    widen(model)
    wide = {name: _wide(feed) for name, feed in feeds.items()}
    shapes = fix_shapes(model, wide)
    lift_constants(model.graph)
    fold_sizes(model, shapes)
    quantizers = find_quantizers(model.graph)
    open_pairs(model, quantizers, shapes)
    chosen = trainable(model.graph, choice)
    statistics = _statistics(model) if live_bn else ()
    nodes = {tensor.name: node.name or node.output.name for tensor, node in chosen.items()}
    rewrite(model, shapes, live_bn=live_bn)
    alive = [tensor for tensor in chosen if tensor.consumers]  # others were folded away
    if not alive:
        raise PassError("the student has no weights that can be trained", hint=_untrainable(student))
    obstacles = problems(model.graph, set(alive), live_bn=live_bn)
    masked = add_masks(model.graph, alive, quantizers, sparse)
    names = [tensor.name for tensor in alive]
    parameters = {tensor.name: tensor for tensor in model.graph.initializers}
    trained = frozenset(names)
    for name, quantizer in quantizers.items():
        names += quantizer.insert(parameters.get(name), model.graph, name in trained)
    model.graph.sort()
    prepared = Prepared(
        model, shapes, tuple(names), tuple(statistics), quantizers, tuple(obstacles), nodes, tuple(masked)
    )
    _gate(student, prepared, feeds)
    return prepared


def _wide(feed: np.ndarray) -> np.ndarray:
    return feed.astype(np.float32) if feed.dtype.kind == "f" else feed


def _statistics(model: ir.Model) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            node.inputs[index].name
            for node in model.graph.find("BatchNormalization")
            for index in (3, 4)
            if isinstance(node.inputs[index], Constant)
        )
    )


def _untrainable(student: ir.Model) -> str:
    if student.signature.defaults:
        return "its weights are inputs with defaults: run --passes clean first"
    return "the options train, freeze and behind may leave none"


def _gate(student: ir.Model, prepared: Prepared, feeds: Mapping[str, np.ndarray]) -> None:
    """Raise PassError when the prepared graph does not compute what the student does."""
    names = [port.name for port in student.signature.outputs if port.dtype is not None]
    wanted = runtime.Session(student, outputs=names, optimization="disabled").run(feeds)
    wide = {name: _wide(feed) for name, feed in feeds.items()}
    forward = spelled_out(prepared.model) if prepared.quantizers else prepared.model
    try:
        made = runtime.Session(forward, outputs=names, optimization="disabled").run(wide)
    except ModelError as error:
        raise PassError(f"the student prepared for training does not run: {error}") from error
    shares = {tensor.name for tensor in student.graph.outputs if _is_share(tensor)}
    for name in names:
        if not isinstance(wanted[name], np.ndarray) or wanted[name].dtype.kind != "f":
            continue
        least = 1.0 if name in shares else 0.0
        distance = _distance(wanted[name], made[name], least, bool(prepared.quantizers))
        half = wanted[name].dtype == np.float16
        limit = HALF_TOLERANCE if half else QUANTIZED_GATE if prepared.quantizers else TOLERANCE
        if not distance <= limit:
            raise PassError(
                f"the student prepared for training differs from the student: output {name} by "
                f"{distance:.2g} of its largest value",
                hint="this is a fault of a rewrite; freeze= or behind= may avoid the layers concerned",
            )


def _is_share(tensor: ir.Tensor) -> bool:
    """Whether values lie between 0 and 1, so that all of them may be small without meaning to."""
    return tensor.producer is not None and tensor.producer.op in ("Sigmoid", "Softmax")


def _distance(wanted: np.ndarray, made: np.ndarray, least: float, by_mean: bool) -> float:
    """How far two answers are apart, over the size of the wanted one or ``least``."""
    wanted, made = wanted.astype(np.float64), made.astype(np.float64)
    if wanted.shape != made.shape:
        return float("inf")
    difference = made - wanted
    if by_mean:
        return float(np.sqrt(np.mean(difference**2)) / max(np.sqrt(np.mean(wanted**2)), least, 1e-12))
    return float(np.abs(difference).max(initial=0.0) / max(np.abs(wanted).max(initial=0.0), least, 1e-12))


def write_back(student: ir.Model, prepared: Prepared, values: Mapping[str, np.ndarray]) -> list[str]:
    """Store trained values in ``student`` under their names, in its own types; returns the nodes concerned.

    A constant behind an Identity gets a value of its own, since others may read the original.
    """
    graph = student.graph
    tensors = {tensor.name: tensor for node in graph.nodes for tensor in (*node.inputs, *node.outputs)}
    quantizers = _stretched(prepared.quantizers, values)
    for name, quantizer in quantizers.items():
        was = prepared.quantizers[name]
        if quantizer is not was:
            reader = tensors[name].producer
            assert reader is not None  # the DequantizeLinear
            if name not in values:  # a frozen bias counts in other steps now
                stored = reader.inputs[0].constant
                assert stored is not None
                values = {**values, name: (stored.astype(np.float64) - was.zero_point) * was.scale}
            graph.set_constant(reader, 1, quantizer.scale.reshape(quantizer.scale_shape))
    stretches = {quantizer.stretch for quantizer in quantizers.values()}
    for name, value in values.items():
        if name in stretches:
            continue
        own = quantizers.get(name)
        if own is not None:
            _store(graph, tensors[own.stored], own.store(value))
            continue
        stored = tensors[name].constant
        _store(graph, tensors[name], value if stored is None else value.astype(stored.dtype))
    graph.remove_dead()
    graph.remove_unused_initializers()
    return [prepared.nodes[name] for name in values if name in prepared.nodes]


def _stretched(quantizers: Mapping[str, Quantizer], values: Mapping[str, np.ndarray]) -> dict[str, Quantizer]:
    """The quantizers with the scales that were trained; biases follow the weight that they are added to."""
    made = dict(quantizers)
    for name, quantizer in quantizers.items():
        if quantizer.stretch in values:
            ratio = np.exp(values[quantizer.stretch].astype(np.float64))
            made[name] = quantizer.stretched(ratio)
            made |= {bias: quantizers[bias].stretched(ratio) for bias in quantizer.biases}
    return made


def _store(graph: ir.Graph, tensor: ir.Tensor, value: np.ndarray) -> None:
    if isinstance(tensor, Constant):
        tensor.values = value
        return
    node = tensor.producer
    if node is not None and node.op == "Constant":
        for name in list(node.attrs):
            del node.attrs[name]
        node.attrs["value"] = Constant("", value)
        return
    graph.replace_uses(tensor, graph.add_constant(f"{tensor.name}.trained", value))
