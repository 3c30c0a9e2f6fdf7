"""Run a model with onnxruntime alone, whatever types its inputs and outputs have, and compare answers.

Nothing of graphopt is used here: this is what judges it.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

TOLERANCE = 1e-4  # max |difference| / max |reference|
NARROW = 2e-2  # the same where numbers have 8 or 10 bits of mantissa
_NARROW_TYPES = ("float16", "bfloat16")
_UNREADABLE = (  # for numpy
    *("bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0"),
    *("float4e2m1", "int4", "uint4", "int2", "uint2"),
)


class Runner:
    """A model as onnxruntime opens it; raises what onnxruntime raises."""

    def __init__(self, model: bytes | Path) -> None:
        import onnxruntime as ort

        ort.set_default_logger_severity(4)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        content = model if isinstance(model, bytes) else str(model)
        self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.signature = (
            [(port.name, port.type, port.shape) for port in self._session.get_inputs()],
            [(port.name, port.type) for port in self._session.get_outputs()],
        )

    def run(self, values: Sequence[Any]) -> list[Any]:
        """The outputs for the values of the inputs, in the model's order."""
        inputs, outputs = self.signature
        feeds = {name: value for (name, _, _), value in zip(inputs, values, strict=False)}
        kinds = [kind for _, kind, *_ in (*inputs, *outputs)]
        if not any(f"tensor({name})" in kind for name in _UNREADABLE for kind in kinds):
            return self._session.run(None, feeds)
        made = self._session.run_with_ort_values(None, {n: _ort_value(v) for n, v in feeds.items()})
        return [_array(value) for value in made]


def _ort_value(value: np.ndarray) -> Any:
    import onnxruntime as ort

    if value.dtype.isbuiltin == 1:
        return ort.OrtValue.ortvalue_from_numpy(value)
    kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    content = numpy_helper.from_array(value).raw_data
    made = ort.OrtValue.ortvalue_from_shape_and_type(list(value.shape), kind)
    if content:
        ctypes.memmove(made.data_ptr(), content, len(content))
    return made


def _array(value: Any) -> np.ndarray:
    kind = value.data_type().removeprefix("tensor(").removesuffix(")")
    if kind not in _UNREADABLE:
        return value.numpy()
    number = onnx.TensorProto.DataType.Value(kind.upper())
    shape = tuple(value.shape())
    like = np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(number))
    size = len(numpy_helper.from_array(like).raw_data)
    content = ctypes.string_at(value.data_ptr(), size) if size else b""
    return numpy_helper.to_array(onnx.TensorProto(data_type=number, dims=shape, raw_data=content))


def difference(reference: Any, value: Any) -> float:
    """How far a value is from its reference; infinite where they are different things altogether.

    For floats max |difference| / max |reference|, NaN and infinities in the same places; for everything else
    0 or infinity.  Sequences and maps are compared item by item.
    """
    if reference is None or value is None:
        return 0.0 if reference is value else math.inf
    if isinstance(reference, dict):
        if not isinstance(value, dict) or reference.keys() != value.keys():
            return math.inf
        return max((difference(reference[key], value[key]) for key in reference), default=0.0)
    if isinstance(reference, list):
        if not isinstance(value, list) or len(reference) != len(value):
            return math.inf
        return max((difference(a, b) for a, b in zip(reference, value, strict=True)), default=0.0)
    return _array_difference(np.asarray(reference), np.asarray(value))


def tolerance(reference: Any) -> float:
    """What may move in a value of this type."""
    if isinstance(reference, list):
        return max(map(tolerance, reference), default=TOLERANCE)
    name = str(getattr(reference, "dtype", ""))
    return NARROW if name in _NARROW_TYPES or name.startswith("float8") else TOLERANCE


def _array_difference(reference: np.ndarray, value: np.ndarray) -> float:
    if reference.shape != value.shape or (
        reference.dtype != value.dtype and reference.dtype.kind not in "OUS"
    ):
        return math.inf
    if "float" not in reference.dtype.name:
        return 0.0 if np.array_equal(reference, value) else math.inf
    before, after = reference.astype(np.float64), value.astype(np.float64)
    if not np.array_equal(np.isnan(before), np.isnan(after)):
        return math.inf
    infinite = np.isinf(before)
    if not np.array_equal(before[infinite], after[infinite]):
        return math.inf
    usable = ~infinite & ~np.isnan(before)
    before, after = before[usable], after[usable]
    if before.size == 0:
        return 0.0
    distance, peak = float(np.abs(after - before).max()), float(np.abs(before).max())
    return 0.0 if distance == 0.0 else distance / peak if peak else math.inf
