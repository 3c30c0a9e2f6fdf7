"""Tensors of element types that numpy lacks, as the bytes that ONNX stores of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def element_type_named(name: str) -> int | None:
    """The ONNX number of an element type such as ``bfloat16``; None for an unknown name."""
    return dict(TensorProto.DataType.items()).get(name.upper())


def element_type_of(dtype: np.dtype[Any]) -> int:
    """The ONNX number of a numpy type, those of ml_dtypes included."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def packed(values: np.ndarray) -> bytes:
    """The bytes of a tensor, two elements of 4 bits in each."""
    return bytes(numpy_helper.from_array(values).raw_data)


def packed_size(element_type: int, shape: tuple[int, ...]) -> int:
    """How many bytes ``packed`` makes of a tensor."""
    return len(packed(np.zeros(shape, helper.tensor_dtype_to_np_dtype(element_type))))


def unpacked(element_type: int, shape: tuple[int, ...], content: bytes) -> np.ndarray:
    """The tensor that ``packed`` made ``content`` of."""
    return numpy_helper.to_array(TensorProto(data_type=element_type, dims=shape, raw_data=content))
