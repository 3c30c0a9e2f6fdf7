from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphopt.data import from_arrays, load, parse_preprocess, shared
from graphopt.errors import DataError, UsageError
from graphopt.ir import Port

INPUT = Port("x", np.dtype("float32"), ("N", 3))
QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)


def rows(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).standard_normal((count, 3)).astype(np.float32)
    return {"x": x, "labels": np.arange(count)}


@given(count=st.integers(1, 40), cut=st.integers(0, 50))
def test_take_and_skip_are_disjoint_and_cover(count: int, cut: int) -> None:
    samples = from_arrays(rows(count), [INPUT])
    first, rest = samples.take(cut), samples.skip(cut)
    labels = [s.label for part in (first, rest) for s in part]
    assert sorted(labels) == list(range(count))
    assert (len(first), len(rest)) == (min(cut, count), max(0, count - cut))
    assert {s.label for s in first.take(3)} <= {s.label for s in first}
    assert shared(first, rest) == 0 and shared(first, samples) == len(first)


@QUIET
@given(count=st.integers(2, 40), cut=st.integers(1, 39))
def test_slices_of_a_file_are_disjoint_and_cover(tmp_path: Path, count: int, cut: int) -> None:
    cut = min(cut, count - 1)
    np.savez_compressed(tmp_path / "d.npz", **rows(count))
    first = load(f"{tmp_path}/d.npz::{cut}", [INPUT])
    rest = load(f"{tmp_path}/d.npz::{cut}:", [INPUT])
    assert len(first) == cut
    assert sorted(s.label or 0 for part in (first, rest) for s in part) == list(range(count))
    assert shared(first, rest) == 0
    whole = load(f"{tmp_path}/d.npz", [INPUT])
    assert list(first.content_keys()) == list(whole.take(cut).content_keys())


def test_iteration_repeats_in_stored_order() -> None:
    samples = from_arrays(rows(20), [INPUT]).take(7)
    first = [(s.label, s.rows) for s in samples]
    assert first == [(s.label, s.rows) for s in samples] == sorted(first)


def test_take_spreads_over_sorted_classes() -> None:
    arrays = {"x": rows(1000)["x"], "labels": np.repeat(np.arange(10), 100)}
    assert len({s.label for s in from_arrays(arrays, [INPUT]).take(50)}) >= 8


@given(count=st.integers(1, 30), size=st.integers(1, 12))
def test_batches_hold_all_rows_in_order(count: int, size: int) -> None:
    arrays = rows(count)
    batches = list(from_arrays(arrays, [INPUT]).batches(size))
    np.testing.assert_array_equal(np.concatenate([b.feeds["x"] for b in batches]), arrays["x"])
    assert np.concatenate([b.labels for b in batches if b.labels is not None]).tolist() == list(range(count))
    assert all(b.samples == size for b in batches[:-1]) and batches[-1].samples <= size


def test_unlabelled_batches() -> None:
    samples = from_arrays({"x": rows(3)["x"]}, [INPUT])
    assert [(b.labels, b.samples) for b in samples.batches(2)] == [(None, 2), (None, 1)]


def test_ragged_images_are_stacked_only_with_their_like(
    photos: Callable[..., Path], port: Callable[..., Port]
) -> None:
    photos("a.png", "b.png", size=(8, 8))
    root = photos("c.png", size=(8, 12))
    shapes = [b.feeds["x"].shape for b in load(root, [port("N", 3, "h", "w")]).batches(8)]
    assert shapes == [(2, 3, 8, 8), (1, 3, 8, 12)]


def test_shared_counts_content_not_names(tmp_path: Path) -> None:
    both = rows(12)["x"]
    first = from_arrays({"x": both[:8]}, [INPUT])
    second = from_arrays({"x": both[5:]}, [INPUT])
    assert shared(first, second) == shared(second, first) == 3


def test_the_key_does_not_depend_on_preprocessing(
    photos: Callable[..., Path], port: Callable[..., Port]
) -> None:
    root = photos("a.png", "b.png")
    plain = load(root, [port("N", 3, 8, 8)])
    other = load(root, [port("N", 1, 4, 4)], parse_preprocess("size=4;mean=9"))
    assert list(plain.content_keys()) == list(other.content_keys())
    assert len(set(plain.content_keys())) == 2


def test_labels_outside_the_classes_are_named() -> None:
    samples = from_arrays(rows(5), [INPUT])
    samples.check_labels(5)
    with pytest.raises(DataError, match=r"sample 4 of arrays has the label 4, but classes are 0..3"):
        samples.check_labels(4)
    samples.take(0).check_labels(1)


def test_slices_beyond_the_data(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **rows(5))
    samples = load(f"{tmp_path}/d.npz::64", [INPUT])
    assert len(samples) == 5 and "there are 5" in samples.warnings[0]
    with pytest.raises(DataError, match="leaves no samples"):
        load(f"{tmp_path}/d.npz::64:", [INPUT])


@pytest.mark.parametrize("text", ["::3:3", "::5:2", "::0", "::0:0"])
def test_slices_that_hold_nothing_by_themselves(text: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **rows(5))
    with pytest.raises(UsageError, match="ends before it starts"):
        load(f"{tmp_path}/d.npz{text}", [INPUT])


def test_the_source_is_what_the_user_wrote(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **rows(5))
    assert load(f"{tmp_path}/d.npz::4", [INPUT]).source == f"{tmp_path}/d.npz::4"
