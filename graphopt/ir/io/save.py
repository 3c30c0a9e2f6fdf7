"""Write models: one stream, weights copied from where they lie, the output complete or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnx import ModelProto, TensorProto, ValueInfoProto

from graphopt.errors import ModelError, OutputError
from graphopt.ir.io.protos import rare_tensors, tensors_in
from graphopt.ir.io.wire import Buffer, attach

if TYPE_CHECKING:
    from graphopt.ir.io.weights import Weights
    from graphopt.ir.model import Model

MAX_MESSAGE = 2**31 - 1  # protobuf's limit
CHUNK = 16 * 2**20
PAGE = 4096  # alignment of large payloads in a data file, so that runtimes can map them
SMALL_ALIGNMENT = 64


def complete_bytes(model: Model, outputs: Sequence[str]) -> bytes:
    """Return the model as one serialised message; raises ModelError above 2 GB."""
    proto, weights = _proto(model, outputs), model.weights
    for tensor in _external_tensors(proto, weights):
        tensor.CopyFrom(weights.inline(tensor))
    if _complete_size(proto, weights) > MAX_MESSAGE:
        raise ModelError("the model exceeds 2 GB and does not fit one message: write it to a file")
    return b"".join(attach(proto.SerializeToString(), weights.marker, weights.payloads))


def write_model(
    model: Model, path: Path, outputs: Sequence[str] = (), *, stem: str | None = None
) -> list[Path]:
    """Write ``path`` and, when weights stand outside, a data file beside it; return both.

    Weights of an external file go to one of ours, ``stem.HASH.data``; weights of the message stay in it
    unless that would exceed 2 GB.
    """
    proto, weights = _proto(model, outputs), model.weights
    outside = _external_tensors(proto, weights)
    if _complete_size(proto, weights) > MAX_MESSAGE:
        outside += [tensor for tensor in tensors_in(proto.graph) if weights.is_marked(tensor)]
    data = [_write_data(outside, weights, path.parent, stem or path.name)] if outside else []
    with path.open("wb") as file:
        for chunk in attach(proto.SerializeToString(), weights.marker, weights.payloads):
            _copy(file, chunk, weights)
        _flush(file)
    return [path, *data]


def save_model(model: Model, path: Path, force: bool) -> list[Path]:
    """Write beside ``path`` and rename into place, so that it is complete or not there.

    Data files of an earlier save at the same path are removed after the new model stands.  Raises
    OutputError; nothing is left behind then.
    """
    if path.exists():
        if any(path.samefile(used) for used in model.weights.paths if used.exists()):
            raise OutputError(
                f"{path} belongs to the input model",
                hint="graphopt never modifies its input: choose another name",
            )
        if not force:
            raise OutputError(f"{path} exists", hint="choose another name, or overwrite it with --force")
    draft = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    before = _data_files(path)
    try:
        data = write_model(model, draft, stem=path.name)[1:]
    except BaseException as error:
        _remove({draft, *_data_files(path)} - before)
        raise _as_output_error(path, error) from error
    try:
        draft.replace(path)
    except BaseException as error:
        if draft.exists():  # else the model stands already, and an interrupt came a moment too late
            _remove({draft, *data} - before)
        raise _as_output_error(path, error) from error
    used = {file.resolve() for file in model.weights.paths}
    _remove({old for old in before - set(data) if old.resolve() not in used})
    return [path, *data]


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        if file.exists():
            file.unlink()


def _as_output_error(path: Path, error: BaseException) -> BaseException:
    if isinstance(error, OSError):
        return OutputError(f"{path} cannot be written: {error.strerror or error}")
    return error


def _proto(model: Model, outputs: Sequence[str]) -> ModelProto:
    proto = model.proto()
    present = {info.name for info in proto.graph.output}
    declared = {info.name: info for info in proto.graph.value_info} if outputs else {}
    for name in dict.fromkeys(outputs):
        if name not in present:
            proto.graph.output.append(declared.get(name, ValueInfoProto(name=name)))
    if model.weights.is_external:
        for tensor in rare_tensors(proto):
            if tensor.data_location == TensorProto.EXTERNAL:
                model.weights.embed(tensor)
    return proto


def _external_tensors(proto: ModelProto, weights: Weights) -> list[TensorProto]:
    """The tensors whose data stand in files of the input model."""
    if not weights.is_external:
        return []
    return [tensor for tensor in tensors_in(proto.graph) if tensor.data_location == TensorProto.EXTERNAL]


def file_bytes(model: Model) -> int:
    """Return how many bytes the model's files would take, data files included, without writing anything."""
    proto, weights = model.proto(), model.weights
    message = sum(map(len, attach(proto.SerializeToString(), weights.marker, weights.payloads)))
    return message + sum(weights.nbytes(tensor) for tensor in _external_tensors(proto, weights))


def _complete_size(proto: ModelProto, weights: Weights) -> int:
    """Bytes of the message with its payloads inside, external data aside."""
    marked = (tensor for tensor in tensors_in(proto.graph) if weights.is_marked(tensor))
    return proto.ByteSize() + sum(weights.nbytes(tensor) for tensor in marked)


def _write_data(tensors: Sequence[TensorProto], weights: Weights, folder: Path, stem: str) -> Path:
    """Write each payload once, one after the other, and let the tensors refer to them."""
    draft = folder / f".{secrets.token_hex(4)}.{stem}.data"
    digest = hashlib.sha256()
    places: dict[tuple[str, ...], tuple[int, int]] = {}
    try:
        with draft.open("wb") as file:
            for tensor in tensors:
                if (source := _source(tensor)) not in places:
                    payload = weights.buffer(tensor)
                    assert payload is not None
                    places[source] = _append(file, payload, weights, digest.update)
            _flush(file)
        final = folder / f"{stem}.{digest.hexdigest()[:16]}.data"
        draft.replace(final)
    finally:
        draft.unlink(missing_ok=True)
    for tensor in tensors:
        _refer(tensor, final.name, *places[_source(tensor)])
    return final


def _source(tensor: TensorProto) -> tuple[str, ...]:
    """Where a payload comes from; the size is part of it, since a file need not tell it."""
    entries = [text for entry in tensor.external_data for text in (entry.key, entry.value)]
    return (*entries, str(tensor.data_type), str(list(tensor.dims)))


def _append(
    file: BinaryIO, payload: Buffer, weights: Weights, digest: Callable[[Buffer], None]
) -> tuple[int, int]:
    """Write a payload at the next aligned offset; return offset and length."""
    alignment = PAGE if len(payload) >= 16 * PAGE else SMALL_ALIGNMENT
    file.write(bytes(-file.tell() % alignment))
    offset = file.tell()
    _copy(file, payload, weights, digest)
    return offset, len(payload)


def _refer(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _copy(
    file: BinaryIO, payload: Buffer, weights: Weights, digest: Callable[[Buffer], None] | None = None
) -> None:
    """Write a payload piece by piece, so that mapped pages do not pile up in memory."""
    for start in range(0, len(payload), CHUNK):
        piece = payload[start : start + CHUNK]
        file.write(piece)
        if digest is not None:
            digest(piece)
        if len(piece) == CHUNK:
            weights.release()


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _data_files(path: Path) -> set[Path]:
    """The data files that saving at ``path`` has made."""
    pattern = re.compile(re.escape(path.name) + r"\.[0-9a-f]{16}\.data")
    with contextlib.suppress(OSError):
        return {file for file in path.parent.iterdir() if pattern.fullmatch(file.name)}
    return set()
