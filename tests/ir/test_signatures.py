"""What inputs may hold, by the specification."""

from __future__ import annotations

import pytest

from graphopt.ir.signatures import takes_float


@pytest.mark.parametrize(
    ("op", "index", "expected"),
    [
        ("Reshape", 0, True),
        ("Reshape", 1, False),
        ("Gather", 1, False),
        ("Resize", 2, True),
        ("Concat", 7, True),
        ("Where", 0, False),
        ("NoSuchOperator", 3, True),
    ],
)
def test_floats_are_told_from_indices(op: str, index: int, expected: bool) -> None:
    assert takes_float(op, index) == expected
