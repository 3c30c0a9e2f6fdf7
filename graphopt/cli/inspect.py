"""``graphopt inspect``: what is in a model."""

from __future__ import annotations

from typing import Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console


@click.command("inspect", short_help="Show what is in a model.")
@flags.model_argument
@flags.switch("--layers", "List every layer with its shape, MACs and parameters; with --latency its time.")
@flags.switch("--latency", "Time the model and its layers, and tell which are worth compressing here.")
@flags.value("--data", metavar="DATA", help="Samples; shows the range of each input after preprocessing.")
@flags.preprocess
@flags.shape
@flags.session
@flags.value(
    "--cache",
    metavar="DIR|off",
    help="Folder of what was measured of this machine. [default: the user's cache folder]",
)
@flags.as_json
@flags.talk
def command(model: str, json: bool | None, quiet: bool | None, **options: Any) -> None:
    """Show what is in MODEL: operators, inputs and outputs, parameters, MACs and bytes."""
    from graphopt import api

    console = Console(quiet=bool(quiet))
    found = api.inspect(model, announce=console.announce, progress=console.progress, **flags.looking(options))
    if json:
        flags.print_json(found.to_json())
        return
    from graphopt.report.view import print_inspection

    print_inspection(found)
