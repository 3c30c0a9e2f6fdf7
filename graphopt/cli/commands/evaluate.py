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
@flags.value("--reference", metavar="MODEL", help="A model to compare with on the same samples.")
@flags.judged_by
@flags.preprocess
@flags.shape
@flags.session
@flags.of_run("workers", "heterogeneous")
@flags.as_json
@flags.talk
def command(model: str, data: str, json: bool | None, quiet: bool | None, **options: Any) -> None:
    """Measure MODEL by what it is for: top-1, mean average precision, mean IoU, lines or distance of outputs.

    With --reference every change is given with the interval that says whether it is more than noise.
    """
    from graphopt import api

    console = Console(quiet=bool(quiet))
    evaluation = api.evaluate(
        model, data, progress=console.progress, announce=console.announce, **flags.looking(options)
    )
    if json:
        flags.print_json(evaluation.to_json())
        return
    from graphopt.report.terminal.evaluation import print_evaluation

    print_evaluation(evaluation)
