"""Ranges in files: one of our own, read again by later runs, and the calibration cache of TensorRT."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphopt import runtime
from graphopt.errors import OutputError, UsageError
from graphopt.ir import Model

from ..items import AbsorbItem, EqualiseItem, Item, NormItem, TensorItem

SCHEMA = 1  # fixed: version of the file format
TENSORRT_HEADER = "TRT-8601-EntropyCalibration2"  # any version reads any header of this form

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Kept:
    """What a file holds: the range of each tensor, and what was done to channels before it was measured."""

    ranges: Ranges
    equal: tuple[EqualiseItem, ...] = ()
    absorbed: tuple[AbsorbItem, ...] = ()
    normed: tuple[NormItem, ...] = ()

    @property
    def items(self) -> list[Item]:
        """What was done to channels, in order."""
        return [*self.equal, *self.absorbed, *self.normed]


def read(path: Path, model: Model, method: str) -> Kept | None:
    """The ranges that were written for this model and calibrator; None when there is no file yet.

    Raises UsageError for a file that is none, or was made for another model or calibrator.
    """
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        made_for, made_by = document["model"], document["calibrator"]
        ranges = {str(n): (float(low), float(high)) for n, (low, high) in document["ranges"].items()}
        equal = tuple(EqualiseItem(n, tuple(map(float, f))) for n, f in document["equalise"].items())
        absorbed = tuple(AbsorbItem(n, tuple(map(float, a))) for n, a in document.get("absorb", {}).items())
        normed = tuple(
            NormItem(n, tuple(map(float, one["factors"])), tuple(map(float, one["middles"])))
            for n, one in document.get("norms", {}).items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"quant: {path} is not a file of ranges: {type(error).__name__}: {error}") from error
    hint = "give another file, or remove this one so that a new one is made"
    if made_for != runtime.fingerprint(model):
        raise UsageError(f"quant: the ranges in {path} were measured on another model", hint=hint)
    if made_by != method:
        raise UsageError(f"quant: the ranges in {path} are those of calibrator={made_by}", hint=hint)
    return Kept(ranges, equal, absorbed, normed)


def write(path: Path, fingerprint: str, method: str, kept: Kept) -> None:
    """Write the ranges measured on the model of this fingerprint; raises OutputError."""
    document: Mapping[str, Any] = {
        "schema": SCHEMA,
        "model": fingerprint,
        "calibrator": method,
        "equalise": {item.node: list(item.factors) for item in kept.equal},
        "absorb": {item.node: list(item.amounts) for item in kept.absorbed},
        "norms": {
            item.node: {"factors": list(item.factors), "middles": list(item.middles)} for item in kept.normed
        },
        "ranges": {name: list(interval) for name, interval in kept.ranges.items()},
    }
    _write(path, json.dumps(document, indent=1) + "\n")


def write_tensorrt(path: Path, items: Iterable[TensorItem]) -> None:
    """Write the scale of each tensor, of int8 with zero point 0, as TensorRT reads them; raises OutputError.

    Each line holds a name and the scale as the hexadecimal digits of a float32, largest byte first.
    """
    lines = [TENSORRT_HEADER]
    for item in items:
        largest = max(-item.parameters.low, item.parameters.high)
        lines.append(f"{item.tensor}: {struct.pack('>f', largest / 127).hex()}")
    _write(path, "\n".join(lines) + "\n")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"quant: {path} cannot be written: {error.strerror or error}") from error
