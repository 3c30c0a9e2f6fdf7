"""Annotation files that belong to images by name: COCO, YOLO text files, mask images."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from graphopt.data.ground_truth.boxes import Boxes, Find, Truth
from graphopt.data.preprocess.geometry import Placement
from graphopt.data.samples import Samples
from graphopt.errors import DataError

IGNORED = 255  # the class of pixels that nobody judges
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")


def coco_boxes(path: Path, samples: Samples) -> Truth:
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
        boxes = items[keys[row]]
        return Boxes.of([box for box, _ in boxes], [crowd for _, crowd in boxes]).placed(place)

    return Truth(str(path), find, names)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}", hint="check the file") from error


def _by_name(items: Mapping[str, Any], samples: Samples, where: Path) -> list[str]:
    """For each row of the samples its name among ``items``: the same path, else the same file name."""
    by_base = {PurePosixPath(name).name: name for name in items}
    matches = []
    for name in samples.feeder.names:
        text = str(name)
        match = text if text in items else by_base.get(PurePosixPath(text).name)
        if match is None:
            raise DataError(f"{where} says nothing of {text}", hint="give the labels of these samples")
        matches.append(match)
    return matches


def yolo_boxes(folder: Path, samples: Samples) -> Find:
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


def mask_files(folder: Path, samples: Samples) -> Find:
    """Images named like the samples whose pixels, or palette numbers, are classes."""
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
    files = []
    for name in samples.feeder.names:
        plain = str(PurePosixPath(str(name)).with_suffix(""))
        path = by_path.get(plain, by_stem.get(PurePosixPath(plain).name))
        if path is None and required:
            raise DataError(f"{folder} has no file for {name}", hint=f"name it {plain}{suffixes[0]}")
        files.append(path)
    if not any(files):
        raise DataError(f"{folder} has no {suffixes[0]} file for any of the samples")
    return files
