"""Which layers are pruned and how far: names, patterns, operator types, places, ratios."""

from __future__ import annotations

import pytest

from graphopt.errors import UsageError
from graphopt.passes.prune import Prune
from graphopt.pipeline.spec.spec import parse
from tests.passes.prune.oracle import assert_twin, prune
from tests.passes.prune.test_goals import chained, widths


def pruned_widths(*sizes: int, **options: object) -> list[int]:
    found = prune(chained(*sizes), Prune(round_to=1, repair=False, **options))  # type: ignore[arg-type]
    assert_twin(found, ("disabled",))
    return list(widths(found.after).values())[:-1]


def test_operator_types_are_patterns_too() -> None:
    assert pruned_widths(16, 16, ratio=0.5, exclude=("Conv",)) == [16, 16]
    assert pruned_widths(16, 16, ratio=0.5, include=("Conv",)) == [8, 8]


def test_first_and_last_layers_can_be_left_alone() -> None:
    assert pruned_widths(16, 16, 16, ratio=0.5, skip_first=1) == [16, 8, 8]
    assert pruned_widths(16, 16, 16, ratio=0.5, skip_last=2) == [8, 8, 16]  # the classifier is the last


def test_ratios_of_single_layers_hold_whatever_the_goal() -> None:
    given = ("conv0@0.25", "conv[12]@0.5")
    assert pruned_widths(16, 16, 16, 16, ratio=0.125, ratios=given) == [12, 8, 8, 14]
    found = pruned_widths(16, 16, 16, 16, macs=0.5, ratios=("conv1@0", "conv2@0.5"))
    assert found[1] == 16 and found[2] == 8 and found[0] < 16


def test_the_first_pattern_that_matches_counts() -> None:
    assert pruned_widths(16, 16, ratio=0.0, ratios=("conv0@0.25", "*@0.5")) == [12, 8]


def test_no_group_loses_more_than_max_ratio() -> None:
    assert pruned_widths(16, 32, macs=0.01, max_ratio=0.25) == [12, 24]


@pytest.mark.parametrize(
    "options", [{"exclude": ("conv9",)}, {"include": ("x*",)}, {"ratios": ("cnv0@0.5",)}]
)
def test_a_pattern_that_stands_for_nothing_is_refused(options: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(UsageError, match="matches no node") as caught:
        pruned_widths(16, ratio=0.5, **options)
    assert "--layers" in caught.value.hint


@pytest.mark.parametrize("text", ["conv0", "@0.5", "conv0@x", "conv0@1", "conv0@-0.1"])
def test_a_ratio_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="PATTERN@FRACTION"):
        Prune(ratios=(text,))


def test_ratios_stand_in_a_spec_without_quotes() -> None:
    (step,) = parse("prune:ratios=conv1*@0.3|head/Conv@0").steps
    found = Prune(**dict(step.options))  # type: ignore[arg-type]
    assert found.scope.ratios == (("conv1*", 0.3), ("head/Conv", 0.0))
    assert Prune(ratios=("conv1*=0.3",)).scope.ratios == (("conv1*", 0.3),)


def test_a_loop_reaches_the_goal_in_its_last_step() -> None:
    part = Prune(macs=0.5).at_step(1, 4)
    assert part.macs is not None and part.macs**4 == pytest.approx(0.5)
    part = Prune(ratio=0.5).at_step(0, 2)
    assert part.ratio is not None and (1 - part.ratio) ** 2 == pytest.approx(0.5)
    assert Prune(max_drop=2.0).at_step(0, 4).max_drop == 0.5
