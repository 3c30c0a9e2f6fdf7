"""onnxruntime-training on the CPU, in the environment that ``graphopt trainer install`` makes."""

from __future__ import annotations

from pathlib import Path

from ..trainer.environment import require, trainer_path
from .worker import WorkerBackend


class OrtBackend(WorkerBackend):
    """Trains with onnxruntime-training."""

    engine = "ort"

    @property
    def python(self) -> Path:
        """The interpreter of the trainer; UsageError when it is not installed."""
        return require(trainer_path())

    def ready(self) -> None:
        """Raise UsageError when the trainer is not installed."""
        require(trainer_path())
