"""Compare what two models answer, on onnxruntime at each of its optimisation levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from tools.bench.support.feeds import feeds

LEVELS = ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")
Answers = list[list[np.ndarray]]  # one list of outputs a feed


class Reference:
    """The answers of the original model, without runtime optimisation, to a set of seeded feeds."""

    def __init__(self, path: Path, seed: int = 0) -> None:
        """Run the original once; raises onnxruntime's errors when it cannot run."""
        original = session(path, LEVELS[0])
        self.feeds = feeds(original, seed)
        self.outputs = [port.name for port in original.get_outputs()]
        self.answers = self._ask(original)

    def differences(self, path: Path) -> dict[str, float]:
        """Largest relative difference of any output to the original, for each level.

        For one output it is max|difference| / max|reference|, both over all feeds; infinite where a value is
        not finite or a shape differs.
        """
        return {level: self._difference(self._ask(session(path, level))) for level in LEVELS}

    def _ask(self, asked: onnxruntime.InferenceSession) -> Answers:
        return [asked.run(self.outputs, feed) for feed in self.feeds]

    def _difference(self, answers: Answers) -> float:
        outputs = range(len(self.outputs))
        return max(relative([a[i] for a in self.answers], [b[i] for b in answers]) for i in outputs)


def relative(expected: list[np.ndarray], found: list[np.ndarray]) -> float:
    """max|found - expected| / max|expected| over a list of arrays; 0 when both are zero everywhere."""
    if any(a.shape != b.shape or not np.isfinite(b).all() for a, b in zip(expected, found, strict=True)):
        return float("inf")
    gap = max(
        float(np.max(np.abs(_wide(b) - _wide(a)), initial=0)) for a, b in zip(expected, found, strict=True)
    )
    size = max(float(np.max(np.abs(_wide(a)), initial=0)) for a in expected)
    return 0.0 if gap == 0 else (gap / size if size else float("inf"))


def session(path: Path, level: str) -> onnxruntime.InferenceSession:
    """An onnxruntime session on one thread at one optimisation level, silent about warnings."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def load_error(path: Path) -> str:
    """Why onnxruntime cannot load the model (the last clause of its message); empty when it can."""
    try:
        session(path, LEVELS[0])
    except (runtime_errors.InvalidGraph, runtime_errors.Fail, runtime_errors.NotImplemented) as error:
        return str(error).splitlines()[0].rpartition("Error ")[2]
    return ""


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64)
