"""``graphopt compare``: two models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console


@click.command("compare", short_help="Show how much two models differ.")
@flags.model_path("a")
@flags.model_path("b")
@flags.value("--data", metavar="DATA", help="Samples to run both on. [default: a few synthetic ones]")
@flags.preprocess
@flags.shape
@flags.switch("--layers", "List every inner tensor that both have, and how much it differs.")
@flags.value("--overlay", metavar="FILE.json", help="Node data for Model Explorer: the SQNR of each tensor.")
@flags.value(
    "--backend",
    metavar="NAME[=PYTHON]",
    help="Also run both files in this backend, installed by graphopt targets --install or where PYTHON is.",
)
@click.option("--latency/--no-latency", default=None, help="Time both, in turn. [default: --latency]")
@flags.session
@flags.as_json
@flags.talk
def command(a: str, b: str, json: bool | None, quiet: bool | None, **options: Any) -> None:
    """Show how far model B is from model A: its numbers, size, MACs and speed, and where they part."""
    from graphopt import api
    from graphopt.pipeline.run.output import check_text

    overlay, every = options.pop("overlay"), bool(options["layers"])
    if overlay is not None:
        check_text("--overlay", Path(overlay), {"A": Path(a), "B": Path(b)}, (".json",))
        options["layers"] = True
    console = Console(quiet=bool(quiet))
    comparison = api.compare(
        a, b, progress=console.progress, announce=console.announce, **flags.looking(options)
    )
    if overlay is not None and comparison.inner is not None:
        from graphopt.report.export.overlay import divergence_overlay, write_overlay

        write_overlay(Path(overlay), divergence_overlay(comparison.inner))
    if json:
        flags.print_json(comparison.to_json())
        return
    from graphopt.report.terminal.models import print_comparison

    print_comparison(comparison, every=every)
