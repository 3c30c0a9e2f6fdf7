"""Which tensors of a result stand for which of its original, and which channels of them are left."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphopt.report.signal import Twin

if TYPE_CHECKING:
    from graphopt.report.layers import Seen

LONGEST = 8  # removed nodes followed from one that stayed


def twins(
    plans: Iterable[Mapping[str, Any]],
    before: Sequence[Seen],
    after: Sequence[Seen],
    rescaled: Container[str] = (),
) -> list[Twin]:
    """Pairs of tensors to compare: outputs of nodes that stayed, by name, outside subgraphs.

    A node that stayed may have taken over what a removed node behind it did, as a convolution does with a
    folded normalisation, so the outputs of removed nodes behind it are candidates too.  ``plans`` are plan
    items, which tell the channels that are left.  Tensors whose channels were ``rescaled`` have no pair.
    """
    kept, stored = kept_channels(plans, before), read_back(after)
    stayed = {seen.layer.name: seen for seen in before if not seen.inner and seen.tensor}
    names = {seen.layer.name for seen in after}
    readers = _only_readers(before)
    found = []
    for now in after:
        seen = stayed.get(now.layer.name)
        if seen is None or now.inner or not now.tensor or now.tensor in rescaled:
            continue
        for candidate in _taken_over(seen, readers, names):
            if candidate.shape is not None and now.channels is not None:
                left = None if candidate.channels == now.channels else kept.get(candidate.tensor)
                if candidate.channels == now.channels or (left and len(left) == now.channels):
                    found.append(
                        Twin(
                            candidate.tensor,
                            stored.get(now.tensor, now.tensor),
                            math.prod(candidate.shape),
                            left,
                        )
                    )
    return found


def read_back(after: Sequence[Seen]) -> dict[str, str]:
    """The tensors that are stored as integers, each with the tensor that reads it back."""
    found: dict[str, str] = {}
    for seen in after:
        if seen.layer.op == "DequantizeLinear" and seen.reads:
            stored = after[seen.reads[0]]
            if stored.layer.op == "QuantizeLinear" and stored.reads:
                found.setdefault(after[stored.reads[0]].tensor, seen.tensor)
    return found


def kept_channels(plans: Iterable[Mapping[str, Any]], before: Sequence[Seen]) -> dict[str, tuple[int, ...]]:
    """The channels (axis 1) of the original that narrowed tensors still have, by tensor name.

    Plan items count that name a ``tensor`` and the channels to ``remove`` from it, the ``members`` with it.
    Layers that pass channels on as they come keep those of what they read.  Where two items speak of one
    tensor, as after two prunings, nothing is told.
    """
    items = [item for item in plans if "remove" in item and "tensor" in item]
    twice = {name for name, count in Counter(item["tensor"] for item in items).items() if count > 1}
    width = {seen.tensor: seen.channels for seen in before}
    kept: dict[str, tuple[int, ...]] = {}
    members: dict[str, tuple[int, ...]] = {}
    for item in items:
        channels = width.get(item["tensor"])
        if channels is not None and item["tensor"] not in twice:
            gone = set(item["remove"])
            stay = tuple(i for i in range(channels) if i not in gone)
            kept[item["tensor"]] = stay
            members |= dict.fromkeys(map(str, item.get("members", ())), stay)
    _spread(before, kept, members)
    return kept


def _spread(
    before: Sequence[Seen], kept: dict[str, tuple[int, ...]], members: Mapping[str, tuple[int, ...]]
) -> None:
    """Hand channels on through the layers that neither mix nor join them, in order."""
    for seen in before:
        if seen.tensor in kept or seen.channels is None:
            continue
        sources = [before[i] for i in seen.reads]
        if seen.layer.macs != 0 and not _is_depthwise(seen):
            stay = members.get(seen.layer.name)
        else:
            same = (kept.get(s.tensor) for s in sources if s.channels == seen.channels)
            stay = next((found for found in same if found is not None), None)
        if stay is not None and (not stay or stay[-1] < seen.channels):
            kept[seen.tensor] = stay


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
