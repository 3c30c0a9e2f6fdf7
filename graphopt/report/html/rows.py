"""The layers of a report file as rows of a table, each with what the passes decided about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.report.html.tables import shape_text
from graphopt.report.terminal.run import amount

COLOURS = 6  # that passes are told apart by
HELPERS = ("clean", "fold-bn")  # their work is housekeeping: one quiet colour for both
STEPS = (40.0, 30.0, 20.0, 10.0)  # dB; below the last is the darkest shade
EQUAL = 120.0  # dB; float32 rounding and better


def pass_colours(passes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A class for each pass by its name, in the order in which they first ran."""
    names = [str(p["name"]) for p in passes if p["name"] not in HELPERS]
    found = {name: f"p{i % COLOURS}" for i, name in enumerate(dict.fromkeys(names))}
    return {**dict.fromkeys(HELPERS, "ph"), **found}


def layer_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a layer: numbers to sort by, texts to read, decisions to filter by."""
    decisions = _decisions(document.get("passes", ()))
    colours = pass_colours(document.get("passes", ()))
    total = sum(layer["macs"][0] or 0 for layer in document.get("layers", ())) or 1
    return [
        _row(number, layer, decisions.get(str(layer["name"]), []), colours, total)
        for number, layer in enumerate(document.get("layers", ()))
    ]


def _decisions(passes: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, str]]]:
    """What every pass said about every node; a node that was changed in a pass is not skipped by it too."""
    found: dict[str, list[dict[str, str]]] = {}
    for entry in passes:
        changed = set()
        for change in entry.get("changes", ()):
            changed.add(change["node"])
            told = {"pass": str(entry["name"]), "kind": "changed", "text": str(change["what"])}
            found.setdefault(str(change["node"]), []).append(told)
        for skip in entry.get("skips", ()):
            if skip["node"] not in changed:
                told = {"pass": str(entry["name"]), "kind": "skipped", "text": str(skip["reason"])}
                found.setdefault(str(skip["node"]), []).append(told)
    return found


def _row(
    number: int,
    layer: Mapping[str, Any],
    decisions: list[dict[str, str]],
    colours: Mapping[str, str],
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
        "state": layer["state"],
        "reads": [int(i) for i in layer.get("reads", ()) if int(i) < number],
        "decisions": [{**d, "colour": colours.get(d["pass"], "p0")} for d in decisions],
        "marks": " ".join(dict.fromkeys(keys)) or "untouched",
        "matters": bool(macs[0] or macs[1] or changed or skipped),
        "style": _style(layer, changed, skipped, colours),
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
    colours: Mapping[str, str],
) -> str:
    """The class of a node in the graph: removed, the last pass that changed it, skipped, or nothing."""
    if layer["state"] == "removed":
        return "gone"
    telling = [d for d in changed if colours.get(d["pass"]) != "ph"] or list(changed)
    if telling:
        return colours.get(telling[-1]["pass"], "p0")
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
