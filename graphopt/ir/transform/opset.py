"""Move a model to a newer version of the standard operators.

ONNX's converter rewrites the nodes; on the way it loses metadata, annotations, functions and more.  So
only what it rewrote is taken from it, and everything else stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from graphopt.errors import ModelError
from graphopt.ir.analysis.facts import gather_facts
from graphopt.ir.analysis.node_inference import is_fatal_without_types
from graphopt.ir.io.importer import OVERRIDABLE_SINCE
from graphopt.ir.node import STANDARD_DOMAINS

if TYPE_CHECKING:
    from graphopt.ir.model import Model


def convert_opset(model: Model, version: int) -> None:
    """Convert the model to opset ``version``; values do not change.

    Does nothing when the model is there already or beyond.  Names, types and shapes of inputs and
    outputs stay; weights stay where they are.  The IR version rises to what the opset needs.  Raises
    ModelError, and leaves the model as it was, when ONNX's converter cannot do it.
    """
    if model.opset >= version:
        return
    for field, title in (("functions", "local functions"), ("training_info", "training graphs")):
        if getattr(model.header, field):
            raise _refusal(model, version, f"ONNX's converter does not convert its {title}")
    if untyped := _fatal_node(model):
        raise _refusal(
            model, version, f"'{untyped}' reads a tensor of unknown type, which ends the converter"
        )
    before = model.proto()
    try:
        converted = onnx.version_converter.convert_version(before, version)
    except (onnx.version_converter.ConvertError, IndexError, RuntimeError, ValueError) as error:
        raise _refusal(model, version, str(error).strip().splitlines()[0]) from error
    model.replace(_updated(before, converted, version))
    try:
        model.check()
    except ModelError as error:
        model.replace(before)
        raise _refusal(model, version, str(error)) from error


def _fatal_node(model: Model) -> str | None:
    """The first node at which onnx would end the process, since the type of what it reads is not known."""
    suspects = [node for node in model.graph.nodes if is_fatal_without_types(node)]
    facts = gather_facts(model) if suspects else None
    for node in suspects:
        assert facts is not None
        if any(tensor.name and facts.type_proto(tensor) is None for tensor in node.inputs):
            return str(node.name or node.op)
    bodies = (graph for node in model.graph.nodes for graph in node.subgraphs(recursive=True))
    inside = (node for graph in bodies for node in graph.nodes if is_fatal_without_types(node))
    return next((str(node.name or node.op) for node in inside), None)  # types in bodies are not followed here


def _refusal(model: Model, version: int, reason: str) -> ModelError:
    return ModelError(
        f"the model cannot be converted from opset {model.opset} to {version}: {reason}",
        hint="export it again at a newer opset",
    )


def _updated(before: ModelProto, converted: ModelProto, version: int) -> ModelProto:
    """The model as it was, with the converted graph and the versions that go with it."""
    made = ModelProto()
    made.CopyFrom(before)
    made.graph.CopyFrom(_converted_graph(before.graph, converted.graph))
    for entry in made.opset_import:
        if entry.domain in STANDARD_DOMAINS:
            entry.version = version
    needed = onnx.helper.find_min_ir_version_for(made.opset_import, ignore_unknown=True)
    if made.ir_version < OVERRIDABLE_SINCE <= needed:
        _unlist_initializers(made.graph)
    made.ir_version = max(made.ir_version, needed)
    return made


def _unlist_initializers(graph: GraphProto) -> None:
    """Take initializers off the inputs: constants up to IR version 3, they would be defaults later."""
    filled = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in filled]
    del graph.input[:]
    graph.input.extend(inputs)


def _converted_graph(old: GraphProto, new: GraphProto) -> GraphProto:
    """The old graph with the new nodes, and the initializers that came with them."""
    originals = {_first_output(node.output): node for node in old.node}
    initializers = {tensor.name for tensor in old.initializer}
    made = GraphProto()
    made.CopyFrom(old)
    del made.node[:]
    for node in new.node:
        original = originals.get(_first_output(node.output))
        made.node.append(node if original is None else _converted_node(original, node))
    made.initializer.extend(tensor for tensor in new.initializer if tensor.name not in initializers)
    return made


def _first_output(names: Sequence[str]) -> str:
    return next((name for name in names if name), "")


def _converted_node(old: NodeProto, new: NodeProto) -> NodeProto:
    """The old node with what the converter rewrote of it."""
    made = NodeProto()
    made.CopyFrom(old)
    if old.domain not in STANDARD_DOMAINS:
        return made
    made.op_type = new.op_type
    if made.name != new.name:  # the converter has given it to another of several nodes
        made.name = new.name
    for field in ("input", "output", "attribute"):
        made.ClearField(field)
    made.input.extend(new.input)
    made.output.extend(new.output)
    attributes = {attribute.name: attribute for attribute in new.attribute}
    kept = [attribute for attribute in old.attribute if attribute.name in attributes]
    made.attribute.extend(_converted_attribute(a, attributes.pop(a.name)) for a in kept)
    made.attribute.extend(attributes.values())
    return made


def _converted_attribute(old: AttributeProto, new: AttributeProto) -> AttributeProto:
    """The new attribute with the doc string, and around converted subgraphs all else, of the old one."""
    if old.type == new.type == AttributeProto.TENSOR:
        return old  # it may refer to the weight store, of which the converter knows nothing
    made = AttributeProto()
    made.CopyFrom(new)
    if old.HasField("doc_string"):
        made.doc_string = old.doc_string
    if old.type == new.type == AttributeProto.GRAPH:
        made.g.CopyFrom(_converted_graph(old.g, new.g))
    return made
