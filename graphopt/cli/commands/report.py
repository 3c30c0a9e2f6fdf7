"""``graphopt report``: pages made of report files."""

from __future__ import annotations

from pathlib import Path

import click

from graphopt.cli import flags

_EXAMPLES = """\b
Examples:
  graphopt report run.json -o run.html
  graphopt report small.json fast.json careful.json -o runs.html
"""


@click.command("report", short_help="Make pages of report files.", epilog=_EXAMPLES)
@click.argument("reports", metavar="REPORT.json...", nargs=-1, required=True)
@flags.value("-o", "--output", required=True, metavar="OUT.html", help="Where to write the page.")
@flags.switch("--force", "Overwrite an existing OUT.")
@flags.talk
def command(
    reports: tuple[str, ...], output: str, force: bool | None, quiet: bool | None, debug: bool | None
) -> None:
    """Make one page of the report of a run, or put the reports of several runs side by side.

    REPORT.json are files that graphopt optimize --report wrote.  Several runs are compared in their numbers,
    in accuracy against latency (as far as they were measured) and in what they left of each layer.
    """
    from graphopt import api

    written = api.report([Path(text) for text in reports], Path(output), force=bool(force))
    if not quiet:
        click.echo(f"written: {written}")
