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


def print_evaluation(evaluation: Evaluation) -> None:
    """Print how a model did to stdout."""
    print_line(f"{evaluation.task} on {evaluation.samples} samples of {evaluation.source}")
    if evaluation.metrics:
        _print_metrics(evaluation)
    for key, title in AGREEMENT.items():
        if key in evaluation.agreement:
            print_line(f"{title}: {evaluation.agreement[key]:.4f}")
    if evaluation.details.get("unjudged"):
        print_line(
            f"{evaluation.details['unjudged']} samples were not judged: the reference's scores are no numbers"
        )
    if evaluation.details.get("changed"):
        header = ("class of the reference", "class of the model", "samples")
        rows = [tuple(str(value) for value in entry.values()) for entry in evaluation.details["changed"]]
        print_table(header, rows, right=(0, 1, 2))
    if evaluation.details.get("outputs"):
        _print_outputs(evaluation.details["outputs"])
        return
    for output, ratio in evaluation.agreement.get("snr_db", {}).items():
        print_line(f"SQNR of {output}: {decibel_text(ratio)}")


def _print_metrics(evaluation: Evaluation) -> None:
    header = ("metric", "model", "reference", "change", "95 % interval", "which is")
    rows = [
        (name, f"{value:.4f}", *_reference_cells(name, evaluation))
        for name, value in evaluation.metrics.items()
    ]
    if evaluation.reference_metrics:
        print_table(header, rows, right=(1, 2, 3, 4))
    else:
        print_table(header[:2], [row[:2] for row in rows], right=(1,))


def _reference_cells(name: str, evaluation: Evaluation) -> tuple[str, str, str, str]:
    value, paired = evaluation.reference_metrics.get(name), evaluation.paired.get(name)
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
