"""Reads preprocessing recipes from text such as ``imagenet;size=299`` or from a TOML file."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphopt.data.preprocess.config import COLORS, INTERPOLATIONS, LAYOUTS, SCALERS, Preprocess, Size
from graphopt.data.preprocess.presets import PRESETS
from graphopt.errors import UsageError
from graphopt.util.text import did_you_mean


def parse_preprocess(text: str | Path) -> Preprocess:
    """Read a preprocess text, a preset's name, or a ``.toml`` file with the same keys (and ``preset``).

    Raises UsageError for unknown keys and presets (naming the nearest known one), bad values and bad files.
    """
    if str(text).strip().endswith(".toml"):
        return _from_toml(Path(str(text).strip()))
    return parse_text(str(text))


def parse_text(text: str) -> Preprocess:
    """Read a preprocess text or the name of a preset; no file is opened.  Raises UsageError."""
    presets: list[str] = []
    given: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or key == "preset":
            presets.append(value or key)
        elif key in given:
            raise UsageError(f"preprocess has '{key}' twice", hint="keep one of them")
        else:
            given[key] = value
    return _build(presets, given)


def _build(presets: Iterable[str], given: Mapping[str, str]) -> Preprocess:
    recipe = Preprocess()
    for preset in presets:
        if preset not in PRESETS:
            raise UsageError(f"preprocess knows no preset '{preset}'", hint=_hint(preset, (*PRESETS, *_KEYS)))
        recipe = _override(recipe, _parse_items(_items(PRESETS[preset])))
    return _override(recipe, _parse_items(given))


def _items(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (item.partition("=") for item in text.split(";"))}


def _override(recipe: Preprocess, values: Mapping[str, Any]) -> Preprocess:
    """Later values win; a scaling key replaces the whole scaling that was there before."""
    groups = [group for group in SCALERS if any(key in values for key in group if key != "crop")]
    cleared = {key: None for group in SCALERS if groups and group not in groups for key in group}
    if cleared and "pad" not in values:
        cleared["pad"] = None
    return replace(recipe, **{**cleared, **values})


def _parse_items(given: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, text in given.items():
        if key not in _KEYS:
            raise UsageError(
                f"preprocess knows no key '{key}'",
                hint=_hint(key, _KEYS),
            )
        try:
            values[key] = _KEYS[key](text)
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(f"preprocess cannot read {key}={text}", hint=f"{key} takes {error}") from error
    if isinstance(values.get("resize"), tuple):
        values["size"] = values.pop("resize")
    return values


def _from_toml(path: Path) -> Preprocess:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"the preprocess file {path} cannot be read: {error}", hint="check the file"
        ) from error
    presets = _toml_text(table.pop("preset", "")).split(";")
    return _build(filter(None, presets), {key: _toml_text(value) for key, value in table.items()})


def _toml_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _whole(text: str, least: int = 1) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ValueError(f"a whole number of at least {least}")
    return int(text)


def _size(text: str) -> Size:
    parts = text.lower().replace(",", "x").split("x")
    if len(parts) > 2 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ValueError("a number of pixels, or height x width such as 480x640")
    return int(parts[0]), int(parts[-1])


def _number(text: str) -> float:
    top, slash, bottom = text.partition("/")
    try:
        value = float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError("a number such as 0.5 or 1/255")
    return value


def _nonzero(text: str) -> float:
    if (value := _number(text)) == 0:
        raise ValueError("a number other than 0")
    return value


def _choice(*allowed: str) -> Any:
    def read(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return text.lower()

    return read


_KEYS: dict[str, Any] = {
    "resize": lambda text: _size(text) if "x" in text.lower() or "," in text else _whole(text),
    "size": lambda text: "model" if text == "model" else _size(text),
    "letterbox": lambda text: "model" if text == "model" else _size(text),
    "height": _whole,
    "width": lambda text: "keep" if text == "keep" else _whole(text),
    "longest": _whole,
    "multiple": _whole,
    "crop": _size,
    "pad": lambda text: _whole(text, 0),
    "interpolation": lambda text: {"area": "box"}.get(text.lower()) or _choice(*INTERPOLATIONS)(text),
    "color": lambda text: None if text == "auto" else _choice(*COLORS)(text),
    "layout": _choice(*LAYOUTS),
    "scale": _nonzero,
    "mean": lambda text: tuple(_number(part) for part in text.split(",")),
    "std": lambda text: tuple(_nonzero(part) for part in text.split(",")),
}


def _hint(word: str, names: Iterable[str]) -> str:
    return did_you_mean(word, names, f"it knows {', '.join(names)}")
