"""Layers that weigh fixed numbers with a Softmax: the expected distance in the box branch of a detector.

Such a layer sums, and is no mixer all the same: it has one output, the mean of numbers that the file holds,
so what the scores of these numbers lose is lost in the box, times how far the numbers are apart (X. Li et
al., Generalized Focal Loss, 2020).
"""

from __future__ import annotations

import numpy as np

from graphopt.ir import Node, Tensor


def is_expectation(node: Node) -> bool:
    """Whether a layer, or a sum of products, takes the mean of fixed numbers under a Softmax over them."""
    if not node.is_standard:
        return False
    if node.op == "ReduceSum":
        return _is_weighed_sum(node)
    weight = node.inputs[1].constant if node.op in ("Conv", "Gemm", "MatMul") else None
    if weight is None:
        return False
    if node.op == "Conv":  # one output, of all inputs, without neighbours
        return weight.size == weight.shape[1] and _is_softmax(node.inputs[0], 1, weight.ndim)
    outputs = weight.shape[0 if node.attr("transB", 0) else -1] if weight.ndim > 1 else 1
    return outputs == 1 and _is_softmax(node.inputs[0], -1, None)


def _is_weighed_sum(node: Node) -> bool:
    """sum(softmax(x) * numbers) over the axis of the Softmax alone."""
    tensor = node.input(1)
    axes = node.attr("axes") if tensor is None else tensor.constant
    product = node.inputs[0].producer
    if axes is None or np.size(axes) != 1 or product is None or product.op != "Mul":
        return False
    rank = None if product.output.shape is None else len(product.output.shape)
    return any(
        numbers.constant is not None and _is_softmax(values, int(np.ravel(axes)[0]), rank)
        for values, numbers in (product.inputs, product.inputs[::-1])
    )


def _is_softmax(tensor: Tensor, axis: int, rank: int | None) -> bool:
    """Whether a tensor is a Softmax over ``axis``, through any number of Transposes."""
    node = tensor.producer
    while node is not None and node.is_standard and node.op == "Transpose":
        order = node.attr("perm")
        if order is None:
            return False
        axis, rank = order[axis], len(order)
        node = node.inputs[0].producer
    if node is None or node.op != "Softmax" or not node.is_standard:
        return False
    over = int(node.attr("axis", -1))
    return over == axis or (rank is not None and over % rank == axis % rank)
