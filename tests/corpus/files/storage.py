"""How values are stored: every element type, raw and in typed fields, sparse, listed, unread."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.corpus._case import Catalogue
from tests.corpus._net import Net
from tests.corpus.files.attachments import base

cases = Catalogue()
ELEMENTS = 5  # odd: the last byte of a packed type is half full
NARROW = {  # bits of types narrower than a byte
    "INT2": 2,
    "UINT2": 2,
    "INT4": 4,
    "UINT4": 4,
    "FLOAT4E2M1": 4,
    "FLOAT6E2M3": 6,
    "FLOAT6E3M2": 6,
}
TYPED_FIELDS = {
    "FLOAT": "float_data",
    "COMPLEX64": "float_data",
    "DOUBLE": "double_data",
    "COMPLEX128": "double_data",
    "INT64": "int64_data",
    "UINT32": "uint64_data",
    "UINT64": "uint64_data",
}  # and int32_data for all others


def element_types() -> list[str]:
    """Name the element types that this onnx has and that hold numbers."""
    return [name for name in sorted(TensorProto.DataType.keys()) if name not in ("UNDEFINED", "STRING")]


def _codes(bits: int) -> list[int]:
    return [(3 * i + 1) % 2**bits for i in range(ELEMENTS)]


def _raw(name: str) -> bytes:
    """Give the bytes of five different elements, narrow ones packed lowest bits first."""
    if name == "BOOL":
        return bytes([1, 0, 0, 1, 1])
    if name in NARROW:
        bits = NARROW[name]
        stream = sum(code << (bits * i) for i, code in enumerate(_codes(bits)))
        return stream.to_bytes(-(-ELEMENTS * bits // 8), "little")
    size = helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(name)).itemsize
    span = 256 if "INT" in name else 60  # keeps floats finite
    return bytes((37 * i + 11) % span for i in range(ELEMENTS * size))


def _entries(name: str, field: str) -> Sequence[float]:
    """Give what the typed field holds: an element, or the byte of several when 2 or 4 bits wide."""
    if NARROW.get(name) == 6:
        return _codes(6)
    size = helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(name)).itemsize
    kind = "i" if name.startswith("INT") and name not in NARROW else "u"
    dtype = {"float_data": "f4", "double_data": "f8"}.get(field, f"{kind}{size}")
    entries: list[float] = np.frombuffer(_raw(name), dtype).tolist()
    return entries


def _typed(name: str) -> TensorProto:
    """Store the same elements in the typed field."""
    tensor = TensorProto(data_type=TensorProto.DataType.Value(name), dims=[ELEMENTS], name="typed")
    field = TYPED_FIELDS.get(name, "int32_data")
    getattr(tensor, field).extend(_entries(name, field))
    return tensor


def _stored(name: str) -> onnx.ModelProto:
    """Two unread initializers that are outputs, beside a Relu."""
    net = Net()
    model = net.model(
        net.op("Relu", net.input(shape=(2,))), ir=onnx.IR_VERSION, opset=onnx.defs.onnx_opset_version()
    )
    code = TensorProto.DataType.Value(name)
    raw = TensorProto(data_type=code, dims=[ELEMENTS], name="raw", raw_data=_raw(name))
    for tensor in (raw, _typed(name)):
        model.graph.initializer.append(tensor)
        model.graph.output.append(helper.make_tensor_value_info(tensor.name, code, [ELEMENTS]))
    return model


for element_type in element_types():
    cases.put(f"stored_{element_type.lower()}", partial(_stored, element_type), runs=False)


@cases.add(runs=False)
def stored_strings() -> onnx.ModelProto:
    """Text, empty text, and bytes that are no UTF-8."""
    model = base()
    texts = TensorProto(name="texts", data_type=TensorProto.STRING, dims=[2, 2])
    texts.string_data.extend([b"cat", b"", "größe".encode(), b"\xff\xfe\x00"])
    model.graph.initializer.append(texts)
    model.graph.output.append(helper.make_tensor_value_info("texts", TensorProto.STRING, [2, 2]))
    return model


@cases.add()
def empty_and_scalar_tensors() -> onnx.ModelProto:
    net = Net()
    values = [np.zeros(0, np.float32), np.zeros((3, 0, 2), np.float32), np.array(2.5, np.float32)]
    names = [net.const(value) for value in values]
    return net.model(net.op("Relu", net.input(shape=(2,))), *names)


@cases.add()
def empty_tensors_without_a_field() -> onnx.ModelProto:
    """No elements, and neither raw bytes nor a typed field present."""
    model = base()
    for name, dims in (("nothing", [0]), ("no_rows", [0, 4])):
        model.graph.initializer.append(TensorProto(name=name, dims=dims, data_type=TensorProto.FLOAT))
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
    return model


@cases.add(finite=False)
def special_floats() -> onnx.ModelProto:
    """Negative zero, infinities, a subnormal and NaNs with payloads, raw and in float_data."""
    patterns = np.array([0x80000000, 0x7F800000, 0xFF800000, 1, 0x7FC00001, 0xFFC0BEEF], np.uint32)
    model = base()
    raw = TensorProto(name="raw", dims=[6], data_type=TensorProto.FLOAT, raw_data=patterns.tobytes())
    typed = TensorProto(name="typed", dims=[6], data_type=TensorProto.FLOAT)
    typed.float_data.extend(patterns.view(np.float32))
    for tensor in (raw, typed):
        model.graph.initializer.append(tensor)
        model.graph.output.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, [6]))
    return model


def _sparse(name: str, indices: np.ndarray) -> onnx.SparseTensorProto:
    values = helper.make_tensor(name, TensorProto.FLOAT, [3], [1.5, -2.0, 0.5])
    places = helper.make_tensor(f"{name}.indices", TensorProto.INT64, indices.shape, indices.ravel())
    return helper.make_sparse_tensor(values, places, [4, 5])


LINEAR, BY_AXES = np.array([1, 7, 19]), np.array([[0, 1], [1, 2], [3, 4]])


@cases.add()
def sparse_initializers() -> onnx.ModelProto:
    net = Net()
    y = net.op("MatMul", net.input(shape=(2, 4)), "linear")
    y = net.op("Add", y, net.op("MatMul", "x", "by_axes"))
    model = net.model(net.tell(y, (2, 5)))
    model.graph.sparse_initializer.append(_sparse("linear", LINEAR))
    model.graph.sparse_initializer.append(_sparse("by_axes", BY_AXES))
    return model


@cases.add()
def constant_nodes() -> onnx.ModelProto:
    """All spellings of a Constant: tensor, sparse, number, numbers, text."""
    net = Net()
    forms: dict[str, Any] = {
        "value": helper.make_tensor("any name", TensorProto.FLOAT, [2], [1, 2]),
        "sparse_value": _sparse("", LINEAR),
        "value_float": 0.5,
        "value_floats": [0.5, 1.5],
        "value_int": 3,
        "value_ints": [3, 4],
        "value_string": "text",
        "value_strings": ["one", "zwölf"],
    }
    constants = {form: net.op("Constant", **{form: value}) for form, value in forms.items()}
    product = net.op("MatMul", net.input(shape=(2, 4)), constants.pop("sparse_value"))
    return net.model(net.tell(product, (2, 5)), *constants.values())


@cases.add()
def listed_initializers_ir3() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3), bias=True, name="conv")
    return net.model(net.op("Relu", y), opset=9, ir=3, listed=["conv.bias", "conv.weight"])


@cases.add()
def listed_initializers_ir9() -> onnx.ModelProto:
    """Listed before the real input, in an order of their own, with a symbolic dimension."""
    net = Net()
    y = net.conv(net.input(), (4, 3, 3, 3), bias=True, name="conv")
    model = net.model(net.op("Relu", y), ir=9, listed=["conv.bias", "conv.weight"])
    x, bias, weight = model.graph.input
    bias.type.tensor_type.shape.dim[0].dim_param = "channels"
    del model.graph.input[:]
    model.graph.input.extend([weight, x, bias])
    return model


@cases.add()
def unread_initializers() -> onnx.ModelProto:
    net = Net()
    net.random(5, name="unread")
    net.const(np.array([1, 2]), "unread_integers")
    return net.model(net.op("Relu", net.input()))


@cases.add()
def initializers_typed_as_values() -> onnx.ModelProto:
    """Some exporters list initializers in value_info as well."""
    model = base()
    for tensor in model.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.value_info.append(value)
    return model
