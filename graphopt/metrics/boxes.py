"""Boxes: overlap and non-maximum suppression; corners are left, top, right, bottom."""

from __future__ import annotations

import numpy as np

BLOCK = 512  # time: candidates compared at a time; more compute overlaps of boxes that are gone already


def overlap(a: np.ndarray, b: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Intersection over union of boxes (N, 4) and (M, 4) as (N, M).

    Where ``crowd`` (M,) is set the union is the box of ``a`` alone, as COCO judges regions of many items.
    """
    left_a, top_a, right_a, bottom_a = np.asarray(a, np.float64).T[:, :, None]
    left_b, top_b, right_b, bottom_b = np.asarray(b, np.float64).T[:, None]
    width = np.maximum(np.minimum(right_a, right_b) - np.maximum(left_a, left_b), 0)
    shared = width * np.maximum(np.minimum(bottom_a, bottom_b) - np.maximum(top_a, top_b), 0)
    area_a = np.maximum(right_a - left_a, 0) * np.maximum(bottom_a - top_a, 0)
    area_b = np.maximum(right_b - left_b, 0) * np.maximum(bottom_b - top_b, 0)
    union = area_a + area_b - shared
    if crowd is not None:
        union = np.where(np.asarray(crowd, bool)[None], area_a, union)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(
    corners: np.ndarray, scores: np.ndarray, classes: np.ndarray, limit: float, most: int
) -> np.ndarray:
    """Indices of at most ``most`` boxes, best first; none overlaps a better one of its class by ``limit``.

    Greedy non-maximum suppression, class by class; equal scores rank by position.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, numbers = np.asarray(corners, np.float64)[order], classes[order]
    kept: dict[int, np.ndarray] = {}  # ranks of the boxes of each class that stay
    for start in range(0, len(order), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(order)))
        for number in np.unique(numbers[block]).tolist():
            better = kept.get(number, np.zeros(0, np.int64))
            others = block[numbers[block] == number]
            others = others[~(overlap(ranked[better], ranked[others]) > limit).any(axis=0)]
            kept[number] = np.concatenate([better, others[_greedy(ranked[others], limit)]])
        if sum(map(len, kept.values())) >= most:
            break
    ranks = np.sort(np.concatenate([np.zeros(0, np.int64), *kept.values()]))
    return np.asarray(order[ranks[:most]], np.int64)


def _greedy(ranked: np.ndarray, limit: float) -> np.ndarray:
    """Which boxes (N, 4), the best first, do not overlap a better one that stays."""
    covers = overlap(ranked, ranked) > limit
    stays = np.ones(len(ranked), bool)
    for box in np.flatnonzero(np.triu(covers, 1).any(axis=1)).tolist():
        if stays[box]:
            stays[box + 1 :] &= ~covers[box, box + 1 :]
    return stays
