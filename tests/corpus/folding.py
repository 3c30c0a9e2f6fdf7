"""Constant expressions and shape arithmetic: what folds, and what must not because it would grow the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.corpus._case import Catalogue, could, left
from tests.corpus._net import Net, floats, ints

cases = Catalogue()
HUGE = (1024, 4096)  # 16 MB of float32
SMALL = {"max_bytes": 1_000_000}


def _flatten_by_arithmetic(shape: tuple[Any, ...]) -> onnx.ModelProto:
    """Shape -> Gather -> Unsqueeze -> Concat -> Reshape, as exporters write `x.view(x.size(0), -1)`."""
    net = Net()
    x = net.input(shape=shape)
    batch = net.op("Gather", net.op("Shape", x), np.array(0))
    target = net.op("Concat", net.op("Unsqueeze", batch, ints(0)), ints(-1), axis=0)
    return net.model(net.tell(net.op("Reshape", net.op("Relu", x), target), (shape[0], None)))


FOLDED = {"Shape": 0, "Gather": 0, "Unsqueeze": 0, "Concat": 0}
cases.put("shape_arithmetic_static", partial(_flatten_by_arithmetic, (2, 3, 4, 4)), left(Reshape=1, **FOLDED))
cases.put(
    "shape_arithmetic_partly_static", partial(_flatten_by_arithmetic, (2, 3, "H", "W")), could(**FOLDED)
)
cases.put("shape_arithmetic_dynamic", partial(_flatten_by_arithmetic, ("N", 3, 4, 4)), could(**FOLDED))
cases.put("shape_arithmetic_unknown", partial(_flatten_by_arithmetic, (None, None, 4, 4)))


@cases.add(left(Shape=0, Gather=0, Div=0, Mul=0, Concat=0))
def channel_arithmetic_with_a_dynamic_batch() -> onnx.ModelProto:
    """Only the channels, known to be 6, enter the target [-1, 2, 6 / 2 * 4, 4]."""
    net = Net()
    x = net.input(shape=("N", 6, 4, 4))
    channels = net.op("Gather", net.op("Shape", x), ints(1))
    rows = net.op("Mul", net.op("Div", channels, ints(2)), ints(4))
    return net.model(net.op("Reshape", x, net.op("Concat", ints(-1), ints(2), rows, ints(4), axis=0)))


@cases.add(could(Shape=0))
def shape_with_start_and_end() -> onnx.ModelProto:
    net = Net()
    x = net.input(shape=("N", 3, 4, 5))
    area = net.op("ReduceProd", net.op("Shape", x, start=-2), keepdims=0)
    return net.model(net.op("Div", x, net.op("Cast", area, to=onnx.TensorProto.FLOAT)))


@cases.add(left(Shape=0, Size=0))
def shape_is_output() -> onnx.ModelProto:
    """Known sizes that leave the model: the outputs keep their names and types."""
    net = Net()
    x = net.input(shape=(2, 3))
    return net.model(net.op("Shape", x), net.op("Size", x), net.op("Relu", x))


def _upsample(shape: tuple[Any, ...]) -> onnx.ModelProto:
    """Resize to twice the size that the input turns out to have."""
    net = Net()
    x = net.input(shape=shape)
    size = net.op("Shape", x)
    whole = net.op("Slice", size, ints(0), ints(2), ints(0))
    twice = net.op("Mul", net.op("Slice", size, ints(2), ints(4), ints(0)), ints(2))
    y = net.op("Resize", x, None, None, net.op("Concat", whole, twice, axis=0), mode="nearest")
    return net.model(net.tell(y, (shape[0], 3, None, None)))


cases.put(
    "upsample_static", partial(_upsample, (1, 3, 4, 5)), left(Shape=0, Slice=0, Mul=0, Concat=0, Resize=1)
)
cases.put("upsample_dynamic", partial(_upsample, ("N", 3, "H", "W")), left(Resize=1))

Huge = Callable[[Net, str], str]


def _mean_of(huge: Huge) -> onnx.ModelProto:
    """Only a mean of the huge tensor, shifted by the input, leaves the model."""
    net = Net()
    x = net.input(shape=(1, HUGE[1]))
    y = net.op("Add", huge(net, x), x)
    return net.model(net.op("ReduceMean", y, axes=[0, 1], keepdims=0))


def _huge(name: str, huge: Huge, expect: Mapping[str, Any] | None = None) -> None:
    cases.put(name, partial(_mean_of, huge), {**(expect or {}), **SMALL})


_huge("huge_constant_of_shape", lambda net, x: net.op("ConstantOfShape", ints(*HUGE), value=floats(0.5)))
_huge("huge_expand", lambda net, x: net.op("Expand", net.array(0.5), ints(*HUGE)))
_huge("huge_tile", lambda net, x: net.op("Tile", net.random(1, 16), ints(HUGE[0], HUGE[1] // 16)))
_huge("huge_eye", lambda net, x: net.op("EyeLike", net.op("ConstantOfShape", ints(*HUGE)), dtype=1))
_huge("huge_outer_product", lambda net, x: net.op("Mul", net.random(HUGE[0], 1), net.random(1, HUGE[1])))
_huge(
    "huge_range",
    lambda net, x: net.op(
        "Reshape", net.op("Range", net.array(0), net.array(HUGE[0] * HUGE[1]), net.array(1)), ints(*HUGE)
    ),
)
_huge(
    "huge_one_hot",
    lambda net, x: net.op("OneHot", np.arange(HUGE[0]), np.array(HUGE[1]), floats(0, 1)),
)
_huge(
    "huge_chain_of_small_steps",
    lambda net, x: net.op("Neg", net.op("Exp", net.op("Expand", net.random(HUGE[0], 1), ints(*HUGE)))),
)


@cases.add(SMALL)
def huge_inside_small_outside() -> onnx.ModelProto:
    """A constant expression that is large only in the middle; its sum is one number."""
    net = Net()
    large = net.op("ConstantOfShape", ints(*HUGE), value=floats(2.0**-22))
    return net.model(net.op("Add", net.input(), net.op("ReduceSum", large, keepdims=0)))


@cases.add({"max_bytes": 80_000})
def half_weights_cast_at_run_time() -> onnx.ModelProto:
    """64 KB of fp16 weights behind a Cast; folding it would double the file."""
    net = Net()
    half = net.const(net.rng.standard_normal((128, 256)).astype(np.float16))
    return net.model(net.op("MatMul", net.input(shape=(1, 128)), net.op("Cast", half, to=1)))


@cases.add(left(DequantizeLinear=1, MatMul=1) | {"max_bytes": 40_000})
def int8_weights_dequantized() -> onnx.ModelProto:
    net = Net()
    integers = net.const(net.rng.integers(-127, 128, (128, 256)).astype(np.int8))
    weight = net.op("DequantizeLinear", integers, net.array(0.01))
    return net.model(net.op("MatMul", net.input(shape=(1, 128)), weight))


@cases.add(left(Mul=1, Add=1, Sqrt=0, Div=0, Reshape=0, Constant=0))
def small_expression() -> onnx.ModelProto:
    """gamma / sqrt(var + eps), as a BatchNormalization is written out by hand."""
    net = Net()
    spread = net.op(
        "Sqrt", net.op("Add", net.random(3, low=0.5, high=2), net.op("Constant", value_float=1e-5))
    )
    scale = net.op("Reshape", net.op("Div", net.random(3), spread), ints(3, 1, 1))
    return net.model(net.op("Add", net.op("Mul", net.input(), scale), net.op("Neg", net.random(3, 1, 1))))


@cases.add(left(Neg=1, Mul=1))
def expression_of_an_overridable() -> onnx.ModelProto:
    net = Net()
    y = net.op("Mul", net.input(), net.op("Neg", net.random(3, 1, 1, name="gain")))
    return net.model(y, ir=9, listed=["gain"])


@cases.add(left(Neg=0, Mul=1))
def expression_of_an_ir3_initializer() -> onnx.ModelProto:
    net = Net()
    y = net.op("Mul", net.input(), net.op("Neg", net.random(3, 1, 1, name="gain")))
    return net.model(y, opset=9, ir=3, listed=["gain"])


@cases.add(left(Relu=1))
def expression_is_output() -> onnx.ModelProto:
    net = Net()
    total = net.op("Add", net.random(2, 3), net.random(3))
    return net.model(net.op("Relu", net.input()), total, net.op("Identity", total))


@cases.add(could(CastLike=0, Cast=0))
def cast_a_constant_like_a_live_tensor() -> onnx.ModelProto:
    """Only the type of the input is needed, and that is known."""
    net = Net()
    return net.model(net.op("Mul", net.input(), net.op("CastLike", np.array(2.5), "x")))


@cases.add(left(Mul=1))
def cast_a_live_tensor_like_a_constant() -> onnx.ModelProto:
    net = Net()
    half = net.op("CastLike", net.input(), net.const(np.zeros(1, np.float16)))
    return net.model(net.op("Mul", half, half))


@cases.add(left(Where=0, Equal=0, Sub=1))
def comparison_of_constants() -> onnx.ModelProto:
    net = Net()
    chosen = net.op("Where", net.op("Equal", ints(1, -1), ints(-1, -1)), floats(7, 7), floats(1, 2))
    return net.model(net.op("Sub", net.input(shape=("N", 2)), chosen))


@cases.add(could(SequenceConstruct=0, ConcatFromSequence=0))
def constants_through_a_sequence() -> onnx.ModelProto:
    net = Net()
    parts = net.op("SequenceConstruct", net.random(2, 3), net.random(1, 3))
    joined = net.op("ConcatFromSequence", parts, axis=0)
    return net.model(net.op("Add", net.input(shape=(3, 3)), joined))


@cases.add(finite=False)
def nan_constant() -> onnx.ModelProto:
    """The expression is NaN in one place: folding must keep it so."""
    net = Net()
    return net.model(net.op("Add", net.input(), net.op("Log", floats(-1, 1, 0, 2, 4, 8, 16, 32))))


@cases.add(finite=False)
def nan_and_infinite_outputs() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3))
    z = net.op("Div", net.op("Relu", y), net.op("Relu", net.op("Neg", y)))
    return net.model(net.op("Sqrt", y), z)
