"""Convert models by onnx2tf for LiteRT, and run them there.

onnx2tf turns inputs of four dims from NCHW to NHWC; outputs come back as LiteRT has them.
With calibration arrays among the companions the model of full integers
(float inputs and outputs) is made and run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from worker import Arrays, Job, layers, serve

LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")

# What it checks models of three channels with, and downloads unless it lies in the folder that it runs in.
IMAGES = "calibration_image_sample_data_20x128x128x3_float32.npy"


class Model:
    """An interpreter on the converted file."""

    def __init__(self, job: Job) -> None:
        from ai_edge_litert.interpreter import Interpreter

        made = job.folder / "tflite"
        command = [sys.executable, "-m", "onnx2tf", "-i", job.path, "-o", str(made), "-n", "-coion"]
        arrays = job.companions.get("litert-calibration")
        kind = "float32"
        if arrays is not None:
            command += _calibration(Path(arrays))
            kind = "integer_quant"
        images = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
        np.save(job.folder / IMAGES, images)
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=job.folder)
        files = sorted(made.glob(f"*_{kind}.tflite")) if made.is_dir() else []
        files = [file for file in files if "_full_" not in file.name]  # those take integers
        if done.returncode or not files:
            lines = (done.stderr + done.stdout).strip().splitlines() or ["no file was written"]
            raise RuntimeError(
                f"onnx2tf: {next((t for t in reversed(lines) if 'rror' in t), lines[-1])}"[:400]
            )
        self._interpreter = Interpreter(model_path=str(files[0]), num_threads=job.threads)
        self._interpreter.allocate_tensors()
        self._sources = self._interpreter.get_input_details()
        self._results = self._interpreter.get_output_details()
        self._inputs, self._names = list(job.feeds), job.outputs
        self._shapes: dict[str, Any] = getattr(job, "shapes", {})

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        for index, detail in enumerate(self._sources):
            value = _entered(feeds, detail, index, self._inputs)
            self._interpreter.set_tensor(detail["index"], value)
        self._interpreter.invoke()
        made = [self._interpreter.get_tensor(detail["index"]) for detail in self._results]
        return {self._name(i): value for i, value in enumerate(made)}

    def kernels(self) -> dict[str, Any]:
        """Operators with the type of what they write."""
        types = {d["index"]: np.dtype(d["dtype"]).name for d in self._interpreter.get_tensor_details()}
        counts = Counter(
            f"{op['op_name']} {types.get(op['outputs'][0], '')}"
            for op in self._interpreter._get_ops_details()
        )
        return layers(counts, LAYERS, (" int8", " uint8"))

    def _name(self, index: int) -> str:
        """The name of an output: its own where the converter kept it, else by position."""
        own = str(self._results[index]["name"]).partition(":")[0]
        matching = [name for name in self._names if name == own or own.endswith("/" + name)]
        return matching[0] if matching else self._names[index]


def _entered(feeds: Arrays, detail: Any, index: int, names: list[str]) -> np.ndarray:
    own = str(detail["name"]).partition(":")[0]
    name = next((n for n in names if own in (n, f"serving_default_{n}")), names[index])
    value = feeds[name]
    if value.ndim == 4 and tuple(detail["shape"]) != value.shape:
        value = value.transpose(0, 2, 3, 1)
    elif value.ndim == 3 and tuple(detail["shape"]) != value.shape:
        value = value.transpose(0, 2, 1)
    return np.ascontiguousarray(value)


def _calibration(folder: Path) -> list[str]:
    entries = json.loads((folder / "calibration.json").read_text("utf-8"))
    command = ["-oiqt"]
    for entry in entries:
        command += ["-cind", entry["input"], str(folder / entry["file"]), entry["mean"], entry["std"]]
    return command


if __name__ == "__main__":
    serve(version("ai-edge-litert"), Model)
