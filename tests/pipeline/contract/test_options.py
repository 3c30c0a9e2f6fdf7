"""Options convert, keep their bounds, and name what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from graphopt import optimize
from graphopt.errors import UsageError
from graphopt.pipeline import Context, Pass, option
from graphopt.pipeline.contract.options import to_text
from graphopt.pipeline.spec.registry import Registry
from graphopt.pipeline.spec.spec import parse


@dataclass(frozen=True)
class Everything(Pass):
    """Have one option of each type."""

    name: ClassVar[str] = "everything"
    flag: bool = option(False, "a switch")
    count: int = option(3, "a count", minimum=1, maximum=9)
    ratio: float = option(0.5, "a share", minimum=0.0)
    word: str = option("x", "a word", choices=("x", "y"))
    names: tuple[str, ...] = option((), "some names")
    sizes: tuple[int, ...] = option((1,), "some sizes", minimum=1)
    goal: float | None = option(None, "a goal", maximum=1.0, aliases=("aim",))

    def run(self, model: Any, ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("flag", "true", True),
        ("flag", "Off", False),
        ("count", "7", 7),
        ("ratio", "1e-3", 1e-3),
        ("ratio", 2, 2.0),
        ("word", "y", "y"),
        ("names", "a", ("a",)),
        ("names", ("a", "b"), ("a", "b")),
        ("sizes", ("2", "3"), (2, 3)),
        ("goal", "none", None),
        ("goal", "0.25", 0.25),
    ],
)
def test_a_value_is_converted(name: str, text: object, value: object) -> None:
    made = Everything(**{name: text})
    assert getattr(made, name) == value
    assert type(getattr(made, name)) is type(value)
    assert getattr(Everything(**{name: to_text(value)}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("flag", "maybe", "true|false"),
        ("flag", 1, "true|false"),
        ("count", "2.5", "a whole number from 1 to 9"),
        ("count", 2.5, "a whole number"),
        ("count", 10, "from 1 to 9"),
        ("count", True, "a whole number"),
        ("count", "none", "a whole number"),
        ("ratio", "nan", "at least 0"),
        ("ratio", -1, "at least 0"),
        ("word", "z", "x|y"),
        ("word", ("x", "y"), "x|y"),
        ("sizes", ("1", "0"), "a list a|b"),
        ("goal", "1.5", "at most 1, or none"),
    ],
)
def test_a_value_out_of_place_is_refused(name: str, value: object, says: str) -> None:
    with pytest.raises(UsageError, match=f"everything: {name}=") as caught:
        Everything(**{name: value})
    assert says in str(caught.value)


def test_a_field_of_another_type_is_a_mistake_of_its_author() -> None:
    @dataclass(frozen=True)
    class Odd(Pass):
        """Be odd."""

        name: ClassVar[str] = "odd"
        table: dict = option(None, "no such thing")  # type: ignore[type-arg]  # noqa: RUF009

        def run(self, model: Any, ctx: Context) -> None: ...

    with pytest.raises(TypeError, match="cannot be of type"):
        Odd.describe()


def test_the_summary_is_the_first_line(fakes: Any) -> None:
    assert fakes.DropIdentity.summary() == "Remove Identity nodes."


def test_an_option_takes_the_name_it_had_before(fakes: Any, tiny: Path) -> None:
    """In a spec with a warning of the run, in Python with a DeprecationWarning; not both names at once."""
    with pytest.warns(DeprecationWarning, match="the option aim is now called goal"):
        assert Everything(aim=0.5).goal == 0.5
    with pytest.raises(UsageError, match="goal is given twice"), pytest.deprecated_call():
        Everything(aim=0.5, goal=0.5)
    registry = Registry([fakes.Point("everything", lambda: Everything)])
    assert registry.make(parse("everything:aim=0.25").steps[0]).goal == 0.25
    with pytest.raises(UsageError, match="goal is given twice"):
        registry.make(parse("everything:aim=0.25:goal=0.25").steps[0])
    with pytest.raises(UsageError) as refused:
        registry.make(parse("everything:aime=1").steps[0])
    assert "aim'" not in str(refused.value), "a name that will go is not suggested"
    with pytest.raises(UsageError, match="aim=2 is not allowed; aim takes a number, at most 1"):
        registry.make(parse("everything:aim=2").steps[0])


def test_a_run_warns_of_an_old_name(tiny: Path) -> None:
    spec = "quant:spare=false:measure=false:equalise=none"
    record = optimize(tiny, spec, verify="off", latency=False).report
    (quant,) = (entry for entry in record.passes if entry.name == "quant")
    assert quant.options["keep_noisy_float"] is False and "spare" not in quant.options
    assert [text for text in record.warnings if "spare is now called keep_noisy_float" in text]
