"""Run models in OpenCV's dnn module: by its new engine, or by the classic one for ``engine: classic``."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Any

import cv2
import numpy as np
from worker import Arrays, Job, layers, serve

LAYERS = ("Convolution", "Conv2", "Gemm", "MatMul", "InnerProduct", "Deconvolution")
ENGINE = os.environ.get("GRAPHOPT_OPENCV_ENGINE", "new")


class Model:
    """A model as ``readNetFromONNX`` gives it."""

    def __init__(self, job: Job) -> None:
        cv2.setNumThreads(job.threads)
        engine = cv2.dnn.ENGINE_CLASSIC if ENGINE == "classic" else cv2.dnn.ENGINE_NEW
        self._net = cv2.dnn.readNetFromONNX(job.path, engine)
        self._names = job.outputs

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        for name, value in feeds.items():
            self._net.setInput(value, name)
        made = self._net.forward(self._names)
        return {name: np.array(value) for name, value in zip(self._names, made, strict=True)}

    def kernels(self) -> dict[str, Any]:
        """Kinds of layers; those of the integer kernels end with Int8."""
        if ENGINE == "classic":
            names = self._net.getLayerNames()
            kinds = [self._net.getLayer(self._net.getLayerId(name)).type for name in names]
        else:
            kinds = re.findall(r"^ +(\w+) \{$", self._net.dump(), re.MULTILINE)
        return layers(Counter(kinds), LAYERS, ("Int8",))


if __name__ == "__main__":
    serve(cv2.__version__, Model)
