"""Arrays against model inputs: what fits is fed unchanged, what does not is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graphopt.data import from_arrays, load, parse_preprocess
from graphopt.errors import DataError
from graphopt.ir import Port

MakePort = Callable[..., Port]
Pixels = Callable[..., np.ndarray]


def floats(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def test_float_arrays_are_fed_as_they_are(tmp_path: Path, port: MakePort) -> None:
    x, y = floats(10, 3, 8, 8), np.arange(10)
    np.savez_compressed(tmp_path / "d.npz", x=x, labels=y)
    samples = load(str(tmp_path / "d.npz"), [port("N", 3, 8, 8)])
    assert (len(samples), samples.labelled, samples.preprocess, samples.warnings) == (10, True, None, ())
    for index, sample in enumerate(samples):
        assert sample.label == index
        np.testing.assert_array_equal(sample.feeds["x"], x[index : index + 1])


def test_npy_feeds_the_only_input(tmp_path: Path, port: MakePort) -> None:
    x = floats(5, 7)
    np.save(tmp_path / "d.npy", x)
    samples = load(tmp_path / "d.npy", [port("N", 7)])
    assert not samples.labelled
    np.testing.assert_array_equal(np.concatenate([s.feeds["x"] for s in samples]), x)


def test_names_after_the_hash_pick_arrays_and_labels(tmp_path: Path, port: MakePort) -> None:
    np.savez(tmp_path / "d.npz", a=floats(4, 2), b=floats(4, 3), y=np.arange(4)[:, None], z=floats(9, 9))
    one = load(f"{tmp_path}/d.npz#a,y", [port("N", 2)])
    assert [s.label for s in one] == [0, 1, 2, 3]
    assert not load(f"{tmp_path}/d.npz#a", [port("N", 2)]).labelled
    by_place = load(f"{tmp_path}/d.npz#a,b,y", [port("N", 2, name="p"), port("N", 3, name="q")])
    assert by_place.labelled
    by_name = load(f"{tmp_path}/d.npz#y,b,a", [port("N", 2, name="a"), port("N", 3, name="b")])
    assert by_name.labelled and next(iter(by_name)).feeds["a"].shape == (1, 2)


def test_names_after_the_hash_leave_other_labels_alone(tmp_path: Path, port: MakePort) -> None:
    path = tmp_path / "both.npz"
    np.savez(path, calibration=floats(5, 2), images=floats(3, 2), labels=[0, 1, 2])
    assert not load(f"{path}#calibration", [port("N", 2)]).labelled


def test_an_input_may_be_called_labels(port: MakePort) -> None:
    samples = from_arrays({"labels": floats(3, 2)}, [port("N", 2, name="labels")])
    assert not samples.labelled and len(samples) == 3


def test_arrays_may_hold_the_batch_axis_inside(port: MakePort) -> None:
    x = floats(6, 1, 3, 4, 4)
    samples = from_arrays({"x": x}, [port("N", 3, 4, 4)])
    np.testing.assert_array_equal(np.concatenate([s.feeds["x"] for s in samples]), x[:, 0])


def test_float64_becomes_float32_and_float32_float16(port: MakePort) -> None:
    assert (
        next(iter(from_arrays({"x": floats(2, 3, dtype="float64")}, [port("N", 3)]))).feeds["x"].dtype == "f4"
    )
    half = from_arrays({"x": floats(2, 3)}, [port("N", 3, dtype="float16")])
    assert next(iter(half)).feeds["x"].dtype == "f2"
    with pytest.raises(DataError, match="too large"):
        from_arrays({"x": np.full((2, 3), 1e30, np.float32)}, [port("N", 3, dtype="float16")])


def test_recurrent_models_with_state_and_a_scalar(port: MakePort) -> None:
    inputs = [
        port(None, 16, name="input"),
        port(2, None, 4, name="state"),
        port(dtype="int64", name="sr"),
    ]
    arrays = {"input": floats(5, 16), "state": floats(2, 1, 4), "sr": np.array(16000)}
    samples = from_arrays(arrays, inputs)
    assert len(samples) == 5 and samples.batch == 1
    for sample in samples:
        assert [sample.feeds[p.name].shape for p in inputs] == [(1, 16), (2, 1, 4), ()]
    own = from_arrays({**arrays, "state": floats(5, 2, 1, 4), "sr": np.full(5, 8000)}, inputs)
    assert next(iter(own)).feeds["state"].shape == (2, 1, 4)
    assert all(batch.samples == 1 for batch in own.batches(4))


def test_a_fixed_batch_groups_rows(port: MakePort) -> None:
    x, y = floats(10, 3), np.arange(10)
    samples = from_arrays({"x": x, "labels": y}, [port(4, 3)])
    assert (len(samples), samples.batch) == (2, 4)
    assert any("2 of 10 rows" in text for text in samples.warnings)
    for sample in samples:
        assert sample.label is None and sample.labels is not None
        np.testing.assert_array_equal(sample.feeds["x"], x[list(sample.labels)])
    assert [batch.feeds["x"].shape for batch in samples.batches(32)] == [(4, 3), (4, 3)]
    taken = {label for s in samples.take(1) for label in s.labels or ()}
    skipped = {label for s in samples.skip(1) for label in s.labels or ()}
    assert len(taken) == len(skipped) == 4 and not taken & skipped
    with pytest.raises(DataError, match="leaves no samples"):
        from_arrays({"x": x[:3]}, [port(4, 3)])


def test_a_batch_fixed_at_1_is_never_stacked(port: MakePort) -> None:
    samples = from_arrays({"x": floats(5, 3)}, [port(1, 3)])
    assert [b.feeds["x"].shape for b in samples.batches(32)] == [(1, 3)] * 5


def test_a_shape_fixes_a_dynamic_batch(port: MakePort) -> None:
    ports = [port("N", 3)]
    assert len(from_arrays({"x": floats(10, 3)}, ports, shapes={"x": (5, 3)})) == 2
    assert from_arrays({"x": floats(10, 3)}, ports, shapes={"x": (1, 3)}).batch is None


@pytest.mark.parametrize("shape", [(6, 8, 5, 3), (6, 3, 8, 5), (6, 8, 5)])
def test_uint8_arrays_are_images_in_any_layout(
    shape: tuple[int, ...], port: MakePort, pixels: Pixels
) -> None:
    x = pixels(*shape)
    nhwc = x.transpose(0, 2, 3, 1) if shape[1] == 3 else x if x.ndim == 4 else np.repeat(x[..., None], 3, 3)
    samples = from_arrays({"x": x}, [port("N", 3, 8, 5)], parse_preprocess("mean=10;std=2"))
    got = np.concatenate([s.feeds["x"] for s in samples])
    np.testing.assert_allclose(got, (nhwc.transpose(0, 3, 1, 2).astype(float) - 10) / 2, rtol=1e-6)
    assert samples.preprocess is not None and samples.preprocess.size == (8, 5)


def test_uint8_without_a_recipe_says_what_it_does(port: MakePort, pixels: Pixels) -> None:
    samples = from_arrays({"x": pixels(3, 8, 8)}, [port("N", 1, 8, 8)])
    assert "divided by 255" in samples.warnings[0]
    assert next(iter(samples)).feeds["x"].max() <= 1.0
    raw = from_arrays({"x": pixels(3, 8, 8, 3)}, [port("N", 8, 8, 3, dtype="uint8")])
    assert raw.warnings == () and next(iter(raw)).feeds["x"].dtype == np.uint8


def test_flat_uint8_rows_get_the_value_steps(port: MakePort, pixels: Pixels) -> None:
    x = pixels(3, 784)
    samples = from_arrays({"x": x}, [port("N", 784)], parse_preprocess("mean=127;std=128"))
    np.testing.assert_allclose(next(iter(samples)).feeds["x"], (x[:1].astype(float) - 127) / 128, rtol=1e-6)
    with pytest.raises(DataError, match="takes no images"):
        from_arrays({"x": x}, [port("N", 784)], parse_preprocess("size=28"))


def test_a_recipe_without_effect_is_told(port: MakePort) -> None:
    samples = from_arrays({"x": floats(2, 3)}, [port("N", 3)], parse_preprocess("imagenet"))
    assert "does not apply" in samples.warnings[0]


REFUSED = [
    ({"x": floats(4, 8, 8, 3)}, "4x8x8x3.*takes.*3x8x8", "transpose(0, 3, 1, 2)"),
    ({"x": floats(4, 3, 8, 9)}, "4x3x8x9", "first axis"),
    ({"x": floats(3, 8, 8)}, "3x8x8", "array[None]"),
    ({"x": floats(4, 192)}, "4x192", "first axis"),
    ({"x": np.zeros((4, 3, 8, 8), np.int64)}, "holds int64.*takes float32", "astype('float32')"),
    ({"x": np.zeros((4, 3, 8, 8), np.int8)}, "holds int8", "astype"),
    ({"x": np.full((4, 3, 8, 8), np.nan, np.float32)}, "NaN", "remove"),
    ({"x": np.full((4, 3, 8, 8), np.inf)}, "infinite", "remove"),
    ({"x": floats(0, 3, 8, 8)}, "empty", "at least one"),
    ({"x": np.array(3.0, np.float32)}, "single number", "first axis"),
    ({"x": np.zeros((4, 7, 8, 8), np.uint8)}, "holds no images", "NxHxWxC"),
    ({"a": floats(4, 3, 8, 8), "b": floats(4, 3)}, "no array for input 'x'.*'a', 'b'", "#x,y"),
    ({"x": floats(4, 3, 8, 8), "labels": np.arange(3)}, "4 samples to label", "one label"),
    ({"x": floats(4, 3, 8, 8), "labels": np.eye(4)}, "4 samples to label", "argmax"),
    ({"x": floats(4, 3, 8, 8), "labels": np.array([0, 1, -1, 2])}, "label -1 for row 2", "from 0"),
    ({"x": floats(4, 3, 8, 8), "labels": np.array([0, 0.5, 1, 2])}, "not whole numbers", "class numbers"),
    ({"x": floats(4, 3, 8, 8), "labels": np.array([0, np.nan, 1, 2])}, "not whole numbers", "class numbers"),
]


@pytest.mark.parametrize(("arrays", "says", "advises"), REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(
    arrays: dict[str, np.ndarray], says: str, advises: str, port: MakePort
) -> None:
    with pytest.raises(DataError, match=says) as caught:
        from_arrays(arrays, [port("N", 3, 8, 8)])
    assert advises in caught.value.hint and "\n" not in str(caught.value)


def test_nchw_data_for_an_nhwc_model_is_named(port: MakePort) -> None:
    with pytest.raises(DataError) as caught:
        from_arrays({"x": floats(4, 3, 8, 8)}, [port("N", 8, 8, 3)])
    assert "NCHW and the model NHWC" in caught.value.hint


def test_inputs_must_agree_on_the_number_of_samples(port: MakePort) -> None:
    with pytest.raises(DataError, match="4 for 'a', 5 for 'b'"):
        from_arrays({"a": floats(4, 2), "b": floats(5, 2)}, [port("N", 2, name="a"), port("N", 2, name="b")])


def test_names_that_are_missing_get_the_nearest(tmp_path: Path, port: MakePort) -> None:
    np.savez(tmp_path / "d.npz", x_test=floats(4, 2), y_test=np.arange(4))
    with pytest.raises(DataError) as caught:
        load(f"{tmp_path}/d.npz#x_tset", [port("N", 2)])
    assert "'x_test'" in caught.value.hint
    with pytest.raises(DataError, match="3 arrays are named"):
        load(f"{tmp_path}/d.npz#x_test,y_test,x_test", [port("N", 2)])


def test_inputs_that_are_no_tensors(port: MakePort) -> None:
    with pytest.raises(DataError, match="not a tensor"):
        from_arrays({"x": floats(4, 2)}, [port("N", 2, dtype=None)])


def test_nan_further_down_is_found_while_reading(port: MakePort) -> None:
    x = floats(6, 2)
    x[4, 1] = np.nan
    samples = from_arrays({"x": x}, [port("N", 2)])
    with pytest.raises(DataError, match="row 4 of array 'x'"):
        list(samples)


def test_an_input_of_unknown_shape_takes_rows(port: MakePort) -> None:
    samples = from_arrays({"x": floats(3, 4, 5)}, [Port("x", np.dtype("float32"), None)])
    assert next(iter(samples)).feeds["x"].shape == (1, 4, 5)
