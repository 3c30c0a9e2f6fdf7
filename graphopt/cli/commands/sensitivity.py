"""``graphopt sensitivity``: what each layer or group costs to compress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console

if TYPE_CHECKING:
    from graphopt.record.sensitivity import Sensitivity

_EXAMPLES = """\b
Examples:
  graphopt sensitivity in.onnx --pass prune --calibration photos/
  graphopt sensitivity in.onnx --pass quant --calibration data.npz::512 \\
    --evaluation data.npz::512: --csv costs.csv --plot costs.svg
"""


@click.command("sensitivity", short_help="Show what each part costs to compress.", epilog=_EXAMPLES)
@flags.model_argument
@flags.value(
    "--pass",
    "step",
    required=True,
    metavar="SPEC",
    help="The pass to try, with options if need be: prune, quant, lowrank:max_drop=1.",
)
@flags.value("--calibration", required=True, metavar="DATA", help="Samples to plan with.")
@flags.value(
    "--evaluation", metavar="DATA", help="Samples to measure on. [default: the last half of --calibration]"
)
@flags.value(
    "--samples", metavar="N", type=click.IntRange(1), help="Measure on at most this many. [default: 128]"
)
@flags.judged_by
@flags.preprocess
@flags.shape
@flags.of_run("target")
@flags.switch("--latency", "Also predict the latency, from layers timed on this machine.")
@flags.value("--csv", metavar="FILE", help="Write all numbers to this file.")
@flags.value("--plot", metavar="FILE.svg|.html", help="Draw the curves; a page also sorts them.")
@flags.value(
    "--overlay",
    metavar="FILE.json",
    help="Node data for Model Explorer: what each item costs.",
)
@flags.value(
    "--workers",
    "--jobs",
    "workers",
    metavar="N|ADDRESS",
    help="Processes, or a Dask cluster: tcp://host:8786, tls://..., scheduler.json. "
    "[default: one process for each processor]",
)
@flags.of_run("heterogeneous", "seed")
@flags.session
@flags.value(
    "--cache",
    metavar="DIR|off",
    help="Folder of results, from which an interrupted run continues. [default: the user's cache folder]",
)
@flags.as_json
@flags.talk
def command(model: str, json: bool | None, quiet: bool | None, **options: Any) -> None:
    """Carry out each thing a pass can do to MODEL alone, and show what it does to the outputs."""
    from graphopt import api
    from graphopt.pipeline.spec.run_flags import usable_processors
    from graphopt.report.html.pages.sensitivity_page import write_plot

    csv, plot, overlay = (_file(options.pop(name)) for name in ("csv", "plot", "overlay"))
    _check_files(Path(model), csv, plot, overlay)
    options.pop("debug")
    given = flags.given(options)
    given.setdefault("workers", usable_processors())
    console = Console(quiet=bool(quiet))
    study = api.sensitivity(
        model,
        given.pop("step"),
        given.pop("calibration"),
        progress=console.progress,
        announce=console.announce,
        **given,
    )
    if csv is not None:
        study.write_csv(csv)
    if plot is not None:
        write_plot(plot, study)
    if overlay is not None:
        _write_overlay(overlay, study, model)
    if json:
        flags.print_json(study.to_json())
        return
    from graphopt.report.terminal.sensitivity import print_sensitivity

    print_sensitivity(study)


def _file(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def _check_files(model: Path, csv: Path | None, plot: Path | None, overlay: Path | None) -> None:
    """Say before the work that a result could not be written."""
    from graphopt.pipeline.run.output import check_text

    if csv is not None:
        check_text("--csv", csv, {"MODEL": model, "--plot": plot}, (".csv",))
    if plot is not None:
        check_text("--plot", plot, {"MODEL": model}, (".svg", ".html"))
    if overlay is not None:
        check_text("--overlay", overlay, {"MODEL": model}, (".json",))


def _write_overlay(file: Path, study: Sensitivity, model: str) -> None:
    from graphopt import ir
    from graphopt.report.export.overlay import sensitivity_overlay, write_overlay

    write_overlay(file, sensitivity_overlay(study, ir.load(Path(model))))
