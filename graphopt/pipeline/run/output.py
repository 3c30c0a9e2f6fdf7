"""Where a run writes: checked before the work starts, and drafted beside before it appears."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.errors import OutputError, UsageError

if TYPE_CHECKING:
    from graphopt.ir import Model


def default_output(model: Path) -> Path:
    """``net.opt.onnx`` beside ``net.onnx``."""
    return model.with_name(f"{model.stem}.opt.onnx")


def check_output(path: Path, model: Path | None, *, force: bool) -> None:
    """Raise OutputError when ``path`` cannot become the output: before any work is done for it."""
    _check_name(path)
    if path.is_dir():
        raise OutputError(f"the output {path} is a folder", hint="name a file in it")
    if model is not None and path.exists() and path.samefile(model):
        raise OutputError(
            f"the output {path} is the input itself", hint="the input is never changed; name another"
        )
    if path.exists() and not path.is_file():
        raise OutputError(f"the output {path} is not a regular file", hint="name a file")
    if path.exists() and not force:
        raise OutputError(f"the output {path} exists", hint="--force overwrites it")
    check_folder(path)


def check_text(
    flag: str, path: Path, others: Mapping[str, Path | None], suffixes: Sequence[str] = (".json",)
) -> None:
    """Raise when the file that ``flag`` names cannot be written, or one of ``others`` names it too."""
    _check_name(path)
    if path.suffix not in suffixes:
        kinds = " or ".join(suffixes)
        raise UsageError(f"{flag} {path}: it is written as {kinds}", hint=f"name it {path}{suffixes[0]}")
    if path.is_dir():
        raise OutputError(f"{flag} {path} is a folder", hint="name a file in it")
    for other, used in others.items():
        if used is not None and used.absolute() == path.absolute():
            raise UsageError(f"{flag} and {other} name the same file, {path}", hint="name two files")
    check_folder(path)


def check_cache(folder: Path) -> None:
    """Make the folder of the cache; OutputError when nothing can be kept there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the cache folder {folder} cannot be made: {error.strerror or error}",
            hint="name a folder with --cache, or leave it out",
        ) from error
    check_folder(folder / "entry")


def _check_name(path: Path) -> None:
    """Raise OutputError for a name that the file system refuses, such as one that is too long."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def check_folder(path: Path) -> None:
    """Raise OutputError when no file can be made beside ``path``."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"the folder {folder} does not exist", hint="make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"the folder {folder} cannot be written to", hint="name an output elsewhere with -o"
        )


def write_draft(model: Model, path: Path) -> list[Path]:
    """Write ``model`` to ``path``; OutputError when the disk is full or the folder gone."""
    try:
        return model.write(path)
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror or error}") from error


def publish(draft: Sequence[Path], output: Path, *, force: bool, used: Iterable[Path] = ()) -> list[Path]:
    """Move a draft, the model and then its data files, to ``output``: the model last and in one step.

    Data files of an earlier model at ``output`` are removed once the new one stands, except those ``used``
    by the input. Raises OutputError; nothing of the draft is left at ``output`` then.
    """
    if output.exists() and not force:  # it was not there when the run began
        raise OutputError(f"the output {output} exists", hint="--force overwrites it")
    before = _data_files(output)
    data = [output.with_name(file.name) for file in draft[1:]]
    try:
        for source, target in zip(draft[1:], data, strict=True):
            source.replace(target)
        draft[0].replace(output)
    except BaseException as error:
        if draft[0].exists():  # else the model stands already, and an interrupt came a moment too late
            _remove({*data} - before)
        if isinstance(error, OSError):
            raise OutputError(f"{output} cannot be written: {error.strerror or error}") from error
        raise
    kept = {file.resolve() for file in used}
    _remove({old for old in before - {*data} if old.resolve() not in kept})
    return [output, *data]


def _data_files(path: Path) -> set[Path]:
    """The data files that graphopt wrote for a model at ``path``."""
    pattern = re.compile(re.escape(path.name) + r"\.[0-9a-f]{16}\.data")
    return {file for file in path.parent.iterdir() if pattern.fullmatch(file.name)}


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


@contextmanager
def draft_folder(output: Path | None) -> Iterator[Path]:
    """A temporary folder on the output's disk; gone afterwards, whatever happens."""
    try:
        folder = tempfile.TemporaryDirectory(
            prefix=".graphopt-", dir=None if output is None else output.absolute().parent
        )
    except OSError as error:
        raise OutputError(
            f"no draft can be written beside {output}: {error.strerror or error}",
            hint="name an output elsewhere with -o",
        ) from error
    with folder as name:
        yield Path(name)
