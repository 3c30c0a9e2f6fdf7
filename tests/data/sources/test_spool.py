"""Images are prepared once, and come out of the temporary file as they went in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from graphopt.data import from_arrays, spooled
from graphopt.data.feeder import Row
from graphopt.data.sources.spool import Spool
from graphopt.ir import Port


@dataclass
class Counting:
    """Rows of two inputs, in reversed order, and how often each was prepared."""

    count: int = 6
    prepared: list[int] = field(default_factory=list)
    names: range = range(6)
    labels: np.ndarray | None = None

    def read(self, rows: np.ndarray) -> Iterator[Row]:
        for index in sorted(rows.tolist(), reverse=True):
            self.prepared.append(index)
            rng = np.random.default_rng(index)
            feeds = {
                "image": rng.standard_normal((1, 3, 2, index + 1), np.float32),
                "scale": np.full((1,), index, np.int64),
            }
            yield Row(index, feeds)

    def keys(self, rows: np.ndarray) -> Iterator[str]:
        return (f"key {index}" for index in rows)


def same(first: list[Row], second: list[Row]) -> None:
    assert [(row.index, row.placement) for row in first] == [(row.index, row.placement) for row in second]
    for one, two in zip(first, second, strict=True):
        assert one.feeds.keys() == two.feeds.keys()
        for name, feed in one.feeds.items():
            assert feed.dtype == two.feeds[name].dtype
            np.testing.assert_array_equal(feed, two.feeds[name])


def test_rows_are_prepared_once_and_come_back_as_they_were() -> None:
    inner = Counting()
    spool = Spool(inner)
    rows = np.array([4, 1, 3])
    first = list(spool.read(rows))
    assert inner.prepared == [4, 3, 1]
    same(first, list(spool.read(rows[::-1])))
    assert inner.prepared == [4, 3, 1]
    same(first, list(Counting().read(rows)))


def test_two_readers_at_once_do_not_disturb_each_other() -> None:
    spool = Spool(Counting())
    rows = np.arange(6)
    first = list(spool.read(rows))
    pairs = list(zip(spool.read(rows), spool.read(rows), strict=True))
    same(first, [one for one, _ in pairs])
    same(first, [two for _, two in pairs])


def test_a_walk_that_is_broken_off_is_not_taken_for_a_whole_one() -> None:
    spool = Spool(Counting())
    rows = np.arange(6)
    next(iter(spool.read(rows)))
    assert [row.index for row in spool.read(rows)] == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("limit", [100, 600])  # by the first row, and only by later and smaller ones
def test_beyond_the_limit_rows_are_prepared_anew(limit: int) -> None:
    inner = Counting()
    spool = Spool(inner, limit=limit)
    rows = np.arange(6)
    first = list(spool.read(rows))
    same(first, list(spool.read(rows)))
    assert len(inner.prepared) == 12


def test_nothing_is_written_that_would_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", pytest.fail)
    spool = Spool(Counting(), limit=400)
    assert len(list(spool.read(np.arange(6)))) == 6


def test_a_full_disk_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    inner = Counting()
    spool = Spool(inner)
    same(list(spool.read(np.arange(6))), list(spool.read(np.arange(6))))
    assert len(inner.prepared) == 12


def test_arrays_are_left_where_they_lie() -> None:
    port = Port("x", np.dtype(np.float32), (None, 1, 2, 2))
    samples = from_arrays({"x": np.zeros((3, 1, 2, 2), np.float32)}, [port])
    assert spooled(samples) is samples
