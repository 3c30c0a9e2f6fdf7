"""Convert models for MNN and run them there.

The converter is the module ``_tools``.  ``MNN.tools`` must not be imported: it installs a package by itself
and reports what it converts to a server.
"""

from __future__ import annotations

import os
from pathlib import Path

import _tools
import MNN
import numpy as np
from worker import Arrays, Job, serve


class Model:
    """A session on the converted file."""

    def __init__(self, job: Job) -> None:
        converted = job.folder / "model.mnn"
        command = ["mnnconvert", "-f", "ONNX", "--modelFile", job.path, "--MNNModel", str(converted)]
        command += ["--bizCode", "graphopt"]
        table = job.companions.get("mnn-compression")
        if table is not None:
            command += ["--compressionParamsFile", table]
        with _quiet():
            _tools.mnnconvert(command)
        if not converted.exists():
            raise RuntimeError("MNN's converter wrote no file")
        self.size = converted.stat().st_size
        self._names = job.outputs
        self._inputs = list(job.feeds)
        config = {"precision": "high", "numThread": job.threads, "backend": 0}
        runtime = MNN.nn.create_runtime_manager((config,))
        self._module = MNN.nn.load_module_from_file(
            str(converted), self._inputs, self._names, runtime_manager=runtime
        )
        self._made: dict[int, object] = {}

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        entered = [
            MNN.expr.const(feeds[name], list(feeds[name].shape), MNN.expr.NCHW, _kind(feeds[name]))
            for name in self._inputs
        ]
        made = self._module.onForward(entered)
        return {name: _plain(value) for name, value in zip(self._names, made, strict=True)}


def _kind(value: np.ndarray) -> object:
    return {"float32": MNN.expr.float, "int32": MNN.expr.int, "uint8": MNN.expr.uint8}[value.dtype.name]


def _plain(value: object) -> np.ndarray:
    if value.data_format == MNN.expr.NC4HW4:  # type: ignore[attr-defined]
        value = MNN.expr.convert(value, MNN.expr.NCHW)
    return np.array(value.read())  # type: ignore[attr-defined]


class _quiet:  # noqa: N801
    """What a converter prints in C++ goes nowhere."""

    def __enter__(self) -> None:
        self._kept = os.dup(1)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._kept, 1)
        os.close(self._kept)


if __name__ == "__main__":
    serve(str(MNN.version()), Model)
