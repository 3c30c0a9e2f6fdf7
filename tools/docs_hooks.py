"""Hooks of the docs build: what pages say of options and commands comes from the code.

A line ``{{ options:prune }}`` becomes the table of options of a pass, ``{{ help:optimize }}`` the help of a
command; an entry of the navigation that ends in ``/`` becomes the pages of that folder.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

FIRST = (
    *("optimize", "clean", "fold-bn", "prune", "sparsify", "lowrank", "quant", "cast", "distill", "surgeon"),
    *("sensitivity", "inspect", "compare", "evaluate", "check", "report", "ui", "passes"),
    *("pytorch", "paddle", "tensorflow"),
)
_PLACE = re.compile(r"^\{\{ (?P<kind>options|help):(?P<name>[\w-]+) \}\}$", re.MULTILINE)


def on_config(config: Any) -> Any:
    """Fill folders in the navigation with their pages."""
    docs = Path(config["docs_dir"])
    config["nav"] = [_filled(entry, docs) for entry in config["nav"]]
    config["nav"] = [entry for entry in config["nav"] if all(entry.values())]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what is generated in its place."""
    return _PLACE.sub(lambda found: GENERATED[found["kind"]](found["name"]), markdown)


def options_table(name: str) -> str:
    """The options of a pass as a table; an error for a pass that does not exist."""
    from graphopt.cli.commands.passes import _default
    from graphopt.pipeline.spec.registry import passes

    owner = passes().load(name)
    rows = [
        f"| `{o.name}` | {_cell(o.allowed)} | {_cell(_default(o.default))} | {_cell(o.help)} |"
        for o in owner.describe()
    ]
    kind = f"{owner.summary()} Contract: **{owner.contract.value}**."
    if not rows:
        return f"{kind} It has no options."
    return "\n".join([kind, "", "| option | takes | default | what it does |", "|---|---|---|---|", *rows])


def command_help(name: str) -> str:
    """The help of a command as it is shown in a terminal."""
    import click

    from graphopt.cli.app import cli

    command = cli.get_command(click.Context(cli), name)
    if command is None:
        raise ValueError(f"there is no command {name}")
    context = click.Context(command, info_name=f"graphopt {name}", max_content_width=88, terminal_width=88)
    return f"```text\n{command.get_help(context)}\n```"


GENERATED = {"options": options_table, "help": command_help}


def _cell(text: str) -> str:
    """Text in a table: bars would end the cell, and markup would be read."""
    return html.escape(text, quote=False).replace("|", "&#124;").replace("*", "&#42;").replace("`", "&#96;")


def _filled(entry: dict[str, Any], docs: Path) -> dict[str, Any]:
    """An entry of the navigation with its folder, if it names one, replaced by the pages there."""
    ((title, target),) = entry.items()
    if not isinstance(target, str) or not target.endswith("/"):
        return entry
    pages = sorted((docs / target).glob("*.md"), key=_order)
    if target == "recipes/":  # their headings are short; of guides and targets the names are looked for
        return {title: [f"{target}{page.name}" for page in pages]}
    return {title: [{page.stem: f"{target}{page.name}"} for page in pages]}


def _order(page: Path) -> tuple[int, str]:
    name = page.stem
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)
