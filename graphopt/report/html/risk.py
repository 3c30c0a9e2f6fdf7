"""Where a result could go wrong: its worst layers, those that got slower, and the inputs that moved most."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.report.html.rows import EQUAL, error_class, times_text

MOST = 8  # shown: of each
# noise: times the layer before, and share of the whole result: less is what profiles differ by
SLOWER, NOTICEABLE = 1.1, 0.02
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")

Document = Mapping[str, Any]


def risks(document: Document, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the risk section shows; ``rows`` are those of ``layer_rows``."""
    worst = sorted((row for row in rows if row["snr"] is not None and row["snr"] < EQUAL), key=_signal)
    return {
        "worst": worst[:MOST],
        "slower": [
            {"row": rows[number], "text": times_text(*times), "more": 100 * more}
            for number, times, more in slower_layers(document)[:MOST]
        ],
        "inputs": [_input(entry) for entry in document.get("divergent", ())][:MOST],
    }


def slower_layers(document: Document) -> list[tuple[int, tuple[float | None, float], float]]:
    """The layers that take noticeably longer than before, those that cost most first.

    Each with its number, its times before (None for one that was added) and after, and what it takes more,
    as a share of the result's time.
    """
    whole = sum(_times(layer)[1] or 0.0 for layer in document.get("layers", ()))
    slower = []
    for number, layer in enumerate(document.get("layers", ())):
        before, after = _times(layer)
        more = (after or 0.0) - (before or 0.0)
        is_new = before is None and layer["state"] == "added"
        if after and (is_new or (before and after > SLOWER * before)) and more > NOTICEABLE * whole:
            slower.append((number, (before, after), more / whole))
    return sorted(slower, key=lambda entry: -entry[2])


def _times(layer: Mapping[str, Any]) -> tuple[float | None, float | None]:
    before, after = layer.get("latency_ms") or (None, None)
    return before, after


def _signal(row: Mapping[str, Any]) -> float:
    return float(row["snr"])


def _input(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An input as a figure; a picture is one only if it is base64 and nothing else."""
    before, after, label = (entry.get(key) for key in ("before", "after", "label"))
    image = str(entry.get("image") or "")
    ratio = float(entry["snr_db"])
    return {
        "name": str(entry["name"]),
        "changed": before != after,
        "answers": "" if before is None else f"class {before}" if before == after else f"{before} → {after}",
        "label": "" if label is None else f"label {label}",
        "snr": f"{ratio:.1f} dB",
        "error": error_class(ratio),
        "image": image if _BASE64.fullmatch(image) else "",
    }
