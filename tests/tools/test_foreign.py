"""The onnx wheel's own tests through graphopt: a slice of them, and mistakes that the oracle has to see."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from graphopt import api
from graphopt.errors import ModelError, PassError, VerificationError
from tools.bench.foreign import __main__, pool, trial
from tools.bench.foreign.cases import Case, folder, node_cases, suite
from tools.bench.foreign.pool import try_all
from tools.bench.foreign.runner import Runner, difference
from tools.bench.foreign.trial import EXACT, Verdict, try_case

MODULES = (
    "expand",
    "mod",
    "gather",
    "bernoulli",
    "cast",
    "compress",
    "identity",
    "loop",
    "optionalgetelement",
)
EVERY = 2  # of the cases of these modules one in so many is tried
TEXT = """<ir_version: 8, opset_import: ["" : 17]> g (float[2,3] x) => (float[2,4] y)
    <float[3,4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> { i = Identity (x)  y = MatMul (i, w) }"""


def case(text: str = TEXT, **values: np.ndarray) -> Case:
    content = onnx.parser.parse_model(text).SerializeToString()
    feeds = list(values.values()) or [np.arange(6, dtype=np.float32).reshape(2, 3)]
    return Case("made", content, ((feeds, Runner(content).run(feeds)),))


def sliced() -> list[Case]:
    from_disk = suite(["simple", "pytorch-operator"])
    return [*node_cases(MODULES)[::EVERY], *from_disk[::2]]


def test_a_slice_of_the_backend_suite_keeps_its_answers() -> None:
    verdicts = [try_case(case, EXACT) for case in sliced()]
    bad = [(v.case, v.word, v.sentence) for v in verdicts if v.loads and v.word in __main__.BAD]
    assert not bad, __main__.table(verdicts)
    loaded = [v for v in verdicts if v.loads]
    assert len(loaded) > 60 and sum(v.word == trial.SAME for v in loaded) > 0.9 * len(loaded)


@pytest.mark.parametrize("passes", __main__.LOSSY)
def test_other_passes_leave_a_valid_model_or_say_why_not(passes: str) -> None:
    cases = [c for c in suite(["pytorch-operator"]) if trial.has_weights(c.content())]
    verdicts = [try_case(c, passes) for c in cases[::2]]
    assert verdicts
    assert not [(v.case, v.word, v.sentence) for v in verdicts if v.loads and v.word in __main__.BAD]


def planted(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[onnx.ModelProto], None]) -> Verdict:
    """What the trial says when the written file is spoiled behind every check of graphopt's own."""
    optimize = api.optimize

    def spoiled(source: Any, passes: Any, *, output: Path, **flags: Any) -> Any:
        result = optimize(source, passes, output=output, **flags)
        proto = onnx.load(output)
        spoil(proto)
        onnx.save(proto, output)
        return result

    monkeypatch.setattr(api, "optimize", spoiled)
    return try_case(case(), EXACT)


def test_a_planted_wrong_number_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def scale(proto: onnx.ModelProto) -> None:
        weight = proto.graph.initializer[0]
        values = onnx.numpy_helper.to_array(weight) * np.float32(1.001)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))

    assert planted(monkeypatch, scale).word == trial.WRONG


def test_a_planted_new_signature_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(proto: onnx.ModelProto) -> None:
        proto.graph.node[-1].output[0] = proto.graph.output[0].name = "z"

    assert planted(monkeypatch, rename).word == trial.INVALID


def test_a_planted_broken_file_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_op(proto: onnx.ModelProto) -> None:
        proto.graph.node[-1].op_type = "NoSuchOperator"

    assert planted(monkeypatch, break_op).word == trial.INVALID


def test_planted_growth_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def grow(proto: onnx.ModelProto) -> None:
        proto.doc_string = "x" * 5000

    assert planted(monkeypatch, grow).word == trial.LARGER


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (RuntimeError("own bug"), trial.TRACEBACK),
        (caused(PassError("it failed"), TypeError("own bug")), trial.TRACEBACK),
        (PassError("it cannot"), trial.REFUSED),
        (VerificationError("it moved"), trial.BLAMED),
        (ModelError("no model"), trial.REFUSED),
    ],
    ids=lambda value: str(value),
)
def test_failures_are_told_apart(error: Exception, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(api, "optimize", failing)
    assert try_case(case(), EXACT).word == word


def test_a_crash_takes_one_case(monkeypatch: pytest.MonkeyPatch) -> None:
    give = pool._Worker.give

    def deadly(self: Any, task: Any, limit: float) -> None:
        if task is not None and task[1][0].name == "dies":
            self.process.kill()
            self.process.join()
        give(self, task, limit)

    monkeypatch.setattr(pool._Worker, "give", deadly)
    good, bad = case(), dataclasses.replace(case(), name="dies")
    words = [
        verdict.word for verdict in try_all([(good, EXACT), (bad, EXACT), (good, EXACT)], 1, limit=300.0)
    ]
    assert words == [trial.SAME, trial.CRASH, trial.SAME]


def test_a_time_out_takes_one_case() -> None:
    (verdict,) = try_all([(case(), EXACT)], 1, limit=0.0)
    assert verdict.word == trial.TIMEOUT


@pytest.mark.parametrize(
    ("reference", "value", "same"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1.0, np.nan]), np.array([1.0, 2.0]), False),
        (np.array([1.0, 2.0]), np.array([1.0, np.nan]), False),
        (np.array([np.inf]), np.array([-np.inf]), False),
        (np.zeros((0, 3)), np.zeros((0, 3)), True),
        (np.zeros((0, 3)), np.zeros((0, 2)), False),
        (np.array([1]), np.array([1.0]), False),
        ([np.ones(2)], [np.ones(2), np.ones(2)], False),
        (None, np.ones(1), False),
    ],
)
def test_the_oracle_compares_strictly(reference: Any, value: Any, same: bool) -> None:
    assert (difference(reference, value) == 0.0) is same


def test_a_folder_is_tried_and_written_as_json(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.onnx").write_bytes(case().content())
    (tmp_path / "b.onnx").write_bytes(b"no model")
    assert [c.name for c in folder(tmp_path)] == ["b.onnx", "inner/a.onnx"]
    output = tmp_path / "out.json"
    arguments = ["--folder", str(tmp_path), "--workers", "1", "--json", str(output)]
    result = CliRunner().invoke(__main__.main, arguments)
    assert result.exit_code == 0, result.output
    assert [(v["case"], v["word"], v["loads"]) for v in json.loads(output.read_text())] == [
        ("b.onnx", "refused", False),
        ("inner/a.onnx", "same", True),
    ]
