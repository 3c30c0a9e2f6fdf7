"""``--passes auto``: the passes that a target likes, where samples say how far they may go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphopt.errors import UsageError
from graphopt.pipeline.spec.recipe import ScheduledPass, turns_of

AUTO = "auto"
EXACT = "clean,fold-bn"  # what runs where no passes are named, and where no samples judge others


def expanded(turns: Sequence[ScheduledPass], target: str, *, has_data: bool) -> tuple[ScheduledPass, ...]:
    """The passes of a run with ``auto`` written out.

    Without samples that is what changes no numbers: how much more may go, only samples say.  Raises
    UsageError when ``auto`` is given options, or the target is not known.
    """
    return tuple(turn for written in turns for turn in _expanded(written, target, has_data))


def _expanded(turn: ScheduledPass, target: str, has_data: bool) -> Iterator[ScheduledPass]:
    if turn.step.name != AUTO:
        yield turn
        return
    if turn.step.options:
        raise UsageError(
            "auto takes no options: it stands for the passes that the target likes",
            hint="goals of the run, such as --max-drop or --goal, are for all of them",
        )
    from graphopt import targets  # with all that reads models: nobody who asks for --help waits for it

    likes = ",".join(targets.load(target).auto) if has_data else ""
    yield from turns_of(likes or EXACT)
