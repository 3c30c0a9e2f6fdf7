"""The record of a run as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.report.terminal.text import print_line, print_table

if TYPE_CHECKING:
    from graphopt.record.record import Measures, PassRecord, Record

NOTICEABLE = 0.03  # noise: of sizes and times; less is not worth a word
MOST_REASONS = 6
AGREEMENT = {
    "top1": "of the answers",
    "boxes": "of the boxes (IoU 0.5)",
    "masks": "mean IoU of the masks",
    "lines": "of the lines",
}


def print_record(record: Record, *, verbose: bool = False) -> None:
    """Print the table of a run to stdout, what it comes to first."""
    print_line(_headline(record), "headline")
    _print_passes(record.passes, verbose)
    _print_measures(record)
    _print_facts(record)


def _headline(record: Record) -> str:
    """What was won and what it cost, in one line."""
    before, after = record.before, record.after
    parts = [_times(before.bytes, after.bytes, "smaller", "larger")]
    if before.latency_ms and after.latency_ms:
        parts.append(_times(before.latency_ms, after.latency_ms, "faster", "slower"))
    for name, value in list(before.metrics.items())[:1]:
        now = after.metrics.get(name)
        if now is not None:
            paired = record.paired.get(name)
            noise = " (noise)" if paired is not None and paired.is_noise and now != value else ""
            parts.append(f"{100 * (now - value):+.2f} points of {name}{noise}")
    if not before.metrics and "top1" in record.agreement:
        parts.append(f"{100 * record.agreement['top1']:.1f} % of the answers kept")
    return f"{Path(record.input).name}: {', '.join(parts)}"


def _times(before: float, after: float, less: str, more: str) -> str:
    ratio = before / after if after else 1.0
    if abs(ratio - 1) < NOTICEABLE:
        return f"not {less}"
    return f"{ratio:.2f}x {less}" if ratio > 1 else f"{1 / ratio:.2f}x {more}"


def _print_passes(passes: Sequence[PassRecord], verbose: bool) -> None:
    header = ("pass", "changed", "skipped", "nodes", "weights", "seconds", "check")
    print_table(header, map(_pass_cells, passes), right=range(1, 6))
    for entry in passes:
        if entry.summary:
            print_line(f"{entry.name}: {entry.summary}")
        if not entry.changes:
            print_line(f"{entry.name} CHANGED NOTHING.", "loud")
        if verbose or not entry.changes:
            _print_details(entry, verbose)


def _pass_cells(entry: PassRecord) -> tuple[str, ...]:
    name = f"{entry.name} (added)" if entry.added else entry.name
    counts = (str(len(entry.changes)), str(len(entry.skips)), str(entry.nodes))
    return (name, *counts, amount(entry.bytes, "B"), f"{entry.seconds:.2f}", _check(entry))


def _print_details(entry: PassRecord, verbose: bool) -> None:
    if verbose:
        for change in entry.changes:
            print_line(f"  {entry.name}: {change.node}: {change.what}")
        for skip in entry.skips:
            print_line(f"  {entry.name}: {skip.node} stays: {skip.reason}")
        return
    reasons: dict[str, int] = {}
    for skip in entry.skips:
        reasons[skip.reason] = reasons.get(skip.reason, 0) + 1
    ordered = sorted(reasons.items(), key=lambda item: -item[1])
    for reason, count in ordered[:MOST_REASONS]:
        print_line(f"  {count} x {reason}")
    if len(ordered) > MOST_REASONS:
        print_line(f"  and {len(ordered) - MOST_REASONS} more reasons: --verbose lists them")


def _print_measures(record: Record) -> None:
    rows = [
        (name, amount(before, unit), amount(after, unit), _change(before, after))
        for name, before, after, unit in _measure_rows(record.before, record.after)
    ]
    if record.speed:
        rows[-1] = (*rows[-1][:3], _time_change(record.speed))
    for name, before in record.before.metrics.items():
        after = record.after.metrics.get(name)
        if after is not None:
            change = f"{100 * (after - before):+.2f} points"
            paired = record.paired.get(name)
            noise = ", noise" if paired is not None and paired.is_noise and after != before else ""
            rows.append((name, f"{before:.4f}", f"{after:.4f}", change + noise))
    print_table(("", "before", "after", "change"), rows, right=(1, 2, 3))


def _time_change(speed: Mapping[str, float]) -> str:
    """The change of the time, with the 95 % interval of the median of all pairs."""
    ratio, half = speed["ratio"], speed["ratio"] * speed["spread"]
    return f"{100 * (ratio - 1):+.1f} ± {100 * half:.1f} %"


def _measure_rows(before: Measures, after: Measures) -> Iterable[tuple[str, Any, Any, str]]:
    for name, field, unit in (
        ("nodes", "nodes", ""),
        ("parameters", "parameters", ""),
        ("MACs", "macs", ""),
        ("file size", "bytes", "B"),
        ("latency", "latency_ms", "ms"),
    ):
        yield name, getattr(before, field), getattr(after, field), unit


def _print_facts(record: Record) -> None:
    for key, what in AGREEMENT.items():
        if key in record.agreement:
            print_line(f"agreement with the original: {record.agreement[key]:.4f} {what}")
    for output, ratio in record.agreement.get("snr_db", {}).items():
        print_line(f"SQNR of {output}: {decibel_text(ratio)}")
    for text in record.budget.said if record.budget is not None else ():
        print_line(f"budget: {text}")
    calibration = record.calibration
    if calibration.samples:
        print_line(f"calibration: {calibration.source}, {calibration.samples} samples", wrap=False)
    if (source := record.preprocess.get("from")) is not None:
        values = ";".join(
            f"{key}={_plain(value)}" for key, value in record.preprocess.items() if key != "from"
        )
        print_line(f"preprocessing, from {source}: {values}")
    if calibration.shared_with_evaluation:
        text = f"{calibration.shared_with_evaluation} samples are in both calibration and evaluation"
        print_line(text, "loud")
    if record.passes and not any(entry.changes for entry in record.passes):
        print_line("NO PASS CHANGED ANYTHING: the output computes what the input does.", "loud")
    for text in record.warnings:
        print_line(f"warning: {text}", "warning")
    for text in record.missed:
        print_line(f"GOAL MISSED: {text}", "failure")
    print_line(f"written: {record.output}" if record.output else "nothing was written", wrap=False)


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def amount(value: float | None, unit: str = "") -> str:
    """A number people read: ``1.25 M``, ``12.4 MB``, ``0.82 ms``; ``unknown`` for None."""
    if value is None:
        return "-" if unit == "ms" else "unknown"
    if unit == "ms":
        return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"
    for limit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scale = 1e3 if prefix == "k" else limit
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:g} {unit}".rstrip()


def decibel_text(ratio: float) -> str:
    """A signal-to-noise ratio in words."""
    return "equal" if ratio >= 300 else f"{ratio:.1f} dB"


def _change(before: float | None, after: float | None) -> str:
    if not before or after is None:
        return ""
    if before == after:
        return "same"
    change = 100 * (after / before - 1)
    return f"{change:+.1f} %" if abs(change) >= 0.1 else f"{change:+.1g} %"


def _check(entry: PassRecord) -> str:
    if entry.max_abs_diff is not None:
        return f"diff {entry.max_abs_diff:.1g}"
    return f"{decibel_text(entry.snr_db)}" if entry.snr_db is not None else "-"
