"""Run models in onnxruntime on the CPU."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
from worker import Arrays, Job, layers, serve

LAYERS = (
    "Conv",
    "FusedConv",
    "Gemm",
    "FusedGemm",
    "MatMul",
    "FusedMatMul",
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
)
INTEGER = ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")


class Model:
    """A session at the highest level of optimisation."""

    def __init__(self, job: Job) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._optimized = job.folder / "optimized.onnx"
        options.optimized_model_filepath = str(self._optimized)
        self._session = onnxruntime.InferenceSession(job.path, options, providers=["CPUExecutionProvider"])
        self._names = job.outputs

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        return dict(zip(self._names, self._session.run(self._names, dict(feeds)), strict=True))

    def kernels(self) -> dict[str, Any]:
        """Operators of the optimised graph."""
        graph = onnx.load(str(self._optimized), load_external_data=False).graph
        return layers(Counter(node.op_type for node in graph.node), LAYERS, INTEGER)


if __name__ == "__main__":
    serve(onnxruntime.__version__, Model)
