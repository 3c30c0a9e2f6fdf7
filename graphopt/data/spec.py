"""The syntax that names samples: ``PATH``, ``PATH#NAMES``, ``PATH::64``, ``PATH#NAMES::64:``.

``#`` picks arrays of an ``.npz`` (``data.npz#x_test,y_test``) or a folder inside a folder or an archive
(``cifar.tar#test``).  What follows the last ``::`` is a slice of the samples after one shuffle that depends
only on their names, so ``PATH::64`` and ``PATH::64:`` never overlap and together are all of PATH.
"""

from __future__ import annotations

import hashlib
import os.path
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graphopt.data.remote_path import RemotePath, is_remote, without_secrets
from graphopt.errors import UsageError

_SLICE = re.compile(r"(?P<start>\d*)(?P<colon>:?)(?P<stop>\d*)")


@dataclass(frozen=True)
class DataSpec:
    """Where samples lie (`path`), which part of it (`names`) and how many of them (`start`, `stop`)."""

    path: Path | RemotePath
    names: tuple[str, ...] = ()
    start: int = 0
    stop: int | None = None


def parse_spec(text: str) -> DataSpec:
    """Read a DATA text; a file whose name holds ``#`` or ``::`` is found as well.

    Raises UsageError for an empty text or a slice that is not one of ``64``, ``64:``, ``:64`` and ``32:64``.
    """
    if not text.strip():
        raise UsageError("the text that names the samples is empty", hint="give a file or a folder")
    if exists(text):
        return DataSpec(Path(text))
    if is_remote(text):
        return _remote(text)
    head, separator, tail = text.rpartition("::")
    if not separator:
        return _with_names(text, 0, None)
    start, stop = _parse_slice(tail, text)
    return _with_names(head, start, stop)


def _remote(text: str) -> DataSpec:
    """As for files here, except that a ``#`` or ``::`` is never part of a name."""
    head, separator, tail = text.rpartition("::")
    start, stop = _parse_slice(tail, without_secrets(text)) if separator else (0, None)
    head, _, names = (head if separator else text).partition("#")
    return DataSpec(
        RemotePath(head), tuple(name.strip() for name in names.split(",")) if names else (), start, stop
    )


def exists(path: str | Path) -> bool:
    """True when there is such a file or folder; False, too, for texts that cannot be paths."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises for names that are too long)


def _with_names(text: str, start: int, stop: int | None) -> DataSpec:
    head, separator, tail = text.rpartition("#")
    if not separator or exists(text):
        return DataSpec(Path(text), (), start, stop)
    names = tuple(name.strip() for name in tail.split(","))
    if not head or not all(names):
        raise UsageError(
            f"'{text}' has an empty name around its '#'",
            hint="write data.npz#x_test,y_test or photos.tar#test",
        )
    return DataSpec(Path(head), names, start, stop)


def _parse_slice(tail: str, text: str) -> tuple[int, int | None]:
    match = _SLICE.fullmatch(tail)
    if match is None or not (match["start"] or match["stop"]):
        raise UsageError(
            f"'{tail}' after '::' in '{text}' is not a slice",
            hint="write ::64 for the first 64 samples, ::64: for the rest or ::32:64 for those between",
        )
    stop = match["stop"] if match["colon"] else match["start"]
    bounds = int(match["start"] or 0) if match["colon"] else 0, int(stop) if stop else None
    if bounds[1] is not None and bounds[1] <= bounds[0]:
        raise UsageError(
            f"'::{tail}' in '{text}' takes no samples: it ends before it starts",
            hint="write ::64 for the first 64 samples or ::32:64 for those between",
        )
    return bounds


def shuffled(names: Sequence[str] | range) -> np.ndarray:
    """The order in which slices count samples: a permutation (int64) that depends only on `names`.

    Rows of arrays have numbers for names, so their order depends on how many there are.

    Only the raw 64-bit stream of PCG64 is used, which NumPy keeps the same for all its versions (NEP 19).
    """
    text = f"{len(names)} rows" if isinstance(names, range) else "\n".join(names)
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    raw = np.random.PCG64(int.from_bytes(digest[:16], "little")).random_raw(len(names))
    return np.argsort(raw, kind="stable").astype(np.int64)
