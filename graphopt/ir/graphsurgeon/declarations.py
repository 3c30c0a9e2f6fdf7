"""What a model declares around its graph, brought up to date after surgery: operator sets, ports, types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from graphopt.errors import ModelError
from graphopt.ir.model import Model
from graphopt.ir.tensor import Tensor

if TYPE_CHECKING:
    from graphopt.ir.graphsurgeon.before import Before


def everything(graph: gs.Graph) -> Iterator[Any]:
    """Yield the nodes and tensors of a graph and of those inside it."""
    yield from graph.inputs
    yield from graph.outputs
    for node in graph.nodes:
        yield node
        yield from node.inputs
        yield from node.outputs
        for inner in node.subgraphs():
            yield from everything(inner)


def kind_of(tensor: Tensor) -> str:
    """The kind of a declared tensor, in graphsurgeon's words."""
    kind = tensor.info.type.WhichOneof("value") if tensor.info is not None else None
    return kind or "tensor_type"


def settle_opsets(model: Model, before: Before, content: gs.Graph) -> None:
    """Follow the operator sets that the user declared, and declare version 1 of a domain that is new."""
    for entry in content.import_domains or ():
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if model.opsets.get(domain) != entry.version:
            model.set_opset(entry.version, domain)
    if content is model.graph:
        is_set = content.opset != before.opset
    else:  # a graph made from nothing says no more than a number, and has one when none was given
        is_set = content.import_domains is None and content.opset != gs.Graph.DEFAULT_OPSET
    if is_set:
        model.set_opset(content.opset)
    for item in everything(content):
        domain = getattr(item, "domain", None)
        if domain and domain != "ai.onnx" and domain not in model.opsets:
            model.set_opset(1, domain)


def list_inputs(model: Model, before: Before) -> None:
    """List those initializers among the inputs that were, and give an unchanged list its old order."""
    graph = model.graph
    declared = set(graph.initializers)
    missing = [t for t in before.inputs if t in declared and t not in set(graph.inputs)]
    together = [*graph.inputs, *missing]
    graph.inputs = list(before.inputs) if set(together) == set(before.inputs) else together


def declare_types(model: Model, before: Before) -> None:
    """Write down the types of inner tensors that are new or that the user changed."""
    for graph in model.graphs():
        listed = {id(entry) for entry in graph.described} | {id(t) for t in (*graph.inputs, *graph.outputs)}
        for node in graph.nodes:
            for tensor in node.outputs:
                is_told = tensor not in before.names or tensor in before.infos
                if tensor.name and tensor.info is None and tensor.dtype is not None and is_told:
                    tensor.info = OnnxExporter.export_value_info_proto(tensor, do_type_check=False)
                    if id(tensor) not in listed:
                        graph.described.append(tensor)


def complete_ports(model: Model) -> None:
    """Give outputs without a type the one that ONNX infers; raise ModelError for a port that has none."""
    from graphopt.ir.analysis.facts import gather_facts

    graph = model.graph
    untyped = [t for t in (*graph.inputs, *graph.outputs) if t.dtype is None and kind_of(t) == "tensor_type"]
    if not untyped:
        return
    model.sort()
    facts = gather_facts(model)
    for tensor in untyped:
        dtype = facts.dtype(tensor)
        if dtype is None:
            kind = "input" if tensor in graph.inputs else "output"
            raise ModelError(
                f"the {kind} '{tensor.name}' has no element type, and none can be inferred",
                hint="set its dtype, as in tensor.dtype = np.float32",
            )
        shape = tensor.shape if tensor.shape is not None else facts.shape(tensor)
        tensor.dtype, tensor.shape = dtype, shape
