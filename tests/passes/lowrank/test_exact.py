"""At full rank every way to split a layer computes what the layer does, whatever its attributes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings

from graphopt import data, ir
from graphopt.passes.lowrank import LowRank
from graphopt.passes.lowrank.layers.layer import Layer
from graphopt.passes.lowrank.layers.survey import survey
from graphopt.passes.lowrank.ways import KINDS
from graphopt.pipeline import Plan
from tests.corpus._net import Net
from tests.passes.lowrank.nets import ConvCase, context, conv_cases, load, outputs

LEVELS = ("disabled", "all")
ANY_SIZE = "any size"


def the_layer(model: ir.Model, ctx: object) -> Layer:
    (layer,) = survey(model, ctx).layers.values()  # type: ignore[arg-type]
    return layer


def full_plan(layer: Layer, kind: str) -> Plan:
    ranks = list(KINDS[kind].full(layer))
    return Plan(({"layer": layer.name, "tensor": layer.output, "kind": kind, "ranks": ranks},))


def assert_exact(model: ir.Model, kind: str, shape: tuple[int, ...], tolerance: float = 1e-5) -> None:
    """Split at full rank, with data and without, and compare at both levels of onnxruntime."""
    samples = data.synthetic(model.signature.inputs, {"x": shape}, 6, 1)
    for given_samples in (None, samples):
        split, extra = ir.from_bytes(model.to_bytes()), {"shapes": {"x": shape}}
        ctx = context(split, calibration=given_samples, **extra)
        layer = the_layer(split, ctx)
        LowRank(min_channels=1).apply(split, full_plan(layer, kind), ctx)
        split.check()
        assert len(split.graph.nodes) > 1
        for level in LEVELS:
            wanted, found = outputs(model, samples, level), outputs(split, samples, level)
            assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


def fits(case: ConvCase, kind: str) -> bool:
    model = case.model()
    ctx = context(model, shapes={"x": (2, case.inputs, *case.sizes)})
    layers = survey(model, ctx).layers.values()
    return all(KINDS[kind].fits(layer) for layer in layers) and bool(layers)


@pytest.mark.parametrize("kind", KINDS)
@given(case=conv_cases())
@settings(max_examples=25)
def test_any_convolution_at_full_rank(kind: str, case: ConvCase) -> None:
    if kind == "svd":
        case = replace(case, kernel=(1,) * len(case.kernel))
    assume(fits(case, kind))
    assert_exact(case.model(), kind, (2, case.inputs, *case.sizes))


@pytest.mark.parametrize("kind", ["out", "in", "vertical", "horizontal", "tucker", "cp"])
@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_the_usual_convolutions(kind: str, auto_pad: str, dynamic: bool) -> None:
    """Stride 2 on an even size is where both kinds of SAME padding differ."""
    pads = (1, 0, 2, 1) if auto_pad == "NOTSET" else (0,) * 4
    case = ConvCase(
        8,
        10,
        2,
        (3, 3),
        (2, 1),
        (1, 1) if auto_pad != "NOTSET" else (1, 2),
        pads,
        auto_pad,
        True,
        (8, 9),
        dynamic,
        4,
    )
    assert_exact(case.model(), kind, (2, 8, 8, 9))


def test_declared_sizes_make_padding_explicit() -> None:
    case = ConvCase(6, 8, 1, (3, 3), (2, 2), (1, 1), (0,) * 4, "SAME_LOWER", False, (8, 7), False, 0)
    for dynamic in (False, True):
        model = replace(case, dynamic=dynamic).model()
        ctx = context(model, shapes={"x": (2, 6, 8, 7)})
        LowRank(min_channels=1).apply(model, full_plan(the_layer(model, ctx), "vertical"), ctx)
        autos = [node.attr("auto_pad", "NOTSET") for node in model.graph.find("Conv")]
        assert autos == (["SAME_LOWER"] * 2 if dynamic else ["NOTSET"] * 2)
        pads = [node.attr("pads") for node in model.graph.find("Conv")]
        assert pads == ([None, None] if dynamic else [[1, 0, 0, 0], [0, 1, 0, 1]])


@pytest.mark.parametrize("flipped", [0, 1])
@pytest.mark.parametrize("bias", [None, (9,), (1,), ()])
def test_gemm_at_full_rank(flipped: int, bias: tuple[int, ...] | None) -> None:
    net = Net(2)
    x = net.input("x", (4, 7))
    weight = net.random(*((9, 7) if flipped else (7, 9)))
    biases = [] if bias is None else [net.random(*bias)]
    y = net.op("Gemm", x, weight, *biases, transB=flipped, alpha=0.5, beta=2.0, name="fc")
    assert_exact(load(net.model(y)), "svd", (4, 7))


def test_matmul_at_full_rank() -> None:
    net = Net(2)
    y = net.op("MatMul", net.input("x", (2, 5, 7)), net.random(7, 9), name="fc")
    assert_exact(load(net.model(y)), "svd", (2, 5, 7))


def test_half_precision_stays_half() -> None:
    case = ConvCase(8, 12, 1, (3, 3), (1, 1), (1, 1), (1,) * 4, "NOTSET", True, (8, 8), False, 1)
    model = case.model(np.float16)
    assert_exact(model, "vertical", (2, 8, 8, 8), 1e-2)
    ctx = context(model)
    LowRank(min_channels=1).apply(model, full_plan(the_layer(model, ctx), "tucker"), ctx)
    assert all(t.dtype == np.float16 for node in model.graph.find("Conv") for t in node.inputs[1:])


def test_the_oracle_catches_a_misplaced_bias_and_padding() -> None:
    """A bias on the first factor, or the padding of the other axis, would be seen."""
    case = ConvCase(6, 8, 1, (3, 3), (1, 1), (1, 1), (1,) * 4, "NOTSET", True, (6, 6), False, 0)
    model = case.model()
    samples = data.synthetic(model.signature.inputs, {}, 3, 1)
    wanted = outputs(model, samples)
    for spoil in ("bias", "pads"):
        split = ir.from_bytes(model.to_bytes())
        ctx = context(split)
        LowRank(min_channels=1).apply(split, full_plan(the_layer(split, ctx), "vertical"), ctx)
        first, second = split.graph.find("Conv")
        if spoil == "pads":
            first.attrs["pads"], second.attrs["pads"] = [0, 1, 0, 1], [1, 0, 1, 0]
        else:
            split.graph.set_constant(first, 2, np.full(first.inputs[1].constant.shape[0], 0.5, np.float32))
        split.sort()
        assert np.abs(outputs(split, samples) - wanted).max() > 1e-3 * np.abs(wanted).max()


def test_the_split_tensor_keeps_its_name_and_the_output_its_own() -> None:
    case = ConvCase(6, 8, 1, (3, 3), (1, 1), (1, 1), (1,) * 4, "NOTSET", True, (6, 6), False, 0)
    model = case.model()
    signature = model.signature
    ctx = context(model)
    LowRank(min_channels=1).apply(model, full_plan(the_layer(model, ctx), "tucker"), ctx)
    assert model.signature == signature
    assert {tensor.name for node in model.graph.nodes for tensor in node.inputs[1:]} == {
        "conv.1.weight",
        "conv.2.weight",
        "conv.3.weight",
        "conv.3.bias",
    }
    assert not [t for t in model.graph.initializers if not t.outputs]
