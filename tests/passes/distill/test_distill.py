"""The pass with a fake trainer: what is kept, what is refused, and how it goes with other passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt import ir
from graphopt.errors import DataError, ModelError, PassError, UsageError
from graphopt.passes.distill import Distill
from graphopt.passes.distill.backends.base import backends
from graphopt.pipeline.contract.context import RunSettings
from tests.corpus._net import Net
from tests.passes.distill.conftest import FakeTrainer, make_context, make_samples
from tests.passes.distill.nets import CHANNELS, around, classifier, one, weights_of


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


def distilled(fake: FakeTrainer, student: ir.Model, **options: Any) -> tuple[ir.Model, Any]:
    """Draw a student back to the small classifier; the context tells what was said."""
    path = options.pop("teacher_model", None) or classifier()
    ctx = make_context(path, options.pop("samples", None) or make_samples(student))
    Distill(**{"batch": 8, **options}).run(student, ctx)
    return student, ctx


def test_a_better_student_is_kept(fake: FakeTrainer) -> None:
    student = classifier(noise=0.1)
    before = weights_of(student)
    _, ctx = distilled(fake, student)
    assert changed(before, weights_of(student)) == set(before)
    assert ctx.changes[-1].what.startswith("on held-out samples: loss")
    assert ctx.inputs.training_used
    assert not ctx.inputs.labels_used
    student.check()


def test_a_worse_student_is_thrown_away(fake: FakeTrainer) -> None:
    fake.spoil = True
    fake.step = 1.0
    student = classifier(noise=0.05)
    before = weights_of(student)
    _, ctx = distilled(fake, student)
    assert not changed(before, weights_of(student))
    assert not ctx.changes
    assert "no improvement on held-out samples" in ctx.skips[0].reason


def test_a_frozen_layer_stays(fake: FakeTrainer) -> None:
    student = classifier(noise=0.1)
    before = weights_of(student)
    distilled(fake, student, freeze=("second*",))
    assert changed(before, weights_of(student)) == {n for n in before if not n.startswith("second")}


def test_the_teacher_is_the_model_that_the_run_began_with(fake: FakeTrainer) -> None:
    model = classifier()
    ctx = make_context(model, make_samples(model))
    ctx.inputs.remember()
    original = weights_of(model)
    for tensor in model.graph.initializers:
        tensor.values = np.array(tensor.constant) * np.float32(1.1)
    assert not changed(weights_of(ctx.original), original)
    Distill(batch=8).run(model, ctx)
    assert ctx.changes


def test_the_job_holds_only_what_training_needs(fake: FakeTrainer) -> None:
    distilled(fake, classifier(noise=0.1))
    (job,) = fake.jobs
    assert job["files"] == ["job.json", "self", "train", "train.onnx", "val"] or job["files"] == [
        "self", "train", "train.onnx", "val"
    ]  # fmt: skip
    assert job["feeds"] == ["x", "teacher::y"]
    assert job["check"] == ["self", "direction"]


def test_hints_and_labels_become_feeds(fake: FakeTrainer) -> None:
    student = classifier(noise=0.1)
    samples = make_samples(student, labels=np.arange(64) % 3)
    _, ctx = distilled(fake, student, samples=samples, alpha=0.5, hints=("auto",))
    (job,) = fake.jobs
    assert job["feeds"] == ["x", "teacher::y", "teacher::r2", "labels"]
    assert ctx.inputs.labels_used


def test_a_batch_of_one_accumulates(fake: FakeTrainer) -> None:
    student, teacher = classifier(noise=0.1, shape=1), classifier(shape=1)
    _, _ = distilled(fake, student, teacher_model=teacher, samples=make_samples(teacher))
    (job,) = fake.jobs
    assert (job["batch"], job["accumulate"]) == (1, 8)


def test_augmentation_of_what_is_no_image_is_refused(fake: FakeTrainer) -> None:
    net = Net(0)
    made = net.model(net.op("Gemm", net.input("x", ("n", 6)), net.random(6, 3)))
    rows = ir.from_bytes(made.SerializeToString())
    with pytest.raises(UsageError, match="augment=flip needs one input of images"):
        distilled(fake, rows, teacher_model=rows.copy(), augment=("flip",))


def test_augmentation_makes_parts(fake: FakeTrainer) -> None:
    distilled(fake, classifier(noise=0.1), augment=("flip",), epochs=2)
    (job,) = fake.jobs
    assert job["parts"] == 1


def test_answers_that_are_too_many_to_keep_are_made_when_needed(
    fake: FakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphopt.passes.distill.job.build.LARGEST_CACHE", 100)
    distilled(fake, classifier(noise=0.1))
    assert fake.jobs[0]["parts"] == 1


def test_no_samples(fake: FakeTrainer) -> None:
    with pytest.raises(UsageError, match="needs samples") as caught:
        Distill().run(classifier(), make_context(classifier(), None))
    assert "--calibration" in caught.value.hint


def test_labels_missing_or_out_of_range(fake: FakeTrainer) -> None:
    student = classifier()
    with pytest.raises(UsageError, match="the samples have none"):
        distilled(fake, student, alpha=1.0)
    with pytest.raises(DataError, match="label 7"):
        distilled(fake, student, alpha=1.0, samples=make_samples(student, labels=np.full(64, 7)))


def test_an_operator_without_gradient_is_named(fake: FakeTrainer) -> None:
    student = around(one("Floor"))
    with pytest.raises(PassError, match=r"no gradient for Floor \(node it\)") as caught:
        distilled(fake, student, teacher_model=around(one("Floor")))
    assert "behind=it" in caught.value.hint
    distilled(fake, student, teacher_model=around(one("Floor"), seed=1), behind="it")


def test_other_outputs_than_the_teachers(fake: FakeTrainer, tmp_path: Path) -> None:
    teacher = classifier()
    teacher.graph.outputs[0].name = "scores"
    teacher.save(tmp_path / "teacher.onnx")
    with pytest.raises(ModelError, match="different outputs: scores and y"):
        distilled(fake, classifier(), teacher=str(tmp_path / "teacher.onnx"))


def test_pictures_only(fake: FakeTrainer) -> None:
    assert CHANNELS == 4
    student = classifier(noise=0.1)
    distilled(fake, student, augment=("flip",))
    with pytest.raises(UsageError, match="augment=blur is not allowed"):
        Distill(augment=("blur",))


def test_a_quantized_student_keeps_its_form(fake: FakeTrainer) -> None:
    pytest.importorskip("graphopt.passes.quant")
    from graphopt.passes.quant import Quant

    teacher = classifier()
    student = classifier(noise=0.05)
    samples = make_samples(student)
    ctx = make_context(student, samples)
    quant = Quant(measure=False) if "measure" in {o.name for o in Quant.describe()} else Quant()
    quant.apply(student, quant.plan(student, ctx), ctx)
    before, ops = weights_of(student), [node.op for node in student.graph.nodes]
    assert "QuantizeLinear" in ops
    fake.step = 0.3
    _, said = distilled(fake, student, teacher_model=teacher, samples=samples)
    (job,) = fake.jobs
    assert job["check"] == ["self"]
    assert [node.op for node in student.graph.nodes] == ops
    after = weights_of(student)
    assert {name: value.dtype for name, value in after.items()} == {n: v.dtype for n, v in before.items()}
    assert any(before[name].dtype == np.int8 for name in changed(before, after)) or said.skips
    student.check()


def test_a_cached_job_is_removed_when_it_is_done(fake: FakeTrainer, tmp_path: Path) -> None:
    student = classifier(noise=0.1)
    ctx = make_context(classifier(), make_samples(student))
    ctx.settings = RunSettings(cache=tmp_path)
    Distill(batch=8).run(student, ctx)
    assert fake.jobs[0]["save_every"] > 0
    assert not list(tmp_path.glob("distill-*"))


def test_the_trainers_are_registered() -> None:
    assert {"ort", "torch"} <= set(backends().names)
    with pytest.raises(UsageError, match="there is no trainer 'tensor'"):
        backends().load("tensor")


def test_a_recipe_prunes_and_trains_by_turns(fake: FakeTrainer, tmp_path: Path) -> None:
    import graphopt

    model, samples = classifier(16), make_samples(classifier(16))
    (tmp_path / "recipe.toml").write_text(
        '[[loop]]\nsteps = 2\npasses = ["prune:macs=0.5:round_to=1", "distill:epochs=1:batch=8"]\n'
    )
    result = graphopt.optimize(model, recipe=tmp_path / "recipe.toml", calibration=samples, latency=False)
    names = [record.name for record in result.report.passes if not record.added]
    assert names == ["prune", "distill", "prune", "distill"]
    assert len(fake.jobs) == 2
    assert result.report.calibration.training_used
    left = result.report.after.macs / result.report.before.macs  # type: ignore[operator]
    assert 0.35 < left < 0.55
