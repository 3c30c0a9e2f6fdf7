"""Other quantizers on the same float file and the same calibration samples."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization as ort_quantization

from graphopt import data, ir
from tools.bench.quant.cases import stacked

NNCF_SCRIPT = """
import sys, numpy as np, onnx, nncf
stored = np.load(sys.argv[3])
names = list(stored)
items = [{name: stored[name][i:i + 1] for name in names} for i in range(len(stored[names[0]]))]
model = nncf.quantize(onnx.load(sys.argv[1]), nncf.Dataset(items), subset_size=len(items))
onnx.save(model, sys.argv[2])
"""


class Reader(ort_quantization.CalibrationDataReader):
    """Feeds samples to onnxruntime's calibration."""

    def __init__(self, samples: list[data.Sample]) -> None:
        self._left = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        sample = next(self._left, None)
        return None if sample is None else dict(sample.feeds)


def at_opset_13(source: Path) -> Path:
    """The float network at an opset that has a scale for each channel; onnxruntime does not see to it."""
    if onnx.load(source, load_external_data=False).opset_import[0].version >= 13:
        return source
    path = source.with_suffix(".opset13.onnx")
    if not path.exists():
        model = ir.load(source)
        ir.convert_opset(model, 13)
        model.save(path)
    return path


def ort_default(source: Path, output: Path, samples: list[data.Sample]) -> None:
    """``quantize_static`` as it comes: int8 activations and weights, one scale for each tensor."""
    ort_quantization.quantize_static(source, output, Reader(samples))


def ort_best(source: Path, output: Path, samples: list[data.Sample], method: str = "MinMax") -> None:
    """uint8 activations and int8 weights with a scale for each channel: its best setting on x86."""
    ort_quantization.quantize_static(
        at_opset_13(source),
        output,
        Reader(samples),
        per_channel=True,
        activation_type=ort_quantization.QuantType.QUInt8,
        weight_type=ort_quantization.QuantType.QInt8,
        calibrate_method=getattr(ort_quantization.CalibrationMethod, method),
    )


def nncf(python: Path) -> Callable[[Path, Path, list[data.Sample]], None]:
    """NNCF's ONNX backend with its defaults, in an environment of its own."""

    def run(source: Path, output: Path, samples: list[data.Sample]) -> None:
        stored = output.with_suffix(".npz")
        np.savez(stored, **stacked(samples))  # type: ignore[arg-type]
        command = [str(python), "-c", NNCF_SCRIPT, str(at_opset_13(source)), str(output), str(stored)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        stored.unlink()
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])

    return run
