"""Write docs/constants.md: the numbers that choices depend on, and what each of them rests on.

A constant is a module-level name in capitals with numbers as its value.  Its comment, beside or above, says
what it is and why; a word at its beginning says what kind of reason that is::

    BLOCK = 2**15  # memory: elements converted at a time

Usage: python tools/constants.py [--check]
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "constants.md"
# What only reads, shows or stores decides nothing about a model.
DECIDING = (
    *(
        f"graphopt/{room}"
        for room in ("calibration", "cost", "metrics", "pipeline", "runtime", "solve", "targets")
    ),
    "passes",
)
KINDS = {
    "memory": "bounds the bytes that are held at a time; what exceeds it is done in parts or left out",
    "noise": "below what measuring or rounding can tell apart",
    "theory": "follows from mathematics, or is that of the paper named beside it",
    "fixed": "set by a file format, an operator's definition, number formats, or what a runtime can do",
    "time": "bounds seconds, rounds or tries; more would make a result finer, not another one",
    "shown": "how much of something is shown",
    "measured": "chosen by the measurement that the comment links to",
}
_TAG = re.compile(rf"({'|'.join(KINDS)})(?: \((?P<row>[^)]*)\))?: *(?P<text>.*)", re.DOTALL)


@dataclass(frozen=True)
class Constant:
    """Names that share one assignment, their values as written, and what the comment says."""

    path: str
    names: str
    value: str
    kind: str | None  # a key of KINDS, or None while nothing backs the number
    row: str  # of docs/benchmarks.md, of what is measured
    text: str


def constants(path: Path, label: str) -> Iterator[Constant]:
    """The constants of one file in their order."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    for statement in ast.parse(source).body:
        names, value = _assigned(statement)
        if not names or not all(name.isupper() for name in names) or not _is_numeric(value):
            continue
        assert value is not None
        tagged = _TAG.fullmatch(comment := _comment(lines, statement))
        kind, row, text = (tagged[1], tagged["row"] or "", tagged["text"]) if tagged else (None, "", comment)
        yield Constant(label, ", ".join(names), _written(source, value), kind, row, text)


def _assigned(statement: ast.stmt) -> tuple[list[str], ast.expr | None]:
    """The names and the value of an assignment; no names for anything else."""
    if isinstance(statement, ast.AnnAssign):
        target = statement.target
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
    else:
        return [], None
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    return [name.id for name in names if isinstance(name, ast.Name)], statement.value


def _is_numeric(value: ast.expr | None) -> bool:
    """Whether only numbers and arithmetic stand there."""
    if isinstance(value, ast.Constant):
        return isinstance(value.value, int | float) and not isinstance(value.value, bool)
    if isinstance(value, ast.UnaryOp):
        return _is_numeric(value.operand)
    if isinstance(value, ast.BinOp):
        return _is_numeric(value.left) and _is_numeric(value.right)
    return isinstance(value, ast.Tuple) and bool(value.elts) and all(map(_is_numeric, value.elts))


def _written(source: str, value: ast.expr) -> str:
    """The value as the source has it, on one line; a tuple without its brackets."""
    written = " ".join((ast.get_source_segment(source, value) or "").split())
    return written[1:-1] if isinstance(value, ast.Tuple) and written.startswith("(") else written


def _comment(lines: list[str], statement: ast.stmt) -> str:
    """The comment in or beside an assignment of numbers, or else the one right above it."""
    own = lines[statement.lineno - 1 : statement.end_lineno]
    if beside := [line.split("#", 1)[1].strip() for line in own if "#" in line]:
        return " ".join(beside)
    above: list[str] = []
    for line in reversed(lines[: statement.lineno - 1]):
        if not line.startswith("#"):
            break
        above.insert(0, line.lstrip("# ").strip())
    return " ".join(above)


def deciding(root: Path = ROOT) -> list[Constant]:
    """The constants of all files that decide something about a model."""
    return [
        constant
        for folder in DECIDING
        for path in sorted((root / folder).rglob("*.py"))
        for constant in constants(path, path.relative_to(root).as_posix())
    ]


def page(found: list[Constant]) -> str:
    """The page in Markdown."""
    parts = [INTRODUCTION.format(settled=sum(c.kind is not None for c in found), all=len(found))]
    for kind, meaning in KINDS.items():
        if rows := [constant for constant in found if constant.kind == kind]:
            parts.append(f"## {kind.capitalize()}\n\n{meaning[0].upper()}{meaning[1:]}.\n\n{_table(rows)}")
    if rows := [constant for constant in found if constant.kind is None]:
        parts.append(f"## Not backed yet\n\n{UNSETTLED}\n\n{_table(rows)}")
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# Constants

Numbers in the code that choices depend on, and what each rests on: {settled} of {all} are settled. Written by
`python tools/constants.py` from the comments beside them."""
UNSETTLED = (
    "Judgement, or measured where no page says so. Each waits for a derivation or for a row in"
    " [Benchmarks](benchmarks.md)."
)


def _table(rows: list[Constant]) -> str:
    lines = ["| where | name | value | what |", "|---|---|---|---|"]
    for constant in rows:
        text = constant.text.replace("|", "\\|")
        if constant.row:
            text += f" ([measured](benchmarks.md#{constant.row}))"
        names = ", ".join(f"`{name}`" for name in constant.names.split(", "))
        lines.append(f"| {constant.path} | {names} | `{constant.value}` | {text} |")
    return "\n".join(lines)


def main() -> int:
    """Write the page, or with ``--check`` say whether it is up to date."""
    text = page(deciding())
    if "--check" in sys.argv[1:]:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
