"""The corpus itself is sound: models are valid, deterministic, and run to finite outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from tests.corpus import (
    NUMERIC,
    ROUND_TRIP,
    Case,
    case,
    graphs,
    inline_model,
    random_cnn,
    random_feeds,
    unmet,
    write_external,
    write_large_external,
)

Outputs = list[np.ndarray]
CASES = (*NUMERIC, *ROUND_TRIP)
INVALID = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)


def session(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"])


def run(runner: onnxruntime.InferenceSession, feeds: dict[str, np.ndarray]) -> Outputs:
    """Run, and lay out sequences as the tensors in them."""
    outputs: Outputs = []
    for value in runner.run(None, feeds):
        outputs.extend(value if isinstance(value, list) else [value])
    return outputs


def is_finite(outputs: Outputs) -> bool:
    return all(np.isfinite(y.astype(np.float64)).all() for y in outputs if y.dtype.kind == "f")


def is_same(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


@pytest.mark.parametrize("model_case", CASES, ids=str)
def test_the_checker_agrees(model_case: Case) -> None:
    model = model_case.build()
    if model_case.valid:
        # Full: with shape inference, which knows too little of some constructs to round-trip.
        onnx.checker.check_model(model, full_check=model_case in NUMERIC)
    else:
        with pytest.raises(INVALID):
            onnx.checker.check_model(model, full_check=model_case in NUMERIC)


@pytest.mark.parametrize("model_case", [known for known in CASES if known.runs], ids=str)
def test_it_runs_as_declared(model_case: Case) -> None:
    runner = session(model_case.build())
    feeds = model_case.feeds(np.random.default_rng(0))
    first, second = run(runner, feeds), run(runner, feeds)
    assert is_finite(first) == model_case.finite
    same = all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(first, second, strict=True)
    )
    assert same != model_case.random


@pytest.mark.parametrize("model_case", CASES, ids=str)
def test_it_is_built_the_same_each_time(model_case: Case) -> None:
    assert model_case.build().SerializeToString() == model_case.build().SerializeToString()


@pytest.mark.parametrize("model_case", NUMERIC, ids=str)
def test_what_must_stay_is_there(model_case: Case) -> None:
    model = model_case.build()
    names = {node.name for graph in graphs(model.graph) for node in graph.node}
    assert names.issuperset(model_case.expect.get("keeps", ()))
    if model_case.expect.get("fold-bn") == "stays":
        assert not unmet(model_case, model)


def test_names_are_unique() -> None:
    names = [known.name for known in CASES]
    assert len(names) == len(set(names))


def test_an_unmet_expectation_is_seen() -> None:
    folding = case("conv_bn")
    assert unmet(folding, folding.build()) == [
        "1 BatchNormalization instead of 0",
    ]
    staying = case("bn_training_mode_opset15")
    assert not unmet(staying, staying.build(), ["it runs in training mode"])
    assert unmet(staying, staying.build(), ["too tired"]) == ["no reason like 'training'"]
    assert unmet(staying, onnx.ModelProto()) == ["0 Conv instead of 1", "0 BatchNormalization instead of 1"]
    assert unmet(case("hard_swish_middle_is_output"), onnx.ModelProto()) == ["node Clip_seen is gone"]
    doubled = case("duplicate_initializers")
    assert "bytes are more than 100000" in unmet(doubled, doubled.build())[0]


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_are_sound(seed: int) -> None:
    model = random_cnn(seed)
    onnx.checker.check_model(model, full_check=True)
    assert is_finite(run(session(model), random_feeds(model, np.random.default_rng(seed))))
    assert model.SerializeToString() == random_cnn(seed).SerializeToString()


STORED = [known for known in ROUND_TRIP if known.name.startswith("stored_")]


@pytest.mark.parametrize("model_case", [known for known in STORED if known.name != "stored_strings"], ids=str)
def test_raw_and_typed_storage_agree(model_case: Case) -> None:
    tensors = {tensor.name: tensor for tensor in model_case.build().graph.initializer}
    raw, typed = (numpy_helper.to_array(tensors[name]) for name in ("raw", "typed"))
    assert raw.size == 5
    assert raw.tobytes() == typed.tobytes()
    assert tensors["raw"].raw_data == numpy_helper.from_array(typed).raw_data


def test_external_and_inline_weights_agree(tmp_path: Path) -> None:
    path = write_external(tmp_path)
    assert onnx.load(path).ByteSize() > path.stat().st_size
    model = inline_model()
    feeds = random_feeds(model, np.random.default_rng(0))
    inline, external = run(session(model), feeds), run(session(path), feeds)
    assert all(map(np.array_equal, inline, external))


def test_large_weights_take_no_room(tmp_path: Path) -> None:
    path = write_large_external(tmp_path)
    onnx.checker.check_model(path)
    data = path.with_suffix(".bin").stat()
    assert data.st_size > 2 * 2**30
    assert data.st_blocks * 512 < 2**20
    values = np.memmap(path.with_suffix(".bin"), np.float32, mode="r")
    assert values[:: 2**28].tolist() == [1, 2, 3]
    assert values[2**28 - 1 :: 2**28].tolist() == [-1, -2, -3]
