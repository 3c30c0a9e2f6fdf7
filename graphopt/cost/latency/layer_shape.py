"""What decides how long one layer takes: operator, sizes, attributes and type, apart from any model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from graphopt.cost.static.macs import Dims
from graphopt.ir.declared import static_shape

if TYPE_CHECKING:
    from graphopt import ir
    from graphopt.ir import Node, Tensor

Attributes: TypeAlias = "tuple[tuple[str, Any], ...]"

CONVOLUTIONS = ("Conv", "ConvTranspose")
PRODUCTS = ("Gemm", "MatMul")
INTEGER = "int8"  # the type of a layer whose activations and weights are stored in 8 bits
POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
# Attributes that change nothing when they have these values; spatial lists count when all entries do.
_DEFAULTS: dict[str, Any] = {
    "alpha": 1.0,
    "auto_pad": "NOTSET",
    "beta": 1.0,
    "ceil_mode": 0,
    "count_include_pad": 0,
    "dilations": 1,
    "group": 1,
    "output_padding": 0,
    "pads": 0,
    "storage_order": 0,
    "strides": 1,
    "transA": 0,
    "transB": 0,
}
# Attributes without a default value; the kernel shape of a weight is its own.
_MORE = {"AveragePool": ("kernel_shape",), "ConvTranspose": ("output_shape",), "MaxPool": ("kernel_shape",)}


@dataclass(frozen=True)
class LayerShape:
    """One layer by its sizes: two layers with equal shapes take equally long.

    ``input`` are the dims of what flows in, batch first; ``weight`` those of the constant weight in ONNX's
    layout, empty for pooling.  ``attrs`` are sorted, with lists as tuples and defaults left out.  ``dtype``
    is a floating type, or ``int8`` for a layer that is computed on integers.
    """

    op: str
    input: Dims
    weight: Dims = ()
    attrs: Attributes = ()
    dtype: str = "float32"

    @classmethod
    def of(cls, node: Node, shapes: Mapping[str, ir.Shape]) -> LayerShape | None:
        """The shape of a node; None where its kind is not timed by itself or a size is not known.

        ``shapes`` are those of the tensors by name, as ``ir.infer_shapes`` tells them.  Layers with a weight
        that is computed at run time are not timed.
        """
        if not node.is_standard or node.op not in (*CONVOLUTIONS, *PRODUCTS, *POOLS):
            return None
        source = _dims(node.input(0), shapes)
        weight = () if node.op in POOLS else _constant_dims(node.input(1))
        dtype = _type(node.input(0 if node.op in POOLS else 1))
        if not source or weight is None or dtype is None:
            return None
        return cls(node.op, source, weight, _attributes(node), dtype)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes as ONNX takes them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.attrs}

    @property
    def group(self) -> int:
        """Groups of a convolution; 1 elsewhere."""
        return int(dict(self.attrs).get("group", 1))

    @property
    def is_tied(self) -> bool:
        """Whether outputs follow inputs: in pooling, and in convolutions with a group for each input."""
        return self.op in POOLS or (self.op in CONVOLUTIONS and 1 < self.group == self.inputs)

    @property
    def inputs(self) -> int:
        """Channels (columns for matrix products) that the layer reads."""
        return self.input[self._input_axis]

    @property
    def outputs(self) -> int:
        """Channels (columns for matrix products) that the layer computes."""
        if self.op in POOLS:
            return self.inputs
        if self.op == "Conv":
            return self.weight[0]
        if self.op == "ConvTranspose":
            return self.weight[1] * self.group
        return self.weight[0 if self._is_transposed else -1]

    def with_widths(self, inputs: int | None = None, outputs: int | None = None) -> LayerShape:
        """The same layer with other numbers of input and output channels.

        The outputs of a depthwise convolution follow its inputs (and the other way round) with the same
        multiplier; other grouped convolutions keep their groups.  Raises ValueError where such a layer
        cannot be.
        """
        if self.is_tied:
            inputs = self._tied_inputs(inputs, outputs)
            outputs = inputs * self.outputs // self.inputs
        inputs = self.inputs if inputs is None else inputs
        outputs = self.outputs if outputs is None else outputs
        group = inputs if self.is_tied and self.op in CONVOLUTIONS else self.group
        if min(inputs, outputs) < 1 or inputs % group or outputs % group:
            raise ValueError(f"no {self.op} in {group} groups has {inputs} inputs and {outputs} outputs")
        dims = list(self.input)
        dims[self._input_axis] = inputs
        weight = self._weight(inputs, outputs, group)
        return dataclasses.replace(self, input=tuple(dims), weight=weight, attrs=self._grouped(group))

    def key(self) -> str:
        """One line of JSON that names the shape."""
        return json.dumps(dataclasses.astuple(self), separators=(",", ":"))

    @property
    def _input_axis(self) -> int:
        if self.op in PRODUCTS:
            return 0 if dict(self.attrs).get("transA") else -1
        return 1

    @property
    def _is_transposed(self) -> bool:
        return bool(dict(self.attrs).get("transB"))

    def _tied_inputs(self, inputs: int | None, outputs: int | None) -> int:
        multiplier = self.outputs // self.inputs
        both = (inputs, None if outputs is None else outputs / multiplier)
        widths = {width for width in both if width is not None}
        if len(widths) > 1 or any(width != int(width) for width in widths):
            raise ValueError(
                f"a {self.op} that ties {self.outputs} outputs to {self.inputs} inputs keeps that"
            )
        return int(widths.pop()) if widths else self.inputs

    def _weight(self, inputs: int, outputs: int, group: int) -> Dims:
        if self.op == "Conv":
            return (outputs, inputs // group, *self.weight[2:])
        if self.op == "ConvTranspose":
            return (inputs, outputs // group, *self.weight[2:])
        if self.op == "Gemm" and self._is_transposed:
            return (outputs, inputs)
        return (*self.weight[:-2], inputs, outputs) if self.op in PRODUCTS else ()

    def _grouped(self, group: int) -> Attributes:
        attrs = {**dict(self.attrs), "group": group}
        return tuple(sorted((name, value) for name, value in attrs.items() if not _is_default(name, value)))


def _attributes(node: Node) -> Attributes:
    names = {*_DEFAULTS, *_MORE.get(node.op, ())}
    attributes = {name: _plain(node.attrs[name]) for name in node.attrs if name in names}
    return tuple(sorted((name, value) for name, value in attributes.items() if not _is_default(name, value)))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _is_default(name: str, value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return name in _DEFAULTS and all(entry == _DEFAULTS[name] for entry in values)


def _dims(tensor: Tensor | None, shapes: Mapping[str, ir.Shape]) -> Dims | None:
    return None if tensor is None else static_shape(shapes.get(tensor.name, tensor.shape))


def _constant_dims(tensor: Tensor | None) -> Dims | None:
    value = None if tensor is None else tensor.constant
    return None if value is None or value.ndim < 2 else value.shape


def _type(tensor: Tensor | None) -> str | None:
    """The floating type of a tensor that layers are timed in; a pool's may be left open in the file."""
    if tensor is None:
        return None
    value = tensor.constant
    dtype = tensor.dtype if value is None else value.dtype
    if dtype is None:
        return "float32"
    return dtype.name if dtype.kind == "f" else None
