"""The loop of a run: passes are applied, checked and recorded; a failure can be shown again."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import graphopt
from graphopt import ir
from graphopt.errors import GoalError, PassError, UsageError, VerificationError
from graphopt.pipeline.contract.base import Plan
from graphopt.pipeline.contract.plan_files import Plans
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.run.instruments import Dump, size
from graphopt.pipeline.run.manager import Manager, Outcome
from graphopt.pipeline.run.reproducer import Reproducer
from graphopt.pipeline.spec.arrange import arrange
from graphopt.pipeline.spec.recipe import turns_of


@pytest.fixture
def model(fakes: SimpleNamespace) -> ir.Model:
    return ir.from_bytes(fakes.build().SerializeToString())


@pytest.fixture
def go(model: ir.Model, registry: Any) -> Any:
    """Run a spec on the tiny classifier."""

    def run(spec: str, **options: Any) -> Outcome:
        stages = arrange(turns_of(spec), registry, as_written=options.pop("as_written", False))
        return Manager(stages, Inputs(model), **options).run(model)

    return run


def test_an_exact_pass_is_compared(go: Any, model: ir.Model) -> None:
    (record,) = go("drop-identity").records
    assert [(c.node, c.what) for c in record.changes] == [("copy", "removed")]
    assert record.max_abs_diff == 0.0
    assert record.snr_db is None
    assert record.nodes == size(model).nodes == 5
    assert record.parameters == 6 + 3 + 21 + 7


def test_an_approximate_pass_gets_its_signal_to_noise(go: Any) -> None:
    added, record = go("scale:factor=1.01").records
    assert (added.name, added.added, record.added) == ("drop-identity", True, False)
    assert record.max_abs_diff is None
    assert 30 < record.snr_db < 70  # weights off by 1 %
    assert [dict(i) for i in record.plan] == [{"node": "conv", "factor": 1.01}]
    assert record.options == {"factor": 1.01, "mode": "all", "only": (), "limit": None}


def test_an_exact_pass_after_an_approximate_one_is_compared_with_what_that_left(go: Any) -> None:
    records = go("scale:factor=1.9,drop-identity", as_written=True).records
    assert records[1].max_abs_diff == 0.0


def test_a_pass_that_lies_is_caught(go: Any) -> None:
    with pytest.raises(VerificationError, match=r"after lie output y moved by 0\.\d+ of its largest value"):
        go("drop-identity,lie")
    with pytest.raises(VerificationError, match="after lie"):
        go("scale,lie")


def test_a_small_lie_is_caught_and_a_tolerance_allows_it(go: Any) -> None:
    with pytest.raises(VerificationError):
        go("lie:factor=1.001")
    assert go("lie:factor=1.001", tolerance=0.01).records[0].max_abs_diff > 0


@pytest.mark.parametrize("mode", ["structure", "off"])
def test_less_verification_compares_no_numbers(go: Any, mode: str) -> None:
    (record,) = go("lie", verify=mode).records
    assert record.max_abs_diff is None


def test_full_verification_runs_every_level(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphopt.pipeline import Context

    levels = []
    original = Context.session

    def spy(self: Context, *args: Any, **options: Any) -> Any:
        levels.append(options.get("optimization"))
        return original(self, *args, **options)

    monkeypatch.setattr(Context, "session", spy)
    go("drop-identity", verify="full")
    assert levels == ["disabled", "disabled", "basic", "extended", "all"]


def test_large_models_are_compared_once_and_before_an_approximate_pass(
    go: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphopt.pipeline.verify.verifier.LARGE", 3)
    records = go("drop-identity,drop-identity").records
    assert [r.max_abs_diff for r in records] == [None, None]
    with pytest.raises(VerificationError, match="after drop-identity and lie"):
        go("drop-identity,lie,scale", as_written=True)


@pytest.mark.parametrize(("how", "says"), [("signature", "x was float32"), ("dangle", "broken")])
@pytest.mark.parametrize("mode", ["auto", "structure"])
def test_a_broken_graph_or_signature_is_caught(go: Any, how: str, says: str, mode: str) -> None:
    with pytest.raises(VerificationError, match=says):
        go(f"misbehave:how={how}", verify=mode)


def test_an_exception_in_a_pass_names_the_pass(go: Any) -> None:
    with pytest.raises(PassError, match="misbehave failed: ZeroDivisionError: by nothing") as caught:
        go("misbehave")
    assert caught.value.pass_name == "misbehave"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(PassError, match="not to my taste") as caught:
        go("misbehave:how=pass-error")
    assert (caught.value.pass_name, caught.value.node) == ("misbehave", "conv")


def test_missed_goals_and_warnings_come_out(go: Any) -> None:
    heard: list[str] = []
    outcome = go("misbehave:how=goal", announce=heard.append)
    assert outcome.missed == ["0.5 of the MACs are left, 0.3 was the goal"]


def test_a_failure_leaves_a_folder_that_shows_it_again(go: Any, tmp_path: Path) -> None:
    with pytest.raises(VerificationError) as caught:
        go(
            "drop-identity,lie:factor=2.0,scale",
            reproducer=Reproducer(tmp_path / "out.onnx", ("--seed", "3")),
        )
    folder = tmp_path / "out.onnx.failed-lie"
    assert str(folder) in caught.value.hint
    assert [n.op_type for n in onnx.load(folder / "model.onnx").graph.node].count("Identity") == 0
    command = shlex.split((folder / "README.txt").read_text().splitlines()[-1])
    assert command[:3] == ["graphopt", "optimize", "model.onnx"]
    assert command[command.index("--passes") + 1] == "lie:factor=2.0,scale"
    assert command[-2:] == ["--seed", "3"]


def test_an_unwritable_reproducer_does_not_hide_the_failure(go: Any, tmp_path: Path) -> None:
    with pytest.raises(PassError, match="by nothing") as caught:
        go("misbehave", reproducer=Reproducer(tmp_path / "gone" / "out.onnx"))
    assert "could not be written" in caught.value.hint


def test_a_plan_is_replayed_as_edited(go: Any, model: ir.Model) -> None:
    plan = Plan(({"node": "conv", "factor": 0.0},))
    record = go("scale", as_written=True, plans=Plans({0: ("scale", plan)})).records[0]
    assert record.changes[0].what == "weights times 0.0"
    weight = next(iter(model.graph.find("Conv"))).inputs[1].constant
    assert not weight.any()


def test_a_plan_for_another_pass_is_refused(go: Any) -> None:
    with pytest.raises(UsageError, match="for scale as pass 0, but there is drop-identity"):
        go("drop-identity", plans=Plans({0: ("scale", Plan())}))
    with pytest.raises(UsageError, match="the run has 1 passes"):
        go("drop-identity", plans=Plans({4: ("scale", Plan())}))


def test_a_dump_is_written_after_passes_that_changed_something(go: Any, tmp_path: Path) -> None:
    go("nothing,drop-identity,scale", instruments=[Dump(tmp_path / "dump")])
    names = sorted(p.name for p in (tmp_path / "dump").iterdir())
    assert names == ["02-drop-identity.onnx", "03-scale.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "dump" / names[0])
    assert np.isfinite(session.run(None, {"x": np.zeros((1, 2, 4, 4), np.float32)})[0]).all()


def test_a_replayed_plan_says_again_which_goal_it_misses(tmp_path: Path) -> None:
    """x -> Relu -> y: nothing to cut, and the same bytes and sentence on replay."""
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[1,4] x) => (float[1,4] y) { y = Relu (x) }'
    source, plan = tmp_path / "in.onnx", tmp_path / "plan.json"
    source.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    spec, flags = "prune:macs=0.6", {"latency": False}
    first = graphopt.optimize(source, spec, output=tmp_path / "a.onnx", plan_out=plan, **flags)
    again = graphopt.optimize(source, spec, output=tmp_path / "b.onnx", plan=plan, **flags)
    assert first.missed and again.missed == first.missed
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    with pytest.raises(GoalError):
        graphopt.optimize(source, spec, plan=plan, strict=True, **flags)
