"""Run models in ONNX's own reference evaluator: slow, and by the letter of the standard."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from worker import Arrays, Job, serve


class Model:
    """A model as the standard says it runs."""

    def __init__(self, job: Job) -> None:
        self._session = ReferenceEvaluator(job.path)
        self._names = job.outputs

    def run(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name."""
        made = self._session.run(self._names, dict(feeds))
        return {name: np.asarray(value) for name, value in zip(self._names, made, strict=True)}


if __name__ == "__main__":
    serve(onnx.__version__, Model)
