"""The commands on the pages of the docs, as a reader would copy them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n)?^ *```(?:console|bash)[^\n]*\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Command:
    """One command line; ``reason`` says why it is not run, if it is not."""

    line: int
    text: str
    reason: str = ""


def pages() -> list[Path]:
    """Every page of the site, and the README."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(text: str) -> Iterator[Command]:
    """The graphopt commands of a page in order, lines that end in a backslash joined."""
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start("body")) + 1
        pending, start = "", first
        for number, line in enumerate(block["body"].splitlines(), first):
            part = line.strip().removeprefix("$ ")
            start = start if pending else number
            pending += part.removesuffix("\\").rstrip() + " "
            if part.endswith("\\"):
                continue
            if pending.startswith("graphopt "):
                yield Command(start, _without_comment(pending).strip(), block["reason"] or "")
            pending = ""


def _without_comment(text: str) -> str:
    """A command without what stands behind `` # ``."""
    return re.split(r"\s#\s", text, maxsplit=1)[0]
