"""The smallest recipe that still fails in the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.graphs.feeds import runs
from tests.fuzz.graphs.recipe import Graph, Recipe, build, fitting
from tests.fuzz.oracle import Optimize, Verdict, judge
from tests.fuzz.specs import Spec


def minimise(
    graph: Graph, spec: Spec, wanted: Verdict, folder: Path, optimize: Optimize, *, replay: bool = False
) -> Graph:
    """Make a recipe plainer for as long as the verdict has the same kind and key."""
    changed = True
    while changed:
        changed = False
        for recipe in _plainer(graph.recipe):
            candidate = build(recipe)
            if not runs(candidate.model, candidate.ports, recipe.seed):
                continue
            verdict = judge(candidate, spec, folder, optimize=optimize, replay=replay)
            if (verdict.kind, verdict.key) == (wanted.kind, wanted.key):
                graph, changed = candidate, True
                break
    return graph


def _plainer(recipe: Recipe) -> Iterator[Recipe]:
    """Recipes with one thing less."""
    for index in reversed(range(len(recipe.steps))):
        fewer = fitting(
            dataclasses.replace(recipe, steps=(*recipe.steps[:index], *recipe.steps[index + 1 :]))
        )
        if len(fewer.steps) == len(recipe.steps) - 1:
            yield fewer
    for quirk in recipe.quirks:
        yield dataclasses.replace(recipe, quirks=tuple(q for q in recipe.quirks if q != quirk))
    if recipe.head != "plain":
        yield dataclasses.replace(recipe, head="plain")
    if recipe.dynamic:
        yield dataclasses.replace(recipe, dynamic=False)
    if recipe.batch != 1:
        yield dataclasses.replace(recipe, batch=1)
    if recipe.dtype != "float32":
        yield dataclasses.replace(recipe, dtype="float32")
    if recipe.ir != 8:
        yield dataclasses.replace(recipe, ir=8)
