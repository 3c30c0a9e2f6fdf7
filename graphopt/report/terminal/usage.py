"""How a result is run: the three lines of Python for onnxruntime, or the commands to a target's device."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.record.record import Record


def usage_lines(model: Model, record: Record) -> Iterable[str]:
    """Lines that run as they stand: commands where the target has a converter, else Python with zeros."""
    from graphopt import targets
    from graphopt.pipeline.deploy import commands

    target = targets.load(record.target)
    if target.converter and record.output is not None:
        yield from commands(target, Path(record.output), record.shapes)
        return
    yield "import numpy as np, onnxruntime as ort"
    yield f"session = ort.InferenceSession({record.output!r}, providers=[{target.provider!r}])"
    feeds = (
        f"{port.name!r}: np.zeros({record.shapes.get(port.name, ())}, {str(port.dtype)!r})"
        for port in model.signature.inputs
    )
    yield f"outputs = session.run(None, {{{', '.join(feeds)}}})"
