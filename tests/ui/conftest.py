"""A page of a small model, and samples beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from graphopt.ui.workbench import Workbench

TOKEN = "the-token-of-this-run"


@pytest.fixture
def bench(tiny: Path, tmp_path: Path) -> Iterator[Workbench]:
    """A workbench whose folder holds the model and some samples; ``outside`` lies beside it."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        rng = np.random.default_rng(3)
        np.savez(folder / "samples.npz", x=rng.standard_normal((12, 2, 4, 4)).astype(np.float32))
    shutil.copy(tiny, inside / "net.onnx")
    (inside / "link.npz").symlink_to(outside / "samples.npz")
    made = Workbench(inside / "net.onnx", [], tmp_path / "work")
    yield made
    made.close()
