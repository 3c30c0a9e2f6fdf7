"""Models whose inputs take no images and no zeros: samples that fit them are found, or the run says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.errors import DataError, ModelError
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.verify.reference import Reference
from graphopt.runtime import Session

IR8 = '<ir_version: 8, opset_import: ["" : 17]>'
NEW = '<ir_version: 10, opset_import: ["" : 21]>'

FITTING = {
    "fixed first sizes": f"""{IR8}
        g (float[2,4,12,8] past, float[2,4,1,8] new, float[1] k) => (float[2,4,13,8] y)
        {{ p = Concat <axis = 2> (past, new)  i = Identity (p)  y = Mul (i, k) }}""",
    "a size of zero": f"""{IR8} g (float[0,4] a, float[3,4] b) => (float[3,4] y)
        {{ i = Identity (a)  y = Concat <axis = 0> (i, b) }}""",
    "a shape as input": f"""{IR8} g (float[3,4] x, int64[2] s) => (float[3,4] y)
        {{ i = Identity (x)  y = Expand (i, s) }}""",
    "a divisor": f"""{IR8} g (int32[4] a, int32[4] b) => (int32[4] y)
        {{ i = Identity (a)  y = Mod (i, b) }}""",
    "bfloat16": f"""{IR8} g (bfloat16[2,3] x) => (float[2,3] y)
        {{ i = Identity (x)  y = Cast <to = 1> (i) }}""",
    "bfloat16 results": f"""{IR8} g (float[2,3] x) => (bfloat16[2,3] y)
        {{ i = Identity (x)  y = Cast <to = 16> (i) }}""",
    "uint4": f"""{NEW} g (uint4[2,3] x) => (float[2,3] y)
        {{ i = Identity (x)  y = Cast <to = 1> (i) }}""",
    "float8": f"""{NEW} g (float8e4m3fn[2,3] x) => (float[2,3] y)
        {{ i = Identity (x)  y = Cast <to = 1> (i) }}""",
    "texts": f"""{IR8} g (string[2] x) => (string[2] y) {{ i = Identity (x)  y = Identity (i) }}""",
    "one text": f"""{IR8} g (string x, float[2] z) => (string y, float[2] w)
        {{ i = Identity (z)  w = Relu (i)  y = Identity (x) }}""",
    "a condition": f"""{IR8} g (bool c, float[2] x) => (float[2] y)
        {{ i = Identity (x)  y = If (c) <then_branch = a () => (float[2] p) {{ p = Relu (i) }},
        else_branch = b () => (float[2] q) {{ q = Neg (i) }}> }}""",
    "an index of few": f"""{IR8} g (float[1,4] table, int64[3] ids) => (float[3,4] y)
        {{ i = Identity (table)  y = Gather <axis = 0> (i, ids) }}""",
    "parts of a split": f"""{IR8} g (float[7,2] x, int64[2] parts) => (float[a,2] y, float[b,2] z)
        {{ i = Identity (x)  y, z = Split <axis = 0> (i, parts) }}""",
    "scales": f"""{IR8} g (float[1,1,4,4] x, float[4] s) => (float[1,1,8,8] y)
        {{ i = Identity (x)  y = Resize <mode = "nearest"> (i, , s) }}""",
    "pads": f"""{IR8} g (float[1,4] x, int64[4] p) => (float[3,6] y)
        {{ i = Identity (x)  y = Pad (i, p) }}""",
}


def parse(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def optimized(proto: onnx.ModelProto, tmp_path: Path, passes: str = "clean", **flags: Any) -> graphopt.Result:
    path = tmp_path / "in.onnx"
    path.write_bytes(proto.SerializeToString())
    return graphopt.optimize(path, passes, latency=False, threads=1, **flags)


@pytest.mark.parametrize("text", FITTING.values(), ids=FITTING)
def test_samples_are_found_that_the_model_takes(text: str, tmp_path: Path) -> None:
    result = optimized(parse(text), tmp_path)
    assert any("identity" in change.what for change in result.report.passes[0].changes)
    assert not [warning for warning in result.report.warnings if "NOT checked" in warning]
    assert result.report.agreement["samples"] > 0
    (record,) = result.report.passes
    assert record.max_abs_diff == 0.0


def test_where_no_samples_fit_exact_passes_run_and_say_what_was_not_checked(tmp_path: Path) -> None:
    text = f"""{IR8} g (seq(float[2]) x, float[2] z) => (float[2] y)
        {{ o = Constant <value_int = 0> ()  a = SequenceAt (x, o)  i = Identity (a)  y = Add (i, z) }}"""
    result = optimized(parse(text), tmp_path)
    assert [node.op for node in result.model.graph.nodes if node.op == "Identity"] == []
    assert any("NOT checked" in w and "input x" in w for w in result.report.warnings)
    assert result.report.agreement == {}


def test_a_pass_that_needs_samples_is_refused_where_none_fit() -> None:
    from graphopt import ir

    text = f"""{IR8} g (complex64[2] x, float[2] z) => (float[2] y) {{ y = Relu (z) }}"""
    model = ir.from_bytes(parse(text).SerializeToString())
    for _ in range(2):
        with pytest.raises(DataError, match="no synthetic samples can be generated for input 'x'"):
            _ = Inputs(model, try_sizes=False).calibration


def test_an_empty_output_is_compared(tmp_path: Path) -> None:
    text = f"""{IR8} g (float[3,1] x, int64[2] t) => (float[a,3] y) <int64[2] s = {{1, 3}}>
        {{ r = Reshape (x, s)  y = Expand (r, t) }}"""
    data = {"x": np.ones((1, 3, 1), np.float32)[0], "t": np.array([0, 3])}
    samples = _samples(data)
    result = optimized(parse(text), tmp_path, calibration=samples)
    assert result.report.agreement["samples"] == 1


def test_a_model_whose_every_output_is_random_runs(tmp_path: Path) -> None:
    result = optimized(
        parse(f"{IR8} g (float[2,4] x) => (float[2,4] y) {{ y = RandomNormalLike (x) }}"), tmp_path
    )
    assert any("random" in warning for warning in result.report.warnings)
    assert result.report.agreement["snr_db"] == {} and "top1" not in result.report.agreement


def test_a_session_that_is_asked_for_nothing_returns_nothing() -> None:
    content = parse(f"{IR8} g (float[2] x) => (float[2] y) {{ y = Relu (x) }}").SerializeToString()
    assert Session(content, outputs=()).run({"x": np.ones(2, np.float32)}) == {}


def test_a_sample_on_which_the_original_fails_blames_no_pass(tmp_path: Path) -> None:
    text = f"{IR8} g (float[3,4] x, int64[2] s) => (float[3,4] y) {{ i = Identity (x)  y = Expand (i, s) }}"
    samples = _samples(
        {"x": np.ones((3, 4), np.float32), "s": np.array([3, 4])},
        {"x": np.ones((3, 4), np.float32), "s": np.array([2, 2])},
    )
    result = optimized(parse(text), tmp_path, evaluation=samples)
    assert result.report.agreement["samples"] == 1
    assert any("1 of 2 samples were left out" in warning for warning in result.report.warnings)


def test_the_reference_judges_on_samples_that_it_takes() -> None:
    from graphopt import ir

    text = f"{IR8} g (float[3,4] x, int64[2] s) => (float[3,4] y) {{ y = Expand (x, s) }}"
    model = ir.from_bytes(parse(text).SerializeToString())
    bad = {"x": np.ones((3, 4), np.float32), "s": np.array([2, 2])}
    good = {"x": np.ones((3, 4), np.float32), "s": np.array([3, 4])}
    ctx = Context(Inputs(model, calibration=_samples(bad, good)))
    assert Reference(model, ctx).compare(model, ["y"])["y"].elements == 12
    assert len(ctx.warnings) == 1
    with pytest.raises(ModelError):
        Reference(model, Context(Inputs(model, calibration=_samples(bad))))


def _samples(*feeds: dict[str, np.ndarray]) -> Any:
    """Samples of exactly these feeds."""
    from graphopt.data import Samples
    from graphopt.data.feeder import Row

    class Rows:
        names = range(len(feeds))
        labels = None

        def read(self, rows: np.ndarray) -> Any:
            return (Row(int(index), feeds[index]) for index in np.sort(rows))

        def keys(self, rows: np.ndarray) -> Any:
            return map(str, rows)

    return Samples("given", Rows(), np.arange(len(feeds)), 1)


def test_the_model_before_answers_each_sample_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless its answers are large: then it is run again on the samples whose answers are not kept."""
    from graphopt import ir
    from graphopt.metrics import judge

    text = f"{IR8} g (float[3,4] x) => (float[3,4] y) {{ y = Relu (x) }}"
    model = ir.from_bytes(parse(text).SerializeToString())
    samples = _samples(*({"x": np.full((3, 4), value, np.float32)} for value in (1.0, 2.0)))
    runs = []
    run = Session.run
    monkeypatch.setattr(Session, "run", lambda self, feeds: runs.append(1) or run(self, feeds))
    for limit, expected in ((2**26, 2 + 2 + 2), (50, 2 + 3 + 3)):
        monkeypatch.setattr(judge, "KEPT", limit)
        runs.clear()
        before = Reference(model, Context(Inputs(model, calibration=samples)))
        for _ in range(2):
            found = before.compare(model, ["y"])["y"]
            assert found.max_abs == 0.0 and found.elements == 24 and found.peak == 2.0
        assert len(runs) == expected
