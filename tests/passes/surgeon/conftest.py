"""A model to operate on, and a user's file to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from graphopt import ir
from graphopt.passes.surgeon import Surgeon
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs


@pytest.fixture
def proto(fakes: SimpleNamespace) -> onnx.ModelProto:
    return fakes.build()  # type: ignore[no-any-return]


@pytest.fixture
def model(proto: onnx.ModelProto) -> ir.Model:
    return ir.from_bytes(proto.SerializeToString())


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Write a user's file and return what names its function ``fix``."""

    def write(text: str) -> str:
        path = tmp_path / "edit.py"
        path.write_text("import numpy as np\nimport onnx_graphsurgeon as gs\n\n" + text)
        return f"{path}:fix"

    return write


@pytest.fixture
def operate() -> Callable[[ir.Model, str], Context]:
    """Run the pass with a function of a user's file."""

    def operate(model: ir.Model, function: str) -> Context:
        ctx = Context(Inputs(model))
        Surgeon(function=function).run(model, ctx)
        return ctx

    return operate
