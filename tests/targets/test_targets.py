"""Targets are data: every file loads, says what it must, and unknown names point at the nearest."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from onnx import defs

from graphopt import targets
from graphopt.errors import UsageError


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
    assert set(targets.names()) >= {
        *("generic", "litert", "mnn", "ncnn", "opencv", "openvino", "ort-cpu", "ort-web", "qnn", "tensorrt")
    }


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


GOOD = """base = "generic"
summary = "a toy"
form = "qdq"

[allowed]
activations = ["uint8"]

[operators]
integer = ["Conv"]
"""


def broken(folder: Path, *replaced: str) -> UsageError:
    path = folder / "toy.toml"
    path.write_text(GOOD.replace(*replaced) if replaced else GOOD)
    with pytest.raises(UsageError) as caught:
        targets.load(str(path))
    return caught.value


def test_a_file_may_say_only_what_differs_from_its_base(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(GOOD)
    toy, generic = targets.load(str(path)), targets.load("generic")
    assert (toy.name, toy.summary, toy.operators.integer) == ("toy", "a toy", ("Conv",))
    assert (
        toy.allowed.weights == generic.allowed.weights
        and toy.operators.absorbed == generic.operators.absorbed
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('form = "qdq"', 'fomr = "qdq"', "in line 3: a target has no fomr; did you mean 'form'?"),
        (
            'activations = ["uint8"]',
            'activation = ["uint8"]',
            "in line 6: allowed has no activation; did you mean",
        ),
        ('form = "qdq"', 'form = "int8"', "in line 3: form is one of qdq, float+table, float, not 'int8'"),
        ('["uint8"]', '["int8"]', "activation is uint8, which allowed activations (int8) leaves out"),
        (
            'form = "qdq"',
            'stays_float = ["Conv"]',
            "in line 3: Conv is among operators integer, and stays_float",
        ),
        (
            'form = "qdq"',
            'avoid = ["Conv"]',
            "in line 3: Conv is among operators integer, and avoid leaves it out",
        ),
        ('form = "qdq"', "opset_max = 18", "in line 3: opset_max is 18, less than the 19 that it needs"),
        ('form = "qdq"', 'form = "float+table"', "in line 3: form float+table needs companions"),
        ('form = "qdq"', 'companions = ["a-table"]', "in line 3: companions are ncnn-scales"),
        (
            'form = "qdq"',
            'backends = ["opnvino"]',
            "in line 3: there is no backend 'opnvino'; did you mean 'openvino'",
        ),
        ('base = "generic"', 'base = "toy"', "in line 1: base is the name of another target, not 'toy'"),
        ('base = "generic"', 'base = "genric"', "no target 'genric'; did you mean 'generic'"),
        ('base = "generic"', "", "lacks"),
        ('form = "qdq"', 'half = "no"', "in line 3: half is true or false, not 'no'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    error = broken(tmp_path, old, new)
    assert says in str(error) and error.hint


def test_onnxruntime_is_another_name_of_its_cpu_target() -> None:
    assert targets.load("onnxruntime") == targets.load("ort-cpu")
