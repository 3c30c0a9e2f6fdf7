"""A front as a page: its points to choose from, what each changes in which layer, and its command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from graphopt.report.html.charts.axes import Scale, frame, scale
from graphopt.report.html.environment import render
from graphopt.report.html.markup import path, svg, tag, text
from graphopt.report.html.rows import pass_colour
from graphopt.report.terminal.front import lost, percent
from graphopt.report.terminal.run import amount

if TYPE_CHECKING:
    from graphopt.record.front import Front, FrontPoint, FrontTrial

WIDTH, HEIGHT = 820.0, 400.0


def render_front(front: Front) -> str:
    """The page of a front."""
    return render("front.html.j2", _view(front))


def _view(front: Front) -> dict[str, Any]:
    steps = [part.partition(":")[0] for part in front.passes.split(",")]
    return {
        "title": Path(front.model).name,
        "front": front,
        "steps": [(step, pass_colour(step)) for step in steps],
        "cards": _cards(front),
        "plot": _plot(front),
        "alone": [(name, pass_colour(name)) for name, trials in front.alone.items() if trials],
        "points": [_point(point) for point in front.points],
        "timed": any(point.latency is not None for point in front.points),
    }


def _cards(front: Front) -> list[dict[str, str]]:
    fastest, closest = front.best[0], min(front.best, key=lambda point: point.quality)
    cards = [
        ("Points", str(len(front.best)), f"of {len(front.trials)} trials: no other beats them"),
        ("Fastest", _time(fastest), f"{fastest.quality:.2f} points lost"),
        ("Closest", _time(closest), f"{closest.quality:.2f} points lost"),
        ("Judged on", amount(front.evaluation or front.samples), _judged(front)),
    ]
    return [
        {"title": title, "before": "", "after": value, "change": note, "tone": "note"}
        for title, value, note in cards
    ]


def _time(point: FrontPoint) -> str:
    return percent(point.costs[0])


def _judged(front: Front) -> str:
    return "evaluation samples" if front.evaluation else f"held-out samples: {front.judged_by}"


def _point(point: FrontPoint) -> dict[str, Any]:
    changes: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, layer, what in point.changes:
        changes[name].append((layer, what))
    return {
        "name": point.name,
        "is_beaten": point.is_beaten,
        "latency": percent(point.latency, point.latency_spread),
        "macs": percent(point.macs),
        "bytes": percent(point.bytes),
        "lost": lost(point),
        "trial": f"{point.trial.points:.2f}",
        "upper": f"{point.trial.upper:.2f}",
        "expected": f"{point.trial.expected:.2f}",
        "sqnr": "-" if point.sqnr_db is None else f"{point.sqnr_db:.1f} dB",
        "moves": [(name, pass_colour(name), count) for name, count in point.trial.moves.items() if count],
        "changes": [(name, pass_colour(name), layers) for name, layers in changes.items()],
        "warnings": point.warnings,
        "command": point.command,
        "output": point.output,
    }


def _plot(front: Front) -> Markup:
    """Trials by what they leave and lose: the front's as links, those of single passes as lines."""
    shown = [*front.trials, *(point.trial for point in front.points)]
    x = scale([0.0, *(one.left for one in shown), 1.0], 56.0, WIDTH - 24, margin=0.02)
    y = scale([0.0, *(one.points for one in shown)], HEIGHT - 44, 20.0, margin=0.05)
    parts = frame(x, y, f"{front.saves} left, in trials", f"points lost: {front.judged_by}")
    for name, trials in front.alone.items():
        parts += _line(trials, x, y, f"{pass_colour(name)} alone", name)
    best = [point.trial for point in front.points if not point.is_beaten]
    parts.append(path([(x(one.left), y(one.points)) for one in best], "front"))
    parts += [tag("circle", cx=x(one.left), cy=y(one.points), r=2.5, class_="tried") for one in front.trials]
    parts += list(_dots(front.points, x, y))
    label = f"points lost against {front.saves} left"
    return svg(WIDTH, HEIGHT, *parts, label=label, role="group", class_="plot pareto", id="front-plot")


def _line(trials: Sequence[FrontTrial], x: Scale, y: Scale, class_: str, name: str) -> list[Markup]:
    ordered = sorted(trials, key=lambda one: one.left)
    if not ordered:
        return []
    line = path([(x(one.left), y(one.points)) for one in ordered], f"line {class_}")
    last = ordered[-1]
    return [line, text(x(last.left), y(last.points) + 16, f"{name} alone", f"note {class_}", "end")]


def _dots(points: Sequence[FrontPoint], x: Scale, y: Scale) -> Iterator[Markup]:
    for point in points:
        here, there = x(point.trial.left), y(point.trial.points)
        upper = y(point.trial.upper)
        state = "beaten" if point.is_beaten else "run"
        words = f"point {point.name}: {percent(point.costs[0])} left, {point.trial.points:.2f} points lost"
        dot = tag("circle", tag("title", words), cx=here, cy=there, r=7, class_=state)
        whisker = path([(here, there), (here, max(upper, 8.0))], "whisker")
        name = text(here + 10, there - 8, point.name, "name")
        yield tag("a", whisker, dot, name, href=f"#p{point.name}", data_point=point.name, aria_label=words)
