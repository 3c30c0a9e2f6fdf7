"""``graphopt explore``: the Pareto front of speed, size and quality, each point a plan to replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console
from graphopt.errors import UsageError
from graphopt.pipeline.spec.flag import flags_of
from graphopt.pipeline.spec.run_flags import NOT_EXPLORED, RunFlags

_EXAMPLES = """\b
Examples:
  graphopt explore in.onnx --calibration photos/
  graphopt explore in.onnx --passes prune,quant --calibration data.npz::256 \\
    --evaluation data.npz::256: --points 12 --max-drop 2 -o front/
"""
_OTHERS = {"passes", "max_drop", "time_limit", "recipe", *NOT_EXPLORED}  # or said in other words here


@click.command("explore", short_help="Find the front of speed, size and quality.", epilog=_EXAMPLES)
@flags.model_argument
@flags.value(
    "--passes",
    metavar="SPEC",
    help="Passes to go through the range of: prune,quant. [default: the recipe's, else auto]",
)
@flags.value("--points", metavar="N", type=click.IntRange(1), help="Points to look for. [default: 8]")
@flags.value(
    "-o", "--output", metavar="DIR", help="Folder for models, plans and the page. [default: MODEL.front]"
)
@flags.value(
    "--max-drop",
    metavar="POINTS",
    type=float,
    help="How much the point that saves most may lose, about. [default: 4]",
)
@flags.of_run("time_limit", "recipe")
@flags.of_run(*(name for name in flags_of(RunFlags) if name not in _OTHERS))
@flags.as_json
@flags.talk
def command(model: str, json: bool | None, quiet: bool | None, **options: Any) -> None:
    """Find runs of MODEL of which none beats another in speed, size and quality, and keep each to replay."""
    from graphopt.analysis.exploration import NUMBERS, PAGE, explore

    options.pop("debug")
    given = flags.given(options)
    if "calibration" not in given and "recipe" not in given:
        raise UsageError(
            "explore needs --calibration: without samples nothing can be judged",
            hint="a few hundred images without labels will do",
        )
    folder = Path(given.pop("output", None) or _beside(Path(model)))
    with Console(quiet=bool(quiet)) as console:
        front = explore(model, output=folder, progress=console.progress, announce=console.announce, **given)
    if json:
        flags.print_json(front.to_json())
        return
    from graphopt.report.terminal.front import print_front

    print_front(front)
    click.echo(f"\n{folder / PAGE} shows it, {folder / NUMBERS} holds the numbers.")


def _beside(model: Path) -> Path:
    return model.with_name(f"{model.name.removesuffix('.onnx')}.front")
