"""What ONNX's checker refuses and onnxruntime runs is taken with a warning, and no pass touches it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import graphopt
from graphopt import ir
from graphopt.errors import ModelError, VerificationError
from graphopt.ir.analysis.checker import is_defined

OLD_NORM = """<ir_version: 7, opset_import: ["" : 13]> g (float[2,3,8] x, float[8] s) => (float[2,3,8] y)
    <float[8,8] w = {WEIGHTS}> { i = Identity (x)  m = MatMul (i, w)
    n = LayerNormalization <axis = -1> (m, s)
    y = MatMul (n, w) }""".replace("WEIGHTS", ", ".join(str(i % 7 - 3) for i in range(64)))
NO_IMPORT = """<ir_version: 7, opset_import: ["" : 13]> g (float[2,4] x) => (float[2,4] y)
    { i = Identity (x)  y = com.microsoft.FastGelu (i) }"""
NO_SHAPE = """<ir_version: 7, opset_import: ["" : 13]> g (float[2,4] x) => (float[] y)
    { i = Identity (x)  y = Relu (i) }"""


def parse(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def shapeless() -> onnx.ModelProto:
    proto = parse(NO_SHAPE)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return proto


LENIENT = {
    "no shape": (shapeless(), "'y' declares no shape"),
    "no import": (parse(NO_IMPORT), "operators of com.microsoft are used without its import"),
    "an operator of a later opset": (parse(OLD_NORM), "No Op registered for LayerNormalization"),
}


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(proto: onnx.ModelProto) -> Path:
        path = tmp_path / "in.onnx"
        path.write_bytes(proto.SerializeToString())
        return path

    return write


@pytest.mark.parametrize(("proto", "sentence"), LENIENT.values(), ids=LENIENT)
def test_the_model_is_taken_with_a_warning(
    proto: onnx.ModelProto, sentence: str, written: Any, tmp_path: Path
) -> None:
    result = graphopt.optimize(written(proto), "clean", output=tmp_path / "out.onnx", latency=False)
    assert sum(sentence in text for text in result.report.warnings) == 1
    assert result.report.passes[0].max_abs_diff == 0.0
    assert "Identity" not in {node.op for node in result.model.graph.nodes}
    onnxruntime.InferenceSession(tmp_path / "out.onnx")


def test_an_operator_of_a_later_opset_is_unknown_to_every_pass(written: Any) -> None:
    model = ir.load(written(parse(OLD_NORM)))
    norm = next(node for node in model.graph.nodes if node.op == "LayerNormalization")
    assert not norm.is_standard and not list(model.graph.find("LayerNormalization"))
    restored = model.copy()
    assert not any(node.is_standard for node in restored.graph.nodes if node.op == "LayerNormalization")
    model.set_opset(17)
    assert norm.is_standard
    result = graphopt.optimize(written(parse(OLD_NORM)), "prune:ratio=0.5", latency=False)
    assert not result.report.passes[-1].changes


def test_what_the_runtime_refuses_too_is_refused(written: Any) -> None:
    proto = parse(OLD_NORM)
    proto.graph.node[2].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match="No Op registered for NoSuchOperator") as caught:
        graphopt.optimize(written(proto), "clean", latency=False)
    assert caught.value.exit_code == 3


def test_a_pass_that_makes_what_the_checker_refuses_is_blamed(
    written: Any, fakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The complaint is excused only where the input drew it as well."""
    from graphopt.passes.clean import Clean

    def spoil(self: Any, model: Any, ctx: Any) -> None:
        model.graph.add_node("NoSuchOperator", [model.graph.inputs[0]])

    monkeypatch.setattr(Clean, "run", spoil)
    with pytest.raises(VerificationError, match=r"not valid|no longer runs"):
        graphopt.optimize(written(fakes.build()), "clean", latency=False)


def test_definitions_by_opset() -> None:
    assert is_defined("LayerNormalization", 17) and not is_defined("LayerNormalization", 16)
    assert is_defined("Upsample", 13), "deprecated operators are known"
    assert not is_defined("NoSuchOperator", 17)


def test_the_same_shape_is_missing_from_the_result(written: Any, tmp_path: Path) -> None:
    graphopt.optimize(written(shapeless()), "clean", output=tmp_path / "out.onnx", latency=False)
    made = onnx.load(tmp_path / "out.onnx").graph.output[0].type.tensor_type
    assert made.elem_type == onnx.TensorProto.FLOAT and not made.HasField("shape")
    x = np.ones((2, 4), np.float32)
    assert onnxruntime.InferenceSession(tmp_path / "out.onnx").run(None, {"x": x})[0].shape == (2, 4)
