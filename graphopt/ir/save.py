"""Write models: one stream, weights copied from where they lie, the output complete or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnx import ModelProto, TensorProto, ValueInfoProto

from graphopt.errors import ModelError, OutputError
from graphopt.ir.protos import tensors_in
from graphopt.ir.wire import Buffer, attach

if TYPE_CHECKING:
    from graphopt.ir.model import Model
    from graphopt.ir.weights import Weights

MAX_MESSAGE = 2**31 - 1  # protobuf's limit
CHUNK = 16 * 2**20
PAGE = 4096  # alignment of large payloads in a data file, so that runtimes can map them
SMALL_ALIGNMENT = 64


def complete_bytes(model: Model, outputs: Sequence[str]) -> bytes:
    """Return the model as one serialised message; raises ModelError above 2 GB."""
    proto = _proto(model, outputs)
    for tensor in _external_tensors(proto, model.weights):
        tensor.CopyFrom(model.weights.inline(tensor))
    if proto.ByteSize() + _embedded_bytes(proto, model.weights) > MAX_MESSAGE:
        raise ModelError("the model exceeds 2 GB and does not fit one message: write it to a file")
    return b"".join(attach(proto.SerializeToString(), model.weights.marker, model.weights.payloads))


def write_model(
    model: Model, path: Path, outputs: Sequence[str] = (), *, stem: str | None = None
) -> list[Path]:
    """Write ``path`` and, when weights stand outside, a data file beside it; return both.

    Weights of an external file go to one of ours, ``stem.HASH.data``; weights of the message stay in it
    unless that would exceed 2 GB.
    """
    proto, weights = _proto(model, outputs), model.weights
    outside = list(_external_tensors(proto, weights))
    if proto.ByteSize() + _embedded_bytes(proto, weights) > MAX_MESSAGE:
        outside += [tensor for tensor in proto.graph.initializer if weights.is_marked(tensor)]
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
    if model.path is not None and path.exists() and path.samefile(model.path):
        raise OutputError(f"{path} is the input itself", hint="graphopt never modifies its input: name another")
    if path.exists() and not force:
        raise OutputError(f"{path} exists", hint="choose another name, or overwrite it with --force")
    draft = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    before = set(_data_files(path))
    try:
        data = write_model(model, draft, stem=path.name)[1:]
        draft.replace(path)
    except BaseException as error:
        for file in {draft, *_data_files(path)} - before:
            file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
        raise
    for old in before - set(data):
        old.unlink(missing_ok=True)
    return [path, *data]


def _proto(model: Model, outputs: Sequence[str]) -> ModelProto:
    proto = model.proto()
    present = {info.name for info in proto.graph.output}
    declared = {info.name: info for info in proto.graph.value_info}
    for name in dict.fromkeys(outputs):
        if name not in present:
            proto.graph.output.append(declared.get(name, ValueInfoProto(name=name)))
    return proto


def _external_tensors(proto: ModelProto, weights: Weights) -> Iterator[TensorProto]:
    """Yield the tensors whose data stand in files of the input model."""
    if weights.folder is None:
        return
    for tensor in tensors_in(proto.graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            yield tensor


def _embedded_bytes(proto: ModelProto, weights: Weights) -> int:
    return sum(weights.nbytes(t) for t in tensors_in(proto.graph) if weights.is_marked(t))


def _write_data(tensors: Iterable[TensorProto], weights: Weights, folder: Path, stem: str) -> Path:
    """Write payloads one after the other and let their tensors refer to them."""
    draft = folder / f".{secrets.token_hex(4)}.{stem}.data"
    digest = hashlib.sha256()
    moved = list(tensors)
    places: list[tuple[int, int]] = []
    try:
        with draft.open("wb") as file:
            for tensor in moved:
                payload = weights.buffer(tensor)
                assert payload is not None
                alignment = PAGE if len(payload) >= 16 * PAGE else SMALL_ALIGNMENT
                file.write(bytes(-file.tell() % alignment))
                places.append((file.tell(), len(payload)))
                _copy(file, payload, weights, digest.update)
            _flush(file)
        final = folder / f"{stem}.{digest.hexdigest()[:16]}.data"
        draft.replace(final)
    finally:
        draft.unlink(missing_ok=True)
    for tensor, (offset, length) in zip(moved, places, strict=True):
        _refer(tensor, final.name, offset, length)
    return final


def _refer(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _copy(file: BinaryIO, payload: Buffer, weights: Weights, digest: Callable[[Buffer], None] | None = None) -> None:
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


def _data_files(path: Path) -> list[Path]:
    """The data files that saving at ``path`` has made."""
    pattern = re.compile(re.escape(path.name) + r"\.[0-9a-f]{16}\.data")
    with contextlib.suppress(OSError):
        return [file for file in path.parent.iterdir() if pattern.fullmatch(file.name)]
    return []
