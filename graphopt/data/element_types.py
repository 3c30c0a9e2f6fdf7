"""What kind of numbers an element type holds; numpy itself knows nothing of bfloat16, float8 and int4."""

from __future__ import annotations

from typing import Any

import numpy as np

# Narrow types are dtypes that ml_dtypes registers with numpy; their names say what they hold.
_FLOATS = ("bfloat", "float")
_INTEGERS = ("int", "uint")


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether elements are floating-point numbers of any width."""
    return dtype.kind == "f" or (dtype.isbuiltin == 2 and dtype.name.startswith(_FLOATS))


def is_integer(dtype: np.dtype[Any]) -> bool:
    """Whether elements are whole numbers of any width, signed or not."""
    return dtype.kind in "iu" or (dtype.isbuiltin == 2 and dtype.name.startswith(_INTEGERS))


def is_text(dtype: np.dtype[Any]) -> bool:
    """Whether elements are strings."""
    return dtype.kind in "OUS"
