"""Samples on disk for a trainer: split into training and validation, one array file for each graph input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphopt.errors import DataError, OutputError

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

FEWEST = (
    4  # noise: samples, or batches of a fixed size; a part of them judges, and one would judge by one answer
)


@dataclass(frozen=True)
class Split:
    """Which samples train and which judge; ``batch`` rows go together, ``group`` of them in one sample."""

    train: np.ndarray
    validation: np.ndarray
    batch: int
    group: int = 1


def split(samples: Samples, batch: int, fraction: float, rng: np.random.Generator) -> Split:
    """Draw a validation set of whole batches; with few samples the batch gets smaller.

    Raises DataError when there are too few samples for both.
    """
    count, group = len(samples), samples.group
    if count < FEWEST:
        raise DataError(
            f"distill needs at least {FEWEST} samples, and {samples.source} has {count}",
            hint="give more samples",
        )
    each = batch  # samples that go together
    if samples.batch is not None:  # the model insists on it
        each = 1
    elif count < 4 * each:
        each = max(1, count // 8)
    order = rng.permutation(count)
    judges = min(max(1, round(count * fraction / each)) * each, count - each)
    judges = max(judges // each, 1) * each
    return Split(np.sort(order[judges:]), np.sort(order[:judges]), each * group, group)


@dataclass
class Store:
    """The inputs of all samples as memory-mapped arrays, in the order of ``names``, and their labels."""

    names: tuple[str, ...]
    train: list[np.ndarray]
    validation: list[np.ndarray]
    train_labels: np.ndarray | None
    validation_labels: np.ndarray | None


def write_inputs(folder: Path, samples: Samples, chosen: Split, ctx: Context) -> Store:
    """Write the inputs of all samples into ``folder``; float inputs as float32.

    Raises DataError for values that are not numbers and for samples whose sizes differ.
    """
    first = next(iter(samples)).feeds
    names = tuple(first)
    counts = {"train": len(chosen.train), "val": len(chosen.validation)}
    arrays = {
        part: [
            create(
                folder / part / f"{number}.npy", (count * chosen.group, *first[name].shape[1:]), first[name]
            )
            for number, name in enumerate(names)
        ]
        for part, count in counts.items()
    }
    places = {int(row): ("train", place) for place, row in enumerate(chosen.train)}
    places |= {int(row): ("val", place) for place, row in enumerate(chosen.validation)}
    labels: dict[str, list[list[int]]] = {part: [[] for _ in range(count)] for part, count in counts.items()}
    for row, sample in enumerate(ctx.progress("distill: reading samples", samples, len(samples))):
        part, place = places[row]
        where = f"sample {samples.feeder.names[sample.rows[0]]}"
        for array, name in zip(arrays[part], names, strict=True):
            _put(array, place, chosen.group, sample.feeds[name], name, where)
        labels[part][place] = list(sample.labels or ())
    return Store(
        names,
        arrays["train"],
        arrays["val"],
        _flat(labels["train"], samples),
        _flat(labels["val"], samples),
    )


def create(path: Path, shape: Sequence[int], like: np.ndarray) -> np.ndarray:
    """A new array file, mapped; OutputError when the disk has no room for it."""
    dtype = np.dtype(np.float32) if like.dtype.kind == "f" else like.dtype
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _require_room(path.parent, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=tuple(shape))
    except OSError as error:
        raise no_room(path, error) from error


def no_room(path: Path, error: OSError) -> OutputError:
    """The error for a job folder that cannot be written."""
    return OutputError(
        f"the training job cannot be written to {path}: {error.strerror or error}",
        hint="free some space, name another folder with --cache, or take fewer samples",
    )


def _require_room(folder: Path, size: int) -> None:
    """Look before writing: a mapped file that meets a full disk kills the process."""
    import errno
    import shutil

    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, f"{size / 1e6:.0f} MB are needed")


def _put(array: np.ndarray, place: int, group: int, feed: np.ndarray, name: str, sample: str) -> None:
    rows = array[place * group : (place + 1) * group]
    if feed.shape != rows.shape:
        raise DataError(
            f"the samples differ in shape: {name} is {_times(feed.shape[1:])} in {sample} and "
            f"{_times(rows.shape[1:])} in the first",
            hint="give a size to --preprocess: training takes samples of one size",
        )
    if feed.dtype.kind == "f" and not np.isfinite(feed).all():
        raise DataError(f"{sample} holds NaN or infinity in {name}", hint="fix or leave out that sample")
    rows[...] = feed


def _flat(labels: list[list[int]], samples: Samples) -> np.ndarray | None:
    if not samples.labelled:
        return None
    return np.asarray([label for row in labels for label in row], np.int64)


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a number"
