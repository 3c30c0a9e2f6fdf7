"""From a spec to the frozen passes of a run, with the passes they need put before them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from graphopt.errors import UsageError
from graphopt.pipeline.contract.base import Pass
from graphopt.pipeline.contract.options import present_name, to_text
from graphopt.pipeline.spec.recipe import ScheduledPass
from graphopt.pipeline.spec.registry import Registry
from graphopt.pipeline.spec.spec import PassSpec, parse


@dataclass(frozen=True)
class PipelineEntry:
    """One pass of a run; ``added`` when it was put there because a later pass needs it."""

    step: Pass
    written: PassSpec
    added: bool = False


def arrange(
    turns: Iterable[ScheduledPass], registry: Registry, *, as_written: bool = False
) -> tuple[PipelineEntry, ...]:
    """Make the passes of a run, in order.

    What a pass needs goes before it, unless the run has it earlier or ``as_written`` is set.  A pass that the
    run has earlier takes the options that a later one needs of it, where the user has set none.

    Raises:
        UsageError: an unknown pass or option, or a value that is not allowed.
    """
    stages: list[PipelineEntry] = []
    for turn in turns:
        made = registry.make(turn.step) if turn.made is None else turn.made
        step = made.at_step(turn.index, turn.count)
        if not as_written:
            _add_needed(step, stages, registry, ())
        stages.append(PipelineEntry(step, turn.step))
    return tuple(stages)


def _add_needed(step: Pass, stages: list[PipelineEntry], registry: Registry, path: tuple[str, ...]) -> None:
    if step.name in path:
        raise UsageError(f"passes need each other in a circle: {' -> '.join((*path, step.name))}")
    for written in (parsed for text in step.needs for parsed in parse(text).steps):
        places = [place for place, stage in enumerate(stages) if stage.step.name == written.name]
        for place in places:
            stages[place] = _with_options(stages[place], written, registry)
        if places:
            continue
        needed = registry.make(written)
        _add_needed(needed, stages, registry, (*path, step.name))
        stages.append(PipelineEntry(needed, written, added=True))


def _with_options(stage: PipelineEntry, wanted: PassSpec, registry: Registry) -> PipelineEntry:
    """Give a pass the options that a later one needs of it; those that the user has set stay."""
    options = stage.step.describe()
    own = {present_name(options, name) for name, _ in stage.written.options}
    missing = tuple((name, value) for name, value in wanted.options if present_name(options, name) not in own)
    if not missing:
        return stage
    written = PassSpec(stage.written.name, (*stage.written.options, *missing))
    return replace(stage, step=registry.make(written), written=written)


def as_step(step: Pass) -> PassSpec:
    """Write a frozen pass as a step of a spec: the options that differ from their defaults."""
    different = (
        (o.name, getattr(step, o.name)) for o in step.describe() if getattr(step, o.name) != o.default
    )
    return PassSpec(step.name, tuple((name, to_text(value)) for name, value in different))
