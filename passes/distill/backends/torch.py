"""PyTorch, in the environment that graphopt runs in, or in that of the interpreter ``GRAPHOPT_TORCH``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from graphopt.errors import UsageError

from .worker import WorkerBackend

PLACE = "GRAPHOPT_TORCH"


class TorchBackend(WorkerBackend):
    """Trains with PyTorch, on a GPU when there is one."""

    engine = "torch"

    @property
    def python(self) -> Path:
        """The interpreter that has PyTorch."""
        return Path(os.environ.get(PLACE) or sys.executable)

    def ready(self) -> None:
        """Raise UsageError when PyTorch is missing."""
        if not os.environ.get(PLACE) and importlib.util.find_spec("torch") is None:
            raise UsageError("torch is not installed", hint='pip install "graphopt[torch]"')
