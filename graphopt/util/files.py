"""Plain values and text written to files, complete or not at all."""

from __future__ import annotations

import dataclasses
import json
import math
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphopt.errors import OutputError


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write one JSON document, readable by people, complete or not at all; OutputError when that fails."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all; OutputError when that fails."""
    draft = path.with_name(f".{secrets.token_hex(4)}{path.suffix}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
        raise


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
