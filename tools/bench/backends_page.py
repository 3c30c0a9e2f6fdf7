"""Writes what the benchmark of backends found: the README's table, a page, and when each was run last."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphopt import backends

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?<=<!-- backends -->\n).*?(?=<!-- /backends -->)", re.DOTALL)
SUBJECTS = ("original", "clean", "prune", "lowrank", "cast", "quant", "generic")
TITLES = {"original": "as exported", "quant": "quant, own target", "generic": "quant, generic"}
WORDS = {
    "right": "runs",
    "noisy": "runs, noisier",
    "wrong": "answers wrongly",
    "fails": "fails",
    "refused": "refused",
}
WORST = ("wrong", "fails", "noisy", "right", "refused")  # of several models the worst counts


def write_pages(document: Mapping[str, Any]) -> None:
    """Write everything that follows from the cells."""
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    readme.write_text(BLOCK.sub(lambda _: support_table(document), text, count=1), encoding="utf-8")
    (ROOT / "docs" / "targets" / "support.md").write_text(page(document), encoding="utf-8")
    runs = {c["backend"]: {"version": c["version"], "date": document["date"]} for c in document["cells"]}
    path = ROOT / "graphopt" / "targets" / "runs.json"
    path.write_text(json.dumps(dict(sorted(runs.items())), indent=1) + "\n", encoding="utf-8")


def support_table(document: Mapping[str, Any]) -> str:
    """A row for each backend: what runs there, over all models the worst."""
    titles = " | ".join(TITLES.get(subject, f"`{subject}`") for subject in SUBJECTS)
    lines = [f"| backend | {titles} |", f"|{'---|' * (len(SUBJECTS) + 1)}"]
    for name in _names(document):
        cells = [cell for cell in document["cells"] if cell["backend"] == name]
        words = [_word([cell for cell in cells if cell["subject"] == subject]) for subject in SUBJECTS]
        lines.append(f"| {backends.find(name).title} {cells[0]['version']} | {' | '.join(words)} |")
    models = len({cell["model"] for cell in document["cells"]})
    return "\n".join([*lines, "", f"{models} models, {document['date']}; over all models the worst.", ""])


def page(document: Mapping[str, Any]) -> str:
    """All cells, a table for each model."""
    machine = document["machine"]
    lines = [
        "# What runs where",
        "",
        f"Measured on {document['date']} ({machine['cpu']}, {machine['isa']}, one thread) by",
        "`python -m tools.bench.backends`, which also writes this page. A cell: SQNR in dB of the worst",
        "output against onnxruntime without optimisations on the same file; time as a multiple of that of",
        "`clean` in the same backend, in turn; layers that run on integers, where the runtime tells.",
        "*refused* is graphopt's own word, with the reason in its report; 200 dB stand for equal bits.",
        "",
        support_table(document),
    ]
    for model in dict.fromkeys(cell["model"] for cell in document["cells"]):
        lines += [f"## {model}", "", *_model_table([c for c in document["cells"] if c["model"] == model]), ""]
    notes = list(_notes(document["cells"]))
    return "\n".join([*lines, "## What fails or is wrong", "", *notes, ""])


def _model_table(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    titles = " | ".join(TITLES.get(subject, f"`{subject}`") for subject in SUBJECTS)
    yield f"| backend | {titles} |"
    yield f"|{'---|' * (len(SUBJECTS) + 1)}"
    for name in dict.fromkeys(cell["backend"] for cell in cells):
        own = {cell["subject"]: cell for cell in cells if cell["backend"] == name}
        yield f"| {name} | {' | '.join(_cell(own.get(subject)) for subject in SUBJECTS)} |"


def _cell(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "-"
    if cell["sqnr_db"] is None:
        return str(WORDS[cell["status"]])
    ratio = "" if cell["ratio"] is None else f" / {cell['ratio']:.2f}"
    integers = f", {cell['integer']} of {cell['layers']}" if cell["integer"] else ""
    mark = {"wrong": " **wrong**", "noisy": " noisier"}.get(cell["status"], "")
    return f"{cell['sqnr_db']:.0f}{ratio}{integers}{mark}"


def _word(cells: Sequence[Mapping[str, Any]]) -> str:
    found = {cell["status"] for cell in cells}
    worst = next((status for status in WORST if status in found), None)
    return "-" if worst is None else WORDS[worst]


def _notes(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for cell in cells:
        if cell["status"] in ("wrong", "fails", "noisy"):
            note = re.sub(r"[|<>`*_]", " ", cell["note"])[:200]
            yield f"- {cell['model']}, {cell['subject']} in {cell['backend']}: {note}"


def _names(document: Mapping[str, Any]) -> list[str]:
    there = {cell["backend"] for cell in document["cells"]}
    return [name for name in backends.BACKENDS if name in there]
