"""Convert models by pnnx for ncnn, and run them there."""

from __future__ import annotations

import subprocess
from collections import Counter
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
from ncnn_int8 import convert_files
from worker import Arrays, Job, layers, serve

LAYERS = ("Convolution", "InnerProduct", "Deconvolution", "Gemm")


class Model:
    """A net on the converted file; inputs and outputs lose the axis of the batch, which ncnn has none for."""

    def __init__(self, job: Job) -> None:
        source = job.folder / "model.onnx"
        source.symlink_to(job.path)
        param, weights = self._convert(source, job.feeds)
        scales = job.companions.get("ncnn-scales")
        if scales is not None:
            param, weights = convert_files(Path(scales), param, weights)
        self._lines = [line.split() for line in param.read_text("utf-8").splitlines()[2:]]
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = job.threads
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(options, f"use_{name}", False)
        if self._net.load_param(str(param)) or self._net.load_model(str(weights)):
            raise RuntimeError("ncnn does not load what pnnx made of the model")
        self._inputs, self._names = list(job.feeds), job.outputs

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        extractor = self._net.create_extractor()
        for index, name in enumerate(self._inputs):
            value = feeds[name]
            extractor.input(
                f"in{index}", ncnn.Mat(np.ascontiguousarray(value[0] if value.ndim > 1 else value))
            )
        outputs = {}
        for index, name in enumerate(self._names):
            failed, made = extractor.extract(f"out{index}")
            if failed:
                raise RuntimeError(f"ncnn computes no output {name}")
            outputs[name] = np.array(made)
        return outputs

    def kernels(self) -> dict[str, Any]:
        """Kinds of layers; those that run on integers are marked by their scales."""
        marked = (
            f"{words[0]}{' int8' if any(w.startswith('8=') for w in words[4:]) else ''}"
            for words in self._lines
        )
        return layers(Counter(marked), LAYERS, (" int8",))

    def _convert(self, source: Path, feeds: Arrays) -> tuple[Path, Path]:
        sizes = ",".join(
            f"[{','.join(map(str, value.shape))}]{_KINDS.get(value.dtype.name, 'f32')}"
            for value in feeds.values()
        )
        command = [str(_converter()), source.name, f"inputshape={sizes}", "fp16=0"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=source.parent)
        made = source.with_suffix(".ncnn.param"), source.with_suffix(".ncnn.bin")
        if done.returncode or not made[0].exists():
            raise RuntimeError(f"pnnx ended with {done.returncode}: {done.stderr.strip()[-200:]}")
        return made


def _converter() -> Path:
    """pnnx's program: its package imports torch, which the program itself does not need."""
    spec = find_spec("pnnx")
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    programs = [place / name for place in places for name in ("pnnx", "pnnx.exe") if (place / name).is_file()]
    if not programs:
        raise RuntimeError("pnnx is not installed in this environment")
    return programs[0]


_KINDS = {"float32": "f32", "float16": "f16", "int32": "i32", "int64": "i64", "uint8": "u8", "int8": "i8"}


if __name__ == "__main__":
    serve(version("ncnn"), Model)
