"""The parameter-free shortcut of residual nets (He et al. 2015, option A), as a Conv."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphopt.ir.analysis.facts import gather_facts
from graphopt.ir.analysis.shape_inference import infer_shapes
from graphopt.ir.declared import Shape
from graphopt.ir.graph import Node
from graphopt.ir.io.weights import Array
from graphopt.ir.model import Model
from graphopt.ir.tensor import Tensor


def shortcut(node: Node, shapes: Mapping[str, Shape]) -> bool:
    """Every second position, and channels of zeros around: a 1x1 Conv of stride 2 whose weights are 1 and 0.

    Exact, in float and on integers (scale 1/127, weights 127).
    """
    source = _sliced(node, shapes) if node.op == "Pad" else None
    if source is None:
        return False
    origin, strides = source
    padding = _channel_padding(node)
    channels = _channels(origin, shapes)
    if padding is None or channels is None or strides == (1, 1):
        return False
    weight = np.zeros((channels + sum(padding), channels, 1, 1), np.float32)
    weight[padding[0] + np.arange(channels), np.arange(channels)] = 1
    graph, result, name = node.graph, node.output, node.name
    base = name or result.name
    inputs = [origin, graph.add_constant(f"{base}_identity", weight)]
    graph.remove(node)
    attrs = {"kernel_shape": [1, 1], "strides": list(strides)}
    graph.add_node("Conv", inputs, attrs, outputs=[result], name=name)
    return True


def write_as_convs(model: Model) -> int:
    """Turn each such shortcut in float32 into a Conv, and return their number."""
    facts, shapes = gather_facts(model), infer_shapes(model)
    done = 0
    for node in list(model.graph.nodes):
        if node.op == "Pad" and node.is_standard and facts.dtype(node.output) == np.float32:
            done += shortcut(node, shapes)
    if done:
        model.graph.remove_dead()
        model.graph.remove_unused_initializers()
        model.graph.sort()
    return done


def takes_steps(node: Node) -> bool:
    """Whether a Slice leaves positions out, or may: its steps are another than 1, or not known."""
    steps = node.input(4) if node.op == "Slice" and node.is_standard else None
    return steps is not None and (steps.constant is None or bool((steps.constant != 1).any()))


def _sliced(node: Node, shapes: Mapping[str, Shape]) -> tuple[Tensor, tuple[int, int]] | None:
    """What one or two Slice nodes before take every n-th row and column of, and both n."""
    tensor, strides = node.inputs[0], [1, 1]
    if len(_shape(tensor, shapes) or ()) != 4:
        return None
    while (maker := tensor.producer) is not None and maker.op == "Slice" and tensor.is_private:
        steps = _steps(maker)
        if steps is None or any(strides[axis - 2] != 1 for axis in steps):
            return None
        for axis, step in steps.items():
            strides[axis - 2] = step
        tensor = maker.inputs[0]
    return tensor, (strides[0], strides[1])


def _steps(node: Node) -> dict[int, int] | None:
    """The step along each axis of a Slice that goes from the first to the last row or column, or None."""
    given = [node.input(i) for i in range(1, 5)]
    values = [None if t is None or t.constant is None else t.constant.ravel() for t in given]
    starts, ends, axes, steps = values
    if starts is None or ends is None or axes is None or steps is None:
        return None
    if starts.any() or (ends < 2**31 - 1).any() or (steps < 1).any():
        return None
    axes = np.where(axes < 0, axes + 4, axes)
    if not np.isin(axes, (2, 3)).all():
        return None
    return {int(axis): int(step) for axis, step in zip(axes, steps, strict=True)}


def _channel_padding(node: Node) -> tuple[int, int] | None:
    """Zero channels before and after; None when a Pad does anything else."""
    if node.attr("mode", "constant") != "constant" or node.input(3) is not None:
        return None
    sizes, value = node.input(1), node.input(2)
    pads = None if sizes is None else sizes.constant
    if pads is None or pads.size != 8 or (value is not None and not _is_zero(value.constant)):
        return None
    before, after = int(pads[1]), int(pads[5])
    others = np.delete(pads, (1, 5))
    return (before, after) if not others.any() and min(before, after) >= 0 else None


def _is_zero(value: Array | None) -> bool:
    return value is not None and not value.any()


def _channels(tensor: Tensor, shapes: Mapping[str, Shape]) -> int | None:
    shape = _shape(tensor, shapes)
    return shape[1] if shape is not None and len(shape) == 4 and isinstance(shape[1], int) else None


def _shape(tensor: Tensor, shapes: Mapping[str, Shape]) -> Shape | None:
    return tuple(tensor.shape) if tensor.shape is not None else shapes.get(tensor.name)
