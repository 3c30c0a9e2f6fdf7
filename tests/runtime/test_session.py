"""Sessions run models given in any form, and say in one sentence what is wrong with a bad one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from graphopt import ir, runtime
from graphopt.errors import DataError, ModelError, UsageError
from graphopt.ir import Port
from graphopt.passes.clean.folding.evaluation import evaluate
from graphopt.runtime import model_source


def f32(values: list[Any]) -> np.ndarray:
    return np.array(values, np.float32)


def conv_relu(domain: str = "") -> bytes:
    """x [N, 3, H, W] -> Conv -> c -> Relu (of a domain) -> y."""
    weight = np.arange(4 * 3 * 9, dtype=np.float32).reshape(4, 3, 3, 3) - 50
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
            helper.make_node("Relu", ["c"], ["y"], name="relu", domain=domain),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("w", TensorProto.FLOAT, weight.shape, weight.tobytes(), raw=True)],
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


FEEDS = {"x": np.linspace(-1, 1, 75, dtype=np.float32).reshape(1, 3, 5, 5)}


@pytest.mark.parametrize("optimization", ["all", "extended", "basic", "disabled"])
def test_every_form_of_a_model_gives_the_same_outputs(tmp_path: Path, optimization: Any) -> None:
    data = conv_relu()
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    expected = runtime.Session(data).run(FEEDS)["y"]
    for model in (data, path, str(path), ir.load(path), ir.from_bytes(data)):
        session = runtime.Session(model, optimization=optimization)
        assert session.input_names == ("x",) and session.output_names == ("y",)
        np.testing.assert_allclose(session.run(FEEDS)["y"], expected, rtol=1e-5)


def test_inner_tensors_are_returned_on_request(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(conv_relu())
    for model in (conv_relu(), path):
        session = runtime.Session(model, outputs=["c", "y"])
        values = session.run(FEEDS)
        assert list(values) == ["c", "y"]
        assert values["c"].min() < 0
        np.testing.assert_array_equal(np.maximum(values["c"], 0), values["y"])


def test_a_model_too_large_for_memory_goes_through_a_file_that_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_source, "INLINE_LIMIT", 0)
    session = runtime.Session(ir.from_bytes(conv_relu()), outputs=["c"])
    path = Path(str(session._source.content))
    assert path.exists()
    assert list(session.run(FEEDS)) == ["c"]
    assert len(runtime.fingerprint(ir.from_bytes(conv_relu()))) == 64
    del session
    assert not path.parent.exists()


def test_the_fingerprint_follows_the_weights() -> None:
    model = ir.from_bytes(conv_relu())
    before = runtime.fingerprint(model)
    assert runtime.fingerprint(conv_relu()) == before
    weight = next(model.graph.find("Conv")).inputs[1]
    weight.values = weight.values + 1
    assert runtime.fingerprint(model) != before


def test_a_missing_custom_operator_is_named_with_the_option_to_add() -> None:
    with pytest.raises(ModelError, match=r"custom operator my\.domain:Relu") as caught:
        runtime.Session(conv_relu("my.domain"))
    assert "--custom-ops LIB" in caught.value.hint


def test_a_custom_operator_library_that_does_not_load_is_named(tmp_path: Path) -> None:
    library = tmp_path / "ops.so"
    library.write_bytes(b"not a library")
    with pytest.raises(UsageError, match=r"ops\.so cannot be loaded"):
        runtime.Session(conv_relu(), runtime.SessionOptions(custom_ops=(str(library),)))
    with pytest.raises(UsageError, match=r"ops\.so cannot be loaded"):
        runtime.check_session(runtime.SessionOptions(custom_ops=(str(library),)))


def test_an_unknown_standard_operator_is_named() -> None:
    with pytest.raises(ModelError, match="uses Rulu of opset 17, which this onnxruntime does not implement"):
        runtime.Session(conv_relu().replace(b"Relu", b"Rulu"))


@pytest.mark.parametrize("bad", [b"garbage", "/nowhere/model.onnx"])
def test_an_unreadable_model_is_a_model_error(bad: bytes | str) -> None:
    with pytest.raises(ModelError, match="cannot load"):
        runtime.Session(bad)


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"z": FEEDS["x"]},
        {"x": FEEDS["x"][:, :2]},
        {"x": FEEDS["x"][0]},
        {"x": FEEDS["x"].astype(np.float64)},
    ],
)
def test_feeds_that_do_not_fit_are_a_data_error(feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match="do not fit the inputs"):
        runtime.Session(conv_relu()).run(feeds)


def test_a_node_that_fails_is_named() -> None:
    with pytest.raises(ModelError, match=r"node '.*' \(\w+\) fails"):
        runtime.Session(conv_relu(), optimization="disabled").run({"x": FEEDS["x"][:, :, :2, :2]})


def test_a_provider_that_is_not_there_is_a_usage_error() -> None:
    import onnxruntime  # type: ignore[import-untyped]

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(UsageError, match="cuda"):
        runtime.Session(conv_relu(), runtime.SessionOptions(provider="cuda"))


def test_importing_the_room_does_not_import_onnxruntime() -> None:
    code = "import sys, graphopt.runtime; sys.exit('onnxruntime' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_is_printed_when_a_run_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError):
        runtime.Session(conv_relu()).run({"x": FEEDS["x"][:, :, :2, :2]})
    assert capfd.readouterr() == ("", "")


def test_evaluate_computes_constant_nodes() -> None:
    values = helper.make_tensor("v", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["a"], value=values),
            helper.make_node("Add", ["a", "a"], ["sum"]),
            helper.make_node("Shape", ["a"], ["shape"]),
        ],
        "g",
        [],
        [
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [3]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result = evaluate(model.SerializeToString())
    np.testing.assert_array_equal(result["sum"], f32([2, 4, 6]))
    np.testing.assert_array_equal(result["shape"], [3])


def test_the_optimised_model_shows_what_was_fused() -> None:
    fused = ir.from_bytes(runtime.optimized(conv_relu(), optimization="extended"))
    assert [node.op for node in fused.graph.nodes] == ["FusedConv"]


def test_the_machine_is_named() -> None:
    machine = runtime.machine(threads=3)
    assert set(machine) == {"cpu", "isa", "threads", "onnxruntime"}
    assert machine["threads"] == 3 and machine["cpu"] and machine["isa"]


@pytest.mark.parametrize(
    ("ports", "classes"),
    [
        ([("y", "f4", (1, 7))], 7),
        ([("y", "f4", ("N", 7, 1, 1))], 7),
        ([("y", "f4", (1, 7)), ("boxes", "f4", (1, 7, 4))], 7),
        ([("y", "f4", (1, 7)), ("z", "f4", (1, 3))], None),
        ([("y", "f4", (1, "K"))], None),
        ([("y", "i8", (1, 7))], None),
        ([("y", "f4", (1, 1))], None),
        ([("y", "f4", None), ("z", None, (1, 3))], None),
    ],
)
def test_declared_classes(ports: list[tuple[str, str | None, Any]], classes: int | None) -> None:
    made = [Port(name, None if dtype is None else np.dtype(dtype), shape) for name, dtype, shape in ports]
    assert runtime.declared_classes(made) == classes
