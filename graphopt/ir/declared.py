"""What the file declares of a tensor: its element type and its shape."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TypeProto

from graphopt.errors import ModelError

Shape: TypeAlias = "tuple[int | str | None, ...]"  # a dimension is a size, a symbol, or None when unknown


def static_shape(shape: Sequence[int | str | None] | None) -> tuple[int, ...] | None:
    """The shape when every size is a number, else None."""
    sizes = tuple(int(size) for size in shape or () if isinstance(size, int))
    return sizes if shape is not None and len(sizes) == len(shape) else None


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """Return a numpy type for a numpy type or an ONNX element type; raises ModelError when there is none."""
    if not isinstance(dtype, int) or isinstance(dtype, bool):
        return np.dtype(dtype)  # type: ignore[arg-type]
    try:
        return _numpy_type(dtype)
    except KeyError:
        raise ModelError(f"the installed onnx does not know element type {dtype}") from None


@functools.cache
def _numpy_type(element_type: int) -> np.dtype[Any]:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element_type))


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


def bound(declared: TypeProto, sizes: Sequence[int | None] | None) -> TypeProto:
    """Return a tensor declaration with these sizes; None leaves a dimension as it is."""
    if not sizes or all(size is None for size in sizes):
        return declared
    copy = TypeProto()
    copy.CopyFrom(declared)
    for dim, size in zip(copy.tensor_type.shape.dim, sizes, strict=False):
        if size is not None:
            dim.dim_value = int(size)
    return copy


def merged(inferred: TypeProto | None, declared: TypeProto | None) -> TypeProto | None:
    """Return what was inferred of a tensor, completed by what the file declares of it."""
    if inferred is None or declared is None or not declared.WhichOneof("value"):
        return declared if inferred is None else inferred
    if not inferred.WhichOneof("value"):
        return declared
    if not inferred.HasField("tensor_type") or not declared.HasField("tensor_type"):
        return inferred
    made = TypeProto()
    made.CopyFrom(inferred)
    tensor, other = made.tensor_type, declared.tensor_type
    if not tensor.elem_type:
        tensor.elem_type = other.elem_type
    if not tensor.HasField("shape") and other.HasField("shape"):
        tensor.shape.CopyFrom(other.shape)
    elif len(tensor.shape.dim) == len(other.shape.dim):
        for dim, own in zip(tensor.shape.dim, other.shape.dim, strict=True):
            if not dim.WhichOneof("value"):
                dim.CopyFrom(own)
    return made


def _dimension(dim: Any) -> int | str | None:
    kind = dim.WhichOneof("value")
    if kind == "dim_value":
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return dim.dim_param or None if kind == "dim_param" else None
