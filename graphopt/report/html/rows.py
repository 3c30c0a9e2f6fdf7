"""Layers as rows of a table, each with what the passes decided about it, and what tables of layers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.report.terminal.run import amount

HELPERS = ("clean", "fold-bn")  # their work is housekeeping: one quiet colour for both
OWN = ("prune", "quant", "lowrank", "distill", "sparsify", "cast", "surgeon")  # colours p0, p1, ...
COLOURS = len(OWN) + 1  # that passes are distinguished by; the last is for those of other packages
STEPS = (40.0, 30.0, 20.0, 10.0)  # dB; below the last is the darkest shade
EQUAL = 120.0  # dB; float32 rounding and better
MOST_ROWS = 4000  # of the table of layers; a page must stay below 5 MB


def pass_colour(name: str) -> str:
    """The class of a pass: the same on every page, whatever else ran."""
    if name in HELPERS:
        return "ph"
    return f"p{OWN.index(name)}" if name in OWN else f"p{COLOURS - 1}"


def pass_colours(passes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The class of each pass of a run by its name, in the order in which they first ran."""
    return {name: pass_colour(name) for name in dict.fromkeys(str(p["name"]) for p in passes)}


def chosen_options(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The options of a pass that differ from their defaults; of an old report, all that say something."""
    options = entry.get("options", {})
    names = entry.get("chosen")
    if names is None:
        names = [key for key, value in options.items() if value not in (None, [], ())]
    return [(str(key), _option_text(options[key])) for key in names if key in options]


def _option_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "|".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def layer_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a layer: numbers to sort by, texts to read, decisions to filter by."""
    decisions = _decisions(document.get("passes", ()))
    total = sum(layer["macs"][0] or 0 for layer in document.get("layers", ())) or 1
    return [
        _row(number, layer, decisions.get(str(layer["name"]), []), total)
        for number, layer in enumerate(document.get("layers", ()))
    ]


def _decisions(passes: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, str]]]:
    """What every pass said about every node; a node that was changed in a pass is not skipped by it too."""
    remarks: dict[str, list[dict[str, str]]] = {}
    for entry in passes:
        changed = set()
        for change in entry.get("changes", ()):
            changed.add(change["node"])
            remark = {"pass": str(entry["name"]), "kind": "changed", "text": str(change["what"])}
            remarks.setdefault(str(change["node"]), []).append(remark)
        for skip in entry.get("skips", ()):
            if skip["node"] not in changed:
                remark = {"pass": str(entry["name"]), "kind": "skipped", "text": str(skip["reason"])}
                remarks.setdefault(str(skip["node"]), []).append(remark)
    return remarks


def _row(
    number: int,
    layer: Mapping[str, Any],
    decisions: list[dict[str, str]],
    total: int,
) -> dict[str, Any]:
    macs, snr, times = layer["macs"], layer.get("snr_db"), layer.get("latency_ms") or (None, None)
    changed = [d for d in decisions if d["kind"] == "changed"]
    skipped = [d for d in decisions if d["kind"] == "skipped"]
    keys = [d["pass"] for d in changed]
    keys += ["skipped"] if skipped and not changed else []
    keys += [layer["state"]] if layer["state"] != "kept" else []
    return {
        "number": number,
        "name": str(layer["name"]),
        "op": str(layer["op"]),
        "shape": shape_text(layer["shape"]),
        "channels": tuple(layer["channels"]),
        "macs": tuple(macs),
        "parameters": tuple(layer["parameters"]),
        "share": 100 * (macs[0] or 0) / total,
        "snr": snr,
        "snr_text": "" if snr is None else "equal" if snr >= EQUAL else f"{snr:.1f}",
        "latency": tuple(times),
        "latency_text": times_text(*times),
        "latency_change": _times_change(*times),
        "state": layer["state"],
        "reads": [int(i) for i in layer.get("reads", ()) if int(i) < number],
        "reads_after": None if layer.get("reads_after") is None else [int(i) for i in layer["reads_after"]],
        "facts": layer.get("facts") or (None, None),
        "decisions": [{**d, "colour": pass_colour(d["pass"])} for d in decisions],
        "marks": " ".join(dict.fromkeys(keys)) or "untouched",
        "matters": bool(macs[0] or macs[1] or changed or skipped),
        "style": _style(layer, changed, skipped),
        "error": error_class(snr),
        "sub": _sub(layer),
    }


def error_class(snr: float | None) -> str:
    """A shade for a signal-to-noise ratio: e0 is equal, e5 the worst; nothing where it is not known."""
    if snr is None:
        return ""
    return "e0" if snr >= EQUAL else f"e{1 + sum(snr < step for step in STEPS)}"


def pair_text(pair: Sequence[Any], unit: str = "") -> tuple[str, str]:
    """Before and after as texts; one is empty where there is nothing to say."""
    before, after = pair
    first = "" if before is None else amount(before, unit)
    second = "" if after is None else amount(after, unit)
    return (first, "") if first == second else (first, second)


def _style(
    layer: Mapping[str, Any],
    changed: Sequence[Mapping[str, str]],
    skipped: Sequence[Any],
) -> str:
    """The class of a node in the graph: removed, the last pass that changed it, skipped, or nothing."""
    if layer["state"] == "removed":
        return "gone"
    weighty = [d for d in changed if d["pass"] not in HELPERS] or list(changed)
    if weighty:
        return pass_colour(weighty[-1]["pass"])
    return "skip" if skipped else "plain"


def _sub(layer: Mapping[str, Any]) -> str:
    """A few words under the operator of a node."""
    before, after = layer["channels"]
    if layer["state"] == "removed":
        return "removed"
    if layer["state"] == "added":
        return "added"
    if before is None or not (layer["macs"][0] or layer["macs"][1]):
        return ""
    return f"{before} channels" if before == after or after is None else f"{before} → {after} channels"


def times_text(before: float | None, after: float | None) -> tuple[str, str]:
    """Times before and after in one unit, so that they compare at a glance; a dash where there is none."""
    most = max(before or 0.0, after or 0.0)
    factor, unit = (1e3, "µs") if most < 1 else (1.0, "ms")
    first, second = ("–" if t is None else f"{factor * t:.3g}" for t in (before, after))
    return first, f"{second} {unit}"


def _times_change(before: float | None, after: float | None) -> tuple[str, str]:
    """How much of a time went, and whether that is good."""
    if not before or after is None:
        return "", ""
    change = 100 * (after / before - 1)
    return f"{change:+.0f} %".replace("-", "−"), "good" if change < 0 else "bad" if change > 0 else ""


def shortened(rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The rows that fit a page, in order: those that matter before the others."""
    if len(rows) <= MOST_ROWS:
        return rows
    shown = sorted(rows, key=lambda row: not row["matters"])[:MOST_ROWS]
    return sorted(shown, key=lambda row: row["number"])


def mark_counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows carry each of the words in ``marks``."""
    counts: dict[str, int] = {}
    for row in rows:
        for mark in row["marks"].split(" "):
            counts[mark] = counts.get(mark, 0) + 1
    return counts


def shape_text(shape: Sequence[int] | None) -> str:
    """The shape of a tensor as people read it."""
    return "?" if shape is None else "×".join(map(str, shape)) or "scalar"
