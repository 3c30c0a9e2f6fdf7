"""Samples from arrays: ``.npz``, ``.npy`` and arrays in memory, matched to the model's inputs by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt.data.feeder import Row, content_key
from graphopt.data.labels import label_array
from graphopt.data.ports import Batching, Dims
from graphopt.data.preprocess.config import Preprocess
from graphopt.data.sources.columns import Column, fit
from graphopt.data.sources.rows import Rows
from graphopt.errors import DataError
from graphopt.util.text import did_you_mean

if TYPE_CHECKING:
    from graphopt.ir import Port

LABELS = "labels"


@dataclass(frozen=True, eq=False)
class ArrayFeeder:
    """Rows of one array for each input, all of the same length."""

    columns: tuple[Column, ...]
    names: range
    labels: np.ndarray | None

    def read(self, rows: np.ndarray) -> Iterator[Row]:
        """Yield `rows` as feeds in ascending order."""
        constants = {c.input: c.constant for c in self.columns if c.constant is not None}
        varying = [column for column in self.columns if column.constant is None]
        for index, raw in self._raw(rows):
            feeds = {
                column.input: column.to_feed(row, f"row {index} of {column.rows.where}")
                for column, row in zip(varying, raw, strict=True)
            }
            places = [column.placement(row) for column, row in zip(varying, raw, strict=True)]
            placed = next((place for place in places if place is not None), None)
            yield Row(index, {**constants, **feeds}, placed)

    def keys(self, rows: np.ndarray) -> Iterator[str]:
        """Yield the content hashes of `rows`."""
        return (content_key(*raw) for _, raw in self._raw(rows))

    def _raw(self, rows: np.ndarray) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
        order = [int(row) for row in np.sort(rows)]
        streams = [column.rows.read(order) for column in self.columns if column.constant is None]
        yield from zip(order, zip(*streams, strict=True) if streams else ((),) * len(order), strict=True)


def array_feeder(
    arrays: Mapping[str, Rows],
    names: Sequence[str],
    ports: Sequence[Port],
    dims: Mapping[str, Dims | None],
    batches: Batching,
    recipe: Preprocess | None,
    where: str,
) -> ArrayFeeder:
    """Match arrays to inputs and fit each; raises DataError naming what is missing or does not fit."""
    chosen, labels = match(arrays, names, [port.name for port in ports], where)
    columns = tuple(
        fit(port, dims[port.name], port.name in batches.inputs, rows, recipe)
        for port, rows in zip(ports, chosen, strict=True)
    )
    count = _row_count(columns, where)
    return ArrayFeeder(
        columns,
        range(count),
        None if labels is None else label_array(labels, count),
    )


def match(
    arrays: Mapping[str, Rows], names: Sequence[str], inputs: Sequence[str], where: str
) -> tuple[list[Rows], Rows | None]:
    """Find an array for each input, and the labels: by names after ``#``, by input name, or the only one."""
    if names:
        return _match_named(arrays, names, inputs, where)
    labels = arrays.get(LABELS) if LABELS not in inputs else None
    candidates = [name for name in arrays if name in inputs or name != LABELS]
    if len(inputs) == 1 and len(candidates) == 1:
        return [arrays[candidates[0]]], labels
    missing = [name for name in inputs if name not in arrays]
    if missing:
        raise DataError(
            f"{where} has no array for input '{missing[0]}'; it has {_listed(arrays)}",
            hint=f"name arrays like the inputs ({_listed(inputs)}), or pick them as {where}#x,y",
        )
    return [arrays[name] for name in inputs], labels


def _match_named(
    arrays: Mapping[str, Rows], names: Sequence[str], inputs: Sequence[str], where: str
) -> tuple[list[Rows], Rows | None]:
    for name in names:
        if name not in arrays:
            raise DataError(
                f"{where} has no array '{name}'; it has {_listed(arrays)}",
                hint=did_you_mean(name, arrays, "name one of these after the #"),
            )
    if not len(inputs) <= len(names) <= len(inputs) + 1:
        raise DataError(
            f"{len(names)} arrays are named after the # of {where}, but the model has {len(inputs)} inputs "
            f"({_listed(inputs)})",
            hint="name one array for each input, then the labels if there are any",
        )
    by_name = set(inputs) <= set(names)
    order = list(inputs) if by_name else list(names[: len(inputs)])
    rest = [name for name in names if name not in order]
    return [arrays[name] for name in order], arrays[rest[0]] if rest else None


def _row_count(columns: Sequence[Column], where: str) -> int:
    counts = {column.input: column.rows.shape[0] for column in columns if column.constant is None}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} for '{name}'" for name, count in counts.items())
        raise DataError(
            f"{where} has different numbers of samples: {listed}", hint="give each input as many rows"
        )
    count = next(iter(counts.values()), 1)
    if count == 0:
        raise DataError(f"{where} has no samples: its arrays are empty", hint="give at least one row")
    return count


def _listed(names: Sequence[str] | Mapping[str, Rows]) -> str:
    shown = [f"'{name}'" for name in names]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
