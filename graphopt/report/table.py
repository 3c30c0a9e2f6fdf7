"""The record of a run as a table for people, at most 80 columns wide where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from graphopt.report.record import Measures, PassRecord, Record

WIDTH = 80
MOST_REASONS = 6


def print_record(record: Record, *, verbose: bool = False) -> None:
    """Print the table of a run to stdout."""
    console = _console()
    _print_passes(console, record.passes, verbose)
    _print_measures(console, record)
    _print_facts(console, record)


def print_rows(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Print plain rows under a header; columns in ``right`` are aligned to the right."""
    console = _console()
    table = _table(show_header=any(header))
    for index, title in enumerate(header):
        table.add_column(title, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    console.print(table)


def print_line(text: str, style: str = "") -> None:
    """Print one line of text to stdout."""
    _console().print(_text(text, style))


def _console() -> Console:
    from rich.console import Console

    class Stdout(Console):
        def on_broken_pipe(self) -> None:
            raise  # for the command line to end quietly; rich would exit with 1

    return Stdout(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def _table(**options: Any) -> Any:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False, **options)


def _text(value: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(value, style=style)


def _print_passes(console: Console, passes: Sequence[PassRecord], verbose: bool) -> None:
    table = _table()
    table.add_column("pass", overflow="fold")
    for title in ("changed", "skipped", "nodes", "weights", "seconds"):
        table.add_column(title, justify="right")
    table.add_column("check")
    for entry in passes:
        name = f"{entry.name} (added)" if entry.added else entry.name
        changed = _text(str(len(entry.changes)), "" if entry.changes else "bold yellow")
        sizes = (str(entry.nodes), amount(entry.bytes, "B"), f"{entry.seconds:.2f}")
        table.add_row(_text(name), changed, str(len(entry.skips)), *sizes, _check(entry))
    console.print(table)
    for entry in passes:
        if not entry.changes:
            console.print(_text(f"{entry.name} CHANGED NOTHING.", "bold yellow"))
        if verbose or not entry.changes:
            _print_details(console, entry, verbose)


def _print_details(console: Console, entry: PassRecord, verbose: bool) -> None:
    if verbose:
        for change in entry.changes:
            console.print(_text(f"  {entry.name}: {change.node}: {change.what}"))
        for skip in entry.skips:
            console.print(_text(f"  {entry.name}: {skip.node} stays: {skip.reason}"))
        return
    reasons: dict[str, int] = {}
    for skip in entry.skips:
        reasons[skip.reason] = reasons.get(skip.reason, 0) + 1
    ordered = sorted(reasons.items(), key=lambda item: -item[1])
    for reason, count in ordered[:MOST_REASONS]:
        console.print(_text(f"  {count} x {reason}"))
    if len(ordered) > MOST_REASONS:
        console.print(_text(f"  and {len(ordered) - MOST_REASONS} more reasons: --verbose lists them"))


def _print_measures(console: Console, record: Record) -> None:
    table = _table()
    table.add_column("")
    for title in ("before", "after", "change"):
        table.add_column(title, justify="right")
    for name, before, after, unit in _measure_rows(record.before, record.after):
        table.add_row(name, amount(before, unit), amount(after, unit), _change(before, after))
    for name, before in record.before.metrics.items():
        after = record.after.metrics.get(name)
        if after is not None:
            table.add_row(name, f"{before:.4f}", f"{after:.4f}", f"{100 * (after - before):+.2f} points")
    console.print(table)


def _measure_rows(before: Measures, after: Measures) -> Iterable[tuple[str, Any, Any, str]]:
    for name, field, unit in (
        ("nodes", "nodes", ""),
        ("parameters", "parameters", ""),
        ("MACs", "macs", ""),
        ("file size", "bytes", "B"),
        ("latency", "latency_ms", "ms"),
    ):
        yield name, getattr(before, field), getattr(after, field), unit


def _print_facts(console: Console, record: Record) -> None:
    if "top1" in record.agreement:
        console.print(_text(f"agreement with the original: {record.agreement['top1']:.4f} of the answers"))
    for output, ratio in record.agreement.get("snr_db", {}).items():
        console.print(_text(f"signal to noise of {output}: {decibel_text(ratio)}"))
    calibration = record.calibration
    if calibration.samples:
        console.print(_text(f"calibration: {calibration.source}, {calibration.samples} samples"))
    if calibration.shared_with_evaluation:
        text = f"{calibration.shared_with_evaluation} samples are in both calibration and evaluation"
        console.print(_text(text, "bold yellow"))
    if record.passes and not any(entry.changes for entry in record.passes):
        console.print(
            _text("NO PASS CHANGED ANYTHING: the output computes what the input does.", "bold yellow")
        )
    for text in record.warnings:
        console.print(_text(f"warning: {text}", "yellow"))
    for text in record.missed:
        console.print(_text(f"GOAL MISSED: {text}", "bold red"))
    console.print(_text(f"written: {record.output}" if record.output else "nothing was written"))


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
