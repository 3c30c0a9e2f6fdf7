"""Which passes and commands exist: entry points, read by name and imported only when used.

Our own passes register through the same groups as anyone's plugin.
"""

from __future__ import annotations

import functools

from graphopt.pipeline.contract.base import Pass
from graphopt.pipeline.contract.options import convert, with_present_names
from graphopt.pipeline.spec.spec import PassSpec
from graphopt.util.registry import Broken as Broken
from graphopt.util.registry import Registry as NameRegistry
from graphopt.util.registry import added

PASSES = "graphopt.passes"
COMMANDS = "graphopt.commands"


class Registry(NameRegistry):
    """The passes by name."""

    def make(self, step: PassSpec) -> Pass:
        """The frozen pass that a step of a spec asks for, its options converted and checked."""
        owner: type[Pass] = self.load(step.name)
        options = owner.describe()
        values = ((key, convert(step.name, options, key, value)) for key, value in step.options)
        return owner(**with_present_names(step.name, options, values))


@functools.cache
def passes() -> Registry:
    """The registry of all installed passes."""
    return Registry(added(PASSES))


@functools.cache
def commands() -> NameRegistry:
    """The registry of commands that belong to a pass."""
    return NameRegistry(added(COMMANDS), kind="command")
