"""Padding done by a node of its own that the convolution or pool after it can do."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Node
from graphopt.passes.clean.rules.base import Rule, View

WINDOWS = ("Conv", "AveragePool", "MaxPool")
COUNTED_SINCE = 7  # fixed: the opset from which an AveragePool may count what it pads


def _into_window(node: Node, view: View) -> str | None:
    """Pad with a constant value before a Conv (zero), AveragePool (zero, counted) or MaxPool (-inf)."""
    if not node.output.is_private or node.graph is not node.output.consumers[0].graph:
        return None
    window = node.output.consumers[0]
    pads = _spatial_pads(node, view)
    if (
        pads is None
        or not window.is_standard
        or window.op not in WINDOWS
        or window.inputs[0] is not node.output
    ):
        return None
    if window.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or not _same_meaning(node, window, view):
        return None
    own = np.array(window.attr("pads") or [0] * len(pads))
    if len(own) != len(pads) or not _takes_pads(window, own + pads):
        return None
    window.attrs["pads"] = [int(size) for size in own + pads]
    if window.op == "AveragePool":
        window.attrs["count_include_pad"] = 1
    if "auto_pad" in window.attrs:
        del window.attrs["auto_pad"]
    node.graph.bypass(node)
    return f"the padding is done by {window.name or window.op}"


def _takes_pads(window: Node, pads: np.ndarray) -> bool:
    """Whether a pool reads at least one element of its input in each place, as runtimes demand."""
    if window.op == "Conv":
        return True
    kernel = np.array(window.attr("kernel_shape", []))
    return 2 * kernel.size == pads.size and bool(np.all(pads < np.tile(kernel, 2)))


def _spatial_pads(node: Node, view: View) -> np.ndarray | None:
    """The pads as a window takes them (all begins, then all ends), when batch and channels are not padded."""
    if node.attr("mode", "constant") != "constant":
        return None
    pads = node.attrs["pads"] if "pads" in node.attrs else view.constant(node.input(1))
    if pads is None or node.input(3) is not None:
        pads = _with_axes(node, view)
    if pads is None:
        return None
    begins, ends = np.array(pads).reshape(2, -1)
    if begins.size < 3 or begins[:2].any() or ends[:2].any() or min(begins.min(), ends.min()) < 0:
        return None
    return np.concatenate([begins[2:], ends[2:]])


def _with_axes(node: Node, view: View) -> np.ndarray | None:
    """Pads that name their axes (opset 18), as pads of every axis."""
    pads, axes = view.constant(node.input(1)), view.constant(node.input(3))
    rank = view.facts.rank(node.inputs[0])
    if pads is None or axes is None or rank is None:
        return None
    full = np.zeros((2, rank), np.int64)
    full[:, axes.astype(np.int64)] = np.array(pads).reshape(2, -1)
    return full.ravel()


def _same_meaning(node: Node, window: Node, view: View) -> bool:
    """Whether the window pads with the same value."""
    if node.input(2) is not None:
        constant = view.constant(node.input(2))
        if constant is None:
            return False
        value = float(constant.ravel()[0]) if constant.size else 0.0
    else:
        value = float(node.attr("value", 0.0))
    if window.op == "MaxPool":
        return value == -np.inf and len(window.outputs) == 1 and not window.attr("ceil_mode", 0)
    if window.op == "AveragePool" and view.model.opset < COUNTED_SINCE:
        return False
    if window.op == "AveragePool":
        counted = window.attr("count_include_pad", 0) or not any(window.attr("pads") or [])
        return bool(counted and not window.attr("ceil_mode", 0) and value == 0)
    return value == 0


PADDING_RULES: dict[str, list[Rule]] = {"Pad": [_into_window]}
