"""Install, check or remove the environment that distill trains in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from graphopt.cli import flags
from graphopt.cli.console import Console

if TYPE_CHECKING:
    from graphopt.passes.distill.trainer.environment import Status

_path = flags.value(
    "--path", metavar="DIR", help="Where it is. [default: GRAPHOPT_TRAINER, else the user's data folder]"
)


@click.group("trainer", short_help="Install or remove what trains for distill.")
def command() -> None:
    """Manage the environment that trains: onnxruntime-training cannot live beside onnxruntime."""


@command.command("install")
@_path
@flags.value("--python", metavar="VERSION|PATH", help="The Python to use, 3.10 to 3.12. [default: this one]")
@flags.value(
    "--with", "using", type=click.Choice(["uv", "pip"]), help="What installs. [default: uv if there]"
)
@flags.switch("--force", "Replace a trainer that is there.")
@flags.as_json
@flags.talk
def install(
    path: str | None,
    python: str | None,
    using: str | None,
    force: bool | None,
    json: bool | None,
    quiet: bool | None,
    debug: bool | None,
) -> None:
    """Install the trainer, try it, and say what it is."""
    from graphopt.passes.distill.trainer import environment

    place = _place(path)
    with Console(quiet=bool(quiet)).busy("installing the trainer"):
        trainer = environment.install(place, python=python, using=using, force=bool(force))
    _show(trainer, json)


@command.command("status")
@_path
@flags.as_json
@flags.switch("--debug", "Show the traceback of an error.")
def status(path: str | None, json: bool | None, debug: bool | None) -> None:
    """Say what is installed, after it has trained two steps of a tiny model."""
    from graphopt.passes.distill.trainer import environment

    trainer = environment.status(_place(path))
    _show(trainer, json)


@command.command("remove")
@_path
@flags.as_json
@flags.switch("--debug", "Show the traceback of an error.")
def remove(path: str | None, json: bool | None, debug: bool | None) -> None:
    """Delete the trainer."""
    from graphopt.passes.distill.trainer import environment

    place = _place(path)
    environment.remove(place)
    if json:
        flags.print_json({"removed": str(place)})
        return
    click.echo(f"removed {place}")


def _show(trainer: Status, json: bool | None) -> None:
    if json:
        document = {"path": str(trainer.path), "python": trainer.python, "versions": dict(trainer.versions)}
        flags.print_json({**document, "bytes": trainer.bytes})
        return
    _print(trainer)


def _place(path: str | None) -> Path:
    from graphopt.passes.distill.trainer.environment import trainer_path

    return trainer_path() if path is None else Path(path).absolute()


def _print(trainer: Status) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in trainer.versions.items())
    click.echo(f"trainer at {trainer.path}")
    click.echo(
        f"Python {trainer.python}, {versions}, {trainer.bytes / 1e6:.0f} MB; two steps of training work"
    )
