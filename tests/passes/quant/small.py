"""What the tests of quant share: running the pass, and reading back what the runtime makes of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt import data, ir, runtime, targets
from graphopt.passes.clean import Clean
from graphopt.passes.fold_bn import FoldBN
from graphopt.passes.quant import Quant
from graphopt.pipeline import Context
from graphopt.pipeline.contract.context import RunSettings
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus._net import Net

SAMPLES = 8
PLAIN = {
    "measure": False,
    "rounding": "nearest",
    "bias_correction": False,
    "equalise": "none",
    "absorb": False,
    "keep_noisy_float": False,
}  # quick
CORPUS = Path(__file__).parents[4] / "shared" / "corpus"


def corpus_model(name: str) -> ir.Model:
    """A real model, or a skip where there are none."""
    path = CORPUS / "models" / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"the corpus of real models is not at {CORPUS}")
    return ir.load(path)


def prepared(model: ir.Model) -> ir.Model:
    """A model after the passes that quant needs."""
    Clean().run(model, Context(Inputs(model)))
    FoldBN(lone=True).run(model, Context(Inputs(model)))
    return model


def quantized(
    proto: onnx.ModelProto | ir.Model,
    target: str | targets.Target = "ort-cpu",
    times: Path | None = None,
    **options: Any,
) -> tuple[ir.Model, Context]:
    """Run quant on a model with synthetic samples; the result is valid and keeps its signature.

    ``times`` is the folder of kept times.  Nothing is timed, equalised, rounded or corrected unless
    ``options`` ask for it.
    """
    model = proto if isinstance(proto, ir.Model) else ir.from_bytes(proto.SerializeToString())
    signature = model.signature
    few = data.synthetic(model.signature.inputs, Inputs(model).shapes, SAMPLES, 0)
    profile = targets.load(target) if isinstance(target, str) else target
    ctx = Context(Inputs(model, calibration=few), RunSettings(times=times), profile)
    Quant(**{**PLAIN, **options}).run(model, ctx)
    model.check()
    assert model.signature == signature
    return model, ctx


def feeds(ctx: Context) -> dict[str, np.ndarray]:
    """The first sample of a run."""
    return dict(next(iter(ctx.calibration)).feeds)


def ops(model: ir.Model) -> Counter[str]:
    """Op types of a model as it stands, subgraphs included."""
    return Counter(node.op for graph in model.graphs() for node in graph.nodes)


def fused(model: ir.Model) -> Counter[str]:
    """Op types of what onnxruntime really runs."""
    proto = onnx.load_from_string(runtime.optimized(model.to_bytes(), optimization="all"))
    return Counter(node.op_type for node in proto.graph.node)


def planned_convs(model: ir.Model) -> int:
    """How many Convs read stored weights."""
    weights = (node.inputs[1].producer for node in model.graph.find("Conv"))
    return sum(maker is not None and maker.op == "DequantizeLinear" for maker in weights)


def snr(reference: np.ndarray, value: np.ndarray) -> float:
    """Signal to noise in dB."""
    noise = np.square(reference.astype(np.float64) - value).sum()
    return float(10 * np.log10(np.square(reference.astype(np.float64)).sum() / max(noise, 1e-30)))


def between_convs(net: Net, middle: str, *, channels: int = 8, out: int | None = None) -> onnx.ModelProto:
    """Finish a net whose ``middle`` follows a Conv: another Conv, a pool and a Gemm read it."""
    y = net.conv(middle, (8, out or channels, 1, 1), bias=True, name="last")
    y = net.op("Flatten", net.op("GlobalAveragePool", y))
    return net.model(net.gemm(y, (8, 5), bias=(5,)))


def first_conv(net: Net, *, channels: int = 8) -> str:
    """Start a net: an image and a Conv with a bias."""
    return net.conv(net.input(), (channels, 3, 3, 3), bias=True, name="first", pads=[1, 1, 1, 1])


def residual_file(folder: Path) -> Path:
    """A small residual net in a file: a stem, a block, a pool and a Gemm."""
    net = Net(0)
    x = net.op("Relu", net.conv(net.input(shape=(1, 3, 12, 12)), (16, 3, 3, 3), bias=True, pads=[1] * 4))
    y = net.op("Relu", net.op("Add", x, net.conv(x, (16, 16, 3, 3), bias=True, pads=[1] * 4)))
    y = net.op("Flatten", net.op("GlobalAveragePool", y))
    path = folder / "residual.onnx"
    onnx.save(net.model(net.gemm(y, (16, 10), bias=(10,))), str(path))
    return path
