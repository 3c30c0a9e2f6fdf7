"""Which weights saturate where pairs of products are summed in 16 bits, as processors without VNNI do.

Their instruction multiplies unsigned bytes a (activations, 0 to 255) with signed bytes w (weights) and adds
neighbours, a0 w0 + a1 w1, into 16 bits.  Whatever the activations, the sum fits exactly when the positive and
the negative weights of the pair each add up to no more than 128 in size.  Neighbours are along what a layer
sums over, in the order of onnxruntime's kernels: input channels vary quickest.  Depthwise convolutions are
computed one product at a time.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir import Array, Node

from ..placement.rules import weight_axis

LARGEST_PAIR = 128  # theory: 255 * 128 is less than 2**15, 255 * 129 is not


def largest_pairs(node: Node, weight: Array) -> Array:
    """The largest sum of neighbours of one sign for each output channel, (channels,); zeros where none is."""
    channels = weight.shape[weight_axis(node)]
    if node.op == "ConvTranspose" or (node.op == "Conv" and weight.shape[1] == 1):
        return np.zeros(channels)
    rows = np.moveaxis(weight, weight_axis(node), 0)  # (channels, inputs, *kernel)
    rows = np.moveaxis(rows, 1, -1).reshape(channels, -1).astype(np.float64)
    pairs = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(channels, -1, 2)
    positive, negative = np.maximum(pairs, 0.0).sum(axis=2), np.maximum(-pairs, 0.0).sum(axis=2)
    largest: Array = np.maximum(positive, negative).max(axis=1, initial=0.0)
    return largest


def least_scale_of_pairs(node: Node, weight: Array) -> Array:
    """The smallest scale of each output channel with which no pair of its nearest integers saturates."""
    return largest_pairs(node, weight) / (LARGEST_PAIR - 1)  # rounding adds up to a half to each of the two


def saturates(node: Node, integers: Array) -> Array:
    """Which output channels of stored weights could saturate, (channels,) of bool."""
    return largest_pairs(node, integers) > LARGEST_PAIR
