"""Lines and tables of text on stdout, no wider than the terminal, or 80 columns where there is none.

Nothing is imported for it, because every command ends with a table.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

WIDTH = 80
GAP = 2  # columns of space between cells
NARROWEST = 6  # columns a cell keeps when a table has to shrink
_STYLES = {"warning": "33", "loud": "1;33", "failure": "1;31"}  # ANSI: yellow, bold yellow, bold red


def print_line(text: str, style: str = "", *, wrap: bool = True) -> None:
    """Print a line, wrapped between words unless ``wrap`` is off. Styles show on a terminal only."""
    if not wrap:
        print(_styled(text, style))
        return
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    wrapped = textwrap.wrap(
        text, _width(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    print(_styled("\n".join(wrapped), style))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Print rows under a header; columns in ``right`` are aligned to the right, cells wrap to fit."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    natural = [max(columns(cell) for cell in column) for column in zip(*lines, strict=True)]
    widths = _fitting(natural, _width() - GAP * (len(natural) - 1))
    aligned = set(right)
    print()
    for index, line in enumerate(lines):
        if any(header) or index:
            _print_row(line, widths, aligned)
        if any(header) and not index:
            print("-" * (sum(widths) + GAP * (len(widths) - 1)))
    print()


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: East Asian characters take two."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(character) for character in text)


def fold(text: str, width: int) -> list[str]:
    """Break a text into pieces of at most ``width`` columns, after a blank where there is one."""
    pieces: list[str] = []
    while columns(text) > width:
        end = _prefix(text, width)
        blank = text.rfind(" ", 1, end + 1)
        cut = blank if blank > 0 else end
        pieces.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*pieces, text]


def _print_row(cells: Sequence[str], widths: Sequence[int], right: set[int]) -> None:
    folded = [fold(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for number in range(max(map(len, folded))):
        parts = []
        for index, pieces in enumerate(folded):
            text = pieces[number] if number < len(pieces) else ""
            space = " " * (widths[index] - columns(text))
            parts.append(space + text if index in right else text + space)
        print((" " * GAP).join(parts).rstrip())


def _fitting(natural: Sequence[int], width: int) -> list[int]:
    """Take columns off the widest cells until all fit."""
    widths = list(natural)
    while sum(widths) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _prefix(text: str, width: int) -> int:
    """How many characters fit ``width`` columns, at least one."""
    taken = 0
    for index, character in enumerate(text):
        taken += _columns_of(character)
        if taken > width:
            return max(index, 1)
    return len(text)


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _width() -> int:
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH


def _styled(text: str, style: str) -> str:
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain or not style else f"\x1b[{_STYLES[style]}m{text}\x1b[0m"
