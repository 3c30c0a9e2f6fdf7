"""This machine's processor decides for a target that runs here, and for no other."""

from __future__ import annotations

import pytest

from graphopt import targets
from graphopt.targets import host
from tests.machines import ELSEWHERE, MACHINES, pretend


@pytest.mark.parametrize("isa", MACHINES)
def test_the_processor_decides_where_the_result_runs_here(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(isa, monkeypatch)
    target = targets.load("ort-cpu")
    sums, block = MACHINES[isa]
    assert host.runs_here(target)
    assert (host.host_isa(target), host.host_sums(target), host.channel_block(target)) == (isa, sums, block)
    assert host.block_assumption(target) == {"isa": isa, "channel_block": block}
    assert host.block_in_words(target) == (
        f"widths are multiples of 16 channels, as for this {isa}" if block == 16 else ""
    )


@pytest.mark.parametrize("isa", MACHINES)
@pytest.mark.parametrize("name", ELSEWHERE)
def test_it_says_nothing_about_a_target_elsewhere(
    name: str, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(isa, monkeypatch)
    target = targets.load(name)
    assert not host.runs_here(target)
    assert (host.host_isa(target), host.host_sums(target)) == ("", "int32")
    assert host.channel_block(target) == target.channel_block["default"]
    assert host.block_assumption(target) == {} and host.block_in_words(target) == ""


def test_every_target_is_here_or_elsewhere() -> None:
    assert {name for name in targets.names() if not host.runs_here(targets.load(name))} == set(ELSEWHERE)
    for name in ELSEWHERE:  # what depends on a processor that nobody knows would never be chosen
        assert set(targets.load(name).channel_block) == {"default"}
