"""Results by content hash in a folder, from which a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graphopt.util.files import replacing

_HASH = hashlib.sha256().digest_size


class Store:
    """Small results by the hash of everything they depend on; several runs may use a folder at once.

    A file appears complete or not at all and holds the hash of its content: what a crash, a full disk or a
    bad copy left damaged is not there.  A result that cannot be written is not kept, which ``warn`` hears
    once: the store spares work, no run depends on it.  Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None, warn: Callable[[str], None] = lambda text: None) -> None:
        self.folder = folder
        self._warn = warn
        self._is_full = False

    def get(self, key: str) -> bytes | None:
        """The result of that key; None when there is none that is whole."""
        if self.folder is None:
            return None
        try:
            stored = self._path(key).read_bytes()
        except OSError:
            return None
        digest, content = stored[:_HASH], stored[_HASH:]
        return content if hashlib.sha256(content).digest() == digest else None

    def put(self, key: str, content: bytes) -> None:
        """Keep a result."""
        if self.folder is None or self._is_full:
            return
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as draft:
                draft.write_bytes(hashlib.sha256(content).digest() + content)
        except OSError as error:
            self._is_full = True
            self._warn(
                f"results cannot be kept in {self.folder} ({error.strerror or error}): the run goes on, but "
                "once stopped it would start from its beginning"
            )

    def drop(self, key: str) -> None:
        """Forget a result that another one contains."""
        if self.folder is not None:
            try:
                self._path(key).unlink(missing_ok=True)
            except OSError:
                return

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{key}.result"


def store_key(*parts: Any) -> str:
    """A key of plain values: the hash of what a result depends on."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
