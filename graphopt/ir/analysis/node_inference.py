"""ONNX's own type and shape inference, one node at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, TypeProto, ValueInfoProto

from graphopt.ir.io.exporter import GraphExporter
from graphopt.ir.io.weights import Array
from graphopt.ir.node import Node
from graphopt.ir.tensor import Tensor
from graphopt.ir.traversal import reads

if TYPE_CHECKING:
    from graphopt.ir.model import Model

LOGGER = logging.getLogger(__name__)
FAILURES = (
    onnx.shape_inference.InferenceError,
    onnx.checker.ValidationError,
    RuntimeError,
    TypeError,
    ValueError,
)
FATAL_WITHOUT_TYPES = frozenset(  # the process ends in onnx when the type of what these read is not known
    (
        ("", "EyeLike"),
        ("", "RegexFullMatch"),
        *(("ai.onnx.ml", name) for name in ("DictVectorizer", "LabelEncoder", "TreeEnsemble")),
    )
)
RESIZES = ("Resize", "Upsample")
FLOATS_TELL_SIZES = (*RESIZES, "Range")
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)

Types: TypeAlias = Callable[[Tensor], "TypeProto | None"]
Data: TypeAlias = Callable[[Tensor, str], "TensorProto | None"]  # of values of these kinds of numbers


class NodeInference:
    """Tells the types of a node's outputs from the types, and small values, of what it reads."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._exporter = GraphExporter(model.weights)
        self._opsets = model.opsets
        self._functions = {(function.domain, function.name) for function in model.header.functions}
        self._schemas: dict[tuple[str, str], Any] = {}

    def outputs(self, node: Node, types: Types, data: Data) -> Mapping[str, TypeProto]:
        """Return the types by tensor name; empty when nothing can be determined."""
        try:
            if (node.domain or "", node.op) in self._functions or any(True for _ in node.subgraphs()):
                return self._from_a_model(node, types, data)
            return self._from_the_schema(node, types, data)
        except FAILURES as error:
            LOGGER.info("no shapes after node '%s': %s", node.name, error)
            return {}

    def _from_the_schema(self, node: Node, types: Types, data: Data) -> Mapping[str, TypeProto]:
        schema = self._schema("" if node.is_standard else (node.domain or ""), node.op)
        inputs = {tensor.name: types(tensor) for tensor in node.inputs if tensor.name}
        if schema is None or any(declared is None for declared in inputs.values()):
            return {}
        kinds = "iuf" if node.op in FLOATS_TELL_SIZES else "iu"
        values = {t.name: value for t in node.inputs if (value := data(t, kinds)) is not None}
        made = onnx.shape_inference.infer_node_outputs(schema, self._exporter.node(node), inputs, values)  # type: ignore[arg-type]
        if node.op in RESIZES:
            scales = next(
                (onnx.numpy_helper.to_array(v) for v in values.values() if v.data_type in FLOATS), None
            )
            _leave_open(made, node, inputs[node.inputs[0].name], scales)
        return made

    def _from_a_model(self, node: Node, types: Types, data: Data) -> Mapping[str, TypeProto]:
        """Infer through subgraphs or a local function: as a model of this one node."""
        header = self._model.header
        if any(is_fatal_without_types(inner) for inner in self._nodes_inside(node)):
            return {}  # what these read is known to onnx alone, once it has followed the nodes before them
        proto = ModelProto(ir_version=header.ir_version, opset_import=header.opset_import)
        proto.functions.extend(header.functions)
        proto.graph.node.append(self._exporter.node(node))
        for tensor in _outer_reads(node):
            _declare(proto.graph, tensor, types(tensor), data(tensor, "iufb"))
        names = [tensor.name for tensor in node.outputs if tensor.name]
        proto.graph.output.extend(ValueInfoProto(name=name) for name in names)
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        return {info.name: info.type for info in inferred.graph.output if info.type.WhichOneof("value")}

    def _nodes_inside(self, node: Node) -> Iterator[Node | onnx.NodeProto]:
        for graph in node.subgraphs(recursive=True):
            yield from graph.nodes
        for function in self._model.header.functions:
            yield from function.node

    def _schema(self, domain: str, op: str) -> Any:
        """The operator's definition at the model's opset; None when there is none."""
        if (domain, op) not in self._schemas:
            try:
                schema = onnx.defs.get_schema(op, self._opsets.get(domain, 1), domain)
            except onnx.defs.SchemaError:
                schema = None
            self._schemas[domain, op] = schema
        return self._schemas[domain, op]


def is_fatal_without_types(node: Node | onnx.NodeProto) -> bool:
    """Whether onnx may end the process on this node when the type of what it reads is not known."""
    op = node.op_type if isinstance(node, onnx.NodeProto) else node.op
    domain = node.domain or ""
    return ("" if domain == "ai.onnx" else domain, op) in FATAL_WITHOUT_TYPES


def _leave_open(
    made: Mapping[str, TypeProto], node: Node, given: TypeProto | None, scales: Array | None
) -> None:
    """Leave sizes open that are another number in float32, as runtimes compute them, than in float64.

    6 * 1.6666666 is below 10, and 10 when it is rounded to float32.
    """
    scales = np.asarray(node.attr("scales", ()), np.float32) if scales is None else scales
    axes = node.attr("axes") or range(len(scales))
    if given is None or node.output.name not in made or len(axes) != len(scales):
        return
    before, after = (kind.tensor_type.shape.dim for kind in (given, made[node.output.name]))
    if len(before) != len(after) or not all(-len(after) <= axis < len(after) for axis in axes):
        return  # of an input of unknown rank nothing is known that could be wrong
    for axis, scale in zip(axes, scales.astype(np.float32), strict=True):
        size = before[axis].dim_value
        if np.floor(np.float32(size) * scale) != np.floor(float(size) * float(scale)):
            after[axis].Clear()


def _outer_reads(node: Node) -> Iterator[Tensor]:
    """What a node and its subgraphs read from the graphs around."""
    inside = set(node.subgraphs(recursive=True))
    yield from dict.fromkeys(tensor for tensor in reads(node) if tensor.name and tensor.graph not in inside)


def _declare(graph: GraphProto, tensor: Tensor, kind: TypeProto | None, value: TensorProto | None) -> None:
    if value is not None:
        graph.initializer.append(value)
    elif kind is not None:
        graph.input.append(ValueInfoProto(name=tensor.name, type=kind))
