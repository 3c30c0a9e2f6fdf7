"""How planning a pruning grows with the number of nodes: ``python -m tools.bench.prune.growth``.

A chain of layers, activations, depthwise layers and sums; CPU seconds of following the channels alone, and
of the whole plan by norms, each the least of three.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
from onnx import helper, numpy_helper

from graphopt import ir
from graphopt.passes.prune import Prune
from graphopt.passes.prune.coupling.coupling import couple
from graphopt.passes.prune.coupling.facts import gather_facts
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs

SIZES = (100, 1_000, 10_000)
CHANNELS = 8


def chain(count: int) -> ir.Model:
    """A model of ``count`` nodes: Conv, Relu, depthwise Conv, and a sum or an Identity."""
    rng = np.random.default_rng(0)
    nodes, weights, x = [], [], "x"
    for number in range(count // 4):
        shapes = {"w": (CHANNELS, CHANNELS, 1, 1), "d": (CHANNELS, 1, 1, 1)}
        for letter, shape in shapes.items():
            values = rng.standard_normal(shape).astype(np.float32) / CHANNELS**0.5
            weights.append(numpy_helper.from_array(values, f"{letter}{number}"))
        conv, relu, depth, end = (f"{letter}{number}" for letter in ("conv", "relu", "depth", "end"))
        nodes.append(helper.make_node("Conv", [x, f"w{number}"], [conv], name=conv))
        nodes.append(helper.make_node("Relu", [conv], [relu], name=relu))
        nodes.append(helper.make_node("Conv", [relu, f"d{number}"], [depth], name=depth, group=CHANNELS))
        summed = number % 4 == 3
        op, read = ("Add", [depth, x]) if summed else ("Identity", [depth])
        nodes.append(helper.make_node(op, read, [end], name=end))
        x = end
    shape = [1, CHANNELS, 4, 4]
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", x)]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_bytes(proto.SerializeToString())


def least(run: Callable[[], object]) -> float:
    """CPU seconds, the least of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Print a row for each size, and the ratio of the last to the first."""
    rows = []
    for size in SIZES:
        model = chain(size)
        context = Context(Inputs(model))
        facts = gather_facts(model, context)
        step = Prune(ratio=0.5, importance="l2", repair=False, round_to=1)
        rows.append((least(partial(couple, model, facts)), least(partial(step.plan, model, context))))
        print(f"| {size:,} | {rows[-1][0]:.4f} | {rows[-1][1]:.2f} |", flush=True)
    print(f"| ratio | {rows[-1][0] / rows[0][0]:.0f} | {rows[-1][1] / rows[0][1]:.0f} |")


if __name__ == "__main__":
    main()
