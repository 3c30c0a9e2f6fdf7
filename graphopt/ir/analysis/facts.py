"""What can be inferred about every tensor without running the model: type, shape, and values of small ones.

One sweep in topological order.  Shapes come from ONNX's own inference, one node at a time; values of
shape arithmetic are followed along, so that a size computed in the graph settles the shapes after it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, TypeProto

from graphopt.ir.analysis.constants import KERNELS, MALFORMED, MAX_ELEMENTS, Value, as_type, compute, is_known
from graphopt.ir.analysis.node_inference import NodeInference
from graphopt.ir.declared import Shape, bound, declared_dtype, declared_shape, merged, static_shape
from graphopt.ir.node import Node
from graphopt.ir.tensor import Constant, Tensor

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
        return static_shape(self.shape(tensor))

    def rank(self, tensor: Tensor) -> int | None:
        """Number of dimensions, or None."""
        shape = self.shape(tensor)
        return None if shape is None else len(shape)

    def value(self, tensor: Tensor) -> Value | None:
        """The value of a small tensor of numbers, perhaps with unknown elements; see ``constants``."""
        if tensor in self._values:
            return self._values[tensor]
        if not isinstance(tensor, Constant) or tensor.element_type == TensorProto.STRING:
            return None
        return tensor.values if math.prod(tensor.shape) <= MAX_ELEMENTS else None

    def known_value(self, tensor: Tensor) -> Value | None:
        """The value when every element is a number, in the tensor's own type."""
        value, dtype = self.value(tensor), self.dtype(tensor)
        if value is None or dtype is None or not is_known(value):
            return None
        return as_type(value, dtype)

    def type_proto(self, tensor: Tensor) -> TypeProto | None:
        """The type as ONNX writes it."""
        if isinstance(tensor, Constant):
            return onnx.helper.make_tensor_type_proto(tensor.element_type, tensor.shape)
        return self._types.get(tensor)

    def value_proto(self, tensor: Tensor, kinds: str) -> TensorProto | None:
        """A known value of these kinds of numbers (as numpy calls them), as ONNX's inference reads it."""
        dtype = self.dtype(tensor)
        value = self.known_value(tensor) if dtype is not None and dtype.kind in kinds else None
        if value is None:
            return None
        return onnx.numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), tensor.name)


def gather_facts(model: Model, bindings: Mapping[str, Sequence[int]] | None = None) -> Facts:
    """Return what can be inferred of the main graph's tensors.

    ``bindings`` gives sizes for inputs whose declared dimensions are open; a symbol that an input binds is
    bound wherever it is declared.  Unknown operators yield only what the file declares.
    """
    sweep = _Sweep(model, bindings or {})
    for node in model.graph.nodes:
        sweep.visit(node)
    return sweep.facts


class _Sweep:
    """The state of one run over the nodes."""

    def __init__(self, model: Model, bindings: Mapping[str, Sequence[int]]) -> None:
        self.facts = Facts()
        self._inference = NodeInference(model)
        self._symbols: dict[str, int] = {}
        self._inputs = set(model.graph.inputs)
        for tensor in model.graph.inputs:
            sizes = bindings.get(tensor.name, ())
            pairs = zip(tensor.shape or (), sizes, strict=False)
            self._symbols |= {symbol: int(size) for symbol, size in pairs if isinstance(symbol, str)}
        for tensor in model.graph.inputs:
            if (declared := self._declared(tensor)) is not None:
                self.facts._types[tensor] = bound(declared, bindings.get(tensor.name))

    def visit(self, node: Node) -> None:
        facts = self.facts
        inferred = self._inference.outputs(node, facts.type_proto, facts.value_proto)
        for tensor in node.outputs:
            kind = merged(inferred.get(tensor.name), self._declared(tensor))
            if kind is not None:
                facts._types[tensor] = kind
        try:
            self._follow_sizes(node)
        except MALFORMED as error:
            LOGGER.info("no value after node '%s': %s", node.name, error)

    def _follow_sizes(self, node: Node) -> None:
        """Note what the inferred types do not tell: values, and shapes that follow from them."""
        if not node.is_standard or len(node.outputs) != 1:
            return
        if node.op == "Reshape" and self.facts.static_shape(node.output) is None:
            self._reshape(node)
        value, dtype = self._value(node), self.facts.dtype(node.output)
        if value is not None and dtype is not None and value.size <= MAX_ELEMENTS:
            value = as_type(value, dtype)
            if value is not None:
                self.facts._values[node.output] = value

    def _declared(self, tensor: Tensor) -> TypeProto | None:
        """What the file, or a pass in its place, says of a tensor, bound symbols replaced."""
        declared = self._stated(tensor) if tensor.info is None else tensor.info.type
        if declared is None or not self._symbols:
            return declared
        shape = declared_shape(declared) or ()
        return bound(declared, [self._symbols.get(dim) for dim in shape])  # type: ignore[arg-type]

    def _stated(self, tensor: Tensor) -> TypeProto | None:
        """What a pass has set: the type; of an input, which nothing else tells, the shape as well."""
        dtype = tensor.dtype
        if dtype is None or isinstance(tensor, Constant):
            return None
        shape = tensor.shape if tensor in self._inputs else None
        return onnx.helper.make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(dtype), shape)

    def _reshape(self, node: Node) -> None:
        """Infer what can be said of a Reshape to sizes that are known in part."""
        sizes, dtype = self.facts.value(node.inputs[1]), self.facts.dtype(node.inputs[0])
        if sizes is None or dtype is None or node.attr("allowzero", 0):
            return
        source = self.facts.shape(node.inputs[0]) or ()
        dims = [(source[i] if i < len(source) else None) if s == 0 else s for i, s in enumerate(sizes)]
        dims = [None if size == -1 else size for size in dims]
        kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        shaped = merged(self.facts.type_proto(node.output), onnx.helper.make_tensor_type_proto(kind, dims))
        if shaped is not None:
            self.facts._types[node.output] = shaped

    def _value(self, node: Node) -> Value | None:
        if node.op in SIZE_READERS:
            return self._sizes(node)
        if node.op == "Constant":
            constant = node.output.constant
            return None if constant is None or constant.dtype == object else constant
        if node.op not in KERNELS:
            return None
        inputs = [self.facts.value(tensor) if tensor.name else None for tensor in node.inputs]
        return compute(node, inputs) if any(value is not None for value in inputs) else None

    def _sizes(self, node: Node) -> Value | None:
        shape = self.facts.shape(node.inputs[0])
        if shape is None:
            return None
        if node.op == "Shape":
            shape = shape[slice(node.attr("start", 0), node.attr("end", None))]
            is_static = static_shape(shape) is not None
            return np.array(shape, np.int64 if is_static else object)
        static = self.facts.static_shape(node.inputs[0])
        return None if static is None else np.array(int(np.prod(static, dtype=np.int64)))
