"""Several runs side by side: their numbers, which of them no other beats, and what they did to each layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphopt.report.html.charts.pareto import pareto
from graphopt.report.html.rows import chosen_options, pass_colour
from graphopt.report.html.summary import METRICS, NOTICEABLE
from graphopt.report.terminal.run import amount

Document = Mapping[str, Any]
QUALITY = ("%", "dB")  # units of what is measured on samples
MOST_LAYERS = 600  # rows of the table of channels


def view(documents: Sequence[Document], names: Sequence[str]) -> dict[str, Any]:
    """What the template of a comparison shows."""
    runs = [_run(document, name) for document, name in zip(documents, names, strict=True)]
    return {
        "title": " · ".join(dict.fromkeys(Path(str(document["input"])).name for document in documents)),
        "runs": runs,
        "same_model": len({document.get("model_sha256") for document in documents}) == 1,
        "same_machine": len({str(document["machine"].get("cpu")) for document in documents}) == 1,
        "same_samples": _same_samples(documents),
        "measures": _measures(documents),
        "fronts": _fronts(documents, names),
        "layers": _layers(documents),
    }


def _same_samples(documents: Sequence[Document]) -> bool:
    """Whether all runs that were judged are known to be judged on the same samples."""
    return len({_judged_on(document) for document in documents if _is_judged(document)}) <= 1


def _judged_on(document: Document) -> str:
    """The hash of the samples a run was judged on; empty where it is not known."""
    return str((document.get("judged_on") or {}).get("sha256", ""))


def _is_judged(document: Document) -> bool:
    return bool(document["after"].get("metrics") or document.get("agreement"))


def _fronts(documents: Sequence[Document], names: Sequence[str]) -> list[dict[str, Any]]:
    """A front for each set of samples that two runs or more were judged on: no axis holds two sets."""
    sets: dict[str, list[int]] = {}
    for number, document in enumerate(documents):
        if _is_judged(document):
            sets.setdefault(_judged_on(document), []).append(number)
    drawn = ((digest, numbers, _pareto(documents, names, numbers)) for digest, numbers in sets.items())
    return [
        {**front, "about": _set_text(documents[numbers[0]]) if len(sets) > 1 else ""}
        for _, numbers, front in drawn
        if front is not None
    ]


def _set_text(document: Document) -> str:
    judged = document.get("judged_on")
    if not judged:
        return "samples that the reports do not name"
    return f"{judged['samples']} samples of {judged['source']} (sha256 {str(judged['sha256'])[:12]})"


def _run(document: Document, name: str) -> dict[str, Any]:
    passes = [p for p in document["passes"] if not p.get("added")]
    return {
        "name": name,
        "passes": [
            {"name": p["name"], "colour": pass_colour(str(p["name"])), "options": _options(p)} for p in passes
        ],
        "warnings": [*document.get("missed", ()), *document.get("warnings", ())],
        "calibration": document["calibration"],
        "judged_on": document.get("judged_on") or {},
        "seconds": sum(float(p.get("seconds", 0.0)) for p in document["passes"]),
        "target": document.get("target", ""),
    }


def _options(entry: Mapping[str, Any]) -> str:
    """The options that were chosen."""
    return ", ".join(f"{key}={value}" for key, value in chosen_options(entry))


def _measures(documents: Sequence[Document]) -> list[dict[str, Any]]:
    """A row a quantity: the original, then each run, the best marked."""
    rows = [
        _measure("File size", documents, lambda d, side: d[side]["bytes"], "B"),
        _measure("MACs", documents, lambda d, side: d[side]["macs"], ""),
        _measure("Parameters", documents, lambda d, side: d[side]["parameters"], ""),
        _measure("Nodes", documents, lambda d, side: d[side]["nodes"], ""),
        _measure("Latency", documents, lambda d, side: d[side].get("latency_ms"), "ms", NOTICEABLE),
        _measure("Latency, of the original's", documents, _relative_latency, "%-", NOTICEABLE),
    ]
    metrics = dict.fromkeys(name for d in documents for name in d["after"].get("metrics", {}))
    for name in metrics:
        rows.append(_measure(METRICS.get(name, name), documents, _metric(name), "%"))
    rows.append(_measure("Agreement", documents, _agreement, "%"))
    rows.append(_measure("SQNR", documents, _worst_signal, "dB"))
    return [row for row in rows if row is not None]


def _measure(
    title: str,
    documents: Sequence[Document],
    value: Callable[[Document, str], Any],
    unit: str,
    noise: float = 0.0,
) -> dict[str, Any] | None:
    after = [value(document, "after") for document in documents]
    if all(item is None for item in after):
        return None
    originals = [item for d in documents if (item := value(d, "before")) is not None]
    present = [item for item in after if item is not None]
    best = max(present) if unit in QUALITY else min(present)  # "%-" is a share that should be small
    tie = len([item for item in present if item == best]) == len(present)
    if unit in QUALITY and not _same_samples(documents):
        tie = True  # none is better where each was asked something else
    cells = [
        {
            "text": _text(item, unit),
            "best": item is not None and not tie and abs(item - best) <= noise * abs(best),
        }
        for item in after
    ]
    return {"title": title, "before": _range(originals, unit), "cells": cells}


def _range(values: Sequence[float], unit: str) -> str:
    """What the runs found for the original: one number, or the least and the most."""
    if not values:
        return ""
    low, high = _text(min(values), unit), _text(max(values), unit)
    return low if low == high else f"{low} – {high}"


def _text(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    if unit in ("%", "%-"):
        return f"{100 * value:.{2 if unit == '%' else 1}f} %"
    return f"{value:.1f} dB" if unit == "dB" else amount(value, unit)


def _relative_latency(document: Document, side: str) -> Any:
    """The time a run's result takes, in parts of the original's: both were measured in turn."""
    before, after = (document[s].get("latency_ms") for s in ("before", "after"))
    return after / before if before and after and side == "after" else None


def _metric(name: str) -> Callable[[Document, str], Any]:
    return lambda document, side: document[side].get("metrics", {}).get(name)


def _agreement(document: Document, side: str) -> Any:
    return document.get("agreement", {}).get("top1") if side == "after" else None


def _worst_signal(document: Document, side: str) -> Any:
    levels = [v for v in document.get("agreement", {}).get("snr_db", {}).values() if v is not None]
    return min(levels, default=None) if side == "after" else None


def _pareto(
    documents: Sequence[Document], names: Sequence[str], numbers: Sequence[int]
) -> dict[str, Any] | None:
    """Quality against cost of some of the runs: the first of each that all of them have."""
    costs = (
        ("latency in % of the original's", lambda d: _share(d, "latency_ms")),
        ("multiply-accumulates in % of the original's", lambda d: _share(d, "macs")),
        ("file size in % of the original's", lambda d: _share(d, "bytes")),
    )
    qualities = (
        ("top-1 accuracy in %", _metric("top1"), 100.0),
        ("agreement with the original in %", _agreement, 100.0),
        ("SQNR in dB", _worst_signal, 1.0),
    )
    runs = [documents[number] for number in numbers]
    cost = next((c for c in costs if all(c[1](d) is not None for d in runs)), None)
    quality = next((q for q in qualities if all(q[1](d, "after") is not None for d in runs)), None)
    if cost is None or quality is None or len(runs) < 2:
        return None
    points = []
    for number, document in zip(numbers, runs, strict=True):
        y = quality[2] * quality[1](document, "after")
        points.append(
            {"name": names[number], "x": cost[1](document), "y": y, "kind": "run", "colour": number}
        )
    whole = quality[1](runs[0], "before") if quality[0].startswith("top-1") else None
    if whole is not None:
        original = {"name": "original", "x": 100.0, "y": quality[2] * whole}
        points.append({**original, "kind": "original", "colour": 0})
    return {"x": cost[0], "y": quality[0], "plot": pareto(points, cost[0], quality[0])}


def _share(document: Document, key: str) -> float | None:
    """What is left of a quantity, in percent."""
    before, after = document["before"].get(key), document["after"].get(key)
    return 100 * after / before if before and after is not None else None


def _layers(documents: Sequence[Document]) -> list[dict[str, Any]]:
    """Output channels of the layers that some run narrowed, a column a run; by the names of the layers."""
    by_name: dict[str, dict[int, Sequence[Any]]] = {}
    for i, document in enumerate(documents):
        for layer in document.get("layers", ()):
            if layer["macs"][0]:
                by_name.setdefault(str(layer["name"]), {})[i] = layer["channels"]
    rows = []
    for name, by_run in by_name.items():
        before = next(iter(by_run.values()))[0]
        cells = [by_run.get(i, (None, None))[1] for i in range(len(documents))]
        if before and any(cell not in (None, before) for cell in cells):
            shares = [None if cell is None else 100 * cell / before for cell in cells]
            rows.append({"name": name, "before": before, "cells": list(zip(cells, shares, strict=True))})
    return rows[:MOST_LAYERS]
