"""Move tensor payloads out of, and back into, a serialised ONNX message without parsing it.

Protobuf keeps a model in memory as one arena, so a parsed model holds every weight.  graphopt works on
a *weightless* message instead: each large ``raw_data`` is cut out and a short marker stands in its place
(an extra ``external_data`` entry of the TensorProto).  ``detach`` cuts while reading a mapped file,
``attach`` puts the payloads back as a list of chunks that can be written one after the other.

Wire format: https://protobuf.dev/programming-guides/encoding/ ; field numbers: onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Buffer: TypeAlias = "bytes | memoryview"
Chunks: TypeAlias = "list[Buffer]"
Visitor: TypeAlias = Callable[[memoryview, int, int], "Chunks | None"]
Filter: TypeAlias = Callable[[int, int], bool]

DETACH_BYTES = 1024  # smaller payloads stay: they are shapes, axes and scalars that shape inference reads
MAX_DEPTH = 100  # protobuf's own limit on nested messages

_LENGTH_DELIMITED = 2
_RAW_DATA, _EXTERNAL_DATA = 9, 13  # fields of TensorProto
_KEY, _VALUE = 1, 2  # fields of StringStringEntryProto

# The fields of each message that lead to tensors, by field number.
_TENSOR: dict[int, Any] = {}
_ATTRIBUTE: dict[int, Any] = {5: _TENSOR}
_NODE: dict[int, Any] = {5: _ATTRIBUTE}
_GRAPH: dict[int, Any] = {1: _NODE, 5: _TENSOR}
_ATTRIBUTE[6] = _ATTRIBUTE[11] = _GRAPH
MODEL: Mapping[int, Any] = {7: _GRAPH}


class WireError(ValueError):
    """The bytes are not a protobuf message."""


def detach(message: Buffer, marker: str, keep: Callable[[memoryview], int]) -> bytes:
    """Return the serialised model without its large payloads.

    ``keep`` receives each payload (a view into ``message``) and returns the number under which
    ``attach`` finds it again; ``marker`` must not occur in the message.  Raises WireError.
    """
    view = memoryview(message)

    def cut(buffer: memoryview, start: int, end: int) -> Chunks | None:
        raw = [f for f in _fields(buffer, start, end) if f[0] == _RAW_DATA]
        if len(raw) != 1 or raw[0][3] - raw[0][2] < DETACH_BYTES:
            return None
        _, field, payload, stop = raw[0]
        entry = _bytes(_KEY, marker.encode()) + _bytes(_VALUE, str(keep(buffer[payload:stop])).encode())
        return [buffer[start:field], _bytes(_EXTERNAL_DATA, entry), buffer[stop:end]]

    chunks = _rewrite(view, 0, len(view), MODEL, cut, lambda start, end: end - start >= DETACH_BYTES, 0)
    return b"".join(chunks) if chunks is not None else bytes(view)


def attach(message: Buffer, marker: str, payloads: Sequence[Buffer]) -> Chunks:
    """Return the chunks of the complete model for a message that ``detach`` or the exporter made."""
    view = memoryview(message)
    content, key = bytes(message), marker.encode()
    upcoming = content.find(key)

    def holds_marker(start: int, end: int) -> bool:
        nonlocal upcoming
        if -1 < upcoming < start:
            upcoming = content.find(key, start)
        return start <= upcoming < end

    def paste(buffer: memoryview, start: int, end: int) -> Chunks | None:
        for number, field, payload, stop in _fields(buffer, start, end):
            if number == _EXTERNAL_DATA and content.find(key, payload, stop) >= 0:
                entry = {n: bytes(buffer[a:b]) for n, _, a, b in _fields(buffer, payload, stop)}
                data = payloads[int(entry[_VALUE])]
                return [buffer[start:field], _header(_RAW_DATA, len(data)), data, buffer[stop:end]]
        return None

    chunks = _rewrite(view, 0, len(view), MODEL, paste, holds_marker, 0)
    return chunks if chunks is not None else [view]


def _rewrite(
    buffer: memoryview,
    start: int,
    end: int,
    message: Mapping[int, Any],
    visit: Visitor,
    worth: Filter,
    depth: int,
) -> Chunks | None:
    """Rewrite the tensors below one message; None when nothing changed."""
    if depth > MAX_DEPTH:
        raise WireError("messages nest too deeply")
    chunks: Chunks = []
    copied = start
    for number, field, payload, stop in _fields(buffer, start, end):
        child = message.get(number)
        if child is None or not worth(payload, stop):
            continue
        if child is _TENSOR:
            new = visit(buffer, payload, stop)
        else:
            new = _rewrite(buffer, payload, stop, child, visit, worth, depth + 1)
        if new is not None:
            chunks += [buffer[copied:field], _header(number, sum(map(len, new))), *new]
            copied = stop
    if not chunks:
        return None
    chunks.append(buffer[copied:end])
    return chunks


def _fields(buffer: memoryview, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, start of the field, start of its payload, end of the field)."""
    while position < end:
        start = position
        key, position = _varint(buffer, position, end)
        kind = key & 7
        if kind == _LENGTH_DELIMITED:
            size, payload = _varint(buffer, position, end)
            position = payload + size
        else:
            payload = position
            position = _skip(buffer, position, end, kind)
        if position > end:
            raise WireError("a field reaches past the end of its message")
        yield key >> 3, start, payload, position


def _skip(buffer: memoryview, position: int, end: int, kind: int) -> int:
    """Return the position after a value that is not length-delimited."""
    if kind == 0:
        return _varint(buffer, position, end)[1]
    if kind in (1, 5):
        return position + (8 if kind == 1 else 4)
    raise WireError(f"unknown wire type {kind}")


def _varint(buffer: memoryview, position: int, end: int) -> tuple[int, int]:
    """Return the number that starts at ``position`` and the position after it."""
    value = shift = 0
    while position < end:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            break
    raise WireError("a number has no end")


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _header(number: int, length: int) -> bytes:
    return _encode(number << 3 | _LENGTH_DELIMITED) + _encode(length)


def _bytes(number: int, payload: bytes) -> bytes:
    return _header(number, len(payload)) + payload
