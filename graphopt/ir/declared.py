"""What the file declares of a tensor: its element type and its shape."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TypeProto

from graphopt.errors import ModelError

Shape: TypeAlias = "tuple[int | str | None, ...]"  # a dimension is a size, a symbol, or None when unknown


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """Return a numpy type for a numpy type or an ONNX element type; raises ModelError when there is none."""
    if not isinstance(dtype, int) or isinstance(dtype, bool):
        return np.dtype(dtype)
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(dtype))
    except KeyError:
        raise ModelError(f"the installed onnx does not know element type {dtype}") from None


def declared_dtype(declared: TypeProto) -> np.dtype[Any] | None:
    """Return the element type of a tensor declaration; None for sequences, maps and unknown types."""
    if not declared.HasField("tensor_type") or not declared.tensor_type.elem_type:
        return None
    try:
        return as_dtype(declared.tensor_type.elem_type)
    except ModelError:  # a type of a later version of the format
        return None


def declared_shape(declared: TypeProto) -> Shape | None:
    """Return the shape of a tensor declaration: int, symbol or None for each dimension."""
    if not declared.HasField("tensor_type") or not declared.tensor_type.HasField("shape"):
        return None
    return tuple(_dimension(dim) for dim in declared.tensor_type.shape.dim)


def _dimension(dim: Any) -> int | str | None:
    kind = dim.WhichOneof("value")
    if kind == "dim_value":
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return dim.dim_param or None if kind == "dim_param" else None
