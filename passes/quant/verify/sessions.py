"""How quantized models are run while decisions are made about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from graphopt.calibration import ActivationCheckpoint, cuts
from graphopt.targets.host import host_isa, host_sums, runs_here

if TYPE_CHECKING:
    import numpy as np

    from graphopt.calibration.checkpoint import SampleSet
    from graphopt.ir import Graph, Model
    from graphopt.pipeline import Context
    from graphopt.runtime import Session
    from graphopt.runtime.session import Optimization

PART = 1000  # time: nodes of a part; opening 324 of them took 13 ms, 3,237 took 330 and 32,487 took 10,400
WITHOUT_INTEGER_KERNELS: Final = "basic"  # the level of optimization at which pairs stay pairs


def open_stored(model: Model, outputs: Iterable[str] | None, ctx: Context) -> Session:
    """A session of a quantized model.

    For another target it computes in floats between the pairs, as the file says: the integer kernels of this
    machine, which may saturate, say nothing about that target.
    """
    level: Optimization = "all" if runs_here(ctx.target) else WITHOUT_INTEGER_KERNELS
    return ctx.session(model, outputs=None if outputs is None else list(outputs), optimization=level)


def run_in_parts(
    model: Model, names: Sequence[str], samples: SampleSet, ctx: Context
) -> Iterator[Mapping[str, np.ndarray]]:
    """The named tensors of a quantized model for each sample.

    Opening a session takes far more than in proportion to the nodes, so a large model is run part by part, as
    long as what is between the parts fits into memory.
    """
    if len(model.graph.nodes) < 2 * PART:
        session = open_stored(model, names, ctx)
        yield from (made for _, made in session.answers(samples, lambda sample: sample.feeds))
        return
    checkpoint = ActivationCheckpoint(model, samples, partial(open_stored, ctx=ctx))
    for cut in _part_ends(model, names):
        before = checkpoint.known
        checkpoint.advance(cut)
        if checkpoint.known == before:
            break
    yield from checkpoint.stream(names)


def _part_ends(model: Model, names: Sequence[str]) -> Iterator[list[str]]:
    """The tensors at which one part ends and the next begins, with those of ``names`` that come before.

    Integers stand there in place of what is read from them, so that integer kernels stay whole.
    """
    model.sort()
    nodes, integers = list(model.graph.nodes), integers_instead(model.graph)
    places = {tensor.name: place for place, node in enumerate(nodes) for tensor in node.outputs}
    ends = range(PART, len(nodes) - PART // 2, PART)
    for end, cut in zip(ends, cuts(model.graph, [nodes[end] for end in ends]), strict=True):
        ready = [name for name in names if places.get(name, len(nodes)) < end]
        instead = [integers.get(name, name) for name in cut]
        yield list(dict.fromkeys(name for name in (*instead, *ready) if name))


def integers_instead(graph: Graph) -> dict[str, str]:
    """What to keep instead of a dequantized tensor: its integers, or nothing when those are parameters."""
    return {
        node.output.name: node.inputs[0].name if node.inputs[0].constant is None else ""
        for node in graph.find("DequantizeLinear")
    }


def assumptions(reduce_range: str, ctx: Context) -> dict[str, str]:
    """What is assumed of the processor that will run the result; nothing for a target that is elsewhere."""
    if not runs_here(ctx.target) or reduce_range != "auto":
        return {}
    return {"isa": host_isa(ctx.target), "sums": host_sums(ctx.target)}


def in_words(assumed: Mapping[str, str]) -> str:
    """What assumptions made of the weights; empty when they made nothing of them."""
    if assumed.get("sums") != "int16":
        return ""
    return f"weights are kept small where sums in 16 bits would saturate, as on this {assumed['isa']}"
