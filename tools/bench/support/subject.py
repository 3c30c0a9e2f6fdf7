"""The tool under test, called as a user calls it: graphopt's command line in the bench's own environment."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

NAME = "graphopt"
BARE = ("--verify", "structure", "--no-latency")  # the work alone: no numeric check, no timing of the model


def executable(override: str | None = None) -> list[str]:
    """How to start graphopt: ``override``, else the console script, else ``python -m graphopt``."""
    if override:
        return shlex.split(override)
    script = Path(sys.executable).with_name(NAME)
    return [str(script)] if script.exists() else [sys.executable, "-m", NAME]


def optimize(
    start: list[str], source: str | Path, output: str | Path, passes: str, *flags: str, quiet: bool = True
) -> list[str]:
    """The command line of one ``graphopt optimize``."""
    command = [*start, "optimize", str(source), "-o", str(output), "--passes", passes, *flags, "--force"]
    return [*command, "--quiet"] if quiet else command
