"""A pass that is asked to change inputs or outputs may; every other pass is held to the signature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import onnx
import onnxruntime
import pytest

import graphopt
from graphopt.errors import VerificationError
from graphopt.pipeline import Context, Contract, Pass
from graphopt.pipeline.spec.registry import Registry


@dataclass(frozen=True)
class Cut(Pass):
    """Hand out the tensor before the last layer."""

    name: ClassVar[str] = "cut"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    keeps_signature: ClassVar[bool] = False  # type: ignore[misc]

    def run(self, model: Any, ctx: Context) -> None:
        last = next(iter(model.graph.find("Gemm")))
        model.graph.outputs = [last.inputs[0]]
        model.graph.remove_dead()
        ctx.changed(last, "cut off")


@dataclass(frozen=True)
class SecretCut(Cut):
    """Hand out the tensor before the last layer without being asked."""

    name: ClassVar[str] = "secret-cut"
    keeps_signature: ClassVar[bool] = True  # type: ignore[misc]


@pytest.fixture
def cutting(fakes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import graphopt.pipeline.run.run

    registry = Registry([fakes.Point(owner.name, lambda owner=owner: owner) for owner in (Cut, SecretCut)])
    monkeypatch.setattr(graphopt.pipeline.run.run, "passes", lambda: registry)


def test_a_pass_may_change_what_it_is_asked_to(cutting: None, tiny: Path, tmp_path: Path) -> None:
    result = graphopt.optimize(tiny, "cut", output=tmp_path / "out.onnx", latency=False)
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    assert [port.name for port in session.get_outputs()] == ["f"]
    assert any("changed inputs or outputs" in text for text in result.report.warnings)
    assert result.report.agreement == {}


def test_nobody_else_may(cutting: None, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="secret-cut changed the model's signature"):
        graphopt.optimize(tiny, "secret-cut", output=tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_frozen_defaults_leave_the_inputs(tmp_path: Path) -> None:
    weight = onnx.helper.make_tensor("w", 1, [2, 2], [1.0, 2.0, 3.0, 4.0])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [value("x", 1, [1, 2]), value("w", 1, [2, 2])],
        [value("y", 1, [1, 2])],
        [weight],
    )
    onnx.save(onnx.helper.make_model(graph, ir_version=8), tmp_path / "in.onnx")
    graphopt.optimize(tmp_path / "in.onnx", "clean:freeze=true", output=tmp_path / "out.onnx", latency=False)
    assert [port.name for port in onnx.load(tmp_path / "out.onnx").graph.input] == ["x"]
