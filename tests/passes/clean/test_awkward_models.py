"""``clean,fold-bn`` on every awkward model: the outputs stay, and so does what must stay."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from graphopt import ir
from graphopt.passes.clean import Clean
from graphopt.passes.fold_bn import FoldBN
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus import NUMERIC, Case, random_cnn, random_feeds, unmet

LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def session(data: bytes, level: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(data, options, ["CPUExecutionProvider"])


def cleaned(proto: onnx.ModelProto, lone: bool = False, **options: object) -> tuple[bytes, Context]:
    model = ir.from_bytes(proto.SerializeToString())
    ctx = Context(Inputs(model))
    before = model.signature
    Clean(**options).run(model, ctx)
    FoldBN(lone=lone).run(model, ctx)
    model.check()
    assert model.signature == before
    return model.to_bytes(), ctx


def assert_same_outputs(before: bytes, after: bytes, feeds: dict[str, np.ndarray]) -> None:
    for level in LEVELS:
        expected = session(before, level).run(None, feeds)
        for left, right in zip(expected, session(after, level).run(None, feeds), strict=True):
            assert_close(left, right)


def assert_close(left: object, right: object) -> None:
    if isinstance(left, list):
        for a, b in zip(left, right, strict=True):
            assert_close(a, b)
        return
    assert left.shape == right.shape and left.dtype == right.dtype
    tolerance = 2e-2 if left.dtype == np.float16 else 1e-4
    if left.dtype.kind != "f":
        np.testing.assert_array_equal(left, right)
        return
    np.testing.assert_array_equal(np.isnan(left), np.isnan(right))
    finite = np.isfinite(left)
    np.testing.assert_array_equal(left[~finite & ~np.isnan(left)], right[~finite & ~np.isnan(left)])
    scale = max(float(np.abs(left[finite]).max(initial=0)), 1e-6)
    assert float(np.abs(left[finite] - right[finite]).max(initial=0)) <= tolerance * scale


@pytest.mark.parametrize("case", NUMERIC, ids=str)
def test_outputs_stay(case: Case) -> None:
    proto = case.build()
    after, ctx = cleaned(proto)
    reasons = [skip.reason for skip in ctx.skips]
    assert not unmet(case, onnx.ModelProto.FromString(after), reasons)
    if case.runs and not case.random:
        assert_same_outputs(proto.SerializeToString(), after, case.feeds(np.random.default_rng(1)))


@pytest.mark.parametrize("seed", range(60))
def test_random_networks(seed: int) -> None:
    proto = random_cnn(seed)
    after, _ = cleaned(proto, lone=True)
    assert len(after) <= len(proto.SerializeToString()) * 1.02 + 200
    assert_same_outputs(proto.SerializeToString(), after, random_feeds(proto, np.random.default_rng(seed)))
