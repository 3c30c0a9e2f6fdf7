"""What fused is told truthfully, and float stays where measured times say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt import ir
from graphopt.passes.quant.placement.placement import place
from graphopt.passes.quant.search import model_choice, speed
from graphopt.passes.quant.search.speed import Timer, slow_nodes
from graphopt.passes.quant.search.times_cache import KeptClock
from graphopt.passes.quant.verify.kernels import summary, unfused, verify_fusion
from graphopt.targets import load
from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, first_conv, fused, planned_convs, quantized


def chain(length: int = 4) -> onnx.ModelProto:
    """Convs c0, c1, ... with ReLU, and a Gemm."""
    net = Net(1)
    x = net.input(shape=(1, 3, 12, 12))
    for index in range(length):
        x = net.op("Relu", net.conv(x, (8, 8 if index else 3, 3, 3), name=f"c{index}", pads=[1] * 4))
    return net.model(net.gemm(net.op("Flatten", net.op("GlobalAveragePool", x)), (8, 4), name="fc"))


# -- fusion -------------------------------------------------------------------------------------------------


def test_every_planned_operator_is_told() -> None:
    model, ctx = quantized(chain())
    operators = {o.node: o for o in verify_fusion(model)}
    assert {o.kernel for name, o in operators.items() if name.startswith("c")} == {"QLinearConv"}
    assert operators["fc"].kernel == "QGemm"
    assert all(o.fused for o in operators.values())
    assert ctx.summary.startswith(f"{len(operators)} of {len(operators)} planned operators run on integers")
    assert [item["node"] for item in ctx.details["fusion"]] == list(operators)


def test_what_runs_in_float_is_found_out() -> None:
    """A Relu with a zero point in the middle keeps its Conv float; a Tanh has no integer kernel."""
    model, _ = quantized(chain(), "generic", symmetric=True)
    floats = unfused(verify_fusion(model))
    assert floats["Conv"] == planned_convs(model) - fused(model)["QLinearConv"] > 0
    net = Net(2)
    model, _ = quantized(between_convs(net, net.op("Sigmoid", first_conv(net), name="gate")))
    gate = next(n for n in model.graph.nodes if n.name == "gate")
    attributes = model.graph.add_node("Tanh", list(gate.inputs), name="gate2")
    model.graph.replace_uses(gate.output, attributes.output)
    model.graph.remove(gate)
    operators = {o.op: o for o in verify_fusion(model)}
    assert not operators["Tanh"].fused and "no integer kernel for this Tanh" in operators["Tanh"].reason
    assert "in float: gate2 (Tanh)" in summary(operators.values())


# -- the cut ----------------------------------------------------------------------------------------------


class Clock:
    """A timer that answers made-up times: by node for kernels, in order for whole models."""

    def __init__(self, plain: dict[str, float], stored: dict[str, float], whole: Sequence[Sequence[float]]):
        self.plain, self.stored, self.whole = plain, stored, list(whole)

    def kernels(self, model: ir.Model) -> dict[str, float]:
        is_stored = any(n.op == "QuantizeLinear" for n in model.graph.nodes)
        times = self.stored if is_stored else self.plain
        made = {n.output.name: n.name for n in model.graph.nodes if n.outputs}
        return {f"{made[f'{name}.out']}_token_7": time for name, time in times.items()}

    def milliseconds(self, models: Sequence[ir.Model]) -> list[float]:
        return list(self.whole.pop(0))


def slow(plain: dict[str, float], stored: dict[str, float]) -> set[str]:
    """The names that the cut leaves float; a tensor of the chain costs about 0.003 ms to cross."""
    model = ir.from_bytes(chain().SerializeToString())
    placement = place(model, lambda node: None, load("ort-cpu"))
    copy, _ = quantized(chain())
    clock: Any = Clock(plain, stored, [])
    nodes = slow_nodes(placement, model.copy(), copy, clock, {"x": (1, 3, 12, 12)})
    return {node.name for node in nodes}


NAMES = ("c0", "c1", "c2", "c3", "fc")
EVEN = dict.fromkeys(NAMES, 1.0)


@pytest.mark.parametrize(
    ("plain", "stored", "expected"),
    [
        (EVEN, dict.fromkeys(NAMES, 0.5), set()),
        (EVEN, {**dict.fromkeys(NAMES, 0.5), "c1": 3.0}, {"c1"}),
        (EVEN, {**dict.fromkeys(NAMES, 0.5), "c1": 1.004}, set()),  # less than the crossings cost
        (EVEN, {"c0": 3.0, "c1": 3.0, "c2": 0.5, "c3": 0.5, "fc": 0.5}, {"c0", "c1"}),
        (EVEN, {"c0": 3.0, "c1": 0.9999, "c2": 3.0, "c3": 0.5, "fc": 0.5}, {"c0", "c1", "c2"}),
    ],
)
def test_the_cut_takes_the_quicker_kernel_and_counts_crossings(
    plain: dict[str, float], stored: dict[str, float], expected: set[str]
) -> None:
    assert slow(plain, stored) == expected


# -- the choice -------------------------------------------------------------------------------------------


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(stored: dict[str, float], *whole: Sequence[float]) -> None:
        monkeypatch.setattr(model_choice, "_timer", lambda ctx: Clock(EVEN, stored, whole))

    return use


def test_a_model_that_is_clearly_faster_is_not_searched(clocked: Callable[..., None]) -> None:
    clocked({}, (1.0, 0.5))
    model, ctx = quantized(chain(), measure=True)
    assert fused(model)["QLinearConv"] == 4
    assert ctx.skips == []


def test_a_slow_layer_stays_float_and_says_why(clocked: Callable[..., None]) -> None:
    clocked({**dict.fromkeys(NAMES, 0.5), "c1": 3.0}, (1.0, 1.2), (1.0, 1.2, 0.6))
    model, ctx = quantized(chain(), measure=True)
    run = fused(model)
    assert run["QLinearConv"] == 3 and run["Conv"] + run["FusedConv"] == 1
    assert [s.node for s in ctx.skips] == ["c1"]
    assert "slower for it on this machine" in ctx.skips[0].reason


def test_a_mixed_model_that_wins_nothing_is_not_taken(clocked: Callable[..., None]) -> None:
    clocked({**dict.fromkeys(NAMES, 0.5), "c1": 3.0}, (1.0, 0.9), (1.0, 0.9, 0.89))
    model, _ = quantized(chain(), measure=True)
    assert fused(model)["QLinearConv"] == 4


def test_a_model_that_stays_slower_stays_float(clocked: Callable[..., None]) -> None:
    clocked({**dict.fromkeys(NAMES, 0.5), "c1": 3.0}, (1.0, 1.3), (1.0, 1.3, 1.2))
    proto = chain()
    model, ctx = quantized(proto, measure=True)
    assert ctx.changes == []
    assert not [n for n in model.graph.nodes if n.op == "QuantizeLinear"]
    assert "8 bits would be slower on this machine (1 ms in float, 1.2 ms in 8 bits)" in ctx.skips[0].reason
    assert "measure=false" in ctx.skips[0].reason


def test_real_times_are_positive_and_name_every_kernel() -> None:
    model = ir.from_bytes(chain().SerializeToString())
    from graphopt.runtime import Session, SessionOptions

    timer = Timer({"x": np.zeros((1, 3, 12, 12), np.float32)}, Session, SessionOptions())
    labels = speed._labelled(model)
    times = speed._by_node(timer.kernels(model), labels)
    assert {"c1.out", "c2.out", "fc.out"} & set(times) or {f"Relu_{i}.out" for i in (3, 5)} & set(times)
    assert all(time >= 0 for time in times.values())
    assert min(timer.milliseconds([model, model])) > 0


# -- repeated runs ------------------------------------------------------------------------------------------


class Drifting:
    """A clock that never tells the same time twice."""

    def __init__(self) -> None:
        self.calls = 0

    def milliseconds(self, models: Sequence[ir.Model]) -> list[float]:
        self.calls += 1
        return [float(self.calls + number) for number in range(len(models))]

    def kernels(self, model: ir.Model) -> dict[str, float]:
        self.calls += 1
        return {"one kernel": float(self.calls), "another": 2.0}


def test_what_was_measured_once_is_read_back(tmp_path: Path) -> None:
    model, other = (ir.from_bytes(chain(length).SerializeToString()) for length in (2, 3))
    clock = Drifting()
    first = KeptClock.open(clock, tmp_path, 1, "sizes")
    times, kernels = first.milliseconds([model, other]), first.kernels(model)
    again = KeptClock.open(clock, tmp_path, 1, "sizes")
    assert (again.milliseconds([model, other]), again.kernels(model)) == (times, kernels)
    assert clock.calls == 2
    again.milliseconds([other, model])
    KeptClock.open(clock, tmp_path, 1, "other sizes").milliseconds([model, other])
    KeptClock.open(clock, tmp_path, 2, "sizes").milliseconds([model, other])
    KeptClock.open(clock, None, 1, "sizes").milliseconds([model, other])
    assert clock.calls == 6


def test_a_repeated_run_decides_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run would find 8 bits slower, were it to measure again."""
    clocks = [Clock(EVEN, {}, [(1.0, 0.6)]), Clock(EVEN, {}, [(1.0, 5.0), (1.0, 5.0)])]
    monkeypatch.setattr(model_choice, "Timer", lambda *_: clocks.pop(0))
    made = [quantized(chain(), times=tmp_path, measure=True)[0].to_bytes() for _ in range(2)]
    assert made[0] == made[1]
    assert clocks == []
