"""Fuzz graphopt: ``python -m tests.fuzz run 0:2000``; ``python -m tests.fuzz smallest SEED --spec SPEC``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import onnx

import graphopt
from tests.fuzz.campaign import REPLAYED, campaign, summary, work
from tests.fuzz.graphs.recipe import Recipe, build, draw, settle
from tests.fuzz.minimise import minimise
from tests.fuzz.oracle import FAILURES, judge
from tests.fuzz.specs import by_seed, read

SPEC = click.option(
    "--spec", "specs", multiple=True, help="A spec, SPEC@TARGET for a target; repeat. Without: by turns."
)


def _range(text: str) -> tuple[int, int]:
    first, _, end = text.partition(":")
    return int(first), int(end)


@click.group()
def main() -> None:
    """Random graphs through graphopt, judged from outside."""


@main.command("run")
@click.argument("seeds")
@SPEC
@click.option("--jobs", default=1, show_default=True, help="Processes at a time.")
@click.option(
    "--state", type=click.Path(path_type=Path), help="File of results: what it holds is not run again."
)
def run_command(seeds: str, specs: tuple[str, ...], jobs: int, state: Path | None) -> None:
    """Run the seeds A:B; exits with 1 when anything failed."""
    results = campaign(*_range(seeds), specs, jobs=jobs, state=state)
    print(summary(results))
    sys.exit(any(result.kind in FAILURES for result in results))


@main.command("work", hidden=True)
@click.argument("seeds")
@SPEC
def work_command(seeds: str, specs: tuple[str, ...]) -> None:
    """Run seeds in this process, a line of JSON for each."""
    work(*_range(seeds), specs, sys.stdout)


@main.command("smallest")
@click.argument("what")
@click.option("--spec", help="The spec that fails; without it the one that is the seed's turn.")
@click.option("--save", type=click.Path(path_type=Path), help="Write the smallest model here.")
def smallest_command(what: str, spec: str | None, save: Path | None) -> None:
    """Judge a seed, or a recipe in JSON, and print the smallest recipe that fails like it."""
    graph = build(Recipe.read(what)) if what.startswith("{") else settle(draw(int(what)))
    if graph is None:
        raise click.UsageError(f"seed {what} stands for no graph that runs")
    chosen = by_seed(graph.recipe.seed) if spec is None else read(spec)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        replay = graph.recipe.seed % REPLAYED == 0
        verdict = judge(graph, chosen, folder, replay=replay)
        if verdict.kind != "ok":
            graph = minimise(graph, chosen, verdict, folder, graphopt.optimize, replay=replay)
            verdict = judge(graph, chosen, folder, replay=replay)
    print(f"{chosen}: {verdict.kind} {verdict.key}\n{verdict.text}\n{graph.recipe}")
    print("\n".join(_line(node) for node in graph.model.graph.node))
    if save is not None:
        onnx.save(graph.model, save)
    sys.exit(verdict.failed)


def _line(node: onnx.NodeProto) -> str:
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if not a.g.node}
    shown = {key: value for key, value in given.items() if not isinstance(value, onnx.TensorProto)}
    return f"  {', '.join(node.output)} = {node.op_type}({', '.join(node.input)}) {shown or ''}"


if __name__ == "__main__":
    main(prog_name="python -m tests.fuzz")
