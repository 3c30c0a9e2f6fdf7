"""Lines and tables on stdout, drawn by rich: as wide as the terminal, or 80 columns where there is none."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from rich.box import ASCII2, SIMPLE_HEAD
from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 80
LONG = 500  # rows above which a table is laid out here: rich takes a millisecond for each
_STYLES = {"warning": "yellow", "loud": "bold yellow", "failure": "bold red", "headline": "bold"}


class _Stdout(Console):
    """Stdout as it is now; colours only on a terminal that wants them."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        width = None if terminal else WIDTH
        super().__init__(width=width, force_terminal=terminal, highlight=False, emoji=False, markup=False)

    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which knows that a reader may have seen enough."""
        raise BrokenPipeError


def print_line(text: str, style: str = "", *, wrap: bool = True) -> None:
    """Print a line, wrapped between words unless ``wrap`` is off or a word, such as a path, is too long."""
    console, line = _Stdout(), Text(text, _STYLES.get(style, ""))
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    width = console.width - len(indent)
    wrap = wrap and max((len(word) for word in text.split()), default=0) <= width
    for number, piece in enumerate(line.wrap(console, width) if wrap else [line]):
        piece.rstrip()
        console.print(Text(indent if number else "") + piece, soft_wrap=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Print rows under a header; columns in ``right`` are aligned to the right, cells wrap to fit."""
    console, aligned, rows = _Stdout(), set(right), list(rows)
    plain = console.encoding.lower() not in ("utf-8", "utf8")
    if len(rows) > LONG:
        console.file.writelines(_long_table(header, rows, aligned, console.width, "-" if plain else "─"))
        return
    table = Table(box=ASCII2 if plain else SIMPLE_HEAD, show_header=any(header))
    for index, name in enumerate(header):
        table.add_column(Text(name), justify="right" if index in aligned else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def print_listing(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Print a table whose first column are names, which are never broken.

    Where a row does not fit, each name has a line of its own and the other columns stand below it.
    """
    console, aligned, rows = _Stdout(), set(right), list(rows)
    natural = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    if sum(natural) + 3 * len(natural) + 1 <= console.width:
        print_table(header, rows, right=aligned)
        return
    below = {index - 1 for index in aligned}
    lines = [f"\n  {header[0]}\n", *_indented(header[1:], natural[1:], below)]
    for row in rows:
        lines += [f"  {row[0]}\n", *_indented(row[1:], natural[1:], below)]
    console.file.writelines(lines)


def _indented(row: Sequence[str], widths: Sequence[int], right: set[int]) -> Iterator[str]:
    return (f"  {line}" for line in _row_lines(row, widths, right))


def _long_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: set[int], width: int, rule: str
) -> Iterator[str]:
    """The lines of a table as rich would draw it; the widest columns give way where it does not fit."""
    natural = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    free = width - 3 * len(header) - 1
    widest = max(natural)
    while sum(min(column, widest) for column in natural) > free and widest > 2:
        widest -= 1
    widths = [min(column, widest) for column in natural]
    yield from _row_lines(header, widths, right)
    yield f" {rule * (sum(widths) + 3 * len(widths) - 1)}\n"
    for row in rows:
        yield from _row_lines(row, widths, right)


def _row_lines(row: Sequence[str], widths: Sequence[int], right: set[int]) -> Iterator[str]:
    """One row, on as many lines as its longest cell takes."""
    folded = [
        [cell] if cell_len(cell) <= width else chop_cells(cell, width)
        for cell, width in zip(row, widths, strict=True)
    ]
    for pieces in zip_longest(*folded, fillvalue=""):
        cells = (
            " " * (width - cell_len(piece)) + piece
            if index in right
            else piece + " " * (width - cell_len(piece))
            for index, (piece, width) in enumerate(zip(pieces, widths, strict=True))
        )
        yield f"  {'   '.join(cells)}".rstrip() + "\n"
