"""Placement, options and grids of every target, run in onnxruntime without its optimisations."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt import ir, runtime, targets
from graphopt.errors import PassError, UsageError
from graphopt.passes.quant import Quant
from graphopt.passes.quant.verify.validator import violations
from graphopt.pipeline import Context, Plan
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus import case
from tests.corpus._net import Net
from tests.passes.quant.small import PLAIN, corpus_model, feeds, prepared, quantized, snr

NAMES = targets.names()


def residual(channels: int = 32, shape: tuple[Any, ...] = (1, 3, 12, 12)) -> onnx.ModelProto:
    """A stem, a residual block with ReLU, a pool and a Gemm."""
    net = Net(0)
    c = channels
    x = net.op("Relu", net.conv(net.input(shape=shape), (c, 3, 3, 3), bias=True, name="stem"))
    y = net.op("Relu", net.conv(x, (c, c, 3, 3), bias=True, name="one", pads=[1] * 4))
    y = net.op("Add", x, net.conv(y, (c, c, 3, 3), bias=True, name="two", pads=[1] * 4), name="sum")
    y = net.op("MaxPool", net.op("Relu", y), kernel_shape=[2, 2], name="pool")
    y = net.op("Flatten", net.op("GlobalAveragePool", y))
    return net.model(net.gemm(y, (c, 10), bias=(10,), name="fc"))


def node(model: ir.Model, name: str) -> ir.Node:
    return next(n for n in model.graph.nodes if n.name == name)


def is_stored(tensor: ir.Tensor) -> bool:
    return tensor.producer is not None and tensor.producer.op == "DequantizeLinear"


def agreement(proto: Any, model: ir.Model, ctx: Context) -> float:
    content = proto.SerializeToString() if isinstance(proto, onnx.ModelProto) else proto
    (before,) = runtime.Session(content).run(feeds(ctx)).values()
    (after,) = runtime.Session(model, optimization="disabled").run(feeds(ctx)).values()
    return snr(before, after)


@pytest.mark.parametrize("target", NAMES)
def test_every_target_gives_a_sound_model_that_stays_close(target: str) -> None:
    proto = residual()
    model, ctx = quantized(proto, target)
    assert violations(model, targets.load(target)) == []
    assert agreement(proto, model, ctx) > 22


@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
def test_only_inputs_are_stored_and_of_a_residual_only_the_skip(target: str) -> None:
    model, _ = quantized(residual(), target)
    for name in ("stem", "one", "two", "fc"):
        layer = node(model, name)
        if target == "tensorrt" and name in ("stem", "fc"):
            continue  # three channels, ten scores: too few
        assert is_stored(layer.inputs[0]) and is_stored(layer.inputs[1]), name
        assert layer.inputs[2].constant.dtype == np.float32, "biases stay float"
        assert all(reader.op != "QuantizeLinear" for reader in layer.output.consumers)
    add = node(model, "sum")
    assert [is_stored(tensor) for tensor in add.inputs] == [True, False]


def test_tensorrt_has_no_zero_points_and_leaves_narrow_layers() -> None:
    model, ctx = quantized(residual(), "tensorrt")
    zero_points = [n.input(2) for n in model.graph.nodes if "Linear" in n.op]
    assert all(not z.constant.any() and z.constant.dtype == np.int8 for z in zero_points)
    narrow, ctx = quantized(residual(8), "tensorrt")
    assert not any(is_stored(conv.inputs[0]) for conv in narrow.graph.find("Conv"))
    assert {s.reason for s in ctx.skips if s.node in ("one", "two")} == {
        "TensorRT has no integer kernel that is faster for so few channels"
    }


def test_what_enters_a_joined_concat_shares_its_scale() -> None:
    net = Net(2)
    x = net.conv(net.input(), (16, 3, 3, 3), name="first", pads=[1] * 4)
    a = net.conv(x, (16, 16, 1, 1), name="a")
    b = net.op("Mul", net.conv(a, (16, 16, 1, 1), name="b"), net.array(9.0))
    y = net.op("Concat", a, b, axis=1)
    y = net.conv(y, (16, 32, 1, 1), name="last")
    model, _ = quantized(net.model(net.op("GlobalAveragePool", y)), "openvino")
    joined = node(model, "last").inputs[0].producer.inputs[1].constant
    assert node(model, "b").inputs[0].producer.inputs[1].constant == joined


def test_qnn_stores_every_tensor_and_the_outputs() -> None:
    model, _ = quantized(residual(), "qnn")
    assert is_stored(model.graph.outputs[0])
    for one in model.graph.nodes:
        if one.op not in ("QuantizeLinear", "DequantizeLinear", "Relu"):
            assert is_stored(one.inputs[0]), one.name
    gemm = node(model, "fc").inputs[1].producer
    assert gemm.inputs[1].constant.size == 1, "a Gemm has one scale there"


def test_qnn_refuses_sizes_that_are_not_fixed() -> None:
    with pytest.raises(PassError, match="QNN refuses model: the input x has no fixed size"):
        quantized(residual(shape=(1, 3, "H", "W")), "qnn")


CHOICES: list[tuple[str, dict[str, Any], str, float]] = [
    ("generic", {"activations": "int8"}, "int8", 22),
    ("generic", {"activations": "int8", "symmetric": True}, "int8", 20),
    ("generic", {"symmetric": True}, "uint8", 20),
    ("generic", {"activations": "uint16"}, "uint16", 32),
    ("generic", {"activations": "int16", "symmetric": True}, "int16", 32),
    ("generic", {"per_channel": False}, "uint8", 20),
    ("openvino", {"activations": "int8", "symmetric": True}, "int8", 20),
    ("qnn", {"activations": "uint16"}, "uint16", 32),
]


@pytest.mark.parametrize(("target", "options", "dtype", "floor"), CHOICES, ids=str)
def test_grids_can_be_chosen(target: str, options: dict[str, Any], dtype: str, floor: float) -> None:
    proto = residual()
    model, ctx = quantized(proto, target, **options)
    stores = [n for n in model.graph.nodes if n.op == "QuantizeLinear"]
    assert {str(n.inputs[2].constant.dtype) for n in stores} == {dtype}
    middle = (np.iinfo(dtype).min + np.iinfo(dtype).max + 1) // 2
    if options.get("symmetric"):
        assert {int(n.inputs[2].constant) for n in stores} == {middle}
    assert model.opset == (21 if "16" in dtype else 19 if target == "generic" else 17)
    if not options.get("per_channel", True):
        assert all(n.inputs[1].constant.size == 1 for n in model.graph.nodes if "Linear" in n.op)
    assert agreement(proto, model, ctx) > floor


WRONG = [
    ("ort-cpu", {"activations": "int8"}, "activations=int8 is not for the target ort-cpu, which takes uint8"),
    ("ort-cpu", {"symmetric": True}, "symmetric=true is not for the target ort-cpu, which takes false"),
    ("tensorrt", {"activations": "uint8"}, "activations=uint8 is not for the target tensorrt"),
    ("tensorrt", {"symmetric": False}, "which takes true"),
    ("openvino", {"activations": "uint16"}, "which takes uint8, int8"),
    ("qnn", {"activations": "int16"}, "which takes uint8, uint16"),
]


@pytest.mark.parametrize(("target", "options", "words"), WRONG, ids=str)
def test_what_a_target_does_not_take_is_refused(target: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        quantized(residual(), target, **options)


def test_a_16_bit_sigmoid_on_qnn_has_its_fixed_scale() -> None:
    net = Net(4)
    y = net.op("Sigmoid", net.conv(net.input(), (8, 3, 1, 1), name="c"), name="gate")
    model, _ = quantized(net.model(net.conv(y, (4, 8, 1, 1))), "qnn", activations="uint16")
    store = next(n for n in model.graph.nodes if n.op == "QuantizeLinear" and n.inputs[0].name == "gate.out")
    assert float(store.inputs[1].constant) == 2.0**-16 and int(store.inputs[2].constant) == 0


def test_scales_fall_back_to_whole_weights_where_the_opset_cannot_rise() -> None:
    """A local function stops the converter; opset 12 has no scales by channel."""
    proto = residual()
    proto.opset_import[0].version = 12
    function = onnx.helper.make_function(
        "local", "Twice", ["a"], ["b"], [onnx.helper.make_node("Add", ["a", "a"], ["b"])],
        [onnx.helper.make_opsetid("", 12)],
    )  # fmt: skip
    proto.functions.append(function)
    proto.opset_import.append(onnx.helper.make_opsetid("local", 1))
    model, ctx = quantized(proto)
    assert model.opset == 12
    assert any("one scale for each whole weight" in text for text in ctx.warnings)
    assert all(n.inputs[1].constant.size == 1 for n in model.graph.nodes if n.op == "DequantizeLinear")
    assert "planned operators run on integers" in ctx.summary and "in float" not in ctx.summary


@pytest.mark.parametrize("target", NAMES)
def test_plans_of_every_target_replay_from_their_text(target: str) -> None:
    proto = residual()
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model), target=targets.load(target))
    plan = Quant(**PLAIN).plan(model, ctx)
    results = []
    for items in (plan.items, json.loads(json.dumps([dict(item) for item in plan.items]))):
        again = ir.from_bytes(proto.SerializeToString())
        Quant(**PLAIN).apply(again, Plan(tuple(items)), ctx)
        results.append(again.to_bytes())
    assert results[0] == results[1]


def test_an_edited_scale_reaches_those_that_share_it() -> None:
    proto = residual()
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    items = [dict(item) for item in Quant(**PLAIN).plan(model, ctx).items]
    pool = next(item for item in items if item.get("tensor") == "pool.out")
    source = next(item for item in items if item.get("tensor") == pool["like"])
    assert source["absorbed"], "the plan names the ReLU that storing replaces"
    source["scale"] *= 2
    Quant(**PLAIN).apply(model, Plan(tuple(items)), ctx)
    stores = {n.inputs[0].name: n.inputs[1].constant for n in model.graph.nodes if n.op == "QuantizeLinear"}
    assert stores["pool.out"] == np.float32(source["scale"])


@pytest.mark.parametrize("target", ["openvino", "tensorrt", "generic"])
@pytest.mark.parametrize("name", ["cifar_resnet20_bn", "ppocr_v2_cls"])
def test_real_models_are_sound_for_every_target(target: str, name: str) -> None:
    model = prepared(corpus_model(name))
    before = model.to_bytes()
    model, ctx = quantized(model, target)
    assert violations(model, targets.load(target)) == []
    assert ctx.changes
    assert agreement(before, model, ctx) > 8


def test_the_awkward_opset_7_model_still_says_why() -> None:
    _, ctx = quantized(case("bn_not_spatial").build(), "generic")
    assert any("cannot be converted" in s.reason for s in ctx.skips)


def test_generic_leaves_no_node_whose_work_storing_does_and_changes_no_bit() -> None:
    """OpenCV fuses a Conv with the QuantizeLinear right behind it alone, and crashes on some others."""
    proto = residual()
    model, ctx = quantized(proto, "generic")
    for one in model.graph.nodes:
        if one.op in ("Relu", "Clip"):
            assert any(r.op != "QuantizeLinear" for r in one.output.consumers), one.name
    before = [n for n in ir.from_bytes(proto.SerializeToString()).graph.nodes if n.op == "Relu"]
    assert len(before) > len(list(model.graph.find("Relu")))
    kept, _ = quantized(proto, dataclasses.replace(targets.load("generic"), absorbed_nodes="keep"))
    feeds = next(iter(ctx.calibration)).feeds
    outputs = [runtime.Session(m, optimization="disabled").run(feeds) for m in (model, kept)]
    for name, value in outputs[0].items():
        np.testing.assert_array_equal(value, outputs[1][name])


def test_a_clip_that_the_integers_do_not_replace_stays() -> None:
    net = Net(3)
    y = net.conv(net.input(), (16, 3, 3, 3), pads=[1] * 4)
    y = net.op("Clip", y, net.array(-1.0), net.array(0.5))  # storing clips at -1 and 0.5, or a little beyond
    model, _ = quantized(net.model(net.op("GlobalAveragePool", net.conv(y, (16, 16, 1, 1)))), "generic")
    for store in model.graph.find("QuantizeLinear"):
        if store.inputs[0].producer is not None and store.inputs[0].producer.op == "Clip":
            scale, zero = float(store.inputs[1].constant), int(store.inputs[2].constant)
            ends = round(-1.0 / scale) + zero, round(0.5 / scale) + zero
            assert ends[0] > 0 or ends[1] < 255


@pytest.mark.parametrize("name", ["generic", "opencv"])
@pytest.mark.parametrize("gate", ["swish", "squeeze", "plain", "dense"])
def test_nothing_that_opencv_fuses_wrongly_stands_between_pairs(name: str, gate: str) -> None:
    """Measured with OpenCV 5.0: DQ -> Sigmoid -> Q answers wrongly, DQ -> Gemm -> Q crashes."""
    net = Net(4)
    y = net.conv(net.input(), (16, 3, 3, 3), pads=[1] * 4)
    if gate == "swish":
        y = net.op("Mul", y, net.op("Sigmoid", y))
    elif gate == "squeeze":
        y = net.op("Mul", y, net.op("Sigmoid", net.conv(net.op("GlobalAveragePool", y), (16, 16, 1, 1))))
    elif gate == "plain":
        y = net.op("Sigmoid", y)
    y = net.op("GlobalAveragePool", net.conv(y, (16, 16, 1, 1)))
    if gate == "dense":
        y = net.gemm(net.op("Relu", net.gemm(net.op("Flatten", y), (16, 16), bias=(16,))), (16, 8), bias=(8,))
    proto = net.model(y)
    model, ctx = quantized(proto, name)
    for one in (*model.graph.find("Sigmoid"), *model.graph.find("Gemm")):
        reads_alone = is_stored(one.inputs[0]) and len(one.inputs[0].consumers) == 1
        assert not (reads_alone and any(r.op == "QuantizeLinear" for r in one.output.consumers)), one.name
    assert list(model.graph.find("QuantizeLinear")) and agreement(proto, model, ctx) > 15


def test_a_target_without_pairs_keeps_the_model_float_and_says_why() -> None:
    model, ctx = quantized(residual(), "litert")
    assert not list(model.graph.find("QuantizeLinear"))
    assert "LiteRT answers wrongly to quantized ONNX files" in ctx.skips[0].reason
