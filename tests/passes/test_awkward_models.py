"""Passes that fit weights, on models in double precision, of several inputs, and of fixed batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.passes.lowrank import LowRank
from graphopt.passes.prune import Prune
from graphopt.passes.sparsify import Sparsify
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import Session
from tests.corpus._net import Net

WIDE = 32
LIMIT = 0.2  # of the power of the output; half of the layers' work goes


def falling(net: Net, shape: tuple[int, ...], name: str) -> str:
    """A weight whose singular values fall, as those of trained ones do; its outputs come first."""
    left = net.rng.standard_normal((shape[0], shape[0])) * np.geomspace(1, 0.02, shape[0])
    right = net.rng.standard_normal((shape[0], int(np.prod(shape[1:]))))
    return net.const((left @ right / 8).reshape(shape).astype(net.dtype), name)


def in_double() -> ir.Model:
    """Three fully connected layers; onnxruntime has no convolution in double precision."""
    net = Net(5, np.float64)
    x, inputs = net.input(shape=(1, 24)), 24
    for number in range(2):
        weight = falling(net, (WIDE, inputs), f"weight{number}")
        bias = net.random(WIDE, name=f"bias{number}")
        x, inputs = net.op("Relu", net.op("Gemm", x, weight, bias, transB=1, name=f"fc{number}")), WIDE
    return finished(net, x)


def of_two_inputs() -> ir.Model:
    """Two images that meet in a sum."""
    net = Net(5)
    first, second = net.input(), net.input("z")
    joined = net.op("Add", conv(net, first, 3, "first"), conv(net, second, 3, "second"))
    return pooled(net, conv(net, joined, WIDE, "after"))


def of_four_at_a_time() -> ir.Model:
    """A network that takes four images at a time, and nothing else."""
    net = Net(5)
    x = conv(net, net.input(shape=(4, 3, 8, 8)), 3, "first")
    return pooled(net, conv(net, x, WIDE, "after"))


def conv(net: Net, x: str, inputs: int, name: str) -> str:
    weight = falling(net, (WIDE, inputs, 3, 3), f"{name}.weight")
    bias = net.random(WIDE, name=f"{name}.bias")
    return net.op("Relu", net.op("Conv", x, weight, bias, pads=[1] * 4, name=name))


def pooled(net: Net, x: str) -> ir.Model:
    return finished(net, net.op("Flatten", net.op("GlobalAveragePool", x)))


def finished(net: Net, x: str) -> ir.Model:
    proto = net.model(net.gemm(x, (5, WIDE), bias=(5,), transB=1, name="last"))
    return ir.from_bytes(proto.SerializeToString())


MODELS: list[Callable[[], ir.Model]] = [in_double, of_two_inputs, of_four_at_a_time]
STEPS: dict[str, Prune | LowRank | Sparsify] = {
    "prune": Prune(ratio=0.25, round_to=4),
    "prune to a goal": Prune(macs=0.6, round_to=4),
    "prune in steps": Prune(macs=0.6, steps=2, round_to=4),
    "lowrank": LowRank(macs=0.6, round_to=4),
    "sparsify": Sparsify(ratio=0.5),
    "sparsify below": Sparsify(threshold=0.05),
}


def carried_out(build: Callable[[], ir.Model], name: str, count: int) -> tuple[ir.Model, Context]:
    model = build()
    samples = data.synthetic(model.signature.inputs, Inputs(model).shapes, count, 0)
    ctx = Context(Inputs(model, calibration=samples))
    STEPS[name].run(model, ctx)
    model.check()
    assert ctx.changes and model.signature == build().signature
    return model, ctx


def error(model: ir.Model, original: ir.Model) -> float:
    """Squared error on samples that nothing was fitted to, relative to the power of the output."""
    ports = original.signature.inputs
    fresh = data.synthetic(ports, Inputs(original).shapes, 8, 9)
    sessions = Session(original), Session(model)
    wanted, made = (np.stack([next(iter(s.run(one.feeds).values())) for one in fresh]) for s in sessions)
    assert made.dtype == wanted.dtype
    return float(np.square(made - wanted).sum() / np.square(wanted).sum())


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
@pytest.mark.parametrize("name", STEPS)
def test_some_samples_are_fitted_to(name: str, build: Callable[[], ir.Model]) -> None:
    model, ctx = carried_out(build, name, 16)
    assert error(model, build()) < LIMIT
    assert not any("fits no weights" in text for text in ctx.warnings)


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
@pytest.mark.parametrize("name", STEPS)
def test_a_single_sample_fits_nothing_and_the_report_says_so(
    name: str, build: Callable[[], ir.Model]
) -> None:
    """Also one of four images: what is fitted has to be judged by another sample."""
    model, ctx = carried_out(build, name, 1)
    assert np.isfinite(error(model, build()))
    assert any("fits no weights: with one calibration sample" in text for text in ctx.warnings)


def test_a_layer_that_no_kind_splits_is_named() -> None:
    model = in_double()
    ctx = Context(Inputs(model))
    assert not LowRank(rank=8, kinds=("tucker",)).plan(model, ctx).items
    assert "none of kinds=tucker splits fc0: it stays whole" in ctx.warnings
