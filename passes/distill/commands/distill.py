"""Train a student towards a teacher, without labels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from graphopt.cli import flags
from graphopt.cli.console import Console
from graphopt.errors import GoalError
from graphopt.passes.distill.distill import Distill
from graphopt.pipeline.contract.options import Option

F = TypeVar("F", bound=Callable[..., Any])
OWN = ("teacher", "threads")  # options of the pass that the command has in another form

_EXAMPLES = """\b
Examples:
  graphopt distill big.onnx small.onnx --data photos/ --preprocess imagenet
  graphopt distill big.onnx small.onnx --data train.npz --epochs 10 --alpha 0.5 -o tuned.onnx
"""


def _training(function: F) -> F:
    """One flag for each option of the pass."""
    for option in reversed(Distill.describe()):
        if option.name not in OWN:
            function = _flag(option)(function)
    return function


def _flag(option: Option) -> Callable[[F], F]:
    name = f"--{option.name.replace('_', '-')}"
    if option.type is bool:
        return flags.switch(name, f"{option.help[0].upper()}{option.help[1:]}.")
    default = "|".join(option.default) if option.is_list else option.default
    shown = f" [default: {default}]" if default not in ("", None) else ""
    metavar = "|".join(map(str, option.choices)) if option.choices else option.name.upper()
    return flags.value(
        name,
        option.name,
        metavar=f"{metavar},..." if option.is_list else metavar,
        help=f"{option.help[0].upper()}{option.help[1:]}.{shown}",
    )


@click.command("distill", short_help="Train a student towards a teacher.", epilog=_EXAMPLES)
@flags.model_path("teacher")
@flags.model_path("student")
@flags.value("--data", required=True, metavar="DATA", help="Samples to train on; labels are not needed.")
@flags.value(
    "-o", "--output", metavar="OUT", help="Where to write. [default: STUDENT.distilled.onnx beside it]"
)
@flags.of_run("evaluation", "preprocess", "shape")
@_training
@flags.of_run("report", "seed")
@flags.value("--cache", metavar="DIR|off", help="Folder to continue an interrupted run from. [default: off]")
@flags.of_run("force")
@flags.switch("--strict", "Write nothing and exit with 6 when the student did not improve.")
@flags.session
@flags.switch("--verbose", "List every change and every skip.")
@flags.as_json
@flags.talk
def command(teacher: str, student: str, data: str, json: bool | None, **options: Any) -> int:
    """Train STUDENT so that it answers as TEACHER does, and write it when that made it better.

    Both models have the same inputs and outputs.  Lists are written a,b.
    """
    from graphopt.passes.distill.api import train

    options.pop("debug")
    quiet, verbose = bool(options.pop("quiet")), bool(options.pop("verbose"))
    console = Console(quiet=quiet)
    result = train(
        teacher,
        student,
        data,
        default_output=Path(student).with_suffix(".distilled.onnx"),
        command=("graphopt", *sys.argv[1:]),
        progress=console.progress,
        busy=console.busy,
        announce=console.announce,
        **_lists(flags.given(options)),
    )
    if json:
        flags.print_json(result.report.to_json())
    else:
        from graphopt.report.terminal.run import print_record

        print_record(result.report, verbose=verbose)
    if result.missed:
        click.echo(f"error: a goal was missed: {'; '.join(result.missed)}", err=True)
        return GoalError.exit_code
    return 0


def _lists(options: dict[str, Any]) -> dict[str, Any]:
    """Lists as the pass takes them."""
    many = {option.name for option in Distill.describe() if option.is_list}
    return {name: tuple(value.split(",")) if name in many else value for name, value in options.items()}
