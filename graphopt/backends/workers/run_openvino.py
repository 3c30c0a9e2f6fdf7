"""Run models in OpenVINO on the CPU."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import openvino
from worker import Arrays, Job, layers, serve

LAYERS = ("Convolution", "FullyConnected", "Deconvolution", "MatMul", "GroupConvolution")


class Model:
    """A model compiled for latency in float32."""

    def __init__(self, job: Job) -> None:
        options = {
            "INFERENCE_NUM_THREADS": job.threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        core = openvino.Core()
        self._compiled = core.compile_model(core.read_model(job.path), "CPU", options)
        self._names = job.outputs

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        result = self._compiled(dict(feeds))
        return {name: np.asarray(result[name]) for name in self._names}

    def kernels(self) -> dict[str, Any]:
        """Kinds of kernels with their precision."""
        counts: Counter[str] = Counter()
        for node in self._compiled.get_runtime_model().get_ops():
            info = node.get_rt_info()
            kind, precision = (
                str(getattr(info[key], "value", info[key])) for key in ("layerType", "runtimePrecision")
            )
            counts[f"{kind} {precision}"] += 1
        return layers(counts, LAYERS, (" u8", " i8"))


if __name__ == "__main__":
    serve(openvino.__version__.partition("-")[0], Model)
