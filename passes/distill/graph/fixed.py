"""Bring a model into the form that trainers read: sizes fixed, constants lifted, versions they know."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphopt import ir, runtime
from graphopt.errors import PassError
from graphopt.ir.analysis.facts import gather_facts

# fixed: opsets that onnxruntime-training 1.19 reads and that the rewrites are written for
OLDEST, NEWEST = 13, 21
# fixed: what models older than OLDEST become; any opset between the two would do
CONVERTED = 17
NEWEST_IR = 10  # fixed: what onnxruntime-training 1.19 reads
FLOAT32, FLOAT16 = 1, 10  # fixed: element types as ONNX numbers them

Shapes = dict[str, tuple[int, ...]]


def set_versions(model: ir.Model) -> None:
    """Move to an opset and IR version that trainers read.

    From a newer opset the graph is taken as it is: what CNNs consist of has not changed since, and the
    comparison with the original shows the exception.  Raises PassError for local functions.
    """
    if model.header.functions:
        raise PassError("a model with local functions cannot be trained", hint="export it without functions")
    if model.opset < OLDEST:
        ir.convert_opset(model, CONVERTED)
    if model.opset > NEWEST:
        model.set_opset(NEWEST)
    model.header.ir_version = min(max(model.ir_version, 8), NEWEST_IR)


def fix_shapes(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> Shapes:
    """Declare the sizes of ``feeds`` as the only ones and return the shape of every tensor at these sizes."""
    model.forget_shapes()
    for tensor in model.graph.inputs:
        if tensor.name in feeds:
            tensor.shape = feeds[tensor.name].shape
    for tensor in model.graph.outputs:
        tensor.shape = None
    names = [tensor.name for node in model.graph.nodes for tensor in node.outputs if tensor.name]
    shapes = runtime.tensor_shapes(model, names, feeds)
    shapes |= {name: feed.shape for name, feed in feeds.items()}
    for tensor in model.graph.outputs:
        tensor.shape = shapes.get(tensor.name)
    return shapes


def lift_constants(graph: ir.Graph) -> None:
    """Turn what Constant nodes and copies of constants hold into initializers of their own, names kept.

    After ``widen`` all floats are of one type, so that a CastLike of a float constant copies it.
    """
    for node in list(graph.nodes):
        if (
            node.op not in ("Constant", "Identity", "CastLike")
            or not node.is_standard
            or graph.is_output(node.output)
        ):
            continue
        value = node.inputs[0].constant if node.op == "CastLike" else node.output.constant
        if value is None or value.dtype == object or (node.op == "CastLike" and value.dtype.kind != "f"):
            continue
        _become_constant(graph, node, np.array(value))


def fold_sizes(model: ir.Model, shapes: Shapes) -> None:
    """Compute shape arithmetic beforehand: small integers that follow from the sizes."""
    graph = model.graph
    for node in graph.find("Shape"):
        sizes = shapes.get(node.inputs[0].name)
        if sizes is not None and not graph.is_output(node.output):
            _become_constant(
                graph, node, np.asarray(sizes[node.attr("start", 0) : node.attr("end")], np.int64)
            )
    facts = gather_facts(model)
    for node in list(graph.nodes):
        if len(node.outputs) != 1 or graph.is_output(node.output):
            continue
        value = facts.known_value(node.output)
        if value is not None and value.dtype.kind in "iub":
            _become_constant(graph, node, value)
    graph.remove_dead()


def _become_constant(graph: ir.Graph, node: ir.Node, value: np.ndarray) -> None:
    tensor = node.output
    graph.remove(node)
    made = tensor.to_constant(np.ascontiguousarray(value).reshape(value.shape))
    made.graph = graph
    graph.initializers.append(made)


def widen(model: ir.Model) -> None:
    """Compute in float32 what the model computes in float16."""
    half = np.dtype(np.float16)
    for graph in model.graphs():
        for tensor in graph.initializers:
            if isinstance(tensor, ir.Constant) and tensor.dtype == half:
                tensor.values = tensor.values.astype(np.float32)
        for node in graph.nodes:
            _widen_node(node, half)
        for tensor in (*graph.inputs, *graph.outputs):
            if not isinstance(tensor, ir.Constant) and tensor.dtype == half:
                tensor.dtype = np.float32


def _widen_node(node: ir.Node, half: np.dtype[np.float16]) -> None:
    if node.op == "Cast" and node.attr("to") == FLOAT16:
        node.attrs["to"] = FLOAT32
    value = node.attrs.get("value") if node.op in ("Constant", "ConstantOfShape") else None
    if isinstance(value, ir.Constant) and value.dtype == half:
        node.attrs["value"] = ir.Constant("", value.values.astype(np.float32))
    for tensor in node.outputs:
        if tensor.dtype == half:
            tensor.dtype = np.float32
