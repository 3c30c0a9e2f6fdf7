"""The training loop alone, with an engine that is a parabola: keep-best, stopping, resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.passes.distill.worker.check import check
from graphopt.passes.distill.worker.events import Failure
from graphopt.passes.distill.worker.loop import Training
from graphopt.passes.distill.worker.schedule import learning_rate

JOB: dict[str, Any] = {
    "epochs": 6, "lr": 0.3, "batch": 4, "batches": 5, "accumulate": 1, "optimizer": "sgd",
    "schedule": "cosine", "warmup": 2, "patience": 0, "seed": 3, "save_every": 1e-9, "parts": 0,
    "feeds": ["x"], "parameters": ["w"], "statistics": [], "fingerprint": "f",
    "check": ["self", "direction"], "scale": 1.0,
}  # fmt: skip


class Parabola:
    """loss = mean((x - w)^2), and momentum as state that a checkpoint has to keep."""

    broken_after = 10**9  # steps until the loss is no number

    def __init__(self) -> None:
        self.w = np.zeros(3, np.float32)
        self.momentum = np.zeros(3, np.float32)
        self._grad = np.zeros(3, np.float32)
        self.steps = 0

    def step(self, feeds: list[np.ndarray]) -> float:
        self.steps += 1
        self._grad = self._grad + 2 * (self.w - feeds[0]).mean(axis=0) / 3
        return float("nan") if self.steps > self.broken_after else self.evaluate(feeds)

    def update(self, rate: float) -> None:
        self.momentum = (0.9 * self.momentum + self._grad).astype(np.float32)
        self.w = (self.w - rate * self.momentum).astype(np.float32)
        self.forget()

    def forget(self) -> None:
        self._grad = np.zeros(3, np.float32)

    def evaluate(self, feeds: list[np.ndarray]) -> float:
        return float(np.square(feeds[0] - self.w).mean())

    def parameter(self, name: str) -> np.ndarray:
        return np.array(self.w)

    def set_parameter(self, name: str, values: np.ndarray) -> None:
        self.w = np.array(values)

    def gradient(self, name: str) -> np.ndarray:
        return np.array(self._grad)

    def save(self, folder: Path) -> None:
        np.savez(folder / "state.npz", w=self.w, momentum=self.momentum)

    def load(self, folder: Path) -> None:
        with np.load(folder / "state.npz", allow_pickle=False) as stored:
            self.w, self.momentum = stored["w"], stored["momentum"]


class Said:
    """Events as a list; ``then`` is called after each."""

    def __init__(self, then: Callable[[dict[str, Any]], None] = lambda event: None) -> None:
        self.events: list[dict[str, Any]] = []
        self._then = then

    def send(self, event: str, **values: Any) -> None:
        self.events.append({"event": event, **values})
        self._then(self.events[-1])


class Switch:
    """Whether to stop."""

    stopped = False


@pytest.fixture(autouse=True)
def job_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The worker lives in its job folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for part, rows in (("train", 22), ("val", 8), ("self", 4)):
        Path(part).mkdir()
        np.save(f"{part}/0.npy", (1 + 0.1 * rng.standard_normal((rows, 3))).astype(np.float32))
    return tmp_path


def train(engine: Any, switch: Any = None, said: Said | None = None, **changes: Any) -> dict[str, Any]:
    """Run to the end; the last event."""
    said = said or Said()
    Training(engine, {**JOB, **changes}, said, switch or Switch()).run()  # type: ignore[arg-type]
    return said.events[-1]


def best() -> np.ndarray:
    with np.load("best.npz", allow_pickle=False) as stored:
        return np.array(stored["0"])


def test_it_trains_and_keeps_the_best() -> None:
    done = train(Parabola())
    assert done["reason"] == "finished"
    assert done["best_loss"] < 0.05 < done["first_loss"]
    losses = [entry["loss"] for entry in done["history"]]
    assert len(losses) == 7
    assert done["best_loss"] == min(losses)
    assert done["best_epoch"] == int(np.argmin(losses))
    assert done["updates"] == 30
    np.testing.assert_allclose(best(), 1.0, atol=0.2)


def test_the_student_as_it_came_is_a_candidate() -> None:
    engine = Parabola()
    engine.w[:] = 1.0
    done = train(engine, lr=4.5, epochs=1, schedule="constant")
    assert (done["best_epoch"], done["best_loss"]) == (0, done["first_loss"])
    np.testing.assert_array_equal(best(), 1.0)


def test_a_loss_that_is_no_number_ends_it_with_the_best_before() -> None:
    engine = Parabola()
    engine.broken_after = 12
    done = train(engine)
    assert done["reason"] == "diverged"
    assert done["best_epoch"] == 2
    assert np.isfinite(best()).all()
    assert engine.steps == 13


def test_patience() -> None:
    engine = Parabola()
    engine.w[:] = 1.0
    done = train(engine, lr=4.5, schedule="constant", patience=2, epochs=50)
    assert done["reason"] == "early_stop"
    assert len(done["history"]) == 3


@pytest.mark.parametrize("stop_at", [1, 7, 12, 25])
def test_going_on_equals_the_unbroken_run(stop_at: int, job_folder: Path) -> None:
    unbroken = Parabola()
    expected = train(unbroken)
    wanted = best()
    for path in job_folder.glob("checkpoint*"):
        path.unlink() if path.is_file() else [p.unlink() for p in path.iterdir()]
    engine, switch = Parabola(), Switch()
    real = engine.update

    def update(rate: float) -> None:
        real(rate)
        switch.stopped = engine.steps >= stop_at

    engine.update = update  # type: ignore[method-assign]
    assert train(engine, switch)["reason"] == "stopped"
    second = Parabola()
    done = train(second)
    np.testing.assert_array_equal(second.w, unbroken.w)
    np.testing.assert_array_equal(best(), wanted)
    assert done["best_loss"] == expected["best_loss"]
    assert [e["loss"] for e in done["history"]] == [e["loss"] for e in expected["history"]]


def test_stopping_judges_what_there_is() -> None:
    engine, switch = Parabola(), Switch()
    real = engine.update

    def update(rate: float) -> None:
        real(rate)
        switch.stopped = engine.steps >= 4

    engine.update = update  # type: ignore[method-assign]
    done = train(engine, switch)
    assert done["reason"] == "stopped"
    assert done["best_loss"] < done["first_loss"]


def test_a_checkpoint_of_another_job_is_ignored() -> None:
    train(Parabola())
    assert train(Parabola(), fingerprint="other")["updates"] == 30
    done = train(Parabola(), fingerprint="other")
    assert done["history"][0]["epoch"] == 0


def test_accumulated_batches_make_one_update() -> None:
    done = train(Parabola(), accumulate=2)
    assert done["updates"] == 6 * 2  # the fifth batch of an epoch waits for nobody


def test_parts_of_an_epoch_are_used_one_after_the_other() -> None:
    for epoch in range(2):
        for part in range(2):
            folder = Path(f"train-{epoch}.{part}")
            folder.mkdir()
            np.save(folder / "0.npy", np.full((8, 3), 1.0 + part, np.float32))
    said = Said()
    train(Parabola(), said=said, parts=2, epochs=2, batches=4)
    used = [(event["epoch"], event["part"]) for event in said.events if event["event"] == "used"]
    assert used == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_part_that_cannot_be_made_is_an_error() -> None:
    Path("train.failed").touch()
    with pytest.raises(Failure, match="could not be made") as caught:
        train(Parabola(), parts=1)
    assert caught.value.code == "data"


def test_the_schedules() -> None:
    job = {"lr": 1.0, "warmup": 4, "schedule": "cosine"}
    rates = [learning_rate(job, update, 24) for update in range(24)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[14] == pytest.approx(0.5)
    linear = [learning_rate({**job, "schedule": "linear"}, update, 24) for update in range(24)]
    assert linear[14] == pytest.approx(0.5)
    assert learning_rate({**job, "schedule": "constant"}, 20, 24) == 1.0
    assert learning_rate({**job, "warmup": 100}, 0, 1) == 1.0


def test_a_right_gradient_passes_the_checks() -> None:
    said = Said()
    engine = Parabola()
    check(engine, {**JOB, "check": ["direction"]}, said)  # type: ignore[arg-type]
    assert said.events == [{"event": "checked", "what": "direction"}]
    np.testing.assert_array_equal(engine.w, 0.0)


def test_a_wrong_gradient_is_found_and_named() -> None:
    class Wrong(Parabola):
        def gradient(self, name: str) -> np.ndarray:
            return super().gradient(name)[::-1] * np.float32(1.5)

    with pytest.raises(Failure, match="the gradient of w is off") as caught:
        check(Wrong(), {**JOB, "check": ["direction"]}, Said())  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.node) == ("gradient", "w")


def test_a_loss_of_the_students_own_answers_is_found() -> None:
    with pytest.raises(Failure, match="behaves otherwise in training"):
        check(Parabola(), {**JOB, "check": ["self"]}, Said())  # type: ignore[arg-type]


def test_events_are_json() -> None:
    said = Said()
    train(Parabola(), said=said)
    assert json.loads(json.dumps(said.events)) == said.events
