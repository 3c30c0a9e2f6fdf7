"""Prune one file and hold it to its masked twin: ``python -m tools.bench.prune.families_check MODEL``.

Prints one line of JSON.  The masked twin is the original with zeros wherever a weight reads a removed
channel; the pruned file has to give the same numbers at every optimisation level of the runtime.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from graphopt import ir
from graphopt.errors import UsageError
from graphopt.passes.clean import Clean
from graphopt.passes.fold_bn import FoldBN
from graphopt.passes.prune import Prune
from graphopt.runtime import Session
from tests.passes.prune.oracle import Pruned, context, feeds_of, masked_twin, prune

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CONVS = ("Conv", "ConvTranspose")


def check(path: Path, ratio: float, inexact: bool, output: Path | None) -> dict[str, Any]:
    """Prune a file and measure what became of it."""
    model = ir.load(path)
    started = time.process_time()
    ctx = context(model)
    Clean().run(model, ctx)
    FoldBN().run(model, ctx)
    pruned = prune(model, step(ratio, inexact))
    seconds = time.process_time() - started
    if output is not None:
        pruned.after.save(output, force=True)
    return {**narrowed(pruned), **differences(pruned, inexact), "seconds": seconds}


def step(ratio: float, inexact: bool) -> Prune:
    """Random channels, any number of them; the norm decides where random importance is not known."""
    options: dict[str, Any] = {"ratio": ratio, "round_to": 1, "allow_inexact": inexact}
    try:
        return Prune(importance="random", **options)
    except UsageError:
        return Prune(importance="l2", **options)


def narrowed(pruned: Pruned) -> dict[str, Any]:
    """How many convolutions and layers lost channels, of those that do not make the model's outputs."""
    ends = output_layers(pruned.before.graph)
    inner = [node for node in pruned.before.graph.find(*WEIGHTED) if _name(node) not in ends]
    inner = [node for node in inner if node.inputs[1].constant is not None]
    convs = [_name(node) for node in inner if node.op in CONVS]
    before, after = (_parameters(model) for model in (pruned.before, pruned.after))
    return {
        "convs": len(convs),
        "narrowed_convs": sum(name in pruned.changed for name in convs),
        "layers": len(inner),
        "narrowed_layers": sum(_name(node) in pruned.changed for node in inner),
        "parameters_left": after / before,
        "whole": {name: pruned.skipped.get(name, "") for name in convs if name not in pruned.changed},
    }


def output_layers(graph: ir.Graph) -> set[str]:
    """The names of the weighted layers between which and an output there is no other weighted layer."""
    found, seen, pending = set(), set(), list(graph.outputs)
    while pending:
        tensor = pending.pop()
        maker = tensor.producer
        if maker is None or maker in seen:
            continue
        seen.add(maker)
        if maker.op in WEIGHTED and maker.inputs[1].constant is not None:
            found.add(_name(maker))
        else:
            pending.extend(maker.inputs)
    return found


def differences(pruned: Pruned, inexact: bool) -> dict[str, Any]:
    """The largest relative difference from the twin at both ends of the optimisation levels.

    ``own`` is that of the original between these levels: what the runtime itself makes of rounding.
    ``effect`` is how far the twin is from the original: a twin that nothing changed would prove nothing.
    """
    feeds = feeds_of(pruned)
    twin = Session(masked_twin(pruned), optimization="disabled").run(feeds)
    results = {level: Session(pruned.after, optimization=level).run(feeds) for level in ("disabled", "all")}
    if inexact:
        finite = all(np.isfinite(value).all() for result in results.values() for value in result.values())
        return {"finite": finite}
    original = [Session(pruned.before, optimization=level).run(feeds) for level in ("disabled", "all")]
    found = {f"twin_{level}": _largest(twin, result) for level, result in results.items()}
    return {**found, "own": _largest(*original), "effect": _largest(original[0], twin)}


def _largest(left: dict[str, Any], right: dict[str, Any]) -> float:
    return max(
        float(np.abs(left[name] - right[name]).max() / max(float(np.abs(left[name]).max()), 1e-30))
        for name in left
    )


def _parameters(model: ir.Model) -> int:
    return sum(tensor.values.size for tensor in model.graph.initializers if isinstance(tensor, ir.Constant))


def _name(node: ir.Node) -> str:
    return str(node.name or node.output.name)


def main() -> None:
    """Check the model named on the command line; a failure is a line of JSON too."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--inexact", action="store_true")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    try:
        found = check(arguments.model, arguments.ratio, arguments.inexact, arguments.output)
    except Exception as error:  # whatever it is, it is the result of this model
        found = {"failure": f"{type(error).__name__}: {error}"}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
