"""Numbers that were measured on one machine, kept in a file by what they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.errors import OutputError
from graphopt.util.files import replacing

Host = Mapping[str, Any]  # a runtime.Machine, with a ``device`` where that is timed


@dataclass(frozen=True)
class Kept:
    """A file of numbers of one kind, such as "milliseconds"; without a ``file`` nothing is kept.

    What was written under another ``schema`` or on another machine does not count.
    """

    file: Path | None
    kind: str
    schema: int
    host: Host

    def read(self) -> dict[str, float]:
        """Return what earlier runs measured; nothing when there is no readable file of this machine."""
        if self.file is None:
            return {}
        try:
            document = json.loads(self.file.read_text(encoding="utf-8"))
            if document["schema"] != self.schema or document["machine"] != dict(self.host):
                return {}
            entries = {str(key): float(value) for key, value in document[self.kind].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}  # missing, or cut short by a crash or a full disk: measured and written anew
        return {key: value for key, value in entries.items() if np.isfinite(value) and value >= 0}

    def add(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Keep numbers, unless another process kept the same first; return these and all that it has.

        Raises OutputError when the file cannot be written.
        """
        together = {**measured, **self.read()}
        if self.file is not None:
            _write(self.file, {"schema": self.schema, "machine": dict(self.host), self.kind: together})
        return together


def file_in(folder: Path | None, prefix: str, schema: int, host: Host) -> Path | None:
    """Return the file of one machine in a folder; None without a folder."""
    if folder is None:
        return None
    digest = hashlib.sha256(json.dumps([schema, dict(host)], sort_keys=True).encode()).hexdigest()
    return folder / f"{prefix}-{digest[:16]}.json"


def _write(file: Path, document: dict[str, object]) -> None:
    """Write the document so that it appears complete or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as draft:
            draft.write_text(json.dumps(document, indent=0), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"the table of layer times {file} cannot be written: {error.strerror or error}",
            hint="name a folder with --cache, or --cache off",
        ) from error
