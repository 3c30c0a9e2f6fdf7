from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.data.spec import DataSpec, parse_spec, shuffled
from graphopt.errors import UsageError

NAMES = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("photos", DataSpec(Path("photos"))),
        ("d.npz#x_test,y_test", DataSpec(Path("d.npz"), ("x_test", "y_test"))),
        ("photos::64", DataSpec(Path("photos"), (), 0, 64)),
        ("photos::64:", DataSpec(Path("photos"), (), 64, None)),
        ("photos:::64", DataSpec(Path("photos:"), (), 0, 64)),
        ("photos::32:64", DataSpec(Path("photos"), (), 32, 64)),
        ("d.npz#x::y::8", DataSpec(Path("d.npz"), ("x::y",), 0, 8)),
    ],
)
def test_reads_the_syntax(text: str, expected: DataSpec) -> None:
    assert parse_spec(text) == expected


@pytest.mark.parametrize(
    "text", ["", "a::", "a::x", "a::-3", "a::1:2:3", "a:: 4", "#x", "a#x,,y", "a#", "a:::"]
)
def test_refuses_malformed_texts_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(text)
    assert caught.value.hint and "\n" not in str(caught.value)


def test_a_file_named_like_a_slice_is_found(tmp_path: Path) -> None:
    for name in ("a::3", "b#c"):
        (tmp_path / name).touch()
        assert parse_spec(str(tmp_path / name)) == DataSpec(tmp_path / name)
    assert parse_spec(f"{tmp_path / 'b#c'}::5") == DataSpec(tmp_path / "b#c", (), 0, 5)


def test_a_text_that_cannot_be_a_path_is_no_crash() -> None:
    assert parse_spec("a" * 5000).path == Path("a" * 5000)


@given(NAMES, st.integers(0, 80))
def test_a_slice_and_its_rest_are_disjoint_and_cover(names: list[str], count: int) -> None:
    order = shuffled(names)
    first, rest = set(order[:count]), set(order[count:])
    assert not first & rest
    assert sorted(first | rest) == list(range(len(names)))


@given(NAMES)
def test_the_shuffle_depends_on_names_only(names: list[str]) -> None:
    assert np.array_equal(shuffled(names), shuffled(tuple(names)))


def test_the_shuffle_is_the_same_on_every_machine() -> None:
    assert shuffled(["a", "b", "c", "d", "e", "f"]).tolist() == [5, 4, 2, 3, 1, 0]
    assert shuffled(range(8)).tolist() == [6, 3, 0, 5, 4, 7, 1, 2]
    assert shuffled(["a", "b", "c", "d", "e", "g"]).tolist() != [5, 4, 2, 3, 1, 0]
