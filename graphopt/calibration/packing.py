"""Arrays as bytes and back: what statistics are written to and travel as; nothing of it is executed.

Counts are small and mostly zero, so integers are compressed; of symmetric matrices one half is written.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]

_LENGTH = 8  # fixed: bytes of the number before the header
_KINDS = "biuf"


def pack(states: Sequence[Arrays]) -> bytes:
    """All arrays as bytes, exactly."""
    blocks: list[bytes] = []
    header = [{name: _written(array, blocks) for name, array in state.items()} for state in states]
    head = zlib.compress(json.dumps(header).encode(), 1)
    return b"".join([len(head).to_bytes(_LENGTH, "little"), head, *blocks])


def unpack(content: bytes) -> list[dict[str, np.ndarray]]:
    """The arrays again; ValueError for bytes that ``pack`` did not write."""
    try:
        size = int.from_bytes(content[:_LENGTH], "little")
        header = json.loads(zlib.decompress(content[_LENGTH : _LENGTH + size]))
        place, states = _LENGTH + size, []
        for entry in header:
            state = {}
            for name, (kind, shape, coding, length) in entry.items():
                state[name] = _read(content[place : place + length], kind, shape, coding)
                place += length
            states.append(state)
    except (zlib.error, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"these bytes are no statistics: {error}") from error
    return states


def _written(array: np.ndarray, blocks: list[bytes]) -> tuple[str, tuple[int, ...], str, int]:
    array = np.asarray(array)
    coding, block = "plain", array
    if array.dtype.kind in "biu":
        coding = "zlib"
    elif array.ndim >= 2 and array.shape[-1] == array.shape[-2] > 1 and _is_symmetric(array):
        coding, block = "half", _upper(array)
    content = np.ascontiguousarray(block).tobytes()
    blocks.append(zlib.compress(content, 1) if coding == "zlib" else content)
    return array.dtype.str, array.shape, coding, len(blocks[-1])


def _read(content: bytes, kind: str, shape: Sequence[int], coding: str) -> np.ndarray:
    dtype = np.dtype(kind)
    if dtype.kind not in _KINDS:
        raise ValueError(f"{kind} is not a plain number type")
    if coding != "half":
        values = np.frombuffer(zlib.decompress(content) if coding == "zlib" else content, dtype)
        return values.reshape(shape).copy()
    size = shape[-1]
    rows, columns = np.triu_indices(size)
    whole = np.empty((math.prod(shape[:-2]), size, size), dtype)
    half = np.frombuffer(content, dtype).reshape(len(whole), -1)
    whole[:, rows, columns] = half
    whole[:, columns, rows] = half
    return whole.reshape(shape)


def _upper(array: np.ndarray) -> np.ndarray:
    rows, columns = np.triu_indices(array.shape[-1])
    upper: np.ndarray = array[..., rows, columns]
    return upper


def _is_symmetric(array: np.ndarray) -> bool:
    """Whether both halves have the same bits: a NaN or a zero of another sign would not come back."""
    bits = array.view(f"u{array.dtype.itemsize}")
    return bool(np.array_equal(bits, np.swapaxes(bits, -1, -2)))
