"""What channels carry on average, predicted without any data.

Batch normalisation leaves every channel with the mean beta and the spread gamma over the training data;
``fold-bn`` notes both.  Between the normalisations moments are carried on: activations act on a normal
distribution (rectified and clipped Gaussians: data-free quantization, M. Nagel et al., 2019), layers and sums
take their inputs for independent.  Inputs of the network are taken to be standard normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from graphopt import ir
from graphopt.calibration import Patches
from graphopt.ir.analysis.operators import clip_bounds
from graphopt.ir.transform.linear import LAYERS

Notes = Mapping[str, Mapping[str, Any]]  # by the tensor that was normalised: "gamma" and "beta"
Function: TypeAlias = Callable[[np.ndarray], np.ndarray]

GRID = np.linspace(-8.0, 8.0, 513)  # standard deviations
WEIGHTS = np.exp(-0.5 * GRID**2) / np.exp(-0.5 * GRID**2).sum()
GATES = ("Sigmoid", "HardSigmoid")
KEEPS = ("Identity", "Dropout", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize")
FLATTENS = ("Flatten", "Reshape", "Squeeze")


@dataclass(frozen=True)
class Moments:
    """Mean and variance of each channel, (channels,), float64."""

    mean: np.ndarray
    variance: np.ndarray

    def through(self, function: Function) -> Moments:
        """The moments of a function of normally distributed channels."""
        values = function(self.mean[:, None] + np.sqrt(self.variance)[:, None] * GRID)
        mean = values @ WEIGHTS
        return Moments(mean, np.square(values - mean[:, None]) @ WEIGHTS)


def expected_moments(model: ir.Model, notes: Notes) -> dict[str, Moments]:
    """Return the moments of the channels of each tensor that can be predicted, by name.

    Channels lie along axis 1; a tensor behind an operator that is not known here has no entry.
    """
    by_name: dict[str, Moments] = {}
    model.sort()
    for tensor in model.graph.inputs:
        if tensor.shape is not None and len(tensor.shape) > 1 and isinstance(tensor.shape[1], int):
            by_name[tensor.name] = Moments(np.zeros(tensor.shape[1]), np.ones(tensor.shape[1]))
    for node in model.graph.nodes:
        if not node.outputs or not node.is_standard:
            continue
        note = notes.get(node.output.name)
        if note is not None:
            beta, gamma = (np.asarray(note[name], np.float64) for name in ("beta", "gamma"))
            by_name[node.output.name] = Moments(beta, np.square(gamma))
            continue
        moments = _carried(node, by_name)
        if moments is not None:
            by_name[node.output.name] = moments
    return by_name


def _carried(node: ir.Node, by_name: Mapping[str, Moments]) -> Moments | None:
    """The moments behind one node, None where they cannot be determined."""
    read = [by_name.get(tensor.name) for tensor in node.inputs]
    first = read[0] if read else None
    if node.op in ("Add", "Mul", "Concat"):
        return _joined(node, read, by_name)
    if first is None:
        return None
    if node.op in LAYERS:
        return _linear(node, first)
    function = activation(node)
    if function is not None:
        return first.through(function)
    if node.op in KEEPS or (node.op in FLATTENS and _same_channels(node, first)):
        return first
    return _flat(node, first) if node.op in FLATTENS else None


def _joined(node: ir.Node, read: Sequence[Moments | None], by_name: Mapping[str, Moments]) -> Moments | None:
    """Sums, products and concatenations of tensors, taken for independent."""
    gated = _gate(node) if node.op == "Mul" else None
    if gated is not None:
        before = by_name.get(gated[0].name)
        return None if before is None else before.through(gated[1])
    if any(one is None for one in read) or len(read) < 2:
        return None
    parts = [one for one in read if one is not None]
    if node.op == "Concat":
        if int(node.attr("axis", 0)) != 1:
            return None
        return Moments(
            *(np.concatenate([getattr(one, name) for one in parts]) for name in ("mean", "variance"))
        )
    one, other = parts
    if len(one.mean) != len(other.mean):
        return None
    if node.op == "Add":
        return Moments(one.mean + other.mean, one.variance + other.variance)
    spread = one.variance * (other.variance + other.mean**2) + other.variance * one.mean**2
    return Moments(one.mean * other.mean, spread)


def _gate(node: ir.Node) -> tuple[ir.Tensor, Function] | None:
    """What a product such as x * sigmoid(x) makes of x."""
    for tensor, other in (node.inputs, reversed(node.inputs)):
        gate = other.producer
        function = activation(gate) if gate is not None and gate.op in GATES else None
        if gate is not None and function is not None and gate.inputs[0] is tensor:
            return tensor, partial(_gated, function)
    return None


def _gated(function: Function, x: np.ndarray) -> np.ndarray:
    return x * function(x)


def _linear(node: ir.Node, read: Moments) -> Moments | None:
    """What a layer with constant weights makes of independent inputs."""
    patches, shape = Patches.of(node), node.output.shape
    if isinstance(patches, str) or (node.op == "MatMul" and shape is not None and len(shape) != 2):
        return None  # channels are taken to lie on axis 1
    weight, bias = node.inputs[1].constant, node.input(2)
    assert weight is not None
    matrix = patches.matrix(weight)
    mean, variance = (spread_out(values, patches) for values in (read.mean, read.variance))
    if matrix.shape[:2] != mean.shape or (bias is not None and bias.constant is None):
        return None
    matrix = matrix * float(node.attr("alpha", 1.0))  # of a Gemm
    through = np.einsum("gn,gno->go", mean, matrix).ravel()
    if bias is not None and bias.constant is not None:
        shift = np.asarray(bias.constant, np.float64) * float(node.attr("beta", 1.0))
        if shift.size not in (1, len(through)):
            return None
        through = through + shift.ravel()
    return Moments(through, np.einsum("gn,gno->go", variance, np.square(matrix)).ravel())


def spread_out(values: np.ndarray, patches: Patches) -> np.ndarray:
    """What each row of a layer's matrix reads, (groups, n), from values by channel."""
    return np.repeat(values, math.prod(patches.kernel)).reshape(patches.groups, -1)


def _same_channels(node: ir.Node, read: Moments) -> bool:
    shape = node.output.shape
    return shape is not None and len(shape) > 1 and shape[1] == len(read.mean)


def _flat(node: ir.Node, read: Moments) -> Moments | None:
    """Channels laid out one position after the other."""
    shape = node.output.shape
    size = shape[1] if shape is not None and len(shape) == 2 else None
    if not isinstance(size, int) or size % len(read.mean):
        return None
    return Moments(*(np.repeat(values, size // len(read.mean)) for values in (read.mean, read.variance)))


def activation(node: ir.Node) -> Function | None:
    """The function that an activation applies to every element, None for what is no such thing."""
    if node.op == "Clip":
        bounds = clip_bounds(node)
        return None if bounds is None else lambda x: np.clip(x, *bounds)
    if node.op == "LeakyRelu":
        slope = float(node.attr("alpha", 0.01))
        return lambda x: np.where(x < 0, slope * x, x)
    if node.op == "HardSigmoid":
        alpha, beta = float(node.attr("alpha", 0.2)), float(node.attr("beta", 0.5))
        return lambda x: np.clip(alpha * x + beta, 0.0, 1.0)
    return PLAIN.get(node.op)


PLAIN: dict[str, Function] = {
    "Relu": lambda x: np.maximum(x, 0.0),
    "Sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "Tanh": np.tanh,
    "HardSwish": lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "Softplus": lambda x: np.logaddexp(x, 0.0),
}
