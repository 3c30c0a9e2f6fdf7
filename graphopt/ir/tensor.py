"""Tensors of the live graph: graphsurgeon's Variable and Constant with identity and mapped values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto, ValueInfoProto

from graphopt.ir.declared import Shape, as_dtype, declared_dtype, declared_shape
from graphopt.ir.edges import Consumers, Links
from graphopt.ir.io.weights import Array, Weights

if TYPE_CHECKING:
    from graphopt.ir.graph import Graph, Node


class Tensor(gs.Tensor):  # type: ignore[misc,name-defined]
    """What Variable and Constant share.  Two tensors are equal only when they are the same object."""

    # Both classes have the same slots, so that a tensor can become a constant in place.
    __slots__ = (
        "_cache",
        "_dtype",
        "_inputs",
        "_outputs",
        "_shape",
        "_values",
        "graph",
        "info",
        "name",
        "proto",
        "type",
    )

    graph: Graph | None  # the graph that it is an input, an initializer or a node's output of
    info: ValueInfoProto | None  # its declaration in the file
    proto: TensorProto | None  # its initializer in the file
    _inputs: Links | None  # made when asked for: constants have none
    _dtype: np.dtype[Any] | None
    _shape: Shape | None
    _values: Any  # of a constant: an array, or the weight store that `proto` refers to
    _cache: Array | None

    __setattr__ = object.__setattr__  # graphsurgeon's synchronises lists; properties do it here

    def _link(self, name: str) -> None:
        self.name = name
        self.graph = None
        self.info = None
        self.proto = None
        self.type = "tensor_type"
        self._cache = self._dtype = self._shape = self._values = self._inputs = None
        self._outputs = Consumers(self, "inputs")

    @property
    def inputs(self) -> Links:
        """The nodes that compute this tensor: one or none."""
        if self._inputs is None:
            self._inputs = Links(self, "outputs")
        return self._inputs

    @inputs.setter
    def inputs(self, nodes: Sequence[Node]) -> None:
        self.inputs.replace(nodes)

    @property
    def outputs(self) -> Consumers:
        """The nodes that read this tensor, one entry for each use."""
        return self._outputs

    @outputs.setter
    def outputs(self, nodes: Sequence[Node]) -> None:
        self._outputs.replace(nodes)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    @property
    def producer(self) -> Node | None:
        """The node that computes this tensor; None for inputs and initializers."""
        return self._inputs[0] if self._inputs else None  # type: ignore[no-any-return]

    @property
    def consumers(self) -> list[Node]:
        """The nodes that read this tensor, subgraphs included; one entry for each use."""
        return list(self._outputs)

    @property
    def is_private(self) -> bool:
        """Whether exactly one node reads this tensor, and the model does not hand it out."""
        return len(self._outputs) == 1 and not (self.graph is not None and self.graph.is_output(self))

    @property
    def constant(self) -> Array | None:
        """The read-only value, when it is known at load time.

        Initializers, Constant nodes and Identity chains of them are known; an initializer that a caller
        may override (it is also a graph input, IR version 4 and later) is not.
        """
        tensor: Tensor = self
        while True:
            if isinstance(tensor, Constant):
                return tensor.values
            node = tensor.producer
            if node is None or not node.is_standard or len(node.outputs) != 1:
                return None
            if node.op == "Constant":
                return constant_node_value(node)
            if node.op != "Identity":
                return None
            tensor = node.inputs[0]

    def to_constant(self, values: Array, data_location: Any = None, export_dtype: Any = None) -> Constant:
        """Turn into a constant with these values, which graphsurgeon would write as ``export_dtype``."""
        self.__class__ = Constant  # type: ignore[assignment]
        self.proto = None
        self.values = values if export_dtype is None else values.astype(export_dtype)
        return self  # type: ignore[return-value]

    def become(self, other: Constant) -> Constant:
        """Turn into a constant with the value of ``other``, which is not read for it."""
        self.__class__ = Constant  # type: ignore[assignment]
        if other.is_stored:
            self.store(other.proto, other._values)  # type: ignore[attr-defined]
        else:
            self.proto, self._values, self._cache = None, other.values, None
        return self  # type: ignore[return-value]

    def to_variable(self, dtype: Any = None, shape: Sequence[int | str] | None = None) -> Variable:
        """Turn into a tensor that is known at run time; type and shape stay unless given."""
        dtype = self.dtype if dtype is None else dtype  # type: ignore[has-type]
        shape = self.shape if shape is None else shape  # type: ignore[has-type]
        self.__class__ = Variable  # type: ignore[assignment]
        self._values = self._cache = self.proto = None
        self.dtype, self.shape = dtype, shape
        return self  # type: ignore[return-value]


class Variable(Tensor, gs.Variable):  # type: ignore[misc,name-defined]
    """A tensor that is known at run time.

    One with a ``proto`` is an initializer that callers may override: it has a default, not a value.
    """

    __slots__ = ()

    def __init__(self, name: str, dtype: Any = None, shape: Sequence[Any] | None = None) -> None:
        self._link(name)
        self._dtype = None if dtype is None else as_dtype(dtype)
        self._shape = None if shape is None else tuple(shape)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        if self._dtype is None and self.info is not None:
            self._dtype = declared_dtype(self.info.type)
        return self._dtype

    @dtype.setter
    def dtype(self, dtype: Any) -> None:
        shape = self.shape
        self._dtype = None if dtype is None else as_dtype(dtype)
        self._shape, self.info = shape, None

    @property
    def shape(self) -> Shape | None:
        if self._shape is None and self.info is not None:
            self._shape = declared_shape(self.info.type)
        return self._shape

    @shape.setter
    def shape(self, shape: Sequence[Any] | None) -> None:
        dtype = self.dtype
        self._shape = None if shape is None else tuple(shape)
        self._dtype, self.info = dtype, None

    def forget_shape(self) -> None:
        """Drop the declared shape, because what feeds this tensor has changed."""
        self.shape = None

    def copy(self) -> Variable:
        return Variable(self.name, self.dtype, self.shape)


class Constant(Tensor, gs.Constant):  # type: ignore[misc,name-defined]
    """A tensor whose value is known; large values are mapped from the file and read-only.

    The value is either *stored*, described by ``proto`` and read from a weight store, or an array that
    somebody has set.  Exporting stores such an array.
    """

    __slots__ = ()

    def __init__(self, name: str, values: Array, **_: Any) -> None:
        self._link(name)
        self._values = _frozen(np.asarray(values))

    @classmethod
    def stored(cls, proto: TensorProto, weights: Weights) -> Constant:
        """Wrap an initializer of the file without reading it."""
        tensor: Constant = cls.__new__(cls)
        tensor._link(proto.name)
        tensor.store(proto, weights)
        return tensor

    def store(self, proto: TensorProto, weights: Weights) -> None:
        """Let the value be the one that ``proto`` describes."""
        self.proto, self._values, self._cache = proto, weights, None

    @property
    def is_stored(self) -> bool:
        """Whether ``proto`` describes the value."""
        return isinstance(self._values, Weights)

    @property
    def _stored(self) -> TensorProto:
        assert self.proto is not None
        return self.proto

    @property
    def values(self) -> Array:
        if not isinstance(self._values, Weights):
            return self._values  # type: ignore[no-any-return]
        if self._cache is None:
            self._cache = self._values.array(self._stored)
        return self._cache  # type: ignore[no-any-return]

    @values.setter
    def values(self, values: Array) -> None:
        self._values, self._cache, self.info = _frozen(np.asarray(values)), None, None

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return tuple(self._stored.dims) if isinstance(self._values, Weights) else self._values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        if isinstance(self._values, Weights):
            return as_dtype(self._stored.data_type)
        return self._values.dtype  # type: ignore[no-any-return]

    @property
    def element_type(self) -> int:
        """The ONNX number of the element type."""
        if isinstance(self._values, Weights):
            return int(self._stored.data_type)
        return int(onnx.helper.np_dtype_to_tensor_dtype(self._values.dtype))

    @property
    def export_dtype(self) -> np.dtype[Any]:
        return self.dtype

    @property
    def nbytes(self) -> int:
        """Size of the value in bytes, known without reading it."""
        if isinstance(self._values, Weights):
            return self._values.nbytes(self._stored)
        return int(self._values.nbytes)

    def copy(self) -> Constant:
        return Constant(self.name, self.values)


def constant_node_value(node: Node) -> Array | None:
    """Return the value of a Constant node, in whichever attribute it is written."""
    attrs = node.attrs
    if "value" in attrs:
        value = attrs["value"]
        return value.values if isinstance(value, Constant) else None
    for name, dtype in _NUMBERS.items():
        if name in attrs:
            numbers = np.asarray(attrs[name])
            return _frozen(numbers.astype(dtype)) if numbers.dtype.kind in "if" else None
    return None


_NUMBERS = {
    "value_float": np.float32,
    "value_int": np.int64,
    "value_floats": np.float32,
    "value_ints": np.int64,
}


def _frozen(values: Array) -> Array:
    view = values.view()
    view.flags.writeable = False
    return view
