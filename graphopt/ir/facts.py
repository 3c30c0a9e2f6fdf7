"""What can be told about every tensor without running the model: type, shape, and values of small ones.

One sweep in topological order.  Shapes come from ONNX's own inference, one node at a time; values of
shape arithmetic are followed along, so that a size computed in the graph settles the shapes after it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, TypeProto

from graphopt.ir.exporter import GraphExporter
from graphopt.ir.graph import Graph, Node
from graphopt.ir.tensor import Constant, Shape, Tensor, declared_dtype, declared_shape
from graphopt.ir.values import MAX_ELEMENTS, Value, compute, is_known

if TYPE_CHECKING:
    from graphopt.ir.model import Model

LOGGER = logging.getLogger(__name__)
SIZE_READERS = ("Shape", "Size")


class Facts:
    """Types, shapes and small values by tensor.  Everything here is advice: a missing fact means unknown."""

    def __init__(self) -> None:
        self._types: dict[Tensor, TypeProto] = {}
        self._values: dict[Tensor, Value] = {}

    def dtype(self, tensor: Tensor) -> np.dtype[Any] | None:
        """Element type, or None."""
        if isinstance(tensor, Constant):
            return tensor.dtype
        return declared_dtype(self._types[tensor]) if tensor in self._types else None

    def shape(self, tensor: Tensor) -> Shape | None:
        """Shape with sizes, symbols and None, or None when not even the rank is known."""
        if isinstance(tensor, Constant):
            return tensor.shape
        return declared_shape(self._types[tensor]) if tensor in self._types else None

    def static_shape(self, tensor: Tensor) -> tuple[int, ...] | None:
        """The shape when every size is a number."""
        shape = self.shape(tensor)
        if shape is None or not all(isinstance(size, int) for size in shape):
            return None
        return shape  # type: ignore[return-value]

    def rank(self, tensor: Tensor) -> int | None:
        """Number of dimensions, or None."""
        shape = self.shape(tensor)
        return None if shape is None else len(shape)

    def value(self, tensor: Tensor) -> Value | None:
        """The value of a small tensor, perhaps with unknown elements; see ``ir.values``."""
        if tensor in self._values:
            return self._values[tensor]
        if isinstance(tensor, Constant):
            return tensor.values if np.prod(tensor.shape) <= MAX_ELEMENTS else None
        return None

    def known_value(self, tensor: Tensor) -> Value | None:
        """The value when every element is a number, in the tensor's own type."""
        value, dtype = self.value(tensor), self.dtype(tensor)
        if value is None or dtype is None or not is_known(value):
            return None
        return value.astype(dtype)


def gather_facts(model: Model, bindings: Mapping[str, Sequence[int]] | None = None) -> Facts:
    """Return what can be told of the main graph's tensors.

    ``bindings`` gives sizes for inputs whose declared dimensions are open.  Nodes with subgraphs and
    unknown operators yield only what the file declares.
    """
    sweep = _Sweep(model)
    sweep.enter(model.graph, bindings or {})
    for node in model.graph.nodes:
        sweep.visit(node)
    return sweep.facts


class _Sweep:
    """The state of one run over the nodes."""

    def __init__(self, model: Model) -> None:
        self.facts = Facts()
        self._exporter = GraphExporter(model.weights)
        self._opsets = model.opsets
        self._schemas: dict[str, Any] = {}

    def enter(self, graph: Graph, bindings: Mapping[str, Sequence[int]]) -> None:
        for tensor in graph.inputs:
            if tensor.info is not None:
                declared = TypeProto()
                declared.CopyFrom(tensor.info.type)
                _bind(declared, bindings.get(tensor.name))
                self.facts._types[tensor] = declared

    def visit(self, node: Node) -> None:
        facts = self.facts
        inferred = self._infer(node)
        for tensor in node.outputs:
            known = inferred.get(tensor.name)
            if known is None and tensor.info is not None:
                known = tensor.info.type
            if known is not None:
                facts._types[tensor] = known
        if node.op == "Reshape" and node.is_standard and facts.shape(node.output) is None:
            self._reshape(node)
        value = self._value(node)
        if value is not None and value.size <= MAX_ELEMENTS:
            facts._values[node.output] = value

    def _reshape(self, node: Node) -> None:
        """Tell what can be told of a Reshape to sizes that are known in part."""
        sizes, dtype = self.facts.value(node.inputs[1]), self.facts.dtype(node.inputs[0])
        if sizes is None or dtype is None or node.attr("allowzero", 0):
            return
        source = self.facts.shape(node.inputs[0]) or ()
        dims = [(source[i] if i < len(source) else None) if s == 0 else s for i, s in enumerate(sizes)]
        dims = [None if size == -1 else size for size in dims]
        kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        self.facts._types[node.output] = onnx.helper.make_tensor_type_proto(kind, dims)

    def _value(self, node: Node) -> Value | None:
        if not node.is_standard or len(node.outputs) != 1:
            return None
        if node.op in SIZE_READERS:
            return self._sizes(node)
        if node.op == "Constant":
            constant = node.output.constant
            return constant if constant is not None and constant.size <= MAX_ELEMENTS else None
        inputs = [self.facts.value(tensor) if tensor.name else None for tensor in node.inputs]
        return compute(node, inputs) if any(value is not None for value in inputs) else None

    def _sizes(self, node: Node) -> Value | None:
        shape = self.facts.shape(node.inputs[0])
        if shape is None:
            return None
        if node.op == "Shape":
            shape = shape[slice(node.attr("start", 0), node.attr("end", None))]
            known = all(isinstance(size, int) for size in shape)
            return np.array(shape, np.int64 if known else object)
        static = self.facts.static_shape(node.inputs[0])
        return None if static is None else np.array(int(np.prod(static, dtype=np.int64)))

    def _infer(self, node: Node) -> Mapping[str, TypeProto]:
        schema = self._schema(node)
        types = {tensor.name: self._type(tensor) for tensor in node.inputs if tensor.name}
        if schema is None or any(declared is None for declared in types.values()) or _has_graph(node):
            return {}
        data = {t.name: proto for t in node.inputs if (proto := self._data(t)) is not None}
        try:
            return onnx.shape_inference.infer_node_outputs(schema, self._exporter.node(node), types, data)
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
            LOGGER.info("no shapes after node '%s': %s", node.name, error)
            return {}

    def _type(self, tensor: Tensor) -> TypeProto | None:
        if tensor in self.facts._types:
            return self.facts._types[tensor]
        if isinstance(tensor, Constant):
            return onnx.helper.make_tensor_type_proto(
                onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype), tensor.shape
            )
        return None

    def _data(self, tensor: Tensor) -> TensorProto | None:
        """A small known value, in the form in which ONNX's inference reads sizes."""
        value = self.facts.known_value(tensor)
        if value is None or value.dtype.kind not in "iuf":
            return None
        return onnx.numpy_helper.from_array(np.ascontiguousarray(value), tensor.name)

    def _schema(self, node: Node) -> Any:
        domain = "" if node.is_standard else (node.domain or "")
        key = f"{domain}:{node.op}"
        if key not in self._schemas:
            version = self._opsets.get(domain, 1)
            known = onnx.defs.has(node.op, domain)
            try:
                self._schemas[key] = onnx.defs.get_schema(node.op, version, domain) if known else None
            except onnx.defs.SchemaError:  # newer or older than the model's opset
                self._schemas[key] = None
        return self._schemas[key]


def _has_graph(node: Node) -> bool:
    return node.graph is not None and node in node.graph.owners


def _bind(declared: TypeProto, sizes: Sequence[int] | None) -> None:
    for dim, size in zip(declared.tensor_type.shape.dim, sizes or (), strict=False):
        dim.dim_value = int(size)
