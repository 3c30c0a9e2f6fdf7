"""Where the pixels of an image lie in the feed that preprocessing makes of it, for boxes and masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.data.preprocess.config import Preprocess, Size
from graphopt.data.preprocess.transform import crop_corner, letterbox_corner, scaled_size


@dataclass(frozen=True)
class Placement:
    """The way from an image's pixels to the feed's: ``position * scale + offset``, (vertical, horizontal)."""

    image: Size  # (height, width) before
    feed: Size
    scale: tuple[float, float]
    offset: tuple[float, float]

    def boxes(self, corners: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) left, top, right, bottom of the image in pixels of the feed, cut at its border."""
        scale, offset = np.asarray(self.scale)[[1, 0, 1, 0]], np.asarray(self.offset)[[1, 0, 1, 0]]
        limits = np.asarray(self.feed, np.float64)[[1, 0, 1, 0]]
        return np.clip(np.asarray(corners, np.float64) * scale + offset, 0.0, limits)

    def mask(self, mask: np.ndarray, outside: int) -> np.ndarray:
        """The class of each pixel of the feed, from (height, width) of the image by nearest pixel."""
        sources = []
        for axis in (0, 1):
            middles = (np.arange(self.feed[axis]) + 0.5 - self.offset[axis]) / self.scale[axis]
            sources.append(np.floor(middles).astype(np.int64))
        inside = [(s >= 0) & (s < size) for s, size in zip(sources, mask.shape, strict=True)]
        placed = mask[np.ix_(*(s.clip(0, size - 1) for s, size in zip(sources, mask.shape, strict=True)))]
        return np.where(inside[0][:, None] & inside[1][None, :], placed, outside)


def placement(size: Size, recipe: Preprocess) -> Placement:
    """How an image of ``size`` (height, width) is placed by a resolved recipe."""
    scaled = scaled_size(size, recipe)
    scale = (scaled[0] / size[0], scaled[1] / size[1])
    feed, offset = scaled, (0, 0)
    if isinstance(recipe.letterbox, tuple):
        offset, feed = letterbox_corner(recipe.letterbox, scaled), recipe.letterbox
    if recipe.crop is not None:
        cut = crop_corner(feed, recipe.crop)
        offset, feed = (offset[0] - cut[0], offset[1] - cut[1]), recipe.crop
    if recipe.letterbox is None and recipe.pad is not None:
        feed = (feed[0] + -feed[0] % recipe.pad, feed[1] + -feed[1] % recipe.pad)
    return Placement(size, feed, scale, (float(offset[0]), float(offset[1])))
