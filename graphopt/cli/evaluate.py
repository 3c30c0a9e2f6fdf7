"""``graphopt evaluate``: measure a model on samples."""

from __future__ import annotations

from typing import Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console


@click.command("evaluate", short_help="Measure a model on samples.")
@flags.model_argument
@flags.value(
    "--data", required=True, metavar="DATA", help="Samples: .npz, .npy, a folder or archive of images."
)
@flags.value("--reference", metavar="MODEL", help="A model to measure agreement with.")
@flags.value("--task", metavar="NAME", help="What the model does. [default: classification]")
@flags.preprocess
@flags.shape
@flags.session
@flags.as_json
@flags.talk
def command(model: str, data: str, json: bool | None, quiet: bool | None, **options: Any) -> None:
    """Measure MODEL: top-1 and top-5 where samples have labels, agreement with a reference where not."""
    from graphopt import api

    console = Console(quiet=bool(quiet))
    found = api.evaluate(
        model, data, progress=console.progress, announce=console.announce, **flags.looking(options)
    )
    if json:
        flags.print_json(found.to_json())
        return
    from graphopt.report.view import print_evaluation

    print_evaluation(found)
