"""Activation functions as operators and spelled out, gates, deep chains."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fuzz.graphs.blocks.registry import block
from tests.fuzz.graphs.draft import Draft, Feature, UnfitError

SIMPLE: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("Relu", 6, {}),
    ("LeakyRelu", 6, {"alpha": 0.2}),
    ("Elu", 6, {}),
    ("Selu", 6, {}),
    ("Sigmoid", 6, {}),
    ("Tanh", 6, {}),
    ("Softplus", 1, {}),
    ("Softsign", 1, {}),
    ("HardSigmoid", 6, {"alpha": 0.3}),
    ("HardSwish", 14, {}),
    ("Celu", 12, {}),
    ("Mish", 18, {}),
    ("Gelu", 20, {"approximate": "tanh"}),
    ("Gelu", 20, {}),
    ("ThresholdedRelu", 10, {"alpha": 0.1}),
    ("Shrink", 9, {"lambd": 0.1}),
    ("Abs", 6, {}),
    ("Neg", 6, {}),
    ("Erf", 9, {}),
    ("Sin", 7, {}),
    ("Dropout", 12, {}),
    ("Identity", 1, {}),
)


@block(odds=4)
def activation(d: Draft, x: Feature) -> Feature:
    """One operator."""
    fitting = [entry for entry in SIMPLE if entry[1] <= d.opset]
    op, _, attrs = fitting[int(d.rng.integers(len(fitting)))]
    return Feature(d.op(op, x.name, **attrs), x.shape)


def silu(d: Draft, x: str) -> str:
    """x * sigmoid(x), or with a factor inside."""
    gate = d.op("Mul", x, d.number(1.702)) if d.flip(0.2) else x
    gate = d.op("Sigmoid", gate)
    return d.op("Mul", x, gate) if d.flip() else d.op("Mul", gate, x)


def gelu(d: Draft, x: str) -> str:
    """GELU as two exporters write it, or by tanh."""
    form = d.pick("half last", "half first", "tanh")
    if form == "tanh":
        cube = d.op("Mul", d.op("Mul", x, x), x) if d.flip() else d.op("Pow", x, d.number(3.0))
        inner = d.op("Add", x, d.op("Mul", cube, d.number(0.044715)))
        grown = d.op("Add", d.op("Tanh", d.op("Mul", inner, d.number(0.7978846))), d.number(1.0))
        return d.op("Mul", d.op("Mul", x, grown), d.number(0.5))
    scaled = d.op("Div", x, d.number(np.sqrt(2.0))) if d.flip() else d.op("Mul", x, d.number(np.sqrt(0.5)))
    grown = d.op("Add", d.op("Erf", scaled), d.number(1.0))
    if form == "half last":
        return d.op("Mul", d.op("Mul", x, grown), d.number(0.5))
    return d.op("Mul", d.op("Mul", x, d.number(0.5)), grown)


@block(odds=3)
def spelled_out(d: Draft, x: Feature) -> Feature:
    """SiLU, GELU, HardSwish, Mish or a clipped function in several operators."""
    form = d.pick("silu", "gelu", "gelu", "hardswish", "mish", "relu6")
    if form == "silu":
        y = silu(d, x.name)
    elif form == "gelu":
        y = gelu(d, x.name)
    elif form == "mish":
        y = d.op("Mul", x.name, d.op("Tanh", d.op("Softplus", x.name)))
    elif form == "relu6":
        y = d.clip(x.name, 0.0, 6.0)
    else:
        gate = d.clip(d.op("Add", x.name, d.number(3.0)), 0.0, 6.0)
        gate = d.op("Div", gate, d.number(6.0)) if d.flip() else gate
        y = d.op("Mul", x.name, gate)
        y = d.op("Mul", y, d.number(1 / 6)) if d.flip() else y
    return Feature(y, x.shape)


@block(odds=0.3)
def deep_chain(d: Draft, x: Feature) -> Feature:
    """Thirty-two residual blocks of an activation spelled out."""
    y = x.name
    for _ in range(32):
        y = d.op("Add", y, d.op("Mul", silu(d, y), d.number(0.1)))
    return Feature(y, x.shape)


@block(2, 3, 4, odds=0.3)
def deep_residual(d: Draft, x: Feature) -> Feature:
    """Layers with SiLU behind each addition, many of them."""
    if x.row > 100:
        raise UnfitError("too large")
    y = x.name
    for _ in range(int(d.pick(8, 16, 32))):
        y = silu(d, d.op("Add", y, d.dense(y, x.shape[-1], x.shape[-1])))
    return Feature(y, x.shape)


@block()
def prelu(d: Draft, x: Feature) -> Feature:
    """Slopes for each channel, for all, or computed."""
    form = d.pick("channels", "one", "last")
    if form == "channels":
        slope = d.vector(x.shape[1], *[1] * (x.rank - 2), middle=0.2)
    else:
        slope = d.vector(x.shape[-1] if form == "last" else 1, middle=0.2)
    if d.flip(0.2):
        slope = d.op("Abs", slope)
    return Feature(d.op("PRelu", x.name, slope), x.shape)


@block()
def clip(d: Draft, x: Feature) -> Feature:
    """Bounds from one side, from both, or none; Min and Max."""
    if d.flip(0.7):
        return Feature(d.clip(x.name, d.pick(None, -1.0, 0.0), d.pick(None, 1.0, 6.0)), x.shape)
    return Feature(d.op(d.pick("Min", "Max"), x.name, d.like(x).name, d.vector(x.shape[-1])), x.shape)


@block(odds=2)
def scale_and_shift(d: Draft, x: Feature) -> Feature:
    """Constants of any shape that broadcasts, on either side."""
    y = x.name
    for _ in range(int(d.pick(1, 2, 3))):
        op = d.pick("Mul", "Add", "Sub", "Div")
        axis = int(d.rng.integers(0, x.rank))
        shape = d.pick((), (1,), (x.shape[axis], *[1] * (x.rank - axis - 1)), x.shape[1:])
        if axis == 0:
            shape = d.pick((), (x.shape[-1],))
        operand = d.vector(*shape, middle=1.0)
        y = d.op(op, y, operand) if op == "Div" or d.flip(0.7) else d.op(op, operand, y)
    return Feature(y, x.shape)


@block()
def gate(d: Draft, x: Feature) -> Feature:
    """Half of the channels weigh the other half; or a Where between two computed tensors."""
    if x.shape[1] % 2 == 0 and d.flip():
        half = x.shape[1] // 2
        values, gates = d.split(x.name, 1, half, half)
        return Feature(d.op("Mul", values, d.op("Sigmoid", gates)), (x.shape[0], half, *x.shape[2:]))
    condition = d.op("Greater", x.name, d.number(0.0))
    if d.flip(0.3):
        condition = d.op("Not", condition)
    other = d.vector(x.shape[-1]) if d.flip() else d.op("Tanh", d.like(x).name)
    return Feature(d.op("Where", condition, x.name, other), x.shape)


@block()
def join(d: Draft, x: Feature) -> Feature:
    """Add, Mul, Sub, Sum, Mean or Max of two features of one shape."""
    op = d.pick("Add", "Mul", "Sub", "Sum", "Mean", "Max")
    return Feature(d.op(op, x.name, d.op("Tanh", d.like(x).name)), x.shape)


@block()
def powers(d: Draft, x: Feature) -> Feature:
    """Exp, Log, Sqrt, Pow, Reciprocal and rounding where they are defined."""
    safe = d.op("Add", d.op("Abs", x.name), d.number(0.5))
    form = d.pick("Log", "Sqrt", "Reciprocal", "Pow", "Exp", "Floor", "Round", "Mod")
    if form == "Pow":
        y = d.op("Pow", safe, d.number(float(d.pick(0.5, 1.5, 2.0))))
    elif form == "Exp":
        y = d.op("Exp", d.op("Neg", safe))
    elif form == "Mod":
        y = d.op("Mod", safe, d.number(1.0), fmod=1)
    elif form == "Round" and d.opset < 11:
        y = d.op("Ceil", safe)
    else:
        y = d.op(form, safe)
    return Feature(y, x.shape)
