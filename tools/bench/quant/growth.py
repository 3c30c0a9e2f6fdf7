"""How planning 8 bits grows with the number of nodes: ``python -m tools.bench.quant.growth``.

A chain of residual SiLU blocks, in which paths double with each block.  CPU seconds of the plan without
search, of one trial that ``keep_noisy_float`` makes (their number grows with the logarithm of the layers),
and of finding what reads the first layer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from graphopt import data, ir, targets
from graphopt.passes.quant import Quant
from graphopt.passes.quant.items import node_id
from graphopt.passes.quant.plan_builder import PlanBuilder
from graphopt.passes.quant.search.noise_bisection import readers_of
from graphopt.passes.quant.search.output_sqnr import Deviation
from graphopt.passes.quant.static import StaticPlanner
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs

SIZES = (100, 1_000, 10_000)
CHANNELS = 4
PLAIN: dict[str, Any] = {"rounding": "nearest", "bias_correction": False, "equalise": "none"}
QUICK: dict[str, Any] = {**PLAIN, "absorb": False, "keep_noisy_float": False, "measure": False}


def chain(count: int) -> ir.Model:
    """A model of ``count`` nodes: x + silu(conv(x)), again and again."""
    rng = np.random.default_rng(0)
    nodes, weights, x = [], [], "x"
    for number in range(count // 4):
        values = rng.uniform(-0.02, 0.02, (CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{number}"))
        conv, gate, silu, end = (f"{name}{number}" for name in ("conv", "gate", "silu", "end"))
        nodes.append(helper.make_node("Conv", [x, f"w{number}"], [conv], name=conv))
        nodes.append(helper.make_node("Sigmoid", [conv], [gate], name=gate))
        nodes.append(helper.make_node("Mul", [conv, gate], [silu], name=silu))
        nodes.append(helper.make_node("Add", [x, silu], [end], name=end))
        x = end
    shape = [1, CHANNELS, 4, 4]
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", x)]
    graph = helper.make_graph(nodes, "chain", ports[:1], ports[1:], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_bytes(proto.SerializeToString())


def seconds(run: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measured(count: int) -> list[float]:
    """CPU seconds of plan, trial and readers at one size."""
    model = chain(count)
    samples = data.synthetic(model.signature.inputs, {}, 4, 0)
    ctx = Context(Inputs(model, calibration=samples), target=targets.load("ort-cpu"))
    plan = seconds(lambda: Quant(**QUICK).plan(model, ctx))
    builder = _builder(model, ctx)
    deviation = Deviation(model, samples, ctx)
    builder.draft({})  # measures the ranges
    trial = seconds(lambda: deviation.of(builder.draft({}).stored()))
    first = next(model.graph.find("Conv"))
    layers = {node_id(node) for node in model.graph.find("Conv")}
    return [plan, trial, seconds(lambda: list(readers_of(first, layers)))]


def _builder(model: ir.Model, ctx: Context) -> PlanBuilder:
    options = Quant(**QUICK)
    scheme = options.scheme_of(ctx)
    return StaticPlanner(options, model, scheme, ctx).builder(options.calibrator_of(scheme))


def main() -> None:
    """Print a row for each size, then the ratio of the last to the first."""
    rows = {count: measured(count) for count in SIZES}
    for count, row in rows.items():
        print(f"| {count:,} | " + " | ".join(f"{value:.4f}" for value in row) + " |")
    ratios = [last / max(first, 1e-4) for first, last in zip(rows[SIZES[0]], rows[SIZES[-1]], strict=True)]
    print("| ratio of the last to the first | " + " | ".join(f"{ratio:.0f}" for ratio in ratios) + " |")


if __name__ == "__main__":
    main()
