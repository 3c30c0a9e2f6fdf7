"""The real trainers: gradients of everything that is rewritten, training, resuming, quantized students."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt import data, ir
from graphopt.errors import PassError
from graphopt.passes.distill import Distill
from graphopt.passes.distill.backends.base import Job, Tuned
from graphopt.passes.distill.backends.ort import OrtBackend
from graphopt.passes.distill.backends.torch import PLACE, TorchBackend
from graphopt.passes.distill.backends.worker import Worker, WorkerBackend
from graphopt.passes.distill.gradients import rewrites
from graphopt.passes.distill.job.run import Distillation, Outcome
from graphopt.pipeline.contract.context import RunSettings
from tests.passes.distill.conftest import make_context, make_samples
from tests.passes.distill.nets import REWRITTEN, around, classifier, one, weights_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("trainer")]

MODELS = Path(__file__).resolve().parents[3] / "models"


class Checked(OrtBackend):
    """Checks a job and trains nothing."""

    def tune(self, job: Job, on_event: Any) -> Tuned:
        """The values as they are."""
        tensors = {t.name: t for t in ir.load(job.folder / "train.onnx").graph.initializers}
        values = {name: np.array(tensors[name].constant) for name in job.document["parameters"]}
        return Tuned(values, "finished", 0, 1.0, 1.0)


def run(
    student: ir.Model, teacher: ir.Model, backend: WorkerBackend | None = None, **options: Any
) -> Outcome:
    """One distillation with a real trainer."""
    cache = options.pop("cache", None)
    count = options.pop("count", 64)
    ctx = make_context(student, make_samples(student, count))
    ctx.settings = RunSettings(cache=cache)
    request = Distill(**{"batch": 8, "epochs": 4, **options}).request(student, ctx)
    return Distillation(student, teacher, request, backend or OrtBackend(), ctx).run(ctx.calibration)


@pytest.mark.parametrize("name", REWRITTEN)
def test_gradients_through_rewrites_are_right(name: str) -> None:
    body, opset = REWRITTEN[name]
    student, teacher = (around(body, opset=opset, seed=seed) for seed in (0, 0))
    for tensor in teacher.graph.initializers:
        if tensor.name.startswith("last"):
            tensor.values = np.array(tensor.constant) + np.float32(0.5)
    outcome = run(student, teacher, Checked(), batch=4, count=16)  # a wrong gradient is refused before tuning
    assert outcome.tuned.reason == "finished"


@pytest.mark.parametrize("name", ["fashion_transformer", "fashion_hybrid"])
def test_gradients_through_attention_are_right(name: str) -> None:
    teacher = ir.load(MODELS / f"{name}.onnx")
    student = teacher.copy()
    rng = np.random.default_rng(3)
    for tensor in student.graph.initializers:
        values = np.array(tensor.constant)
        if values.dtype == np.float32 and values.ndim == 2:
            tensor.values = (values * (1 + 0.3 * rng.standard_normal(values.shape))).astype(np.float32)
    samples = data.load(f"{MODELS / 'fashion_samples.npz'}#calibration::32", teacher.signature.inputs)
    ctx = make_context(student, samples)
    request = Distill(batch=8).request(student, ctx)
    outcome = Distillation(student, teacher, request, Checked(), ctx).run(ctx.calibration)
    assert outcome.tuned.reason == "finished"  # a wrong gradient is refused before tuning


def test_a_layer_normalisation_that_is_not_rewritten_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rewrites.REWRITES, "LayerNormalization", lambda node, to: None)
    body, opset = REWRITTEN["LayerNormalization"]
    with pytest.raises(PassError, match="no gradient for LayerNormalization"):
        run(around(body, opset=opset, seed=1), around(body, opset=opset), Checked(), batch=4, count=16)


def test_the_direction_check_finds_the_garbage_of_auto_pad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rewrites.REWRITES, "Conv", lambda node, to: None)
    body, opset = REWRITTEN["Conv-same-upper"]
    with pytest.raises(PassError, match="gradient") as caught:
        run(around(body, opset=opset, seed=1), around(body, opset=opset), Checked(), batch=4, count=16)
    assert "freeze=" in caught.value.hint


def test_the_self_loss_finds_a_normalisation_that_is_trained_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrites, "batch_norm", lambda node, to: None)
    monkeypatch.setattr("graphopt.passes.distill.graph.prepare.problems", lambda *a, **k: [])
    body, opset = REWRITTEN["BatchNormalization"]
    with pytest.raises(PassError, match="behaves otherwise in training"):
        run(around(body, opset=opset), around(body, opset=opset), Checked(), batch=4, count=16)


def test_an_operator_without_gradient_that_the_table_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(rewrites.REWRITES, "Softplus")
    monkeypatch.setattr("graphopt.passes.distill.graph.prepare.problems", lambda *a, **k: [])
    with pytest.raises(PassError, match="no gradient for Softplus"):
        run(around(one("Softplus")), around(one("Softplus")), Checked(), batch=4, count=16)


def test_training_helps_and_is_the_same_twice() -> None:
    outcomes = [
        run(classifier(noise=0.2), classifier(), optimizer=name) for name in ("adamw", "adamw", "sgd")
    ]
    for outcome in outcomes:
        assert outcome.student is not None
        assert outcome.after.loss < 0.7 * outcome.before.loss
    first, second, other = (outcome.tuned.values for outcome in outcomes)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_what_was_trained_is_what_the_student_holds() -> None:
    outcome = run(classifier(noise=0.2), classifier())
    assert outcome.student is not None
    held = weights_of(outcome.student)
    for name, value in outcome.tuned.values.items():
        np.testing.assert_array_equal(held[name], value)
    assert outcome.tuned.best_loss == pytest.approx(outcome.after.loss, rel=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"clip": 0.5, "weight_decay": 0.01, "schedule": "linear"},
        {"accumulate": 2, "schedule": "constant"},
        {"hints": ("auto",), "losses": ("y@mse",)},
        {"augment": ("flip", "crop", "mixup")},
    ],
)
def test_options_train_too(options: Mapping[str, Any]) -> None:
    outcome = run(classifier(noise=0.2), classifier(), **options)
    assert outcome.after.loss < outcome.before.loss


def test_live_normalisations_bring_their_statistics_back() -> None:
    body, opset = REWRITTEN["BatchNormalization"]
    student = around(body, opset=opset, seed=0)
    before = weights_of(student)
    outcome = run(student, around(body, opset=opset, seed=0), bn="live", count=128, batch=16)
    values = outcome.tuned.values
    assert {"mean", "var"} <= set(values)
    if outcome.student is not None:
        assert not np.array_equal(weights_of(outcome.student)["mean"], before["mean"])


class Interrupted(OrtBackend):
    """Is interrupted after so many evaluations."""

    def __init__(self, after: int) -> None:
        self._after = after

    def tune(self, job: Job, on_event: Any) -> Tuned:
        """Raise an interrupt where a user might."""

        def hear(event: Mapping[str, Any]) -> None:
            on_event(event)
            if event["event"] == "eval":
                self._after -= 1
                if self._after == 0:
                    raise KeyboardInterrupt

        return super().tune(job, hear)


@pytest.mark.parametrize("options", [{}, {"augment": ("flip",)}])
def test_an_interrupted_run_goes_on_to_the_same_end(tmp_path: Path, options: Mapping[str, Any]) -> None:
    common = {"epochs": 30, "count": 256, **options}
    unbroken = run(classifier(noise=0.2), classifier(), **common)
    stopped = run(classifier(noise=0.2), classifier(), Interrupted(3), cache=tmp_path, **common)
    assert stopped.tuned.reason == "stopped"
    assert stopped.after.loss < stopped.before.loss
    (folder,) = tmp_path.iterdir()
    assert (folder / "checkpoint.json").exists()
    resumed = run(classifier(noise=0.2), classifier(), cache=tmp_path, **common)
    assert not list(tmp_path.iterdir())
    assert resumed.tuned.reason == "finished"
    for name, value in unbroken.tuned.values.items():
        np.testing.assert_array_equal(resumed.tuned.values[name], value)


def test_a_killed_worker_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Worker.events

    def events(self: Worker) -> Any:
        for event in real(self):
            if event["event"] == "eval":
                assert self._process is not None
                os.kill(self._process.pid, 9)
            yield event

    monkeypatch.setattr(Worker, "events", events)
    with pytest.raises(PassError, match="ended with code -9"):
        run(classifier(noise=0.2), classifier(), epochs=500)


def test_zeros_stay_zeros() -> None:
    student = classifier(noise=0.2)
    for tensor in student.graph.initializers:
        if tensor.name == "second.weight":
            values = np.array(tensor.constant)
            values[np.abs(values) < np.median(np.abs(values))] = 0
            tensor.values = values
    zeros = weights_of(student)["second.weight"] == 0
    outcome = run(student, classifier(), weight_decay=0.1)
    assert outcome.student is not None
    trained = weights_of(outcome.student)["second.weight"]
    assert (trained[zeros] == 0).all()
    assert (trained[~zeros] != 0).all()


def test_a_quantized_student_is_trained_behind_its_rounding() -> None:
    from graphopt.passes.quant import Quant

    student = classifier(noise=0.15)
    ctx = make_context(student, make_samples(student))
    quant = Quant(measure=False) if "measure" in {o.name for o in Quant.describe()} else Quant()
    quant.apply(student, quant.plan(student, ctx), ctx)
    before = weights_of(student)
    outcome = run(student, classifier(), lr=1e-2, epochs=6)
    assert outcome.student is not None
    assert outcome.after.loss < 0.8 * outcome.before.loss
    after = weights_of(outcome.student)
    assert {name: value.dtype for name, value in after.items()} == {n: v.dtype for n, v in before.items()}
    assert outcome.tuned.best_loss == pytest.approx(outcome.after.loss, rel=0.05)


def test_pytorch_trains_alike() -> None:
    if not os.environ.get(PLACE):
        pytest.skip(f"no PyTorch: {PLACE} names no interpreter")
    by_torch = run(classifier(noise=0.2), classifier(), TorchBackend())
    by_ort = run(classifier(noise=0.2), classifier())
    assert by_torch.tuned.best_loss == pytest.approx(by_ort.tuned.best_loss, rel=0.02)
    for name, value in by_ort.tuned.values.items():
        np.testing.assert_allclose(by_torch.tuned.values[name], value, atol=5e-3)
