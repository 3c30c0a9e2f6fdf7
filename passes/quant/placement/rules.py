"""Which nodes a target computes on integers: its profile, and the few conditions that data cannot say.

A *layer* multiplies by constant weights and is what quantization is for.  A *carrier* handles activations
between layers.  For onnxruntime every rule was verified by reading the optimised graph back;
tests/passes/quant repeats that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphopt.ir import Node
from graphopt.ir.analysis.operators import clip_bounds
from graphopt.ir.declared import static_shape
from graphopt.ir.transform.layer_bias import layer_bias
from graphopt.ir.transform.linear import LAYERS
from graphopt.targets import Target

from ..calibration.parameters import SMALLEST_SPAN, Bounds

GATES = ("HardSigmoid", "HardSwish")
JOINS = ("Add", "Concat", "Div", "Mul", "Sub")  # all inputs are activations, not only the first
# A value behind one of these is a sum over many inputs: rounding to 8 bits before it makes no ties after it.
MIXERS = frozenset(
    {*LAYERS, "GlobalAveragePool", "AveragePool", "ReduceMean", "ReduceSum", "LSTM", "GRU", "RNN", "Einsum"}
)


def is_known(node: Node, target: Target) -> bool:
    """Whether a target has rules for a node: layers, and the carriers it computes on integers."""
    return node.is_standard and (node.op in LAYERS or node.op in target.operators.known)


def shares(node: Node, target: Target) -> bool:
    """Whether the results of a node have the scale and zero point of what it reads."""
    return node.op in target.operators.pass_through


def refusal(node: Node, target: Target) -> str | None:
    """Why a node that the target knows stays float all the same, or None."""
    if node.op in LAYERS and node.op not in target.operators.integer:
        return f"{target.runtime} has no integer kernel for {node.op}"
    wanted = (target.attributes or {}).get(node.op, {})
    for name, values in wanted.items():
        if name in node.attrs and node.attrs[name] not in values:
            return _attribute_refusal(node, name, target)
    if node.op in LAYERS:
        return _layer_refusal(node, target)
    return _CONDITIONS[node.op](node, target) if node.op in _CONDITIONS else None


def layer_refusal(node: Node) -> str | None:
    """Why the constants of a layer cannot be stored, whatever the target, or None."""
    if node.inputs[0].constant is not None:
        return "its input is constant"
    weight = node.inputs[1].constant
    if weight is None:
        return f"its weights {node.inputs[1].name} are computed, or callers may override them"
    if weight.dtype != np.float32:
        return f"its weights are {weight.dtype}, not float32"
    if not np.isfinite(weight).all():
        return "its weights contain NaN or infinity"
    return _bias_refusal(node)


def is_product(node: Node) -> bool:
    """Whether a layer adds nothing to its product but a bias; a Gemm may scale and transpose."""
    plain = node.attr("alpha", 1.0) == 1.0 and node.attr("beta", 1.0) == 1.0
    return node.op != "Gemm" or (plain and not node.attr("transA", 0))


def _attribute_refusal(node: Node, name: str, target: Target) -> str:
    if (node.op, name) == ("Gemm", "transA"):
        return "it reads its input transposed"
    if node.op == "Resize":
        return f"{target.runtime} has no integer kernel for a {node.attrs[name]} Resize"
    return f"{target.runtime} has no integer kernel for {node.op} with {name}={node.attrs[name]}"


def _layer_refusal(node: Node, target: Target) -> str | None:
    if reason := layer_refusal(node):
        return reason
    weight = node.inputs[1].constant
    ranks = (target.weight_rank or {}).get(node.op)
    if ranks and weight.ndim not in ranks:
        return _rank_refusal(node)
    return _narrow_refusal(node, target) or (_gemm_bias(node) if node.op == "Gemm" else None)


def _rank_refusal(node: Node) -> str:
    if node.op == "MatMul":
        return "its weights are not a matrix"
    return "integer kernels are for convolutions over one or two dimensions"


def _narrow_refusal(node: Node, target: Target) -> str | None:
    """Channels too few for an integer kernel; a grouped Conv is measured by its own rule."""
    least = target.least_channels
    if least == 1:
        return None
    shape = weight_shape(node)
    assert shape is not None  # it is constant
    ends = shape[:2] if node.op != "Conv" else (shape[0], shape[1] * int(node.attr("group", 1)))
    if node.op in ("Gemm", "MatMul"):
        return f"{target.runtime} computes products with a vector in float" if min(ends) == 1 else None
    if int(node.attr("group", 1)) > 1:
        return None if ends[0] % 8 == 0 and min(shape[2:], default=1) >= 3 else _NARROW.format(target.runtime)
    small = min(ends) < least and not (max(ends) >= least and ends[0] % 8 == 0)
    return _NARROW.format(target.runtime) if small else None


_NARROW = "{} has no integer kernel that is faster for so few channels"


def weight_shape(node: Node) -> tuple[int, ...] | None:
    """The shape of a layer's weight, also of one that callers may override; None when it is not known."""
    weight = node.inputs[1]
    return static_shape(weight.shape if weight.constant is None else weight.constant.shape)


def weight_axis(node: Node) -> int:
    """The axis of a layer's weight that counts its output channels."""
    if node.op == "Conv" or (node.op == "Gemm" and node.attr("transB", 0)):
        return 0
    return 1


def scale_axis(node: Node, target: Target) -> int | None:
    """The axis of a layer's weight along which the target takes a scale for each channel, or None."""
    if target.weight.axis(node.op) is None:
        return None
    if node.op == "ConvTranspose" and int(node.attr("group", 1)) > 1:
        return None  # axis 1 counts the channels of one group alone
    return weight_axis(node)


def _bias_refusal(node: Node) -> str | None:
    bias = layer_bias(node)
    if bias is None:
        return None
    constant = bias.tensor.constant
    if constant is None:
        return f"its bias {bias.tensor.name} is computed, or callers may override it"
    if not np.isfinite(constant).all():
        return "its bias contains NaN or infinity"
    return None


def _gemm_bias(node: Node) -> str | None:
    bias = node.input(2)
    if bias is None or bias.constant is None:
        return None
    channels = (weight_shape(node) or ())[weight_axis(node)]
    fits = bias.constant.size in (1, channels) and bias.constant.shape[:-1] in ((), (1,))
    return None if fits else "its bias is not one number for each output"


def stored_bounds(node: Node) -> Bounds | None:
    """The bounds that a Relu or Clip sets; None for other nodes and for bounds without zero inside."""
    low, high = clip_bounds(node) or (0.0, 0.0)
    return Bounds(low, high) if low <= 0 <= high and low < high else None


def own_bounds(node: Node) -> Bounds:
    """What the result of a node can never leave, by its operator."""
    if node.op == "HardSigmoid":
        return Bounds(0.0, 1.0)
    return stored_bounds(node) or Bounds()


def gate(node: Node) -> tuple[float, float]:
    """alpha and beta of clip(alpha * x + beta, 0, 1): a HardSigmoid, or the gate of a HardSwish."""
    if node.op == "HardSwish":
        return 1 / 6, 0.5
    return float(node.attr("alpha", 0.2)), float(node.attr("beta", 0.5))


def _is_computed(node: Node, target: Target) -> str | None:
    if any(tensor.constant is not None for tensor in node.inputs):
        return "one of its inputs is constant"
    return None


def _binary(node: Node, target: Target) -> str | None:
    constant = scalar(node)
    if constant is None:
        several = any(tensor.constant is not None for tensor in node.inputs)
        if several and node.op in ("Sub", "Div"):
            return "one of its operands is constant"
        return "its constant operand is more than one number" if several else None
    return None if abs(constant) > SMALLEST_SPAN and np.isfinite(constant) else "its constant operand is zero"


def scalar(node: Node) -> float | None:
    """The one number that an Add or Mul adds or multiplies with, or None; 8 bits store it exactly."""
    if node.op not in ("Add", "Mul"):
        return None
    constants = [tensor.constant for tensor in node.inputs if tensor.constant is not None]
    return float(constants[0].item()) if len(constants) == 1 and constants[0].size == 1 else None


def factor(node: Node) -> float | None:
    """What a Mul multiplies everything with, when that is one positive number."""
    number = scalar(node) if node.op == "Mul" else None
    return number if number is not None and number > 0 else None


def _activation(node: Node, target: Target) -> str | None:
    return None if stored_bounds(node) else "its bounds do not contain zero or are known at run time only"


def _max_pool(node: Node, target: Target) -> str | None:
    if len(node.outputs) > 1 and node.outputs[1].name:
        return "its indices are read"
    return None


def _hard_sigmoid(node: Node, target: Target) -> str | None:
    alpha, beta = gate(node)
    return None if alpha > 0 and beta > 0 else "its alpha or beta is not positive"


def _pad(node: Node, target: Target) -> str | None:
    if node.input(1) is None:
        return "it pads integers from opset 11 on"
    tensor = node.input(2)
    value = np.asarray(node.attr("value", 0.0)) if tensor is None else tensor.constant
    if value is None or np.any(value):
        return "it does not pad with zero"
    return None


_CONDITIONS: dict[str, Callable[[Node, Target], str | None]] = {
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), _binary),
    **dict.fromkeys(("Relu", "Clip"), _activation),
    "Concat": _is_computed,
    "MaxPool": _max_pool,
    "HardSigmoid": _hard_sigmoid,
    "Pad": _pad,
}
