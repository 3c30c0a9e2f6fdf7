"""What goes beside a file: scales for ncnn, calibration arrays for LiteRT; never over somebody's files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import graphopt
from graphopt import ir, targets
from graphopt.backends.workers.ncnn_int8 import read_scales
from graphopt.errors import OutputError
from graphopt.pipeline.deploy import commands
from tests.passes.quant.small import PLAIN, residual_file

QUANT = "quant:" + ":".join(f"{key}={str(value).lower()}" for key, value in PLAIN.items())


def optimized(folder: Path, target: str, **options: object) -> Path:
    output = folder / "small.onnx"
    data = np.random.default_rng(0).standard_normal((6, 3, 12, 12)).astype(np.float32)
    graphopt.optimize(
        residual_file(folder),
        QUANT,
        output=output,
        target=target,
        calibration={"x": data},
        latency=False,
        **options,  # type: ignore[arg-type]
    )
    return output


def test_ncnn_gets_a_float_file_and_the_scales(tmp_path: Path) -> None:
    output = optimized(tmp_path, "ncnn")
    model = ir.load(output)
    assert not list(model.graph.find("QuantizeLinear", "DequantizeLinear"))
    weights = {n.inputs[1].constant.tobytes() for n in model.graph.find("Conv")}
    weights |= {n.inputs[1].constant.T.tobytes() for n in model.graph.find("Gemm")}
    scales = read_scales(tmp_path / "small.ncnn.npz")
    assert scales and all(layer.floats in weights for layer in scales)
    lines = list(commands(targets.load("ncnn"), output, {"x": (1, 3, 12, 12)}))
    assert lines[0] == f"pnnx {tmp_path}/small.onnx inputshape=[1,3,12,12] fp16=0"


def test_litert_gets_the_samples_with_channels_last(tmp_path: Path) -> None:
    output = optimized(tmp_path, "litert")
    folder = tmp_path / "small.litert"
    (entry,) = json.loads((folder / "calibration.json").read_text())
    assert entry["input"] == "x" and entry["mean"] == "[[[[0.0,0.0,0.0]]]]"
    assert np.load(folder / entry["file"]).shape == (6, 12, 12, 3)
    (line,) = commands(targets.load("litert"), output, {"x": (1, 3, 12, 12)})
    assert f"-cind x {folder}/input_0.npy [[[[0.0,0.0,0.0]]]] [[[[1.0,1.0,1.0]]]]" in line


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "small.ncnn.npz").write_text("mine")
    with pytest.raises(OutputError, match="which goes beside the output"):
        optimized(tmp_path, "ncnn")
    assert not (tmp_path / "small.onnx").exists()
    optimized(tmp_path, "ncnn", force=True)
    assert read_scales(tmp_path / "small.ncnn.npz")


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "small.litert").mkdir()
    (tmp_path / "small.litert" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="which goes beside the output"):
        optimized(tmp_path, "litert", force=True)
    assert (tmp_path / "small.litert" / "thesis.txt").exists()


def test_a_dry_run_leaves_nothing(tmp_path: Path) -> None:
    optimized(tmp_path, "ncnn", dry_run=True)
    assert not list(tmp_path.glob("small*"))
