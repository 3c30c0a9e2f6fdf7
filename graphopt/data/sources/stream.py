"""Rows from what Python code iterates: data loaders, data sets, generators, lists, calibration readers.

It is gone through once, because a loader that shuffles gives another order each time; what came is kept in
memory, and beyond that in a file without a name.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from graphopt.data.ports import IMAGE_CHANNELS, Batching, Dims, fits, looks_like_images, shape_text
from graphopt.data.sources.rows import ArrayRows, Rows
from graphopt.errors import DataError
from graphopt.util.text import described, did_you_mean

if TYPE_CHECKING:
    from graphopt.ir import Port

IN_MEMORY = 2**28  # memory: bytes of rows of one input; more of them go into a file
LABEL_KEYS = ("labels", "label")


def as_array(value: Any, where: str) -> np.ndarray:
    """An array of what holds numbers: numpy, torch, paddle and other tensors, images, numbers, lists of them.

    Raises DataError for anything else.
    """
    if isinstance(value, np.ndarray):
        array = value
    else:
        if callable(detach := getattr(value, "detach", None)):  # a tensor of torch or paddle, on any device
            value = detach()
        if callable(cpu := getattr(value, "cpu", None)):
            value = cpu()
        try:
            array = value.numpy() if callable(getattr(value, "numpy", None)) else np.asarray(value)
        except Exception as error:  # whatever a foreign tensor raises, and lists of unequal length
            raise DataError(
                f"{where} is no array: {' '.join(str(error).split()) or type(error).__name__}",
                hint="give numpy arrays, or transform=, a function that makes them",
            ) from error
        array = np.asarray(array)
    if array.dtype.kind in "OUSmM" or array.dtype.names:
        raise DataError(
            f"{where} is {described(value)}, which is no array of numbers",
            hint="give transform=, a function that turns an item into the model's inputs",
        )
    return array


def items_of(source: Any) -> Iterator[Any]:
    """Whatever ``source`` yields: an iterable, a data set with a length and numbers, a calibration reader."""
    if callable(read := getattr(source, "get_next", None)):
        return iter(read, None)
    if not hasattr(source, "__iter__") and hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        return (source[number] for number in range(len(source)))
    return iter(source)


def read_items(
    source: Any,
    ports: Sequence[Port],
    dims: Mapping[str, Dims | None],
    batches: Batching,
    transform: Callable[[Any], Any] | None,
    where: str,
) -> tuple[dict[str, Rows], list[str]]:
    """Go through ``source`` once: the rows of each input, of ``labels`` where items have them, and warnings.

    An item is a feed by input name, one array, or a sequence of the inputs in order, each a row or a batch
    of rows; the labels come last, or under ``labels``.  ``transform`` makes such an item of what is yielded.
    Raises DataError that names the first item that does not fit.
    """
    reader = _Reader(ports, dims, batches, where)
    room = shutil.disk_usage(tempfile.gettempdir()).free // 2
    warnings: list[str] = []
    for number, item in enumerate(_guarded(source, where)):
        if reader.size > room:
            warnings.append(f"{where} is used as far as half of the free disk holds it: {reader.count} rows")
            break
        reader.add(number, item if transform is None else _transformed(transform, item, number, where))
    if reader.count == 0:
        hint = "a generator or a reader can be gone through once: make a new one"
        raise DataError(f"{where} gave no samples", hint=hint)
    return reader.rows(), warnings


def _guarded(source: Any, where: str) -> Iterator[Any]:
    """The items; what the user's code raises becomes a sentence."""
    try:
        yield from items_of(source)
    except DataError:
        raise
    except Exception as error:  # whatever the user's code does
        raise DataError(f"{where} failed: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _transformed(transform: Callable[[Any], Any], item: Any, number: int, where: str) -> Any:
    try:
        return transform(item)
    except Exception as error:  # whatever the user's function does
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise DataError(f"transform failed for item {number} of {where}: {text}") from error


class _Reader:
    """Takes items in and sorts their arrays by input."""

    def __init__(
        self, ports: Sequence[Port], dims: Mapping[str, Dims | None], batches: Batching, where: str
    ) -> None:
        self._ports, self._dims, self._batches, self._where = ports, dims, batches, where
        self._stacks = {port.name: _Stack(f"input '{port.name}' of {where}") for port in ports}
        self._labels: list[np.ndarray] = []
        self.count = 0

    @property
    def size(self) -> int:
        """Bytes that were kept."""
        return sum(stack.size for stack in self._stacks.values())

    def add(self, number: int, item: Any) -> None:
        """Take one item in."""
        where = f"item {number} of {self._where}"
        values, labels = self._split(item, where)
        arrays = {name: as_array(value, f"input '{name}' in {where}") for name, value in values.items()}
        rows = {port.name: self._rows(port, arrays[port.name], where) for port in self._ports}
        counts = {len(column) for name, column in rows.items() if name in self._batches.inputs} or {1}
        if len(counts) > 1:
            listed = ", ".join(f"{len(column)} for '{name}'" for name, column in rows.items())
            raise DataError(f"{where} has different numbers of rows: {listed}")
        count = counts.pop()
        for name, column in rows.items():
            for row in column if name in self._batches.inputs else [column[0]] * count:
                self._stacks[name].add(row)
        if labels is not None:
            self._take_labels(as_array(labels, f"the labels of {where}"), count, where)
        if self._labels and len(self._labels) != number + 1:
            raise DataError(f"{where} has {'no ' if labels is None else ''}labels, unlike the items before")
        self.count += count

    def rows(self) -> dict[str, Rows]:
        """The rows of each input, and the labels."""
        columns: dict[str, Rows] = {name: stack.rows() for name, stack in self._stacks.items()}
        if self._labels:
            columns["labels"] = ArrayRows(f"the labels of {self._where}", np.concatenate(self._labels))
        return columns

    def _split(self, item: Any, where: str) -> tuple[dict[str, Any], Any]:
        """The value of each input, and the labels or None."""
        names = [port.name for port in self._ports]
        if isinstance(item, Mapping):
            return self._named(item, names, where)
        if not isinstance(item, (tuple, list)) or _is_numbers(item):
            if len(names) != 1:
                raise DataError(
                    f"{where} is {described(item)}, but the model has {len(names)} inputs: {_listed(names)}",
                    hint="give a dict of arrays by input name, or transform=, a function that makes one",
                )
            return {names[0]: item}, None
        if len(item) == 2 and isinstance(item[0], (Mapping, tuple, list)) and not _is_numbers(item[0]):
            values, inner = self._split(item[0], where)
            return values, item[1] if inner is None else inner
        if not len(names) <= len(item) <= len(names) + 1:
            raise DataError(
                f"{where} has {len(item)} parts, but the model has {len(names)} "
                f"input{'s' if len(names) > 1 else ''}: {_listed(names)}",
                hint="give the inputs in order, then the labels if there are any, or transform=",
            )
        return dict(zip(names, item, strict=False)), item[len(names)] if len(item) > len(names) else None

    def _named(self, item: Mapping[Any, Any], names: Sequence[str], where: str) -> tuple[dict[str, Any], Any]:
        missing = [name for name in names if name not in item]
        if missing:
            keys = [str(key) for key in item]
            raise DataError(
                f"{where} has nothing for input '{missing[0]}'; it has {_listed(keys)}",
                hint=did_you_mean(missing[0], keys, "name its entries like the inputs, or give transform="),
            )
        labels = next((item[key] for key in LABEL_KEYS if key in item and key not in names), None)
        return {name: item[name] for name in names}, labels

    def _rows(self, port: Port, array: np.ndarray, where: str) -> list[np.ndarray]:
        """The rows of one array: its entries where it has a batch axis, else itself."""
        dims = self._dims[port.name]
        batched = port.name in self._batches.inputs
        if array.dtype == np.uint8 and looks_like_images(dims):  # of any size, with or without channels
            return list(array) if array.ndim == 4 or _is_grey_batch(array) else [array]
        if dims is None:
            return list(array) if array.ndim else [array]
        rest = dims[1:] if batched else dims
        if fits(array.shape, rest):
            return [array]
        if batched and array.ndim == len(dims) and fits(array.shape[1:], rest):
            return list(array)
        raise DataError(
            f"{where} has shape {shape_text(array.shape)}, but input '{port.name}' takes {shape_text(dims)}",
            hint="give rows or batches of rows of that shape, or transform=, a function that makes them",
        )

    def _take_labels(self, labels: np.ndarray, count: int, where: str) -> None:
        if labels.size != count:
            raise DataError(
                f"the labels of {where} have shape {shape_text(labels.shape)}, but it has {count} "
                f"sample{'s' if count > 1 else ''}",
                hint="give class numbers; boxes, masks and other labels go into labels=, an array of rows",
            )
        self._labels.append(labels.reshape(-1))


@dataclass
class _Stack:
    """The rows of one input, in memory or in a file."""

    where: str
    size: int = 0
    _arrays: list[np.ndarray] = field(default_factory=list)
    _file: IO[bytes] | None = None
    _places: list[tuple[int, np.dtype, tuple[int, ...]]] = field(default_factory=list)

    def add(self, row: np.ndarray) -> None:
        """Keep a row; a copy, because loaders use their memory again."""
        if self.size + row.nbytes <= IN_MEMORY and self._file is None:
            self._arrays.append(row.copy())
        else:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="graphopt-")  # noqa: SIM115 (open as long as this)
            self._places.append((self._file.tell(), row.dtype, row.shape))
            self._file.write(np.ascontiguousarray(row).data)
        self.size += row.nbytes

    def rows(self) -> Rows:
        """What was kept, as rows."""
        shapes = {array.shape for array in self._arrays} | {shape for _, _, shape in self._places}
        dtypes = {array.dtype for array in self._arrays} | {dtype for _, dtype, _ in self._places}
        if len(dtypes) > 1:
            listed = " and ".join(sorted(map(str, dtypes)))
            raise DataError(f"{self.where} is {listed}", hint="give all samples the same type")
        if self._file is None and len(shapes) == 1:
            return ArrayRows(self.where, np.stack(self._arrays))
        if self._file is not None:
            self._file.flush()
        return KeptRows(self.where, dtypes.pop(), tuple(self._arrays), self._file, tuple(self._places))


@dataclass(frozen=True, eq=False)
class KeptRows:
    """Rows whose shapes may differ, the first ones in memory, the others in a file."""

    where: str
    dtype: np.dtype
    arrays: tuple[np.ndarray, ...]
    file: IO[bytes] | None
    places: tuple[tuple[int, np.dtype, tuple[int, ...]], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...) with the shape of the first row."""
        first = self.arrays[0].shape if self.arrays else self.places[0][2]
        return (len(self.arrays) + len(self.places), *first)

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield the rows of ``indices``."""
        for index in indices:
            if index < len(self.arrays):
                yield self.arrays[index]
                continue
            assert self.file is not None
            offset, dtype, shape = self.places[index - len(self.arrays)]
            empty = not all(shape)  # which cannot be mapped
            yield (
                np.empty(shape, dtype) if empty else np.array(np.memmap(self.file, dtype, "r", offset, shape))
            )


def _is_grey_batch(array: np.ndarray) -> bool:
    """Whether three axes are images without channels; with channels the first or the last axis has few."""
    return array.ndim == 3 and array.shape[0] not in IMAGE_CHANNELS and array.shape[2] not in IMAGE_CHANNELS


def _is_numbers(item: Iterable[Any]) -> bool:
    """Whether a list holds plain numbers: then it is an array, not a sequence of inputs."""
    return all(isinstance(value, (int, float, bool)) for value in item)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"
