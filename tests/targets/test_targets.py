"""Targets are data: every file loads, says what it must, and unknown names point at the nearest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from onnx import defs

from graphopt import targets
from graphopt.errors import UsageError
from graphopt.targets import target as module


@pytest.mark.parametrize("name", targets.names())
def test_every_target_is_complete_and_sensible(name: str) -> None:
    target = targets.load(name)
    assert target.name == name and target.summary
    assert target.opset_min >= 13  # per-channel QuantizeLinear
    assert target.placement in ("inputs", "both")
    assert target.bias in ("int32", "float32")
    assert target.min_range > 0
    for grid in (target.activation, target.weight):
        assert np.dtype(grid.dtype).kind in "iu"
    assert target.channel_block["default"] > 0
    assert target.weight.axis("Conv") == 0 and target.weight.axis("Relu") is None
    known = {schema.name for schema in defs.get_all_schemas() if schema.domain == ""}
    ops = target.operators
    named = {*ops.integer, *ops.pass_through, *ops.shared_scale, *ops.absorbed, *(ops.structural or ())}
    assert named <= known
    assert not set(ops.integer) & set(ops.pass_through)


def test_the_targets_of_the_command_line_are_there() -> None:
    assert set(targets.names()) >= {"generic", "openvino", "ort-cpu", "qnn", "tensorrt"}


def test_ort_cpu_is_what_runs_fast_on_x86() -> None:
    target = targets.load("ort-cpu")
    assert target.activation == targets.Grid("uint8", symmetric=False)
    assert (target.weight.dtype, target.weight.symmetric) == ("int8", True)
    assert (target.block("avx512_vnni"), target.block("amx_int8")) == (16, 16)
    assert (target.block("avx2"), target.block("neon"), target.block("avx_vnni")) == (8, 8, 8)


def test_tensorrt_allows_no_zero_points() -> None:
    target = targets.load("tensorrt")
    assert target.activation.symmetric and target.activation.dtype == "int8"
    assert target.weight.symmetric and target.weight.dtype == "int8"


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="no target 'ort_cpu'; did you mean 'ort-cpu'") as caught:
        targets.load("ort_cpu")
    assert "tensorrt" in caught.value.hint
    with pytest.raises(UsageError):
        targets.load("../targets/ort-cpu")


def test_a_target_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        targets.load("ort-cpu").bias = "int8"  # type: ignore[misc]
    with pytest.raises(TypeError):
        targets.load("ort-cpu").channel_block["default"] = 1  # type: ignore[index]


def test_a_key_that_means_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no simmetric"):
        module._strict(targets.Grid, {"dtype": "int8", "simmetric": True})
