"""Samples for a trainer: split, written, augmented, fed; and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from graphopt import data
from graphopt.errors import DataError, OutputError, UsageError
from graphopt.passes.distill.data.augment import augmented, check_images
from graphopt.passes.distill.data.feeds import FAILED, Plan, Producer
from graphopt.passes.distill.data.samples import Split, split, write_inputs
from graphopt.passes.distill.data.teacher import Answers
from tests.passes.distill.conftest import make_context, make_samples
from tests.passes.distill.nets import CHANNELS, SIDE, classifier


@pytest.mark.parametrize(
    ("count", "batch", "expected"),
    [
        (6000, 64, (5424, 576, 64)),
        (512, 64, (448, 64, 64)),
        (20, 64, (18, 2, 2)),
        (4, 64, (3, 1, 1)),
    ],
)
def test_a_split_has_whole_batches_to_judge_with(
    count: int, batch: int, expected: tuple[int, int, int]
) -> None:
    found = split(_Counted(count), batch, 0.1, np.random.default_rng(0))  # type: ignore[arg-type]
    assert len(found.validation) % found.batch == 0
    assert sorted([*found.train, *found.validation]) == list(range(count))
    assert (len(found.train), len(found.validation), found.batch) == (
        count - expected[1],
        expected[1],
        expected[2],
    )


class _Counted:
    batch, group, source = None, 1, "s"

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count


def test_too_few_samples() -> None:
    with pytest.raises(DataError, match="at least 4"):
        split(_Counted(3), 2, 0.1, np.random.default_rng(0))  # type: ignore[arg-type]


def test_arrays_lie_where_the_split_says(tmp_path: Path) -> None:
    model = classifier()
    samples = make_samples(model, 12, labels=np.arange(12) % 3)
    chosen = split(samples, 2, 0.25, np.random.default_rng(0))
    store = write_inputs(tmp_path, samples, chosen, make_context(model, samples))
    every = np.concatenate([sample.feeds["x"] for sample in samples])
    labels = np.asarray([sample.label for sample in samples])
    np.testing.assert_array_equal(store.train[0], every[chosen.train])
    np.testing.assert_array_equal(store.validation[0], every[chosen.validation])
    np.testing.assert_array_equal(store.train_labels, labels[chosen.train])
    np.testing.assert_array_equal(np.load(tmp_path / "val" / "0.npy"), every[chosen.validation])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(tmp_path: Path, value: float) -> None:
    model = classifier()
    images = np.zeros((8, CHANNELS, SIDE, SIDE), np.float32)
    images[5, 1, 2, 3] = value
    samples = data.from_arrays({"x": images}, model.signature.inputs)
    with pytest.raises(DataError, match="NaN or infinit"):
        write_inputs(
            tmp_path,
            samples,
            Split(np.arange(6), np.arange(6, 8), 2),
            make_context(model, samples),
        )


def test_a_full_disk_is_said_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    model = classifier()
    samples = make_samples(model, 8)
    with pytest.raises(OutputError, match="cannot be written") as caught:
        write_inputs(
            tmp_path,
            samples,
            Split(np.arange(6), np.arange(6, 8), 2),
            make_context(model, samples),
        )
    assert "free some space" in caught.value.hint


def test_a_teacher_of_batch_one_answers_batches() -> None:
    wide, single = classifier(), classifier(shape=1)
    images = [np.random.default_rng(0).standard_normal((5, CHANNELS, SIDE, SIDE)).astype(np.float32)]
    found = [Answers(m, ["x"], ["y"], make_context(m, None)).run(images)["y"] for m in (wide, single)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_a_teacher_that_answers_nan_is_refused() -> None:
    model = classifier()
    (bias,) = [t for t in model.graph.initializers if t.name == "last.bias"]
    bias.values = np.asarray([np.nan, 0, 0], np.float32)
    images = [np.zeros((2, CHANNELS, SIDE, SIDE), np.float32)]
    with pytest.raises(DataError, match="answers NaN"):
        Answers(model, ["x"], ["y"], make_context(model, None)).run(images)


IMAGES = np.random.default_rng(0).standard_normal((6, 3, 16, 16)).astype(np.float32)


def test_flipping_mirrors_some() -> None:
    (made,), _ = augmented([IMAGES], None, ("flip",), np.random.default_rng(0))
    mirrored = [np.array_equal(a, b[..., ::-1]) for a, b in zip(made, IMAGES, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(made, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 0 < sum(mirrored) < 6


def test_cropping_moves_and_repeats_the_border() -> None:
    (made,), _ = augmented([IMAGES], None, ("crop",), np.random.default_rng(0))
    assert made.shape == IMAGES.shape
    assert np.isin(made, IMAGES).all()
    assert not np.array_equal(made, IMAGES)


def test_mixing_mixes_labels_alike() -> None:
    labels = np.eye(6, dtype=np.float32)
    (made,), mixed = augmented([IMAGES], labels, ("mixup",), np.random.default_rng(0))
    assert mixed is not None
    np.testing.assert_allclose(mixed.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(made, np.einsum("nk,kchw->nchw", mixed, IMAGES), atol=1e-5)


def test_rows_of_numbers_are_no_images() -> None:
    with pytest.raises(UsageError, match="needs one input of images"):
        check_images([(4, 10)], ("flip",))
    check_images([(4, 10)], ())
    check_images([(4, 8, 8, 3)], ("flip",))


def test_an_epoch_in_parts() -> None:
    plan = Plan.of(rows=1000, batch=64, bytes_per_row=2**20)
    assert (plan.rows, plan.part, plan.parts) == (960, 128, 8)
    assert Plan.of(rows=100, batch=10, bytes_per_row=4).parts == 1


class _Live:
    """A feeder whose teacher answers the sum of each image."""

    classes = 0

    def feeds(self, inputs: list[np.ndarray], labels: Any) -> list[np.ndarray]:
        return [inputs[0], inputs[0].sum(axis=(1, 2, 3), keepdims=False)[:, None]]


def test_the_teacher_sees_what_the_student_sees(tmp_path: Path) -> None:
    images = np.random.default_rng(0).standard_normal((20, 3, 16, 16)).astype(np.float32)
    arguments = (tmp_path, _Live(), [images], None, Plan(16, 8), 4, ("flip", "crop"), 7, range(1, 3))
    producer = Producer(*arguments)  # type: ignore[arg-type]
    producer.start()
    seen = []
    for epoch in (1, 2):
        for part in (0, 1):
            folder = tmp_path / f"train-{epoch}.{part}"
            for _ in range(1000):
                if folder.is_dir():
                    break
                producer.join(0.01)
            made, answers = (np.load(folder / f"{i}.npy") for i in (0, 1))
            np.testing.assert_allclose(answers[:, 0], made.sum(axis=(1, 2, 3)), rtol=1e-4, atol=1e-4)
            seen.append(made)
            producer.used(epoch, part)
            assert not folder.exists()
    producer.stop()
    assert producer.error is None
    assert not np.array_equal(seen[0], seen[2])


def test_a_failing_teacher_is_told_to_the_trainer(tmp_path: Path) -> None:
    class Failing:
        classes = 0

        def feeds(self, inputs: Any, labels: Any) -> Any:
            raise DataError("the teacher answers NaN")

    images = np.zeros((8, 3, 16, 16), np.float32)
    producer = Producer(tmp_path, Failing(), [images], None, Plan(8, 8), 4, (), 0, range(1))  # type: ignore[arg-type]
    producer.start()
    producer.join(10)
    assert isinstance(producer.error, DataError)
    assert (tmp_path / FAILED).exists()
