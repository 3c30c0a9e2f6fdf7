"""Passes as Python callers write them: SPEC text, Pass objects, functions of the graph, lists of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphopt.errors import UsageError
from graphopt.pipeline.contract.base import Pass
from graphopt.pipeline.spec import registry
from graphopt.pipeline.spec.arrange import as_step
from graphopt.pipeline.spec.recipe import ScheduledPass, turns_of
from graphopt.pipeline.spec.spec import PassSpec

FUNCTIONS = "surgeon"  # the pass that calls a user's own function
KINDS = (
    "give SPEC text such as 'prune:macs=0.7,quant', Pass objects, functions of the graph, or a list of these"
)


def scheduled(written: Any) -> tuple[ScheduledPass, ...]:
    """The passes of a run, in order; None is none.  Raises UsageError for what is no pass."""
    if written is None:
        return ()
    if isinstance(written, str):
        return turns_of(written)
    if isinstance(written, (list, tuple)):
        if not written:
            raise UsageError(f"passes are an empty {type(written).__name__}", hint=KINDS)
        return tuple(turn for entry in written for turn in scheduled(_not_none(entry)))
    if isinstance(written, PassSpec):
        return (ScheduledPass(written),)
    if isinstance(written, type) and issubclass(written, Pass):
        written = written()
    if isinstance(written, Pass):
        return (ScheduledPass(as_step(written), made=written),)
    if callable(written) and not isinstance(written, type):
        made = _calling(written)
        return (ScheduledPass(as_step(made), made=made),)
    raise UsageError(f"{written!r:.80} is no pass", hint=KINDS)


def _not_none(entry: Any) -> Any:
    if entry is None:
        raise UsageError("None is no pass", hint=KINDS)
    return entry


def _calling(function: Callable[..., Any]) -> Pass:
    made: Pass = registry.passes().load(FUNCTIONS).of(function)
    return made
