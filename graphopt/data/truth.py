"""What is right for each sample of a detector or a segmenter: boxes and masks beside the images.

Boxes come from an array (N, M, 5) of class, left, top, right, bottom in pixels (class -1: unused), from a
COCO annotation file or from a folder of YOLO text files; masks from an array (N, H, W) of classes or from a
folder of images.  Files belong to images by name, arrays to arrays by row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from graphopt.data.placement import Placement
from graphopt.data.rows import Rows, open_npy, open_npz, read_all
from graphopt.data.samples import Sample, Samples
from graphopt.data.spec import exists, parse_spec
from graphopt.errors import DataError

IGNORED = 255  # the class of pixels that nobody judges
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Boxes:
    """Items of one image: ``corners`` (N, 4) left, top, right, bottom; ``classes`` (N,); ``crowd`` (N,) bool.

    A crowd is a region of many items that a detector may or may not find (COCO's ``iscrowd``).
    """

    corners: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray

    @staticmethod
    def of(rows: Sequence[Sequence[float]] | np.ndarray, crowd: Sequence[bool] | None = None) -> Boxes:
        """Boxes from rows class, left, top, right, bottom."""
        table = np.asarray(rows, np.float64).reshape(-1, 5)
        marks = np.zeros(len(table), bool) if crowd is None else np.asarray(crowd, bool)
        return Boxes(table[:, 1:], table[:, 0].astype(np.int64), marks)

    def placed(self, place: Placement | None) -> Boxes:
        """The boxes in pixels of the feed; those that are cut away entirely are left out."""
        if place is None:
            return self
        corners = place.boxes(self.corners)
        seen = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
        return Boxes(corners[seen], self.classes[seen], self.crowd[seen])


Find = Callable[[int, "Placement | None"], Any]


@dataclass(frozen=True)
class Truth:
    """Finds what is right for a sample: boxes or a mask for each of its rows, in pixels of the feed."""

    source: str
    find: Find
    names: tuple[str, ...] = ()  # of the classes, where the source has them

    def of(self, sample: Sample) -> list[Any]:
        """One entry for each row of the sample."""
        return [self.find(row, place) for row, place in zip(sample.rows, sample.placements, strict=True)]


def load_boxes(spec: str, samples: Samples) -> Truth:
    """Open the boxes that belong to ``samples``; raises DataError for what cannot be read or does not fit."""
    path, rows = _open(spec, samples)
    if rows is not None:
        if len(rows.shape) != 3 or rows.shape[2] != 5:
            raise DataError(
                f"{rows.where} has shape {rows.shape}, but boxes are (samples, items, 5)",
                hint="a row is class, left, top, right, bottom in pixels; class -1 where there is none",
            )
        table = read_all(rows)
        return Truth(str(spec), lambda row, place: _from_table(table[row]).placed(place))
    if path.suffix.lower() == ".json":
        return _coco(path, samples)
    if path.is_dir():
        return Truth(str(spec), _yolo_finder(path, samples))
    raise DataError(
        f"{path} holds no boxes", hint="give a COCO .json, a folder of YOLO .txt files, or an .npz#array"
    )


def load_masks(spec: str, samples: Samples) -> Truth:
    """Open the masks that belong to ``samples``; raises DataError for what cannot be read or does not fit."""
    path, rows = _open(spec, samples)
    if rows is not None:
        if len(rows.shape) != 3 or rows.dtype.kind not in "iu":
            raise DataError(
                f"{rows.where} has shape {rows.shape} and type {rows.dtype}, but masks are (samples, H, W)",
                hint="give whole numbers: the class of each pixel, 255 where nobody judges",
            )
        return Truth(str(spec), _Ordered(rows, samples).find)
    if path.is_dir():
        return Truth(str(spec), _mask_finder(path, samples))
    raise DataError(f"{path} holds no masks", hint="give a folder of .png files or an .npz#array")


def _open(spec: str, samples: Samples) -> tuple[Path, Rows | None]:
    """The path of the truth and, where it is an array, its rows: one for each row of the samples."""
    parsed = parse_spec(spec)
    path = parsed.path
    if not exists(path):
        raise DataError(f"there is no file or folder {path}", hint="check the path of the labels")
    if path.suffix.lower() == ".npy":
        rows: Rows | None = open_npy(path)
    elif path.suffix.lower() == ".npz":
        arrays = open_npz(path)
        name = parsed.names[0] if parsed.names else next(iter(arrays)) if len(arrays) == 1 else ""
        if name not in arrays:
            raise DataError(f"{path} has the arrays {', '.join(arrays)}", hint=f"name one: {path.name}#boxes")
        rows = arrays[name]
    else:
        return path, None
    count = len(samples.feeder.names)
    if rows is not None and rows.shape[:1] != (count,):
        raise DataError(
            f"{rows.where} has {rows.shape[0] if rows.shape else 1} rows, but {samples.source} has {count}",
            hint="give the labels of the same data, all of them: slices apply to both",
        )
    return path, rows


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


def _coco(path: Path, samples: Samples) -> Truth:
    """Read a COCO annotation file; classes are its categories in the order of their ids."""
    document = _json(path)
    try:
        order = sorted(document["categories"], key=lambda entry: int(entry["id"]))
        number = {int(entry["id"]): index for index, entry in enumerate(order)}
        files = {entry["id"]: str(entry["file_name"]) for entry in document["images"]}
        items: dict[str, list[tuple[list[float], bool]]] = {name: [] for name in files.values()}
        for entry in document["annotations"]:
            left, top, width, height = (float(value) for value in entry["bbox"])
            box = [number[int(entry["category_id"])], left, top, left + width, top + height]
            items[files[entry["image_id"]]].append((box, bool(entry.get("iscrowd", 0))))
        names = tuple(str(entry.get("name", entry["id"])) for entry in order)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a COCO annotation file: {error!r}", hint="see its images") from error
    keys = _by_name(items, samples, path)

    def find(row: int, place: Placement | None) -> Boxes:
        found = items[keys[row]]
        return Boxes.of([box for box, _ in found], [crowd for _, crowd in found]).placed(place)

    return Truth(str(path), find, names)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}", hint="check the file") from error


def _by_name(items: Mapping[str, Any], samples: Samples, where: Path) -> list[str]:
    """For each row of the samples its name among ``items``: the same path, else the same file name."""
    by_base = {PurePosixPath(name).name: name for name in items}
    found = []
    for name in samples.feeder.names:
        text = str(name)
        match = text if text in items else by_base.get(PurePosixPath(text).name)
        if match is None:
            raise DataError(f"{where} says nothing of {text}", hint="give the labels of these samples")
        found.append(match)
    return found


def _yolo_finder(folder: Path, samples: Samples) -> Find:
    """Text files beside or instead of the images: class, then centre and size as fractions of the image."""
    files = _files(folder, (".txt",), samples, required=False)

    def find(row: int, place: Placement | None) -> Boxes:
        if place is None:
            raise DataError(f"{folder} gives fractions of images, but the samples are no images")
        path = files[row]
        lines = [] if path is None else path.read_text(encoding="utf-8").splitlines()
        height, width = place.image
        return Boxes.of([_yolo_box(line, width, height, path) for line in lines if line.strip()]).placed(
            place
        )

    return find


def _yolo_box(line: str, width: int, height: int, path: Path | None) -> list[float]:
    try:
        number, x, y, across, down = (float(value) for value in line.split()[:5])
    except ValueError as error:
        raise DataError(f"{path}: '{line[:60]}' is not 'class x y width height'") from error
    if not all(map(math.isfinite, (number, x, y, across, down))):
        raise DataError(f"{path}: '{line[:60]}' is not five finite numbers")
    left, top = (x - across / 2) * width, (y - down / 2) * height
    return [number, left, top, left + across * width, top + down * height]


def _mask_finder(folder: Path, samples: Samples) -> Find:
    files = _files(folder, MASK_SUFFIXES, samples, required=True)

    def find(row: int, place: Placement | None) -> np.ndarray:
        mask = _read_mask(files[row])
        return mask if place is None else place.mask(mask, IGNORED)

    return find


def _read_mask(path: Path | None) -> np.ndarray:
    """The pixel values of an image; of a palette image the numbers of its colours."""
    from PIL import Image, UnidentifiedImageError

    assert path is not None
    try:
        with Image.open(path) as image:
            mask = np.asarray(image if image.mode in ("P", "L", "I;16", "I", "1") else image.convert("L"))
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a mask: {error}", hint="replace the file") from error
    return mask.astype(np.int64)


def _files(folder: Path, suffixes: tuple[str, ...], samples: Samples, *, required: bool) -> list[Path | None]:
    """For each row of the samples the file of ``folder`` that has its name, whatever the suffix."""
    by_path = {
        str(path.relative_to(folder).with_suffix("")): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes
    }
    by_stem = {Path(name).name: path for name, path in by_path.items()}
    found = []
    for name in samples.feeder.names:
        plain = str(PurePosixPath(str(name)).with_suffix(""))
        path = by_path.get(plain, by_stem.get(PurePosixPath(plain).name))
        if path is None and required:
            raise DataError(f"{folder} has no file for {name}", hint=f"name it {plain}{suffixes[0]}")
        found.append(path)
    if not any(found):
        raise DataError(f"{folder} has no {suffixes[0]} file for any of the samples")
    return found
