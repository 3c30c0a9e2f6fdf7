"""Which tensors of a result stand for which of its original, and which channels of them are left."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from graphopt.pipeline.results.layers import LAST_AXIS, Seen
from graphopt.pipeline.results.tensor_sqnr import Channels, TensorPair

LONGEST = 8  # time: removed nodes followed from one that stayed
MOVING = frozenset(
    {
        *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Pad"),
        *("Reshape", "ScatterElements", "ScatterND", "Shape", "Slice", "SpaceToDepth", "Split", "Squeeze"),
        *("Tile", "TopK", "Transpose", "Unsqueeze"),
    }
)


def matched_tensors(
    plans: Iterable[Iterable[Mapping[str, Any]]],
    before: Sequence[Seen],
    after: Sequence[Seen],
    rescaled: Container[str] = (),
) -> list[TensorPair]:
    """Pairs of tensors to compare: outputs of nodes that stayed, by name, outside subgraphs.

    A node that stayed may have taken over what a removed node behind it did, as a convolution does with a
    folded normalisation, so the outputs of removed nodes behind it are candidates too.  ``plans`` are the
    plan items of each pass, which tell the channels that are left.  Tensors whose channels were ``rescaled``
    have no pair.
    """
    kept, stored = kept_channels(plans, before), read_back(after)
    stayed = {seen.layer.name: seen for seen in before if not seen.inner and seen.tensor}
    names = {seen.layer.name for seen in after}
    readers = _only_readers(before)
    matches = []
    for now in after:
        seen = stayed.get(now.layer.name)
        if seen is None or now.inner or not now.tensor or now.tensor in rescaled:
            continue
        for candidate in _taken_over(seen, readers, names):
            left = kept.get(candidate.tensor)
            if candidate.shape is not None and _fits(candidate.shape, now.shape, left):
                result = stored.get(now.tensor, now.tensor)
                matches.append(TensorPair(candidate.tensor, result, math.prod(candidate.shape), left))
    return matches


def _fits(old: tuple[int, ...], new: tuple[int, ...] | None, left: Channels | None) -> bool:
    """Whether a tensor has its old shape but for the channels that went."""
    if left is not None:
        old = (*old[: left.axis], len(left.kept), *old[left.axis + 1 :])
    return bool(old) and old == new


def read_back(after: Sequence[Seen]) -> dict[str, str]:
    """The tensors that are stored as integers, each with the tensor that reads it back."""
    sources: dict[str, str] = {}
    for seen in after:
        if seen.layer.op == "DequantizeLinear" and seen.reads:
            stored = after[seen.reads[0]]
            if stored.layer.op == "QuantizeLinear" and stored.reads:
                sources.setdefault(after[stored.reads[0]].tensor, seen.tensor)
    return sources


def kept_channels(
    plans: Iterable[Iterable[Mapping[str, Any]]], before: Sequence[Seen]
) -> dict[str, Channels]:
    """The channels of the original that narrowed tensors still have, by tensor name.

    ``plans`` are the items of one pass after the other.  Those count that name a ``tensor`` and the channels
    to ``remove`` from it; ``narrowed`` says the same of the layers that get narrower with it.  Layers that
    pass channels on as they come keep those of what they read.  Where two passes speak of one tensor, as
    after two prunings, nothing is reported.
    """
    outputs = {seen.tensor: seen for seen in before if seen.shape is not None}
    cuts: dict[str, tuple[int, int, set[int]]] = {}  # tensor -> pass, axis, what goes
    twice: set[str] = set()
    for number, items in enumerate(plans):
        for tensor, axis, removed in _cuts(items, outputs):
            first = cuts.setdefault(tensor, (number, axis, set()))
            if first[:2] != (number, axis):
                twice.add(tensor)
            first[2].update(removed)
    kept: dict[str, Channels] = {}
    for tensor, (_, axis, gone) in cuts.items():
        shape = outputs[tensor].shape or ()
        if tensor not in twice and 0 <= axis < len(shape):
            kept[tensor] = Channels(axis, tuple(i for i in range(shape[axis]) if i not in gone))
    _spread(before, kept, twice)
    return kept


def _cuts(
    items: Iterable[Mapping[str, Any]], outputs: Mapping[str, Seen]
) -> Iterator[tuple[str, int, list[int]]]:
    """Tensors that plan items narrow, the axis, and the channels that go."""
    for item in items:
        if "remove" not in item or item.get("tensor") not in outputs:
            continue
        seen = outputs[item["tensor"]]
        last = seen.layer.op in LAST_AXIS
        own = {
            "tensor": seen.tensor,
            "axis": len(seen.shape or ()) - 1 if last else 1,
            "remove": item["remove"],
        }
        narrowed = item.get("narrowed", ())
        if not any(part["tensor"] == own["tensor"] and part["remove"] == own["remove"] for part in narrowed):
            narrowed = (own,)  # a plan that was edited, or that says nothing of other layers
        for part in narrowed:
            if part["tensor"] in outputs:
                yield part["tensor"], int(part["axis"]), list(part["remove"])


def _spread(before: Sequence[Seen], kept: dict[str, Channels], unknown: Container[str]) -> None:
    """Hand channels on through the layers that neither mix, move nor join them, in order."""
    for seen in before:
        if seen.tensor in kept or seen.tensor in unknown or seen.shape is None:
            continue
        if seen.layer.op in MOVING or (seen.layer.macs != 0 and not _is_depthwise(seen)):
            continue
        for source in (before[i] for i in seen.reads):
            left = kept.get(source.tensor)
            if left is not None and _has_axis_of(seen, source, left.axis):
                kept[seen.tensor] = left
                break


def _has_axis_of(seen: Seen, source: Seen, axis: int) -> bool:
    shape, other = seen.shape or (), source.shape or ()
    return len(shape) == len(other) and shape[axis] == other[axis]


def _only_readers(before: Sequence[Seen]) -> dict[str, Seen]:
    """The one layer that reads a tensor, for tensors that one alone reads."""
    counts = Counter(i for seen in before for i in seen.reads)
    return {before[i].tensor: seen for seen in before for i in seen.reads if counts[i] == 1}


def _taken_over(seen: Seen, readers: Mapping[str, Seen], names: set[str]) -> Iterator[Seen]:
    """A node that stayed, then the removed ones behind it."""
    yield seen
    for _ in range(LONGEST):
        behind = readers.get(seen.tensor)
        if behind is None or behind.layer.name in names or behind.inner:
            return
        seen = behind
        yield seen


def _is_depthwise(seen: Seen) -> bool:
    """Whether every output channel reads the input channel of its number: (out, 1, *kernel) weights."""
    shapes = seen.layer.inputs
    if seen.layer.op != "Conv" or len(shapes) < 2:
        return False
    source, weight = shapes[0], shapes[1]
    return bool(source and weight and len(source) > 2 and weight[0] == source[1] and weight[1] == 1)
