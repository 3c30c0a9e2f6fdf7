"""The page of constants says what the code says, and no new number comes without a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import constants

AS_FOUND = 7  # with no kind of reason yet; a number may leave this list, none may join it

pytestmark = pytest.mark.skipif(not constants.PAGE.exists(), reason="needs the checkout")


@pytest.fixture(scope="module")
def deciding() -> list[constants.Constant]:
    return constants.deciding()


def test_the_page_is_up_to_date(deciding: list[constants.Constant]) -> None:
    text = constants.page(deciding)
    assert constants.PAGE.read_text("utf-8") == text, "run: python tools/constants.py"


def test_every_new_constant_says_what_it_rests_on(deciding: list[constants.Constant]) -> None:
    unsettled = [f"{c.path} {c.names}" for c in deciding if c.kind is None]
    assert len(unsettled) <= AS_FOUND, f"begin the comment with one of {[*constants.KINDS]}: {unsettled}"


def test_rows_that_are_linked_exist(deciding: list[constants.Constant]) -> None:
    headings = {
        line.strip("# ").lower().replace(" ", "-")
        for line in (constants.PAGE.parent / "benchmarks.md").read_text("utf-8").splitlines()
        if line.startswith("#")
    }
    rows = {c.row for c in deciding if c.kind == "measured"}
    assert not [row for row in rows if row not in headings]


def test_constants_are_read_with_their_comments(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        "# theory: above\n"
        "# it, in two lines\n"
        "A = 1.5\n"
        "B, C = 2**10, -1  # memory: beside, é\n"
        "D: float = 1e-9\n"
        "E = (1, 2)  # measured (low-rank): chosen | so\n"
        "F = 'text'  # noise: is no number\n"
        "lower = 3  # noise: is no constant\n"
        "def function() -> None:\n    G = 4  # noise: is local\n",
        encoding="utf-8",
    )
    found = [(c.names, c.value, c.kind, c.row, c.text) for c in constants.constants(path, "some.py")]
    assert found == [
        ("A", "1.5", "theory", "", "above it, in two lines"),
        ("B, C", "2**10, -1", "memory", "", "beside, é"),
        ("D", "1e-9", None, "", ""),
        ("E", "1, 2", "measured", "low-rank", "chosen | so"),
    ]
    text = constants.page(list(constants.constants(path, "some.py")))
    assert "3 of 4 are settled" in text
    assert "| some.py | `E` | `1, 2` | chosen \\| so ([measured](benchmarks.md#low-rank)) |" in text
