"""The warning about pixels where normalised images seem to be meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import graphopt
from graphopt import data, ir

HEAD = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3,8,8] x) => (float[N,2,8,8] y)'
WEIGHTS = "<float[2,3,1,1] w = {1, 2, 3, 4, 5, 6}, float[1] k = {255}>"
PLAIN = f"{HEAD} {WEIGHTS} {{ y = Conv (x, w) }}"
SCALING = f"{HEAD} {WEIGHTS} {{ t = Identity (x)  s = Div (t, k)  y = Conv (s, w) }}"


def pixels(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "values", "warned"),
    [
        (PLAIN, pixels(), True),
        (PLAIN, pixels() / 255, False),
        (PLAIN, pixels() - 127, False),
        (SCALING, pixels(), False),
    ],
    ids=["pixels", "normalised", "centred", "the model scales"],
)
def test_pixels_are_warned_of_where_the_model_does_not_scale(
    text: str, values: np.ndarray, warned: bool
) -> None:
    model = ir.from_bytes(onnx.parser.parse_model(text).SerializeToString())
    samples = data.from_arrays({"x": values}, model.signature.inputs)
    assert bool(data.pixel_warnings(model, samples)) is warned


def test_a_run_and_an_evaluation_say_so(tmp_path: Path) -> None:
    path, arrays = tmp_path / "m.onnx", tmp_path / "data.npz"
    path.write_bytes(onnx.parser.parse_model(PLAIN).SerializeToString())
    np.savez(arrays, x=pixels())
    result = graphopt.optimize(path, "clean", calibration=str(arrays), latency=False)
    assert any("as pixels have them" in text for text in result.report.warnings)
    looked = graphopt.inspect(path, data=str(arrays))
    assert any("as pixels have them" in text for text in looked.warnings)
