"""Which fused operators onnxruntime makes of a model, counted before and after ``clean,fold-bn``."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx

from graphopt import ir
from graphopt.passes.clean import Clean
from graphopt.passes.fold_bn import FoldBN
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import Session
from graphopt.runtime.optimizer import optimized
from tests.corpus import count_ops, random_feeds

FUSED = (
    "BiasGelu",
    "FastGelu",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "Gelu",
    "LayerNormalization",
    "QuickGelu",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
)


def fusions(proto: onnx.ModelProto | bytes) -> Counter[str]:
    """Count the fused operators in what onnxruntime runs at its extended level."""
    data = proto if isinstance(proto, bytes) else proto.SerializeToString()
    counts = count_ops(onnx.ModelProto.FromString(optimized(data)))
    return Counter({op: counts[op] for op in FUSED if counts[op]})


def cleaned(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Run ``clean,fold-bn`` and check that the outputs stay."""
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model))
    Clean().run(model, ctx)
    FoldBN().run(model, ctx)
    model.check()
    after = model.to_bytes()
    feeds = random_feeds(proto, np.random.default_rng(0))
    expected = Session(proto.SerializeToString(), optimization="disabled").run(feeds)
    for name, value in Session(after, optimization="disabled").run(feeds).items():
        tolerance = 1e-4 * max(float(np.abs(expected[name]).max()), 1e-6)
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=tolerance)
    return onnx.ModelProto.FromString(after)
