"""Values of types that numpy lacks, as onnxruntime holds them: bfloat16, float8, int4 and the like.

Their bytes are those of a TensorProto's raw data; onnxruntime's Python interface converts none of them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np

_NARROW = ("bfloat", "float4", "float6", "float8", "int2", "int4", "uint2", "uint4")


def is_narrow_type(kind: str) -> bool:
    """Whether ``kind``, such as ``tensor(bfloat16)``, is a tensor whose elements numpy lacks."""
    return _element_name(kind).startswith(_NARROW)


def to_ort_values(feeds: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Feeds as onnxruntime's own values; raises RuntimeError for texts, which it cannot hold so."""
    return {name: _to_ort_value(np.asarray(feed)) for name, feed in feeds.items()}


def from_ort_value(value: Any) -> Any:
    """A value that onnxruntime computed, as an array of numpy or of ml_dtypes."""
    from graphopt.ir.packing import element_type_named, packed_size, unpacked

    kind = value.data_type()
    if not is_narrow_type(kind):
        return value.numpy()
    element = element_type_named(_element_name(kind))
    if element is None:
        raise ValueError(f"the installed onnx does not know {kind}")
    shape = tuple(value.shape())
    size = packed_size(element, shape)
    content = ctypes.string_at(value.data_ptr(), size) if size else b""
    return unpacked(element, shape, content)


def _to_ort_value(feed: np.ndarray) -> Any:
    from onnxruntime import OrtValue  # type: ignore[import-untyped]

    if feed.dtype.isbuiltin != 2:
        return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(feed).reshape(feed.shape))
    from graphopt.ir.packing import element_type_of, packed

    content = packed(feed)
    value = OrtValue.ortvalue_from_shape_and_type(list(feed.shape), element_type_of(feed.dtype))
    if content:
        ctypes.memmove(value.data_ptr(), content, len(content))
    return value


def _element_name(kind: str) -> str:
    """``bfloat16`` of ``tensor(bfloat16)``; empty for what is no tensor."""
    return kind[len("tensor(") : -1] if kind.startswith("tensor(") else ""
