"""Flags that several commands share, spelled and explained once.

Every flag is None when it is not given, so that a recipe and the Python functions' defaults can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from graphopt.errors import ModelError, UsageError

F = TypeVar("F", bound=Callable[..., Any])


def switch(name: str, help: str) -> Callable[[F], F]:
    """A flag without a value; None when absent."""
    return click.option(name, is_flag=True, default=None, help=help)


class _Once(click.Option):
    """An option with a value that may be given once: which of two values counts would be a guess."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "multiple": True})

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        values = super().process_value(ctx, value) or ()
        if len(values) > 1:
            raise click.UsageError(f"{self.opts[-1]} is given {len(values)} times", ctx)
        return values[0] if values else None


def value(*names: str, **settings: Any) -> Callable[[F], F]:
    """A flag with a value; None when absent, an error when it is given twice."""
    return click.option(*names, cls=_Once, **settings)


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Apply options so that ``--help`` lists them in this order."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _model_path(ctx: click.Context, parameter: click.Parameter, text: str) -> str:
    if not text:
        raise click.UsageError(f"{parameter.make_metavar(ctx)} is an empty text", ctx)
    try:
        Path(text).stat()
    except (FileNotFoundError, NotADirectoryError):
        return text  # whoever reads it says so
    except OSError as error:
        raise ModelError(f"{text} cannot be read: {error.strerror or error}") from error
    return text


def model_path(name: str) -> Callable[[F], F]:
    """An argument that names a model file."""
    return click.argument(name, metavar=name.upper(), callback=_model_path)


model_argument = model_path("model")
preprocess = value(
    "--preprocess",
    metavar="TEXT|FILE.toml",
    help='How images become inputs: "size=224;mean=127;std=128", or a preset such as imagenet.',
)
judged_by = together(
    value(
        "--task",
        metavar="NAME",
        help="What the model is for: classification, detection, segmentation, text or generic. "
        "[default: classification where there are class scores, else generic]",
    ),
    value(
        "--metric",
        metavar="FILE.py:FUNCTION",
        help="Instead of a task: a function of outputs and labels that returns one value for each sample, "
        "higher is better.",
    ),
    value(
        "--labels",
        metavar="LABELS",
        help="Boxes (COCO .json, folder of YOLO .txt, .npz#array), masks (folder of .png, .npz#array), lines "
        "of text or rows for --metric (.npz#array).",
    ),
    value(
        "--decode",
        metavar="NAME",
        help="How a detector writes boxes: yolov8, yolov5, ssd, corners, torchvision. [default: by shape]",
    ),
    value(
        "--confidence", type=float, help="Least score of boxes compared with the original's. [default: 0.25]"
    ),
    value("--threshold", type=float, help="Value above which a pixel of a map of one class belongs to it."),
)
shape = click.option(
    "--shape",
    multiple=True,
    metavar="NAME=1x3x640x640",
    help="Size to run an input at, when the file leaves it open; repeat for several inputs.",
)
session = together(
    value(
        "--threads",
        metavar="N",
        type=click.IntRange(1, 1024),
        help="Threads of onnxruntime. [default: all processors]",
    ),
    value("--provider", type=click.Choice(["cpu", "cuda"]), help="Where models run. [default: cpu]"),
    click.option(
        "--custom-ops",
        multiple=True,
        metavar="LIB",
        help="Library of custom operators; loaded only when named.",
    ),
)
talk = together(
    switch("--quiet", "No messages and no progress bar."),
    switch("--debug", "Show the traceback of an error."),
)
as_json = switch("--json", "Print one JSON document and no table.")


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given: not None, and not an empty repetition."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def texts(values: Sequence[str] | None) -> tuple[str, ...]:
    """A repeatable flag as a tuple."""
    return tuple(values or ())


def looking(options: dict[str, Any]) -> dict[str, Any]:
    """The flags of inspect, compare and evaluate as their Python functions take them."""
    from graphopt.pipeline.spec.request import parse_shapes, usable_processors
    from graphopt.runtime import SessionOptions

    found = given({name: value for name, value in options.items() if name != "debug"})
    if "preprocess" in found and "data" in options and "data" not in found:
        raise UsageError("--preprocess has no effect without --data")
    session = {name: found.pop(name) for name in ("threads", "provider", "custom_ops") if name in found}
    found["session"] = SessionOptions(**{"threads": usable_processors(), **session})
    if "shape" in found:
        found["shape"] = parse_shapes(found["shape"])
    return found


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document to stdout."""
    import json

    click.echo(json.dumps(document, indent=1, allow_nan=False))
