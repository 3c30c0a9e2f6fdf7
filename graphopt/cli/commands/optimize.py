"""``graphopt optimize``: run passes over a model and write the result."""

from __future__ import annotations

import sys
from typing import Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console
from graphopt.errors import GoalError, UsageError
from graphopt.pipeline.spec.flag import flags_of
from graphopt.pipeline.spec.run_flags import RunFlags

_EXAMPLES = """\b
Examples:
  graphopt optimize in.onnx --passes clean,fold-bn
  graphopt optimize in.onnx --passes prune,quant --calibration photos/
  graphopt optimize in.onnx --passes quant --calibration data.npz::256 \\
    --evaluation data.npz::256: --max-drop 1 -o small.onnx
"""


@click.command("optimize", short_help="Make a model smaller and faster.", epilog=_EXAMPLES)
@flags.model_argument
@flags.of_run(*flags_of(RunFlags))
@flags.switch("--verbose", "List every change and every skip.")
@flags.as_json
@flags.talk
def command(model: str, json: bool | None, **options: Any) -> int:
    """Make MODEL smaller and faster with a sequence of passes, and measure what that did."""
    from graphopt import api

    options.pop("debug")
    recipe = api.read_recipe(options.pop("recipe"))
    quiet, verbose = (_talk(name, options, recipe) for name in ("quiet", "verbose"))
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other")
    with Console(quiet=quiet) as console:
        result = api.run(
            model,
            {**flags.given(options), "recipe": recipe},
            default_output=True,
            command=("graphopt", *sys.argv[1:]),
            progress=console.progress,
            busy=console.busy,
            phases=console.phases,
            announce=console.announce,
        )
    if json:
        flags.print_json(result.report.to_json())
        return _exit_code(result)
    from graphopt.report.terminal.run import print_record

    print_record(result.report, verbose=verbose)
    if result.report.output is not None:
        _print_usage(result)
    if options["passes"] is None and not recipe.turns and "passes" not in recipe.flags:
        click.echo(f"\n{_more(result.report.target)}")
    return _exit_code(result)


def _talk(name: str, options: dict[str, Any], recipe: Any) -> bool:
    """Whether to be quiet or verbose: the flag, else the recipe."""
    chosen = options.pop(name)
    wanted = recipe.flags.get(name, False) if chosen is None else chosen
    if not isinstance(wanted, bool):
        raise UsageError(f"in the recipe: {name} takes true or false, not {wanted!r}")
    return wanted


def _more(target: str) -> str:
    """What ``--passes auto`` would try, where only the exact passes ran."""
    from graphopt import targets

    likes = ", ".join(targets.load(target).auto) or "no more than these"
    return f"Only the exact passes ran; --passes auto --calibration DATA tries {likes}."


def _print_usage(result: Any) -> None:
    from graphopt.report.terminal.usage import usage_lines

    click.echo("\nRun it:\n")
    for line in usage_lines(result.model, result.report):
        click.echo(f"    {line}")


def _exit_code(result: Any) -> int:
    if not result.report.missed:
        return 0
    click.echo(f"error: a goal was missed: {'; '.join(result.report.missed)}", err=True)
    click.echo("hint: the file was written and says so in its metadata; --strict writes nothing", err=True)
    return GoalError.exit_code
