"""Class labels: integer arrays, a ``labels.csv`` beside images, or the names of class folders."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from graphopt.data.ports import shape_text
from graphopt.data.sources.rows import Rows, read_all
from graphopt.errors import DataError

TABLE = "labels.csv"
_SPLITS = frozenset(
    {"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval", "calib"}
)


def label_array(rows: Rows, count: int) -> np.ndarray:
    """Labels (count,) int64 from an array (N,) or (N, 1) of whole numbers.  Raises DataError otherwise."""
    if int(np.prod(rows.shape)) != count or rows.shape[:1] not in ((count,), (1,)):
        one_hot = len(rows.shape) == 2 and rows.shape[0] == count
        raise DataError(
            f"{rows.where} has shape {shape_text(rows.shape)}, but there are {count} samples to label",
            hint="turn one-hot labels into class numbers with argmax(1)"
            if one_hot
            else "give one label a sample",
        )
    values = read_all(rows).reshape(-1)
    with np.errstate(invalid="ignore"):
        labels = values.astype(np.int64)
    if not np.array_equal(labels, values):
        raise DataError(
            f"{rows.where} holds labels that are not whole numbers", hint="give class numbers from 0 up"
        )
    if labels.min() < 0:
        raise DataError(
            f"{rows.where} holds the label {labels.min()} for row {int(labels.argmin())}, which is below 0",
            hint="labels count from 0",
        )
    return labels


def image_labels(names: Sequence[str], tables: Mapping[str, bytes], where: str) -> np.ndarray | None:
    """Labels (N,) int64 of the images `names` (relative, with ``/``), or None when nothing labels them.

    `tables` maps the path of each ``labels.csv`` to its bytes.  Raises DataError for a table that cannot be
    read, contradicts itself or leaves images out.
    """
    if not tables:
        return _folder_labels(names)
    entries: dict[str, int] = {}
    for path in sorted(tables):
        for file, label in _table(tables[path], f"{where}/{path}"):
            full = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
            if entries.setdefault(full, label) != label:
                raise DataError(
                    f"{where}/{path} gives {file} two labels, {entries[full]} and {label}",
                    hint="keep one of them",
                )
    return _look_up(names, entries, where)


def _look_up(names: Sequence[str], entries: Mapping[str, int], where: str) -> np.ndarray:
    by_base: dict[str, set[int]] = {}
    for file, label in entries.items():
        by_base.setdefault(posixpath.basename(file), set()).add(label)
    labels = np.empty(len(names), np.int64)
    for index, name in enumerate(names):
        candidates = {entries[name]} if name in entries else by_base.get(posixpath.basename(name), set())
        if len(candidates) != 1:
            raise DataError(
                f"image {name} of {where} has "
                + ("no row in labels.csv" if not candidates else "only an ambiguous file name in labels.csv"),
                hint="give every image a row with its path relative to labels.csv",
            )
        labels[index] = next(iter(candidates))
    return labels


def _table(content: bytes, where: str) -> Iterator[tuple[str, int]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text: {error}", hint="save it as UTF-8") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    columns = [name.strip().lower() for name in reader.fieldnames or ()]
    if "file" not in columns or "label" not in columns:
        raise DataError(
            f"{where} has the columns {', '.join(columns) or '(none)'}, but needs file and label",
            hint="start it with the line file,label",
        )
    reader.fieldnames = columns
    try:
        for row in reader:
            yield (row["file"] or "").strip().replace("\\", "/"), _label(row["label"], where, reader.line_num)
    except csv.Error as error:
        raise DataError(
            f"{where} line {reader.line_num} cannot be read: {error}", hint="check its quotes"
        ) from error


def _label(text: str | None, where: str, line: int) -> int:
    value = (text or "").strip()
    if not value.isascii() or not value.isdigit():
        raise DataError(
            f"{where} line {line} has the label '{value}', which is not a class number",
            hint="labels count from 0",
        )
    return int(value)


def _folder_labels(names: Sequence[str]) -> np.ndarray | None:
    """The class of an image is the folder it lies in below what all images share.

    A first level made only of split names (train, test, ...) is passed over.  None when images also lie
    beside the folders or when there is only one folder.
    """
    folders = [name.split("/")[:-1] for name in names]
    depth = _shared_depth(folders)
    if all(len(parts) > depth and parts[depth].lower() in _SPLITS for parts in folders):
        depth += 1
    if any(len(parts) <= depth for parts in folders):
        return None
    classes = sorted({parts[depth] for parts in folders})
    if len(classes) < 2:
        return None
    number = {name: index for index, name in enumerate(classes)}
    return np.asarray([number[parts[depth]] for parts in folders], np.int64)


def _shared_depth(folders: Sequence[Sequence[str]]) -> int:
    depth = 0
    while all(len(parts) > depth for parts in folders) and len({parts[depth] for parts in folders}) == 1:
        depth += 1
    return depth
