"""``graphopt optimize``: run passes over a model and write the result."""

from __future__ import annotations

import sys
from typing import Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console
from graphopt.errors import GoalError, UsageError

_what = flags.together(
    flags.value(
        "-o", "--output", metavar="OUT", help="Where to write. [default: MODEL.opt.onnx beside MODEL]"
    ),
    flags.value(
        "--passes",
        metavar="SPEC",
        help="Passes in order, such as prune:macs=0.7,quant; graphopt passes lists them.",
    ),
    flags.value("--recipe", metavar="FILE.toml", help="A file with the passes and any of these flags."),
    flags.switch("--as-written", "Run exactly the passes given; add none that they need."),
    flags.value(
        "--target", metavar="NAME|FILE.toml", help="The backend the result is for. [default: ort-cpu]"
    ),
)
_data = flags.together(
    flags.value(
        "--calibration", metavar="DATA", help="Samples for the passes to calibrate with (.npz, .npy, images)."
    ),
    flags.value("--evaluation", metavar="DATA", help="Samples to evaluate on, before and after."),
    flags.judged_by,
    flags.preprocess,
    flags.shape,
    flags.switch("--fix-shape", "Declare the sizes used for running as the model's only ones."),
)
_checks = flags.together(
    flags.value(
        "--verify",
        type=click.Choice(["auto", "full", "structure", "off"]),
        help="What to check: numbers after exact passes (auto), also at every optimisation level of ORT "
        "(full), graph and signature only (structure), nothing (off). [default: auto]",
    ),
    flags.value(
        "--tolerance",
        type=float,
        metavar="X",
        help="Relative difference allowed to exact passes. [default: 1e-4; 2e-2 for float16]",
    ),
    flags.value(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="Goal: lose at most this many points, hundredths of the metric; needs --evaluation.",
    ),
    flags.switch("--require-speedup", "Goal: the result runs faster than the input here."),
    flags.switch("--strict", "Write nothing and exit with 6 when a goal is missed or nothing changed."),
)
_results = flags.together(
    click.option(
        "--report",
        multiple=True,
        metavar="FILE.json|.html",
        help="Also write the report: .json for scripts, .html for people; repeat for both.",
    ),
    flags.value("--plan", metavar="FILE.json", help="Replay the plans in this file."),
    flags.value("--plan-out", metavar="FILE.json", help="Write what the passes planned."),
    flags.switch("--dry-run", "Plan and predict; write no model."),
    click.option("--latency/--no-latency", default=None, help="Time both models. [default: --latency]"),
    flags.value("--dump", metavar="DIR", help="Write the model after each pass that changed it."),
    flags.switch("--force", "Overwrite an existing OUT."),
)
_run = flags.together(
    flags.value(
        "--seed", metavar="N", type=click.IntRange(0), help="Seed of everything random. [default: 0]"
    ),
    flags.session,
    flags.value(
        "--cache",
        metavar="DIR|off",
        help="Folder that keeps calibration results. [default: off; times of layers: the user's cache]",
    ),
    flags.switch("--verbose", "List every change and every skip."),
    flags.talk,
)


_EXAMPLES = """\b
Examples:
  graphopt optimize in.onnx --passes clean,fold-bn
  graphopt optimize in.onnx --passes prune,quant --calibration photos/
  graphopt optimize in.onnx --passes quant --calibration data.npz::256 \\
    --evaluation data.npz::256: --max-drop 1 -o small.onnx
"""


@click.command("optimize", short_help="Make a model smaller and faster.", epilog=_EXAMPLES)
@flags.model_argument
@_what
@_data
@_checks
@_results
@_run
def command(model: str, **options: Any) -> int:
    """Make MODEL smaller and faster with a sequence of passes, and measure what that did."""
    from graphopt import api

    options.pop("debug")
    recipe = api.read_recipe(options.pop("recipe"))
    quiet, verbose = (_talk(name, options, recipe) for name in ("quiet", "verbose"))
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other")
    console = Console(quiet=quiet)
    result = api.run(
        model,
        {**flags.given(options), "recipe": recipe},
        default_output=True,
        command=("graphopt", *sys.argv[1:]),
        progress=console.progress,
        busy=console.busy,
        announce=console.announce,
    )
    from graphopt.report.terminal.run import print_record

    print_record(result.report, verbose=verbose)
    if result.report.output is not None:
        _print_usage(result)
    return _exit_code(result)


def _talk(name: str, options: dict[str, Any], recipe: Any) -> bool:
    """Whether to be quiet or verbose: the flag, else the recipe."""
    found = options.pop(name)
    wanted = recipe.flags.get(name, False) if found is None else found
    if not isinstance(wanted, bool):
        raise UsageError(f"in the recipe: {name} takes true or false, not {wanted!r}")
    return wanted


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
