"""Where two models part: their inner tensors matched by name and compared, in the order they compute."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt import ir
from graphopt.ir.traversal import reads
from graphopt.metrics.outputs import SNR_LIMIT
from graphopt.pipeline.results.tensor_sqnr import TensorPair, compared
from graphopt.runtime import Difference, Verdict
from graphopt.runtime.session import DEFAULTS, SessionOptions

if TYPE_CHECKING:
    from graphopt.ir import Model, Node, Tensor

_VISIBLE = 80.0  # dB; a fall from more than that is not distinguished from one from there
SAMPLES = 4  # inner tensors are compared on so many at most


@dataclass(frozen=True)
class TensorDifference:
    """A tensor of model A and the one of B that stands for it.

    ``node`` and ``op`` make it in A.  ``snr_db`` (300 for equal tensors) is None where it has no meaning;
    ``differs`` tells whether the difference is more than rounding.
    """

    tensor: str
    other: str
    node: str
    op: str
    shape: tuple[int, ...]
    snr_db: float | None
    max_abs: float
    relative: float
    differs: bool


@dataclass(frozen=True)
class Divergence:
    """The matched tensors of two models and where their difference begins.

    ``first`` is the first tensor that differs in a way that what follows from it does as well: a tensor that
    merely means something else, as the output of a convolution that took over a normalisation, does not
    count.  ``worst`` is the one that loses most signal to noise against those it is computed from.
    ``unmatched`` counts tensors of A that B has nothing for, or only of another shape.
    """

    tensors: tuple[TensorDifference, ...] = ()
    first: TensorDifference | None = None
    worst: TensorDifference | None = None
    unmatched: int = 0


def divergence(
    a: Model,
    b: Model,
    samples: Iterable[Any],
    shapes: Mapping[str, tuple[int, ...]],
    options: SessionOptions = DEFAULTS,
) -> Divergence:
    """Compare the inner tensors of two models on some samples.

    Raises ModelError when a model cannot hand them out.
    """
    pairs, unmatched = match(a, b, shapes)
    makers = {tensor.name: node for node in a.graph.nodes for tensor in node.outputs}
    differences = [
        _told(twin, difference, makers[twin.original])
        for twin, difference in compared(a, b, pairs, samples, options)
        if not difference.mismatch
    ]
    nearest = {one.tensor: one for one in _nearest(differences)}
    before = _matched_before(a, nearest)
    first = _first(a, nearest, before)
    unmatched += len(pairs) - len(nearest)
    return Divergence(tuple(nearest.values()), first, _worst(nearest, before), unmatched)


def match(a: Model, b: Model, shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[TensorPair], int]:
    """Pairs of tensors to compare, in A's order, and how many tensors of A stay alone.

    Tensors match by name; where B quantised one, what reads it back does.  A tensor that is gone matches the
    output of the node that kept its name, unless A has a tensor called like that, and else what stands for
    the tensor its node reads: that may have taken the node over, as a convolution does with a
    normalisation, so that one tensor of B may stand for several.  Shapes must be equal.
    """
    a.sort()
    sizes, others = ir.infer_shapes(a, dict(shapes)), ir.infer_shapes(b, dict(shapes))
    by_name = {tensor.name: tensor for node in b.graph.nodes for tensor in node.outputs if tensor.name}
    by_node = {node.name: node for node in b.graph.nodes if node.name}
    own = {tensor.name for node in a.graph.nodes for tensor in node.outputs}
    stand_ins: dict[str, Tensor] = {}
    pairs, alone = [], 0
    for node in a.graph.nodes:
        for index, tensor in enumerate(node.outputs):
            if not tensor.name or tensor.constant is not None:
                continue
            result = by_name.get(tensor.name) or _renamed(node, index, by_node, own)
            other = _as_float(result) or _taken_over(node, stand_ins)
            size = _size(sizes.get(tensor.name))
            if other is None or size is None or sizes[tensor.name] != others.get(other.name):
                alone += 1
                continue
            stand_ins[tensor.name] = other
            pairs.append(TensorPair(tensor.name, other.name, size))
    return pairs, alone


def _renamed(node: Node, index: int, by_node: Mapping[str, Node], own: set[str]) -> Tensor | None:
    twin = by_node.get(node.name)
    if twin is None or index >= len(twin.outputs) or twin.op.removeprefix("QLinear") != node.op:
        return None
    made = twin.outputs[index]
    return made if made.name and made.name not in own else None


def _taken_over(node: Node, stand_ins: Mapping[str, Tensor]) -> Tensor | None:
    source = node.input(0)
    return None if source is None else stand_ins.get(source.name)


def _as_float(tensor: Tensor | None) -> Tensor | None:
    """What reads a quantised tensor back; any other tensor itself."""
    maker = None if tensor is None else tensor.producer
    if tensor is None or maker is None or not maker.op.startswith(("QuantizeLinear", "QLinear")):
        return tensor
    readers = (node for node in tensor.consumers if node.op == "DequantizeLinear")
    reader = next(readers, None)
    return None if reader is None else reader.output


def _size(dims: ir.Shape | None) -> int | None:
    sizes = ir.static_shape(dims)
    return None if sizes is None else math.prod(sizes)


def _nearest(differences: Sequence[TensorDifference]) -> list[TensorDifference]:
    """Of several tensors of A that one of B may stand for, the one it is nearest to."""
    best: dict[str, TensorDifference] = {}
    for one in differences:
        nearest = best.get(one.other)
        if nearest is None or (nearest.snr_db or -SNR_LIMIT) < (one.snr_db or -SNR_LIMIT):
            best[one.other] = one
    return [one for one in differences if best[one.other] is one]


def _told(twin: TensorPair, difference: Difference, node: Node) -> TensorDifference:
    shape = next((t.shape for t in node.outputs if t.name == twin.original), None) or ()
    is_float = difference.dtype.startswith("float") and not difference.nonfinite
    return TensorDifference(
        tensor=twin.original,
        other=twin.result,
        node=node.name or twin.original,
        op=node.op,
        shape=tuple(dim for dim in shape if isinstance(dim, int)),
        snr_db=float(np.clip(difference.snr_db, -SNR_LIMIT, SNR_LIMIT)) if is_float else None,
        max_abs=difference.max_abs,
        relative=difference.relative,
        differs=difference.verdict() is Verdict.DIFFERENT,
    )


def _matched_before(a: Model, nearest: Mapping[str, TensorDifference]) -> dict[str, list[str]]:
    """The matched tensors that each matched tensor is computed from, those without a match passed over."""
    sources: dict[str, list[str]] = {}
    before: dict[str, list[str]] = {}
    for node in a.graph.nodes:
        read = dict.fromkeys(
            name
            for tensor in reads(node)
            for name in ([tensor.name] if tensor.name in nearest else sources.get(tensor.name, []))
        )
        for tensor in node.outputs:
            sources[tensor.name] = list(read)
            if tensor.name in nearest:
                before[tensor.name] = list(read)
    return before


def _first(
    a: Model, nearest: Mapping[str, TensorDifference], before: Mapping[str, Sequence[str]]
) -> TensorDifference | None:
    """The first tensor that differs and makes others differ, or is handed out."""
    outputs = {tensor.name for tensor in a.graph.outputs}
    spreading = {name for name, one in nearest.items() if one.differs for name in before[one.tensor]}
    for one in nearest.values():
        if one.differs and (one.tensor in outputs or one.tensor in spreading):
            return one
    return None


def _worst(
    nearest: Mapping[str, TensorDifference], before: Mapping[str, Sequence[str]]
) -> TensorDifference | None:
    """The tensor with the largest fall of signal to noise against the worst it is computed from."""
    falls: dict[str, float] = {}
    for name, one in nearest.items():
        ratios = [nearest[source].snr_db for source in before[name]]
        finite = [ratio for ratio in ratios if ratio is not None]
        if one.differs and one.snr_db is not None and finite:
            falls[name] = min(min(finite), _VISIBLE) - one.snr_db
    worst = max(falls, key=lambda name: falls[name], default=None)
    return nearest[worst] if worst is not None and falls[worst] > 0 else None
