"""Boxes: overlap and non-maximum suppression; corners are left, top, right, bottom."""

from __future__ import annotations

import numpy as np


def overlap(a: np.ndarray, b: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Intersection over union of boxes (N, 4) and (M, 4) as (N, M).

    Where ``crowd`` (M,) is set the union is the box of ``a`` alone, as COCO judges regions of many items.
    """
    a, b = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    shared = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0).prod(2)
    area_a, area_b = (np.maximum(x[..., 2:] - x[..., :2], 0).prod(2) for x in (a, b))
    union = area_a + area_b - shared
    if crowd is not None:
        union = np.where(np.asarray(crowd, bool)[None], np.broadcast_to(area_a, union.shape), union)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(
    corners: np.ndarray, scores: np.ndarray, classes: np.ndarray, limit: float, most: int
) -> np.ndarray:
    """Indices of at most ``most`` boxes, best first; none overlaps a better one of its class by ``limit``.

    Greedy non-maximum suppression, class by class; equal scores rank by position.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, rest = int(order[0]), order[1:]
        kept.append(best)
        covered = overlap(corners[best][None], corners[rest])[0] > limit
        order = rest[~(covered & (classes[rest] == classes[best]))]
    return np.asarray(kept, np.int64)
