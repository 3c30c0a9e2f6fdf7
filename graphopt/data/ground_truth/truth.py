"""What is right for each sample of a detector or a segmenter: boxes and masks beside the images.

Boxes come from an array (N, M, 5) of class, left, top, right, bottom in pixels (class -1: unused), from a
COCO annotation file or from a folder of YOLO text files; masks from an array (N, H, W) of classes or from a
folder of images.  Files belong to images by name, arrays to arrays by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.data.ground_truth.annotations import IGNORED, coco_boxes, mask_files, yolo_boxes
from graphopt.data.ground_truth.boxes import Boxes, Truth
from graphopt.data.preprocess.geometry import Placement
from graphopt.data.remote_path import RemotePath
from graphopt.data.samples import Samples
from graphopt.data.sources.rows import ArrayRows, Rows, open_npy, open_npz, read_all
from graphopt.data.spec import exists, parse_spec
from graphopt.errors import DataError

__all__ = ["IGNORED", "Boxes", "Truth", "load_boxes", "load_masks", "load_rows"]


def load_boxes(spec: Any, samples: Samples) -> Truth:
    """Open the boxes that belong to ``samples``; raises DataError for what cannot be read or does not fit."""
    path, rows = _open(spec, samples)
    if rows is not None:
        if len(rows.shape) != 3 or rows.shape[2] != 5:
            raise DataError(
                f"{rows.where} has shape {rows.shape}, but boxes are (samples, items, 5)",
                hint="a row is class, left, top, right, bottom in pixels; class -1 where there is none",
            )
        table = read_all(rows)
        return Truth(_title(spec), lambda row, place: _from_table(table[row]).placed(place))
    if path.suffix.lower() == ".json":
        return coco_boxes(path, samples)
    if path.is_dir():
        return Truth(_title(spec), yolo_boxes(path, samples))
    raise DataError(
        f"{path} holds no boxes", hint="give a COCO .json, a folder of YOLO .txt files, or an .npz#array"
    )


def load_masks(spec: Any, samples: Samples) -> Truth:
    """Open the masks that belong to ``samples``; raises DataError for what cannot be read or does not fit."""
    path, rows = _open(spec, samples)
    if rows is not None:
        if len(rows.shape) != 3 or rows.dtype.kind not in "iu":
            raise DataError(
                f"{rows.where} has shape {rows.shape} and type {rows.dtype}, but masks are (samples, H, W)",
                hint="give whole numbers: the class of each pixel, 255 for pixels that do not count",
            )
        return Truth(_title(spec), _Ordered(rows, samples).find)
    if path.is_dir():
        return Truth(_title(spec), mask_files(path, samples))
    raise DataError(f"{path} holds no masks", hint="give a folder of .png files or an .npz#array")


def load_rows(spec: Any, samples: Samples) -> Truth:
    """Open an array with a row of any shape for each of ``samples``; raises DataError when there is none."""
    path, rows = _open(spec, samples)
    if rows is None:
        raise DataError(f"{path} holds no array", hint="give an .npz#array or .npy, a row for each sample")
    table = read_all(rows)
    return Truth(_title(spec), lambda row, place: table[row])


def _title(spec: Any) -> str:
    return spec if isinstance(spec, str) else "the labels"


def _open(spec: Any, samples: Samples) -> tuple[Path, Rows | None]:
    """The path of the truth and, where it is an array, its rows: one for each row of the samples."""
    if not isinstance(spec, str):
        return Path("labels"), _checked(ArrayRows("the array of labels", np.asarray(spec)), samples)
    parsed = parse_spec(spec)
    path = parsed.path
    if isinstance(path, RemotePath):
        raise DataError(f"labels are read from files here, not from {path}", hint="copy that file")
    if not exists(path):
        raise DataError(f"there is no file or folder {path}", hint="check the path of the labels")
    if path.suffix.lower() == ".npy":
        rows = open_npy(path)
    elif path.suffix.lower() == ".npz":
        arrays = open_npz(path)
        name = parsed.names[0] if parsed.names else next(iter(arrays)) if len(arrays) == 1 else ""
        if name not in arrays:
            raise DataError(f"{path} has the arrays {', '.join(arrays)}", hint=f"name one: {path.name}#boxes")
        rows = arrays[name]
    else:
        return path, None
    return path, _checked(rows, samples)


def _checked(rows: Rows, samples: Samples) -> Rows:
    count = len(samples.feeder.names)
    if rows.shape[:1] != (count,):
        raise DataError(
            f"{rows.where} has {rows.shape[0] if rows.shape else 1} rows, but {samples.source} has {count}",
            hint="give the labels of the same data, all of them: slices apply to both",
        )
    return rows


def _from_table(table: np.ndarray) -> Boxes:
    return Boxes.of(table[table[:, 0] >= 0])


class _Ordered:
    """Masks of an array that are asked for in ascending order, as samples come, and so read in one pass."""

    def __init__(self, rows: Rows, samples: Samples) -> None:
        self._rows = rows
        self._wanted = sorted(int(row) for row in samples.rows)
        self._stream: Iterator[tuple[int, np.ndarray]] = iter(())

    def find(self, row: int, place: Placement | None) -> np.ndarray:
        at, mask = next(self._stream, (-1, np.zeros((0, 0))))
        if at != row:
            rest = [other for other in self._wanted if other >= row]
            self._stream = zip(rest, self._rows.read(rest), strict=True)
            _, mask = next(self._stream)
        return mask if place is None else place.mask(mask, IGNORED)
