"""What makes most of the noise is found wherever it stands, and nothing is spared without reason."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import ir, runtime
from graphopt.passes.quant.search import noise_bisection
from graphopt.pipeline import Context
from tests.corpus._net import Net
from tests.passes.quant.small import planned_convs, quantized, snr

DEPTH = 9


def chain(*loud: int) -> ir.Model:
    """Convolutions, each behind a Relu; before those of these numbers one channel is a thousand times larger.

    What reads it has weights as much smaller, so it says no more than the others, but all share its range.
    """
    net = Net(3)
    x = net.conv(net.input(), (8, 3, 3, 3), bias=True, name="start", pads=[1, 1, 1, 1])
    for number in range(DEPTH):
        x = net.conv(net.op("Relu", x), (8, 8, 1, 1), bias=True, name=f"layer{number}")
    y = net.op("Flatten", net.op("GlobalAveragePool", x))
    model = ir.from_bytes(net.model(net.gemm(y, (8, 5), bias=(5,))).SerializeToString())
    layers = list(model.graph.find("Conv"))
    for number in loud:
        factors = np.ones(8, np.float32)
        factors[3] = 1000.0
        _scale(model, layers[number], factors[:, None, None, None], factors)
        _scale(model, layers[number + 1], 1.0 / factors[None, :, None, None], None)
    return model


def _scale(model: ir.Model, layer: ir.Node, factors: np.ndarray, biases: np.ndarray | None) -> None:
    weight, bias = layer.inputs[1].constant, layer.inputs[2].constant
    assert weight is not None and bias is not None
    model.graph.set_constant(layer, 1, weight * factors.astype(np.float32))
    if biases is not None:
        model.graph.set_constant(layer, 2, bias * biases)


def reasons(ctx: Context) -> dict[str, str]:
    """Layers that are spared."""
    return {skip.node: skip.reason for skip in ctx.skips if "alone costs" in skip.reason}


def accuracy(source: ir.Model, made: ir.Model, ctx: Context) -> float:
    """SNR of the output in dB."""
    exact, session = runtime.Session(source), runtime.Session(made)
    pairs = [(exact.run(s.feeds), session.run(s.feeds)) for s in ctx.calibration]
    return snr(*(np.concatenate([next(iter(p[i].values())) for p in pairs]) for i in (0, 1)))


@pytest.mark.parametrize("loud", [0, 1, 4, DEPTH - 1])
def test_the_layers_around_a_loud_channel_stay_float(loud: int) -> None:
    all_stored, ctx = quantized(chain(loud))
    before = accuracy(chain(loud), all_stored, ctx)
    made, ctx = quantized(chain(loud), keep_noisy_float=True)
    assert list(reasons(ctx)) == [f"layer{loud - 1}" if loud else "start", f"layer{loud}"]
    assert planned_convs(made) == planned_convs(all_stored) - 2
    assert accuracy(chain(loud), made, ctx) > before + 10


def test_a_layer_whose_own_weights_are_the_matter_stays_float_alone() -> None:
    def source() -> ir.Model:
        model = chain()
        layer = list(model.graph.find("Conv"))[4]
        assert layer.inputs[1].constant is not None
        loud = layer.inputs[1].constant.copy()
        loud[:, 3] = np.where(np.arange(8)[:, None, None] < 8, 100.0, loud[:, 3])
        model.graph.set_constant(layer, 1, loud)
        before = list(model.graph.find("Conv"))[3]
        _scale(model, before, np.where(np.arange(8) == 3, 1e-4, 1.0)[:, None, None, None], None)
        return model

    _, ctx = quantized(source(), keep_noisy_float=True)
    assert list(reasons(ctx)) == ["layer3"]


def test_several_are_found_one_after_the_other() -> None:
    made, ctx = quantized(chain(1, DEPTH - 1), keep_noisy_float=True)
    assert set(reasons(ctx)) == {"layer0", "layer1", "layer7", "layer8"}
    assert planned_convs(made) == DEPTH + 1 - 4


def test_there_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_bisection, "GAIN", -100.0)
    monkeypatch.setattr(noise_bisection, "QUIET", -1000.0)
    _, ctx = quantized(chain(4), keep_noisy_float=True)
    assert len(reasons(ctx)) == noise_bisection.MOST  # single layers: any gain will do


def test_nothing_is_spared_where_all_make_their_part() -> None:
    made, ctx = quantized(chain(), keep_noisy_float=True)
    plain, _ = quantized(chain())
    assert not reasons(ctx) and made.to_bytes() == plain.to_bytes()


def test_every_node_behind_a_layer_is_visited_once() -> None:
    """Paths through residual sums of SiLU double with each block; nodes do not."""
    net = Net(2)
    x = net.input(shape=(1, 4, 4, 4))
    for number in range(40):  # 2 ** 40 paths
        y = net.conv(x, (4, 4, 1, 1), name=f"layer{number}")
        x = net.op("Add", x, net.op("Mul", y, net.op("Sigmoid", y)))
        x = net.op("Mul", x, net.op("Sigmoid", x))
    model = ir.from_bytes(net.model(x).SerializeToString())
    layers = [node.output.name for node in model.graph.find("Conv")]
    first = next(model.graph.find("Conv"))
    assert sorted(noise_bisection.readers_of(first, set(layers))) == sorted(layers[1:])
