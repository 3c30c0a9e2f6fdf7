"""Where a run writes: checked before the work starts, and drafted beside before it appears."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphopt.errors import OutputError

CHUNK = 1 << 20


def default_output(model: Path) -> Path:
    """``net.opt.onnx`` beside ``net.onnx``."""
    return model.with_name(f"{model.stem}.opt.onnx")


def check_output(path: Path, model: Path | None, *, force: bool) -> None:
    """Raise OutputError when ``path`` cannot become the output: before any work is done for it."""
    if path.is_dir():
        raise OutputError(f"the output {path} is a folder", hint="name a file in it")
    if model is not None and path.exists() and path.samefile(model):
        raise OutputError(
            f"the output {path} is the input itself", hint="the input is never changed; name another"
        )
    if path.exists() and not force:
        raise OutputError(f"the output {path} exists", hint="--force overwrites it")
    check_folder(path)


def check_folder(path: Path) -> None:
    """Raise OutputError when no file can be made beside ``path``."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"the folder {folder} does not exist", hint="make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"the folder {folder} cannot be written to", hint="name an output elsewhere with -o"
        )


@contextmanager
def draft_folder(output: Path | None) -> Iterator[Path]:
    """A temporary folder on the output's disk; gone afterwards, whatever happens."""
    try:
        folder = tempfile.TemporaryDirectory(
            prefix=".graphopt-", dir=None if output is None else output.absolute().parent
        )
    except OSError as error:
        raise OutputError(f"no draft can be written beside {output}: {error.strerror or error}") from error
    with folder as name:
        yield Path(name)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
