"""Passes that make the result slower here are taken back; a stand-in clock says how long a model takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar

import onnx
import pytest

import graphopt
from graphopt import ir
from graphopt.pipeline import Context, Contract, Pass, Plan, PlannedPass
from graphopt.pipeline.results import measure
from graphopt.runtime import Latency, PairedLatency, Session


class Tag(Pass):
    """Adds an Identity, which changes nothing but the number of nodes."""

    name: ClassVar[str] = "tag"
    contract: ClassVar[Contract] = Contract.EXACT

    @property
    def is_for_speed(self) -> bool:
        return True

    def run(self, model: ir.Model, ctx: Context) -> None:
        _add_identity(model, ctx)


class Wanted(Tag):
    """The same, for more than speed."""

    name: ClassVar[str] = "wanted"

    @property
    def is_for_speed(self) -> bool:
        return False


class Planned(PlannedPass):
    """The same with a plan, and approximate."""

    name: ClassVar[str] = "planned"

    @property
    def is_for_speed(self) -> bool:
        return True

    def plan(self, model: ir.Model, ctx: Context) -> Plan:
        return Plan(({"add": 1},))

    def apply(self, model: ir.Model, plan: Plan, ctx: Context) -> None:
        for _ in plan.items:
            _add_identity(model, ctx)


def _add_identity(model: ir.Model, ctx: Context) -> None:
    node = next(iter(model.graph.nodes))
    node.inputs[0] = model.graph.add_node("Identity", [node.inputs[0]]).output
    ctx.changed(node, "an Identity before it")


def identities(model: Any) -> int:
    proto = model.proto() if isinstance(model, ir.Model) else onnx.load(model)
    return sum(node.op_type == "Identity" for node in proto.graph.node)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Make a model take as long as its number of Identities says; returns those that were timed."""

    def install(ms: dict[int, Any], spread: float = 0.001) -> list[int]:
        timed: list[int] = []
        opened: dict[int, int] = {}
        start = Session.__init__
        answers = {n: iter(t) if isinstance(t, list) else repeat(t) for n, t in ms.items()}

        def opens(self: Session, model: Any, *given: Any, **named: Any) -> None:
            start(self, model, *given, **named)
            opened[id(self)] = identities(model)

        def paired(before: Session, after: Session, _: object) -> PairedLatency:
            assert opened[id(before)] == min(ms)
            timed.append(opened[id(after)])
            a, b = (Latency(time, time, 50, spread) for time in (1.0, next(answers[timed[-1]])))
            return PairedLatency(a, b, b.median_ms / a.median_ms, spread)

        monkeypatch.setattr(Session, "__init__", opens)
        monkeypatch.setattr(measure, "paired_latency", paired)
        monkeypatch.setattr(measure, "latency", lambda *_: 1.0)
        return timed

    return install


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Path]:
    """A model without Identities."""
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 4]) for n in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Tanh", ["x"], ["y"])], "g", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "in.onnx"
    onnx.save(model, path)
    yield path


def run(net: Path, passes: list[Pass], **flags: Any) -> Any:
    return graphopt.optimize(net, passes, output=net.with_name("out.onnx"), force=True, **flags)


def test_a_pass_that_makes_it_slower_is_taken_back_and_says_why(net: Path, clock: Any) -> None:
    timed = clock({0: 1.0, 1: 1.5})
    result = run(net, [Tag()])
    assert identities(net.with_name("out.onnx")) == 0
    (record,) = result.report.passes
    assert (
        record.changes == ()
        and "slower here than the input: 1.5 ms instead of 1 ms" in record.skips[0].reason
    )
    assert record.nodes == 1
    assert timed == [1, 1, 1]  # once for the result, and twice to be sure
    assert any("tag: taken back" in text for text in result.report.warnings)


def test_only_what_does_not_pay_goes(net: Path, clock: Any) -> None:
    clock({0: 1.0, 1: 0.9, 2: 1.5})
    result = run(net, [Tag(), Planned()])
    assert identities(net.with_name("out.onnx")) == 1
    first, second = result.report.passes
    assert first.changes and not second.changes and second.plan == ()
    assert result.report.after.latency_ms == 0.9


def test_what_came_before_a_slow_pass_is_timed_itself(net: Path, clock: Any) -> None:
    clock({0: 1.0, 1: 1.2, 2: 1.5})
    result = run(net, [Planned(), Planned()])
    assert identities(net.with_name("out.onnx")) == 0
    assert not any(record.changes for record in result.report.passes)


@pytest.mark.parametrize(
    ("times", "spread"),
    [([1.5, 1.0], 0.001), ([1.5, 1.5, 1.0], 0.001), (1.04, 0.001), (1.3, 0.3), (0.8, 0.001)],
)
def test_a_difference_that_is_not_clear_each_time_takes_nothing_back(
    times: Any, spread: float, net: Path, clock: Any
) -> None:
    clock({0: 1.0, 1: times}, spread)
    run(net, [Tag()])
    assert identities(net.with_name("out.onnx")) == 1


def test_a_pass_for_more_than_speed_stays_with_what_stands_before_it(net: Path, clock: Any) -> None:
    clock({0: 1.0, 2: 1.5})
    result = run(net, [Tag(), Wanted()])
    assert identities(net.with_name("out.onnx")) == 2
    assert any("slower here than the input" in text for text in result.report.warnings)


@pytest.mark.parametrize("flags", [{"latency": False}, {"target": "tensorrt"}])
def test_without_timing_or_for_another_machine_nothing_is_taken_back(
    flags: dict[str, Any], net: Path, clock: Any
) -> None:
    timed = clock({0: 1.0, 1: 1.5})
    run(net, [Tag()], **flags)
    assert identities(net.with_name("out.onnx")) == 1
    assert len(timed) <= 1


def test_the_plan_of_such_a_run_repeats_it(net: Path, clock: Any) -> None:
    timed = clock({0: 1.0, 1: 1.5})
    plan = net.with_name("plan.json")
    run(net, [Planned()], plan_out=plan)
    first, count = net.with_name("out.onnx").read_bytes(), len(timed)
    run(net, [Planned()], plan=plan)
    assert net.with_name("out.onnx").read_bytes() == first
    assert len(timed) == count


def test_a_report_shows_the_stages_as_they_are(net: Path, clock: Any) -> None:
    clock({0: 1.0, 1: 0.9, 2: 1.5})
    result = run(net, [Planned(), Planned()], report=net.with_name("report.json"))
    assert [(stage.name, stage.nodes) for stage in result.report.stages] == [
        ("input", 1),
        ("planned", 2),
        ("planned", 2),
    ]
    assert result.report.to_json()["speed"] == pytest.approx({"ratio": 0.9, "spread": 0.001, "pairs": 50})


def test_which_of_our_passes_are_for_speed_alone() -> None:
    specs = "clean clean:opset=20 fold-bn fold-bn:lone=true prune prune:macs=0.5 lowrank lowrank:rank=4 quant"
    specs += " quant:measure=false quant:mode=weights cast sparsify distill"
    from graphopt.pipeline.spec.registry import passes
    from graphopt.pipeline.spec.spec import parse

    found = [text for text in specs.split() if passes().make(parse(text).steps[0]).is_for_speed]
    assert found == ["clean", "fold-bn", "prune", "lowrank", "quant"]
