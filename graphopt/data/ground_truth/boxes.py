"""Boxes of one image, and what finds them, or a mask, for a sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from graphopt.data.preprocess.geometry import Placement
from graphopt.data.samples import Sample


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


Find: TypeAlias = "Callable[[int, Placement | None], Any]"
"""``find(row, place)``: what is right for a row of the data, in pixels of its feed."""


@dataclass(frozen=True)
class Truth:
    """Finds what is right for a sample: boxes or a mask for each of its rows, in pixels of the feed."""

    source: str
    find: Find
    names: tuple[str, ...] = ()  # of the classes, where the source has them

    def of(self, sample: Sample) -> list[Any]:
        """One entry for each row of the sample."""
        return [self.find(row, place) for row, place in zip(sample.rows, sample.placements, strict=True)]
