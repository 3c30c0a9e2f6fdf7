"""Leave float what 8 bits would slow down, by measurement.

Both models are timed kernel by kernel.  Giving each operator the quicker of its two kernels, with a price on
every tensor that crosses from integers to floats or back, is a minimum cut (Greig, Porteous and Seheult
1989).  Kernels do not tell the whole truth about layouts and fusion, so the result is timed as a whole
against the float and the fully quantized model, and the quickest wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from graphopt import ir, runtime
from graphopt.ir import Model, Node, Tensor
from graphopt.runtime import SessionOptions

from ..insertion.insertion import SUM
from ..placement.claims import activations
from ..placement.placement import Placement
from .times_cache import Clock

Dims = Mapping[str, tuple[int, ...]]
Times = Mapping[str, float]  # ms by the name of a result

CLEARLY_FASTER = 0.7  # time: of the float time: not worth a search for the layers that are better in float
SLOWER, NOTICEABLE = 1.02, 0.02  # noise: times the float time, and ms: what measurements differ by
CROSSING = 1e-6  # ms for each element that is stored or read, layouts included
PER_KERNEL = 2e-3  # ms for one more kernel
UNKNOWN = 100_000  # elements of a tensor of unknown size
SECONDS, ROUNDS, LEAST_ROUNDS = 3.0, 200, 12  # time: of timing whole models
PROFILED_RUNS, PROFILE_SECONDS = 60, 2.0  # time: of timing kernels


@dataclass(frozen=True)
class Timer:
    """Times models on one set of inputs."""

    feeds: Mapping[str, np.ndarray]
    session: Callable[..., Any]  # opens a model, as ``Context.session`` does
    options: SessionOptions

    def milliseconds(self, models: Sequence[Model]) -> list[float]:
        """Undisturbed milliseconds of each model: interleaved runs, the mean of the quickest tenth."""
        sessions = [self.session(model, timed=True) for model in models]
        for session in sessions:
            session.run(self.feeds)
        times: list[list[float]] = [[] for _ in sessions]
        deadline = perf_counter() + SECONDS
        for count in range(ROUNDS):
            for session, own in zip(sessions, times, strict=True):
                start = perf_counter()
                session.run(self.feeds)
                own.append(1e3 * (perf_counter() - start))
            if count >= LEAST_ROUNDS and perf_counter() > deadline:
                break
        return [float(np.sort(own)[: max(3, len(own) // 10)].mean()) for own in times]

    def kernels(self, model: Model) -> dict[str, float]:
        """Milliseconds of every kernel by its name."""
        session = runtime.ProfiledSession(model, self.options)
        deadline = perf_counter() + PROFILE_SECONDS
        for count in range(PROFILED_RUNS):
            session.run(self.feeds)
            if count > LEAST_ROUNDS and perf_counter() > deadline:
                break
        return {kernel.name: 1e-3 * kernel.typical for kernel in session.finish()}


def slow_nodes(placement: Placement, plain: Model, stored: Model, timer: Clock, shapes: Dims) -> list[Node]:
    """The placed nodes that cost less in float: ``plain`` and ``stored`` are the model before and after."""
    labels = [_labelled(plain), _labelled(stored)]
    costs = [_by_node(timer.kernels(model), own) for model, own in zip((plain, stored), labels, strict=True)]
    sizes = ir.infer_shapes(plain, dict(shapes))
    return _cut(placement, costs[0], costs[1], sizes)


def _labelled(model: Model) -> dict[str, str]:
    """Give nodes names that kernels keep, and tell which result each name, and each tensor, belongs to."""
    labels: dict[str, str] = {}
    for index, node in enumerate(model.graph.nodes):
        if node.outputs and node.op not in ("QuantizeLinear", "DequantizeLinear"):
            node.name = f"n{index}|"
            result = node.output.name.removesuffix(SUM)  # a gate's addition belongs to the gate
            labels[f"n{index}"] = labels[node.output.name] = result
    return labels


def _by_node(kernels: Mapping[str, float], labels: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds by the first output of the node that a kernel stems from."""
    times: dict[str, float] = {}
    for name, time in kernels.items():
        kernel = name.split("|")[0] if "|" in name else name.removesuffix("_nchwc")
        if kernel in labels:
            times[labels[kernel]] = times.get(labels[kernel], 0.0) + time
    return times


def _cut(placement: Placement, plain: Times, stored: Times, sizes: Mapping[str, ir.Shape]) -> list[Node]:
    import networkx as nx

    graph = nx.DiGraph()
    absorbed = set(placement.absorbed)
    groups = {node: _members(node, absorbed) for node in placement.integer}
    maker = {t: node for node, group in groups.items() for member in group for t in member.outputs}
    for node, group in groups.items():
        names = [member.output.name for member in group]
        graph.add_edge("integer", node, capacity=sum(plain.get(name, 0.0) for name in names))
        graph.add_edge(node, "float", capacity=sum(stored.get(name, 0.0) for name in names))
        for tensor in activations(node):
            _couple(graph, maker.get(tensor, "float"), node, _crossing(tensor, sizes))
        for tensor in group[-1].outputs:
            if any(reader not in groups for reader in tensor.consumers):
                _couple(graph, node, "float", _crossing(tensor, sizes))
    _, (quantized, _) = nx.minimum_cut(graph, "integer", "float")
    return [node for node in placement.integer if node not in quantized]


def _members(node: Node, absorbed: AbstractSet[Node]) -> list[Node]:
    """A placed node with the nodes whose work its kernel does."""
    group = [node]
    while (readers := group[-1].output.consumers) and readers[0] in absorbed:
        group.append(readers[0])
    return group


def _couple(graph: Any, first: Node | str, second: Node | str, price: float) -> None:
    for one, other in pairwise((first, second, first)):
        if one == "float" or other == "integer":
            continue
        capacity = graph.get_edge_data(one, other, {"capacity": 0.0})["capacity"]
        graph.add_edge(one, other, capacity=capacity + price)


def _crossing(tensor: Tensor, sizes: Mapping[str, ir.Shape]) -> float:
    shape = ir.static_shape(sizes.get(tensor.name))
    elements = UNKNOWN if shape is None else math.prod(shape)
    return PER_KERNEL + CROSSING * elements


def is_slower(time: float, reference: float) -> bool:
    """Whether a model takes longer than another beyond what measurements differ by."""
    return time > SLOWER * reference and time - reference > NOTICEABLE


def names_of(nodes: Iterable[Node]) -> str:
    """Operators and how many, for messages."""
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.op] = counts.get(node.op, 0) + 1
    return ", ".join(f"{count} {op}" for op, count in counts.items())
