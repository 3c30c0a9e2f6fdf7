"""Operators that work entry by entry or on space only: channels pass, and operands are coupled."""

from __future__ import annotations

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.operators import clip_bounds

from ..builder import DATA, NONE, Channels, CouplingBuilder, Role, Settled, Travel, describe
from .norm import means_over_channels

UNARY_KEEPING_ZERO = [
    "Abs",
    "Cast",
    "Ceil",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Celu",
    "Clip",
    "Dropout",
    "Elu",
    "Erf",
    "Floor",
    "Gelu",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Mish",
    "Neg",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sign",
    "Sin",
    "Sinh",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
]
UNARY = [
    "Acos",
    "Acosh",
    "Cos",
    "Cosh",
    "Exp",
    "HardSigmoid",
    "IsInf",
    "IsNaN",
    "Log",
    "Not",
    "Reciprocal",
    "Sigmoid",
    "Softplus",
]
ADDING = ["Add", "Sub", "Sum", "Mean", "Max", "Min"]
SCALING = ["Mul", "Div", "PRelu"]
COMBINING = [
    "Where",
    "Pow",
    "Mod",
    "And",
    "Or",
    "Xor",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
]
REDUCING_ZERO_TO_ZERO = [
    "ArgMax",
    "ArgMin",
    "ReduceL1",
    "ReduceL2",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
]
REDUCING = [*REDUCING_ZERO_TO_ZERO, "ReduceLogSum", "ReduceLogSumExp"]
POOLING = ["AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"]


def unary(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """An activation: its output carries what its input carries."""
    channels = walk.channels(node.input(0))
    if channels is None:
        return NONE
    if node.op == "Dropout" and _trains(node):
        return walk.pin_operands(node, "drops entries at random")
    for tensor in node.outputs:
        walk.carry(tensor, channels.axis, channels.ids)
    return DATA


def unary_travel(walk: CouplingBuilder, node: ir.Node) -> Travel:
    """Most activations keep zero; some do for some parameters only."""
    if node.op == "Clip":
        bounds = clip_bounds(node)
        return Travel.KEEPS if bounds is not None and bounds[0] <= 0 <= bounds[1] else Travel.CONSTANT
    if node.op == "Shrink":
        return Travel.KEEPS if float(node.attr("lambd", 0.5)) >= 0 else Travel.CONSTANT
    if node.op == "Dropout":
        mask = any(tensor.name for tensor in node.outputs[1:])  # all true
        return Travel.CONSTANT if mask else Travel.KEEPS
    return Travel.KEEPS if node.op in UNARY_KEEPING_ZERO else Travel.CONSTANT


def _trains(node: ir.Node) -> bool:
    training = node.input(2)
    return training is not None and (training.constant is None or bool(np.any(training.constant)))


def pool(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """A spatial pool: channels lie on axis 1 and stay there."""
    channels = walk.channels(node.input(0))
    if channels is None:
        return NONE
    if channels.axis != 1:
        return walk.pin_operands(node, f"pools over axis {channels.axis}, which carries channels")
    if len(node.outputs) > 1 and node.outputs[1].name:
        walk.pin_operands(node, "also outputs positions, which count channels")
    walk.carry(node.output, 1, channels.ids)
    return DATA


def sample(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Sampling in space, GridSample and RoiAlign: channels on axis 1 pass, positions carry none."""
    channels = walk.channels(node.input(0))
    if channels is None:
        return NONE
    for tensor in list(node.inputs)[1:]:
        other = walk.channels(tensor)
        if other is not None:
            walk.pin(other.ids, f"{describe(node)} takes positions from them")
    if channels.axis != 1:
        return walk.pin_operands(node, f"samples along axis {channels.axis}, which carries channels")
    walk.carry(node.output, 1, channels.ids)
    return tuple(range(len(node.inputs)))


def combine(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Add, Mul and their like with broadcasting: operands that have the channel axis are coupled."""
    shape = walk.shape(node.output)
    channels = [walk.channels(tensor) for tensor in node.inputs]
    if not any(channels):
        return NONE
    if shape is None or any(walk.shape(tensor) is None for tensor in node.inputs):
        return walk.pin_operands(node, "combines tensors of unknown size")
    lead = _lead(walk, node, shape)
    if lead is None:
        return walk.pin_operands(node, "spreads a single channel over many")
    for index, tensor in enumerate(node.inputs):
        if tensor.name:
            _couple(walk, node, index, lead, len(shape))
    if node.op == "Div" and channels[1] is not None:
        walk.ledger.break_zeros(lead.ids)
    walk.carry(node.output, lead.axis, lead.ids)
    return tuple(range(len(node.inputs)))


def _lead(walk: CouplingBuilder, node: ir.Node, shape: tuple[int, ...]) -> Channels | None:
    """The first operand that carries channels along a whole axis of the result, aligned to it."""
    for tensor in node.inputs:
        channels = walk.channels(tensor)
        if channels is None:
            continue
        axis = channels.axis + len(shape) - len(walk.shape(tensor) or ())
        if shape[axis] == len(channels.ids):
            return Channels(axis, channels.ids)
    return None


def _couple(walk: CouplingBuilder, node: ir.Node, index: int, lead: Channels, rank: int) -> None:
    """Tie one operand to the leading one, or let its constant follow, or pin both."""
    tensor = node.inputs[index]
    shape, channels, constant = walk.shape(tensor) or (), walk.channels(tensor), tensor.constant
    axis = lead.axis - (rank - len(shape))  # of this operand
    width = shape[axis] if axis >= 0 else 1
    if channels is not None and channels.axis == axis and width == len(lead.ids):
        walk.tie(lead.ids, channels.ids, f"{describe(node)} combines them with channels that stay")
        return
    if channels is not None:
        walk.pin(channels.ids, f"{describe(node)} combines channels that lie on different axes")
    if axis < 0 or width != len(lead.ids):  # the same value for every channel
        if node.op in ADDING and (constant is None or np.any(constant != 0)):
            walk.ledger.break_zeros(lead.ids)
    elif constant is not None:
        walk.slot(node, index, axis, lead.ids, _role(node))
    else:
        walk.pin(lead.ids, f"{describe(node)} combines them with '{tensor.name}', which stays whole")


def _role(node: ir.Node) -> Role:
    return "shift" if node.op in ADDING else "scale"


def reduce(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """ReduceMean, ArgMax and their like over axes that carry no channels."""
    channels, shape = walk.channels(node.input(0)), walk.shape(node.input(0))
    if channels is None:
        return NONE
    axes = node.attr("axes") if node.input(1) is None else walk.facts.value(node.input(1))
    if node.op.startswith("Arg"):
        axes = [node.attr("axis", 0)]
    if axes is None or shape is None or len(axes) == 0:  # without axes all are reduced
        return walk.pin_operands(node, "reduces over all axes")
    reduced = {int(axis) % len(shape) for axis in axes}
    if channels.axis in reduced:
        if not means_over_channels(walk, node, channels):
            walk.pin_operands(node, "reduces over the axis that carries channels")
        return DATA
    before = 0 if node.attr("keepdims", 1) else sum(axis < channels.axis for axis in reduced)
    walk.carry(node.output, channels.axis - before, channels.ids)
    return DATA


def reduce_travel(walk: CouplingBuilder, node: ir.Node) -> Travel:
    """The largest of zeros is zero, and so is the first place where it stands, but not the last one."""
    last = node.op.startswith("Arg") and node.attr("select_last_index", 0)
    return Travel.KEEPS if node.op in REDUCING_ZERO_TO_ZERO and not last else Travel.CONSTANT
