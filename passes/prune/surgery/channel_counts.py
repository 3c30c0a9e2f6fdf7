"""Rewrite the attributes and size inputs that count channels or say where channels lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt import ir

from ..coupling.builder import Channels, Edit
from ..coupling.coupling import Coupling
from ..selection.predict import Keep

SPLIT_IS_INPUT = 13  # fixed: opset from which Split takes its sizes as an input


class Rewriter:
    """Carries out edits on one graph for one choice of channels."""

    def __init__(self, graph: ir.Graph, coupling: Coupling, keep: Keep) -> None:
        self._graph = graph
        self._coupling = coupling
        self._keep = keep
        self._dropped: set[ir.Tensor] = set()
        self._replaced: dict[ir.Tensor, ir.Tensor] = {}  # ends of routes, and what stands for them now

    def rewrite(self, edit: Edit) -> None:
        """Carry out one edit."""
        getattr(self, f"_{edit.kind}")(edit)

    def read_instead(self, node: ir.Node, index: int, tensor: ir.Tensor) -> None:
        """Let one input read another tensor, and clear the old one away when nobody else reads it."""
        old = node.inputs[index]
        node.inputs[index] = tensor
        self._clear_away(old)

    def finish(self) -> None:
        """Take initializers that lost their last reader out of the graph, and order what was added."""
        gone = {tensor for tensor in self._dropped if not tensor.consumers}
        if gone:
            self._graph.initializers = [t for t in self._graph.initializers if t not in gone]
        self._graph.sort()

    def _clear_away(self, tensor: ir.Tensor) -> None:
        """Remove what nobody reads any more, up to what somebody does."""
        pending, graph = [tensor], self._graph
        while pending:
            old = pending.pop()
            if old.consumers or graph.is_output(old):
                continue
            maker = old.producer
            if maker is None:
                if not any(old is given for given in graph.inputs):
                    self._dropped.add(old)
            elif not any(t.consumers or graph.is_output(t) for t in maker.outputs):
                sources = list(maker.inputs)
                graph.remove(maker)
                pending.extend(source for source in sources if source.name)

    def _groups(self, edit: Edit) -> None:
        """A depthwise conv has as many groups as input channels."""
        edit.node.attrs["group"] = self._count(edit.before)

    def _norm_groups(self, edit: Edit) -> None:
        """A group normalisation loses whole groups."""
        size = len(edit.before.ids) // int(edit.node.attr("num_groups"))
        edit.node.attrs["num_groups"] = self._count(edit.before) // size

    def _heads(self, edit: Edit) -> None:
        """Attention as one operator counts its heads."""
        for name in ("num_heads", "q_num_heads", "kv_num_heads"):
            if edit.node.attr(name) is not None:
                edit.node.attrs[name] = self._count(edit.before)

    def _scale(self, edit: Edit) -> None:
        """Scores keep the scale that followed from the size of whole heads."""
        if not edit.node.attr("scale"):
            edit.node.attrs["scale"] = float(len(edit.before.ids)) ** -0.5

    def _pad(self, edit: Edit) -> None:
        """Padding along the channels adds as many before and after as stay of those it made."""
        name = "paddings" if edit.node.attr("paddings") is not None else "pads"  # opset 1 has the longer name
        pads = _read(edit.node, name, 1)
        front, back = edit.place, len(pads) // 2 + edit.place
        kept = self._kept(edit.after[0])
        pads[front], pads[back] = int(kept[: pads[front]].sum()), int(kept[len(kept) - pads[back] :].sum())
        self._write(edit.node, name, 1, pads)

    def _slice(self, edit: Edit) -> None:
        """A window over the channels starts after those that stay before it."""
        starts, ends = _read(edit.node, "starts", 1), _read(edit.node, "ends", 2)
        kept = self._kept(edit.before)
        first = slice(starts[edit.place], ends[edit.place]).indices(len(kept))[0]
        starts[edit.place] = int(kept[:first].sum())
        ends[edit.place] = starts[edit.place] + self._count(edit.after[0])
        self._write(edit.node, "starts", 1, starts)
        self._write(edit.node, "ends", 2, ends)

    def _split(self, edit: Edit) -> None:
        """The parts are as wide as what stays of them."""
        node, widths = edit.node, [self._count(part) for part in edit.after]
        if node.attr("split") is not None or node.input(1) is not None:
            self._write(node, "split", 1, widths)
        elif len(set(widths)) > 1:  # no longer equal parts, so their sizes have to be said
            node.attrs.pop("num_outputs", None)
            if self._graph.opset < SPLIT_IS_INPUT:
                node.attrs["split"] = widths
            else:
                sizes = self._graph.add_constant(f"{node.output.name}_split", np.asarray(widths, np.int64))
                node.inputs = [node.inputs[0], sizes]

    def _gather(self, edit: Edit) -> None:
        """What is still picked has moved up by what is gone before it."""
        node = edit.node
        chosen = node.inputs[1].constant
        assert chosen is not None
        moved = (np.cumsum(self._kept(edit.before)) - 1)[chosen].astype(chosen.dtype)
        if chosen.ndim:
            moved = moved.compress(self._kept(edit.after[0]), edit.place)
        if not np.array_equal(moved, chosen):
            self.read_instead(node, 1, self._graph.add_constant(node.inputs[1].name, moved))

    def _route(self, edit: Edit) -> None:
        """Nodes that together put channels in another order become one Gather, or nothing at all."""
        before, after, route = self._kept(edit.before), self._kept(edit.after[0]), edit.route
        assert route is not None
        if before.all():
            return
        order = (np.cumsum(before) - 1)[route.order[after]]
        source = self._replaced.get(route.source, route.source)  # one route may begin where another ends
        new = source
        if not np.array_equal(order, np.arange(before.sum())):
            indices = self._graph.add_constant(f"{route.end.name}_order", order)
            attrs = {"axis": edit.before.axis}
            new = self._graph.add_node("Gather", [source, indices], attrs, like=edit.node).output
        self._replaced[route.end] = new
        self._graph.replace_uses(route.end, new)
        self._clear_away(route.end)

    def _sizes(self, edit: Edit) -> None:
        """Reshape, Expand, Resize: a number for the channel axis is replaced; -1 and 0 keep their meaning."""
        node, index = edit.node, 3 if edit.node.op == "Resize" else 1
        sizes = _read(node, "", index)
        zero_copies = node.op == "Reshape" and not node.attr("allowzero", 0)
        copied = zero_copies and sizes[edit.place] == 0 and edit.before.axis == edit.place
        if sizes[edit.place] != -1 and not copied:
            sizes[edit.place] = self._count(edit.after[0])
        source = edit.before.axis
        if zero_copies and source != edit.place and source < len(sizes) and sizes[source] == 0:
            sizes[source] = len(edit.before.ids)  # it copied the old number of channels by chance of place
        self._write(node, "", index, sizes)

    def _kept(self, channels: Channels) -> np.ndarray:
        return self._coupling.kept(channels.ids, self._keep)

    def _count(self, channels: Channels) -> int:
        return int(self._kept(channels).sum())

    def _write(self, node: ir.Node, attribute: str, index: int, values: Sequence[int]) -> None:
        """Put new whole numbers where this node's opset keeps them: an attribute or a constant input."""
        if attribute and node.attr(attribute) is not None:
            node.attrs[attribute] = list(values)
            return
        old = node.inputs[index].constant
        assert old is not None
        if not np.array_equal(old, values):
            new = self._graph.add_constant(node.inputs[index].name, np.asarray(values, old.dtype))
            self.read_instead(node, index, new)


def _read(node: ir.Node, attribute: str, index: int) -> list[int]:
    counts = node.attr(attribute) if attribute else None
    values = node.inputs[index].constant if counts is None else counts
    assert values is not None  # rules make edits of constants only
    return [int(value) for value in values]
