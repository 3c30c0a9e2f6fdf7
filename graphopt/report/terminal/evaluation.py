"""An evaluation as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphopt.report.terminal.run import decibel_text
from graphopt.report.terminal.text import print_line, print_table

if TYPE_CHECKING:
    from graphopt.analysis.evaluation import Evaluation
    from graphopt.metrics import Paired

AGREEMENT = {
    "top1": "same answer as the reference",
    "boxes": "boxes that both models have (IoU 0.5)",
    "missing": "boxes of the reference that are missing",
    "overlap": "mean IoU of boxes in common",
    "masks": "mean IoU with the reference's masks",
    "pixels": "pixels of the reference's class",
    "lines": "same line as the reference",
}


def print_evaluation(found: Evaluation) -> None:
    """Print how a model did to stdout."""
    print_line(f"{found.task} on {found.samples} samples of {found.source}")
    if found.metrics:
        _print_metrics(found)
    for key, title in AGREEMENT.items():
        if key in found.agreement:
            print_line(f"{title}: {found.agreement[key]:.4f}")
    if found.details.get("unjudged"):
        print_line(
            f"{found.details['unjudged']} samples were not judged: the reference's scores are no numbers"
        )
    if found.details.get("changed"):
        header = ("class of the reference", "class of the model", "samples")
        rows = [tuple(str(value) for value in entry.values()) for entry in found.details["changed"]]
        print_table(header, rows, right=(0, 1, 2))
    if found.details.get("outputs"):
        _print_outputs(found.details["outputs"])
        return
    for output, ratio in found.agreement.get("snr_db", {}).items():
        print_line(f"SQNR of {output}: {decibel_text(ratio)}")


def _print_metrics(found: Evaluation) -> None:
    header = ("metric", "model", "reference", "change", "95 % interval", "which is")
    rows = [(name, f"{value:.4f}", *_reference_cells(name, found)) for name, value in found.metrics.items()]
    if found.reference_metrics:
        print_table(header, rows, right=(1, 2, 3, 4))
    else:
        print_table(header[:2], [row[:2] for row in rows], right=(1,))


def _reference_cells(name: str, found: Evaluation) -> tuple[str, str, str, str]:
    value, paired = found.reference_metrics.get(name), found.paired.get(name)
    before = "-" if value is None else f"{value:.4f}"
    if paired is None:
        return before, "-", "-", ""
    interval = f"{paired.low:+.4f}..{paired.high:+.4f}"
    return before, f"{paired.difference:+.4f}", interval, _verdict(paired)


def _verdict(paired: Paired) -> str:
    if paired.is_noise:
        return "noise"
    return "better" if paired.difference > 0 else "worse"  # also where it is no number


def _print_outputs(outputs: Mapping[str, Mapping[str, Any]]) -> None:
    rows = []
    for name, values in outputs.items():
        if values["mismatch"]:
            rows.append((name, values["mismatch"], "-", "-"))
        elif values["unequal"]:
            rows.append((name, f"{values['unequal']} values differ", "-", "-"))
        else:
            rows.append(
                (
                    name,
                    decibel_text(values["snr_db"]),
                    f"{values['cosine']:.6f}",
                    f"{values['max_abs']:.3g}",
                )
            )
    print_table(("output", "SQNR", "cosine", "max |difference|"), rows, right=(1, 2, 3))
