"""``graphopt optimize``: run passes over a model and write the result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console
from graphopt.errors import GoalError, UsageError

_what = flags.together(
    click.option(
        "-o", "--output", metavar="OUT", help="Where to write. [default: MODEL.opt.onnx beside MODEL]"
    ),
    click.option(
        "--passes", metavar="SPEC", help="Passes in order: fold-bn,prune:macs=0.7:round_to=16,quant."
    ),
    click.option("--recipe", metavar="FILE.toml", help="A file with the passes and any of these flags."),
    flags.switch("--as-written", "Run exactly the passes given; add none that they need."),
    click.option("--target", metavar="NAME", help="The backend the result is for. [default: ort-cpu]"),
)
_data = flags.together(
    click.option(
        "--calibration", metavar="DATA", help="Samples that passes may look at (.npz, .npy, images)."
    ),
    click.option("--evaluation", metavar="DATA", help="Samples to measure before and after on."),
    flags.preprocess,
    flags.shape,
    flags.switch("--fix-shape", "Declare the sizes used for running as the model's only ones."),
)
_checks = flags.together(
    click.option(
        "--verify",
        type=click.Choice(["auto", "full", "structure", "off"]),
        help="What to check: numbers after exact passes (auto), also at every optimisation level of ORT "
        "(full), graph and signature only (structure), nothing (off). [default: auto]",
    ),
    click.option("--tolerance", type=float, metavar="X", help="Relative difference allowed to exact passes."),
    click.option("--max-drop", type=float, metavar="POINTS", help="Goal: lose at most this much top-1."),
    flags.switch("--strict", "Write nothing and exit with 6 when a goal is missed or nothing changed."),
)
_results = flags.together(
    click.option("--report", multiple=True, metavar="FILE.json", help="Also write the report to this file."),
    click.option("--plan", metavar="FILE.json", help="Replay the plans in this file."),
    click.option("--plan-out", metavar="FILE.json", help="Write what the passes planned."),
    flags.switch("--dry-run", "Plan and predict; write no model."),
    click.option("--latency/--no-latency", default=None, help="Time both models. [default: --latency]"),
    click.option("--dump", metavar="DIR", help="Write the model after each pass that changed it."),
    flags.switch("--force", "Overwrite an existing OUT."),
)
_run = flags.together(
    click.option("--seed", type=click.IntRange(0), help="Seed of everything random. [default: 0]"),
    flags.session,
    click.option("--cache", metavar="DIR|off", help="Folder that keeps calibration results. [default: off]"),
    flags.switch("--verbose", "List every change and every skip."),
    flags.talk,
)


@click.command("optimize", short_help="Make a model smaller and faster.")
@flags.model_argument
@_what
@_data
@_checks
@_results
@_run
def command(model: str, **options: Any) -> int:
    """Make MODEL smaller and faster with a sequence of passes, and measure what that did."""
    from graphopt import api
    from graphopt.report.table import print_record

    options.pop("debug")
    quiet, verbose = options.pop("quiet"), options.pop("verbose")
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other")
    reports = _report_paths(options.pop("report"))
    console = Console(quiet=bool(quiet))
    result = api.run(
        model,
        flags.given(options),
        default_output=True,
        command=("graphopt", *sys.argv[1:]),
        progress=console.progress,
        busy=console.busy,
        announce=console.announce,
    )
    for path in reports:
        result.report.write(path)
    print_record(result.report, verbose=bool(verbose))
    if result.report.output is not None:
        _print_usage(result)
    return _exit_code(result)


def _report_paths(texts: tuple[str, ...]) -> list[Path]:
    from graphopt.pipeline.output import check_folder

    paths = [Path(text) for text in texts]
    for path in paths:
        if path.suffix != ".json":
            raise UsageError(
                f"--report {path}: reports are written as .json", hint=f"name it {path.with_suffix('.json')}"
            )
        check_folder(path)
    return paths


def _print_usage(result: Any) -> None:
    from graphopt.cli.snippet import python_lines

    click.echo("\nRun it:\n")
    for line in python_lines(result.model, result.report):
        click.echo(f"    {line}")


def _exit_code(result: Any) -> int:
    if not result.report.missed:
        return 0
    click.echo(f"error: a goal was missed: {'; '.join(result.report.missed)}", err=True)
    click.echo("hint: the file was written and says so in its metadata; --strict writes nothing", err=True)
    return GoalError.exit_code
