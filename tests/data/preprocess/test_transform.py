"""Preprocessing against plain NumPy and Pillow written out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from graphopt.data import looks_unnormalised, parse_preprocess
from graphopt.data.ports import known_dims
from graphopt.data.preprocess.config import Preprocess
from graphopt.data.preprocess.transform import Transform, resolve, scaled_size
from graphopt.errors import DataError
from graphopt.ir import Port

Pixels = Callable[..., np.ndarray]


def feed(array: np.ndarray, text: str | None, *shape: int | str, dtype: str = "float32") -> np.ndarray:
    port = Port("x", np.dtype(dtype), shape)
    dims = known_dims(port, {})
    recipe = resolve(None if text is None else parse_preprocess(text), port, dims)
    return Transform(recipe, np.dtype(dtype), "x", dims)(array, "the image")


def test_imagenet_is_torchvisions_transform(pixels: Pixels) -> None:
    image = pixels(300, 411, 3)
    scaled = Image.fromarray(image).resize((int(256 * 411 / 300), 256), Image.Resampling.BILINEAR)
    left, top = round((scaled.width - 224) / 2), round((256 - 224) / 2)
    values = np.asarray(scaled.crop((left, top, left + 224, top + 224)), np.float64) / 255
    expected = ((values - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)[None]
    result = feed(image, "imagenet", "N", 3, 224, 224)
    assert result.dtype == np.float32 and result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, atol=2e-6)


@pytest.mark.parametrize("method", ["bilinear", "bicubic", "nearest", "box", "lanczos"])
def test_size_squashes_with_pillows_filters(method: str, pixels: Pixels) -> None:
    image = pixels(30, 50, 3)
    expected = np.asarray(Image.fromarray(image).resize((20, 16), Image.Resampling[method.upper()]))
    result = feed(image, f"size=16x20;interpolation={method}", 1, 3, "h", "w")
    np.testing.assert_array_equal(result, expected.transpose(2, 0, 1)[None])


def test_values_are_scaled_before_mean_and_std(pixels: Pixels) -> None:
    image = pixels(4, 4, 3)
    result = feed(image, "scale=2;mean=1,2,3;std=4,5,6", 1, 3, 4, 4)
    expected = (image.astype(np.float64) * 2 - [1, 2, 3]) / [4, 5, 6]
    np.testing.assert_allclose(result[0].transpose(1, 2, 0), expected, rtol=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40))
def test_letterbox_keeps_the_ratio_and_fills_with_grey(height: int, width: int, tall: int, wide: int) -> None:
    image = np.full((height, width, 3), 7, np.uint8)
    result = feed(image, f"letterbox={tall}x{wide}", 1, 3, tall, wide)[0, 0]
    rows, columns = np.nonzero(result == 7)
    ratio = min(tall / height, wide / width)
    inner = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == inner and rows.size == inner[0] * inner[1]
    assert (result[result != 7] == 114).all()
    assert 0 <= (tall - 1 - rows.max()) - rows.min() <= 1  # an odd pixel goes below
    assert 0 <= (wide - 1 - columns.max()) - columns.min() <= 1


def test_letterbox_fill_and_model_size(pixels: Pixels) -> None:
    assert (feed(pixels(4, 8, 3), "letterbox=model;pad=0", 1, 3, 16, 16)[0, :, :4] == 0).all()


def test_ocr_recognition_keeps_the_ratio(pixels: Pixels) -> None:
    image = pixels(24, 101, 3)
    result = feed(image, "ppocr-rec", "N", 3, 48, "w")
    assert result.shape == (1, 3, 48, 202)
    wide = np.asarray(Image.fromarray(image).resize((202, 48), Image.Resampling.BILINEAR), np.float64)
    np.testing.assert_allclose(
        result[0], ((wide[:, :, ::-1] / 255 - 0.5) / 0.5).transpose(2, 0, 1), atol=1e-6
    )


def test_ocr_detection_makes_sides_multiples_of_32() -> None:
    recipe = parse_preprocess("ppocr-det")
    assert scaled_size((1000, 1920), recipe) == (512, 960)  # 500 rounds to 512
    assert scaled_size((100, 10), recipe) == (96, 32)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 500))
def test_resize_makes_the_shorter_side_exact(height: int, width: int, side: int) -> None:
    assert min(scaled_size((height, width), Preprocess(resize=side))) == side


def test_pad_goes_right_and_below(pixels: Pixels) -> None:
    image = pixels(5, 9, 3)
    result = feed(image, "pad=4", 1, 3, "h", "w")[0].transpose(1, 2, 0)
    assert result.shape == (8, 12, 3)
    np.testing.assert_array_equal(result[:5, :9], image)
    assert not result[5:].any() and not result[:, 9:].any()


def test_crop_pads_images_that_are_smaller(pixels: Pixels) -> None:
    image = pixels(3, 10, 3)
    result = feed(image, "crop=6x4", 1, 3, 6, 4)[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(result[1:4], image[:, 3:7])
    assert not result[0].any() and not result[4:].any()


def test_colours(pixels: Pixels) -> None:
    image = pixels(6, 6, 3)
    gray = np.asarray(ImageOps.grayscale(Image.fromarray(image)))
    np.testing.assert_array_equal(feed(image, "scale=1", 1, 1, 6, 6)[0, 0], gray)
    np.testing.assert_array_equal(feed(image, "color=bgr", 1, 3, 6, 6)[0], image.transpose(2, 0, 1)[::-1])
    lifted = feed(gray[:, :, None], "scale=1", 1, 3, 6, 6)[0]
    assert (lifted == gray).all()
    rgba = feed(image, "scale=1", 1, 4, 6, 6)[0]
    assert (rgba[3] == 255).all() and (rgba[:3] == image.transpose(2, 0, 1)).all()


def test_layout_follows_the_channel_axis(pixels: Pixels) -> None:
    image = pixels(6, 5, 3)
    assert feed(image, "scale=1", "N", 6, 5, 3).shape == (1, 6, 5, 3)
    assert feed(image, "scale=1", "N", "h", "w", 3).shape == (1, 6, 5, 3)
    assert feed(image, "scale=1", "N", "c", "h", "w").shape == (1, 3, 6, 5)
    assert feed(image, "layout=nhwc", "N", "h", "w", "c").shape == (1, 6, 5, 3)


def test_without_a_recipe_floats_get_0_to_1_and_uint8_inputs_the_pixels(pixels: Pixels) -> None:
    image = pixels(8, 8, 3)
    np.testing.assert_allclose(feed(image, None, 1, 3, 8, 8)[0], image.transpose(2, 0, 1) / 255, rtol=1e-6)
    result = feed(image, None, 1, 8, 8, 3, dtype="uint8")
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[0], image)
    assert feed(pixels(9, 12, 3), None, 1, 3, 4, 5).shape == (1, 3, 4, 5)  # squashed to the model's size
    assert feed(pixels(9, 12, 3), None, 1, 3, "h", "w").shape == (1, 3, 9, 12)


def test_whole_number_inputs(pixels: Pixels) -> None:
    image = pixels(4, 4, 3)
    shifted = feed(image, "mean=128", 1, 3, 4, 4, dtype="int8")
    np.testing.assert_array_equal(shifted[0], image.transpose(2, 0, 1).astype(int) - 128)
    with pytest.raises(DataError, match="whole numbers"):
        feed(image, "scale=1/255", 1, 3, 4, 4, dtype="uint8")
    with pytest.raises(DataError, match="whole numbers"):
        feed(image, "scale=1", 1, 3, 4, 4, dtype="int8")


def test_refusals(pixels: Pixels) -> None:
    with pytest.raises(DataError, match=r"3x224x224 .* 3x299x299"):
        feed(pixels(300, 300, 3), "imagenet", "N", 3, 299, 299)
    with pytest.raises(DataError, match="color=gray makes 1 channels"):
        feed(pixels(8, 8, 3), "color=gray", "N", 3, 8, 8)
    with pytest.raises(DataError, match="mean has 3 numbers"):
        feed(pixels(8, 8, 1), "mean=1,2,3", "N", 1, 8, 8)
    with pytest.raises(DataError, match="fixes no image size"):
        feed(pixels(8, 8, 3), "yolo", "N", 3, "h", "w")
    with pytest.raises(DataError, match="four dimensions"):
        feed(pixels(8, 8, 3), None, "N", 64)


def test_unnormalised_feeds_are_recognised(pixels: Pixels) -> None:
    image = pixels(8, 8, 3).astype(np.float32)
    assert looks_unnormalised(image)
    assert looks_unnormalised(image.astype(np.float16))
    for fine in (
        image / 255,
        (image - 127) / 128,
        image - 117,
        image.astype(np.uint8),
        image * 100,
        image[:0],
    ):
        assert not looks_unnormalised(fine)
