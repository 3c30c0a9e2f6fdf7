"""A dropped branch leaves no trace: what only it read is gone."""

from __future__ import annotations

from graphopt import ir
from graphopt.passes.clean import Clean
from graphopt.pipeline import Context
from graphopt.pipeline.inputs import Inputs
from tests.corpus import NUMERIC


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
