"""Samples as Python code has them: every kind gives the same rows, wrong ones one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from graphopt.data import Samples, open_samples, parse_preprocess
from graphopt.data.sources import stream
from graphopt.errors import DataError, UsageError
from graphopt.ir import Port

X = np.random.default_rng(0).standard_normal((6, 2, 4, 4)).astype(np.float32)
Y = np.arange(6)


class Tensor:
    """What torch and paddle tensors have in common, without either: an array on a device, in a graph."""

    def __init__(self, array: np.ndarray, moved: bool = False) -> None:
        self.array, self.moved = array, moved
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("can't convert a tensor on another device")

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return Tensor(self.array, moved=True)

    def numpy(self) -> np.ndarray:
        assert self.moved
        return self.array


class Loader:
    """Gives batches in another order each time, as a loader that shuffles does."""

    def __init__(self) -> None:
        self.times = 0

    def __iter__(self) -> Iterator[Any]:
        self.times += 1
        order = np.random.default_rng(self.times).permutation(6)
        for part in (order[:4], order[4:]):
            yield [Tensor(X[part]), Tensor(Y[part])]


class Reader:
    """What onnxruntime's CalibrationDataReader is asked for."""

    def __init__(self) -> None:
        self.feeds = iter([{"x": row[None]} for row in X])

    def get_next(self) -> Any:
        return next(self.feeds, None)


class Numbered:
    """A data set that has a length and numbers, and rows without a batch axis."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, number: int) -> Any:
        if number >= 6:
            raise AssertionError("beyond the length")
        return X[number], int(Y[number])


KINDS: dict[str, tuple[Callable[[], Any], bool]] = {
    "array": (lambda: X, False),
    "tensor": (lambda: Tensor(X), False),
    "dict": (lambda: {"x": X, "labels": Y}, True),
    "tuple": (lambda: (X, Y), True),
    "tuple of tensors": (lambda: (Tensor(X), Tensor(Y)), True),
    "list of rows": (lambda: list(X), False),
    "list of batches": (lambda: [X[:4], X[4:]], False),
    "list of feeds": (lambda: [{"x": X[:4], "labels": Y[:4]}, {"x": X[4:], "labels": Y[4:]}], True),
    "generator": (lambda: (row[None] for row in X), False),
    "pairs": (lambda: list(zip(X, Y, strict=True)), True),
    "feeds and labels": (lambda: [({"x": X[:4]}, Y[:4]), ({"x": X[4:]}, Y[4:])], True),
    "data set": (Numbered, True),
    "reader": (Reader, False),
}


@pytest.fixture
def ports(port: Callable[..., Port]) -> list[Port]:
    return [port("N", 2, 4, 4)]


def rows_of(samples: Samples) -> np.ndarray:
    return np.concatenate([sample.feeds["x"] for sample in samples])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_rows(ports: list[Port], kind: str) -> None:
    make, labelled = KINDS[kind]
    samples = open_samples(make(), ports)
    assert np.array_equal(rows_of(samples), X) and samples.labelled is labelled
    if labelled:
        assert [sample.label for sample in samples] == list(Y)
    assert np.array_equal(rows_of(samples), X)  # and again


def test_a_loader_is_gone_through_once_and_keeps_rows_and_labels_together(ports: list[Port]) -> None:
    loader = Loader()
    samples = open_samples(loader, ports)
    for _ in range(2):
        for sample in samples:
            assert sample.label is not None and np.array_equal(sample.feeds["x"][0], X[sample.label])
    assert loader.times == 1 and len(samples) == 6


def test_transform_makes_feeds_of_items(ports: list[Port]) -> None:
    items = [{"pixels": row.transpose(1, 2, 0), "class": int(label)} for row, label in zip(X, Y, strict=True)]
    samples = open_samples(
        items, ports, transform=lambda item: (item["pixels"].transpose(2, 0, 1), item["class"])
    )
    assert np.array_equal(rows_of(samples), X) and samples.labelled


def test_images_go_through_the_recipe_whatever_their_size(
    port: Callable[..., Port], pixels: Callable[..., np.ndarray]
) -> None:
    ports = [port("N", 3, 8, 8)]
    images = [pixels(12, 10, 3, seed=1), pixels(9, 16, 3, seed=2)]
    recipe = parse_preprocess("size=8;scale=0.00392156862745098")
    streamed = [sample.feeds["x"] for sample in open_samples(iter(images), ports, recipe)]
    alone = [next(iter(open_samples(image[None], ports, recipe))).feeds["x"] for image in images]
    assert np.array_equal(streamed, alone) and streamed[0].shape == (1, 3, 8, 8)


def test_rows_of_several_inputs_and_lengths(port: Callable[..., Port]) -> None:
    ports = [port("N", "T", dtype="int64", name="ids"), port("N", "T", dtype="int64", name="mask")]
    batches = [np.arange(2 * length).reshape(2, length) for length in (3, 5)]
    samples = open_samples([{"ids": batch, "mask": batch, "extra": "text"} for batch in batches], ports)
    assert [sample.feeds["ids"].tolist() for sample in samples] == [
        [row.tolist()] for batch in batches for row in batch
    ]


def test_an_input_without_batch_axis_counts_for_every_row(port: Callable[..., Port]) -> None:
    ports = [port("N", 2), port(name="rate", dtype="float32")]
    samples = open_samples([(np.ones((3, 2), np.float32), np.float32(7))], ports)
    assert [float(sample.feeds["rate"]) for sample in samples] == [7.0] * 3


def test_more_rows_than_memory_is_meant_for_lie_in_a_file(
    ports: list[Port], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "IN_MEMORY", 2 * X[0].nbytes)
    samples = open_samples((row for row in X), ports)
    assert isinstance(samples.feeder.columns[0].rows, stream.KeptRows)  # type: ignore[attr-defined]
    assert np.array_equal(rows_of(samples), X)
    assert np.array_equal(rows_of(samples.skip(2)), X[np.sort(samples.rows[2:])])


def test_a_loader_without_end_stops_where_half_of_the_disk_is_taken(
    ports: list[Port], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forever() -> Iterator[np.ndarray]:
        while True:
            yield X[0]

    monkeypatch.setattr(stream, "IN_MEMORY", 0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 20 * X[0].nbytes}))
    samples = open_samples(forever(), ports)
    assert len(samples) == 11 and "half of the free disk" in samples.warnings[-1]


def broken() -> Iterator[np.ndarray]:
    yield X[0]
    raise RuntimeError("the disk\nis gone")


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "number": (7, UsageError, "the data is an int, which names no samples"),
    "bytes": (b"PK", UsageError, "the data is a bytes"),
    "class": (Loader, UsageError, "the data is the class Loader"),
    "empty list": ([], UsageError, "the data is an empty list"),
    "session": (object(), UsageError, "names no samples"),
    "used generator": (iter(()), DataError, "gave no samples"),
    "texts": (["a.png", "b.png"], DataError, "item 0 of the list is a str, which is no array of numbers"),
    "none": ([None], DataError, "item 0 of the list is None"),
    "shape": (
        [X[0], X[0, :, :3]],
        DataError,
        r"item 1 of the list has shape 2x3x4, but input 'x' takes \?x2x4x4",
    ),
    "names": ([{"image": X}], DataError, "has nothing for input 'x'; it has 'image'"),
    "parts": ([(X, Y, Y)], DataError, "item 0 of the list has 3 parts, but the model has 1 input: 'x'"),
    "labels stop": ([(X, Y), X], DataError, "item 1 of the list has no labels, unlike the items before"),
    "one-hot": ([(X, np.eye(6))], DataError, "the labels of item 0 of the list have shape 6x6"),
    "types": ([X[0], X[0].astype(np.float64)], DataError, "is float32 and float64"),
    "nan": ([X[0], X[0] * np.nan], DataError, "NaN"),
    "ragged": ([[[1.0, 2.0], [3.0]]], DataError, "item 0 of the list"),
    "raises": (broken(), DataError, "the generator failed: RuntimeError: the disk is gone"),
    "dict of text": ({"x": "photos/"}, DataError, "'x' of the data is a str"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_fit_is_said_in_a_sentence(ports: list[Port], kind: str) -> None:
    given, error, text = WRONG[kind]
    with pytest.raises(error, match=text) as caught:
        list(open_samples(given, ports))
    assert "\n" not in str(caught.value)


def test_transform_is_refused_where_nothing_is_iterated(ports: list[Port]) -> None:
    with pytest.raises(UsageError, match="transform= has nothing to do for a dict"):
        open_samples({"x": X}, ports, transform=lambda item: item)
    with pytest.raises(DataError, match="transform failed for item 0 of the list: KeyError: 'image'"):
        open_samples([{"x": X}], ports, transform=lambda item: item["image"])
