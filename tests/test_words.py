"""Words that only we would understand: counted, so that none comes back and each that goes stays away."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("graphopt", "passes", "tools", "docs", "README.md", "CONTRIBUTING.md")

# How often each may stand there at most; who takes one out lowers the number.
AT_MOST = {
    r"\w*foret[eo]l\w*": 0,
    r"afresh": 0,
    r"dearest": 0,
    r"sparing": 0,
    r"stir\w*": 0,
    r"steady": 0,
    r"made-up|made up": 0,
    r"harm\w*": 0,
    r"told": 0,
}


def texts() -> list[str]:
    places = [ROOT / place for place in PLACES]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    return [file.read_text("utf-8") for file in files if file.suffix in (".py", ".md", ".toml")]


def test_private_words_do_not_come_back() -> None:
    written = "\n".join(texts())
    counts = {word: len(re.findall(rf"\b(?:{word})\b", written, re.IGNORECASE)) for word in AT_MOST}
    assert written.count("graphopt") > 1000, "the files are read"
    assert {word: count for word, count in counts.items() if count > AT_MOST[word]} == {}
