from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from graphopt.data import STYLES, parse_preprocess, synthetic
from graphopt.data.row_cache import KeptRows
from graphopt.data.sources.synthetic import SyntheticFeeder, natural_image
from graphopt.errors import DataError
from graphopt.ir import InputRole, Port

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
    for bad in (port("N", 3, dtype=None), port("N", dtype="complex64"), Port("x", np.dtype("float32"), None)):
        with pytest.raises(DataError, match="no synthetic samples can be generated"):
            synthetic([bad])


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4", "uint4"])
def test_types_that_numpy_lacks_are_drawn(port: MakePort, name: str) -> None:
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name))
    sample = next(iter(synthetic([Port("x", dtype, (2, 50))])))
    feed = sample.feeds["x"]
    assert feed.dtype == dtype and feed.shape == (2, 50)
    assert len(np.unique(feed.astype(np.float32))) > 1


def test_texts_are_a_few_words(port: MakePort) -> None:
    feed = next(iter(synthetic([Port("x", np.dtype("O"), (3, 8))]))).feeds["x"]
    assert feed.shape == (3, 8) and {type(word) for word in feed.ravel()} == {str}


def test_images_of_inputs_without_a_batch_fill_every_row(port: MakePort) -> None:
    inputs = [port(2, 4, 12, 8, name="past"), port(2, 4, 1, 8, name="new"), port(1, name="k")]
    feeds = next(iter(synthetic(inputs))).feeds
    assert {name: feed.shape for name, feed in feeds.items()} == {
        "past": (2, 4, 12, 8),
        "new": (2, 4, 1, 8),
        "k": (1,),
    }


def test_a_declared_size_of_zero_is_a_size(port: MakePort) -> None:
    feeds = next(iter(synthetic([port(0, 4, name="a"), port(3, 4, name="b")]))).feeds
    assert feeds["a"].shape == (0, 4) and feeds["b"].shape == (3, 4)
    alone = synthetic([port(0, 3, 4, 4)], count=2)
    assert len(alone) == 2 and next(iter(alone)).feeds["x"].shape == (0, 3, 4, 4)


def test_a_role_gives_values_whatever_the_style(port: MakePort) -> None:
    inputs = [port(2, dtype="int64", name="shape"), port(5, 6, dtype="int64", name="ids")]
    roles = {"shape": InputRole((3.0, 4.0)), "ids": InputRole(high=7)}
    for style in STYLES:
        feeds = next(iter(synthetic(inputs, style=style, roles=roles))).feeds
        assert feeds["shape"].tolist() == [3, 4]
        assert feeds["ids"].min() >= 0 and feeds["ids"].max() < 7
    plausible = next(iter(synthetic(inputs, roles=roles))).feeds["ids"]
    assert plausible.max() > 1  # the whole table is looked up, not its first two rows


def test_rows_are_made_once(port: MakePort, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    draw = SyntheticFeeder.read

    def counted(self: SyntheticFeeder, rows: np.ndarray) -> Any:
        made.extend(rows.tolist())
        return draw(self, rows)

    monkeypatch.setattr(SyntheticFeeder, "read", counted)
    samples = synthetic([port("N", 3, 8, 8)], count=5)
    first = [sample.feeds["x"].tobytes() for sample in samples]
    for part in (samples, samples.take(2), samples.skip(3)):
        assert all(sample.feeds["x"].tobytes() in first for sample in part)
    assert sorted(made) == list(range(5))


def test_rows_beyond_the_limit_are_made_again(port: MakePort) -> None:
    (feeder,) = (synthetic([port("N", 10)], count=4).feeder,)
    kept = KeptRows(feeder, limit=85)  # two rows of 40 bytes
    rows = np.arange(4)
    before = [row.feeds["x"].tobytes() for row in kept.read(rows)]
    assert [row.feeds["x"].tobytes() for row in kept.read(rows)] == before
    assert len(kept._kept) == 2
    assert [row.feeds["x"].tobytes() for row in pickle.loads(pickle.dumps(kept)).read(rows)] == before


def test_a_large_image_is_made_of_reflections() -> None:
    large = image(0, 700, 1300)
    assert large.shape == (700, 1300, 3)
    np.testing.assert_array_equal(large[640:], large[580:640][::-1])
    np.testing.assert_array_equal(large[:640, :640], image(0, 640, 640))
