"""Rewrite the attributes and size inputs that count channels or say where channels lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphopt import ir

from .coupling import Coupling
from .predict import Keep
from .walk import Channels, Edit

SPLIT_IS_INPUT = 13  # opset from which Split takes its sizes as an input


def read_instead(node: ir.Node, index: int, tensor: ir.Tensor) -> None:
    """Let one input read another tensor, and clear the old one away when nobody else reads it."""
    old = node.inputs[index]
    node.inputs[index] = tensor
    graph = node.graph
    assert graph is not None
    while not old.consumers and not graph.is_output(old):
        maker = old.producer
        if maker is None:
            if old in graph.initializers and old not in graph.inputs:
                graph.initializers.remove(old)
            return
        source = maker.inputs[0] if len(maker.inputs) else None
        graph.remove(maker)
        if source is None:
            return
        old = source


def _groups(edit: Edit, coupling: Coupling, keep: Keep) -> None:
    """A depthwise conv has as many groups as input channels."""
    edit.node.attrs["group"] = _count(edit.before, coupling, keep)


def _pad(edit: Edit, coupling: Coupling, keep: Keep) -> None:
    """Padding along the channels adds as many before and after as stay of those it made."""
    pads = _read(edit.node, _pads_name(edit.node), 1)
    front, back = edit.place, len(pads) // 2 + edit.place
    kept = coupling.kept(edit.after[0].ids, keep)
    pads[front], pads[back] = int(kept[: pads[front]].sum()), int(kept[len(kept) - pads[back] :].sum())
    _write(edit.node, _pads_name(edit.node), 1, pads)


def _pads_name(node: ir.Node) -> str:
    return "paddings" if node.attr("paddings") is not None else "pads"  # opset 1 has the longer name


def _slice(edit: Edit, coupling: Coupling, keep: Keep) -> None:
    """A window over the channels starts after those that stay before it."""
    starts, ends = _read(edit.node, "starts", 1), _read(edit.node, "ends", 2)
    kept = coupling.kept(edit.before.ids, keep)
    first = slice(starts[edit.place], ends[edit.place]).indices(len(kept))[0]
    starts[edit.place] = int(kept[:first].sum())
    ends[edit.place] = starts[edit.place] + _count(edit.after[0], coupling, keep)
    _write(edit.node, "starts", 1, starts)
    _write(edit.node, "ends", 2, ends)


def _split(edit: Edit, coupling: Coupling, keep: Keep) -> None:
    """The parts are as wide as what stays of them."""
    node, widths = edit.node, [_count(part, coupling, keep) for part in edit.after]
    if node.attr("split") is not None or node.input(1) is not None:
        _write(node, "split", 1, widths)
    elif len(set(widths)) > 1:  # no longer equal parts, so their sizes have to be said
        node.attrs.pop("num_outputs", None)
        assert node.graph is not None
        if node.graph.opset < SPLIT_IS_INPUT:
            node.attrs["split"] = widths
        else:
            sizes = node.graph.add_constant(f"{node.output.name}_split", np.asarray(widths, np.int64))
            node.inputs = [node.inputs[0], sizes]


def _gather(edit: Edit, coupling: Coupling, keep: Keep) -> None:
    """What is still picked has moved up by what is gone before it."""
    node = edit.node
    chosen = node.inputs[1].constant
    assert chosen is not None and node.graph is not None
    kept = coupling.kept(edit.before.ids, keep)
    moved = (np.cumsum(kept) - 1)[chosen]
    moved = moved[coupling.kept(edit.after[0].ids, keep)].astype(chosen.dtype)
    if not np.array_equal(moved, chosen):
        read_instead(node, 1, node.graph.add_constant(node.inputs[1].name, moved))


def _sizes(edit: Edit, coupling: Coupling, keep: Keep) -> None:
    """Reshape, Expand, Resize: a number for the channel axis is replaced; -1 and 0 keep their meaning."""
    node, index = edit.node, 3 if edit.node.op == "Resize" else 1
    sizes = _read(node, "", index)
    zero_copies = node.op == "Reshape" and not node.attr("allowzero", 0)
    copied = zero_copies and sizes[edit.place] == 0 and edit.before.axis == edit.place
    if sizes[edit.place] != -1 and not copied:
        sizes[edit.place] = _count(edit.after[0], coupling, keep)
    source = edit.before.axis
    if zero_copies and source != edit.place and source < len(sizes) and sizes[source] == 0:
        sizes[source] = len(edit.before.ids)  # it copied the old number of channels by chance of place
    _write(node, "", index, sizes)


def _count(channels: Channels, coupling: Coupling, keep: Keep) -> int:
    return int(coupling.kept(channels.ids, keep).sum())


def _read(node: ir.Node, attribute: str, index: int) -> list[int]:
    found = node.attr(attribute) if attribute else None
    values = node.inputs[index].constant if found is None else found
    assert values is not None  # rules make edits of constants only
    return [int(value) for value in values]


def _write(node: ir.Node, attribute: str, index: int, values: Sequence[int]) -> None:
    """Put new whole numbers where this node's opset keeps them: an attribute or a constant input."""
    if attribute and node.attr(attribute) is not None:
        node.attrs[attribute] = list(values)
        return
    old = node.inputs[index].constant
    assert old is not None and node.graph is not None
    if not np.array_equal(old, values):
        new = node.graph.add_constant(node.inputs[index].name, np.asarray(values, old.dtype))
        read_instead(node, index, new)


EDITS: dict[str, Callable[[Edit, Coupling, Keep], None]] = {
    "groups": _groups,
    "pad": _pad,
    "slice": _slice,
    "split": _split,
    "gather": _gather,
    "sizes": _sizes,
}
