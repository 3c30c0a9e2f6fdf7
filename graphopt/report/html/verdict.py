"""Whether a result can be shipped, and the reasons on which that rests: the first thing a report says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from graphopt.report.html.risk import slower_layers
from graphopt.report.html.summary import AGREEMENT, METRICS

CAREFUL = 1.0  # fixed: points that a run without a goal may cost in all (see Goals in docs/cli.md)
CERTAIN = 1.96  # theory: standard errors of an interval that holds 95 of 100 times
# noise: times the latency before; less is what measurements differ by
SLOWER = 1.05
QUIET = 40.0  # theory: dB; noise of one percent of the signal
LOUD = 0.0  # theory: dB; as much noise as signal

Tone = Literal["bad", "look", "good"]
WORDS: dict[Tone, str] = {"bad": "Do not ship", "look": "Look here first", "good": "Ship"}
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Reason:
    """One thing that speaks against a result, asks for a look, or speaks for it; ``link`` shows it."""

    tone: Tone
    text: str
    link: str = ""


def verdict(document: Document) -> dict[str, Any]:
    """The word, its tone, and the reasons, the gravest first."""
    order = list(WORDS)
    reasons = sorted(_reasons(document), key=lambda reason: order.index(reason.tone))
    tone: Tone = reasons[0].tone if reasons else "look"
    return {"word": WORDS[tone], "tone": tone, "reasons": reasons}


def _reasons(document: Document) -> Iterator[Reason]:
    for text in document.get("missed", ()):
        yield Reason("bad", f"A goal was missed: {text}.")
    yield from _quality(document)
    yield from _samples(document)
    yield from _speed(document)
    yield from _size(document)
    if not any(entry.get("changes") for entry in document["passes"]):
        yield Reason("look", "No pass changed anything.", "#skipped")
    if warnings := document.get("warnings", ()):
        count = len(warnings)
        yield Reason("look", f"The run gave {count} warning{'s' if count > 1 else ''}.", "#warnings")


# -- answers -----------------------------------------------------------------------------------------------


def _quality(document: Document) -> Iterator[Reason]:
    """What the first of these says that was measured: the metric, the agreement, the SQNR."""
    before, after = (document[side].get("metrics", {}) for side in ("before", "after"))
    name = next(iter(before), None)
    agreement = document.get("agreement", {})
    shares = [key for key in AGREEMENT if key in agreement]
    if name is not None and before[name] is not None:
        yield _metric(document, name, before[name], after.get(name))
    elif shares:
        yield _agreement(document, shares[0], agreement[shares[0]])
    elif ratios := {k: v for k, v in agreement.get("snr_db", {}).items() if v is not None}:
        yield _signal(ratios)
    elif agreement.get("snr_db"):
        yield Reason("bad", "No output could be compared: the result's are not finite.")
    else:
        yield Reason("look", "The result was not compared with the original.")


def _metric(document: Document, name: str, before: float, after: float | None) -> Reason:
    called = METRICS.get(name, name)
    if after is None:
        return Reason("bad", f"{called} cannot be measured any more: the answers are not finite.")
    lost, allowed = 100 * (before - after), _allowed(document)
    paired = document.get("paired", {}).get(name)
    if paired is None or paired["low"] is None or paired["high"] is None:
        tone: Tone = "bad" if lost > allowed else "good"
        return Reason(tone, f"{called} {_moved(lost)}{_against(lost, allowed, document)}.")
    least, most = -100 * paired["high"], -100 * paired["low"]  # points lost, with certainty of 95 %
    within = f"{-most:+.2f} to {-least:+.2f} points with 95 % confidence".replace("-", "−")
    if least > allowed:
        return Reason("bad", f"{called} {_moved(lost)}{_against(lost, allowed, document)} ({within}).")
    if lost > allowed or most > allowed:
        return Reason(
            "look",
            f"{called} {_moved(lost)}, but these samples are too few to rule out a loss of more than "
            f"{_points(allowed)} ({within}).",
        )
    return Reason("good", f"{called} {_moved(lost)} ({within}).")


def _agreement(document: Document, key: str, share: float) -> Reason:
    """Without labels a point is a hundredth of the answers that changed."""
    lost, allowed = 100 * (1 - share), _allowed(document)
    samples = (document.get("judged_on") or {}).get("samples") or document.get("agreement", {}).get("samples")
    error = 100 * CERTAIN * math.sqrt(max(share * (1 - share), 0.0) / samples) if samples else 0.0
    text = f"{100 * share:.2f} % {AGREEMENT[key]}"
    if lost - error > allowed:
        return Reason("bad", f"{text}{_against(lost, allowed, document)}. There are no labels to judge by.")
    if lost > allowed:
        return Reason("look", f"{text}: on the edge of what may be lost, {_points(allowed)}.")
    return Reason("good", f"{text}. There are no labels to judge accuracy by.")


def _signal(ratios: Mapping[str, float]) -> Reason:
    worst = min(ratios, key=ratios.__getitem__)
    text = f"The output {worst} has an SQNR of {ratios[worst]:.1f} dB"
    if ratios[worst] <= LOUD:
        return Reason("bad", f"{text}: as much noise as signal.", "#risk")
    if ratios[worst] < QUIET:
        return Reason("look", f"{text}, and neither a task nor labels say whether that is enough.", "#risk")
    return Reason("good", f"{text}: noise below one percent.")


def _allowed(document: Document) -> float:
    return float((document.get("goals") or {}).get("max_drop") or CAREFUL)


def _against(lost: float, allowed: float, document: Document) -> str:
    if lost <= allowed:
        return ""
    whose = "the goal" if (document.get("goals") or {}).get("max_drop") else "a careful run"
    return f", more than the {_points(allowed)} that {whose} allows"


def _points(count: float) -> str:
    return f"{count:g} point{'' if count == 1 else 's'}"


def _moved(lost: float) -> str:
    if abs(lost) < 0.005:
        return "is unchanged"
    return f"{'lost' if lost > 0 else 'gained'} {abs(lost):.2f} points"


# -- what it was judged on -----------------------------------------------------------------------------------


def _samples(document: Document) -> Iterator[Reason]:
    judged, calibration = document.get("judged_on") or {}, document["calibration"]
    if judged.get("source") == "synthetic":
        yield Reason("look", "It was judged on synthetic images, which say little about real ones.")
    elif calibration.get("source") == "synthetic" and calibration.get("samples"):
        yield Reason("look", "It was calibrated on synthetic images: --calibration takes real ones.")
    if shared := calibration.get("shared_with_evaluation"):
        yield Reason(
            "look", f"{shared} samples were both calibrated and judged on: the figures are too kind."
        )


# -- time and size -------------------------------------------------------------------------------------------


def _speed(document: Document) -> Iterator[Reason]:
    before, after = (document[side].get("latency_ms") for side in ("before", "after"))
    slower = slower_layers(document)
    if before and after:
        if after > SLOWER * before:
            yield Reason("look", f"It runs {after / before:.2f} times as long as the original here.", "#risk")
        elif after < before / SLOWER:
            yield Reason("good", f"It runs {before / after:.2f} times as fast as the original.")
    if slower and not (before and after and after < before / SLOWER):  # else the whole gained all the same
        count = len(slower)
        yield Reason("look", f"{count} layer{'s' if count > 1 else ''} got slower.", "#risk")


def _size(document: Document) -> Iterator[Reason]:
    before, after = document["before"].get("bytes"), document["after"].get("bytes")
    if before and after and after > before:
        yield Reason("look", f"The file is {after / before:.2f} times as large as the original.")
    elif before and after and after < before:
        yield Reason("good", f"The file has {100 * after / before:.0f} % of the bytes.")
