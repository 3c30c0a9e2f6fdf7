from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from graphopt.data import parse_preprocess, synthetic
from graphopt.data.synthetic import natural_image
from graphopt.errors import DataError
from graphopt.ir import Port

MakePort = Callable[..., Port]


def image(seed: int, height: int = 64, width: int = 96, channels: int = 3) -> np.ndarray:
    return natural_image(np.random.Generator(np.random.PCG64(seed)), height, width, channels)


def test_samples_depend_on_seed_and_number_alone(port: MakePort) -> None:
    inputs = [port("N", 3, 32, 32)]
    many, few = list(synthetic(inputs, count=6, seed=3)), list(synthetic(inputs, count=2, seed=3))
    for a, b in zip(many[:2], few, strict=True):
        assert a.rows == b.rows
        np.testing.assert_array_equal(a.feeds["x"], b.feeds["x"])
    others = list(synthetic(inputs, count=2, seed=4))
    assert not np.array_equal(others[0].feeds["x"], few[0].feeds["x"])
    assert len({s.feeds["x"].tobytes() for s in many}) == 6
    assert len(set(synthetic(inputs, count=6, seed=3).content_keys())) == 6


def test_images_are_the_same_on_every_machine() -> None:
    assert hashlib.sha256(image(1).tobytes()).hexdigest()[:16] == "20e729db607326a0"


def test_images_have_the_spectrum_colours_and_range_of_photographs() -> None:
    images = [image(seed, 128, 128) for seed in range(12)]
    planes = np.stack([i[:, :, 1] for i in images]).astype(float) - np.mean(images)
    power = np.mean(np.abs(np.fft.fft2(planes)) ** 2, axis=0)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    edges = np.geomspace(0.01, 0.4, 10)
    bands = [power[(radius >= a) & (radius < b)].mean() for a, b in pairwise(edges)]
    slope = np.polyfit(np.log(edges[:-1] * edges[1:]) / 2, np.log(bands), 1)[0]
    assert -3.2 < slope < -1.5  # photographs: about -2
    colours = np.concatenate([i.reshape(-1, 3) for i in images])
    assert np.corrcoef(colours.T).min() > 0.8
    assert 90 < colours.mean() < 150 and 40 < colours.std() < 80


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 500), (48, 192)])
def test_any_size_and_channels(size: tuple[int, int], channels: int) -> None:
    made = image(0, *size, channels)
    assert made.shape == (*size, channels) and made.dtype == np.uint8


def test_float_images_are_about_normalised_and_uint8_are_pixels(port: MakePort) -> None:
    floats = np.concatenate([s.feeds["x"] for s in synthetic([port("N", 3, 64, 64)], count=12)])
    assert floats.dtype == np.float32 and abs(floats.mean()) < 0.4 and 0.6 < floats.std() < 1.4
    whole = next(iter(synthetic([port("N", 64, 64, 3, dtype="uint8")])))
    assert whole.feeds["x"].shape == (1, 64, 64, 3) and whole.feeds["x"].max() > 100
    small = next(iter(synthetic([port("N", 3, 64, 64, dtype="int8")])))
    assert small.feeds["x"].min() >= 0


def test_a_recipe_gives_the_value_range(port: MakePort) -> None:
    recipe = parse_preprocess("size=224;scale=1/255")
    made = next(iter(synthetic([port("N", 3, 64, 64)], preprocess=recipe))).feeds["x"]
    assert made.min() >= 0 and made.max() <= 1 and made.std() > 0.05


def test_dynamic_dims_come_from_the_shapes(port: MakePort) -> None:
    ports = [port("N", 3, "h", "w")]
    assert next(iter(synthetic(ports, {"x": (1, 3, 48, 192)}))).feeds["x"].shape == (1, 3, 48, 192)
    assert next(iter(synthetic(ports))).feeds["x"].shape == (1, 3, 224, 224)


def test_a_fixed_batch_is_filled(port: MakePort) -> None:
    samples = synthetic([port(4, 3, 16, 16)], count=3)
    assert len(samples) == 3
    assert [s.feeds["x"].shape for s in samples] == [(4, 3, 16, 16)] * 3


def test_other_inputs_get_plausible_numbers(port: MakePort) -> None:
    inputs = [
        port(None, 512, name="input"),
        port(2, None, 128, name="state"),
        port(dtype="int64", name="sr"),
        port("N", 9, dtype="int64", name="ids"),
        port("N", 9, dtype="bool", name="mask"),
    ]
    sample = next(iter(synthetic(inputs)))
    assert [sample.feeds[p.name].shape for p in inputs] == [(1, 512), (2, 1, 128), (), (1, 9), (1, 9)]
    assert all(sample.feeds[p.name].dtype == p.dtype for p in inputs)
    assert 0.8 < sample.feeds["input"].std() < 1.2
    assert set(np.unique(sample.feeds["ids"])) <= {0, 1} and sample.feeds["sr"] == 1


def test_takes_are_the_first_ones_and_the_source_is_told(port: MakePort) -> None:
    samples = synthetic([port("N", 3, 8, 8)], count=5, seed=2)
    assert samples.source == "synthetic" and len(samples) == 5 and not samples.labelled
    assert list(samples.take(2).content_keys()) == list(samples.content_keys())[:2]


def test_inputs_that_cannot_be_made_up(port: MakePort) -> None:
    for bad in (port("N", 3, dtype=None), port("N", dtype="str"), Port("x", np.dtype("float32"), None)):
        with pytest.raises(DataError, match="no samples can be made up"):
            synthetic([bad])
