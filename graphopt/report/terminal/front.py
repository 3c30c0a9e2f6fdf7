"""A front as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.report.terminal.text import print_line, print_table

if TYPE_CHECKING:
    from graphopt.record.front import Front, FrontPoint


def print_front(front: Front) -> None:
    """Print the points, the fastest first, and how to replay one, to stdout."""
    print_line(f"{front.model} by {front.passes}: {_count(front)}", wrap=False)
    print_line(
        f"trials were judged by {front.judged_by} on {front.samples} held-out samples"
        + (f", files on {front.evaluation} evaluation samples" if front.evaluation else "")
    )
    timed = any(point.latency is not None for point in front.points)
    names = list(front.points[0].trial.moves)
    header = ("point", *(["latency"] if timed else []), "MACs", "bytes", "lost", "held out", "+".join(names))
    rows = [_row(point, timed=timed) for point in front.points]
    print_table(header, rows, right=range(1, len(header)))
    print_line("lost: points on evaluation samples; held out: points in the trial, and their 90 % bound")
    if beaten := [point.name for point in front.points if point.is_beaten]:
        print_line(f"beaten in all by another point: {', '.join(beaten)}")
    for text in front.said:
        print_line(text, "warning")
    middle = front.best[len(front.best) // 2]
    if middle.command:
        print_line(f"Point {middle.name} again, byte for byte:")
        print_line(f"    {middle.command}", wrap=False)


def _count(front: Front) -> str:
    best, beaten = len(front.best), len(front.points) - len(front.best)
    text = f"{best} point{'s' if best != 1 else ''} of {len(front.trials)} trials that no other beats"
    return text + (f", {beaten} more beaten" if beaten else "")


def _row(point: FrontPoint, *, timed: bool) -> tuple[str, ...]:
    return (
        point.name,
        *([percent(point.latency)] if timed else []),
        percent(point.macs),
        percent(point.bytes),
        lost(point),
        f"{point.trial.points:.2f} <{point.trial.upper:.2f}",
        "+".join(str(count) for count in point.trial.moves.values()),
    )


def lost(point: FrontPoint) -> str:
    """The points lost on evaluation samples with half the width of their interval; a dash without any."""
    if point.lost is None or point.lost_low is None or point.lost_high is None:
        return "-"
    return f"{point.lost:.2f} ±{(point.lost_high - point.lost_low) / 2:.2f}"


def percent(value: float | None, spread: float | None = None) -> str:
    """A fraction in percent, with its uncertainty; a dash for what is not known."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" + (f" ±{100 * value * spread:.1f}" if spread else "")
