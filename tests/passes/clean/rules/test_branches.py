"""A dropped branch leaves no trace: what only it read is gone."""

from __future__ import annotations

import numpy as np
import onnx

from graphopt import ir
from graphopt.passes.clean import Clean
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus import NUMERIC, count_ops
from tests.corpus._net import Net, ints
from tests.passes.clean.fusions import cleaned


def test_no_removed_node_is_listed_as_a_reader() -> None:
    inlined = 0
    for known in NUMERIC:
        model = ir.from_bytes(known.build().SerializeToString())
        ifs = sum(1 for graph in model.graphs() for _ in graph.find("If"))
        Clean().run(model, Context(Inputs(model)))
        left = list(model.graphs())
        inlined += ifs - sum(1 for graph in left for _ in graph.find("If"))
        for graph in left:
            for tensor in (*graph.inputs, *graph.initializers, *(t for n in graph.nodes for t in n.outputs)):
                assert all(reader.graph in left for reader in tensor.outputs), (known.name, tensor.name)
    assert inlined > 5


def test_a_branch_may_hand_a_vector_to_a_range() -> None:
    """Range takes a vector of one element at run time and refuses a constant one when it is loaded."""
    net = Net()
    x = net.input(shape=(1, 4))
    limit = net.const(ints(3))
    branches = {}
    for key in ("then_branch", "else_branch"):
        body = net.body()
        body.tell(f"limit_{key}", (1,), np.int64)
        body.node("Identity", [limit], [f"limit_{key}"])
        branches[key] = body.graph(f"limit_{key}")
    chosen = net.op("If", net.const(np.array(True)), **branches)
    steps = net.op("Range", np.int64(0), chosen, np.int64(1))
    y = net.op("Gather", x, net.tell(steps, (None,), np.int64), axis=1)
    after = cleaned(net.model(net.tell(y, (1, None))))
    assert count_ops(after) == {"Gather": 1}
    onnx.checker.check_model(after, full_check=True)
