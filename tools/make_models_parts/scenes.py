"""Scenes composed of Fashion-MNIST items: boxes and masks are known because the script places them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from make_models_parts.fashion import CLASSES, Bytes, Split

SIDE = 80  # pixels of a scene
MOST_ITEMS = 4
SMALLEST, LARGEST = 20, 36  # pixels of an item's longer side
VISIBLE = 24  # grey value from which a pixel belongs to the item
BACKGROUND = len(CLASSES)  # the class of pixels without an item
OVERLAP = 0.1  # of the smaller box; items that would cover each other more are placed anew
TRIES = 20


@dataclass(frozen=True)
class Scenes:
    """Grey images (N, 1, S, S), boxes (N, MOST_ITEMS, 5) and masks (N, S, S).

    A row of ``boxes`` is class, left, top, right, bottom in pixels (right and bottom exclusive); rows
    without an item are -1.  ``masks`` holds the class of each pixel.
    """

    images: Bytes
    boxes: NDArray[np.float32]
    masks: Bytes


def compose(split: Split, count: int, rng: np.random.Generator) -> Scenes:
    """Place up to ``MOST_ITEMS`` items of ``split`` on each of ``count`` plain backgrounds."""
    scenes = [_scene(split, rng) for _ in range(count)]
    images, boxes, masks = zip(*scenes, strict=True)
    return Scenes(np.stack(images)[:, None], np.stack(boxes), np.stack(masks))


def write_scenes(path: Path, calibration: Scenes, evaluation: Scenes) -> None:
    """Write unlabelled scenes to calibrate on, and scenes with boxes and masks to evaluate on."""
    np.savez_compressed(
        path,
        calibration=calibration.images,
        images=evaluation.images,
        boxes=evaluation.boxes,
        masks=evaluation.masks,
    )


def _scene(split: Split, rng: np.random.Generator) -> tuple[Bytes, NDArray[np.float32], Bytes]:
    image = np.full((SIDE, SIDE), rng.integers(0, 64), np.uint8)
    mask = np.full((SIDE, SIDE), BACKGROUND, np.uint8)
    boxes = np.full((MOST_ITEMS, 5), -1, np.float32)
    for number in range(int(rng.integers(1, MOST_ITEMS + 1))):
        chosen = int(rng.integers(len(split.images)))
        item = _resized(split.images[chosen, 0], int(rng.integers(SMALLEST, LARGEST + 1)))
        corner = _free_corner(item.shape, boxes[:number, 1:], rng)
        if corner is None:
            continue
        top, left = corner
        bottom, right = top + item.shape[0], left + item.shape[1]
        visible = item >= VISIBLE
        image[top:bottom, left:right][visible] = item[visible]
        mask[top:bottom, left:right][visible] = split.labels[chosen]
        boxes[number] = split.labels[chosen], left, top, right, bottom
    return image, boxes, mask


def _resized(item: Bytes, longest: int) -> Bytes:
    """The item without its black margin, its longer side scaled to ``longest`` pixels."""
    rows, columns = (np.flatnonzero((item >= VISIBLE).any(axis=axis)) for axis in (1, 0))
    cut = item[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = longest / max(cut.shape)
    height, width = (max(4, round(side * scale)) for side in cut.shape)
    return np.asarray(Image.fromarray(cut).resize((width, height), Image.Resampling.BILINEAR))


def _free_corner(
    shape: tuple[int, ...], taken: NDArray[np.float32], rng: np.random.Generator
) -> tuple[int, int] | None:
    """A place for an item where it hardly covers the others, or None after some tries."""
    height, width = shape
    for _ in range(TRIES):
        top, left = int(rng.integers(SIDE - height + 1)), int(rng.integers(SIDE - width + 1))
        across = np.minimum(taken[:, 2], left + width) - np.maximum(taken[:, 0], left)
        down = np.minimum(taken[:, 3], top + height) - np.maximum(taken[:, 1], top)
        shared = np.maximum(across, 0) * np.maximum(down, 0)
        areas = (taken[:, 2] - taken[:, 0]) * (taken[:, 3] - taken[:, 1])
        if not len(taken) or (shared <= OVERLAP * np.minimum(areas, height * width)).all():
            return top, left
    return None
