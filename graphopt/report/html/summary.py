"""What a run won and what it cost: the cards at the head of a report, and the size after each pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.report.html.rows import pass_colour
from graphopt.report.terminal.run import amount, decibel_text

NOTICEABLE = 0.03  # of a latency; less is what measurements differ by

METRICS = {
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
    "mAP": "Mean average precision",
    "AP50": "Average precision at IoU 0.5",
    "AP75": "Average precision at IoU 0.75",
    "mIoU": "Mean IoU",
    "pixels": "Pixels of the right class",
    "lines": "Lines read right",
}
AGREEMENT = {
    "top1": "of the answers are those of the original",
    "boxes": "of the boxes are those of the original",
    "masks": "mean IoU with the masks of the original",
    "lines": "of the lines are those of the original",
}

QUANTITIES = (
    ("bytes", "Weights", "B"),
    ("macs", "MACs", ""),
    ("parameters", "Parameters", ""),
    ("nodes", "Nodes", ""),
)


def cards(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """The headline numbers, each with before, after, change and whether that is good (``good``, ``bad``)."""
    before, after = document["before"], document["after"]
    listed = [
        _ratio_card("File size", before["bytes"], after["bytes"], "B"),
        _ratio_card("MACs", before["macs"], after["macs"], ""),
    ]
    if before.get("latency_ms") and after.get("latency_ms"):
        listed.append(_ratio_card("Latency", before["latency_ms"], after["latency_ms"], "ms", NOTICEABLE))
    for name, value in before.get("metrics", {}).items():
        now = after.get("metrics", {}).get(name)
        if value is not None and now is not None:
            listed.append(_metric_card(name, value, now, document.get("paired", {}).get(name, {})))
    return [*listed, *_agreement_cards(document.get("agreement", {}))]


def _ratio_card(
    title: str, before: float | None, after: float | None, unit: str, noise: float = 0.0
) -> dict[str, str]:
    card = {"title": title, "before": amount(before, unit), "after": amount(after, unit)}
    if not before or after is None:
        return {**card, "change": "", "tone": ""}
    change = after / before - 1
    if abs(change) <= noise or before == after:
        return {**card, "change": "same", "tone": ""}
    times = (
        f"{before / after:.1f}× less" if after and before / after >= 1.95 else f"{_signed(100 * change, 1)} %"
    )
    return {**card, "change": times, "tone": "good" if change < 0 else "bad"}


def _metric_card(name: str, before: float, after: float, paired: Mapping[str, Any]) -> dict[str, str]:
    points = 100 * (after - before)
    was, now = (f"{100 * value:.2f} %" if name in METRICS else f"{value:.4g}" for value in (before, after))
    card = {"title": METRICS.get(name, name), "before": was, "after": now}
    if abs(points) <= 0.005:
        return {**card, "change": "same", "tone": ""}
    change = f"{_signed(points, 2)} points"
    if paired and paired["low"] <= 0 <= paired["high"]:
        interval = f"{_signed(100 * paired['low'], 2)} to {_signed(100 * paired['high'], 2)}"
        return {**card, "change": f"{change}, noise ({interval})", "tone": ""}
    return {**card, "change": change, "tone": "good" if points > 0 else "bad"}


def _signed(value: float, digits: int) -> str:
    """A number with its sign, the minus as long as the plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _agreement_cards(agreement: Mapping[str, Any]) -> list[dict[str, str]]:
    listed = []
    for key, what in AGREEMENT.items():
        if key in agreement:
            share = f"{100 * agreement[key]:.2f} %"
            listed.append(
                {"title": "Agreement", "before": "", "after": share, "change": what, "tone": "note"}
            )
    ratios = {name: value for name, value in agreement.get("snr_db", {}).items() if value is not None}
    if ratios:
        worst = min(ratios, key=ratios.__getitem__)
        note = f"worst output: {worst}" if len(ratios) > 1 else f"output {worst}"
        card = {"title": "SQNR", "before": "", "after": decibel_text(ratios[worst])}
        listed.append({**card, "change": note, "tone": "note"})
    return listed


def in_short(document: Mapping[str, Any]) -> str:
    """One sentence: what was won and what it cost."""
    before, after = document["before"], document["after"]
    parts = []
    if after["bytes"]:
        parts.append(_times(before["bytes"] / after["bytes"], "smaller", "larger"))
    if before.get("latency_ms") and after.get("latency_ms"):
        parts.append(_times(before["latency_ms"] / after["latency_ms"], "faster", "slower"))
    name = next(iter(after.get("metrics", {})), "")
    was, now = (side.get("metrics", {}).get(name) for side in (before, after))
    share = document.get("agreement", {}).get("top1")
    if was is not None and now is not None:
        parts.append(f"{_signed(100 * (now - was), 2)} points of {'top-1' if name == 'top1' else name}")
    elif share is not None:
        parts.append(f"{100 * share:.1f} % of the answers unchanged")
    return ", ".join(parts)


def _times(ratio: float, more: str, less: str) -> str:
    if abs(ratio - 1) <= NOTICEABLE:
        return f"not {more}"
    return f"{ratio:.2f}× {more}" if ratio > 1 else f"{1 / ratio:.2f}× {less}"


def waterfalls(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each quantity the bars of a waterfall: how much was there before each pass, how much after."""
    stages = document.get("stages", ())
    drawn = []
    for key, title, unit in QUANTITIES:
        values = [stage.get(key) for stage in stages]
        if len(values) > 1 and all(isinstance(value, (int, float)) for value in values) and max(values):
            drawn.append({"key": key, "title": title, "bars": _bars(stages, values, unit)})
    return drawn


def _bars(stages: Sequence[Mapping[str, Any]], values: Sequence[float], unit: str) -> list[dict[str, Any]]:
    top = max(values)
    bars = []
    for stage, was, now in zip(stages, [values[0], *values], values, strict=False):
        change = 100 * (now - was) / was if was else 0.0
        bars.append(
            {
                "name": str(stage["name"]),
                "text": amount(now, unit),
                "change": f"{_signed(change, 1)} %" if now != was else "",
                "left": 100 * min(now, was) / top,
                "lost": 100 * (was - now) / top if was > now else 0.0,
                "gained": 100 * (now - was) / top if now > was else 0.0,
                "colour": "ph" if stage["name"] == "input" else pass_colour(str(stage["name"])),
            }
        )
    return bars


def skip_groups(passes: Sequence[Mapping[str, Any]], most: int = 60) -> list[dict[str, Any]]:
    """Reasons why something was skipped, the most frequent first, with the nodes they hold for."""
    groups: dict[tuple[str, str], list[str]] = {}
    for entry in passes:
        for skip in entry.get("skips", ()):
            groups.setdefault((str(entry["name"]), str(skip["reason"])), []).append(str(skip["node"]))
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [
        {
            "pass": name,
            "reason": reason,
            "count": len(nodes),
            "nodes": nodes[:most],
            "more": max(len(nodes) - most, 0),
        }
        for (name, reason), nodes in ordered
    ]
