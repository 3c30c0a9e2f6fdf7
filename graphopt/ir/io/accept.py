"""Models as Python callers have them: a path, bytes, a ModelProto, a graphsurgeon graph, or a Model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import onnx_graphsurgeon as gs
from onnx import ModelProto

from graphopt.errors import ModelError, UsageError
from graphopt.ir.io.load import from_bytes
from graphopt.ir.model import Model
from graphopt.util.text import described

ModelLike: TypeAlias = str | Path | bytes | ModelProto | gs.Graph | Model
KINDS = "give a path, bytes, an onnx.ModelProto, a graphsurgeon graph or a graphopt Model"
LARGEST_MESSAGE = 2**31 - 1  # fixed: protobuf serialises no more


def accept(model: ModelLike | Any, name: str = "the model") -> Path | Model:
    """A path as it is, anything else as a Model; the caller's object stays as it is.

    Raises:
        UsageError: an object of another kind, or an empty path.
        ModelError: bytes or an object that hold no valid model.
    """
    if isinstance(model, (str, Path)):
        if not str(model):
            raise UsageError(f"{name} is not named: its path is empty")
        return Path(model)
    if isinstance(model, Model):
        return model
    if isinstance(model, (bytes, bytearray, memoryview)):
        return from_bytes(bytes(model))
    if isinstance(inner := getattr(model, "model_proto", None), ModelProto):  # what torch.onnx.export returns
        return _of_proto(inner, name)
    if isinstance(model, ModelProto):
        return _of_proto(model, name)
    if isinstance(model, gs.Graph) and not isinstance(model, gs.Function):
        return _of_graph(model, name)
    raise UsageError(f"{name} is {described(model)}, not an ONNX model", hint=_advice(model))


def _of_proto(proto: ModelProto, name: str) -> Model:
    if proto.ByteSize() > LARGEST_MESSAGE:
        raise ModelError(f"{name} takes more than 2 GB in memory", hint="save it and give its path")
    try:
        return from_bytes(proto.SerializeToString())
    except ModelError as error:
        error.hint = error.hint or "load it with onnx.load, which reads weights that lie beside it, too"
        raise


def _of_graph(graph: gs.Graph, name: str) -> Model:
    try:
        proto = gs.export_onnx(graph)
    except Exception as error:  # whatever graphsurgeon raises for a graph that it cannot write
        text = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{name} is a graph that graphsurgeon cannot export: {text}") from error
    return _of_proto(proto, name)


def _advice(value: Any) -> str:
    names = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
    if "torch" in names:
        return "export it first: torch.onnx.export(model, (example,), 'model.onnx')"
    if "paddle" in names:
        return "export it first: paddle.onnx.export(model, 'model', input_spec=[...])"
    if "onnxruntime" in names:
        return "give the path or the bytes that the session was made of"
    return KINDS
