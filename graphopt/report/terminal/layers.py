"""The layers of a model as tables for people: their costs, and which of them are worth compressing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphopt.analysis.layer_costs import worth_compressing
from graphopt.report.terminal.run import amount
from graphopt.report.terminal.text import print_line, print_listing, print_table

if TYPE_CHECKING:
    from graphopt.analysis.layer_costs import LayerCost, Timing

SLOWEST = 10  # layers listed when nobody asked for all
NOTHING_WORTH = "no layer takes enough time to be worth compressing by itself"


def print_layers(layers: Sequence[LayerCost], timing: Timing | None, *, every: bool) -> None:
    """Print layers in the order they compute; without ``every``, the slowest alone and what would help."""
    if timing is None:
        _print_counts(layers)
        return
    shown = layers if every else sorted(layers, key=lambda layer: -(layer.latency_ms or 0))[:SLOWEST]
    _print_times(shown, sum(layer.macs or 0 for layer in layers) or 1)
    for line in timing_lines(timing):
        print_line(line)
    _print_hints(layers)


def _print_counts(layers: Sequence[LayerCost]) -> None:
    total = sum(layer.macs or 0 for layer in layers) or 1
    rows = []
    for layer in layers:
        dims = layer.outputs[0] if layer.outputs else None
        size = "?" if dims is None else "x".join(map(str, dims))
        cells = amount(layer.parameters), amount(layer.macs), _percent(layer.macs and layer.macs / total)
        rows.append((layer.name, layer.op, size, *cells))
    header = ("layer", "operator", "output", "parameters", "MACs", "share")
    print_listing(header, rows, right=(3, 4, 5))


def _print_times(layers: Sequence[LayerCost], macs: int) -> None:
    rows = [
        (
            layer.name,
            layer.op,
            _percent(layer.macs and layer.macs / macs),
            "" if layer.latency_ms is None else f"{layer.latency_ms:.3f}",
            _percent(layer.share),
            _percent(layer.efficiency),
            layer.bound,
        )
        for layer in layers
    ]
    header = ("layer", "operator", "MACs", "ms", "time", "of peak", "bound by")
    print_listing(header, rows, right=(2, 3, 4, 5))


def timing_lines(timing: Timing) -> tuple[str, str]:
    """What the times of layers add up to, and what this machine does at best, in words."""
    line = f"all kernels take {amount(timing.kernels_ms, 'ms')}"
    if timing.other:
        line += f", {amount(sum(timing.other.values()), 'ms')} of it to change types and memory layouts"
    rates = f"{timing.macs_per_second / 1e9:.3g} G MACs and {timing.bytes_per_second / 1e9:.3g} GB a second"
    threads = timing.machine.get("threads", 1)
    return line, f"at best this machine does {rates} with {threads} thread{'s' if threads != 1 else ''}"


def _print_hints(layers: Sequence[LayerCost]) -> None:
    worth = worth_compressing(layers)
    if not worth:
        print_line(NOTHING_WORTH)
        return
    rows = [(layer.name, _percent(layer.share), layer.hint) for layer in worth[:SLOWEST]]
    print_table(("worth compressing here", "time", "why and how"), rows, right=(1,))


def _percent(share: float | None) -> str:
    return f"{100 * share:.1f} %" if share else ""
