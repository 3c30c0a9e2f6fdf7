"""``graphopt inspect``: what is in a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console

if TYPE_CHECKING:
    from graphopt.analysis.inspection import Inspection


@click.command("inspect", short_help="Show what is in a model.")
@flags.model_argument
@flags.switch("--layers", "List every layer with its shape, MACs and parameters; with --latency its time.")
@flags.switch("--latency", "Time the model and its layers, and say which are worth compressing here.")
@flags.value("--data", metavar="DATA", help="Samples; shows the range of each input after preprocessing.")
@flags.preprocess
@flags.shape
@flags.session
@flags.value(
    "--cache",
    metavar="DIR|off",
    hidden=True,  # scripts may give it: measurements of this machine were kept there
)
@click.option(
    "--overlay",
    multiple=True,
    metavar="[VALUE=]FILE.json",
    help="Node data for Model Explorer: latency_ms, share, macs, parameters, bytes or efficiency. "
    "[default: the time where it was measured, else MACs]",
)
@flags.value(
    "--html", "page", metavar="FILE.html", help="Write all of it as one page, with the graph coloured."
)
@flags.value("--annotate", metavar="FILE.onnx", help="Write a copy whose nodes carry these numbers.")
@flags.as_json
@flags.talk
def command(model: str, json: bool | None, quiet: bool | None, **options: Any) -> None:
    """Show what is in MODEL: operators, inputs and outputs, parameters, MACs and bytes."""
    from graphopt import api

    overlays, copy = _overlays(Path(model), options.pop("overlay")), _copy(model, options.pop("annotate"))
    page = _page(Path(model), options.pop("page"), copy)
    options.pop("cache")
    every = options["layers"]
    if overlays or copy is not None or page is not None:
        options["layers"] = True
    console = Console(quiet=bool(quiet))
    inspection = api.inspect(
        model, announce=console.announce, progress=console.progress, **flags.looking(options)
    )
    _write(inspection, model, overlays, copy)
    if page is not None:
        _write_page(inspection, Path(model), page)
    if json:
        flags.print_json(inspection.to_json())
        return
    from graphopt.report.terminal.models import print_inspection

    print_inspection(inspection, every=bool(every))


def _overlays(model: Path, texts: Sequence[str]) -> list[tuple[str, Path]]:
    """The values to write and where; wrong names and places are said before the work."""
    from graphopt.pipeline.run.output import check_text
    from graphopt.report.export.overlay import check_value

    overlays_asked = []
    for text in texts:
        value, _, file = text.rpartition("=")
        if value:
            check_value(value)
        check_text("--overlay", Path(file), {"MODEL": model}, (".json",))
        overlays_asked.append((value, Path(file)))
    return overlays_asked


def _copy(model: str, file: str | None) -> Path | None:
    if file is None:
        return None
    from graphopt.pipeline.run.output import check_output

    check_output(Path(file), Path(model), force=False)
    return Path(file)


def _page(model: Path, file: str | None, copy: Path | None) -> Path | None:
    """Where the page is written; a wrong place is said before the work."""
    if file is None:
        return None
    from graphopt.pipeline.run.output import check_text

    check_text("--html", Path(file), {"MODEL": model, "--annotate": copy}, (".html",))
    return Path(file)


def _write_page(inspection: Inspection, model: Path, page: Path) -> None:
    from graphopt.util.files import sha256

    inspection.write(page, command=("graphopt", *sys.argv[1:]), model_sha256=sha256(model))


def _write(
    inspection: Inspection, model: str, overlays: Sequence[tuple[str, Path]], copy: Path | None
) -> None:
    if not overlays and copy is None:
        return
    from graphopt import ir
    from graphopt.report.export.overlay import annotated, layer_overlay, write_overlay

    for value, file in overlays:
        write_overlay(file, layer_overlay(inspection, value))
    if copy is not None:
        annotated(ir.load(Path(model)), inspection.layers).save(copy)
