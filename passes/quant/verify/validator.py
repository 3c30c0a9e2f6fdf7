"""What a backend refuses in a quantized model, found before the file is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from graphopt.ir import Graph, Model, Node, Tensor
from graphopt.ir.declared import static_shape
from graphopt.ir.transform.linear import LAYERS
from graphopt.targets.target import Target

PAIR = ("QuantizeLinear", "DequantizeLinear")
WIDE, WIDE_OPSET = ("uint16", "int16"), 21
# noise: relative, between the scale of a bias and the product it stands for: 84 roundings of float32
BIAS_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Violation:
    """A node that a backend refuses, and why."""

    node: str
    reason: str


def violations(model: Model, target: Target) -> list[Violation]:
    """Everything in ``model`` that the backend of ``target`` refuses, in the order of the nodes."""
    listed = [Violation("model", reason) for reason in _model_reasons(model, target)]
    for graph in model.graphs():
        for node in graph.nodes:
            if node.is_standard and node.op in PAIR:
                reason = _first_reason(node, graph, model, target)
                if reason is not None:
                    listed.append(Violation(node.name or node.output.name, reason))
    return listed


def _model_reasons(model: Model, target: Target) -> Iterator[str]:
    has_pairs = any(node.op in PAIR for graph in model.graphs() for node in graph.nodes)
    if has_pairs and model.opset < min(target.opset_min, 10):
        yield f"opset {model.opset} has no QuantizeLinear"
    if target.static_shapes and has_pairs:
        for port in model.signature.inputs:
            if static_shape(port.shape) is None:
                yield f"the input {port.name} has no fixed size (optimize --fix-shape declares one)"


def _first_reason(node: Node, graph: Graph, model: Model, target: Target) -> str | None:
    rules = (_constants, _opset, _role)
    return next((reason for rule in rules if (reason := rule(node, graph, model, target))), None)


def _constants(node: Node, graph: Graph, model: Model, target: Target) -> str | None:
    scale, zero_point = node.inputs[1].constant, node.input(2)
    zero = None if zero_point is None else zero_point.constant
    if scale is None or (zero_point is not None and zero is None):
        return "its scale or zero point is computed"
    if not np.isfinite(scale).all() or (scale <= 0).any():
        return "its scale is not a positive number"
    if zero is not None and zero.shape != scale.shape:
        return "its zero point has another shape than its scale"
    return None


def _opset(node: Node, graph: Graph, model: Model, target: Target) -> str | None:
    by_channel = node.inputs[1].constant.size > 1
    if by_channel and model.opset < 13:
        return f"a scale for each channel needs opset 13, and the model has {model.opset}"
    if (_dtype(node) in WIDE or node.attr("block_size", 0)) and model.opset < WIDE_OPSET:
        return f"16-bit integers and blocks need opset {WIDE_OPSET}, and the model has {model.opset}"
    return None


def _role(node: Node, graph: Graph, model: Model, target: Target) -> str | None:
    """The rules for what a pair stores: an activation, a weight or a bias."""
    if node.op == "QuantizeLinear" or node.inputs[0].constant is None:
        return _activation(node, target)
    for reader in node.output.consumers:
        index = next(i for i, tensor in enumerate(reader.inputs) if tensor is node.output)
        is_weight = index == 1 and reader.op in LAYERS
        rule: Callable[[Node, Node, Target], str | None] = _weight if is_weight else _other_constant
        if _dtype(node) == "int32":
            rule = _bias
        if reason := rule(node, reader, target):
            return reason
    return None


def _activation(node: Node, target: Target) -> str | None:
    dtype, scale = _dtype(node), node.inputs[1].constant
    if dtype not in target.allowed.activations:
        return f"activations are {' or '.join(target.allowed.activations)} there, not {dtype}"
    if scale.size > 1 and not target.walls:
        return "an activation has one scale there"
    zero_point = _zero_point(node)
    if target.zero_point is not None and (zero_point != target.zero_point).any():
        return f"the zero point must be {target.zero_point}"
    limits = np.iinfo(dtype)
    span = float(scale.max()) * (int(limits.max) - int(limits.min))
    if span < target.min_range * (1 - 1e-6):
        return f"its range of {span:.3g} is narrower than {target.min_range:g}"
    return _fixed(node, target)


def _fixed(node: Node, target: Target) -> str | None:
    maker = node.inputs[0].producer
    fixed = (target.operators.fixed_16 or {}).get(maker.op) if maker is not None else None
    if fixed is None or _dtype(node) not in WIDE or node.op != "QuantizeLinear":
        return None
    scale, zero_point = float(node.inputs[1].constant.max()), int(_zero_point(node).max())
    if abs(scale - fixed[0]) > 1e-9 or zero_point != fixed[1]:
        return f"16-bit results of {maker.op} have scale {fixed[0]:g} and zero point {fixed[1]}"
    return None


def _weight(node: Node, reader: Node, target: Target) -> str | None:
    dtype, scale = _dtype(node), node.inputs[1].constant
    if dtype not in target.allowed.weights:
        return f"weights are {' or '.join(target.allowed.weights)} there, not {dtype}"
    if target.weight.symmetric and _zero_point(node).any():
        return "the zero point of a weight must be 0"
    if scale.size == 1:
        return None
    if target.weight.axis(reader.op) is None:
        return f"the weight of {reader.op} has one scale there"
    axis = target.weight.axis(reader.op)
    if reader.op == "Gemm" and not reader.attr("transB", 0):
        axis = 1
    if int(node.attr("axis", 1)) % node.inputs[0].constant.ndim != axis:
        return f"the scales of a weight of {reader.op} go along axis {axis}"
    return None


def _bias(node: Node, reader: Node, target: Target) -> str | None:
    if target.bias != "int32":
        return f"biases are {target.bias} there, not int32"
    if _zero_point(node).any():
        return "the zero point of a bias must be 0"
    first, second = (_scale_of(tensor) for tensor in reader.inputs[:2])
    if reader.op not in ("Conv", "ConvTranspose", "Gemm") or first is None or second is None:
        return None
    wanted = np.ravel(first) * np.ravel(second)
    if not np.allclose(np.ravel(node.inputs[1].constant), wanted, rtol=BIAS_TOLERANCE, atol=0):
        return "the scale of a bias is the product of those of the layer's input and weight"
    return None


def _other_constant(node: Node, reader: Node, target: Target) -> str | None:
    if reader.op in LAYERS:
        return f"biases are {target.bias} there, not {_dtype(node)}"
    return _activation(node, target)


def _scale_of(tensor: Tensor) -> np.ndarray | None:
    maker = tensor.producer
    if maker is None or maker.op != "DequantizeLinear":
        return None
    scale: np.ndarray | None = maker.inputs[1].constant
    return None if scale is None else scale.astype(np.float64)


def _dtype(node: Node) -> str:
    """The integers of a pair; what is read without a zero point tells by its own type, else uint8."""
    zero_point = node.input(2)
    if zero_point is not None:
        return str(zero_point.dtype)
    stored = node.inputs[0] if node.op == "DequantizeLinear" else None
    return "uint8" if stored is None or stored.dtype is None else str(stored.dtype)


def _zero_point(node: Node) -> np.ndarray:
    tensor = node.input(2)
    return np.zeros(1, np.int64) if tensor is None else np.asarray(tensor.constant, np.int64)
