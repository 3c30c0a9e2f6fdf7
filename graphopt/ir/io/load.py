"""Read ONNX files: mapped, with weights left where they are."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

from graphopt.errors import ModelError
from graphopt.ir.io.protos import all_tensors
from graphopt.ir.io.weights import Weights
from graphopt.ir.io.wire import Buffer, WireError, detach
from graphopt.ir.model import Model


def load(path: str | Path) -> Model:
    """Read an ONNX file; its weights stay mapped until somebody needs them.

    Raises ModelError when the file is missing, is no ONNX model, or refers to external data that is
    missing, too short or outside the model's folder.
    """
    path = Path(path)
    if path.is_dir():
        raise ModelError(f"{path} is a folder, not an ONNX file")
    if not path.exists():
        raise ModelError(f"{path} does not exist")
    weights = Weights(path.parent)
    try:
        content = weights.map(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    return _model(content, str(path), weights, path)


def from_bytes(data: bytes) -> Model:
    """Read a serialised ModelProto from memory; it must not refer to external data."""
    return _model(data, "the model", Weights(), None)


def _model(content: Buffer, title: str, weights: Weights, path: Path | None) -> Model:
    if len(content) == 0:
        raise ModelError(f"{title} is empty")
    try:
        message = detach(content, weights.marker, weights.keep)
        proto = ModelProto.FromString(message)
    except (WireError, DecodeError) as error:
        raise ModelError(
            f"{title} is not an ONNX model, or only a part of one",
            hint="export or copy the file again",
        ) from error
    if not proto.HasField("graph"):
        raise ModelError(f"{title} has no graph: it is not an ONNX model")
    if b"location" in message:
        _check_external(proto, weights)
    model = Model(proto, weights, path)
    if not model.names.are_text:
        raise ModelError(f"{title} holds a name that is not UTF-8 text", hint="export it again")
    return model


def _check_external(proto: ModelProto, weights: Weights) -> None:
    """Refuse external data that is missing, too short or outside the model's folder."""
    for tensor in all_tensors(proto):
        if tensor.data_location == TensorProto.EXTERNAL:
            weights.buffer(tensor)
