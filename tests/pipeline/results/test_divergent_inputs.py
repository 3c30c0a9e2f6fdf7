"""The inputs that are answered least alike, found among many whose order is known."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from graphopt.data import Sample
from graphopt.pipeline.results.divergent_inputs import DivergentInputs


def sample(row: int, image: np.ndarray | None = None) -> Sample:
    feeds = {"x": np.zeros((1, 4), np.float32) if image is None else image}
    return Sample(feeds, None, None, (row,))


def look(answers: list[tuple[list[float], list[float]]], most: int = 3) -> Any:
    watch = DivergentInputs([f"photo{i}" for i in range(len(answers))], most)
    for row, (before, after) in enumerate(answers):
        old, new = (np.array([side], np.float32) for side in (before, after))
        watch.update({"y": new}, {"y": old}, sample(row), [row % 3])
    return watch.inputs()


def test_changed_answers_come_first_then_the_noisiest() -> None:
    found = look(
        [
            ([1.0, 0.0], [1.0, 0.0]),  # equal
            ([9.0, 0.0], [5.0, 0.0]),  # far, and the same answer
            ([1.0, 0.9], [0.9, 1.0]),  # near, and another answer
            ([1.0, 0.0], [0.99, 0.0]),
            ([1.0, 0.0], [0.5, 0.0]),
        ]
    )
    assert [one.name for one in found] == ["photo2", "photo4", "photo1"]
    assert (found[0].before, found[0].after, found[0].label) == (0, 1, 2)
    assert found[1].snr_db < found[2].snr_db


def test_equal_answers_are_no_news_and_numbers_that_are_none_count_most() -> None:
    assert look([([1.0, 2.0], [1.0, 2.0])] * 5) == ()
    found = look([([1.0, 0.0], [1.0, 0.1]), ([1.0, 0.0], [float("nan"), 0.0])])
    assert found[0].name == "photo1" and found[0].snr_db == -300
    assert look([([float("inf"), 0.0], [1.0, 0.0])]) == ()  # the original's own answer cannot be judged


def test_rows_of_a_fixed_batch_are_looked_at_one_by_one() -> None:
    watch = DivergentInputs(["a", "b"])
    before = np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)
    after = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    watch.update({"y": after}, {"y": before}, Sample({"x": before}, None, None, (0, 1)), None)
    assert [one.name for one in watch.inputs()] == ["b"]


def test_images_of_either_layout_get_thumbnails_and_nothing_else_does() -> None:
    for shape, size in (((1, 3, 200, 100), (36, 72)), ((1, 40, 40, 1), (40, 40))):
        watch = DivergentInputs(["a"])
        image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        watch.update({"y": np.ones(3, np.float32)}, {"y": np.zeros(3, np.float32)}, sample(0, image), None)
        shown = Image.open(io.BytesIO(base64.b64decode(watch.inputs()[0].image)))
        assert shown.size == size and (shown.mode == "L") == (shape[-1] == 1)
    assert look([([1.0, 0.0], [0.5, 0.0])])[0].image == ""
