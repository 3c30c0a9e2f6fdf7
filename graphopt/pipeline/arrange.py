"""From a spec to the frozen passes of a run, with the passes they need put before them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphopt.errors import UsageError
from graphopt.pipeline.base import Pass
from graphopt.pipeline.options import to_text
from graphopt.pipeline.recipe import Turn
from graphopt.pipeline.registry import Registry
from graphopt.pipeline.spec import Step


@dataclass(frozen=True)
class Stage:
    """One pass of a run; ``added`` when it was put there because a later pass needs it."""

    step: Pass
    written: Step
    added: bool = False


def arrange(turns: Iterable[Turn], registry: Registry, *, as_written: bool = False) -> tuple[Stage, ...]:
    """Make the passes of a run, in order.

    What a pass needs goes before it, unless the run has it earlier or ``as_written`` is set.

    Raises:
        UsageError: an unknown pass or option, or a value that is not allowed.
    """
    stages: list[Stage] = []
    for turn in turns:
        step = registry.make(turn.step).at_step(turn.index, turn.count)
        if not as_written:
            _add_needed(step, stages, registry, ())
        stages.append(Stage(step, turn.step))
    return tuple(stages)


def _add_needed(step: Pass, stages: list[Stage], registry: Registry, path: tuple[str, ...]) -> None:
    if step.name in path:
        raise UsageError(f"passes need each other in a circle: {' -> '.join((*path, step.name))}")
    for name in step.needs:
        if any(stage.step.name == name for stage in stages):
            continue
        written = Step(name)
        needed = registry.make(written)
        _add_needed(needed, stages, registry, (*path, step.name))
        stages.append(Stage(needed, written, added=True))


def as_step(step: Pass) -> Step:
    """Write a frozen pass as a step of a spec: the options that differ from their defaults."""
    different = (
        (o.name, getattr(step, o.name)) for o in step.describe() if getattr(step, o.name) != o.default
    )
    return Step(step.name, tuple((name, to_text(value)) for name, value in different))
