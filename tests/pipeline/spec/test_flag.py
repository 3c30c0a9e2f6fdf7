"""A flag that is declared once: converted and checked as a field, spelled and explained everywhere."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graphopt.errors import UsageError
from graphopt.pipeline.spec import flag
from graphopt.pipeline.spec.flag import Flag, flags_of, signature_of
from graphopt.pipeline.spec.run_flags import RunFlags


@dataclass(kw_only=True)
class Wishes:
    """Flags of a made example."""

    out_file: Flag[str | Path | None, Path | None] = Flag(None, flag.path(), "Where.", shown="nowhere")
    count: Flag[int, int] = Flag(3, flag.whole(1, 9), "How many.")
    names: Flag[str | list[str], tuple[str, ...]] = Flag((), flag.texts(), "Which.")  # type: ignore[arg-type]
    mode: Flag[str, str] = Flag("slow", flag.one_of("slow", "fast"), "How.")


@dataclass(kw_only=True)
class MoreWishes(Wishes):
    """The same with a field that is no flag."""

    factor: float = 1.0


def test_values_become_what_the_field_holds() -> None:
    wishes = MoreWishes(out_file="a/b", names="x")
    assert (wishes.out_file, wishes.count, wishes.names, wishes.mode) == (Path("a/b"), 3, ("x",), "slow")
    assert dataclasses.replace(wishes, count=4) == MoreWishes(out_file="a/b", count=4, names=["x"])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"count": 0}, "--count takes 1 to 9, not 0"),
        ({"count": True}, "--count takes 1 to 9, not True"),
        ({"out_file": ""}, "an empty text is not a path"),
        ({"names": 3}, "3 is neither a text nor a list of texts"),
        ({"mode": "fats"}, "--mode is one of slow, fast, not 'fats'"),
    ],
)
def test_what_a_flag_does_not_take_is_refused_by_its_spelling(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as refused:
        Wishes(**wrong)
    assert str(refused.value) == says


def test_a_flag_is_set_once() -> None:
    wishes = Wishes()
    with pytest.raises(dataclasses.FrozenInstanceError, match="--count"):
        wishes.count = 5


def test_the_signature_shows_what_may_be_given() -> None:
    first = inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = signature_of(MoreWishes, [first], "None")
    assert list(signature.parameters) == ["model", "out_file", "count", "names", "mode", "factor"]
    shown = [str(parameter.annotation) for parameter in signature.parameters.values()][1:4]
    assert shown == ["str | Path | None", "int", "str | list[str]"]
    assert signature.parameters["count"].default == 3


def test_help_says_the_default_in_words() -> None:
    declared = flags_of(MoreWishes)
    assert list(declared) == ["out_file", "count", "names", "mode"]
    assert declared["out_file"].spelled == "--out-file"
    explained = [one.explained for one in declared.values()]
    assert explained == [
        "Where. [default: nowhere]",
        "How many. [default: 3]",
        "Which.",
        "How. [default: slow]",
    ]


def test_every_flag_of_a_run_takes_its_own_default_and_what_it_holds() -> None:
    made = RunFlags()
    again = RunFlags(**{name: getattr(made, name) for name in flags_of(RunFlags)})
    assert again == made
