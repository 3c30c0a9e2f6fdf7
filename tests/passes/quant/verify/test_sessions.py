"""Large quantized models run part by part: the same values, and no session of all nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from graphopt import ir, runtime
from graphopt.calibration import ActivationCheckpoint
from graphopt.passes.quant.verify import sessions
from graphopt.pipeline import Context
from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, first_conv, quantized

PART = 8  # nodes: small enough for the network to have several


def network() -> ir.Model:
    """Six residual blocks, of which the second is an output too."""
    net = Net(4)
    x = net.op("Relu", first_conv(net))
    sums = []
    for number in range(6):
        y = net.op("Relu", net.conv(x, (8, 8, 3, 3), bias=True, pads=[1] * 4, name=f"conv{number}"))
        x = net.op("Add", x, y)
        sums.append(x)
    proto = between_convs(net, x)
    proto.graph.output.append(helper.make_tensor_value_info(sums[1], TensorProto.FLOAT, (1, 8, 8, 8)))
    return ir.from_bytes(proto.SerializeToString())


@pytest.fixture(scope="module")
def stored() -> tuple[ir.Model, Context]:
    return quantized(network())


def values(model: ir.Model, ctx: Context) -> list[dict[str, np.ndarray]]:
    names = [port.name for port in model.signature.outputs]
    return [dict(one) for one in sessions.run_in_parts(model, names, ctx.calibration, ctx)]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of nodes of the sessions that are opened."""
    counts: list[int] = []
    session = runtime.Session.__init__

    def spy(self: Any, model: Any, *given: Any, **options: Any) -> None:
        counts.append(len(model.graph.nodes))
        session(self, model, *given, **options)

    monkeypatch.setattr(runtime.Session, "__init__", spy)
    return counts


def test_parts_make_the_same_of_every_sample(
    stored: tuple[ir.Model, Context], opened: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ctx = stored
    whole = values(model, ctx)
    total = len(model.graph.nodes)
    assert opened == [total] and total > 6 * PART
    monkeypatch.setattr(sessions, "PART", PART)
    parts = values(model, ctx)
    assert len(opened) > 5 and max(opened[1:]) <= 3 * PART and sum(opened[1:]) < 1.5 * total
    for one, other in zip(whole, parts, strict=True):
        assert one.keys() == other.keys() and len(one) == 2
        for name, value in one.items():
            np.testing.assert_allclose(other[name], value, rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_between_parts_is_run_as_a_whole(
    stored: tuple[ir.Model, Context], opened: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ctx = stored
    whole = values(model, ctx)
    monkeypatch.setattr(sessions, "PART", PART)
    monkeypatch.setattr(ActivationCheckpoint, "_fits", lambda self, kept: False)
    again = values(model, ctx)
    assert len(opened) == 3  # whole; the first part, of which nothing is kept; whole
    for one, other in zip(whole, again, strict=True):
        for name, value in one.items():
            np.testing.assert_allclose(other[name], value, rtol=1e-5, atol=1e-6)
