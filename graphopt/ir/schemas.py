"""What the ONNX specification says of operators."""

from __future__ import annotations

from functools import lru_cache

import onnx


@lru_cache(maxsize=1024)
def takes_float(op: str, index: int) -> bool:
    """Whether a standard operator may read float32 at an input; True for one that is not known.

    Files need not declare the types of inner tensors, but shapes and indices can be nothing but integers.
    """
    try:
        schema = onnx.defs.get_schema(op)
    except onnx.defs.SchemaError:
        return True
    if not schema.inputs:
        return True
    return "tensor(float)" in schema.inputs[min(index, len(schema.inputs) - 1)].types
