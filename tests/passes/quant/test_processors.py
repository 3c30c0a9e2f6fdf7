"""What the processor of this machine decides: weights for sums in 16 bits, where it will run them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt import runtime
from graphopt.passes.quant import Quant
from tests.corpus._net import Net
from tests.machines import ELSEWHERE, MACHINES, pretend
from tests.passes.quant.small import PLAIN, between_convs, first_conv, quantized

SUMS = {isa: sums for isa, (sums, _) in MACHINES.items()}


@pytest.fixture(params=SUMS)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine of another instruction set."""
    fake: str = request.param
    pretend(fake, monkeypatch)
    return fake


def network() -> onnx.ModelProto:
    """Plain, depthwise and grouped convolutions, and a transposed one of two groups with a bias."""
    net = Net(7)
    x = net.op("Relu", first_conv(net, channels=16))
    x = net.conv(x, (16, 1, 3, 3), group=16, bias=True, name="depthwise", pads=[1] * 4)
    x = net.conv(net.op("Relu", x), (16, 8, 3, 3), op="ConvTranspose", group=2, bias=True, name="grown")
    return between_convs(net, net.op("Relu", x), channels=16)


WANTED: dict[str, bytes] = {}  # by what was asked for


TUNED = {"rounding": "second-order", "bias_correction": True, "keep_noisy_float": True, "equalise": "auto"}
WAYS: list[tuple[str, dict[str, Any]]] = [
    *((target, {}) for target in ELSEWHERE),
    ("generic", {"mode": "dynamic"}),
    ("generic", TUNED),
]


@pytest.mark.parametrize(("target", "options"), WAYS, ids=str)
def test_files_for_other_targets_are_the_same_bytes_everywhere(
    target: str, options: dict[str, Any], machine: str
) -> None:
    model, ctx = quantized(network(), target, **options)
    made = model.to_bytes()
    assert WANTED.setdefault(f"{target} {options}", made) == made
    assert "assumed" not in ctx.details


def test_the_report_says_what_was_assumed_of_this_machine(machine: str) -> None:
    model, ctx = quantized(network())
    assert ctx.details["assumed"] == {"isa": machine, "sums": SUMS[machine]}
    assert (f"saturate, as on this {machine}" in ctx.summary) == (SUMS[machine] == "int16")
    plain, _ = quantized(network(), reduce_range="none")
    assert (model.to_bytes() == plain.to_bytes()) == (SUMS[machine] == "int32")


def test_weights_of_dynamic_layers_heed_the_machine(machine: str) -> None:
    net = Net(2)
    proto = net.model(net.gemm(net.input(shape=(1, 64)), (64, 8)))
    model, _ = quantized(proto, mode="dynamic")
    (layer,) = model.graph.find("MatMulInteger")
    assert np.abs(layer.inputs[1].constant).max() == (63 if SUMS[machine] == "int16" else 127)


def test_this_machine_adds_products_as_its_name_says() -> None:
    """255 * 127 twice is more than 16 bits hold: the kernel itself says what it adds them in."""
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    value = helper.make_tensor_value_info
    ports = [value("a", TensorProto.UINT8, [1, 4]), value("b", TensorProto.INT8, [4, 16])]
    graph = helper.make_graph([node], "g", ports, [value("y", TensorProto.INT32, [1, 16])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    feeds = {"a": np.full((1, 4), 255, np.uint8), "b": np.full((4, 16), 127, np.int8)}
    (made,) = runtime.Session(model.SerializeToString()).run(feeds).values()
    exact = 255 * 127 * 4
    wanted = exact if runtime.pair_sums(runtime.machine()["isa"]) == "int32" else 2 * 32767
    assert (made == wanted).all()


def test_decisions_for_other_targets_ask_no_integer_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []
    session = runtime.Session.__init__

    def spy(self: Any, model: Any, *given: Any, **options: Any) -> None:
        if any(
            node.op == "QuantizeLinear"
            for node in getattr(model, "graph", Net()).nodes
            if hasattr(node, "op")
        ):
            levels.append(options.get("optimization", "all"))
        session(self, model, *given, **options)

    monkeypatch.setattr(runtime.Session, "__init__", spy)
    options = {
        **PLAIN,
        "rounding": "second-order",
        "bias_correction": True,
        "keep_noisy_float": True,
        "max_drop": 100.0,
    }
    quantized(network(), "generic", **options)
    assert levels and set(levels) == {"basic"}
    assert Quant().reduce_range == "auto"
