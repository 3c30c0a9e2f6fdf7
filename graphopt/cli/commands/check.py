"""``graphopt check``: a gate for CI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console
from graphopt.errors import GoalError

_LIMITS = flags.together(
    flags.value("--max-drop", type=float, metavar="POINTS", help="Points that may be lost; needs --data."),
    flags.value(
        "--max-latency-ratio", type=float, metavar="R", help="Time against the baseline's: 1 is as fast."
    ),
    flags.value("--max-bytes", type=int, metavar="N", help="Size of the files."),
    click.option(
        "--forbid", multiple=True, metavar="OP", help="An operator that must not occur; domain:OP; repeat."
    ),
)


@click.command("check", short_help="Hold a model to limits: a gate for CI.")
@flags.model_argument
@flags.value(
    "--baseline", required=True, metavar="MODEL|FILE.json", help="A model, or the report of an earlier run."
)
@_LIMITS
@flags.value("--data", metavar="DATA", help="Samples to judge both on.")
@flags.judged_by
@flags.preprocess
@flags.shape
@flags.session
@flags.value("--junit", metavar="FILE.xml", help="Also write the outcome as JUnit XML.")
@flags.value("--markdown", metavar="FILE.md", help="Also write the outcome as a Markdown table.")
@flags.as_json
@flags.talk
def command(model: str, baseline: str, json: bool | None, quiet: bool | None, **options: Any) -> int:
    """Hold MODEL to limits against a baseline; exit with 6 when one is broken."""
    from graphopt.analysis.check import check
    from graphopt.pipeline.run.output import check_text
    from graphopt.report.export import check_files
    from graphopt.util.files import write_text

    files: dict[str, Path | None] = {}
    for kind, suffix in (("junit", ".xml"), ("markdown", ".md")):
        named = options.pop(kind)
        files[kind] = None if named is None else Path(named)
        if named is not None:
            check_text(
                f"--{kind}", Path(named), {"MODEL": Path(model), "--baseline": Path(baseline)}, (suffix,)
            )
    console = Console(quiet=bool(quiet))
    checked = check(
        model, baseline, progress=console.progress, announce=console.announce, **flags.looking(options)
    )
    for kind, path in files.items():
        if path is not None:
            write_text(path, getattr(check_files, kind)(checked))
    if json:
        flags.print_json(checked.to_json())
    else:
        from graphopt.report.terminal.text import print_line

        for criterion in checked.criteria:
            print_line(f"{'ok' if criterion.passed else 'FAILED'}: {criterion.name}: {criterion.text}")
    if checked.passed:
        return 0
    broken = ", ".join(criterion.name for criterion in checked.criteria if not criterion.passed)
    click.echo(f"error: {model} does not keep its limits: {broken}", err=True)
    return GoalError.exit_code
