"""Small networks to distill: a classifier, and one for each operator that preparing rewrites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graphopt import ir

SIDE, CHANNELS = 6, 4
Nodes = list[onnx.NodeProto]
Weights = dict[str, np.ndarray]
Body = Callable[[Weights, np.random.Generator], Nodes]


def build(
    nodes: Sequence[onnx.NodeProto],
    weights: Weights,
    output: Sequence[int | str],
    *,
    opset: int = 17,
    shape: Sequence[int | str] = ("N", CHANNELS, SIDE, SIDE),
    extra: Sequence[helper.OperatorSetIdProto] = (),
    ir_version: int = 9,
) -> ir.Model:
    """A model from x to y."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), *extra]
    return ir.from_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=ir_version).SerializeToString()
    )


def around(body: Body, *, opset: int = 17, seed: int = 0) -> ir.Model:
    """x -> Conv "first" -> body (from a to b) -> mean -> Gemm "last" -> y[N, 3]; the body keeps channels."""
    rng = np.random.default_rng(seed)
    weights = {
        "first.weight": 0.3 * rng.standard_normal((CHANNELS, CHANNELS, 3, 3)),
        "first.bias": 0.1 * rng.standard_normal(CHANNELS),
        "last.weight": rng.standard_normal((3, CHANNELS)),
    }
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    inner = body(weights, rng)
    nodes = [
        helper.make_node("Conv", ["x", "first.weight", "first.bias"], ["a"], "first", pads=[1, 1, 1, 1]),
        *inner,
        helper.make_node("GlobalAveragePool", ["b"], ["m"], "mean"),
        helper.make_node("Flatten", ["m"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "last.weight"], ["y"], "last", transB=1),
    ]
    return build(nodes, weights, ["N", 3], opset=opset)


def one(op: str, *more: str, **attrs: Any) -> Body:
    """A body of one node that reads a and tensors of these names."""

    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        return [helper.make_node(op, ["a", *more], ["b"], "it", **attrs)]

    return body


def with_weights(op: str, made: Callable[[np.random.Generator], Weights], **attrs: Any) -> Body:
    """A body of one node that reads a and the weights ``made``, in their order."""

    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        own = made(rng)
        weights.update({name: np.asarray(value) for name, value in own.items()})
        return [helper.make_node(op, ["a", *own], ["b"], "it", **attrs)]

    return body


def f32(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    """Random float32 numbers."""
    return lambda rng: (0.5 * rng.standard_normal(shape)).astype(np.float32)


def _norm(rng: np.random.Generator) -> Weights:
    return {"scale": f32(CHANNELS)(rng) + 1, "shift": f32(CHANNELS)(rng)}


def _batch_norm(rng: np.random.Generator) -> Weights:
    return {**_norm(rng), "mean": f32(CHANNELS)(rng), "var": np.abs(f32(CHANNELS)(rng)) + 0.5}


def _resize(size: Sequence[int], **attrs: Any) -> Body:
    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        scales = [1.0, 1.0, *(s / SIDE for s in size)]
        weights["scales"] = np.asarray(scales, np.float32)
        return [helper.make_node("Resize", ["a", "", "scales"], ["b"], "it", **attrs)]

    return body


def _resize_to(size: Sequence[int], **attrs: Any) -> Body:
    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        weights["sizes"] = np.asarray([4, CHANNELS, *size], np.int64)
        return [helper.make_node("Resize", ["a", "", "", "sizes"], ["b"], "it", **attrs)]

    return body


def _transposed(kernel: int, group: int = 1, **attrs: Any) -> Body:
    def made(rng: np.random.Generator) -> Weights:
        return {"up": f32(CHANNELS, CHANNELS // group, kernel, kernel)(rng), "up.bias": f32(CHANNELS)(rng)}

    return with_weights("ConvTranspose", made, group=group, **attrs)


def _conv(**attrs: Any) -> Body:
    return with_weights("Conv", lambda rng: {"w": f32(CHANNELS, CHANNELS, 3, 3)(rng)}, **attrs)


def _pad(mode: str) -> Body:
    pads = np.asarray([0, 0, 1, 2, 0, 0, 2, 1], np.int64)
    return with_weights("Pad", lambda rng: {"pads": pads}, mode=mode)


def _through(op: str, back: Callable[[Weights], Nodes], **attrs: Any) -> Body:
    """A node whose result has other channels, and what brings them back."""

    def body(weights: Weights, rng: np.random.Generator) -> Nodes:
        return [helper.make_node(op, ["a"], ["inner"], "it", **attrs), *back(weights)]

    return body


def _to_channels(count: int) -> Callable[[Weights], Nodes]:
    def nodes(weights: Weights) -> Nodes:
        weights["mix"] = np.full((CHANNELS, count, 1, 1), 0.3, np.float32)
        return [helper.make_node("Conv", ["inner", "mix"], ["b"], "mixed")]

    return nodes


def _reduce(op: str, opset: int) -> Body:
    if opset < 18 and op != "ReduceSum":
        return one(op, axes=[2, 3], keepdims=1)
    return with_weights(op, lambda rng: {"axes": np.asarray([2, 3], np.int64)}, keepdims=1)


REWRITTEN: dict[str, tuple[Body, int]] = {
    "HardSigmoid": (one("HardSigmoid", alpha=0.3, beta=0.4), 17),
    "HardSwish": (one("HardSwish"), 17),
    "PRelu": (with_weights("PRelu", lambda rng: {"slope": f32(CHANNELS, 1, 1)(rng)}), 17),
    "Softplus": (one("Softplus"), 17),
    "Mish": (one("Mish"), 18),
    "Softsign": (one("Softsign"), 17),
    "Elu": (one("Elu", alpha=0.7), 17),
    "Selu": (one("Selu"), 17),
    "Celu": (one("Celu", alpha=0.6), 17),
    "ThresholdedRelu": (one("ThresholdedRelu", alpha=0.2), 17),
    "Gelu": (one("Gelu"), 20),
    "Gelu-tanh": (one("Gelu", approximate="tanh"), 20),
    "BatchNormalization": (with_weights("BatchNormalization", _batch_norm, epsilon=1e-3), 17),
    "Conv-same-upper": (_conv(auto_pad="SAME_UPPER", strides=[2, 2]), 17),
    "Conv-same-lower": (_conv(auto_pad="SAME_LOWER", strides=[2, 2]), 17),
    "Conv-valid": (_conv(auto_pad="VALID", dilations=[2, 2]), 17),
    "MaxPool-same": (one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"), 17),
    "AveragePool-same": (one("AveragePool", kernel_shape=[2, 2], auto_pad="SAME_LOWER"), 17),
    "ConvTranspose-2s2": (_transposed(2, strides=[2, 2]), 17),
    "ConvTranspose-3s2": (_transposed(3, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]), 17),
    "ConvTranspose-grouped": (_transposed(4, group=2, strides=[2, 2], pads=[1, 0, 1, 2]), 17),
    "ConvTranspose-dilated": (_transposed(3, dilations=[2, 2]), 17),
    "ConvTranspose-cut": (_transposed(2, strides=[3, 3], pads=[2, 2, 2, 2]), 17),
    "ConvTranspose-same": (_transposed(3, strides=[2, 2], auto_pad="SAME_UPPER"), 17),
    "ConvTranspose-same-lower": (_transposed(3, strides=[2, 2], auto_pad="SAME_LOWER"), 17),
    "ConvTranspose-same-narrow": (_transposed(1, strides=[2, 2], auto_pad="SAME_UPPER"), 17),
    "ConvTranspose-sized": (_transposed(3, strides=[2, 2], output_shape=[10, 12]), 17),
    "ConvTranspose-sized-larger": (
        _transposed(3, strides=[2, 2], output_padding=[1, 0], output_shape=[11, 14]),
        17,
    ),
    "ConvTranspose-sized-upper": (
        _transposed(3, strides=[2, 2], auto_pad="SAME_UPPER", output_shape=[10, 14]),
        17,
    ),
    "Resize-nearest": (
        _resize((12, 18), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        17,
    ),
    "Resize-nearest-odd": (_resize((9, 10), mode="nearest"), 17),
    "Resize-linear": (_resize((12, 9), mode="linear"), 17),
    "Resize-corners": (
        _resize_to((13, 4), mode="linear", coordinate_transformation_mode="align_corners"),
        17,
    ),
    "Resize-cubic": (_resize((12, 12), mode="cubic"), 17),
    "Pad-reflect": (_pad("reflect"), 17),
    "Pad-edge": (_pad("edge"), 17),
    "DepthToSpace-DCR": (_through("DepthToSpace", _to_channels(1), blocksize=2), 17),
    "DepthToSpace-CRD": (_through("DepthToSpace", _to_channels(1), blocksize=2, mode="CRD"), 17),
    "SpaceToDepth": (_through("SpaceToDepth", _to_channels(16), blocksize=2), 17),
    "GlobalMaxPool": (one("GlobalMaxPool"), 17),
    "ReduceMax": (_reduce("ReduceMax", 17), 17),
    "ReduceMin-18": (_reduce("ReduceMin", 18), 18),
    "ReduceSumSquare": (_reduce("ReduceSumSquare", 17), 17),
    "ReduceL1": (_reduce("ReduceL1", 17), 17),
    "Sum": (one("Sum", "a", "a"), 17),
    "Mean": (one("Mean", "x"), 17),
    "InstanceNormalization": (with_weights("InstanceNormalization", _norm), 17),
    "GroupNormalization": (with_weights("GroupNormalization", _norm, num_groups=2), 21),
    "LayerNormalization": (
        with_weights("LayerNormalization", lambda rng: {"scale": f32(SIDE)(rng), "shift": f32(SIDE)(rng)}),
        17,
    ),
    "LpNormalization": (one("LpNormalization", axis=1), 17),
    "LRN": (one("LRN", size=3), 17),
}


def classifier(width: int = 8, *, seed: int = 0, noise: float = 0.0, shape: int | str = "N") -> ir.Model:
    """x[N, 4, 6, 6] -> Conv -> Relu -> Conv -> Relu -> mean -> Gemm -> y[N, 3]; ``noise`` disturbs."""
    rng = np.random.default_rng(seed)
    weights = {
        "first.weight": 0.4 * rng.standard_normal((width, CHANNELS, 3, 3)),
        "first.bias": 0.1 * rng.standard_normal(width),
        "second.weight": 0.3 * rng.standard_normal((width, width, 3, 3)),
        "second.bias": 0.1 * rng.standard_normal(width),
        "last.weight": rng.standard_normal((3, width)),
        "last.bias": 0.1 * rng.standard_normal(3),
    }
    other = np.random.default_rng(seed + 1)
    weights = {
        name: (value + noise * other.standard_normal(value.shape)).astype(np.float32)
        for name, value in weights.items()
    }
    nodes = [
        helper.make_node("Conv", ["x", "first.weight", "first.bias"], ["c1"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "second.weight", "second.bias"], ["c2"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["m"], "mean"),
        helper.make_node("Flatten", ["m"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "last.weight", "last.bias"], ["y"], "last", transB=1),
    ]
    return build(nodes, weights, [shape, 3], shape=(shape, CHANNELS, SIDE, SIDE))


def weights_of(model: ir.Model) -> dict[str, np.ndarray]:
    """All initializers by name."""
    return {t.name: np.array(t.values) for t in model.graph.initializers if isinstance(t, ir.Constant)}
