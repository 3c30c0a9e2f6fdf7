"""What backends refuse: for each rule a model that breaks it, beside one that does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from graphopt import ir, targets
from graphopt.errors import PassError
from graphopt.passes.quant.verify.validation import refuse_violations
from graphopt.passes.quant.verify.validator import violations
from tests.corpus._net import Net

Change = Callable[[dict[str, object]], object]

SOUND: dict[str, object] = {
    "x_scale": np.float32(0.02),
    "x_zero": np.uint8(0),
    "w": np.ones((4, 3, 1, 1), np.int8),
    "w_scale": np.full(4, 0.01, np.float32),
    "w_zero": np.zeros(4, np.int8),
    "w_axis": 0,
    "bias": np.ones(4, np.int32),
    "bias_scale": np.full(4, 0.02 * 0.01, np.float32),
    "opset": 21,
    "shape": (1, 3, 4, 4),
    "op": "Conv",
}
INT8 = {"x_zero": np.int8(0)}
FLOAT_BIAS = {"bias": np.ones(4, np.float32)}
MATRIX = {"op": "MatMul", "w": np.ones((3, 4), np.int8), "shape": (1, 3), "bias": None, "w_axis": 1}
ONE_SCALE = {"w_scale": np.float32(0.01), "w_zero": np.int8(0)}


def build(**changes: object) -> ir.Model:
    """A stored input, and one layer with stored weights and bias."""
    own = {**SOUND, **changes}
    net = Net(0)
    x = net.input(shape=own["shape"])  # type: ignore[arg-type]
    pair = (np.asarray(own["x_scale"]), np.asarray(own["x_zero"]))
    x = net.op("DequantizeLinear", net.op("QuantizeLinear", x, *pair, name="store"), *pair, name="read")
    weight = net.op(
        "DequantizeLinear",
        np.asarray(own["w"]),
        np.asarray(own["w_scale"]),
        np.asarray(own["w_zero"]),
        axis=own["w_axis"],
        name="weight",
    )
    inputs = [x, weight]
    bias = own["bias"]
    if isinstance(bias, np.ndarray) and bias.dtype != np.float32:
        scale = np.asarray(own["bias_scale"])
        inputs.append(net.op("DequantizeLinear", bias, scale, axis=0, name="bias"))
    elif bias is not None:
        inputs.append(net.const(bias))
    proto = net.model(net.op(str(own["op"]), *inputs, name="layer"), opset=21)
    proto.opset_import[0].version = int(own["opset"])  # type: ignore[call-overload]
    return ir.from_bytes(proto.SerializeToString())


SOUND_FOR: dict[str, dict[str, object]] = {
    "ort-cpu": {},
    "generic": {},
    "qnn": {},
    "openvino": {"bias": np.ones(4, np.float32)},
    "tensorrt": {**INT8, **FLOAT_BIAS},
}


@pytest.mark.parametrize("target", SOUND_FOR)
def test_a_sound_model_is_not_refused(target: str) -> None:
    assert violations(build(**SOUND_FOR[target]), targets.load(target)) == []


# target, what breaks a rule, the node that is named, and words of the reason
BROKEN: list[tuple[str, dict[str, object], str, str]] = [
    ("ort-cpu", {"x_zero": np.int8(0)}, "store", "activations are uint8 there, not int8"),
    (
        "ort-cpu",
        {"w": np.ones((4, 3, 1, 1), np.uint8), "w_zero": np.zeros(4, np.uint8)},
        "weight",
        "not uint8",
    ),
    ("ort-cpu", {"w_zero": np.ones(4, np.int8)}, "weight", "zero point of a weight must be 0"),
    ("ort-cpu", {"bias_scale": np.full(4, 1e-3, np.float32)}, "bias", "the product of those"),
    ("ort-cpu", {"bias": np.ones(4, np.int8)}, "bias", "biases are int32 there, not int8"),
    ("ort-cpu", {"opset": 12}, "weight", "needs opset 13, and the model has 12"),
    ("ort-cpu", {"x_scale": np.float32(0)}, "store", "not a positive number"),
    ("ort-cpu", {"x_scale": np.float32(np.nan)}, "store", "not a positive number"),
    ("ort-cpu", {"w_axis": 1, "w": np.ones((4, 4, 1, 1), np.int8)}, "weight", "go along axis 0"),
    ("ort-cpu", {"w_zero": np.int8(0)}, "weight", "another shape than its scale"),
    ("generic", {"x_zero": np.uint16(0), "opset": 20}, "store", "16-bit integers and blocks need opset 21"),
    ("tensorrt", FLOAT_BIAS, "store", "activations are int8 there, not uint8"),
    ("tensorrt", {"x_zero": np.int8(3), **FLOAT_BIAS}, "store", "the zero point must be 0"),
    ("tensorrt", INT8, "bias", "biases are float32 there, not int32"),
    (
        "tensorrt",
        {**FLOAT_BIAS, "x_zero": np.zeros(3, np.int8), "x_scale": np.full(3, 0.1, np.float32)},
        "store",
        "an activation has one scale",
    ),
    ("openvino", {"x_zero": np.uint16(9), **FLOAT_BIAS}, "store", "activations are uint8 or int8"),
    ("openvino", {}, "bias", "biases are float32 there, not int32"),
    (
        "qnn",
        {"x_scale": np.float32(1e-8), "bias_scale": np.full(4, 1e-10, np.float32)},
        "store",
        "narrower than",
    ),
    ("qnn", {"shape": (1, 3, "H", 4)}, "model", "has no fixed size"),
    ("qnn", MATRIX, "weight", "the weight of MatMul has one scale"),
    ("qnn", {"x_zero": np.int8(0)}, "store", "activations are uint8 or uint16"),
]


@pytest.mark.parametrize(
    ("target", "changes", "node", "words"), BROKEN, ids=[f"{b[0]}-{b[3]}" for b in BROKEN]
)
def test_a_broken_rule_names_the_node(target: str, changes: dict[str, object], node: str, words: str) -> None:
    model = build(**changes)
    found = violations(model, targets.load(target))
    assert (node, True) in [(v.node, words in v.reason) for v in found], found
    with pytest.raises(PassError) as caught:
        refuse_violations(model, targets.load(target))
    assert targets.load(target).runtime in str(caught.value)
    assert caught.value.node == found[0].node


def test_a_computed_scale_is_refused() -> None:
    net = Net(1)
    scale = net.op("Abs", net.input("s", ()))
    x = net.op("QuantizeLinear", net.input(), scale, np.uint8(0), name="store")
    model = ir.from_bytes(net.model(net.op("DequantizeLinear", x, scale, np.uint8(0))).SerializeToString())
    reasons = [v.reason for v in violations(model, targets.load("generic"))]
    assert "its scale or zero point is computed" in reasons


@pytest.mark.parametrize(("scale", "broken"), [(2.0**-16, False), (1e-3, True)])
def test_a_16_bit_sigmoid_has_fixed_parameters_on_qnn(scale: float, broken: bool) -> None:
    net = Net(2)
    pair = (np.float32(scale), np.uint16(0))
    x = net.op("QuantizeLinear", net.op("Sigmoid", net.input()), *map(np.asarray, pair), name="store")
    proto: onnx.ModelProto = net.model(net.op("DequantizeLinear", x, *map(np.asarray, pair)), opset=21)
    found = violations(ir.from_bytes(proto.SerializeToString()), targets.load("qnn"))
    assert any("16-bit results of Sigmoid" in v.reason for v in found) == broken


def test_per_tensor_weights_pass_where_channels_do_not() -> None:
    assert violations(build(**{**MATRIX, **ONE_SCALE}), targets.load("qnn")) == []
