"""The corpus itself is sound: models are valid, deterministic, and run to finite outputs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from . import NUMERIC, Case, case, graphs, random_cnn, random_feeds, unmet

Outputs = list[np.ndarray]


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def is_finite(outputs: Outputs) -> bool:
    return all(np.isfinite(y.astype(np.float64)).all() for y in outputs if y.dtype.kind == "f")


def is_same(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


@pytest.mark.parametrize("model_case", NUMERIC, ids=str)
def test_the_checker_agrees(model_case: Case) -> None:
    model = model_case.build()
    if model_case.valid:
        onnx.checker.check_model(model, full_check=True)
    else:
        with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
            onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("model_case", [known for known in NUMERIC if known.runs], ids=str)
def test_it_runs_as_declared(model_case: Case) -> None:
    runner = session(model_case.build())
    feeds = model_case.feeds(np.random.default_rng(0))
    first, second = runner.run(None, feeds), runner.run(None, feeds)
    assert is_finite(first) == model_case.finite
    same = all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(first, second, strict=True)
    )
    assert same != model_case.random


@pytest.mark.parametrize("model_case", NUMERIC, ids=str)
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
    names = [known.name for known in NUMERIC]
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
    assert is_finite(session(model).run(None, random_feeds(model, np.random.default_rng(seed))))
    assert model.SerializeToString() == random_cnn(seed).SerializeToString()
