"""Folding never makes the file larger than the input's, unless that is asked for or said."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import ir
from graphopt.passes.clean import Clean
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus import count_ops
from tests.corpus._net import Net, ints


def run(proto: onnx.ModelProto, **options: object) -> tuple[onnx.ModelProto, Context]:
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model))
    Clean(**options).run(model, ctx)
    return onnx.ModelProto.FromString(model.to_bytes()), ctx


def filled(layers: int = 6) -> onnx.ModelProto:
    """Convolutions whose weights are fills: the light models of ONNX."""
    net = Net()
    y = net.input(shape=(1, 8, 8, 8))
    for _ in range(layers):
        weight = net.op("ConstantOfShape", ints(8, 8, 3, 3), value=np.array([0.5], np.float32))
        y = net.op("Relu", net.op("Conv", y, weight, pads=[1] * 4))
    return net.model(y)


def test_many_small_fills_stay_computed() -> None:
    proto = filled()
    after, ctx = run(proto)
    assert after.ByteSize() <= proto.ByteSize()
    assert count_ops(after)["ConstantOfShape"] >= 1
    assert not ctx.warnings


def test_growth_that_is_asked_for_is_said() -> None:
    proto = filled()
    after, ctx = run(proto, fold_limit=10**6)
    assert count_ops(after)["ConstantOfShape"] == 0
    grown = after.ByteSize() - proto.ByteSize()
    assert grown > 1000  # equal fills become one constant of 2304 bytes
    assert any(f"{grown} bytes larger" in text for text in ctx.warnings)


def test_a_large_value_on_the_way_to_a_small_one_is_no_obstacle() -> None:
    net = Net()
    wide = net.op("Expand", net.random(8, 1), ints(8, 5000))
    sums = net.op("ReduceMean", wide, axes=[1], keepdims=0)
    after, _ = run(net.model(net.op("Add", net.input(shape=(1, 8)), sums)))
    assert count_ops(after) == {"Add": 1}


def test_what_onnxruntime_cannot_compute_stays() -> None:
    """Erf of doubles has no kernel; the constant beside it is folded all the same."""
    net = Net(dtype=np.float64)
    x = net.input(shape=(1, 4))
    never = net.op("Erf", net.random(4))
    known = net.op("Neg", net.random(4))
    after, _ = run(net.model(net.op("Add", net.op("Mul", x, known), never)))
    assert count_ops(after) == {"Erf": 1, "Mul": 1, "Add": 1}


@pytest.mark.parametrize("repeat", [1, 40])
def test_weights_stored_as_float16_do_not_double_a_file(repeat: int) -> None:
    """A few small ones are worth it: layers whose weights are computed cannot be folded."""
    net = Net()
    y = net.input(shape=(1, 16))
    for _ in range(repeat):
        half = net.const(net.rng.uniform(-1, 1, (16, 16)).astype(np.float16))
        y = net.op("MatMul", y, net.op("Cast", half, to=onnx.TensorProto.FLOAT))
    proto = net.model(y)
    after, ctx = run(proto)
    assert after.ByteSize() <= proto.ByteSize() + 16384
    assert (count_ops(after)["Cast"] == 0) == (repeat == 1)
    assert any("bytes larger" in text for text in ctx.warnings)
