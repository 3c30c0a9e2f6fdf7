"""The layers of an inspection as rows of a table and nodes of a drawing, shaded by what they cost."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphopt.report.html.charts.drawn_layers import telling
from graphopt.report.html.charts.graph import MOST_DRAWN
from graphopt.report.html.rows import shape_text
from graphopt.report.terminal.run import amount

if TYPE_CHECKING:
    from graphopt.analysis.layer_costs import LayerCost

SHADES = 5  # steps between cheap and dear
LONGEST_SUB = 26  # letters of small print that fit a node
_LADDER = [mantissa * 10.0**power for power in range(-6, 2) for mantissa in (1, 2, 5)]  # percent


class Shades:
    """Shades for shares of a whole: round steps of about a factor of two below the largest of them."""

    def __init__(self, shares: Sequence[float | None]) -> None:
        end = max(bisect_right(_LADDER, max((share or 0.0 for share in shares), default=0.0)), SHADES)
        self._steps = _LADDER[end - SHADES : end]

    def __call__(self, share: float | None) -> str:
        """A digit, 0 for the cheapest and 5 for the most expensive; empty for what costs nothing."""
        return str(bisect_right(self._steps, share)) if share else ""

    def legend(self) -> list[tuple[str, str]]:
        """(class, words) of each shade, the most expensive first."""
        steps = [(f"e{i}", f"≥ {step:g} %") for i, step in enumerate(self._steps, 1)]
        return [*reversed(steps), ("e0", "less")]


def shares(values: Sequence[float | None]) -> list[float | None]:
    """What each value is of their sum, in percent."""
    total = sum(value or 0 for value in values) or 1
    return [None if value is None else 100 * value / total for value in values]


def cost_rows(layers: Sequence[LayerCost], reads: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """A row a layer: numbers to sort by, texts to read, shades ``t0``.. for time and ``m0``.. for MACs."""
    of_macs = shares([layer.macs for layer in layers])
    of_time = [None if layer.share is None else 100 * layer.share for layer in layers]
    by_macs, by_time = Shades(of_macs), Shades(of_time)
    homes = {name: layer.name for layer in layers for name in layer.absorbed}
    ops = {op: i for i, op in enumerate(dict.fromkeys(layer.op for layer in layers))}
    timed = any(layer.latency_ms for layer in layers)
    prices = [(layer.latency_ms or 0.0) if timed else float(layer.macs or 0) for layer in layers]
    drawn = telling(prices, reads, MOST_DRAWN)
    return [
        {
            **_numbers(layer),
            "number": number,
            "macs_share": of_macs[number] or 0.0,
            "time_share": of_time[number],
            "within": homes.get(layer.name, "") if layer.latency_ms is None else "",
            "reads": reads[number] if reads else (),
            "marks": " ".join([f"o{ops[layer.op]}", *_marks(layer)]),
            "matters": number in drawn,
            "costs": bool(layer.latency_ms if timed else layer.macs or layer.parameters),
            "sub": _sub(layer),
            "style": _style(by_time(of_time[number]), by_macs(of_macs[number])),
            "error": "",  # nothing was changed, so nothing moved
        }
        for number, layer in enumerate(layers)
    ]


def choices(rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """What rows can be filtered by, what it is called, and how many there are: operators last.

    ``counts`` are those of the marks of ``rows``.
    """
    words = {"worth": "worth compressing", "compute": "bound by compute", "memory": "bound by memory"}
    names = {row["marks"].split(" ")[0]: row["op"] for row in rows}
    first = [(mark, name, counts[mark]) for mark, name in words.items() if mark in counts]
    ops = sorted(names.items(), key=lambda item: -counts[item[0]])
    return [*first, *((mark, name, counts[mark]) for mark, name in ops)]


def _numbers(layer: LayerCost) -> dict[str, Any]:
    shown = (
        "name",
        "op",
        "parameters",
        "macs",
        "bytes",
        "latency_ms",
        "bound",
        "efficiency",
        "hint",
        "absorbed",
    )
    return {
        **{key: getattr(layer, key) for key in shown},
        "shape": shape_text(layer.outputs[0] if layer.outputs else None),
    }


def _marks(layer: LayerCost) -> list[str]:
    return [*(["worth"] if layer.hint else []), *([layer.bound] if layer.bound else [])]


def _style(time: str, macs: str) -> str:
    return " ".join([*([f"t{time}"] if time else []), *([f"m{macs}"] if macs else [])])


def _sub(layer: LayerCost) -> str:
    """A few words under the operator of a node: the time, else the work, else the shape."""
    if layer.latency_ms is not None:
        return f"{amount(layer.latency_ms, 'ms')} · {100 * (layer.share or 0):.1f} %"
    if layer.macs:
        return f"{amount(layer.macs)} MACs"
    shape = shape_text(layer.outputs[0]) if layer.outputs and layer.outputs[0] is not None else ""
    return shape if len(shape) <= LONGEST_SUB else ""
