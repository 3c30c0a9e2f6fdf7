"""Reductions, pools, normalisations and sums, written with operators that have a gradient."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Node, Tensor

from ..graph.builder import Builder


def global_max_pool(node: Node, to: Builder) -> Tensor:
    """A MaxPool whose kernel is the whole map."""
    size = to.shape(node.inputs[0])[2:]
    return to.op("MaxPool", node.inputs[0], kernel_shape=list(size), strides=[1] * len(size))


def reduce_max(node: Node, to: Builder) -> Tensor | None:
    """Over all positions of a map: a MaxPool, and a reshape when the axes go; None for other axes."""
    return _reduced_by_pool(node.inputs[0], node, to)


def reduce_min(node: Node, to: Builder) -> Tensor | None:
    """-max(-x)."""
    result = _reduced_by_pool(to.op("Neg", node.inputs[0]), node, to)
    return None if result is None else to.op("Neg", result)


def reduce_sum_square(node: Node, to: Builder) -> Tensor:
    """The sum of x x."""
    x = node.inputs[0]
    return _total(to.op("Mul", x, x), node, to)


def reduce_l1(node: Node, to: Builder) -> Tensor:
    """The sum of |x|."""
    return _total(to.op("Abs", node.inputs[0]), node, to)


def reduce_log_sum(node: Node, to: Builder) -> Tensor:
    """The logarithm of the sum."""
    return to.op("Log", _total(node.inputs[0], node, to))


def add_all(node: Node, to: Builder) -> Tensor:
    """A sum of several as a chain."""
    result = node.inputs[0]
    for other in node.inputs[1:]:
        result = to.op("Add", result, other)
    return result


def mean_all(node: Node, to: Builder) -> Tensor:
    """A mean of several as a chain."""
    return to.op("Mul", add_all(node, to), 1 / len(node.inputs))


def instance_norm(node: Node, to: Builder) -> Tensor:
    """Each channel of each sample minus its mean, over its deviation."""
    x, scale, shift = node.inputs[:3]
    axes = list(range(2, len(to.shape(x))))
    ones = (1,) * len(axes)
    normal = _normal(x, axes, float(node.attr("epsilon", 1e-5)), to)
    return to.op("Add", to.op("Mul", normal, to.reshape(scale, -1, *ones)), to.reshape(shift, -1, *ones))


def group_norm(node: Node, to: Builder) -> Tensor:
    """Groups of channels minus their mean, over their deviation."""
    x, scale, shift = node.inputs[:3]
    batch, channels, *size = to.shape(x)
    groups = int(node.attr("num_groups"))
    split = to.reshape(x, batch, groups, -1)
    normal = to.reshape(_normal(split, [2], float(node.attr("epsilon", 1e-5)), to), batch, channels, *size)
    ones = (1,) * len(size)
    scale, shift = (_by_channel(tensor, groups, channels, to) for tensor in (scale, shift))
    return to.op("Add", to.op("Mul", normal, to.reshape(scale, -1, *ones)), to.reshape(shift, -1, *ones))


def layer_norm(node: Node, to: Builder) -> Tensor | None:
    """The last axes minus their mean, over their deviation; None when the statistics are handed out."""
    if any(tensor.name and tensor.outputs for tensor in node.outputs[1:]):
        return None
    x, scale = node.inputs[:2]
    ndim = len(to.shape(x))
    axis = int(node.attr("axis", -1)) % ndim
    normal = _normal(x, list(range(axis, ndim)), float(node.attr("epsilon", 1e-5)), to)
    product = to.op("Mul", normal, scale)
    shift = node.input(2)
    return product if shift is None else to.op("Add", product, shift)


def lp_normalization(node: Node, to: Builder) -> Tensor:
    """x over its norm along one axis."""
    x, axis = node.inputs[0], int(node.attr("axis", -1))
    if int(node.attr("p", 2)) == 1:
        norm = _sum(to.op("Abs", x), [axis], 1, to)
    else:
        norm = to.op("Sqrt", _sum(to.op("Mul", x, x), [axis], 1, to))
    return to.op("Div", x, norm)


def local_response_norm(node: Node, to: Builder) -> Tensor:
    """x / (bias + alpha / size * the sum of squares over neighbouring channels) ^ beta.

    The sum over channels is a 1x1 convolution with a band of ones.
    """
    x = node.inputs[0]
    shape = to.shape(x)
    size, channels = int(node.attr("size")), shape[1]
    reach = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    band = (reach >= -((size - 1) // 2)) & (reach <= size // 2)
    kernel = band.astype(np.float32).reshape(channels, channels, *(1,) * (len(shape) - 2))
    around = to.op("Conv", to.op("Mul", x, x), kernel)
    scaled = to.op("Mul", around, float(node.attr("alpha", 1e-4)) / size)
    base = to.op("Add", scaled, float(node.attr("bias", 1.0)))
    return to.op("Div", x, to.op("Pow", base, float(node.attr("beta", 0.75))))


def _normal(x: Tensor, axes: list[int], epsilon: float, to: Builder) -> Tensor:
    centred = to.op("Sub", x, _mean(x, axes, to))
    variance = _mean(to.op("Mul", centred, centred), axes, to)
    return to.op("Div", centred, to.op("Sqrt", to.op("Add", variance, epsilon)))


def _mean(x: Tensor, axes: list[int], to: Builder) -> Tensor:
    if to.graph.opset < 18:
        return to.op("ReduceMean", x, axes=axes, keepdims=1)
    return to.op("ReduceMean", x, to.ints(axes), keepdims=1)


def _sum(x: Tensor, axes: list[int], keep: int, to: Builder) -> Tensor:
    return to.op("ReduceSum", x, to.ints(axes), keepdims=keep)


def _total(x: Tensor, node: Node, to: Builder) -> Tensor:
    """The sum over the axes that a reduction names."""
    return _sum(x, _axes(node, to), int(node.attr("keepdims", 1)), to)


def _axes(node: Node, to: Builder) -> list[int]:
    given = node.attr("axes")
    if given is None and node.input(1) is not None:
        given = node.inputs[1].constant
    ndim = len(to.shape(node.inputs[0]))
    return list(range(ndim)) if given is None or not len(given) else [int(a) % ndim for a in given]


def _reduced_by_pool(x: Tensor, node: Node, to: Builder) -> Tensor | None:
    shape = to.shape(node.inputs[0])
    if len(shape) < 3 or _axes(node, to) != list(range(2, len(shape))):
        return None
    pooled = to.op("MaxPool", x, kernel_shape=list(shape[2:]), strides=[1] * (len(shape) - 2))
    return pooled if node.attr("keepdims", 1) else to.reshape(pooled, *shape[:2])


def _by_channel(tensor: Tensor, groups: int, channels: int, to: Builder) -> Tensor:
    """A parameter for each channel; before opset 21 there was one for each group."""
    if to.shape(tensor)[0] == channels:
        return tensor
    wide = to.op("Expand", to.reshape(tensor, groups, 1), to.ints([groups, channels // groups]))
    return to.reshape(wide, channels)


SUMS = {
    "GlobalMaxPool": global_max_pool,
    "ReduceMax": reduce_max,
    "ReduceMin": reduce_min,
    "ReduceSumSquare": reduce_sum_square,
    "ReduceL1": reduce_l1,
    "ReduceLogSum": reduce_log_sum,
    "Sum": add_all,
    "Mean": mean_all,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "LpNormalization": lp_normalization,
    "LRN": local_response_norm,
}
