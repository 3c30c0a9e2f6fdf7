"""Where two models part, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.report.terminal.run import decibel_text
from graphopt.report.terminal.text import print_line, print_table

if TYPE_CHECKING:
    from graphopt.analysis.divergence import Divergence, TensorDifference


def print_divergence(divergence: Divergence, *, every: bool) -> None:
    """Print the tensor where the difference begins; with ``every``, all that were compared."""
    if every and divergence.tensors:
        rows = [
            (one.tensor, one.op, _ratio(one), f"{one.relative:.2g}", "*" if one.differs else "")
            for one in divergence.tensors
        ]
        print_table(("tensor", "operator", "SQNR", "relative", "*"), rows, right=(2, 3))
        print_line("* differs by more than rounding")
    compared = f"{len(divergence.tensors)} inner tensors were compared"
    print_line(compared + (f", {divergence.unmatched} have no counterpart" if divergence.unmatched else ""))
    if divergence.first is None:
        print_line("none of them differs by more than rounding")
        return
    print_line(f"the first difference is at {_told(divergence.first)}", "loud")
    if divergence.worst is not None and divergence.worst != divergence.first:
        print_line(f"the largest loss is at {_told(divergence.worst)}")


def _told(one: TensorDifference) -> str:
    other = "" if one.other == one.tensor else f", {one.other} in B"
    ratio = "" if one.snr_db is None else f": {decibel_text(one.snr_db)}"
    return f"{one.tensor} ({one.op} {one.node}{other}){ratio}"


def _ratio(one: TensorDifference) -> str:
    return "-" if one.snr_db is None else decibel_text(one.snr_db)
