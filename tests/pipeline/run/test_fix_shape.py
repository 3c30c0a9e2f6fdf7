"""--fix-shape leaves no symbol anywhere that the sizes give a number to, before and after passes."""

from __future__ import annotations

from pathlib import Path

import pytest

import graphopt
from graphopt import ir

SAMPLE = Path(__file__).parents[3] / "models" / "fashion_residual.onnx"

pytestmark = pytest.mark.skipif(not SAMPLE.exists(), reason="needs the checkout")


@pytest.mark.parametrize("passes", ["cast", "fold-bn", "clean"])
@pytest.mark.parametrize("as_written", [True, False])
def test_no_tensor_keeps_the_symbol_of_the_batch(tmp_path: Path, passes: str, as_written: bool) -> None:
    output = tmp_path / "fixed.onnx"
    graphopt.optimize(
        SAMPLE, passes, output=output, fix_shape=True, latency=False, as_written=as_written, threads=1
    )
    model = ir.load(output)
    tensors = [*model.graph.inputs, *(t for node in model.graph.nodes for t in node.outputs)]
    assert all(isinstance(dim, int) for tensor in tensors for dim in tensor.shape or ())
    assert model.graph.inputs[0].shape == (1, 1, 28, 28)
