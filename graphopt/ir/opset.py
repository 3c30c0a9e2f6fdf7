"""Move a model to a newer version of the standard operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from graphopt.errors import ModelError

if TYPE_CHECKING:
    from graphopt.ir.model import Model


def convert_opset(model: Model, version: int) -> None:
    """Convert the model to opset ``version`` with ONNX's own converter; values do not change.

    Does nothing when the model is there already or beyond.  Names, types and shapes of inputs and
    outputs stay; weights stay where they are.  Raises ModelError when the converter cannot do it.
    """
    if model.opset >= version:
        return
    before = model.proto()
    try:
        converted = onnx.version_converter.convert_version(before, version)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"the model cannot be converted from opset {model.opset} to {version}: {reason}",
            hint="export it again at a newer opset",
        ) from error
    converted.graph.ClearField("value_info")  # the converter writes what it inferred
    for field in ("input", "output"):
        del getattr(converted.graph, field)[:]
        getattr(converted.graph, field).extend(getattr(before.graph, field))
    converted.metadata_props.extend(before.metadata_props)
    model.replace(converted)
