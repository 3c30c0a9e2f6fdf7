"""Layers whose gradient is missing or wrong, written with those whose gradient is right."""

from __future__ import annotations

import math

import numpy as np

from graphopt.ir import Node, Tensor
from graphopt.ir.analysis.operators import AS_WRITTEN, same_padding

from ..graph.builder import Builder


def conv(node: Node, to: Builder) -> Tensor | None:
    """The same convolution with its padding written out; None when it is written out already.

    onnxruntime-training 1.19 computes garbage for the gradient of one that pads by ``auto_pad``.
    """
    if node.attr("auto_pad", "NOTSET") in AS_WRITTEN:
        return None
    attrs = {name: node.attr(name) for name in ("dilations", "group", "strides") if name in node.attrs}
    kernel = to.shape(node.inputs[1])[2:]
    pads = _pads(node, to.shape(node.inputs[0])[2:], kernel)
    return to.op("Conv", *node.inputs, pads=pads, kernel_shape=list(kernel), **attrs)


def pool(node: Node, to: Builder) -> Tensor | None:
    """The same pooling with its padding written out; None when it is written out already."""
    if node.attr("auto_pad", "NOTSET") in AS_WRITTEN or len([t for t in node.outputs if t.name]) > 1:
        return None
    attrs = {
        name: value for name, value in node.attrs.items() if name not in ("auto_pad", "pads", "ceil_mode")
    }
    pads = _pads(node, to.shape(node.inputs[0])[2:], tuple(node.attr("kernel_shape")))
    return to.op(node.op, node.inputs[0], **{**attrs, "pads": pads})


def batch_norm(node: Node, to: Builder) -> Tensor | None:
    """Fold the map of each channel into the convolution before it, in the graph, so that all of it trains.

    With s = gamma / sqrt(var + epsilon): the weight becomes s W and the bias s (b - mean) + beta.  Where no
    layer stands before it, the map is written as a product and a sum.
    """
    _, gamma, beta, mean, var = node.inputs[:5]
    if mean.constant is None or var.constant is None:
        return None
    deviation = np.sqrt(var.constant.astype(np.float64) + float(node.attr("epsilon", 1e-5)))
    scale = to.op("Mul", gamma, 1 / deviation)
    source = node.inputs[0]
    layer = source.producer
    if layer is not None and _takes_affine(layer, source, to):
        return _folded(layer, scale, beta, mean, to)
    ones = (1,) * (len(to.shape(source)) - 2)
    shift = to.op("Sub", beta, to.op("Mul", scale, mean))
    product = to.op("Mul", source, to.reshape(scale, -1, *ones))
    return to.op("Add", product, to.reshape(shift, -1, *ones))


def _takes_affine(layer: Node, source: Tensor, to: Builder) -> bool:
    is_layer = layer.op == "Conv" and layer.is_standard and layer.graph is to.graph
    return is_layer and source.is_private and layer.inputs[1].constant is not None


def _folded(layer: Node, scale: Tensor, beta: Tensor, mean: Tensor, to: Builder) -> Tensor:
    weight, bias = layer.inputs[1], layer.input(2)
    ones = (1,) * (len(to.shape(weight)) - 1)
    wide = to.op("Mul", weight, to.reshape(scale, -1, *ones))
    moved = to.op("Neg", mean) if bias is None else to.op("Sub", bias, mean)
    shift = to.op("Add", to.op("Mul", moved, scale), beta)
    made = to.op("Conv", layer.inputs[0], wide, shift, **dict(layer.attrs.items()))
    to.graph.remove(layer)
    return made


def conv_transpose(node: Node, to: Builder) -> Tensor:
    """Spread the input with zeros between its values and convolve with the mirrored kernel.

    Padding k - 1 - p on each side (V. Dumoulin, F. Visin: A guide to convolution arithmetic, 2016).
    """
    x, weight = node.inputs[:2]
    size, kernel = to.shape(x)[2:], to.shape(weight)[2:]
    ndim = len(kernel)
    strides = list(node.attr("strides") or [1] * ndim)
    dilations = list(node.attr("dilations") or [1] * ndim)
    begins, ends = _transposed_pads(node, size, kernel, strides, dilations)
    spread = _spread(x, strides, to)
    spans = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    low = [span - begin for span, begin in zip(spans, begins, strict=True)]
    high = [span - end for span, end in zip(spans, ends, strict=True)]
    low, high = _with_output_padding(node, low, high)
    padded = to.op("Pad", spread, to.ints([0, 0, *low, 0, 0, *high]))
    group = int(node.attr("group", 1))
    kernel_tensor = _mirrored(weight, group, to)
    bias = [node.inputs[2]] if node.input(2) is not None else []
    return to.op("Conv", padded, kernel_tensor, *bias, group=group, dilations=dilations)


def _with_output_padding(node: Node, low: list[int], high: list[int]) -> tuple[list[int], list[int]]:
    extra = list(node.attr("output_padding") or [0] * len(low))
    return low, [pad + more for pad, more in zip(high, extra, strict=True)]


def _transposed_pads(
    node: Node, size: tuple[int, ...], kernel: tuple[int, ...], strides: list[int], dilations: list[int]
) -> tuple[list[int], list[int]]:
    """What is cut off the full result, before and after, for each axis; below zero, what is added.

    Of an odd surplus the larger half goes before, with SAME_UPPER behind (ONNX, ConvTranspose).
    """
    ndim = len(kernel)
    pads = list(node.attr("pads") or [0] * 2 * ndim)
    begins, ends = pads[:ndim], pads[ndim:]
    wanted = node.attr("output_shape")
    auto = node.attr("auto_pad", "NOTSET")
    if wanted is None and auto not in ("SAME_UPPER", "SAME_LOWER"):
        return begins, ends
    extra = list(node.attr("output_padding") or [0] * ndim)
    target = (
        list(wanted)[-ndim:] if wanted is not None else [n * s for n, s in zip(size, strides, strict=True)]
    )
    for axis in range(ndim):
        full = strides[axis] * (size[axis] - 1) + extra[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        cut = full - target[axis] if wanted is not None else max(full - target[axis], 0)
        first = max(cut // 2 if auto == "SAME_UPPER" else cut - cut // 2, 0)
        begins[axis], ends[axis] = first, cut - first
    return begins, ends


def _spread(x: Tensor, strides: list[int], to: Builder) -> Tensor:
    """x with strides - 1 zeros between neighbours, (N, C, (H - 1) s + 1, ...)."""
    if all(stride == 1 for stride in strides):
        return x
    batch, channels, *size = to.shape(x)
    split = to.reshape(x, batch, channels, *(part for n in size for part in (n, 1)))
    pads = [0, 0, *(0 for _ in size for _ in "ab")]
    after = [0, 0, *(part for stride in strides for part in (0, stride - 1))]
    wide = to.op("Pad", split, to.ints([*pads, *after]))
    full = [n * stride for n, stride in zip(size, strides, strict=True)]
    joined = to.reshape(wide, batch, channels, *full)
    kept = [n - stride + 1 for n, stride in zip(full, strides, strict=True)]
    axes = list(range(2, 2 + len(size)))
    return to.op("Slice", joined, to.ints([0] * len(size)), to.ints(kept), to.ints(axes))


def _mirrored(weight: Tensor, group: int, to: Builder) -> Tensor:
    """(in, out / g, *kernel) as the weight of a convolution, (out, in / g, *kernel), kernel reversed."""
    inputs, outputs, *kernel = to.shape(weight)
    area = math.prod(kernel)
    flat = to.reshape(weight, group, inputs // group, outputs, area)
    turned = to.transpose(flat, 0, 2, 1, 3)
    mirrored = to.op("Gather", turned, to.ints(range(area - 1, -1, -1)), axis=3)
    return to.reshape(mirrored, group * outputs, inputs // group, *kernel)


def _pads(node: Node, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> list[int]:
    """The padding that ``auto_pad`` means."""
    ones = [1] * len(kernel)
    strides, dilations = node.attr("strides") or ones, node.attr("dilations") or ones
    return list(same_padding(sizes, kernel, strides, dilations, node.attr("auto_pad", "NOTSET")))


LAYERS = {"Conv": conv, "ConvTranspose": conv_transpose, "MaxPool": pool, "AveragePool": pool}
