"""What attributes and constant inputs of an operator mean: padding, bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphopt.ir.node import Node

AS_WRITTEN = ("NOTSET", "")  # auto_pad of a window whose padding is in ``pads``


def is_padded(node: Node) -> bool:
    """Whether a convolution or pooling reads beyond its input."""
    mode = node.attr("auto_pad", "NOTSET")
    return any(node.attr("pads") or ()) if mode in AS_WRITTEN else mode != "VALID"


def same_padding(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    mode: str,
) -> tuple[int, ...]:
    """The padding that ``auto_pad`` means for an input of these sizes, as ``pads`` has it: begins, then ends.

    ``mode`` is SAME_UPPER, which puts the odd one at the end, SAME_LOWER or VALID.
    """
    begins, ends = [], []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        reach = (width - 1) * dilation + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0) if mode != "VALID" else 0
        begin = total // 2 if mode == "SAME_UPPER" else total - total // 2
        begins.append(begin)
        ends.append(total - begin)
    return (*begins, *ends)


def clip_bounds(node: Node) -> tuple[float, float] | None:
    """What a Clip or Relu bounds its result by; None for other nodes, and where it is known at run time
    only or no number.

    Bounds are attributes before opset 11.  Runtimes take one of shape [1] for a scalar.
    """
    if not node.is_standard or node.op not in ("Relu", "Clip"):
        return None
    if node.op == "Relu":
        return 0.0, math.inf
    low, high = _limit(node, 1, "min", -math.inf), _limit(node, 2, "max", math.inf)
    return None if low is None or high is None or math.isnan(low) or math.isnan(high) else (low, high)


def _limit(node: Node, index: int, attribute: str, default: float) -> float | None:
    tensor = node.input(index)
    if tensor is None:
        return float(node.attr(attribute, default))
    limit = tensor.constant
    return float(limit.item()) if limit is not None and limit.size == 1 else None
