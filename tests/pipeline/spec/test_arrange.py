"""What a pass needs is put before it, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from graphopt.errors import UsageError
from graphopt.pipeline import Context, Pass
from graphopt.pipeline.spec.arrange import arrange, as_step
from graphopt.pipeline.spec.recipe import ScheduledPass, turns_of
from graphopt.pipeline.spec.registry import Registry
from graphopt.pipeline.spec.spec import PassSpec, parse


def arranged(text: str, registry: Registry, **options: Any) -> list[tuple[str, bool]]:
    return [(s.step.name, s.added) for s in arrange(turns_of(text), registry, **options)]


def test_needed_passes_are_added_before(registry: Any) -> None:
    assert arranged("scale", registry) == [("drop-identity", True), ("scale", False)]
    assert arranged("scale,scale", registry) == [("drop-identity", True), ("scale", False), ("scale", False)]


def test_what_the_spec_has_earlier_is_not_added(registry: Any) -> None:
    assert arranged("drop-identity,scale", registry) == [("drop-identity", False), ("scale", False)]
    later = [("drop-identity", True), ("scale", False), ("drop-identity", False)]
    assert arranged("scale,drop-identity", registry) == later


def test_as_written_adds_nothing(registry: Any) -> None:
    assert arranged("scale", registry, as_written=True) == [("scale", False)]


def test_a_loop_spreads_its_goal_over_its_steps(registry: Any) -> None:
    turns = [ScheduledPass(PassSpec("scale", (("factor", "0.25"),)), index, 2) for index in range(2)]
    assert [s.step.factor for s in arrange(turns, registry, as_written=True)] == [0.5, 0.25]


def test_a_pass_prints_as_the_step_that_makes_it(registry: Any) -> None:
    step = parse('scale:factor=0.5:only=a|"b:c"').steps[0]
    assert as_step(registry.make(step)) == step


def test_a_circle_of_needs_is_refused(fakes: Any) -> None:
    @dataclass(frozen=True)
    class A(Pass):
        """Need b."""

        name: ClassVar[str] = "a"
        needs: ClassVar[tuple[str, ...]] = ("b",)

        def run(self, model: Any, ctx: Context) -> None: ...

    @dataclass(frozen=True)
    class B(A):
        """Need a."""

        name: ClassVar[str] = "b"
        needs: ClassVar[tuple[str, ...]] = ("a",)

    registry = Registry([fakes.Point("a", lambda: A), fakes.Point("b", lambda: B)])
    with pytest.raises(UsageError, match="circle"):
        arrange(turns_of("a"), registry)


def test_a_need_may_have_options_which_the_user_overrules(fakes: Any) -> None:
    @dataclass(frozen=True)
    class Reader(Pass):
        """Read what lie leaves."""

        name: ClassVar[str] = "reader"
        needs: ClassVar[tuple[str, ...]] = ("lie:factor=0.25",)

        def run(self, model: Any, ctx: Context) -> None: ...

    registry = Registry([fakes.Point(owner.name, lambda o=owner: o) for owner in (Reader, fakes.Lie)])

    def factors(text: str) -> list[float]:
        stages = arrange(turns_of(text), registry)
        return [stage.step.factor for stage in stages if stage.step.name == "lie"]

    assert factors("reader") == factors("lie,reader") == [0.25]
    assert factors("lie:factor=0.75,reader") == [0.75]
    assert factors("reader,lie") == [0.25, 1.5]
