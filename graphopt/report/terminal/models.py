"""Inspections and comparisons as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphopt.report.terminal.divergence import print_divergence
from graphopt.report.terminal.layers import print_layers
from graphopt.report.terminal.run import amount, decibel_text
from graphopt.report.terminal.text import print_line, print_table

if TYPE_CHECKING:
    from graphopt.analysis.backend_comparison import BackendComparison
    from graphopt.analysis.comparison import Comparison
    from graphopt.analysis.inspection import Inspection
    from graphopt.ir import Port
    from graphopt.record.record import Measures

_MEASURES = (
    ("nodes", "nodes", ""),
    ("constants", "constants", ""),
    ("parameters", "parameters", ""),
    ("MACs", "macs", ""),
    ("file size", "bytes", "B"),
    ("latency", "latency_ms", "ms"),
)


def print_inspection(inspection: Inspection, *, every: bool = True) -> None:
    """Print what is in a model to stdout; without ``every``, of timed layers the slowest alone."""
    opsets = ", ".join(f"{domain or 'onnx'} {version}" for domain, version in inspection.opsets.items())
    print_line(f"{inspection.path}: IR version {inspection.ir_version}, opsets {opsets}")
    ports = [("input", *port_cells(p, inspection.shapes)) for p in inspection.inputs]
    ports += [("output", *port_cells(p, {})) for p in inspection.outputs]
    print_table(("", "name", "type", "shape", "run at"), ports)
    print_table(("", ""), _measure_rows(inspection.measures), right=(1,))
    print_table(("operator", "nodes"), [(op, str(count)) for op, count in inspection.ops.items()], right=(1,))
    if inspection.attention:
        print_table(
            ("attention", "heads", "channels", "tokens", "sequences"), _attention_rows(inspection), right=(1,)
        )
    if inspection.layers and (every or inspection.timing is not None):
        print_layers(inspection.layers, inspection.timing, every=every)
    if inspection.ranges:
        rows = [(name, f"{low:.6g}", f"{high:.6g}") for name, (low, high) in inspection.ranges.items()]
        print_table((f"input over {inspection.samples} samples", "smallest", "largest"), rows, right=(1, 2))


def print_comparison(comparison: Comparison, *, every: bool = False) -> None:
    """Print two models side by side to stdout; with ``every``, all their inner tensors."""
    rows = [
        (title, amount(getattr(comparison.a, key), unit), amount(getattr(comparison.b, key), unit))
        for title, key, unit in _MEASURES
    ]
    print_table(("", "A", "B"), rows, right=(1, 2))
    if comparison.latency_ratio is not None:
        print_line(f"B takes {comparison.latency_ratio:.3f} times as long as A")
    print_line(f"compared on {comparison.samples} samples ({comparison.source})")
    print_table(
        ("output", "max |difference|", "relative", "SQNR"),
        [(name, *_difference_cells(values)) for name, values in comparison.outputs.items()],
        right=(1, 2, 3),
    )
    if "top1" in comparison.agreement:
        print_line(f"both give the same answer on {comparison.agreement['top1']:.4f} of the samples")
    if comparison.backend is not None:
        _print_backend(comparison.backend)
    if comparison.inner is not None:
        print_divergence(comparison.inner, every=every)


def _print_backend(there: BackendComparison) -> None:
    """Print what both files do in another runtime."""
    rows = []
    for letter, sqnr, ms, counts in zip("AB", there.sqnr_db, there.milliseconds, there.kernels, strict=True):
        integers = "unknown" if counts is None else f"{counts[0]} of {counts[1]}"
        rows.append((letter, decibel_text(sqnr), amount(ms, "ms"), integers))
    print_line(f"in {there.name} {there.version}:")
    print_table(("", "SQNR against onnxruntime", "time", "layers on integers"), rows, right=(1, 2, 3))
    apart = decibel_text(there.apart_db)
    print_line(f"there B is {apart} from A, and takes {there.latency_ratio:.3f} times as long")


def _attention_rows(inspection: Inspection) -> list[tuple[str, ...]]:
    """A row for each attention: channels of a head, of values where they differ, who attends to whom."""
    rows: list[tuple[str, ...]] = []
    for block in inspection.attention:
        sizes = (
            f"{block.size}" if block.size == block.value_size else f"{block.size}, values {block.value_size}"
        )
        over = f"{block.queries} x {block.keys}" + (" channels" if block.over == "channels" else "")
        heads = f"{block.heads}, mixed" if block.mixes_heads else str(block.heads)
        rows.append((block.name, heads, sizes, over, str(block.sequences)))
    return rows


def _measure_rows(measures: Measures) -> list[tuple[str, str]]:
    shown = ((title, getattr(measures, key), unit) for title, key, unit in _MEASURES)
    return [(title, amount(value, unit)) for title, value, unit in shown if value is not None or unit != "ms"]


def port_cells(
    port: Port, shapes: Mapping[str, tuple[int, ...]], times: str = "x"
) -> tuple[str, str, str, str]:
    """Name, type, shape and the sizes run at of an input or output, as texts."""
    shape = "unknown" if port.shape is None else times.join("?" if d is None else str(d) for d in port.shape)
    run_at = times.join(map(str, shapes.get(port.name, ())))
    return port.name, str(port.dtype or "not a tensor"), shape or "scalar", run_at


def _difference_cells(values: Mapping[str, Any]) -> tuple[str, str, str]:
    if values["mismatch"]:
        return values["mismatch"], "-", "-"
    if values["unequal"]:
        return f"{values['unequal']} of {values['elements']} differ", "-", "-"
    return f"{values['max_abs']:.3g}", f"{values['relative']:.3g}", decibel_text(values["snr_db"])
