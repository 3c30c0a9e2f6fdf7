"""``graphopt targets``: the backends that results can be for, what each takes, and whether it was run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from graphopt.cli import flags
from graphopt.cli.console import Console

if TYPE_CHECKING:
    from graphopt.targets import Target


@click.command("targets", short_help="List the backends, or show or install one.")
@click.argument("name", required=False, metavar="[NAME|FILE.toml]")
@flags.value("--install", metavar="BACKEND", help="Install a backend in an environment of its own.")
@flags.as_json
@flags.talk
def command(
    name: str | None, install: str | None, json: bool | None, quiet: bool | None, debug: bool | None
) -> None:
    """List the targets; with NAME, show what it takes, and how its files reach the device."""
    from graphopt import targets

    if install is not None:
        _install(install, Console(quiet=bool(quiet)))
        return
    chosen = [targets.load(name)] if name else [targets.load(one) for one in targets.names()]
    if json:
        flags.print_json({"targets": [_as_json(target) for target in chosen]})
    elif name:
        _print_one(chosen[0])
    else:
        _print_all(chosen)


def _install(name: str, console: Console) -> None:
    from graphopt import backends

    with console.busy(f"installing {backends.find(name).title}"):
        made = backends.install(name)
    click.echo(f"installed {made.backend.title} {made.version} in {made.folder}")


def _print_all(chosen: list[Target]) -> None:
    from graphopt.report.terminal.text import print_table

    rows = [(t.name, t.summary, _form(t), _last_run(t), _installed(t)) for t in chosen]
    print_table(("target", "backend", "file", "run", "installed here"), rows)


def _print_one(target: Target) -> None:
    from graphopt.report.terminal.text import print_line, print_table

    print_line(f"{target.name}: {target.summary}")
    print_table(("", ""), list(_facts(target)))
    if target.converter:
        print_line("from the file to the device:")
        for line in target.converter:
            print_line(f"    {line}")


def _facts(target: Target) -> Iterator[tuple[str, str]]:
    yield "file", _form(target)
    yield "run", _last_run(target)
    yield "installed here", _installed(target)
    if target.form != "float":
        grid = "symmetric" if target.activation.symmetric else "asymmetric"
        yield (
            "activations",
            f"{target.activation.dtype}, {grid}; also {', '.join(target.allowed.activations)}",
        )
        yield "weights", f"{target.weight.dtype}, symmetric"
        yield "integer operators", ", ".join(target.operators.integer)
    yield "float16", "yes" if target.half else "no"
    if target.static_shapes:
        yield "sizes", "fixed: --fix-shape"
    if target.opset_floor or target.opset_max:
        yield "opset", f"{target.opset_floor or 'any'} to {target.opset_max or 'any'}"
    if target.not_between_pairs:
        yield "never between pairs", ", ".join(target.not_between_pairs)
    if target.avoid:
        yield "not run at all", ", ".join(target.avoid)
    if target.companions:
        yield "beside the file", ", ".join(target.companions)


def _form(target: Target) -> str:
    return {"qdq": "quantized ONNX", "float+table": "float ONNX and scales", "float": "float ONNX"}[
        target.form
    ]


def _last_run(target: Target) -> str:
    """When and in which version the target's backends were run for the benchmark."""
    from graphopt.targets.runs import last_runs

    if target.checked == "rules":
        return "never: checked against rules"
    runs = last_runs()
    there = [f"{name} {runs[name].version}" for name in target.backends if name in runs]
    dates = {runs[name].date for name in target.backends if name in runs}
    return f"{', '.join(there)} on {max(dates)}" if there else "not recorded"


def _installed(target: Target) -> str:
    from graphopt import backends

    there = [backend for name in target.backends if (backend := backends.installed(name)) is not None]
    texts = [f"{backend.backend.name} {backend.version}" for backend in there]
    if texts or not target.backends:
        return ", ".join(texts) or "-"
    return f"no: --install {backends.find(target.backends[0]).folder}"


def _as_json(target: Target) -> Mapping[str, Any]:
    from graphopt import backends
    from graphopt.targets.runs import last_runs

    runs = last_runs()
    return {
        "name": target.name,
        "summary": target.summary,
        "form": target.form,
        "checked": target.checked,
        "backends": [
            {
                "name": name,
                "installed": backend.version if (backend := backends.installed(name)) is not None else None,
                "run": {"version": runs[name].version, "date": runs[name].date} if name in runs else None,
            }
            for name in target.backends
        ],
    }
