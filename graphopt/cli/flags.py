"""Flags that several commands share, spelled and explained once.

Every flag is None when it is not given, so that a recipe and the Python functions' defaults can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from graphopt.errors import ModelError, UsageError
from graphopt.pipeline.spec.flag import Flag, Kind, flags_of
from graphopt.pipeline.spec.run_flags import JUDGED_BY, RunFlags

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
    if "shell_complete" not in settings and settings.get("type") is None:
        settings["shell_complete"] = _completes(str(settings.get("metavar") or ""))
    return click.option(*names, cls=_Once, **settings)


def _completes(metavar: str) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    """What a shell offers for a flag: passes and their options, targets, else files where it names some."""

    def complete(ctx: click.Context, parameter: click.Parameter, text: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        items: list[Any] = []
        if parameter.name in ("passes", "step"):
            from graphopt.pipeline.spec.completion import spec_candidates

            return list(spec_candidates(text))
        if parameter.name == "target":
            from graphopt.targets import names

            items = [CompletionItem(name) for name in names() if name.startswith(text)]
        kind = "dir" if metavar.startswith("DIR") else "file"
        named = ("FILE", "MODEL", "DATA", "DIR", "OUT", "LABELS", "LIB")
        return [*items, CompletionItem(text, type=kind)] if any(word in metavar for word in named) else items

    return complete


def of_run(*names: str) -> Callable[[F], F]:
    """Flags of a run by their names, as ``RunFlags`` declares them."""
    declared = flags_of(RunFlags)
    return together(*(_declared(declared[name]) for name in names))


def _declared(flag: Flag[Any, Any]) -> Callable[[F], F]:
    names = [flag.short, flag.spelled] if flag.short else [flag.spelled]
    if flag.kind.scalar is bool:
        spelled = f"{flag.spelled}/--no-{flag.key}" if flag.negative else flag.spelled
        return click.option(spelled, is_flag=True, default=None, help=flag.explained)
    shown: dict[str, Any] = {"metavar": flag.metavar or None, "help": flag.explained}
    if flag.kind.repeated:
        return click.option(*names, multiple=True, shell_complete=_completes(flag.metavar), **shown)
    kind = _click_type(flag.kind)
    if kind is str:
        shown["shell_complete"] = _completes(flag.metavar)
    return value(*names, type=kind, **shown)


def _click_type(kind: Kind[Any, Any]) -> Any:
    if kind.choices:
        return click.Choice(kind.choices)
    return click.IntRange(kind.least, kind.most) if kind.scalar is int else kind.scalar


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
    return click.argument(
        name, metavar=name.upper(), callback=_model_path, shell_complete=_completes("MODEL")
    )


model_argument = model_path("model")
judged_by = of_run(*JUDGED_BY)
preprocess = of_run("preprocess")
shape = of_run("shape")
session = of_run("threads", "provider", "custom_ops")
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
    from graphopt.pipeline.spec.run_flags import usable_processors
    from graphopt.pipeline.spec.shapes import parse_shapes
    from graphopt.runtime import SessionOptions

    arguments = given({name: value for name, value in options.items() if name != "debug"})
    if "preprocess" in arguments and "data" in options and "data" not in arguments:
        raise UsageError("--preprocess has no effect without --data")
    session = {
        name: arguments.pop(name) for name in ("threads", "provider", "custom_ops") if name in arguments
    }
    arguments["session"] = SessionOptions(**{"threads": usable_processors(), **session})
    if "shape" in arguments:
        arguments["shape"] = parse_shapes(arguments["shape"])
    return arguments


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document to stdout."""
    import json

    click.echo(json.dumps(document, indent=1, allow_nan=False))
