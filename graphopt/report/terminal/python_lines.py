"""The three lines of Python that load and run a result on its target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.record.record import Record

_PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "qnn": "QNNExecutionProvider",
}


def python_lines(model: Model, record: Record) -> Iterable[str]:
    """Lines that run as they stand, with zeros for inputs."""
    provider = _PROVIDERS.get(record.target, "CPUExecutionProvider")
    yield "import numpy as np, onnxruntime as ort"
    yield f"session = ort.InferenceSession({record.output!r}, providers=[{provider!r}])"
    feeds = (
        f"{port.name!r}: np.zeros({record.shapes.get(port.name, ())}, {str(port.dtype)!r})"
        for port in model.signature.inputs
    )
    yield f"outputs = session.run(None, {{{', '.join(feeds)}}})"
