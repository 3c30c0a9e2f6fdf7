"""What ``--passes auto`` stands for."""

from __future__ import annotations

import pytest

from graphopt import targets
from graphopt.errors import UsageError
from graphopt.pipeline.spec.automatic import expanded
from graphopt.pipeline.spec.recipe import turns_of
from graphopt.pipeline.spec.registry import passes


def names(spec: str, *, target: str = "ort-cpu", has_data: bool = True) -> list[str]:
    return [turn.step.name for turn in expanded(turns_of(spec), target, has_data=has_data)]


def test_auto_is_what_the_target_likes() -> None:
    assert names("auto") == ["prune", "quant"]
    assert names("surgeon,auto") == ["surgeon", "prune", "quant"]


@pytest.mark.parametrize("target", targets.names())
def test_every_target_likes_passes_that_there_are(target: str) -> None:
    assert set(names("auto", target=target)) <= set(passes().names)


def test_without_samples_auto_changes_no_numbers() -> None:
    assert names("auto", has_data=False) == ["clean", "fold-bn"]


def test_auto_takes_no_options() -> None:
    with pytest.raises(UsageError, match="auto takes no options"):
        names("auto:macs=0.5")
