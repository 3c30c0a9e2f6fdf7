"""The corpus itself is sound: models are valid, deterministic, and run to finite outputs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from . import NUMERIC, Case, unmet

Outputs = list[np.ndarray]


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def is_finite(outputs: Outputs) -> bool:
    return all(np.isfinite(y.astype(np.float64)).all() for y in outputs if y.dtype.kind == "f")


@pytest.mark.parametrize("case", NUMERIC, ids=str)
def test_the_checker_agrees(case: Case) -> None:
    model = case.build()
    if case.valid:
        onnx.checker.check_model(model, full_check=True)
    else:
        with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
            onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("case", [case for case in NUMERIC if case.runs], ids=str)
def test_it_runs_as_declared(case: Case) -> None:
    runner = session(case.build())
    feeds = case.feeds(np.random.default_rng(0))
    first, second = runner.run(None, feeds), runner.run(None, feeds)
    assert is_finite(first) == case.finite
    same = all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(first, second, strict=True)
    )
    assert same != case.random


@pytest.mark.parametrize("case", NUMERIC, ids=str)
def test_it_is_built_the_same_each_time(case: Case) -> None:
    assert case.build().SerializeToString() == case.build().SerializeToString()


def test_names_are_unique() -> None:
    names = [case.name for case in NUMERIC]
    assert len(names) == len(set(names))


def test_an_unmet_expectation_is_seen() -> None:
    folding = next(case for case in NUMERIC if case.name == "conv_bn")
    assert unmet(folding, folding.build()) == ["1 BatchNormalization instead of 0"]
    staying = next(case for case in NUMERIC if case.name == "bn_training_mode_opset15")
    assert not unmet(staying, staying.build(), ["it runs in training mode"])
    assert unmet(staying, staying.build(), ["too tired"]) == ["no reason like 'training'"]
    assert unmet(staying, onnx.ModelProto(), ["in training"]) == [
        "0 Conv instead of 1",
        "0 BatchNormalization instead of 1",
    ]
