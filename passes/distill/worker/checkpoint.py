"""A checkpoint: everything a run needs to go on as if it had not been interrupted, replaced atomically."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

POINTER = Path("checkpoint.json")


@dataclass
class Progress:
    """Where a run stands: whole epochs and batches of the present one that are done, and the best so far."""

    epoch: int = 0
    batch: int = 0
    updates: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    first_loss: float = float("inf")
    history: list[dict[str, float]] = field(default_factory=list)


class Checkpoint:
    """Saves and loads; one of another job (by its fingerprint) is ignored."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._number = 0

    def load(self, engine: Any) -> Progress | None:
        """Bring the engine to the checkpoint, if there is one, and say where it stands."""
        if not POINTER.exists():
            return None
        state = json.loads(POINTER.read_text(encoding="utf-8"))
        if state["fingerprint"] != self._fingerprint:
            return None
        self._number = int(state["number"])
        folder = Path(f"checkpoint-{self._number}")
        engine.load(folder)
        shutil.copyfile(str(folder / "best.npz"), "best.npz")
        return Progress(**state["progress"])

    def save(self, engine: Any, at: Progress) -> None:
        """Write the next checkpoint, point to it, then remove the one before."""
        number = self._number + 1
        folder = Path(f"checkpoint-{number}")
        shutil.rmtree(str(folder), ignore_errors=True)
        folder.mkdir()
        engine.save(folder)
        shutil.copyfile("best.npz", str(folder / "best.npz"))
        state = {"fingerprint": self._fingerprint, "number": number, "progress": asdict(at)}
        draft = POINTER.with_suffix(".draft")
        draft.write_text(json.dumps(state), encoding="utf-8")
        draft.replace(POINTER)
        shutil.rmtree(f"checkpoint-{self._number}", ignore_errors=True)
        self._number = number


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an .npz that is complete or not there."""
    draft = path.with_name(f"draft-{path.name}")
    np.savez(str(draft), **arrays)
    draft.replace(path)
