"""See a model the way onnxruntime runs it, after its own graph optimisations."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.runtime.failures import load_error, runtime_errors
from graphopt.runtime.model_source import Source
from graphopt.runtime.session import SessionOptions, load_runtime, runtime_options

if TYPE_CHECKING:
    from graphopt.runtime.model_source import ModelLike
    from graphopt.runtime.session import Optimization


def optimized(
    model: ModelLike, *, optimization: Optimization = "extended", custom_ops: Sequence[str] = ()
) -> bytes:
    """The serialised model after onnxruntime's optimiser, for this machine.

    Reading its node types back tells which quantised operators really run on integers.
    Raises ModelError when onnxruntime refuses the model.
    """
    source = Source(model)
    settings = runtime_options(optimization, SessionOptions(custom_ops=tuple(custom_ops)))
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        path = Path(folder, "optimized.onnx")
        settings.optimized_model_filepath = str(path)
        try:
            load_runtime().InferenceSession(source.content, settings, providers=["CPUExecutionProvider"])
        except runtime_errors() as error:
            raise load_error(error, source.label, custom_ops) from error
        return path.read_bytes()


def kernels(model: ModelLike, *, custom_ops: Sequence[str] = ()) -> dict[str, str]:
    """Which operator makes each tensor once onnxruntime has fused what it can, by the tensor's name.

    Layouts are left alone, which keeps the names; whether an operator runs on integers is decided by then.
    Raises ModelError when onnxruntime refuses the model.
    """
    from graphopt.ir import from_bytes

    graph = from_bytes(optimized(model, optimization="extended", custom_ops=custom_ops)).graph
    return {tensor.name: node.op for node in graph.nodes for tensor in node.outputs if tensor.name}
