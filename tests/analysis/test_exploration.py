"""Every point of a front is a file that is what the front says, and that its command writes again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from click.testing import CliRunner

import graphopt
from graphopt.analysis.exploration import spread
from graphopt.cli.app import run
from graphopt.errors import ModelError, OutputError, UsageError
from graphopt.pipeline.run.run import Run
from graphopt.pipeline.search.trials import Trials
from graphopt.record.front import Front
from graphopt.util.files import sha256

MODELS = Path(__file__).parents[2] / "models"
MODEL = MODELS / "fashion_residual.onnx"
CALIBRATION, EVALUATION = "#calibration::64", "#images,labels::192"
PASSES = "prune:repair=false,quant:rounding=nearest:bias_correction=false:equalise=none:absorb=false"


def explore(**changed: Any) -> Front:
    flags: dict[str, Any] = {
        "calibration": f"{MODELS / 'fashion_samples.npz'}{CALIBRATION}",
        "evaluation": f"{MODELS / 'fashion_samples.npz'}{EVALUATION}",
        "latency": False,
        "threads": 1,
        "points": 5,
        "max_drop": 8,
    }
    return graphopt.explore(MODEL, PASSES, **{**flags, **changed})


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Front:
    return explore(output=tmp_path_factory.mktemp("front"))


def answers(path: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The classes that onnxruntime gives the evaluation samples, and their labels."""
    from graphopt import data, ir

    model = ir.load(path)
    recipe, _ = data.recipe_for(None, model.metadata)
    source = f"{MODELS / 'fashion_samples.npz'}#images,labels::{count}"
    samples = data.open_samples(source, model.signature.inputs, recipe)
    session = ort.InferenceSession(str(path))
    scores = [session.run(None, sample.feeds)[0].ravel() for sample in samples]
    return np.argmax(scores, axis=1), np.array([sample.label for sample in samples])


def test_each_point_is_the_file_that_it_says(front: Front) -> None:
    before, labels = answers(MODEL, 192)
    assert len(front.points) >= 3
    for point in front.points:
        path = Path(str(point.output))
        assert sha256(path) == point.sha256
        assert point.bytes == pytest.approx(path.stat().st_size / MODEL.stat().st_size)
        after, _ = answers(path, 192)
        lost = 100.0 * (np.mean(before == labels) - np.mean(after == labels))
        assert point.lost == pytest.approx(lost, abs=1e-6)
        assert point.lost_low is not None and point.lost_high is not None
        assert point.lost_low - 1e-9 <= lost <= point.lost_high + 1e-9


def test_no_point_of_the_front_is_beaten(front: Front) -> None:
    for one in front.best:
        for other in front.points:
            better = [b < a for a, b in zip(one.costs, other.costs, strict=True)]
            worse = [b > a for a, b in zip(one.costs, other.costs, strict=True)]
            assert any(worse) or not any(better), f"{other.name} beats {one.name}"
    kept = [point.trial for point in front.points]
    for trial in front.trials:  # nor does a trial beat those that became files
        assert not any(
            trial.left <= one.left and trial.noise < one.noise and trial not in kept for one in kept
        )


def test_the_front_reaches_from_hardly_a_loss_to_much_saved(front: Front) -> None:
    by_left = sorted(front.points, key=lambda point: point.trial.left)
    assert by_left[0].trial.left < 0.25 <= by_left[-1].trial.left  # integers alone leave a quarter
    assert by_left[-1].trial.noise < by_left[0].trial.noise
    assert set(front.alone) == {"prune", "quant"}
    assert all(one.moves["quant"] == 0 for one in front.alone["prune"])


def test_its_command_writes_a_point_again(front: Front, tmp_path: Path, monkeypatch: Any) -> None:
    point = front.points[1]
    words = shlex.split(point.command)
    monkeypatch.chdir(tmp_path)
    assert run(words[1:]) == 0
    assert sha256(tmp_path / words[words.index("-o") + 1]) == point.sha256


@pytest.mark.slow
def test_the_same_seed_finds_the_same_front(front: Front, tmp_path: Path) -> None:
    again = explore(output=tmp_path / "again")
    assert [(p.trial, p.sha256, p.changes) for p in again.points] == [
        (p.trial, p.sha256, p.changes) for p in front.points
    ]


def test_an_interrupted_front_shows_what_it_has_and_goes_on(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried_out = Trials.carry_out
    calls: list[int] = []

    def interrupted(self: Trials, taken: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return carried_out(self, taken)

    monkeypatch.setattr(Trials, "carry_out", interrupted)
    part = explore(cache=tmp_path)
    assert len(part.trials) == 3 and part.points
    assert any("interrupted" in text for text in part.said)
    monkeypatch.setattr(Trials, "carry_out", carried_out)
    whole = explore(cache=tmp_path)
    assert [point.trial for point in whole.points] == [point.trial for point in front.points]


class Clock:
    """Time that passes only where a test says so."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("minutes", "trials", "files"), [(8, 4, 4), (2.5, 1, 1)])
def test_a_time_limit_leaves_time_for_the_files(
    minutes: float, trials: int, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial takes a minute and so does a run: half of the time is for each."""
    clock = Clock()
    for module in ("analysis.exploration", "pipeline.run.front_planner", "pipeline.search.attempts"):
        monkeypatch.setattr(f"graphopt.{module}.time", clock)
    monkeypatch.setattr("graphopt.pipeline.search.trials.time", clock)
    carried_out, executed = Trials.carry_out, Run.execute

    def trial(self: Trials, taken: Any) -> Any:
        clock.now += 60.0
        self.longest = 60.0
        return carried_out(self, taken)

    def execute(self: Run) -> Any:
        finished = executed(self)
        clock.now += 60.0
        return finished

    monkeypatch.setattr(Trials, "carry_out", trial)
    monkeypatch.setattr(Run, "execute", execute)
    part = explore(time_limit=minutes)
    assert len(part.trials) <= trials and any("time limit ended the search" in text for text in part.said)
    assert 1 <= len(part.points) <= files
    assert clock.now <= 60.0 * minutes
    if files > 1:
        losses = [trial.points for trial in part.trials]
        assert min(losses) in [point.trial.points for point in part.points]
        assert len(part.points) >= 2


@pytest.mark.parametrize(
    ("count", "order"), [(1, [0]), (2, [0, 1]), (3, [0, 2, 1]), (8, [0, 7, 3, 5, 1, 2, 4, 6])]
)
def test_files_are_made_from_both_ends_inwards(count: int, order: list[int]) -> None:
    assert spread(count) == order


def test_a_recipe_says_what_a_front_goes_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, front: Front
) -> None:
    """What is one run's alone is left out, and the command needs no recipe."""
    recipe = tmp_path / "recipe.toml"
    samples = MODELS / "fashion_samples.npz"
    recipe.write_text(
        f'passes = "{PASSES}"\ncalibration = "{samples}{CALIBRATION}"\nmax-drop = 8\nlatency = false\n'
        f'evaluation = "{samples}{EVALUATION}"\nthreads = 1\n'
        'output = "x.onnx"\nreport = "x.html"\nquiet = true\n',
        encoding="utf-8",
    )
    heard: list[str] = []
    again = graphopt.explore(MODEL, recipe=recipe, points=2, output=tmp_path / "front", announce=heard.append)
    assert again.passes == front.passes
    assert any("output, report" in text for text in heard)
    point = again.points[0]
    monkeypatch.chdir(tmp_path)
    assert run(shlex.split(point.command)[1:]) == 0
    assert sha256(tmp_path / f"{point.name}.onnx") == point.sha256
    assert not (tmp_path / "x.html").exists()
    with pytest.raises(UsageError, match="given twice"):
        graphopt.explore(MODEL, PASSES, recipe=recipe)


def test_the_files_tell_what_the_front_tells(front: Front) -> None:
    folder = Path(str(front.points[0].output)).parent
    document = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    assert document["schema"] == 1
    assert [point["name"] for point in document["points"]] == [point.name for point in front.points]
    page = (folder / "front.html").read_text(encoding="utf-8")
    assert all(f'id="p{point.name}"' in page for point in front.points)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"calibration": None}, "takes calibration samples to judge by"),
        ({"points": 0}, "points is 0"),
        ({"max_drop": 0}, "up to a loss of 0 points"),
        ({"max_drop": -1}, "a number of points"),
    ],
)
def test_what_cannot_be_explored_is_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        explore(**changed)


def test_passes_without_moves_are_refused() -> None:
    with pytest.raises(UsageError, match="no pass is without a goal of its own"):
        graphopt.explore(
            MODEL, "prune:macs=0.5", calibration=f"{MODELS / 'fashion_samples.npz'}{CALIBRATION}"
        )
    with pytest.raises(TypeError, match="unexpected keyword argument 'plan_out'"):
        graphopt.explore(MODEL, PASSES, plan_out="x.json")


def test_no_folder_is_left_of_what_cannot_be_explored(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        explore(calibration=None, output=tmp_path / "front")
    with pytest.raises(ModelError):
        graphopt.explore(tmp_path / "no.onnx", PASSES, calibration="x.npz", output=tmp_path / "front")
    assert not (tmp_path / "front").exists()


def test_a_folder_that_holds_something_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="is not empty"):
        explore(output=tmp_path)


def test_the_command_line_asks_for_samples() -> None:
    result = CliRunner().invoke(_command(), [str(MODEL)])
    assert result.exit_code != 0
    assert isinstance(result.exception, UsageError) and "--calibration" in str(result.exception)


def _command() -> Any:
    from graphopt.cli.commands.explore import command

    return command
