"""Files written complete or not at all, plain values for them, content hashes, the cache folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphopt.errors import OutputError

CHUNK = 1 << 20  # memory: bytes read at a time


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write one JSON document, readable by people, complete or not at all; OutputError when that fails."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all; OutputError when that fails."""
    try:
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write to: it takes its place when the block ends well, else it is removed."""
    draft = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def user_cache() -> Path:
    """The folder where this user's programs keep what they can make again, with graphopt's name."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "graphopt"


def cache_folder(given: str | Path | None) -> Path | None:
    """The folder that a user names for results: the user's cache for None, nothing for ``off``."""
    return user_cache() if given is None else None if given == "off" else Path(given)


def plain(value: Any) -> Any:
    """Turn values, records included, into what JSON can hold; numbers that are not finite become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if hasattr(value, "item") else value
