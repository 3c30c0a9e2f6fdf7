"""Give onnxruntime a model in a form it can open: bytes, or a file that lives as long as it is needed."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from graphopt.ir import Model

ModelLike: TypeAlias = "Model | str | Path | bytes"

# memory: weight bytes up to which a model is copied to ask it for shapes, activations or the time of nodes
LARGEST_COPY = 2**30
# fixed: protobuf refuses messages of 2 GiB; the weightless part needs room as well
INLINE_LIMIT = 1_500_000_000


class Source:
    """A serialised model: `content` is its bytes or the path of its file, `label` its name in messages.

    A temporary file is removed when the source is released.
    """

    def __init__(self, model: ModelLike, outputs: Sequence[str] = ()) -> None:
        if outputs and isinstance(model, str | Path | bytes):
            model = _parsed(model)
        self.label = label(model)
        self.content: bytes | str
        if isinstance(model, bytes):
            self.content = model
        elif isinstance(model, str | Path):
            self.content = str(model)
        else:
            self.content = self._serialise(model, outputs)

    def _serialise(self, model: Model, outputs: Sequence[str]) -> bytes | str:
        present = {port.name for port in model.signature.outputs}
        extra = [name for name in outputs if name not in present]
        if model.weight_bytes < INLINE_LIMIT:
            return model.to_bytes(extra or None)
        folder = tempfile.mkdtemp(prefix="graphopt-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder, "model.onnx")
        model.write(path, outputs=extra or None)
        return str(path)


def fingerprint(model: ModelLike) -> str:
    """SHA-256 of the complete serialised model, weights included, in hexadecimal."""
    source = Source(_parsed(model) if isinstance(model, str | Path) else model)
    digest = hashlib.sha256()
    if isinstance(source.content, bytes):
        digest.update(source.content)
        return digest.hexdigest()
    for path in sorted(Path(source.content).parent.iterdir()):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def label(model: ModelLike) -> str:
    """How messages call this model: its file when it has one."""
    if isinstance(model, bytes):
        return "the model"
    if isinstance(model, str | Path):
        return str(model)
    return str(model.path) if model.path is not None else "the model"


def _parsed(model: str | Path | bytes) -> Model:
    from graphopt import ir

    return ir.from_bytes(model) if isinstance(model, bytes) else ir.load(Path(model))
