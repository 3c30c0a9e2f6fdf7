"""A pixel that is marked before preprocessing lies where its placement says."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.data import parse_preprocess
from graphopt.data.preprocess.geometry import placement
from graphopt.data.preprocess.transform import Transform

RECIPES = (
    "size=48x96",
    "resize=40;crop=32",
    "crop=32x48",
    "crop=96",
    "letterbox=64",
    "letterbox=64x40",
    "height=32;width=keep",
    "longest=60;multiple=16",
    "pad=32",
    "scale=1",
)


@pytest.mark.parametrize("size", [(50, 80), (81, 33), (64, 64)])
@pytest.mark.parametrize("text", RECIPES)
def test_a_marked_block_lands_where_placement_says(text: str, size: tuple[int, int]) -> None:
    recipe = parse_preprocess(f"{text};interpolation=nearest;layout=nhwc;color=gray")
    pixels = np.zeros((*size, 1), np.uint8)
    top, left, bottom, right = size[0] // 3, size[1] // 3, size[0] // 3 + 14, size[1] // 3 + 9
    pixels[top:bottom, left:right] = 255
    feed = Transform(recipe, np.dtype(np.float32), "x", None)(pixels, "image")[0, :, :, 0]
    placed = placement(size, recipe)
    assert placed.feed == feed.shape
    (found,) = placed.boxes(np.asarray([[left, top, right, bottom]]))
    rows, columns = np.nonzero(feed == 255)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(found, seen, atol=1.01)


@pytest.mark.parametrize("text", RECIPES)
def test_a_mask_is_placed_as_its_image_by_nearest_pixel(text: str) -> None:
    recipe = parse_preprocess(f"{text};interpolation=nearest;layout=nhwc;color=gray")
    mask = np.random.default_rng(0).integers(1, 9, (50, 80)).astype(np.uint8)
    feed = Transform(recipe, np.dtype(np.float32), "x", None)(mask[:, :, None], "image")[0, :, :, 0]
    found = placement((50, 80), recipe).mask(mask, 255)
    inside = found != 255
    assert np.array_equal(found[inside], feed[inside])
    assert (np.isin(feed[~inside], (0, 114))).all()


def test_boxes_are_cut_at_the_border() -> None:
    placed = placement((100, 100), parse_preprocess("crop=40"))
    np.testing.assert_array_equal(placed.boxes(np.asarray([[0.0, 35, 50, 200]])), [[0, 5, 20, 40]])
