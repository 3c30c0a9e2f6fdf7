"""``graphopt passes``: what passes there are, and what options one takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from graphopt.cli import flags

if TYPE_CHECKING:
    from graphopt.pipeline import Pass
    from graphopt.pipeline.spec.registry import Broken


@click.command("passes", short_help="List the passes, or show one.")
@click.argument("name", required=False)
@flags.as_json
@flags.switch("--debug", "Show the traceback of an error.")
def command(name: str | None, json: bool | None, debug: bool | None) -> None:
    """List the installed passes; with NAME, show its options, their defaults and its contract."""
    from graphopt.pipeline.spec.registry import passes

    registry = passes()
    if json:
        _print_json([registry.load(name)] if name else [registry.find(n) for n in registry.names])
    elif name:
        _print_one(registry.load(name))
    else:
        _print_all({n: registry.find(n) for n in registry.names})


def _print_all(entries: dict[str, Any]) -> None:
    from graphopt.pipeline.spec.registry import Broken
    from graphopt.report.terminal.text import print_table

    rows = []
    for name, item in entries.items():
        if isinstance(item, Broken):
            rows.append((name, "-", f"cannot be loaded: {item.reason} ({item.hint})"))
        else:
            rows.append((name, item.contract.value, item.summary()))
    print_table(("pass", "contract", "what it does"), rows)


def _print_one(owner: type[Pass]) -> None:
    from graphopt.report.terminal.text import print_line, print_table

    print_line(f"{owner.name}: {owner.summary()}")
    print_line(f"contract: {owner.contract.value}")
    if owner.needs:
        print_line(f"needs: {', '.join(owner.needs)} (put before it unless --as-written)")
    options = owner.describe()
    if not options:
        print_line("options: none")
        return
    rows = [(o.name, o.allowed, _default(o.default), o.help) for o in options]
    print_table(("option", "takes", "default", "what it does"), rows)


def _print_json(owners: list[Any]) -> None:
    import json

    from graphopt.pipeline.spec.registry import Broken

    click.echo(json.dumps([_broken(o) if isinstance(o, Broken) else _as_json(o) for o in owners], indent=1))


def _broken(item: Broken) -> dict[str, Any]:
    return {"name": item.name, "error": item.reason, "hint": item.hint}


def _as_json(owner: type[Pass]) -> dict[str, Any]:
    options = [
        {"name": o.name, "takes": o.allowed, "default": o.default, "help": o.help} for o in owner.describe()
    ]
    return {
        "name": owner.name,
        "summary": owner.summary(),
        "contract": owner.contract.value,
        "needs": list(owner.needs),
        "options": options,
    }


def _default(value: object) -> str:
    from graphopt.pipeline.contract.options import to_text

    text = to_text(value)
    return text if isinstance(text, str) else "|".join(text) or "empty"
