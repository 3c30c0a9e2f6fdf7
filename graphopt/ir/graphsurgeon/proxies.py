"""Tensors and nodes opened for graphsurgeon code that a user brings along.

Such code expects more than ours offer to passes: values that can be written in place, shapes that are
lists, attributes that copy like a dict.  A tensor or node is opened and closed where it stands, by a change
of its class, so that every reference to it stays good.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from graphopt.ir.declared import as_dtype, declared_shape
from graphopt.ir.edges import Consumers
from graphopt.ir.io.attributes import Attributes
from graphopt.ir.io.weights import Array, Weights
from graphopt.ir.node import Node
from graphopt.ir.tensor import Constant, Tensor, Variable


class KeptValues(LazyValues):  # type: ignore[misc]
    """A value that is still where the model keeps it; reading it makes a copy that can be written."""

    shape: Any
    dtype: Any

    def __init__(self, proto: TensorProto, weights: Weights) -> None:
        self.proto, self.weights = proto, weights
        self.shape, self.dtype = tuple(proto.dims), as_dtype(proto.data_type)
        self.nbytes = weights.nbytes(proto)

    @property
    def tensor(self) -> TensorProto:
        """The complete tensor, for graphsurgeon's exporter; the exporter renames what it gets."""
        complete = TensorProto()
        complete.CopyFrom(self.proto)
        payload = self.weights.buffer(self.proto)
        if payload is not None:
            complete.ClearField("data_location")
            del complete.external_data[:]
            complete.raw_data = bytes(payload)
        return complete

    def load(self) -> Array:
        return np.array(self.weights.array(self.proto))

    def holds(self, values: Array) -> bool:
        """Whether ``values`` has exactly these bits."""
        if values.dtype != self.dtype or values.shape != self.shape:
            return False
        own = self.weights.array(self.proto)
        return bool(np.array_equal(own, values) if own.dtype == object else _bits_equal(own, values))


class OpenConsumers(Consumers):
    """Readers of a tensor that graphsurgeon's own lists may change without notice."""

    __slots__ = ()

    def _index(self) -> dict[int, list[int]]:
        self._places = None
        return super()._index()


class OpenVariable(Variable):
    """A variable whose shape is a list."""

    __slots__ = ()
    _shape: Any

    @property
    def shape(self) -> Any:
        if not isinstance(self._shape, list):
            declared = Variable.shape.fget(self)  # type: ignore[attr-defined]
            self._shape = None if declared is None else list(declared)
        return self._shape

    @shape.setter
    def shape(self, shape: Sequence[Any] | None) -> None:
        if self.shape != (None if shape is None else list(shape)):
            Variable.shape.fset(self, shape)  # type: ignore[attr-defined]

    @property
    def dtype(self) -> np.dtype[Any] | None:
        return Variable.dtype.fget(self)  # type: ignore[attr-defined,no-any-return]

    @dtype.setter
    def dtype(self, dtype: Any) -> None:
        _ = self.shape  # setting the type drops the declaration, and with it a shape not read yet
        if self.dtype != (None if dtype is None else as_dtype(dtype)):
            Variable.dtype.fset(self, dtype)  # type: ignore[attr-defined]

    def to_constant(self, values: Any, data_location: Any = None, export_dtype: Any = None) -> OpenConstant:
        self._dtype = self._shape = self.info = self.proto = None
        self.__class__ = OpenConstant  # type: ignore[assignment]
        self._values, self._export_dtype = values, export_dtype
        return self  # type: ignore[return-value]

    def to_variable(self, dtype: Any = None, shape: Sequence[int | str] | None = None) -> OpenVariable:
        """Give it this type and shape; graphsurgeon would make it a scalar when no shape is given."""
        self.dtype, self.shape = dtype or self.dtype, shape or self.shape
        return self

    def copy(self) -> Any:
        return gs.Variable(self.name, self.dtype, self.shape, self.type)

    def close(self) -> None:
        """Become an ordinary variable again; a shape edited in place is declared."""
        listed, self.__class__ = self._shape, Variable  # type: ignore[assignment]
        if isinstance(listed, list):
            shape = tuple(_dimension(size) for size in listed)
            if self.info is not None and shape == declared_shape(self.info.type):
                self._shape = shape
            else:
                self.shape = shape


class OpenConstant(Constant):
    """A constant whose values can be written in place, kept as graphsurgeon keeps them."""

    __slots__ = ()
    _values: Any
    data_location = None
    _export_dtype: Any = None

    values = gs.Constant.values
    shape = gs.Constant.shape
    dtype = gs.Constant.dtype
    export_dtype = gs.Constant.export_dtype

    def to_variable(self, dtype: Any = None, shape: Sequence[int | str] | None = None) -> OpenVariable:
        Tensor.to_variable(self, dtype if dtype is not None else self.export_dtype, shape)
        self._export_dtype = None
        self.__class__ = OpenVariable  # type: ignore[assignment]
        return self  # type: ignore[return-value]

    def copy(self) -> Any:
        return gs.Constant(self.name, self._values, export_dtype=self._export_dtype)

    def close(self, weights: Weights) -> None:
        """Become an ordinary constant again; a value that was only read stays where it was."""
        proto, values, own = kept_proto(self), self._values, self.proto
        if own is not None and proto is not own and not is_converted(self):
            read = values.load() if isinstance(values, LazyValues) else values
            proto = own if KeptValues(own, weights).holds(read) else proto
        self.__class__ = Constant  # type: ignore[assignment]
        if proto is not None:
            self.store(proto, weights)
        else:
            self.values = values.load() if isinstance(values, LazyValues) else values


class OpenAttributes(Attributes):
    """Attributes that copy like a dict and hand out tensors that can be written."""

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if type(value) is Constant:
            open_tensor(value)
        return value

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        live = (gs.Tensor, gs.Graph)
        return {name: v if isinstance(v, live) else copy.deepcopy(v, memo) for name, v in self.items()}

    def __or__(self, other: Any) -> dict[str, Any]:
        return {**self, **other}


class NodeProxy(Node):
    """A node whose attributes are open."""

    __slots__ = ()

    @property
    def attrs(self) -> Attributes:
        attributes: Attributes = Node.attrs.fget(self)  # type: ignore[attr-defined]
        attributes.__class__ = OpenAttributes
        return attributes

    @attrs.setter
    def attrs(self, values: Any) -> None:
        Node.attrs.fset(self, values)  # type: ignore[attr-defined]

    def close(self) -> None:
        self.__class__ = Node  # type: ignore[assignment]
        if self._attrs is not None:
            self._attrs.__class__ = Attributes


def open_tensor(tensor: Any) -> None:
    """Open one tensor where it stands."""
    if type(tensor._outputs) is Consumers:
        tensor._outputs.__class__ = OpenConsumers
    kind: type = type(tensor)
    if kind is Variable:
        tensor.__class__ = OpenVariable
    elif kind is Constant:
        kept = KeptValues(tensor.proto, tensor._values) if tensor.is_stored else np.array(tensor.values)
        tensor.__class__ = OpenConstant
        tensor._values, tensor._cache = kept, None


def kept_proto(constant: Any) -> TensorProto | None:
    """The proto of a graphsurgeon constant whose value nobody has read, or which is to be converted."""
    values = constant._values
    if isinstance(values, KeptValues):
        return values.proto
    if isinstance(values, LazyValues):
        return None if isinstance(values, SparseValues) else values.tensor
    return OnnxExporter.export_tensor_proto(constant) if is_converted(constant) else None


def is_converted(constant: Any) -> bool:
    """Whether the user asked for another type than that of the values."""
    wanted = constant._export_dtype
    return wanted is not None and as_dtype(wanted) != as_dtype(constant._values.dtype)


def _dimension(size: Any) -> int | str | None:
    """A dimension as we write it: graphsurgeon's users write -1 or None for an unknown one."""
    if isinstance(size, Integral):
        return int(size) if int(size) >= 0 else None
    return size or None


def _bits_equal(left: Array, right: Array) -> bool:
    def raw(values: Array) -> Array:
        return np.ascontiguousarray(values).reshape(-1).view(np.uint8)

    return bool(np.array_equal(raw(left), raw(right)))
